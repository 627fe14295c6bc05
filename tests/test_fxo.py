"""The driver of analog lines against simulated exchanges and voice modems: every model, five countries."""

import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy
import pytest
import trio
import trio.testing

from drivers.errors import CommandError, LineBlocked, LineError, LineLost
from drivers.fxo import open_fxo_on
from drivers.line import Alerting, Answered, Digit, Identity, Incoming, LineState, Released, StateChanged
from drivers.voicemodels import VOICE_MODELS
from hil.exchange import LineState as Exchange
from hil.listening import align, sound
from hil.plans import PLANS
from hil.subscriber import Behaviour, PhoneCall
from tests.analog import OURS, THEIRS, Rig, Sound, open_line, open_rig

Clock = trio.testing.MockClock
IDLE, IN_USE = StateChanged(LineState.IDLE), StateChanged(LineState.IN_USE)
MODELS = ("usr5637", "cx93010", "zoom3095", "v253")
COUNTRIES = tuple(OURS)
# Each model and each country, and those that have something to do with one another: USR5637 tells no loop break, Zoom
# 3095 tells the number late, V.253's words are reports where the number comes before the ring.
PAIRS = (("usr5637", "US"), ("cx93010", "FR"), ("zoom3095", "DE"), ("v253", "GB"), ("cx93010", "IN"), ("usr5637", "GB"))
each_pair = pytest.mark.parametrize(("model", "country"), PAIRS)
# Far longer than it takes, and shorter than any other way out.
SOON_S = 10


def noise(seconds: float, seed: int) -> bytes:
    """In the middle of the telephone's band, which has no low notes (nor has the echo canceller); never the same."""
    spectrum = numpy.fft.rfft(numpy.random.default_rng(seed).normal(0, 1, round(8000 * seconds)))
    hz = numpy.fft.rfftfreq(round(8000 * seconds), 1 / 8000)
    spectrum[(hz < 600) | (hz > 3000)] = 0
    made = numpy.fft.irfft(spectrum)
    return (3000 * made / numpy.std(made)).clip(-30000, 30000).astype("<i2").tobytes()


@asynccontextmanager
async def incoming(rig: Rig) -> AsyncIterator[tuple[PhoneCall, Sound]]:
    """A call that we have answered."""
    call = rig.phone().dial(rig.number)
    assert isinstance(await rig.next(), Incoming)
    assert await rig.next() == IN_USE
    await rig.line.answer()
    async with rig.sound() as ours:
        assert await rig.next() == Answered()
        await call.answered()
        yield call, ours


@asynccontextmanager
async def outgoing(rig: Rig, behaviour: str = "answer", *, answers_after_s: float = 0.0) -> AsyncIterator[Sound]:
    """A call that we have dialed."""
    rig.phone(behaviour, answers_after_s=answers_after_s)
    await rig.line.dial(THEIRS)
    assert await rig.next() == IN_USE
    async with rig.sound() as ours:
        yield ours


async def over(rig: Rig, cause: int = 16, within_s: float = SOON_S) -> None:
    """The call is, and nothing is left of it."""
    assert await rig.next(within_s) == Released(cause)
    assert await rig.next() == IDLE
    assert not rig.modem.voice_modem.daa.off_hook
    assert rig.modem.voice_modem.daa.service_class == "0"
    await trio.sleep(2)
    assert rig.modem.exchange.state is Exchange.IDLE
    assert not rig.network.calls


async def why_not(rig: Rig, model: str) -> LineLost:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_fxo_on(rig.wire, "jack", VOICE_MODELS[model], rig.line_profile):
            pass
    (exc,) = caught.value.exceptions
    assert isinstance(exc, LineLost)
    return exc


# --- to come up ---


