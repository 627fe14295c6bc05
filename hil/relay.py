"""Between the engine's end of a PCM tty and the tty: a sample clock that is not the engine's, and a USB that stalls.

relay = Relay(tty_fd, chunk_bytes=640, drift_ppm=100)
port = engine.pcm(relay.engine_fd, pace=Pace.CLOCK, chunk_bytes=640)
nursery.start_soon(relay.run)
relay.stall(0.5)
"""

import os
import socket
from contextlib import suppress

import trio

READ_BYTES = 4096


class Skew:
    """Samples from one clock to another that is `ppm` faster: now and then one is doubled, or left out."""

    def __init__(self, ppm: float, *, sample_bytes: int = 2) -> None:
        self._ppm = ppm
        self._sample_bytes = sample_bytes
        # How far the other clock is ahead, in millionths of a sample.
        self._ahead = 0.0
        self._odd = b""

    def carry(self, data: bytes) -> bytes:
        data = self._odd + data
        size = self._sample_bytes
        whole = len(data) // size * size
        self._odd, data = data[whole:], data[:whole]
        if not self._ppm:
            return data
        out = bytearray()
        for at in range(0, len(data), size):
            self._ahead += self._ppm
            if self._ahead <= -1e6:
                self._ahead += 1e6
                continue
            out += data[at : at + size]
            if self._ahead >= 1e6:
                self._ahead -= 1e6
                out += data[at : at + size]
        return bytes(out)


class Relay:
    def __init__(self, tty_fd: int, *, chunk_bytes: int, drift_ppm: float) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        self._tty_fd = tty_fd
        self._chunk_bytes = chunk_bytes
        self._engines, self._near = ours, theirs
        self._down, self._up = Skew(drift_ppm), Skew(-drift_ppm)
        self._stalled_until = float("-inf")

    @property
    def engine_fd(self) -> int:
        """The engine keeps a duplicate."""
        return self._engines.fileno()

    def stall(self, seconds: float) -> None:
        """Nothing passes for so long, and then all of it at once."""
        self._stalled_until = trio.current_time() + seconds

    async def run(self) -> None:
        """Until it is cancelled."""
        with self._engines, self._near:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry_down)
                nursery.start_soon(self._carry_up)

    async def _readable(self, fd: int) -> None:
        await trio.lowlevel.wait_readable(fd)
        await trio.sleep_until(self._stalled_until)

    async def _carry_down(self) -> None:
        waiting = bytearray()
        while True:
            await self._readable(self._near.fileno())
            waiting += self._down.carry(self._near.recv(READ_BYTES))
            while len(waiting) >= self._chunk_bytes:
                # When nobody reads: a device has no place for more.
                with suppress(BlockingIOError):
                    os.write(self._tty_fd, waiting[: self._chunk_bytes])
                del waiting[: self._chunk_bytes]

    async def _carry_up(self) -> None:
        while True:
            await self._readable(self._tty_fd)
            with suppress(BlockingIOError):
                self._near.send(self._up.carry(os.read(self._tty_fd, READ_BYTES)))
