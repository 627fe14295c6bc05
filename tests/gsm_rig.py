"""A GSM line on a simulated module, with phones on the same network: what the tests of drivers/gsm.py stand on."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from drivers.audio import PcmTty, Place
from drivers.errors import LineError, LineLost
from drivers.gsm import ORDINARY, GsmLine, Options, open_gsm_on
from drivers.line import Answered, Incoming, LineEvent, LineState, StateChanged
from drivers.models import MODELS, Model, Sound
from drivers.sim import Pin
from hil.bench import OTHERS, QUECTEL
from hil.board import Profile
from hil.modem import Modem
from hil.module import Module
from hil.network import Network
from hil.quectel import Quectel
from hil.simcom import Sim7600V2
from hil.subscriber import PhoneCall, Subscriber
from native import Engine, Port

# Hours pass in an instant: nothing here waits for anything but time and itself.
Clock = trio.testing.MockClock
OURS, THEIRS = "+33700000002", "+33783484044"
IDLE, IN_USE = StateChanged(LineState.IDLE), StateChanged(LineState.IN_USE)
SEARCHING = StateChanged(LineState.SEARCHING)

EC25 = MODELS["ec25"]

# Name, row of drivers.models, module, where its audio is.
BENCH: dict[str, tuple[str, type[Module], Sound]] = {
    **{name: (name, family, MODELS[name].sound[0]) for name, family in (QUECTEL | OTHERS).items()},
    "ec25-uac": ("ec25", QUECTEL["ec25"], Sound.CARD),
    "sim7600-v2": ("sim7600", Sim7600V2, Sound.PCM),
}


class Wire(trio.abc.Stream):
    """The host's end of the AT port, with what was sent on it kept."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.sent = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()

    def take(self) -> list[str]:
        """The commands since last asked."""
        sent, self.sent = self.sent, b""
        return sent.decode().replace("\x1b", "").split("\r")[:-1]


class Frames:
    """drivers.audio.Place: a sound card whose samples are the test's."""

    def __init__(self) -> None:
        self.opened = False

    async def check(self) -> None:
        await trio.lowlevel.checkpoint()

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()
        self.opened = True

    def close(self) -> None:
        self.opened = False

    @asynccontextmanager
    async def attach(self, engine: Engine) -> AsyncIterator[Port]:
        if not self.opened:
            raise LineError("no call")
        with closing(engine.frames()) as port:
            yield port


@dataclass
class Rig:
    """A simulated module and phones on one network."""

    network: Network
    modem: Modem
    nursery: trio.Nursery
    wire: Wire
    model: Model
    sound: Sound
    # The PCM's ends, each time that it was opened: the host's, and the module's.
    pcm: list[int] = field(default_factory=list)
    sounds: list[socket.socket] = field(default_factory=list)
    options: Options = ORDINARY
    _phone: Subscriber | None = None

    @property
    def ec25(self) -> Quectel:
        """The module, with what is Quectel's own."""
        assert isinstance(self.modem.module, Quectel)
        return self.modem.module

    def phone(self, behaviour: str = "answer", *, answers_after_s: float = 0.0) -> Subscriber:
        """The one, as it was first asked for."""
        if self._phone is None:
            self._phone = Subscriber(
                THEIRS, self.network, self.nursery, behaviour=behaviour, answers_after_s=answers_after_s
            )
        return self._phone

    async def plug(self) -> None:
        host, device = trio.testing.memory_stream_pair()
        self.wire = Wire(host)
        self.nursery.start_soon(self.modem.serve_at, device)

    async def open_pcm(self) -> int:
        await trio.lowlevel.checkpoint()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.pcm.append(ours.detach())
        self.sounds.append(theirs)
        return self.pcm[-1]

    @asynccontextmanager
    async def line(self, pin: Pin | None = None) -> AsyncIterator[GsmLine]:
        place: Place = Frames()
        if self.sound is Sound.PCM:
            place = PcmTty(self.open_pcm, self.model.audio[self.sound].chunk_bytes)
        try:
            async with open_gsm_on(
                self.wire, "office", self.model, sound=self.sound, place=place, pin=pin, options=self.options
            ) as line:
                yield line
        finally:
            for sound in self.sounds:
                sound.close()

    @asynccontextmanager
    async def idle_line(self) -> AsyncIterator[GsmLine]:
        """Registered and settled."""
        async with self.line() as line:
            assert await line.next_event() == IDLE
            await trio.sleep(0.1)
            self.wire.take()
            yield line


async def make_rig(nursery: trio.Nursery, name: str = "ec25", **profile: object) -> Rig:
    model, family, sound = BENCH[name]
    network = Network()
    module = family(Profile(number=OURS, uac=sound is Sound.CARD, **profile))  # type: ignore[arg-type]
    modem = Modem(module, network)
    host, device = trio.testing.memory_stream_pair()
    nursery.start_soon(modem.serve_at, device)
    return Rig(network, modem, nursery, Wire(host), MODELS[model], sound)


async def events(line: GsmLine, count: int, within_s: float = 60) -> list[LineEvent]:
    with trio.fail_after(within_s):
        return [await line.next_event() for _ in range(count)]


async def quiet(line: GsmLine, for_s: float = 30) -> None:
    with trio.move_on_after(for_s):
        raise AssertionError(f"{await line.next_event()} out of the blue")


@asynccontextmanager
async def attached(line: GsmLine) -> AsyncIterator[tuple[Engine, Port]]:
    with Engine() as engine:
        async with line.attach(engine) as port:
            yield engine, port


async def has_sound(line: GsmLine) -> bool:
    try:
        async with attached(line):
            return True
    except LineError:
        return False


@asynccontextmanager
async def talking(rig: Rig) -> AsyncIterator[tuple[GsmLine, PhoneCall]]:
    async with rig.idle_line() as line:
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]
        rig.wire.take()
        yield line, call


async def why_not(rig: Rig, pin: Pin | None = None) -> str:
    with pytest.raises(ExceptionGroup) as caught:
        async with rig.line(pin):
            pass
    (exc,) = caught.value.exceptions
    assert isinstance(exc, LineLost)
    return str(exc)
