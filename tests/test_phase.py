"""The ticks come shortly after their devices' chunks: found by looking, in time that only the test moves."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import Engine, Pace, PcmPort
from native._engine import lib

MS = 1_000_000
TICK_NS = 20 * MS
# As native/clock.c has it.
LOOK_TICKS = 3


@dataclass
class Modem:
    """Sends a chunk every `chunk_ns`, beginning at `due_ns`."""

    far: socket.socket
    port: PcmPort
    due_ns: int
    chunk_ns: int = 40 * MS
    sent: list[int] = field(default_factory=list)

    def send_until(self, now_ns: int) -> None:
        while self.due_ns <= now_ns:
            self.far.send(bytes(16 * self.chunk_ns // MS))
            self.sent.append(self.due_ns)
            self.due_ns += self.chunk_ns


class Rig:
    """An engine whose thread is played by hand."""

    def __init__(self, phases_ms: Sequence[float], chunk_ms: Sequence[int] = (40,)) -> None:
        self._stack = ExitStack()
        self.engine = self._stack.enter_context(Engine())
        self.modems: list[Modem] = []
        self.due_ns = 0
        self.ticks = 0
        for number, phase_ms in enumerate(phases_ms):
            near, far = socket.socketpair()
            self._stack.enter_context(far)
            with near:
                near.setblocking(False)
                port = self.engine.pcm(near.fileno(), pace=Pace.FOLLOW)
            self.modems.append(Modem(far, port, round(phase_ms * MS), chunk_ms[number % len(chunk_ms)] * MS))
        # What waits at the first tick is thrown away.
        self.engine.tick()

    def close(self) -> None:
        self._stack.close()

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.due_ns += TICK_NS
            self.ticks += 1
            looks = self.ticks % LOOK_TICKS == 0 and self._look(lib.LOOK_FAR) > 0
            if looks:
                self._look(lib.LOOK_NEAR)
            self._send(self.due_ns)
            if looks:
                self._look(lib.LOOK_DUE)
            self.engine.tick()
            if looks:
                self.due_ns += self._look(lib.LOOK_AFTER)

    def _look(self, when: int) -> int:
        self._send(self.due_ns + when)
        return int(lib.engine_look(self.engine._pointer, when))

    def _send(self, now_ns: int) -> None:
        for modem in self.modems:
            modem.send_until(now_ns)

    def waits_ms(self) -> list[float]:
        """How long each modem's last chunk waited for the next tick, modulo a tick."""
        return [(self.due_ns - modem.sent[-1]) % TICK_NS / MS for modem in self.modems]


@pytest.fixture
def rigs() -> Iterator[list[Rig]]:
    rigs: list[Rig] = []
    yield rigs
    for rig in rigs:
        rig.close()


@pytest.mark.parametrize("chunk_ms", [20, 40, 100])
@pytest.mark.parametrize("phase_ms", [0.5, 3, 7.3, 12, 17, 19.6])
def test_one_devices_chunks_wait_no_more_than_three_ms(rigs: list[Rig], phase_ms: float, chunk_ms: int) -> None:
    rigs.append(rig := Rig([phase_ms], [chunk_ms]))
    rig.run(12)
    assert 1 <= rig.waits_ms()[0] <= 3
    before = rig.due_ns % TICK_NS
    rig.run(60)
    assert rig.due_ns % TICK_NS == before
    assert rig.modems[0].port.stats().concealed == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 399), min_size=1, max_size=8))
def test_ticks_settle_behind_a_chunk_and_overtake_none(tenths: list[int]) -> None:
    # None of them at the same time as a tick.
    rig = Rig([tenth / 10 + 0.05 for tenth in tenths])
    try:
        rig.run(0.5)
        waits_ms = rig.waits_ms()
        rig.run(15)
        settled_ms = rig.waits_ms()
        moved_ms = {round((after - before) % 20, 6) for before, after in zip(waits_ms, settled_ms, strict=True)}
        assert len(moved_ms) == 1
        assert min(settled_ms) <= 3
        # No tick came before a chunk that had been in time for it, and none found two.
        stats = [modem.port.stats() for modem in rig.modems]
        assert {(each.concealed, each.slips) for each in stats} == {(0, 0)}
    finally:
        rig.close()


@pytest.mark.parametrize("first_ms", [0.3, 1, 2.2])
def test_eight_devices_evenly_spread_are_kept_off_the_tick(rigs: list[Rig], first_ms: float) -> None:
    rigs.append(rig := Rig([first_ms + 22.5 * number for number in range(8)]))
    rig.run(10)
    waits_ms = sorted(rig.waits_ms())
    assert 1 <= waits_ms[0] <= 1.5
    assert waits_ms[-1] <= 19


def test_a_device_that_drifts_pulls_the_ticks_along(rigs: list[Rig]) -> None:
    rigs.append(rig := Rig([5]))
    rig.run(10)
    modem = rig.modems[0]
    for _ in range(300):
        # 300 ppm slow.
        modem.due_ns += 3 * MS // 10
        rig.run(1)
        assert 0.4 <= rig.waits_ms()[0] <= 3.1
    assert modem.port.stats().concealed == 0


def test_without_devices_the_ticks_stay(rigs: list[Rig]) -> None:
    rigs.append(rig := Rig([]))
    rig.run(10)
    assert rig.due_ns == 500 * TICK_NS