@each_pair
async def test_a_line_comes_up_in_its_country(model: str, country: str, autojump_clock: Clock) -> None:
    async with open_line(model, country) as rig:
        assert rig.line.state is LineState.IDLE
        daa = rig.modem.voice_modem.daa
        assert daa.country == country
        assert (daa.service_class, daa.off_hook) == ("0", False)
        settings = {"S0": "0", "&D": "2", "X": "4", "+VCID": "1", "+VIT": "0", "+VNH": "0", "E": "0"}
        assert settings.items() <= daa.values.items()
        assert daa.values["+VSD"].endswith(",0")
        assert trio.current_time() < 2
        await rig.nothing(600)
        assert rig.line.recoveries.timeouts == rig.line.recoveries.noise == 0


async def test_who_it_is_is_known(autojump_clock: Clock) -> None:
    async with open_line("cx93010") as rig:
        assert rig.line.identity == Identity("V90", "CX93001-EIS_V0.2013-V92", "", "", "")
    async with open_line("usr5637") as rig:
        assert rig.line.identity.model == "U.S. Robotics 56K FAX USB V1.2.23"


@pytest.mark.parametrize("model", MODELS)
async def test_a_modem_without_voice_is_refused_in_words(model: str, autojump_clock: Clock) -> None:
    async with open_rig(model) as rig:
        rig.modem.faults.no_voice = True
        exc = await why_not(rig, model)
        assert isinstance(exc, LineBlocked)
        assert "no voice (class 8)" in str(exc)


async def test_a_modem_that_is_dead_is_lost_and_no_busy_loop(autojump_clock: Clock) -> None:
    async with open_rig() as rig:
        rig.modem.faults.deaf = True
        assert str(await why_not(rig, "cx93010")) == "no answer to AT commands"


async def test_a_modem_that_was_left_in_a_stream_is_taken_out_of_it(autojump_clock: Clock) -> None:
    async with open_rig() as rig:
        await rig.wire.send(b"ATE0+FCLASS=8;+VSM=131,8000;+VLS=1\r")
        await trio.sleep(0.1)
        await rig.wire.send(b"AT+VTR\r")
        await trio.sleep(3)
        assert rig.modem.voice_modem.daa.stream
        async with open_fxo_on(rig.wire, "jack", VOICE_MODELS["cx93010"], rig.line_profile) as rig.line:
            await rig.next()
            assert not rig.modem.voice_modem.daa.off_hook


async def test_unplugged_is_lost(autojump_clock: Clock) -> None:
    async with open_line() as rig:
        rig.modem.unplug()
        with pytest.raises(LineLost, match="gone"):
            await rig.next(5)
        assert rig.line.state is LineState.DOWN
        with pytest.raises(LineLost, match="gone"):
            await rig.line.dial(THEIRS)


# --- who calls ---


@each_pair
async def test_a_number_is_told_before_or_behind_the_first_ring(
    model: str, country: str, autojump_clock: Clock
) -> None:
    async with open_line(model, country) as rig:
        call = rig.phone().dial(rig.number)
        told = await rig.next(15)
        assert isinstance(told, Incoming)
        assert told.number is not None
        assert told.number.endswith("783484044")
        assert await rig.next() == IN_USE
        await rig.nothing(20)
        call.hang_up()
        await over(rig)


@each_pair
async def test_who_does_not_say_who_he_is_calls_all_the_same(model: str, country: str, autojump_clock: Clock) -> None:
    async with open_line(model, country) as rig:
        call = rig.phone().dial(rig.number, withheld=True)
        assert await rig.next(15) == Incoming(None)
        call.hang_up()
        assert await rig.next() == IN_USE
        await over(rig)
        rig.modem.faults.no_caller_id = True
        call = rig.phone(number="+33783484045").dial(rig.number)
        assert await rig.next(15) == Incoming(None)
        call.hang_up()
        assert await rig.next() == IN_USE
        await over(rig)


@pytest.mark.parametrize("country", COUNTRIES)
async def test_a_caller_who_gives_up_has_called_once(country: str, autojump_clock: Clock) -> None:
    async with open_line("cx93010", country) as rig:
        phone = rig.phone()
        for rings_s in (5, 9, 30):
            call = phone.dial(rig.number)
            await trio.sleep(rings_s)
            call.hang_up()
            given_up_at = trio.current_time()
            assert isinstance(await rig.next(15), Incoming)
            assert await rig.next() == IN_USE
            await over(rig)
            assert trio.current_time() - given_up_at < 12
        await rig.nothing()


