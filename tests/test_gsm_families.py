"""What every kind of module does as a line, whatever its own way to do it."""

import pytest
import trio

from drivers.errors import CommandError, LineLost
from drivers.line import Alerting, Answered, Digit, Incoming, LineState, Released
from hil.network import Cause
from hil.subscriber import Subscriber
from tests.gsm_rig import (
    BENCH,
    IDLE,
    IN_USE,
    OURS,
    THEIRS,
    Clock,
    Rig,
    events,
    has_sound,
    make_rig,
    quiet,
    talking,
    why_not,
)

TECHNOLOGIES = {0: "GSM", 2: "UMTS", 7: "LTE"}


@pytest.fixture(params=BENCH)
async def rig(request: pytest.FixtureRequest, nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery, request.param)


async def test_it_comes_up_and_knows_who_and_where_it_is(rig: Rig, autojump_clock: Clock) -> None:
    module = rig.modem.module
    async with rig.line() as line:
        assert await events(line, 1) == [IDLE]
        assert line.identity.model == module.title
        assert line.identity.firmware == module.version
        assert line.identity.imei == module.profile.imei
        assert line.identity.iccid == module.profile.iccid
        assert line.identity.operator == line.radio.operator == "Orange F"
        assert (line.radio.registration, line.radio.technology) == ("home", TECHNOLOGIES[module.technology])
        assert line.radio.cell == "01C3D4E5"
        assert line.signal_dbm == line.radio.signal_dbm == -65
        await quiet(line, 600)
        assert line.recoveries.timeouts == line.recoveries.repairs == line.recoveries.resyncs == 0
        assert line.recoveries.noise == 0


