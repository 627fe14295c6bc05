"""A customer's voice server: a process of its own, written with a library that the box does not use.

    python -m hil.voice_server PORT DIRECTORY          PORT 0: any that is free

It plays back what it hears, LEAD_MS later, until told otherwise, and obeys lines of JSON on its standard input:

    {"echo": false}   {"send": {"event": "checkpoint", "name": "a"}}   {"close": 1000}

All that happens it tells in lines of JSON on its standard output, with the time: `listening`, `opened`, `received`
(messages, but for media), `sent`, `closed`. The audio goes to a file for each connection, in records of RECORD: so it
survives the process, which can be killed at any moment. Times are those of time.monotonic(), alike in all processes.
"""

import asyncio
import base64
import json
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

# An echo sent just in time has a hole whenever anything is late. So silence goes first, and the echo queues behind it;
# servers that send whole sentences are ahead of the clock anyway.
LEAD_MS = 200
A_LAW_BYTES_PER_MS = 8
SILENCE = b"\xd5"

# When a message came, and the 20 ms of A-law that it carried.
RECORD = np.dtype([("at", "<f8"), ("frame", "u1", (160,))])


def tell(kind: str, **what: Any) -> None:
    print(json.dumps({"at": time.monotonic(), "kind": kind, **what}), flush=True)


class VoiceServer:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._echo = True
        # Whether this connection's echo has its lead.
        self._led = False
        self._socket: ServerConnection | None = None

    async def talk(self, socket: ServerConnection) -> None:
        self._socket = socket
        self._led = False
        path = self._directory / f"{time.monotonic_ns()}.frames"
        assert socket.request is not None
        tell("opened", path=socket.request.path, frames=str(path))
        with path.open("xb", buffering=0) as frames:
            try:
                async for message in socket:
                    await self._hear(socket, json.loads(message), frames)
            except ConnectionClosed:
                pass
        tell("closed", code=socket.close_code)

    async def _hear(self, socket: ServerConnection, message: dict[str, Any], frames: BinaryIO) -> None:
        if message["event"] != "media":
            tell("received", message=message)
            return
        media = message["media"]
        record = np.zeros(1, RECORD)
        record["at"] = time.monotonic()
        record["frame"] = np.frombuffer(base64.b64decode(media["payload"], validate=True), np.uint8)
        frames.write(record.tobytes())
        if self._echo:
            if not self._led:
                self._led = True
                lead = base64.b64encode(SILENCE * (LEAD_MS * A_LAW_BYTES_PER_MS)).decode()
                await socket.send(json.dumps({"event": "playAudio", "media": media | {"payload": lead}}))
            await socket.send(json.dumps({"event": "playAudio", "media": media}))

    async def obey(self, order: dict[str, Any]) -> None:
        if "echo" in order:
            self._echo = order["echo"]
        if self._socket is None:
            return
        try:
            if "send" in order:
                await self._socket.send(json.dumps(order["send"]))
                tell("sent", event=order["send"]["event"])
            if "close" in order:
                await self._socket.close(order["close"])
        except ConnectionClosed as exc:
            tell("unsent", order=list(order), why=str(exc))


async def main(port: int, directory: Path) -> None:
    server = VoiceServer(directory)
    orders = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with serve(server.talk, "127.0.0.1", port, compression=None) as listener:
        tell("listening", port=next(iter(listener.sockets)).getsockname()[1])
        # The end of its input is the end of it: it never outlives who started it.
        while line := await orders.readline():
            await server.obey(json.loads(line))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
