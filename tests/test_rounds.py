"""The nightly round: once a day, at its time, and again for lines that were in use."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path

import pytest
import trio

from appliance.ailments import Finding
from appliance.config import Doctor as Plan
from appliance.diagnosis import History, TestCall
from appliance.rounds import Rounds, begun
from tests.box import open_box

ZONE = timezone(timedelta(hours=2))
AT = time(3, 30)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


@pytest.mark.parametrize(
    ("now", "at", "start"),
    [
        ("2026-06-01T03:29", AT, None),
        ("2026-06-01T03:30", AT, "2026-06-01T03:30"),
        ("2026-06-01T05:29", AT, "2026-06-01T03:30"),
        ("2026-06-01T05:30", AT, None),
        # Begun yesterday.
        ("2026-06-01T00:30", time(23, 0), "2026-05-31T23:00"),
    ],
)
def test_a_round_has_two_hours_to_begin(now: str, at: time, start: str | None) -> None:
    assert begun(local(now), at) == (start and local(start))


class Notes:
    """A casebook without a disk."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.day: date | None = None
        self.written, self.done = trio.Event(), trio.Event()

    async def history(self) -> History:
        await trio.lowlevel.checkpoint()
        return {}

    async def write(self, findings: Sequence[Finding], calls: Sequence[TestCall], at: datetime) -> None:
        await trio.lowlevel.checkpoint()
        self.calls += [f"{call.caller} {call.callee} {call.outcome.value}" for call in calls]
        self.written.set()

    async def last_round(self) -> date | None:
        await trio.lowlevel.checkpoint()
        return self.day

    async def round_done(self, day: date) -> None:
        await trio.lowlevel.checkpoint()
        self.day = day
        self.done.set()


# Half an hour before the round; the test's clock begins with it.
EVENING = datetime.now(UTC).astimezone().replace(year=2026, month=6, day=1, hour=3, minute=0, second=0, microsecond=0)


def clock() -> datetime:
    return EVENING + timedelta(seconds=trio.current_time())


async def test_lines_call_each_other_at_the_time_and_once_a_night(tmp_path: Path, autojump_clock: object) -> None:
    notes = Notes()
    async with open_box(tmp_path, "ec25", "e173") as box:
        rounds = Rounds(box.doctor_with(notes, clock), Plan(at="03:30"), notes, now=clock)
        box.nursery.start_soon(rounds.run)
        await trio.sleep_until(29 * 60)
        assert notes.calls == []
        await notes.done.wait()
        assert notes.calls == ["line1 line2 done", "line2 line1 done"]
        assert notes.day == date(2026, 6, 1)
        await trio.sleep(600)
        assert len(notes.calls) == 2


@pytest.mark.parametrize("pairs", [[["line2", "line1"]], []])
async def test_a_line_in_use_is_looked_at_again(tmp_path: Path, autojump_clock: object, pairs: list[list[str]]) -> None:
    notes = Notes()
    async with open_box(tmp_path, "ec25", "e173") as box:
        plan = Plan(at="03:30", pairs=pairs)
        await box.idle()
        await trio.sleep_until(29 * 60)
        seizure = box.trunks[1].seize()
        await seizure.line.dial(box.bench.subscriber("+33783484044").number)
        box.nursery.start_soon(Rounds(box.doctor_with(notes, clock), plan, notes, now=clock).run)
        await notes.written.wait()
        seizure.close()
        await notes.done.wait()
        made = ["line2 line1"] if pairs else ["line1 line2", "line2 line1"]
        assert notes.calls == [f"{pair} {outcome}" for outcome in ("not tested", "done") for pair in made]


async def test_a_line_that_is_never_free_is_given_up_until_tomorrow(tmp_path: Path, autojump_clock: object) -> None:
    notes = Notes()
    async with open_box(tmp_path, "e173", "ec25") as box:
        box.refusal = "line line1 has used up its 60 minutes a month"
        plan = Plan(at="03:30", pairs=[["line1", "line2"]])
        box.nursery.start_soon(Rounds(box.doctor_with(notes, clock), plan, notes, now=clock).run)
        await notes.done.wait()
        assert 8 < len(notes.calls) <= 12
        assert set(notes.calls) == {"line1 line2 not tested"}


async def test_without_a_time_there_is_no_round(tmp_path: Path, autojump_clock: object) -> None:
    notes = Notes()
    async with open_box(tmp_path, "ec25") as box:
        with trio.fail_after(1):
            await Rounds(box.doctor_with(notes, clock), Plan(), notes, now=clock).run()