async def test_a_caller_is_answered_heard_and_gone(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await quiet(line, 20)
        await line.answer()
        assert await has_sound(line)
        assert await events(line, 1) == [Answered()]
        await call.answered()
        await trio.sleep(1)
        assert rig.modem.module.audible
        await quiet(line, 60)
        call.hang_up()
        assert await events(line, 2, within_s=2) == [Released(16), IDLE]
        assert not await has_sound(line)
        assert not rig.modem.module.audible
        await quiet(line)
        assert line.recoveries.repairs == 0


async def test_a_withheld_number_is_none(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        call = rig.phone().dial(OURS, withheld=True)
        assert await events(line, 2) == [Incoming(None), IN_USE]
        await trio.sleep(12)
        call.hang_up()
        assert await events(line, 2, within_s=3) == [Released(16), IDLE]
        await quiet(line)


async def test_a_caller_is_rejected(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.hang_up()
        assert await events(line, 2) == [Released(21), IDLE]
        assert await call.ended() == Cause.REJECTED


async def test_a_call_is_placed_answered_and_hung_up(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=7)
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        assert await has_sound(line)
        assert await events(line, 2) == [IN_USE, Alerting()]
        assert await events(line, 1) == [Answered()]
        await trio.sleep(1)
        assert rig.modem.module.audible
        await line.hang_up()
        assert rig.modem.calls == []
        assert await events(line, 2) == [Released(16), IDLE]
        assert not rig.modem.module.audible
        await quiet(line)
        assert line.recoveries.repairs == 0


@pytest.mark.parametrize(
    ("behaviour", "number", "cause"),
    [("busy", THEIRS, 17), ("reject", THEIRS, 21), ("no-answer", THEIRS, 19), ("answer", "+33999999999", 1)],
)
async def test_a_call_that_fails_tells_its_cause_once(
    behaviour: str, number: str, cause: int, rig: Rig, autojump_clock: Clock
) -> None:
    rig.phone(behaviour)
    async with rig.idle_line() as line:
        await line.dial(number)
        await trio.sleep(45)
        for call in rig.modem.calls:
            rig.network.give_up(call)
        told = await events(line, 1)
        while told[-1] != IDLE:
            told += await events(line, 1)
        assert [e for e in told if not isinstance(e, Alerting)] == [IN_USE, Released(cause), IDLE]
        await quiet(line)


# 24.008 10.5.4.11 has Q.850's numbers, and each family its own way to tell them: in ^CEND, +CEER, a result code.
@pytest.mark.parametrize("cause", [20, 27])
async def test_why_the_network_ended_a_call_is_told_by_its_number(cause: int, rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        assert await events(line, 2) == [IN_USE, Alerting()]
        rig.network.release(rig.modem.calls[0], cause)
        assert await events(line, 2) == [Released(cause), IDLE]


async def test_a_no_carrier_as_lte_falls_back_for_the_call_ends_nothing(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=5)
    rig.modem.faults.false_no_carrier = True
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        await trio.sleep(1)
        assert rig.modem.module.audible
        await quiet(line)
        await line.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]


async def test_keys_are_sent_and_those_that_it_cannot_send_are_refused(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        await line.send_dtmf("98*#0")
        await trio.sleep(1)
        assert call.keys == "98*#0"
        if "A" in rig.model.keys:
            await line.send_dtmf("A")
        else:
            with pytest.raises(CommandError, match="this stick cannot send A"):
                await line.send_dtmf("A")


async def test_keys_that_the_module_hears_are_told_once_a_press(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        rig.modem.faults.key_repeats = 1
        await call.press("1")
        await trio.sleep(1)
        await call.press("15#")
        # What the module does not tell the media engine hears: see test_gsm_sound.
        told = [Digit(key) for key in "115#"] if line._module.hears_keys else []
        assert await events(line, len(told)) == told
        await quiet(line)


async def test_a_second_caller_hears_busy(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, _):
        # As a network does that ignores +CCWA=0.
        rig.modem.module.values["waiting"] = "1"
        second = Subscriber("+33612345678", rig.network, rig.nursery).dial(OURS)
        assert await second.ended() == Cause.BUSY
        await quiet(line)
        assert line.state is LineState.IN_USE
        assert len(rig.modem.calls) == 1


@pytest.mark.parametrize("when", ["idle", "ringing", "talking"])
async def test_it_is_down_when_unplugged_and_up_when_plugged(when: str, rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone(answers_after_s=5)

    async def life() -> None:
        async with rig.idle_line() as line:
            if when != "idle":
                phone.dial(OURS)
                await events(line, 2)
            if when == "talking":
                await line.answer()
                await events(line, 1)
            rig.modem.unplug()
            unplugged = trio.current_time()
            try:
                await events(line, 10)
            finally:
                assert line.state is LineState.DOWN
                assert trio.current_time() - unplugged < 2

    with pytest.raises(ExceptionGroup) as caught:
        await life()
    assert caught.group_contains(LineLost, match="the device is gone")
    await rig.plug()
    async with rig.line() as line:
        while (await line.next_event()) != IDLE:
            pass
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]


async def test_a_call_left_by_a_crash_is_hung_up(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=3)
    await rig.wire.send_all(f"ATD{THEIRS};\r".encode())
    await trio.sleep(5)
    assert len(rig.modem.calls) == 1
    async with rig.line() as line:
        assert rig.modem.calls == []
        assert await events(line, 1) == [IDLE]
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        await trio.sleep(1)
        assert rig.modem.module.audible


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("e1550", "this stick reports no voice: ^CVOICE:1"),
        ("e3131", "this stick reports no voice: ^CVOICE:1"),
        ("ec25", "this module reports no voice: AT+QPCMV=0: "),
        ("ec25-uac", "this module reports no voice: AT+QPCMV=0: "),
        ("sim7600", "this module reports no voice: AT+CPCMREG?: "),
    ],
)
async def test_one_without_voice_says_so(
    name: str, sentence: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    assert sentence in await why_not(await make_rig(nursery, name, voice=False))


FLOODED = ("e1550", "e173", "e3131", "ec25", "sim7600", "sim800", "a7672")


@pytest.mark.parametrize("name", FLOODED)
async def test_news_between_a_command_and_its_answer_disturbs_nothing(
    name: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, name)
    rig.modem.faults.flood_per_s = 50
    async with talking(rig) as (line, call):
        call.hang_up()
        assert await events(line, 2, within_s=5) == [Released(16), IDLE]
        assert line.recoveries.timeouts == 0
