"""What a line's owner may have otherwise: call waiting, and a number that is not shown; in every family."""

import pytest
import trio

from drivers.gsm import Options
from drivers.line import Alerting, Answered, Incoming, LineState, Released
from hil.network import Cause
from hil.subscriber import PhoneCall, Subscriber
from tests.gsm_rig import BENCH, IDLE, IN_USE, THEIRS, Clock, Rig, events, make_rig, quiet, talking

SECOND = "+33612345678"
FAMILIES = [name for name in BENCH if name not in ("ec20", "ec21", "eg25", "eg91", "eg95", "e3131", "sim900")]


@pytest.fixture(params=FAMILIES)
async def rig(request: pytest.FixtureRequest, nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery, request.param)


def second(rig: Rig) -> PhoneCall:
    return Subscriber(SECOND, rig.network, rig.nursery).dial(rig.modem.number)


@pytest.mark.parametrize("who", ["we", "they"])
async def test_who_waits_rings_when_the_first_call_is_over(who: str, rig: Rig, autojump_clock: Clock) -> None:
    rig.options = Options(call_waiting=True)
    async with talking(rig) as (line, first):
        waiting = second(rig)
        await quiet(line, 10)
        assert rig.modem.module.audible
        assert len(rig.modem.calls) == 2
        if who == "we":
            await line.hang_up()
        else:
            first.hang_up()
        assert await first.ended() == Cause.NORMAL
        told = await events(line, 3)
        while told[-1] != IN_USE:
            told += await events(line, 1)
        assert [each for each in told if each not in (IDLE, IN_USE)] == [Released(16), Incoming(SECOND)]
        await line.answer()
        assert await events(line, 1) == [Answered()]
        await waiting.answered()
        waiting.hang_up()
        assert await events(line, 1) == [Released(16)]


async def test_who_waited_and_gave_up_was_no_call(rig: Rig, autojump_clock: Clock) -> None:
    rig.options = Options(call_waiting=True)
    async with talking(rig) as (line, first):
        waiting = second(rig)
        await trio.sleep(10)
        waiting.hang_up()
        await quiet(line, 20)
        assert line.state is LineState.IN_USE
        assert rig.modem.module.audible
        assert first.ended_at is None
        await line.hang_up()
        assert await events(line, 1) == [Released(16)]
        assert rig.modem.calls == []


async def test_without_it_nobody_waits_and_the_network_is_told_so(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line():
        await trio.sleep(10)
        assert not rig.modem.module.waits
    rig.options = Options(call_waiting=True)
    await rig.plug()
    async with rig.idle_line():
        await trio.sleep(10)
        assert rig.modem.module.waits


async def test_a_number_is_hidden_or_shown(rig: Rig, autojump_clock: Clock) -> None:
    for hidden in (True, False):
        rig.options = Options(hide_number=hidden)
        phone = rig.phone(answers_after_s=3)
        async with rig.idle_line() as line:
            await line.dial(THEIRS)
            assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
            assert phone.calls[-1].number == (None if hidden else rig.modem.number)
            await line.hang_up()
            assert await events(line, 2) == [Released(16), IDLE]
        await rig.plug()
