"""Lines of the box on a bench without ptys: trunks, a media engine and a doctor, ticked by trio's clock with the bench.

async with open_box(tmp_path, "ec25", "e173") as box:
    examination = await box.doctor.examine()
"""

import contextlib
import math
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import trio
import trio.testing

from appliance.doctor import Casebook, Doctor, Examination
from appliance.media import Media
from appliance.testcall import TestCalls
from appliance.trunk import Seizure, Trunk
from drivers.audio import PcmTty, Place
from drivers.countries import PROFILES, AnalogLine
from drivers.fxo import open_fxo_on
from drivers.gsm import open_gsm_on
from drivers.line import Incoming, Line, LineState
from drivers.models import MODELS, Sound
from drivers.voicemodels import VOICE_MODELS
from hil.bench import Bench, BenchLine, Host
from hil.bench import Line as Far
from hil.board import Profile
from hil.plans import Plan
from native import TICK_S, Engine
from tests.jacks import TestJack
from tests.plugs import Card, Wire

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@dataclass
class Box:
    bench: Bench
    media: Media
    nursery: trio.Nursery
    sysfs: Path
    trunks: list[Trunk] = field(default_factory=list)
    # What was a customer's call, and not a test.
    rang: list[tuple[Seizure, Incoming]] = field(default_factory=list)
    cards: list[Card] = field(default_factory=list)
    refusal: str | None = None
    tests: TestCalls = field(init=False)
    doctor: Doctor = field(init=False)

    def far(self, which: int = 0) -> Far:
        return self.bench.lines[which]

    async def idle(self) -> None:
        for trunk in self.trunks:
            await trunk.until(lambda it: it.state is LineState.IDLE)

    def doctor_with(self, casebook: Casebook, now: Callable[[], datetime]) -> Doctor:
        return Doctor(self.trunks, self.tests, sysfs=self.sysfs, now=now, casebook=casebook)

    async def examine(self, *names: str, calls: bool = True) -> Examination:
        with trio.fail_after(600):
            return await self.doctor.examine(names, calls=calls)

    async def permit(self, _trunk: Trunk, _number: str) -> str | None:
        await trio.lowlevel.checkpoint()
        return self.refusal

    def _ring(self, seizure: Seizure, incoming: Incoming) -> None:
        self.rang.append((seizure, incoming))
        self.nursery.start_soon(self._not_taken, seizure)

    @staticmethod
    async def _not_taken(seizure: Seizure) -> None:
        with closing(seizure):
            await seizure.over()

    def jack(self, far: Far) -> TestJack:
        return TestJack(lambda: self._open(far))

    @asynccontextmanager
    async def _open(self, far: Far) -> AsyncIterator[Line]:
        host = self.bench.connect(far.name)
        opened: AbstractAsyncContextManager[Line]
        name = far.model.removesuffix("-uac")
        if name in VOICE_MODELS:
            profile = AnalogLine(PROFILES["FR"])
            opened = open_fxo_on(Wire(host.at, far.modem), far.name, VOICE_MODELS[name], profile)
        else:
            place, sound = self._place(host, name)
            opened = open_gsm_on(host.at, far.name, MODELS[name], sound=sound, place=place)
        try:
            async with opened as line:
                yield line
        finally:
            host.pcm.close()
            await host.at.aclose()

    def _place(self, host: Host, model: str) -> tuple[Place, Sound]:
        if host.card is not None:
            self.cards.append(Card(host.card))
            return self.cards[-1], Sound.CARD

        async def open_pcm() -> int:
            await trio.lowlevel.checkpoint()
            with contextlib.suppress(BlockingIOError):
                while host.pcm.recv(65536):
                    pass
            return os.dup(host.pcm.fileno())

        return PcmTty(open_pcm, MODELS[model].audio[Sound.PCM].chunk_bytes), Sound.PCM

    async def tick(self) -> None:
        clock, threads = trio.lowlevel.current_clock(), trio.to_thread.current_default_thread_limiter()
        assert isinstance(clock, trio.testing.MockClock)
        threads.total_tokens = 1
        while True:
            await trio.sleep(TICK_S)
            if threads.borrowed_tokens:
                # Somebody computes: an hour could be over before he has. The clock stands until the token is back.
                clock.autojump_threshold = math.inf
                async with threads:
                    clock.autojump_threshold = 0
            self.bench.engine.tick()
            for card in self.cards:
                card.turn()
            self.media.engine.tick()


@asynccontextmanager
async def open_box(
    directory: Path,
    *models: str,
    profiles: dict[int, Profile] | None = None,
    plans: dict[int, Plan] | None = None,
) -> AsyncIterator[Box]:
    """Lines are called line1 and so on; their trunks are kept."""
    lines = [
        BenchLine(f"line{place}", number_of(place, model), model, (profiles or {}).get(place), (plans or {}).get(place))
        for place, model in enumerate(models, 1)
    ]
    with Engine() as engine:
        async with Bench(lines, directory=directory, realtime=False) as bench, trio.open_nursery() as nursery:
            box = Box(bench, Media(engine), nursery, directory)
            box.tests = TestCalls(box.media, otherwise=box._ring, permit=box.permit, country="FR")
            for far in bench.lines:
                box.trunks.append(Trunk(far.name, far.number, jack=box.jack(far), ring=box.tests.ring))
            box.doctor = Doctor(box.trunks, box.tests, sysfs=directory, now=lambda: NOON)
            nursery.start_soon(box.tick)
            nursery.start_soon(box.media.run)
            for trunk in box.trunks:
                nursery.start_soon(trunk.keep)
            yield box
            nursery.cancel_scope.cancel()


def number_of(place: int, model: str) -> str:
    return f"+3315913335{place}" if model in VOICE_MODELS else f"+3370000000{place}"


def codes(examination: Examination) -> dict[str, list[str]]:
    """What is said of each line, by code."""
    return {each.line: [said.code for said in each.verdicts] for each in examination.findings}
