"""An analog line under test: a simulated exchange, voice modem and phones, and our driver with an engine of its own.

Time is trio's; both engines tick by it, so hours of calls pass in seconds, sample by sample.
"""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy
import pytest
import trio
import trio.testing

from drivers.countries import PROFILES, AnalogLine
from drivers.fxo import FxoLine, open_fxo_on
from drivers.line import Answered, Incoming, LineEvent, LineState, Released, StateChanged
from drivers.voicemodels import VOICE_MODELS
from drivers.voicetty import DTR_LOW_S
from hil import analog
from hil.device import Ends
from hil.exchange import LineState as Exchange
from hil.network import Network
from hil.plans import PLANS, Plan
from hil.sound import Studio
from hil.subscriber import PhoneCall, Subscriber
from native import TICK_S, Engine, Event, VoicePort

OURS = {"FR": "+33159133354", "GB": "+442079460000", "DE": "+493023125000", "IN": "+911123456789", "US": "+12025550143"}
THEIRS = "+33783484044"
Clock = trio.testing.MockClock
IDLE, IN_USE = StateChanged(LineState.IDLE), StateChanged(LineState.IN_USE)
MODELS = ("usr5637", "cx93010", "zoom3095", "v253")
COUNTRIES = tuple(OURS)
# Each model and each country, and those that have something to do with one another: USR5637 tells no loop break, Zoom
# 3095 tells the number late, V.253's words are reports where the number comes before the ring.
PAIRS = (("usr5637", "US"), ("cx93010", "FR"), ("zoom3095", "DE"), ("v253", "GB"), ("cx93010", "IN"), ("usr5637", "GB"))
each_pair = pytest.mark.parametrize(("model", "country"), PAIRS)
# Far longer than it takes, and shorter than any other way out.
SOON_S = 10


class Wire:
    """drivers.voicetty.Device: a socket in place of a tty, and DTR as the simulated modem has it."""

    def __init__(self, ours: socket.socket, modem: analog.AnalogLine) -> None:
        ours.setblocking(False)
        self._socket = ours
        self._modem = modem
        self._stream = trio.lowlevel.FdStream(os.dup(ours.fileno()))
        self.drops = 0

    @property
    def fd(self) -> int:
        return self._socket.fileno()

    async def receive(self) -> bytes:
        return bytes(await self._stream.receive_some())

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def drop_dtr(self) -> None:
        self.drops += 1
        self._modem.hung_up()
        await trio.sleep(DTR_LOW_S)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


@dataclass
class Sound:
    """What our end of the call says and hears."""

    port: VoicePort
    events: list[Event]


@dataclass
class Rig:
    network: Network
    bench: Engine
    studio: Studio
    modem: analog.AnalogLine
    engine: Engine
    wire: Wire
    line_profile: AnalogLine
    nursery: trio.Nursery
    line: FxoLine = field(init=False)

    @property
    def number(self) -> str:
        return self.modem.number

    def phone(
        self, behaviour: str = "answer", *, number: str = THEIRS, answers_after_s: float = 0.0, says: bytes = b""
    ) -> Subscriber:
        """The one that has the number, if it is there."""
        there = self.network.party(number)
        if isinstance(there, Subscriber):
            return there
        return Subscriber(
            number,
            self.network,
            self.nursery,
            behaviour=behaviour,
            answers_after_s=answers_after_s,
            says=says,
            studio=self.studio,
        )

    async def next(self, within_s: float = 120) -> LineEvent:
        with trio.fail_after(within_s):
            return await self.line.next_event()

    async def nothing(self, for_s: float = 30) -> None:
        with trio.move_on_after(for_s):
            raise AssertionError(f"{await self.line.next_event()} out of the blue")

    @asynccontextmanager
    async def sound(self) -> AsyncIterator[Sound]:
        """As the service does it: attached from the order on, and the line hears what the engine tells of it."""
        events: list[Event] = []

        async def pass_on() -> None:
            while True:
                await trio.lowlevel.wait_readable(self.engine.fd)
                for event in self.engine.events():
                    if event.port is port:
                        events.append(event)
                        self.line.heard(event)

        async with self.line.attach(self.engine) as port, trio.open_nursery() as nursery:
            nursery.start_soon(pass_on)
            yield Sound(port, events)
            nursery.cancel_scope.cancel()


