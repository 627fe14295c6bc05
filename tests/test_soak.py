"""All kinds of lines at once, for hours of simulated time, with all that can happen to them.

`./dev test tests/test_soak.py --soak-hours 24 --soak-seed 7` has another day. A failure names what did not fit, and
its seed makes it come again.
"""

import gc
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio.testing
from trio._core import _run

from drivers.line import LineState
from hil.bench import BenchLine
from tests.soak import Soak
from tests.town import Town, open_town

LINES = [
    BenchLine("ec25", "+33700000001", "ec25"),
    BenchLine("eg95", "+33700000002", "eg95"),
    BenchLine("stick", "+33700000003", "e173"),
    BenchLine("sim7600", "+33700000004", "sim7600"),
    BenchLine("sim800", "+33700000005", "sim800"),
    BenchLine("a7672", "+33700000006", "a7672"),
    BenchLine("paris", "+33159133354", "cx93010"),
    BenchLine("london", "+442079460000", "usr5637"),
]
# What the project promises of eight lines.
READY_S = 5
# Of the whole process, bench and ledger included, between the first third and the end.
RSS_LIMIT_BYTES = 32 << 20
# What the service and its drivers consist of, and the tasks and waits that they have under way: calls come and go.
OURS = ("appliance.", "drivers.", "native.", "trio.")
GROWTH_LIMIT = 1.2


@dataclass
class Use:
    rss_bytes: int
    objects: int


def use() -> Use:
    gc.collect()
    objects = sum(str(type(each).__module__).startswith(OURS) for each in gc.get_objects())
    return Use(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"), objects)


def descriptors() -> int:
    # What tests before left may be closed at any time else.
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def hours(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--soak-hours"))


@pytest.fixture
def seed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Trio takes tasks that are ready in any order: here in one that comes again, as hypothesis has it do."""
    seed = int(request.config.getoption("--soak-seed"))
    monkeypatch.setattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    _run._r.seed(seed)
    return seed


async def test_whatever_happens_no_line_sticks_and_no_call_or_message_is_lost(
    hours: float, seed: int, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_town(LINES, tmp_path, autojump_clock) as town:
        await town.ready()
        held = descriptors()
        soak = Soak(town, seed=seed)
        uses: list[Use] = []
        await soak.run(hours, at_a_third=lambda: uses.append(use()))
        uses.append(use())
        print(f"seed {seed}, {hours} h:", dict(soak.happened), uses)
        print(f"longest until idle: {dict(soak.longest)}")
        assert await soak.wrong() == []
        assert descriptors() == held
        assert uses[1].rss_bytes - uses[0].rss_bytes < RSS_LIMIT_BYTES
        assert uses[1].objects < GROWTH_LIMIT * uses[0].objects


@pytest.mark.parametrize("broken", [line.name for line in LINES])
async def test_eight_lines_come_up_together_and_one_that_is_broken_delays_nobody(
    broken: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    def break_one(town: Town) -> None:
        town.bench.line(broken).faults.deaf = True

    async with open_town(LINES, tmp_path, autojump_clock, before=break_one) as town:
        others = [trunk for name, trunk in town.trunks.items() if name != broken]
        await town.until(lambda: all(trunk.state is LineState.IDLE for trunk in others), within_s=READY_S)
        assert town.trunks[broken].state is LineState.DOWN
