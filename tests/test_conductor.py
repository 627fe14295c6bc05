"""One call through its conductor: what a line says, and what is written down of it. No sound: there is no audio."""

import json
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from appliance.call import Direction, Ended, Outcome, Reason, State
from appliance.control import WRITE_AGAIN_S
from appliance.exchange import NotDialed
from appliance.leg import HANG_UP_LIMIT_S
from appliance.limits import Limits
from appliance.numbers import DialingRules
from appliance.options import Options, TakeMessage
from drivers.line import Alerting, Answered, Incoming, LineState
from tests.core import still
from tests.line_box import APP, NOON, NUMBER, Box, open_box, write_announcement


async def test_a_call_lasts_as_long_as_it_does_whatever_the_clock_says(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:

        def hang_up() -> None:
            box.now += timedelta(days=3)
            mock_clock.jump(4)
            box.line.release()

        box.line.when = {"answer": lambda: box.line.say(Answered()), "hang up": hang_up}
        box.line.say(Incoming("+33783484044"), state=LineState.IN_USE)
        await box.state("ended")
        call = await box.store.call(1)
        assert call
        assert (call.answered_at, call.duration_s) == (NOON, 4)


async def test_the_time_to_ring_counts_from_the_first_ringback(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:
        await box.place(ring_timeout=5)
        await box.state("dialing")
        mock_clock.jump(30)
        box.line.say(Alerting())
        await box.state("alerting")
        mock_clock.jump(4)
        await still()
        assert box.line.orders == ["dial"]
        mock_clock.jump(1)
        await box.state("ended")
        assert box.line.orders == ["dial", "hang up"]
        assert box.rows("SELECT reason, cause FROM calls") == [("ring_timeout", 19)]


async def test_a_call_that_never_rings_is_given_up(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:
        await box.place(ring_timeout=5)
        await box.state("dialing")
        mock_clock.jump(60)
        await box.state("ended")
        assert box.rows("SELECT reason, cause FROM calls") == [("ring_timeout", 19)]


async def test_a_call_that_cannot_be_written_down_is_hung_up_and_told_when_it_can(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:
        await box.place()
        await box.state("dialing")
        box.break_store(True)
        box.line.say(Alerting())
        while "hang up" not in box.line.orders:
            await still()
        await still()
        box.break_store(False)
        assert box.rows("SELECT state FROM calls") == [("dialing",)]
        mock_clock.jump(WRITE_AGAIN_S)
        await box.state("ended")
        assert box.rows("SELECT reason, cause FROM calls") == [("fault", 41)]


async def test_who_calls_while_nothing_can_be_written_is_left_to_ring(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:
        box.break_store(True)
        box.line.say(Incoming("+33783484044"), state=LineState.IN_USE)
        await still()
        box.line.release()
        await still()
        assert box.line.orders == []
        box.break_store(False)
        await box.place()
        await box.state("dialing")


# --- what the box does not dial ---


async def write_call(box: Box, seconds: float, direction: Direction = Direction.OUTBOUND) -> None:
    """One that is over, and was answered now."""
    opened = await box.store.open_call(
        uuid=str(uuid4()),
        line="test",
        direction=direction,
        from_=NUMBER,
        to=NUMBER,
        state=State.QUEUED if direction is Direction.OUTBOUND else State.INCOMING,
        started_at=box.now,
        route="",
    )
    ended = replace(opened, state=State.ENDED, answered_at=box.now, end=Ended(Reason.HANGUP, 16))
    await box.store.save(replace(ended, ended_at=box.now + timedelta(seconds=seconds)))


async def time_limit_s(box: Box) -> float:
    """Of the call that is placed now."""
    box.line.when["dial"] = box.line.release
    await box.place()
    await box.idle()
    [(route,)] = box.rows("SELECT route FROM calls ORDER BY id DESC LIMIT 1")
    return float(json.loads(str(route))["time_limit_s"])


async def test_a_number_that_the_rules_forbid_is_not_dialed(tmp_path):
    async with open_box(tmp_path, rules=DialingRules(deny=("+337*",))) as box:
        with pytest.raises(NotDialed, match=r"^Not dialed: \+33783484044 is denied by \+337\*$"):
            await box.place()
        assert box.rows("SELECT * FROM calls") == []
        assert box.line.orders == []


async def test_a_line_is_dialed_for_the_minutes_that_are_left_to_it(tmp_path):
    async with open_box(tmp_path, limits=Limits(minutes_per_day=3)) as box:
        assert await time_limit_s(box) == 180
        await write_call(box, 0.5)
        await write_call(box, 600, Direction.INBOUND)
        assert await time_limit_s(box) == 120
        await write_call(box, 60.0)
        assert await time_limit_s(box) == 60
        await write_call(box, 1.0)
        with pytest.raises(NotDialed, match=r"^Not dialed: line test has used up its 3 minutes a day$"):
            await box.place()
        box.now += timedelta(days=1)
        assert await time_limit_s(box) == 180


async def test_no_more_calls_are_placed_at_once_than_the_box_may(tmp_path):
    async with open_box(tmp_path, concurrent=1) as box:
        await box.place()
        await box.state("dialing")
        with pytest.raises(NotDialed, match="1 calls are under way, as many as the box may place at once"):
            await box.place()
        box.line.release()
        await box.idle()
        await box.place()
        assert box.line.orders == ["dial"]


async def test_a_fault_of_ours_ends_one_call_and_the_next_is_served(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:

        def fail() -> None:
            raise AssertionError("a case that nobody thought of")

        ways = ((fail, "fault"), (lambda: box.line.say(Answered()), "answer_failed"))
        for count, (answer, reason) in enumerate(ways, 1):
            box.line.when["answer"] = answer
            box.line.say(Incoming("+33783484044"), state=LineState.IN_USE)
            await box.ended(count)
            assert box.rows("SELECT reason FROM calls ORDER BY id DESC LIMIT 1") == [(reason,)]
            assert box.line.orders == ["answer", "hang up"]
            box.line.orders.clear()


# --- hung up by the customer's word ---


async def hang_up(box: Box) -> bool:
    [(uuid,)] = box.rows("SELECT uuid FROM calls")
    return box.control.hang_up(str(uuid))


@pytest.mark.parametrize("state", ["dialing", "alerting"])
async def test_a_call_that_is_not_answered_yet_is_hung_up_by_order_and_told_as_canceled(tmp_path, state):
    async with open_box(tmp_path) as box:
        await box.place()
        await box.state("dialing")
        if state == "alerting":
            box.line.say(Alerting())
            await box.state("alerting")
        assert await hang_up(box)
        await box.state("ended")
        assert box.line.orders == ["dial", "hang up"]
        call = await box.store.call(1)
        assert call
        assert (call.end, call.outcome) == (Ended(Reason.CUSTOMER, 16), Outcome.CANCELED)
        assert not await hang_up(box)


async def test_a_call_that_comes_is_hung_up_by_order_while_it_is_being_answered(tmp_path):
    async with open_box(tmp_path) as box:
        box.line.say(Incoming("+33783484044"), state=LineState.IN_USE)
        await box.state("incoming")
        assert await hang_up(box)
        await box.state("ended")
        assert box.line.orders == ["answer", "hang up"]
        assert box.rows("SELECT reason FROM calls") == [("customer",)]


async def test_a_line_that_does_not_say_that_it_hung_up_is_believed_after_a_while(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:
        box.line.when = {}
        await box.place()
        await box.state("dialing")
        assert await hang_up(box)
        await still()
        mock_clock.jump(HANG_UP_LIMIT_S)
        await box.state("ended")
        assert box.rows("SELECT reason, cause FROM calls") == [("customer", 16)]


# --- nobody says what to do with a call ---


async def answered(box: Box) -> None:
    box.line.when["answer"] = lambda: box.line.say(Answered())
    box.line.say(Incoming("+33783484044"), state=LineState.IN_USE)


async def bursts(box: Box, count: int) -> None:
    """Returns when the line was given so many sounds, and silence after each, in the engine's own time."""
    heard, sounding = 0, False
    while heard < count or sounding:
        frame = box.line.port.pull() if box.line.port else None
        if frame is None:
            await still()
            continue
        heard += not sounding and any(frame)
        sounding = any(frame)
    await still()


async def told(box: Box, ms: int) -> None:
    """Returns when the line was given so much sound, and then silence, in the engine's own time."""
    heard_ms, sounding = 0, True
    while heard_ms < ms or sounding:
        frame = box.line.port.pull() if box.line.port else None
        if frame is None:
            await still()
            continue
        sounding = any(frame)
        heard_ms += 20 * sounding
    await still()


async def test_a_call_without_instructions_is_hung_up(tmp_path):
    async with open_box(tmp_path) as box:
        await answered(box)
        await box.state("ended")
        assert box.line.orders == ["answer", "hang up"]
        assert box.rows("SELECT reason FROM calls") == [("answer_failed",)]


async def test_an_app_may_have_the_box_take_a_message_instead(tmp_path, mock_clock):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    write_announcement(tmp_path / "closed.wav")
    async with open_box(tmp_path, recordings=recordings) as box:
        rule = TakeMessage(announcement="closed.wav", limit_s=30)
        await box.store.set_options(APP.app_id, Options(no_answer=rule))
        await answered(box)
        await box.state("active")
        # An announcement of a tenth of a second, and the beep.
        await told(box, 100 + 400)
        mock_clock.jump(29)
        await box.state("active")
        mock_clock.jump(1)
        await box.state("ended")
        # Its server failed the customer, and that is told.
        assert box.rows("SELECT reason FROM calls") == [("answer_failed",)]
