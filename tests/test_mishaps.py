"""Faults of the bench, of the sound and of the module, and by their names."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hil import mishaps
from hil.bench import Bench
from hil.network import Cause, NetworkError
from native import TICK_S
from tests.bench_models import WAYS, one_line, sounding
from tests.bench_rig import ANNA, OWN, Tape, run, speech


async def test_a_worn_sim7600_stutters(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("sim7600", tmp_path) as (bench, host, driver):
        ways = WAYS["sim7600"]
        call = await sounding(bench, driver, ways)
        await driver.ask(ways.after)
        call.hang_up()
        await driver.until("NO CARRIER")
        call = bench.phone(ANNA).dial(OWN)
        await trio.sleep(0.2)
        await driver.ask("ATA")
        assert (await driver.ask("AT+CPCMREG=1"))[-1] == "ERROR"
        assert (await driver.ask("AT+CPCMREG=1"))[-1] == "OK"
        call.say(said := speech(1))
        tape = Tape(host)
        for _ in range(50):
            await trio.sleep(TICK_S)
            run(bench, 1, tape)
        frames = [said[at : at + 320] for at in range(0, len(said), 320)]
        there = sum(frame in tape.heard for frame in frames) / len(frames)
        assert 0.5 < there < 0.9


# --- faults of the sound ---


async def test_sound_may_begin_to_stutter_in_the_midst_of_a_call(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("e173", tmp_path) as (bench, host, driver):
        call = await sounding(bench, driver, WAYS["e173"])
        said, tape = speech(1), Tape(host)

        async def there() -> float:
            call.say(said)
            await hear(bench, tape, 60)
            frames = [said[at : at + 320] for at in range(0, len(said), 320)]
            heard, tape.heard = tape.heard, b""
            return sum(frame in heard for frame in frames) / len(frames)

        assert await there() == 1
        mishaps.begin(bench.line("one").modem, "choppy")
        assert 0.5 < await there() < 0.9
        mishaps.end(bench.line("one").modem)
        await hear(bench, tape, 10)
        assert await there() == 1


async def hear(bench: Bench, tape: Tape, ticks: int) -> None:
    """With the time in step with the ticks, and what stands before the tty in its turn."""
    for _ in range(ticks):
        await trio.sleep(TICK_S)
        bench.engine.tick()
        await wait_all_tasks_blocked()
        tape.turn()


async def test_a_stall_of_usb_gives_half_a_second_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("ec25", tmp_path) as (bench, host, driver):
        call = await sounding(bench, driver, WAYS["ec25"])
        mishaps.begin(bench.line("one").modem, "stall-s", "0.001")
        tape = Tape(host)
        await hear(bench, tape, 10)
        call.say(said := speech(1))
        await hear(bench, tape, 10)
        mishaps.begin(bench.line("one").modem, "stall-s", "0.5")
        before = len(tape.heard)
        await hear(bench, tape, 24)
        assert len(tape.heard) == before
        await hear(bench, tape, 2)
        assert len(tape.heard) - before >= 16 * 480
        await hear(bench, tape, 30)
        assert said in tape.heard


@pytest.mark.parametrize("ppm", [-2000, 2000])
async def test_a_clock_that_drifts_gives_more_or_less_samples(
    ppm: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with one_line("ec25", tmp_path) as (bench, host, driver):
        mishaps.begin(bench.line("one").modem, "drift-ppm", str(ppm))
        await sounding(bench, driver, WAYS["ec25"])
        tape = Tape(host)
        await hear(bench, tape, 1000)
        assert set(tape.heard) == {0}
        # 20 s; a chunk may be on its way.
        assert abs(len(tape.heard) / 2 - 160000 * (1 + ppm / 1e6)) <= 320


async def test_noise_and_nmea_are_in_what_the_host_hears(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("sim7600", tmp_path) as (bench, host, driver):
        modem = bench.line("one").modem
        mishaps.begin(modem, "noise-dbfs", "-30")
        await sounding(bench, driver, WAYS["sim7600"])
        tape = Tape(host)
        await hear(bench, tape, 50)
        assert (
            max(abs(int.from_bytes(tape.heard[at : at + 2], "little", signed=True)) for at in range(0, 8000, 2)) > 1000
        )
        mishaps.begin(modem, "nmea")
        await hear(bench, tape, 100)
        assert b"$GPGGA" in tape.heard
        mishaps.end(modem)
        quiet = Tape(host)
        await hear(bench, Tape(host), 4)
        await hear(bench, quiet, 60)
        assert not any(quiet.heard)


# --- faults by name ---


async def test_faults_are_set_shown_and_cleared_by_name(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("ec25", tmp_path) as (bench, _, driver):
        modem = bench.line("one").modem
        for name, value in (
            *(("deaf", ""), ("hung", "+CLCC"), ("slow", "A=3"), ("refused", "+CSQ=14"), ("lost-finals", "2")),
            *(("before-answer", "\\r\\nRING\\r\\n"), ("splice", "3:x"), ("cut-at", "5"), ("noise-dbfs", "-40")),
        ):
            mishaps.begin(modem, name, value)
        assert mishaps.active(modem) == {
            "deaf": True,
            "hung": ["+CLCC"],
            "slow": {"A": 3.0},
            "refused": {"+CSQ": 14},
            "lost-finals": 2,
            "before-answer": "\r\nRING\r\n",
            "splice": [3, "x"],
            "cut-at": 5,
            "noise-dbfs": -40.0,
        }
        assert modem.faults.before_answer == b"\r\nRING\r\n"
        mishaps.end(modem)
        assert mishaps.active(modem) == {}
        assert await driver.ask("AT+CSQ") == ["+CSQ: 24,99", "OK"]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("gremlins", "", "no fault 'gremlins'; there are: deaf, hung"),
        ("deaf", "perhaps", "on or off"),
        ("delay-s", "long", "delay-s wants another value"),
        ("slow", "A", "NAME=NUMBER"),
        ("hung", "", "the name of a command"),
        ("network-lost", "gone", "none, searching, denied"),
        ("pin", "abcd", "a PIN"),
    ],
)
async def test_what_is_no_fault_is_told_in_words(
    name: str, value: str, why: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with one_line("ec25", tmp_path) as (bench, _, _):
        with pytest.raises(NetworkError, match=why):
            mishaps.begin(bench.line("one").modem, name, value)


async def test_a_sim_a_network_and_a_signal_go_and_come(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("ec25", tmp_path) as (bench, _, driver):
        modem = bench.line("one").modem
        mishaps.begin(modem, "sim-removed")
        assert await driver.until("+CPIN") == "+CPIN: NOT READY"
        assert await driver.ask("AT+CPIN?") == ["+CME ERROR: 10"]
        mishaps.begin(modem, "signal", "3")
        assert mishaps.active(modem) == {"sim-removed": True, "signal": 3}
        mishaps.end(modem)
        await driver.until("+CPIN: READY")
        await trio.sleep(2)
        mishaps.begin(modem, "network-lost", "denied")
        assert (await driver.ask("AT+CREG?"))[-2:] == ["+CREG: 0,3", "OK"]
        mishaps.end(modem)
        mishaps.begin(modem, "pin", "4321")
        await driver.until("+CPIN: SIM PIN")
        assert await driver.ask("AT+CPIN=1111") == ["+CME ERROR: 16"]
        mishaps.begin(modem, "no-voice")
        assert await driver.ask("AT+QPCMV=1,0") == ["ERROR"]


async def test_a_flood_between_a_command_and_its_answer(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("e173", tmp_path) as (bench, _, driver):
        modem = bench.line("one").modem
        mishaps.begin(modem, "flood-per-s", "100")
        mishaps.begin(modem, "delay-s", "1")
        answer = await driver.ask("AT+CSQ")
        assert len(answer) > 90
        assert answer[-2:] == ["+CSQ: 24,99", "OK"]


async def test_a_call_dropped_by_a_sim_that_is_taken_out(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("sim7600", tmp_path) as (bench, _, driver):
        call = await sounding(bench, driver, WAYS["sim7600"])
        mishaps.begin(bench.line("one").modem, "sim-removed")
        assert await call.ended() == Cause.OUT_OF_ORDER
        await driver.until("+CPIN: NOT READY")
