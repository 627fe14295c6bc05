"""HTTP/1.1 as bytes, for servers of tests that answer as no library would."""

import trio


async def next_request(stream: trio.abc.Stream, buffer: bytearray) -> tuple[str, dict[str, str], bytes] | None:
    """The first line, the headers as they are spelled, and the body; None: the client is gone. `buffer` is the
    connection's own, empty at first.
    """
    while b"\r\n\r\n" not in buffer:
        if not (more := await stream.receive_some()):
            return None
        buffer += more
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    size = next((int(value) for name, value in headers.items() if name.lower() == "content-length"), 0)
    body = bytearray(rest)
    while len(body) < size:
        if not (more := await stream.receive_some()):
            return None
        body += more
    buffer[:] = body[size:]
    return start, headers, bytes(body[:size])
