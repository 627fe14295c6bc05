"""A webhook receiver that costs little, in a process of its own: it answers every POST 200, and counts.

python -m tests.bench.receiver      says {"port": n}; the word `count` is answered by {"posts": n}
"""

import asyncio
import sys

from tests.bench.apart import say

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Receiver(asyncio.Protocol):
    posts = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while True:
            head, end, body = self._unread.partition(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            if not end or len(body) < length:
                return
            self._unread = body[length:]
            self.answer(body[:length])

    def answer(self, body: bytes) -> None:
        Receiver.posts += 1
        self._transport.write(ANSWER)


async def main() -> None:
    loop = asyncio.get_running_loop()
    words = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    async with await loop.create_server(Receiver, "127.0.0.1", 0) as server:
        say({"port": server.sockets[0].getsockname()[1]})
        while await words.readline():
            say({"posts": Receiver.posts})


if __name__ == "__main__":
    asyncio.run(main())