async def test_a_call_that_nobody_wants_rings_on_and_is_over_when_it_does_not(autojump_clock: Clock) -> None:
    async with open_line() as rig:
        call = rig.phone().dial(rig.number)
        await rig.next()
        assert await rig.next() == IN_USE
        await rig.line.hang_up()
        await rig.nothing(20)
        with pytest.raises(CommandError):
            await rig.line.dial(THEIRS)
        call.hang_up()
        await over(rig, 21)


# --- off-hook ---


@pytest.mark.parametrize("model", MODELS)
async def test_a_call_is_answered_at_once_and_ends_by_the_far_end(model: str, autojump_clock: Clock) -> None:
    async with open_line(model) as rig:
        for _ in range(3):
            async with incoming(rig) as (call, _):
                assert call.answered_at is not None
                assert trio.current_time() - call.answered_at < 1.5
                await trio.sleep(5)
                call.hang_up()
                await over(rig)
        assert rig.line.recoveries.repairs == rig.line.recoveries.noise == rig.line.recoveries.timeouts == 0


@pytest.mark.parametrize("model", MODELS)
async def test_both_ends_hear_each_other(model: str, autojump_clock: Clock) -> None:
    async with open_line(model) as rig, incoming(rig) as (call, ours):
        await trio.sleep(1)
        recorder = rig.engine.recorder()
        rig.engine.connect(ours.port, recorder.left)
        said, heard = noise(3, 1), noise(3, 2)
        rig.engine.connect(rig.engine.player(said), ours.port)
        call.say(heard)
        await trio.sleep(4)
        left = numpy.frombuffer(recorder.read(), "<i2")[0::2].tobytes()
        assert align(sound(heard), sound(left)).correlation > 0.95
        assert align(sound(said), sound(call.heard())).correlation > 0.95
        stats = ours.port.stats()
        assert (stats.modem_underruns, stats.modem_overruns) == (0, 0)
        await rig.line.hang_up()
        await over(rig)


async def test_the_lines_echo_is_taken_out(autojump_clock: Clock) -> None:
    plan = replace(PLANS["FR"], echo_db=12.0)
    async with open_line(plan=plan) as rig, incoming(rig) as (_, ours):
        recorder = rig.engine.recorder()
        rig.engine.connect(ours.port, recorder.left)
        rig.engine.connect(rig.engine.player(noise(12, 1), loop=True), ours.port)
        await trio.sleep(12)
        left = numpy.frombuffer(recorder.read(), "<i2")[0::2].astype(float)
        said = numpy.frombuffer(noise(12, 1), "<i2").astype(float)
        assert 20 * numpy.log10(numpy.std(said) / numpy.std(left[-16000:])) > 25


@pytest.mark.parametrize("rings", [1, 2, 3])
async def test_off_hook_that_comes_late_is_waited_for_and_asked_for_again(rings: int, autojump_clock: Clock) -> None:
    async with open_line("usr5637") as rig:
        rig.modem.faults.late_rings = rings
        async with incoming(rig) as (call, _):
            await trio.sleep(3)
            call.hang_up()
            await over(rig)


async def test_a_modem_that_does_not_go_off_hook_is_a_refusal_and_the_call_rings_on(autojump_clock: Clock) -> None:
    async with open_line() as rig:
        rig.modem.faults.refused = {"+VLS": 0, "A": 0}
        call = rig.phone().dial(rig.number)
        await rig.next()
        await rig.next()
        with pytest.raises(CommandError):
            await rig.line.answer()
        rig.modem.faults.refused = {}
        await trio.sleep(4)
        await rig.line.answer()
        async with rig.sound():
            assert await rig.next() == Answered()
            call.hang_up()
            await over(rig)


