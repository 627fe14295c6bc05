"""Calls that an analog line makes: how it knows that the far end rings, answers, is busy or is nobody."""

from dataclasses import replace

import pytest
import trio

from drivers.errors import CommandError
from drivers.line import Alerting, Answered, LineState, Released
from hil.exchange import LineState as Exchange
from hil.plans import PLANS
from tests.analog import COUNTRIES, IN_USE, THEIRS, Clock, each_pair, noise, open_line, outgoing, over


@each_pair
async def test_a_far_end_rings_and_answers_by_a_voice(model: str, country: str, autojump_clock: Clock) -> None:
    async with open_line(model, country) as rig:
        phone = rig.phone(answers_after_s=11, says=noise(3, 3))
        async with outgoing(rig):
            assert await rig.next() == Alerting()
            assert phone.calls[0].answered_at is None
            assert await rig.next() == Answered()
            answered_at = phone.calls[0].answered_at
            assert answered_at is not None
            assert trio.current_time() - answered_at < 1
            await trio.sleep(5)
            await rig.line.hang_up()
            await over(rig)


@pytest.mark.parametrize("country", COUNTRIES)
async def test_a_far_end_that_answers_and_is_silent_has_answered(country: str, autojump_clock: Clock) -> None:
    async with open_line("cx93010", country) as rig:
        phone = rig.phone(answers_after_s=11)
        async with outgoing(rig):
            assert await rig.next() == Alerting()
            assert await rig.next() == Answered()
            answered_at = phone.calls[0].answered_at
            assert answered_at is not None
            assert 0 < trio.current_time() - answered_at < 12
            phone.calls[0].hang_up()
            await over(rig)


@pytest.mark.parametrize("country", COUNTRIES)
async def test_a_far_end_that_never_answers_never_has(country: str, autojump_clock: Clock) -> None:
    async with open_line("cx93010", country) as rig, outgoing(rig, "no-answer"):
        assert await rig.next() == Alerting()
        assert await rig.next() == Released(34)


@each_pair
async def test_busy_is_told_by_its_tone(model: str, country: str, autojump_clock: Clock) -> None:
    async with open_line(model, country) as rig, outgoing(rig, "busy"):
        await over(rig, 17)


@pytest.mark.parametrize("country", COUNTRIES)
async def test_who_rejects_after_it_rang_has_not_answered(country: str, autojump_clock: Clock) -> None:
    async with open_line("cx93010", country) as rig, outgoing(rig, "reject", answers_after_s=8):
        assert await rig.next() == Alerting()
        await over(rig, 17, within_s=15)


@pytest.mark.parametrize("country", COUNTRIES)
async def test_a_number_that_nobody_has_is_congestion(country: str, autojump_clock: Clock) -> None:
    async with open_line("cx93010", country) as rig:
        await rig.line.dial("+33111111111")
        assert await rig.next() == IN_USE
        async with rig.sound():
            await over(rig, 34, within_s=20)


async def test_polarity_is_the_answer_where_the_line_has_it_and_nothing_else(autojump_clock: Clock) -> None:
    plan = replace(PLANS["FR"], polarity=True)
    async with open_line(plan=plan, polarity=True) as rig:
        phone = rig.phone(answers_after_s=20)
        async with outgoing(rig):
            assert await rig.next() == Alerting()
            assert await rig.next() == Answered()
            assert trio.current_time() == pytest.approx(phone.calls[0].answered_at, abs=0.1)
            await trio.sleep(10)
            phone.calls[0].hang_up()
            await over(rig, within_s=1)


async def test_no_dial_tone_is_a_refusal(autojump_clock: Clock) -> None:
    # An exchange whose tones are not the modem's: France's, for a modem of the United States.
    async with open_line("cx93010", "US", plan=PLANS["GB"]) as rig:
        rig.modem.voice_modem.daa.tone = lambda kind, country: None  # type: ignore[method-assign]
        with pytest.raises(CommandError, match="NO DIALTONE"):
            await rig.line.dial(THEIRS)
        # Or else its relay has stuck.
        assert rig.wire.drops == 1
        await trio.sleep(2)
        assert rig.modem.exchange.state is Exchange.IDLE


@pytest.mark.parametrize("after_s", [0.0, 0.3, 1.0, 2.0, 3.0, 6.0, 12.0, 20.0])
async def test_an_order_may_be_given_up_at_any_time(after_s: float, autojump_clock: Clock) -> None:
    async with open_line() as rig:
        rig.phone(answers_after_s=10)
        with trio.move_on_after(after_s):
            await rig.line.dial(THEIRS)
            async with rig.sound():
                await trio.sleep_forever()
        await rig.line.hang_up()
        await trio.sleep(3)
        assert rig.line.state is LineState.IDLE
        assert rig.modem.exchange.state is Exchange.IDLE
        assert not rig.modem.voice_modem.daa.off_hook


async def test_hanging_up_ends_the_dialing(autojump_clock: Clock) -> None:
    async with open_line() as rig, trio.open_nursery() as nursery:

        async def dial() -> None:
            with pytest.raises(CommandError):
                await rig.line.dial(THEIRS)

        nursery.start_soon(dial)
        await trio.sleep(2)
        await rig.line.hang_up()
        await trio.sleep(3)
        assert rig.modem.exchange.state is Exchange.IDLE