async def _tick(*engines: Engine) -> None:
    while True:
        await trio.sleep(TICK_S)
        for engine in engines:
            engine.tick()


@asynccontextmanager
async def open_rig(
    model: str = "cx93010", country: str = "FR", *, plan: Plan | None = None, **profile: float
) -> AsyncIterator[Rig]:
    """`profile`: of our line, as drivers.countries.AnalogLine has it. The line is not open yet."""
    network = Network()
    with Engine() as bench, Engine() as engine:
        studio = Studio(bench)
        modem = analog.AnalogLine(OURS[country], network, studio, model=model, plan=plan or PLANS[country])
        network.observers.append(studio.call_moved)
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        ends = Ends(trio.lowlevel.FdStream(theirs.detach()), None, None, None)
        wire = Wire(ours, modem)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_tick, bench, engine)
                nursery.start_soon(studio.run)
                nursery.start_soon(modem.serve, ends)
                line = AnalogLine(PROFILES[country], **profile)  # type: ignore[arg-type]
                yield Rig(network, bench, studio, modem, engine, wire, line, nursery)
                nursery.cancel_scope.cancel()
        finally:
            modem.stop_sound()
            wire.close()


@asynccontextmanager
async def open_line(
    model: str = "cx93010", country: str = "FR", *, plan: Plan | None = None, **profile: float
) -> AsyncIterator[Rig]:
    """Up, and its first StateChanged taken."""
    async with (
        open_rig(model, country, plan=plan, **profile) as rig,
        open_fxo_on(rig.wire, "jack", VOICE_MODELS[model], rig.line_profile) as rig.line,
    ):
        await rig.next()
        yield rig


def noise(seconds: float, seed: int) -> bytes:
    """In the middle of the telephone's band, which has no low notes (nor has the echo canceller); never the same."""
    spectrum = numpy.fft.rfft(numpy.random.default_rng(seed).normal(0, 1, round(8000 * seconds)))
    hz = numpy.fft.rfftfreq(round(8000 * seconds), 1 / 8000)
    spectrum[(hz < 600) | (hz > 3000)] = 0
    made = numpy.fft.irfft(spectrum)
    return (3000 * made / numpy.std(made)).clip(-30000, 30000).astype("<i2").tobytes()


@asynccontextmanager
async def incoming(rig: Rig) -> AsyncIterator[tuple[PhoneCall, Sound]]:
    """A call that we have answered."""
    call = rig.phone().dial(rig.number)
    assert isinstance(await rig.next(), Incoming)
    assert await rig.next() == IN_USE
    await rig.line.answer()
    async with rig.sound() as ours:
        assert await rig.next() == Answered()
        await call.answered()
        yield call, ours


@asynccontextmanager
async def outgoing(rig: Rig, behaviour: str = "answer", *, answers_after_s: float = 0.0) -> AsyncIterator[Sound]:
    """A call that we have dialed."""
    rig.phone(behaviour, answers_after_s=answers_after_s)
    await rig.line.dial(THEIRS)
    assert await rig.next() == IN_USE
    async with rig.sound() as ours:
        yield ours


async def over(rig: Rig, cause: int = 16, within_s: float = SOON_S) -> None:
    """The call is, and nothing is left of it."""
    assert await rig.next(within_s) == Released(cause)
    assert await rig.next() == IDLE
    assert not rig.modem.voice_modem.daa.off_hook
    assert rig.modem.voice_modem.daa.service_class == "0"
    await trio.sleep(2)
    assert rig.modem.exchange.state is Exchange.IDLE
    assert not rig.network.calls