async def test_a_caller_who_gives_up_as_we_answer_is_a_call_that_ends(autojump_clock: Clock) -> None:
    async with open_line() as rig:
        call = rig.phone().dial(rig.number)
        await rig.next()
        await rig.next()
        call.hang_up()
        await rig.line.answer()
        async with rig.sound():
            assert await rig.next() == Answered()
            # We hear the dial tone.
            await over(rig)


# --- keys ---


@pytest.mark.parametrize("model", MODELS)
async def test_each_key_is_told_once(model: str, autojump_clock: Clock) -> None:
    async with open_line(model) as rig, incoming(rig) as (call, _):
        await call.press("0123456789*#11")
        told = [await rig.next() for _ in range(14)]
        assert told == [Digit(key) for key in "0123456789*#11"]
        await rig.nothing(3)


async def test_a_key_that_the_modem_repeats_is_told_once(autojump_clock: Clock) -> None:
    async with open_line() as rig, incoming(rig) as (call, _):
        rig.modem.faults.key_repeats = 2
        await call.press("15#")
        assert [await rig.next() for _ in range(3)] == [Digit(key) for key in "15#"]
        await rig.nothing(3)


async def test_keys_of_ours_are_heard_and_are_not_ours_to_hear(autojump_clock: Clock) -> None:
    plan = replace(PLANS["FR"], echo_db=10.0)
    async with open_line(plan=plan) as rig, incoming(rig) as (call, _):
        await rig.line.send_dtmf("159#")
        await trio.sleep(1)
        assert call.keys == "159#"
        await rig.nothing(2)
        with pytest.raises(ValueError, match="keys"):
            await rig.line.send_dtmf("5x")


# --- calls that we make ---


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


async def test_one_line_has_one_call(autojump_clock: Clock) -> None:
    async with open_line() as rig, incoming(rig):
        with pytest.raises(CommandError, match="in use"):
            await rig.line.dial(THEIRS)
        with pytest.raises(CommandError, match="nobody"):
            await rig.line.answer()
    async with open_line() as rig:
        with pytest.raises(CommandError, match="nobody"):
            await rig.line.answer()
        with pytest.raises(CommandError, match="no call"):
            await rig.line.send_dtmf("1")
        with pytest.raises(ValueError, match="number"):
            await rig.line.dial("me")


# --- the end ---


@each_pair
async def test_a_far_end_that_hangs_up_is_noticed(model: str, country: str, autojump_clock: Clock) -> None:
    async with open_line(model, country) as rig, incoming(rig) as (call, _):
        await trio.sleep(7)
        call.hang_up()
        await over(rig)


@pytest.mark.parametrize("country", COUNTRIES)
async def test_a_busy_tone_alone_is_enough(country: str, autojump_clock: Clock) -> None:
    async with open_line("cx93010", country) as rig, incoming(rig) as (call, _):
        rig.modem.faults.busy_only = True
        await trio.sleep(7)
        call.hang_up()
        await over(rig)


async def test_silence_both_ways_ends_a_call_and_one_sided_talk_does_not(autojump_clock: Clock) -> None:
    async with open_line(silence_s=30.0) as rig, incoming(rig) as (call, ours):
        rig.modem.faults.silent_clear = True
        call.say(noise(40, 1))
        await rig.nothing(45)
        player = rig.engine.player(noise(5, 2), loop=True)
        rig.engine.connect(player, ours.port)
        call.hang_up()
        await rig.nothing(60)
        player.close()
        since = trio.current_time()
        await over(rig, 102, within_s=40)
        assert 28 < trio.current_time() - since < 36


async def test_no_call_lasts_for_ever(autojump_clock: Clock) -> None:
    async with open_line(ceiling_s=40.0) as rig, incoming(rig) as (call, _):
        call.say(noise(5, 1) * 12)
        await over(rig, 102, within_s=42)


@pytest.mark.parametrize("country", ["FR", "US"])
async def test_talk_is_no_end(country: str, autojump_clock: Clock) -> None:
    async with open_line("usr5637", country) as rig, incoming(rig) as (call, ours):
        rig.modem.faults.spurious = "bdKbdh"[:5]
        call.say(noise(60, 1))
        rig.engine.connect(rig.engine.player(noise(60, 2)), ours.port)
        await rig.nothing(55)


