"""An analog line of the bench at work: calls with sound both ways, over a tty, in engine ticks and trio's time."""

import os
import termios
from array import array
from dataclasses import replace

import pytest
import trio

from hil.analog import AnalogLine
from hil.bench import Bench, BenchLine
from hil.exchange import LineState
from hil.network import Cause, State
from hil.plans import PLANS, ordered
from native import FRAME_SAMPLES, Engine, ToneKind, VoiceFormat, dtmf, ulaw_encode
from tests.analog_host import (
    AMERICAN,
    CONNECT,
    ENGLISH,
    INDIAN,
    OK,
    OURS,
    PATIENCE_S,
    SILENCE,
    THEIRS,
    Host,
    analog,
    found,
    loudest,
    speech,
    taken_apart,
)


@pytest.mark.parametrize(
    ("model", "sampling", "told"),
    [
        ("cx93010", "131", b"NMBR = 0783484044"),
        ("usr5637", "131,8000", b"NMBR=0783484044"),
        ("v253", "4", b"NMBR=0783484044"),
        ("zoom3095", "131", b"NMBR = 0783484044"),
    ],
)
async def test_a_call_comes_in_with_its_number_and_both_ends_hear_each_other(
    autojump_clock, tmp_path, model, sampling, told
):
    async with analog(tmp_path, model) as host:
        await host.set_up(sampling=sampling)
        theirs, ours = speech(1), speech(2)
        call = host.bench.subscriber(THEIRS).dial(OURS, play=theirs)
        await host.until(told)
        await host.take(call)
        heard, _ = taken_apart(await host.hear(80, ulaw_encode(ours)))
        assert ulaw_encode(theirs) in heard
        assert ours in call.heard()
        call.hang_up()
        assert await call.ended() == Cause.NORMAL


async def test_a_number_is_dialed_and_its_progress_is_heard(autojump_clock, tmp_path):
    async with analog(tmp_path, "usr5637") as host:
        await host.set_up(sampling="131,8000")
        phone = host.bench.subscriber(THEIRS, answers_after_s=8)
        await host.command("ATX4DT0783484044;")
        await host.command("AT+VTR", CONNECT)
        [call] = phone.calls
        assert call.number == OURS
        sound, codes = taken_apart(await host.hear(300))
        assert found(sound) == [ToneKind.RINGBACK]
        # A USR5637 has no code for it.
        assert codes == ""
        await host.hear(150)
        assert call.state is State.ACTIVE
        call.hang_up()
        sound, codes = taken_apart(await host.hear(150))
        assert found(sound) == [ToneKind.BUSY]
        assert set(codes) == {"b"}
        assert host.line.exchange.state is LineState.CLEARED
        await host.stream.send_all(b"\x10\x03")
        await host.until(b"\x10\x03" + OK)
        await host.command("ATH")
        assert host.line.refuses() is None


@pytest.mark.parametrize(("number", "tone"), [("0799999999", ToneKind.CONGESTION), ("0783484044", ToneKind.BUSY)])
async def test_a_call_that_fails_is_a_tone_on_the_line(autojump_clock, tmp_path, number, tone):
    async with analog(tmp_path) as host:
        await host.set_up()
        host.bench.subscriber(THEIRS, behaviour="busy")
        await host.command(f"ATDT{number};")
        await host.command("AT+VTR", CONNECT)
        sound, _ = taken_apart(await host.hear(400))
        assert found(sound) == [tone]
        assert host.line.calls == []


