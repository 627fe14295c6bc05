"""A GSM line of ours on the bench with its calls' sound, sample by sample, in trio's time: hours pass in seconds."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from drivers.audio import PcmTty, Place
from drivers.gsm import GsmLine, open_gsm_on
from drivers.line import LineEvent, LineState, StateChanged
from drivers.models import MODELS, Sound
from hil.bench import Bench
from hil.device import BenchLine
from hil.modem import Modem
from hil.subscriber import Subscriber
from native import TICK_S, Engine, Event, Port
from tests.plugs import Card

OURS, THEIRS = "+33700000002", "+33783484044"
IDLE, IN_USE = StateChanged(LineState.IDLE), StateChanged(LineState.IN_USE)


@dataclass
class Rig:
    bench: Bench
    modem: Modem
    engine: Engine
    line: GsmLine
    # What the engine told of the call's port.
    heard: list[Event] = field(default_factory=list)
    port: Port = field(init=False)

    def phone(self, behaviour: str = "answer", *, answers_after_s: float = 0.0, says: bytes = b"") -> Subscriber:
        return self.bench.subscriber(THEIRS, behaviour=behaviour, answers_after_s=answers_after_s, says=says)

    async def next(self, within_s: float = 90) -> LineEvent:
        with trio.fail_after(within_s):
            return await self.line.next_event()

    async def nothing(self, for_s: float) -> None:
        with trio.move_on_after(for_s):
            raise AssertionError(f"{await self.line.next_event()} out of the blue")

    @asynccontextmanager
    async def sound(self) -> AsyncIterator[Port]:
        """As the service does it: the line hears what the engine tells of its port."""

        async def pass_on() -> None:
            while True:
                await trio.lowlevel.wait_readable(self.engine.fd)
                for event in self.engine.events():
                    if event.port is port:
                        self.heard.append(event)
                        self.line.heard(event)

        async with self.line.attach(self.engine) as port, trio.open_nursery() as nursery:
            nursery.start_soon(pass_on)
            yield port
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_rig(name: str, directory: Path) -> AsyncIterator[Rig]:
    """`name` is the bench's and ours; the line is idle."""
    model = MODELS[name]
    async with Bench([BenchLine("one", OURS, model=name)], directory=directory, realtime=False) as bench:
        host = bench.connect("one")
        place: Place
        card = Card(host.card) if host.card is not None else None

        async def open_pcm() -> int:
            await trio.lowlevel.checkpoint()
            return os.dup(host.pcm.fileno())

        if card is not None:
            place, sound = card, Sound.CARD
        else:
            place, sound = PcmTty(open_pcm, model.audio[Sound.PCM].chunk_bytes), Sound.PCM

        async def tick() -> None:
            while True:
                await trio.sleep(TICK_S)
                bench.engine.tick()
                if card is not None:
                    card.turn()
                engine.tick()

        with host.pcm, Engine() as engine:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick)
                async with open_gsm_on(host.at, "one", model, sound=sound, place=place, country="FR") as line:
                    rig = Rig(bench, bench.line("one").gsm, engine, line)
                    while await rig.next() != IDLE:
                        pass
                    yield rig
                nursery.cancel_scope.cancel()