@pytest.mark.parametrize("model", MODELS)
async def test_a_modem_that_does_not_leave_its_stream_loses_its_dtr(model: str, autojump_clock: Clock) -> None:
    async with open_line(model) as rig, incoming(rig) as (call, _):
        rig.modem.faults.exit_ignored = True
        call.hang_up()
        await over(rig, within_s=20)
        assert rig.wire.drops == rig.line.recoveries.repairs == 1


async def test_a_modem_that_stays_off_hook_loses_its_dtr(autojump_clock: Clock) -> None:
    async with open_line() as rig, incoming(rig) as (call, _):
        rig.modem.faults.stuck_off_hook = True
        rig.modem.faults.refused = {"+VLS": 0, "H": 0}
        call.hang_up()
        await over(rig, within_s=20)
        assert rig.wire.drops == 1


async def test_a_modem_that_even_so_does_not_hear_is_lost(autojump_clock: Clock) -> None:
    async with open_line() as rig, incoming(rig) as (call, _):
        rig.modem.faults.wedged = True
        call.hang_up()
        with pytest.raises(LineLost, match="no answer"):
            await rig.next(60)


async def test_a_stream_that_the_modem_leaves_is_begun_again(autojump_clock: Clock) -> None:
    async with open_line() as rig, incoming(rig) as (call, ours):
        await trio.sleep(2)
        modem = rig.modem.voice_modem
        modem.daa.finish_stream("OK")
        rig.modem._act(modem._settled())
        await trio.sleep(1)
        recorder = rig.engine.recorder()
        rig.engine.connect(ours.port, recorder.left)
        call.say(noise(2, 2))
        await trio.sleep(3)
        left = numpy.frombuffer(recorder.read(), "<i2")[0::2].tobytes()
        assert align(sound(noise(2, 2)), sound(left)).correlation > 0.95
        call.hang_up()
        await over(rig)


@pytest.mark.parametrize("country", COUNTRIES)
async def test_a_recall_is_one_and_the_call_goes_on(country: str, autojump_clock: Clock) -> None:
    async with open_line("cx93010", country) as rig, incoming(rig):
        await trio.sleep(2)
        for state in (Exchange.RECALL, Exchange.TALKING):
            await rig.line.flash()
            assert rig.modem.exchange.state is state
            await trio.sleep(1)
        await rig.nothing(5)
        await rig.line.hang_up()
        await over(rig)


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


async def test_what_an_order_that_was_given_up_has_left_is_put_away_however_long(
    autojump_clock: Clock,
) -> None:
    async with open_line() as rig:
        rig.modem.faults.hung, rig.modem.faults.delay_s = {"+VLS"}, 1.0
        call = rig.phone().dial(rig.number)
        await rig.next()
        with trio.move_on_after(5):
            await rig.line.answer()
        call.hang_up()
        await trio.sleep(60)
        assert rig.modem.voice_modem.daa.service_class == "0"
        assert rig.modem.exchange.state is Exchange.IDLE


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


@pytest.mark.parametrize("attached", [True, False])
async def test_a_line_that_is_closed_leaves_no_call(attached: bool, autojump_clock: Clock) -> None:
    async with open_rig() as rig:
        async with open_fxo_on(rig.wire, "jack", VOICE_MODELS["cx93010"], rig.line_profile) as rig.line:
            await rig.next()
            call = rig.phone().dial(rig.number)
            await rig.next()
            await rig.next()
            await rig.line.answer()
            if attached:
                async with rig.sound():
                    await call.answered()
                    await trio.sleep(2)
        await trio.sleep(2)
        assert rig.modem.exchange.state is Exchange.IDLE
        assert not rig.network.calls


async def test_unplugged_in_a_call_is_lost_at_once(autojump_clock: Clock) -> None:
    async with open_line() as rig, incoming(rig):
        rig.modem.unplug()
        with pytest.raises(LineLost, match="gone"):
            await rig.next(2)


