"""A trunk's promises to a call, and how it brings its line back, without a device that would keep it waiting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from appliance.ladder import CLIMB, Rung
from appliance.trunk import KEYS_LIMIT, MAKE_WAY_LIMIT_S, OPEN_LIMIT_S, Lost, Seizure, Trunk, TrunkBusy
from drivers.errors import LineAbsent, LineBlocked, LineError, LineLost
from drivers.line import Digit, LineEvent, LineState, Recoveries, StateChanged
from tests.jacks import TestJack


class TestLine:
    """As much of a line as a trunk asks for when there are no calls."""

    __test__ = False

    def __init__(self, state: LineState = LineState.IDLE) -> None:
        self.state = state
        self.recoveries = Recoveries(1, 2, 3, 4, 5, 6, 7.5)
        self._tell, self._told = trio.open_memory_channel[LineEvent | Exception](100)

    def say(self, state: LineState) -> None:
        self.state = state
        self._tell.send_nowait(StateChanged(state))

    def fail(self, fault: Exception) -> None:
        self._tell.send_nowait(fault)

    async def next_event(self) -> LineEvent:
        event = await self._told.receive()
        if isinstance(event, Exception):
            raise event
        return event


class Bay:
    """What is plugged in: a line, or why there is none. It keeps when it was opened, and what else was done."""

    def __init__(self, device: TestLine | LineError) -> None:
        self.device = device
        self.opened_at: list[float] = []
        self.climbed: list[tuple[float, Rung]] = []
        self.jack = TestJack(self.open, climb=self.climb)
        self.trunk = Trunk("office", "+33700000002", jack=self.jack, ring=lambda *_: None)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[TestLine]:
        self.opened_at.append(trio.current_time())
        if isinstance(self.device, LineError):
            raise self.device
        yield self.device

    def climb(self, rung: Rung) -> None:
        self.climbed.append((trio.current_time(), rung))

    def plug(self, device: TestLine | LineError) -> None:
        self.device = device
        self.jack.plugged.set()


DEAF = LineLost("no answer to AT commands")


@pytest.fixture
def seizure():
    return Seizure(Bay(DEAF).trunk, None)


async def test_the_turns_of_a_call_find_room_behind_keys_without_end(seizure):
    for _ in range(2 * KEYS_LIMIT):
        seizure.tell(Digit("5"))
    seizure.tell(Lost())
    told = [await seizure.told.receive() for _ in range(KEYS_LIMIT + 1)]
    assert told[-1] == Lost()


async def test_a_deaf_device_is_opened_again_reset_and_has_its_power_cut(autojump_clock, nursery):
    bay = Bay(DEAF)
    nursery.start_soon(bay.trunk.keep)
    await trio.sleep(60)
    assert [rung for _, rung in bay.climbed] == [Rung.RESET, Rung.POWER]
    waits = [later - at for at, later in zip(bay.opened_at, bay.opened_at[1:], strict=False)]
    assert waits[: len(CLIMB)] == pytest.approx([step.wait_s for step in CLIMB])
    assert bay.trunk.climbed["reset"] == bay.trunk.climbed["power"] == 1
    assert bay.trunk.problem == str(DEAF)
    assert bay.trunk.state is LineState.DOWN


async def test_it_is_tried_for_ever_and_never_in_haste(autojump_clock, nursery):
    bay = Bay(DEAF)
    nursery.start_soon(bay.trunk.keep)
    await trio.sleep(24 * 3600)
    last_hour = [at for at in bay.opened_at if at > 23 * 3600]
    assert 50 <= len(last_hour) <= 130
    assert 20 <= len([rung for _, rung in bay.climbed if rung is Rung.RESET]) <= 100


async def test_who_is_waited_for_is_not_reset_and_is_opened_when_it_is_plugged_in(autojump_clock, nursery):
    bay = Bay(LineAbsent("nothing is plugged in at USB port 1-1.2"))
    nursery.start_soon(bay.trunk.keep)
    await trio.sleep(1000)
    assert bay.climbed == []
    # Out of step with all that is tried anyway.
    await trio.sleep(7.25)
    plugged_at = trio.current_time()
    bay.plug(TestLine())
    await trio.testing.wait_all_tasks_blocked()
    assert bay.opened_at[-1] == plugged_at
    assert bay.trunk.state is LineState.IDLE
    assert bay.trunk.problem is None


async def test_a_device_that_comes_and_goes_all_the_time_keeps_nobody_busy(autojump_clock, nursery):
    bay = Bay(DEAF)
    nursery.start_soon(bay.trunk.keep)
    with trio.move_on_after(10):
        while True:
            bay.jack.plugged.set()
            await trio.sleep(0.01)
    assert len(bay.opened_at) <= 21


async def test_a_rung_that_fails_is_one_step_of_many(autojump_clock, nursery):
    bay = Bay(DEAF)

    def climb(rung: Rung) -> None:
        bay.climbed.append((trio.current_time(), rung))
        raise LineBlocked("/dev/ttyUSB2: in use by another program")

    bay.jack._climb = climb
    nursery.start_soon(bay.trunk.keep)
    await trio.sleep(60)
    assert [rung for _, rung in bay.climbed] == [Rung.RESET, Rung.POWER]


async def test_a_device_that_never_comes_up_is_given_up_and_reset(autojump_clock, nursery):
    bay = Bay(DEAF)

    @asynccontextmanager
    async def open_for_ever() -> AsyncIterator[TestLine]:
        await trio.sleep_forever()
        yield TestLine()

    bay.jack.open = open_for_ever
    nursery.start_soon(bay.trunk.keep)
    await trio.sleep(3 * OPEN_LIMIT_S + 10)
    assert bay.trunk.problem == f"did not come up in {OPEN_LIMIT_S} s"
    assert [rung for _, rung in bay.climbed] == [Rung.RESET]


async def test_an_outage_counts_from_silence_until_calls_are_possible(autojump_clock, nursery):
    bay = Bay(line := TestLine())
    nursery.start_soon(bay.trunk.keep)
    await trio.sleep(100)
    assert bay.trunk.outages.count == 0
    bay.device = TestLine(LineState.SEARCHING)
    line.fail(LineLost("no answer to AT commands", silent_since=85))
    await trio.sleep(20)
    assert bay.trunk.state is LineState.SEARCHING
    assert bay.trunk.outages.count == 0
    bay.device.say(LineState.IDLE)
    await trio.sleep(100)
    outages = bay.trunk.outages
    assert (outages.count, outages.total_s, outages.last_s) == (1, 35, 35)


async def test_what_was_mended_is_counted_over_all_lives_of_a_line(autojump_clock, nursery):
    bay = Bay(line := TestLine())
    nursery.start_soon(bay.trunk.keep)
    await trio.sleep(1)
    line.fail(DEAF)
    await trio.sleep(10)
    assert bay.trunk.losses == 1
    assert bay.trunk.recoveries == Recoveries(2, 4, 6, 8, 10, 12, 15.0)


async def test_no_line_is_touched_while_it_has_a_call(autojump_clock, nursery):
    bay = Bay(line := TestLine())
    nursery.start_soon(bay.trunk.keep)
    await trio.sleep(1)
    line.say(LineState.IN_USE)
    await trio.sleep(3600)
    assert len(bay.opened_at) == 1
    assert bay.climbed == []


async def test_a_test_call_gives_way_to_whoever_wants_the_line(autojump_clock, nursery):
    bay = Bay(TestLine())
    nursery.start_soon(bay.trunk.keep)
    await trio.testing.wait_all_tasks_blocked()
    test_call = bay.trunk.seize()
    test_call.gives_way = True

    async def end_it() -> None:
        await test_call.wanted.wait()
        await trio.sleep(3)
        test_call.close()

    nursery.start_soon(end_it)
    await bay.trunk.make_way()
    customers = bay.trunk.seize()
    # Others do not.
    with trio.fail_after(0.1):
        await bay.trunk.make_way()
    assert not customers.wanted.is_set()


async def test_a_test_call_that_does_not_end_is_not_waited_for_for_ever(autojump_clock, nursery):
    bay = Bay(TestLine())
    nursery.start_soon(bay.trunk.keep)
    await trio.testing.wait_all_tasks_blocked()
    bay.trunk.seize().gives_way = True
    with trio.fail_after(MAKE_WAY_LIMIT_S + 1):
        await bay.trunk.make_way()
    with pytest.raises(TrunkBusy):
        bay.trunk.seize()


async def test_a_fault_of_ours_ends_one_line_and_its_call_and_the_line_is_opened_anew(autojump_clock, nursery):
    bay, other = Bay(line := TestLine()), Bay(TestLine())
    for each in (bay, other):
        nursery.start_soon(each.trunk.keep)
    await trio.sleep(1)
    seizure, others = bay.trunk.seize(), other.trunk.seize()
    line.fail(AssertionError("a case that nobody thought of"))
    bay.device = TestLine()
    await trio.sleep(5)
    assert seizure.told.receive_nowait() == Lost()
    assert bay.trunk.state is LineState.IDLE
    assert (bay.trunk.losses, bay.trunk.faults) == (1, 1)
    assert bay.climbed == []
    with pytest.raises(trio.WouldBlock):
        others.told.receive_nowait()
    assert len(other.opened_at) == 1


async def test_a_fault_in_what_is_done_beside_a_line_s_calls_is_that_line_s_alone(autojump_clock, nursery):
    bay = Bay(TestLine())
    attempts = []

    async def attend(number, line):
        attempts.append(trio.current_time())
        await trio.sleep(1)
        raise KeyError(number)

    bay.trunk.attend = attend
    # A traceback for people takes longer to write than all the rest.
    with capture_logs():
        nursery.start_soon(bay.trunk.keep)
        await trio.sleep(3600)
    assert "a fault of this program: KeyError" in bay.trunk.problem
    # As patient as with any other.
    assert 100 < len(attempts) < 130


async def test_a_call_that_ends_as_its_line_is_lost_harms_nobody(autojump_clock, nursery):
    # Tasks that are due at once run in any order.
    for _ in range(20):
        bay = Bay(TestLine())
        lost = trio.Event()

        async def attend(number: str, line: object, lost: trio.Event = lost) -> None:
            try:
                await trio.sleep_forever()
            finally:
                lost.set()

        bay.trunk.attend = attend
        nursery.start_soon(bay.trunk.keep)
        await trio.testing.wait_all_tasks_blocked()
        seizure = bay.trunk.seize()
        bay.device.say(LineState.IN_USE)
        await trio.testing.wait_all_tasks_blocked()
        bay.device.fail(LineLost("unplugged"))
        await lost.wait()
        seizure.close()
        assert bay.trunk._seizure is None
