"""An analog line on each model and in five countries: it comes up, is called, answers, and hears and is heard."""

from dataclasses import replace

import numpy
import pytest
import trio

from drivers.errors import CommandError, LineBlocked, LineLost
from drivers.fxo import open_fxo_on
from drivers.line import Answered, Digit, Identity, Incoming, LineState
from drivers.voicemodels import VOICE_MODELS
from hil.exchange import LineState as Exchange
from hil.listening import align, sound
from hil.plans import PLANS
from tests.analog import (
    COUNTRIES,
    IN_USE,
    MODELS,
    THEIRS,
    Clock,
    Rig,
    each_pair,
    incoming,
    noise,
    open_line,
    open_rig,
    over,
)


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
