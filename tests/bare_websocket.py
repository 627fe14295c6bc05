"""WebSockets as bytes, for servers of tests that behave as no library would, in the same loop."""

import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio


@asynccontextmanager
async def raw_server(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Its address. A connection that breaks is over."""

    async def connection(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await serve(stream)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, connection, 0, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()


async def accept(stream: trio.SocketStream) -> None:
    """The handshake, as RFC 6455 4.2.2 has it."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += await stream.receive_some()
    key = request.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
    key = request[request.lower().index(key) :][: len(key)]
    proof = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )
