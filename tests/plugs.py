"""Between a driver and a device of the bench that has no ptys: its sound card's wires, and a voice modem's tty."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import trio

from drivers.errors import LineError
from drivers.voicetty import DTR_LOW_S
from hil.device import Device
from native import Engine, FramesPort, Port


class Card:
    """drivers.audio.Place: the host's end of a sound card that stands on no clock but ours. `theirs` is the device's;
    `need` raises while it is unplugged.
    """

    def __init__(self, theirs: FramesPort, *, need: Callable[[], object] = bool) -> None:
        self._theirs = theirs
        self._need = need
        self._ours: FramesPort | None = None
        self._open = False

    async def check(self) -> None:
        await trio.lowlevel.checkpoint()
        self._need()

    async def open(self) -> None:
        await self.check()
        self._open = True

    def close(self) -> None:
        self._open = False

    @asynccontextmanager
    async def attach(self, engine: Engine) -> AsyncIterator[Port]:
        if not self._open:
            raise LineError("no call")
        with closing(engine.frames()) as self._ours:
            try:
                yield self._ours
            finally:
                self._ours = None

    def turn(self) -> None:
        """Between two ticks."""
        while (frame := self._theirs.pull()) is not None:
            if self._ours is not None:
                self._ours.push(frame)
        while self._ours is not None and (frame := self._ours.pull()) is not None:
            self._theirs.push(frame)


class Wire:
    """drivers.voicetty.Device on a voice modem of the bench. `stream` is its other owner's to close."""

    def __init__(self, stream: trio.abc.Stream, modem: Device) -> None:
        assert isinstance(stream, trio.lowlevel.FdStream)
        self._stream = stream
        self._modem = modem

    @property
    def fd(self) -> int:
        return self._stream.fileno()

    async def receive(self) -> bytes:
        return bytes(await self._stream.receive_some())

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def drop_dtr(self) -> None:
        self._modem.hung_up()
        await trio.sleep(DTR_LOW_S)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