class Chance:
    """A day of a line: calls of all kinds, given up at any time, while this and that goes wrong."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self._rig = rig
        self._random = random.Random(seed)
        self.log: list[object] = []

    async def day(self, calls: int) -> None:
        for _ in range(calls):
            self._misfortune()
            self.log.append((round(trio.current_time(), 2), self._rig.modem.faults))
            phone = self._rig.phone()
            phone.behaviour = self._random.choice(
                [Behaviour.ANSWER, Behaviour.ANSWER, Behaviour.REJECT, Behaviour.BUSY]
            )
            phone.answers_after_s = self._random.uniform(0, 15)
            phone.says = noise(2, 1) if self._random.random() < 0.7 else b""
            with trio.move_on_after(self._random.choice([0.5, 5, 20, 40])):
                await self._random.choice([self._dial, self._be_called, self._be_called])()
            for call in phone.calls:
                call.hang_up()
            with trio.move_on_after(1):
                await self._rig.line.hang_up()
            await self._settle()

    def _misfortune(self) -> None:
        faults = self._rig.modem.faults
        likely = self._random.random() < 0.5
        faults.late_rings = self._random.choice([0, 1, 2]) if likely else 0
        faults.exit_ignored = likely and self._random.random() < 0.3
        faults.no_caller_id = likely and self._random.random() < 0.3
        faults.busy_only = likely and self._random.random() < 0.3
        faults.silent_clear = likely and self._random.random() < 0.2
        faults.spurious = self._random.choice(["", "bKd", "rsqv"]) if likely else ""
        faults.delay_s = self._random.choice([0.0, 0.05, 1.0]) if likely else 0.0
        faults.hung = {"+VLS"} if likely and self._random.random() < 0.1 else set()

    async def _dial(self) -> None:
        try:
            await self._rig.line.dial(THEIRS)
        except CommandError as exc:
            self.log.append(exc)
            return
        await self._talk()

    async def _be_called(self) -> None:
        self._rig.phone().dial(self._rig.number, withheld=self._random.random() < 0.2)
        while not isinstance(event := await self._rig.line.next_event(), Incoming):
            self.log.append(event)
        try:
            await self._rig.line.answer()
        except CommandError as exc:
            self.log.append(exc)
            return
        await self._talk()

    async def _talk(self) -> None:
        try:
            async with self._rig.sound() as ours:
                self._rig.engine.connect(self._rig.engine.player(noise(3, 2)), ours.port)
                while not isinstance(event := await self._rig.line.next_event(), Released):
                    self.log.append((round(trio.current_time(), 2), event))
        except LineError as exc:
            self.log.append(exc)

    @property
    def _is_free(self) -> bool:
        watch = self._rig.line._watch
        return watch.call.stat is None and watch._modem.at_rest

    async def _settle(self) -> None:
        """Whatever went wrong, the line is free again, and nothing is left of the call."""
        rig = self._rig
        # A ring that was given up is over when the next one does not come; a modem out of step needs some tries.
        with trio.fail_after(60):
            # No event stands for all of it.
            while not (self._is_free and rig.modem.exchange.state is Exchange.IDLE):  # noqa: ASYNC110
                await trio.sleep(0.5)
        await trio.sleep(1)
        with contextlib.suppress(trio.TooSlowError):
            while True:
                self.log.append(await rig.next(0.01))
        assert rig.line.state is LineState.IDLE, self.log[-30:]
        assert not rig.modem.voice_modem.daa.off_hook
        assert rig.modem.voice_modem.daa.service_class == "0"
        assert not rig.network.calls


@pytest.mark.parametrize(("model", "country", "seed"), [(*pair, seed) for seed, pair in enumerate(PAIRS[:4])])
async def test_whatever_goes_wrong_the_line_is_free_again(
    model: str, country: str, seed: int, autojump_clock: Clock
) -> None:
    async with open_line(model, country, silence_s=20.0) as rig:
        await Chance(rig, seed).day(5)
