"""Orders that take their time, and those that are taken back meanwhile."""

import pytest
import trio

from drivers.errors import CommandError
from drivers.gsm import LEAVE_S
from drivers.line import Alerting, Answered, LineState, Released
from tests.gsm_rig import (
    IDLE,
    IN_USE,
    THEIRS,
    Clock,
    Rig,
    events,
    has_sound,
    make_rig,
    quiet,
    talking,
)


@pytest.fixture
async def rig(nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery)


@pytest.mark.parametrize("after_s", [0, 0.5, 1, 1.5, 2, 2.5])
async def test_a_cancelled_dial_leaves_no_call(after_s: float, rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line:
        # Each of its three commands takes a second.
        rig.modem.faults.delay_s = 1
        with trio.move_on_after(after_s):
            await line.dial(THEIRS)
            # Cancelled in the last one, it is done all the same: whoever placed the call hangs it up.
            with trio.CancelScope(shield=True):
                await line.hang_up()
        rig.modem.faults.delay_s = 0
        await trio.sleep(10)
        assert rig.modem.calls == []
        assert line.state is LineState.IDLE
        assert not await has_sound(line)
        assert rig.ec25.pcm_mode is None
        await line.dial(THEIRS)
        assert len(rig.modem.calls) == 1


async def test_a_cancelled_dial_ends_a_call_that_no_list_has_yet(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line:
        rig.modem.faults.list_lag_s = 2
        rig.modem.faults.slow["D"] = 1
        with trio.move_on_after(0.5):
            await line.dial(THEIRS)
        assert rig.modem.calls == []
        await trio.sleep(10)
        assert line.state is LineState.IDLE


async def test_a_hang_up_right_after_the_order_ends_a_call_that_no_list_has_yet(
    rig: Rig, autojump_clock: Clock
) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line:
        rig.modem.faults.list_lag_s = 2
        await line.dial(THEIRS)
        await trio.sleep(0.1)
        await line.hang_up()
        await trio.sleep(1)
        assert rig.modem.calls == []
        assert Released(16) in await events(line, 4)
        assert line.state is LineState.IDLE
        await line.dial(THEIRS)
        await trio.sleep(0.1)
    assert rig.modem.calls == []


async def test_a_release_that_takes_the_network_seconds_is_told_once_when_it_is_there(
    rig: Rig, autojump_clock: Clock
) -> None:
    async with talking(rig) as (line, _):
        rig.modem.faults.release_s = 4
        began = trio.current_time()
        await line.hang_up()
        assert trio.current_time() - began >= 4
        assert rig.modem.calls == []
        assert await events(line, 2) == [Released(16), IDLE]
        await quiet(line)


async def test_an_order_at_work_is_not_disturbed(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=50)
    async with rig.idle_line() as line:
        rig.modem.faults.slow["D"] = 45
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        assert line.recoveries.timeouts == line.recoveries.resyncs == 0


async def test_an_order_whose_result_is_lost_is_over_with_the_answer(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=5)
    async with rig.idle_line() as line:
        rig.modem.faults.hung.add("D")
        began = trio.current_time()
        await line.dial(THEIRS)
        await line.send_dtmf("1")
        assert trio.current_time() - began < 12
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        assert len(rig.modem.calls) == 1


async def test_a_hang_up_does_not_wait_for_an_order_that_takes_its_time(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line, trio.open_nursery() as nursery:
        rig.modem.faults.slow["D"] = 20
        nursery.start_soon(line.dial, THEIRS)
        await trio.sleep(1)
        began = trio.current_time()
        await line.hang_up()
        assert trio.current_time() - began < 4
        assert rig.modem.calls == []
        assert (await events(line, 4))[-2:] == [Released(16), IDLE]


async def test_a_hang_up_overtakes_an_order_that_was_not_sent_yet(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line, trio.open_nursery() as nursery:
        rig.modem.faults.slow["+QPCMV"] = 1

        async def refused() -> None:
            with pytest.raises(CommandError, match="ATD: not sent"):
                await line.dial(THEIRS)

        nursery.start_soon(refused)
        await trio.sleep(0.5)
        await line.hang_up()
        assert "ATD" not in "".join(rig.wire.take())
        assert not await has_sound(line)


async def test_closing_a_line_takes_no_longer_than_its_limit(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone()
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        rig.modem.faults.hung.add("+CHUP")
        began = trio.current_time()
    assert trio.current_time() - began <= LEAVE_S
