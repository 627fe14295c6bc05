"""The list of calls against the news of them: each may be late, wrong or missing."""

import pytest
import trio

from drivers.errors import LineLost
from drivers.line import Alerting, Answered, Digit, Incoming, LineState, Released
from hil.network import Cause
from hil.subscriber import Subscriber
from tests.gsm_rig import (
    IDLE,
    IN_USE,
    OURS,
    THEIRS,
    Clock,
    Rig,
    events,
    make_rig,
    quiet,
    talking,
)


@pytest.fixture
async def rig(nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery)


async def test_a_call_that_the_list_has_late_is_no_ended_one(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=7)
    async with rig.idle_line() as line:
        rig.modem.faults.list_lag_s = 1.2
        rig.ec25.urc_port = "usbmodem"
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        await quiet(line, 10)
        await line.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
        await quiet(line)


async def test_a_gap_in_the_list_ends_no_call_that_is_up(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, _):
        for _ in range(20):
            rig.modem.faults.no_list_until = trio.current_time() + 2.5
            await trio.sleep(5.3)
        assert line.state is LineState.IN_USE
        assert rig.modem.module.audible
        assert line.repairs == 0


async def test_no_carrier_and_a_gap_as_lte_falls_back_for_a_call_end_nothing(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line:
        rig.ec25.urc_port = "usbmodem"
        await line.dial(THEIRS)
        rig.modem.faults.no_list_until = trio.current_time() + 1
        rig.modem.inject(b"\r\nNO CARRIER\r\n")
        assert await events(line, 2) == [IN_USE, Alerting()]
        await quiet(line, 5)
        assert len(rig.modem.calls) == 1


async def test_a_call_that_is_answered_is_no_stray_of_a_list_that_has_it_ringing(
    rig: Rig, autojump_clock: Clock
) -> None:
    async with rig.idle_line() as line:
        rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        rig.modem.faults.list_lag_s, rig.modem.faults.news_behind_list = 1.5, True
        await line.answer()
        assert await events(line, 1) == [Answered()]
        await quiet(line, 10)
        assert not {"AT+CHLD=0", "AT+CHUP"} & set(rig.wire.take())
        assert len(rig.modem.calls) == 1


async def test_a_call_that_comes_back_after_its_end_was_told_is_hung_up_within_seconds(
    rig: Rig, autojump_clock: Clock
) -> None:
    async with talking(rig) as (line, _):
        back = rig.modem.faults.no_list_until = trio.current_time() + 7
        assert await events(line, 2, within_s=7) == [Released(16), IDLE]
        await trio.sleep_until(back + 2)
        assert rig.modem.calls == []


async def test_a_second_caller_who_rings_before_anybody_looks_is_told_as_another(
    rig: Rig, autojump_clock: Clock
) -> None:
    async with rig.idle_line() as line:
        first = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        first.hang_up()
        Subscriber("+33612345678", rig.network, rig.nursery).dial(OURS)
        assert await events(line, 4) == [Released(16), IDLE, Incoming("+33612345678"), IN_USE]


async def test_unreadable_lists_for_some_seconds_lose_no_line(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=20)
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        with trio.move_on_after(12):
            while True:
                rig.modem.faults.splice = (0, b"\r\n+CLCC: 1,0,\r\n")
                await trio.sleep(0.1)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]


async def test_one_silent_list_does_not_end_a_call(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, _):
        rig.modem.faults.hung.add("+CLCC")
        await trio.sleep(12)
        rig.modem.faults.hung.clear()
        await quiet(line)
        assert line.state is LineState.IN_USE
        assert line.recoveries.timeouts >= 1
        assert line.recoveries.resyncs >= 1
        assert rig.modem.module.audible


async def test_a_call_goes_on_without_lists_and_keys_still_cross(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        rig.modem.faults.hung.add("+CLCC")
        await trio.sleep(120)
        await call.press("5")
        assert await events(line, 1) == [Digit("5")]
        await line.send_dtmf("7")
        assert call.keys == "7"
        # Its end cannot be verified: the line is opened anew, and finds no call.
        call.hang_up()
        with pytest.raises(LineLost, match="does not list its calls"):
            await events(line, 1, within_s=60)


@pytest.mark.parametrize("news", [b"\r\nNO CARRIER\r\n", b"\r\nBUSY\r\n", b'\r\n+QIND: "ccinfo",1,1,-1,0,0,"",128\r\n'])
async def test_news_of_an_end_that_the_list_denies_ends_nothing(news: bytes, rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        rig.modem.inject(news)
        await quiet(line)
        assert line.state is LineState.IN_USE
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]


@pytest.mark.parametrize(
    "news",
    [b"\r\nRING\r\n", b"\r\nNO CARRIER\r\n", b'\r\n+QIND: "ccinfo",1,0,0,0,0,"1",129\r\n', b"\r\n+QTONEDET: 49\r\n"],
)
async def test_news_of_nothing_opens_no_call(news: bytes, rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        for _ in range(5):
            rig.modem.inject(news)
            await trio.sleep(0.4)
        await quiet(line)


async def test_a_phantom_call_that_was_told_is_taken_back_and_counted(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.inject(b'\r\n+CLIP: "+33600000000",145,"",0,"",0\r\n')
        assert await events(line, 2) == [Incoming("+33600000000"), IN_USE]
        assert await events(line, 2, within_s=3) == [Released(127), IDLE]
        assert line.repairs == 1


async def test_a_call_that_vanishes_without_news_is_found_and_counted(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        rig.ec25.urc_port = "usbmodem"
        call.hang_up()
        assert await events(line, 2, within_s=7) == [Released(16), IDLE]
        assert line.repairs == 1


async def test_a_whole_outgoing_call_without_news_is_told_by_the_list_alone(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=5)
    async with rig.idle_line() as line:
        rig.ec25.urc_port = "usbmodem"
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        assert line.repairs == 2
        await line.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]


async def test_a_call_placed_by_another_program_is_dropped_and_counted(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone()
    async with rig.idle_line() as line:
        await rig.wire.send_all(f"ATD{THEIRS};\r".encode())
        await trio.sleep(10)
        assert rig.modem.calls == []
        assert line.repairs == 1
        await quiet(line)


async def test_the_data_bearer_in_the_list_is_no_call(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    rig = await make_rig(nursery, data_bearer=True)
    async with rig.idle_line() as line:
        await quiet(line)
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]
        await line.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
        assert await call.ended() == Cause.NORMAL
