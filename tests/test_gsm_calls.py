"""Calls as they should be, and who may have one; on an EC25, where the families do not differ."""

from contextlib import suppress

import pytest
import trio

from drivers.errors import CommandError
from drivers.line import Alerting, Answered, Digit, Incoming, LineState, Released, StateChanged
from drivers.watch import SETTLE_S
from hil.board import Profile
from hil.subscriber import Subscriber
from tests.gsm_rig import (
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
)


@pytest.fixture
async def rig(nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery)


async def test_a_second_call_has_sound_too(rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone()
    async with rig.idle_line() as line:
        for _ in range(3):
            call = phone.dial(OURS)
            assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
            await line.answer()
            assert await events(line, 1) == [Answered()]
            assert rig.modem.module.audible
            await line.hang_up()
            assert await events(line, 2) == [Released(16), IDLE]
            await call.ended()


@pytest.mark.parametrize(
    ("form", "told"), [("withheld", None), ("+33783484044", "+33783484044"), ("0783484044", "0783484044")]
)
async def test_the_number_is_told_as_the_network_gave_it(
    form: str, told: str | None, rig: Rig, autojump_clock: Clock
) -> None:
    async with rig.idle_line() as line:
        phone = Subscriber(form if told else THEIRS, rig.network, rig.nursery)
        phone.dial(OURS, withheld=told is None)
        assert await events(line, 2) == [Incoming(told), IN_USE]


@pytest.mark.parametrize(
    "deaf_to",
    [
        {"AT+CLIP=1", 'AT+QINDCFG="ccinfo",1,0', "AT^DSCI=1"},
        {"AT+CRC=1", 'AT+QINDCFG="ccinfo",1,0', "AT^DSCI=1"},
        {"RING", "AT^DSCI=1", 'AT+QINDCFG="ccinfo",1,0'},
        {"RING", "AT+CLIP=1", 'AT+QINDCFG="ccinfo",1,0'},
        {"RING", "AT+CLIP=1", "AT^DSCI=1"},
        {"RING", "AT+CLIP=1", "AT^DSCI=1", 'AT+QINDCFG="ccinfo",1,0'},
    ],
)
async def test_any_one_source_of_news_or_none_opens_one_call(
    deaf_to: set[str], rig: Rig, autojump_clock: Clock
) -> None:
    module = rig.ec25
    async with rig.idle_line() as line:
        for command in deaf_to:
            match command:
                case "RING":
                    module.indications["ring"] = 0
                case "AT+CLIP=1" | "AT+CRC=1" | "AT^DSCI=1":
                    module.values[command[2:-2]] = "0"
                case _:
                    module.indications["ccinfo"] = 0
        call = rig.phone().dial(OURS)
        assert await events(line, 2, within_s=11) == [Incoming(THEIRS), IN_USE]
        await quiet(line, 20)
        await line.answer()
        assert await events(line, 1) == [Answered()]
        call.hang_up()
        assert await events(line, 2, within_s=5) == [Released(16), IDLE]
        await quiet(line)


NEWS = ("RING", "+CRING", "+CLIP", "+CLCC", "^CONN", "VOICE CALL")


@pytest.mark.parametrize("name", ["e1550", "sim7600", "sim800", "a7672", "generic"])
@pytest.mark.parametrize("told", [*NEWS[:4], ""])
async def test_any_one_kind_of_news_or_none_opens_one_call_of_any_family(
    told: str, name: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, name)
    rig.modem.faults.lost_news = {news for news in NEWS if news != told}
    async with rig.idle_line() as line:
        call = rig.phone().dial(OURS)
        assert await events(line, 2, within_s=11) == [Incoming(THEIRS), IN_USE]
        await quiet(line, 20)
        await line.answer()
        assert await events(line, 1) == [Answered()]
        call.hang_up()
        assert await events(line, 2, within_s=5) == [Released(16), IDLE]
        await quiet(line)


async def test_an_incoming_call_that_nobody_answers_ends_once(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await trio.sleep(12)
        call.hang_up()
        assert await events(line, 2, within_s=2) == [Released(16), IDLE]
        await quiet(line)


async def test_an_outgoing_call_is_answered_and_hung_up_by_us(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=7)
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        assert await has_sound(line)
        orders = [c for c in rig.wire.take() if c.startswith(("ATD", "AT+QPCMV"))]
        assert orders == ["AT+QPCMV=0", "AT+QPCMV=1,0", f"ATD{THEIRS};"]
        assert await events(line, 2) == [IN_USE, Alerting()]
        assert await events(line, 1) == [Answered()]
        assert rig.modem.module.audible
        with pytest.raises(CommandError, match="the line is in use"):
            await line.dial(THEIRS)
        await line.hang_up()
        assert rig.modem.calls == []
        assert await events(line, 2) == [Released(16), IDLE]
        assert rig.ec25.pcm_mode is None
        await quiet(line)
        assert line.repairs == 0


async def test_what_the_device_refuses_to_dial_leaves_nothing(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.module.pin_tries = 0
        with pytest.raises(ValueError, match="not a number"):
            await line.dial("06;AT+CFUN=0")
        rig.modem.module.profile = Profile(OURS, voice=False)
        with pytest.raises(CommandError, match=r"AT\+QPCMV=1,0"):
            await line.dial(THEIRS)
        assert not await has_sound(line)
        assert line.state is LineState.IDLE
        assert "ATD" not in "".join(rig.wire.take())
        with pytest.raises(CommandError, match="nobody is calling"):
            await line.answer()
        with pytest.raises(CommandError, match="no call"):
            await line.send_dtmf("1")
        await line.hang_up()
        await quiet(line)


async def test_a_line_that_is_closed_in_a_call_hangs_up(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone()
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
    assert rig.modem.calls == []
    assert rig.ec25.pcm_mode is None


async def test_a_line_whose_service_is_cancelled_in_a_call_hangs_up(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone()
    with trio.CancelScope() as service:
        async with rig.idle_line() as line:
            await line.dial(THEIRS)
            assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
            service.cancel()
            await trio.sleep_forever()
    assert rig.modem.calls == []
    assert rig.ec25.pcm_mode is None


async def test_keys_cross_both_ways(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        await call.press("12#*D")
        assert await events(line, 5) == [Digit(digit) for digit in "12#*D"]
        await line.send_dtmf("98*#A")
        await trio.sleep(1)
        assert call.keys == "98*#A"
        with pytest.raises(ValueError, match="keys"):
            await line.send_dtmf('1";H')


async def test_an_order_while_somebody_rings_is_refused_and_the_caller_goes_on(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        with pytest.raises(CommandError, match="the line is in use"):
            await line.dial("+33612345678")
        await line.answer()
        assert await events(line, 1) == [Answered()]


async def test_whoever_calls_at_the_moment_that_we_dial_one_call_wins_and_both_are_told(
    rig: Rig, autojump_clock: Clock
) -> None:
    phone = rig.phone()
    other = Subscriber("+33612345678", rig.network, rig.nursery, behaviour="answer")
    for delay_s in (0, 0.05, 0.15, 0.25, 0.35, 0.45):
        async with rig.idle_line() as line:
            rig.modem.faults.delay_s = 0.1
            async with trio.open_nursery() as nursery:

                async def ring(delay_s: float = delay_s) -> None:
                    await trio.sleep(delay_s)
                    phone.dial(OURS)

                nursery.start_soon(ring)
                with suppress(CommandError):
                    await line.dial(other.number)
            await trio.sleep(5)
            assert len(rig.modem.calls) == 1
            rig.modem.faults.delay_s = 0
            await line.hang_up()
            told = await events(line, 3)
            while not isinstance(told[-2], Released):
                told += await events(line, 1)
            assert [type(e) for e in told if isinstance(e, Incoming | Answered | Released)] in (
                [Incoming, Released],
                [Answered, Released],
            )
            assert line.state is LineState.IDLE


async def test_the_network_is_asked_for_nothing_while_a_call_rings(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.set_coverage(2)
    async with rig.line() as line:
        assert await events(line, 1) == [StateChanged(LineState.SEARCHING)]
        rig.modem.faults.slow["+CCWA"] = 8
        rig.modem.set_coverage(1)
        await trio.sleep(0.5)
        call = rig.phone().dial(OURS)
        assert await events(line, 3) == [IDLE, Incoming(THEIRS), IN_USE]
        await trio.sleep(SETTLE_S)
        began = trio.current_time()
        await line.answer()
        assert trio.current_time() - began < 1
        call.hang_up()
        assert await events(line, 3) == [Answered(), Released(16), IDLE]
        assert "AT+CCWA=0,0,1" not in rig.wire.take()
        await trio.sleep(2 * SETTLE_S)
        assert "AT+CCWA=0,0,1" in rig.wire.take()