async def test_atd_without_a_semicolon_guesses_when_it_is_connected(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        await host.set_up("AT+VRA=50")
        phone = host.bench.subscriber(THEIRS, answers_after_s=12)
        said = await host.command("ATDT0783484044", b"\r\nVCON\r\n")
        assert said.count(b"RINGING") == 3
        # It says so long after the fact.
        [call] = phone.calls
        assert call.answered_at is not None
        assert trio.current_time() - call.answered_at > 5


async def test_keys_are_told_by_the_modem_and_heard_as_tones(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        await host.set_up()
        call = host.bench.subscriber(THEIRS).dial(OURS)
        await host.take(call)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.press, "5#")
            sound, codes = taken_apart(await host.hear(40))
        assert codes == "/55~/##~"
        assert loudest(sound) > 3000
        # Ours, in the stream's sound: who listens on the network hears them, and knows them for keys.
        await host.hear(60, ulaw_encode(dtmf("42", on_ms=100, off_ms=100)))
        assert call.keys == "42"


async def test_keys_by_vts_reach_the_far_end_as_tones_and_as_keys(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        await host.set_up()
        call = host.bench.subscriber(THEIRS).dial(OURS)
        await host.until(b"\x10R")
        await host.command("AT+VLS=1")
        await call.answered()
        # Off hook, and no stream.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.command, "AT+VTS=7,{8,20}")
            await host.tick(40)
        assert call.keys == "78"
        assert max(map(abs, array("h", call.heard()))) > 3000


async def test_a_host_dials_by_tones_in_its_stream(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        await host.set_up("AT+VLS=1")
        phone = host.bench.subscriber(THEIRS)
        await host.command("AT+VTR", CONNECT)
        sound, codes = taken_apart(await host.hear(200))
        assert found(sound) == [ToneKind.DIAL]
        assert codes == "d"
        await host.hear(130, ulaw_encode(dtmf("0783484044", on_ms=100, off_ms=100)))
        assert [call.number for call in phone.calls] == [OURS]


@pytest.mark.parametrize(
    ("number", "country", "model", "sampling", "told"),
    [
        (AMERICAN, "B5", "cx93010", "131", "ld"),
        (AMERICAN, "B5", "usr5637", "131,8000", "hHd"),
        (ENGLISH, "B4", "cx93010", "131", "lb"),
        (OURS, "3D", "cx93010", "131", "bb"),
    ],
)
async def test_a_far_end_that_clears_is_told_as_the_country_and_the_modem_have_it(
    autojump_clock, tmp_path, number, country, model, sampling, told
):
    async with analog(tmp_path, model, number) as host:
        await host.set_up(country=country, sampling=sampling)
        call = host.bench.subscriber(THEIRS).dial(number)
        await host.take(call)
        await host.hear(20)
        call.hang_up()
        _, codes = taken_apart(await host.hear(170))
        assert codes.startswith(told)


async def test_polarity_tells_of_the_answer_and_of_the_end_where_it_was_ordered(autojump_clock, tmp_path):
    async with analog(tmp_path, plan=replace(PLANS["FR"], polarity=True)) as host:
        await host.set_up()
        phone = host.bench.subscriber(THEIRS, answers_after_s=2)
        await host.command("ATDT0783484044;")
        await host.command("AT+VTR", CONNECT)
        assert taken_apart(await host.hear(250))[1].count("L") == 1
        phone.calls[0].hang_up()
        assert "L" in taken_apart(await host.hear(50))[1]


async def test_a_far_end_may_clear_without_a_word(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        host.line.faults.silent_clear = True
        await host.set_up()
        call = host.bench.subscriber(THEIRS).dial(OURS)
        await host.take(call)
        call.hang_up()
        sound, codes = taken_apart(await host.hear(300))
        assert loudest(sound) == 0
        assert codes == ""


async def test_a_ring_that_was_abandoned_just_stops(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        await host.set_up()
        call = host.bench.subscriber(THEIRS).dial(OURS)
        await host.until(b"0783484044\r\n")
        call.hang_up()
        with trio.move_on_after(60) as waited:
            await host.until(b"R")
        assert waited.cancelled_caught


async def test_indian_callers_are_told_by_keys_before_the_first_ring(autojump_clock, tmp_path):
    async with analog(tmp_path, "v253", INDIAN) as host:
        await host.set_up(country="53", sampling="4")
        host.bench.subscriber(THEIRS).dial(INDIAN)
        assert b"NMBR=0033783484044" in await host.until(b"\x10R")


async def test_a_withheld_number_is_said_to_be_private(autojump_clock, tmp_path):
    async with analog(tmp_path, "usr5637") as host:
        await host.set_up(sampling="131,8000")
        host.bench.subscriber(THEIRS).dial(OURS, withheld=True)
        await host.until(b"NMBR=P\r\n")


async def test_the_line_returns_what_it_is_sent_and_has_its_noise(autojump_clock, tmp_path):
    async with analog(tmp_path, plan=replace(PLANS["FR"], echo_db=14.0, noise_dbm0=-60.0)) as host:
        await host.set_up()
        call = host.bench.subscriber(THEIRS).dial(OURS)
        await host.take(call)
        assert 5 < loudest(taken_apart(await host.hear(20))[0]) < 200
        sound, _ = taken_apart(await host.hear(50, ulaw_encode(speech(2, 0.8))))
        assert loudest(sound) == pytest.approx(8000 * 10 ** (-14 / 20), rel=0.1)


async def test_a_writer_who_does_not_pace_himself_is_played_whole(autojump_clock, tmp_path):
    """As vgetty does it: all at once, and the tty is full until the modem has played some of it."""
    async with analog(tmp_path) as host:
        await host.set_up()
        call = host.bench.subscriber(THEIRS).dial(OURS)
        await host.until(b"\x10R")
        await host.command("AT+VLS=1")
        await call.answered()
        await host.command("AT+VTX", CONNECT)
        said = speech(3, 3.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.stream.send_all, ulaw_encode(said).replace(b"\x10", b"\x10\x10") + b"\x10\x03")
            await host.tick(140)
            assert OK not in host.read
            await host.tick(30)
        await host.until(OK)
        assert said in call.heard()


async def test_a_modem_that_gets_nothing_to_play_says_so(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        await host.set_up("AT+VLS=1")
        await host.command("AT+VTX", CONNECT)
        await host.stream.send_all(SILENCE * 2)
        await host.tick(50)
        assert await host.until(b"u") == b"\x10u"


async def test_sound_that_the_host_does_not_read_is_lost_and_told(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        await host.set_up("AT+VLS=1")
        await host.command("AT+VTR", CONNECT)
        # More than a socket and the modem hold together.
        await host.tick(2500)
        sound, codes = taken_apart(await host.hear(50))
        # Behind the tones that the exchange has for who does not dial.
        assert codes.count("o") == 1
        assert len(sound) < 2000 * FRAME_SAMPLES


async def test_a_modems_clock_may_be_fast(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        host.line.faults.drift_ppm = 4000
        await host.set_up("AT+VLS=1")
        await host.command("AT+VTR", CONNECT)
        sound, _ = taken_apart(await host.hear(500))
        assert len(sound) == pytest.approx(500 * FRAME_SAMPLES * 1.004, abs=2 * FRAME_SAMPLES)


async def test_usb_may_stand_still_and_then_bring_all_at_once(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        await host.set_up("AT+VLS=1")
        await host.command("AT+VTR", CONNECT)
        host.line.stall(0.5)
        assert await host.hear(20) == b""
        assert len(await host.hear(10)) >= 28 * FRAME_SAMPLES


async def test_an_unplugged_modem_leaves_the_line_which_then_rings_to_nobody(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        await host.set_up()
        phone = host.bench.subscriber(THEIRS)
        call = phone.dial(OURS)
        await host.take(call)
        await host.bench.line("fxo").unplug()
        assert await call.ended() == Cause.NORMAL
        unheard = phone.dial(OURS)
        await unheard.alerting()
        assert await unheard.ended() == Cause.NO_ANSWER


async def test_a_host_that_goes_lets_dtr_fall_and_with_it_the_line(autojump_clock, tmp_path):
    async with analog(tmp_path) as host:
        await host.set_up()
        call = host.bench.subscriber(THEIRS).dial(OURS)
        await host.take(call)
        await host.stream.aclose()
        with trio.fail_after(PATIENCE_S):
            assert await call.ended() == Cause.NORMAL


async def test_on_a_pty_the_last_close_is_dtrs_fall(tmp_path):
    async with Bench([BenchLine("fxo", OURS, "cx93010")], directory=tmp_path) as bench:
        line = bench.line("fxo")
        assert isinstance(line.modem, AnalogLine)
        call = bench.subscriber(THEIRS).dial(OURS)
        fd = os.open(line.at_path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        termios.tcflush(fd, termios.TCIOFLUSH)
        with trio.fail_after(PATIENCE_S):
            async with trio.lowlevel.FdStream(fd) as tty:
                host = Host(bench, line.modem, tty)
                await host.set_up("AT+VLS=1")
                await call.answered()
                await host.command("AT+VTR", CONNECT)
            assert await call.ended() == Cause.NORMAL


def test_a_line_is_ordered_as_its_country_has_it_and_with_more():
    assert ordered("GB") is PLANS["GB"]
    plan = ordered("FR,polarity,echo=14,noise=-60")
    assert plan == replace(PLANS["FR"], polarity=True, echo_db=14.0, noise_dbm0=-60.0)
    for text, fault in (("XX", "are not known"), ("FR,loud", "none of"), ("FR,echo=much", "much")):
        with pytest.raises(ValueError, match=fault):
            ordered(text)


async def test_a_box_is_told_what_its_numbers_country_does_not_tell(autojump_clock, tmp_path):
    lines = [BenchLine("a", OURS, "cx93010"), BenchLine("b", ENGLISH, "usr5637", plan=ordered("IN,polarity"))]
    async with Bench(lines, directory=tmp_path, realtime=False) as bench:
        tables = [line.configuration for line in bench.lines]
    assert f'at = "{tmp_path}/a-at"\n' in tables[0]
    assert not {"pcm", "country", "polarity"} & {line.split(" ")[0] for line in tables[0].splitlines()}
    assert 'country = "IN"\npolarity = true\n' in tables[1]


async def test_the_engines_own_port_understands_the_stream(autojump_clock, tmp_path):
    """What our driver does: the host's end is a voice port, too."""
    async with analog(tmp_path) as host:
        await host.set_up()
        call = host.bench.subscriber(THEIRS).dial(OURS, play=speech(1))
        await host.take(call)
        assert isinstance(host.stream, trio.lowlevel.FdStream)
        with Engine() as engine:
            port = engine.voice(host.stream.fileno(), VoiceFormat.PCMU, early=bytes(host.read))
            recorder = engine.recorder()
            engine.connect(port, recorder.left)
            engine.connect(engine.player(speech(2)), port)
            for _ in range(80):
                await host.tick()
                engine.tick()
            heard = array("h", recorder.read())[0::2].tobytes()
            stats = port.stats()
        assert speech(1)[640:-640] in heard
        assert speech(2)[640:-640] in call.heard()
        assert (stats.underruns, stats.modem_underruns) == (0, 0)
