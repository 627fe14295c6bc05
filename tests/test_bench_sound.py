"""A simulated module's sound at its PCM port, ticked by hand: when there is any, sample by sample, both ways."""

from array import array
from pathlib import Path

import trio
from trio.testing import MockClock

from hil.board import Profile
from tests.bench_rig import ANNA, OTHER, OWN, Driver, Tape, answered, one_line, run, speech


async def test_sound_crosses_both_ways_sample_by_sample(tmp_path: Path, autojump_clock: MockClock) -> None:
    said, replied = speech(1), speech(1, seed=2)
    async with one_line(tmp_path) as (bench, host, driver):
        call = await answered(bench, driver, play=said)
        tape = Tape(host, replied)
        run(bench, 100, tape)
        assert said in tape.heard
        assert replied in call.heard()
        assert said in call.spoken()
        # What is not said is digital silence.
        assert not any(tape.heard.replace(said, b""))
        assert not any(call.heard().replace(replied, b""))


async def test_the_device_sends_640_bytes_every_40_ms(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        await answered(bench, driver)
        tape = Tape(host)
        run(bench, 500, tape)
        assert tape.chunks == [640] * 250


async def test_without_qpcmv_before_the_call_nothing_is_sent_at_all(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        await driver.ask("AT+QPCMV=0")
        call = await answered(bench, driver, play=speech(0.2))
        tape = Tape(host)
        run(bench, 50, tape)
        assert tape.chunks == []
        assert not any(call.heard())


async def test_a_second_call_is_silent_without_a_new_qpcmv(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        call = await answered(bench, driver)
        tape = Tape(host)
        run(bench, 10, tape)
        call.hang_up()
        await driver.until("NO CARRIER")
        run(bench, 10, tape)
        assert tape.chunks == [640] * 5
        phone = bench.phone(ANNA)
        for expected in (5, 10):
            call = phone.dial(OWN)
            await driver.until("RING")
            await driver.ask("ATA")
            await call.answered()
            run(bench, 10, tape)
            assert tape.chunks == [640] * expected
            call.hang_up()
            await driver.until("NO CARRIER")
            assert await driver.ask("AT+QPCMV=0;+QPCMV=1,0") == ["OK"]


async def test_bytes_written_before_the_call_are_not_heard_in_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        host.pcm.send(speech(0.1))
        call = await answered(bench, driver)
        run(bench, 20, Tape(host))
        assert not any(call.heard())


async def test_who_writes_faster_than_the_air_takes_is_told_to_stop_and_to_go_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        await answered(bench, driver)
        bench.engine.tick()
        host.pcm.send(speech(0.6))
        bench.engine.tick()
        await driver.until("+QPCMV: 0")
        bench.engine.tick(30)
        await driver.until("+QPCMV: 1")


async def test_a_stream_that_stops_leaves_the_call_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        await answered(bench, driver)
        tape = Tape(host)
        run(bench, 10, tape)
        bench.line("one").modem.stop_sound()
        run(bench, 10, tape)
        assert tape.chunks == [640] * 5
        assert (await driver.ask("AT+CLCC"))[-2] == f'+CLCC: 1,1,0,0,0,"{ANNA}",145'


async def test_gnss_is_mixed_into_the_call(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path, Profile(number=OWN, gnss=True)) as (bench, host, driver):
        await answered(bench, driver)
        tape = Tape(host)
        run(bench, 4, tape)
        await trio.sleep(1.5)
        run(bench, 4, tape)
        assert b"$GPGGA" in tape.heard


async def test_two_modems_hear_one_another(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        far = bench.connect("two")
        with far.pcm:
            other = Driver(far.at)
            await other.set_up()
            await driver.ask(f"ATD{OTHER};")
            await other.until("RING")
            await other.ask("ATA")
            await driver.until('+QIND: "ccinfo",1,0,0')
            said = speech(0.4)
            near, distant = Tape(host, said), Tape(far)
            run(bench, 40, near, distant)
            assert said in distant.heard


async def test_keys_are_heard_as_tones_too(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, host, driver):
        call = await answered(bench, driver)
        await call.press("1")
        tape = Tape(host)
        run(bench, 20, tape)
        loud = max(array("h", tape.heard))
        assert loud > 3000
        assert await driver.until("+QTONEDET") == "+QTONEDET: 49"
