"""Every model of the bench in a call, by its own commands and with sound both ways; and faults, by name."""

import json
import signal
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hil import mishaps
from hil.bench import MODELS, OTHERS, QUECTEL, Bench, BenchLine, Host
from hil.board import Profile
from hil.generic import Generic
from hil.network import Cause, NetworkError
from hil.subscriber import PhoneCall
from native import TICK_S
from tests.at_program import Program
from tests.test_bench import ANNA, LIMIT_S, OTHER, OWN, Command, Driver, Tape, run, speech


@dataclass(frozen=True)
class Ways:
    """What brings a call's sound to the host: before ATD or ATA, behind it, in the call; and what ends it there."""

    before: str = "AT"
    behind: str = "AT"
    within: str = "AT"
    after: str = "AT"


HUAWEI = ("e1550", "e173", "e3131")
WIRED = ("sim800", "sim900", "a7672", "generic")
WAYS = {
    **dict.fromkeys(QUECTEL, Ways(before="AT+QPCMV=0;+QPCMV=1,0")),
    **{f"{name}-uac": Ways(before="AT+QPCMV=0;+QPCMV=1,2") for name in QUECTEL},
    **dict.fromkeys(HUAWEI, Ways(behind="AT^DDSETEX=2")),
    **dict.fromkeys(("sim7600", "sim7600-v2"), Ways(within="AT+CPCMREG=1", after="AT+CPCMREG=0,1")),
    **dict.fromkeys(WIRED, Ways()),
}
WITH_TTY = [name for name in WAYS if "uac" not in name and name not in WIRED]


def test_each_model_that_has_a_sim_is_here() -> None:
    assert {name for name in MODELS if name.removesuffix("-uac") in QUECTEL | OTHERS} <= WAYS.keys()


class Card(Tape):
    """The same at a sound card."""

    def __init__(self, host: Host, words: bytes = b"") -> None:
        super().__init__(host, words)
        assert host.card is not None
        self._card = host.card

    def turn(self) -> None:
        self._card.push(self._words[:320] or bytes(320))
        self._words = self._words[320:]
        while (frame := self._card.pull()) is not None:
            self.heard += frame


class Plain(Driver):
    """Takes its time behind each command, as sticks want it."""

    async def ask(self, command: str) -> list[str]:
        answer = await super().ask(command)
        await trio.sleep(0.1)
        return answer


@asynccontextmanager
async def one_line(model: str, tmp_path: Path) -> AsyncIterator[tuple[Bench, Host, Plain]]:
    async with Bench([BenchLine("one", OWN, model)], directory=tmp_path, realtime=False) as bench:
        host = bench.connect("one")
        with host.pcm:
            driver = Plain(host.at)
            assert (await driver.ask("ATE0"))[-1] == "OK"
            yield bench, host, driver


async def order(driver: Plain, ways: Ways, command: str) -> None:
    assert (await driver.ask(ways.before))[-1] == "OK"
    assert "OK" in await driver.ask(command)
    assert (await driver.ask(ways.behind))[-1] == "OK"


async def sounding(bench: Bench, driver: Plain, ways: Ways) -> PhoneCall:
    """A call to us is up, with its sound."""
    call = bench.phone(ANNA).dial(OWN)
    await trio.sleep(0.2)
    await order(driver, ways, "ATA")
    await call.answered()
    await trio.sleep(0.2)
    assert (await driver.ask(ways.within))[-1] == "OK"
    await wait_all_tasks_blocked()
    return call


def tape_of(bench: Bench, host: Host, words: bytes = b"") -> Tape:
    return Card(host, words) if bench.line("one").modem.has_card else Tape(host, words)


@pytest.mark.parametrize("model", WAYS)
async def test_sound_crosses_both_ways_sample_by_sample(model: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    said, replied = speech(0.3), speech(0.3, seed=2)
    async with one_line(model, tmp_path) as (bench, host, driver):
        call = await sounding(bench, driver, WAYS[model])
        call.say(said)
        tape = tape_of(bench, host, replied)
        run(bench, 60, tape)
        assert said in tape.heard
        assert replied in call.heard()
        assert "OK" in await driver.ask(WAYS[model].after)
        assert "OK" in await driver.ask("AT+CHUP")
        assert await call.ended() == Cause.NORMAL


@pytest.mark.parametrize("model", WITH_TTY)
async def test_a_pcm_tty_sends_in_the_familys_steps(model: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(model, tmp_path) as (bench, host, driver):
        await sounding(bench, driver, WAYS[model])
        tape = Tape(host)
        run(bench, 20, tape)
        assert set(tape.chunks) == {320 if model in HUAWEI else 640}


@pytest.mark.parametrize("model", WAYS)
async def test_a_call_out_is_answered_and_ended_by_the_far_end(
    model: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with one_line(model, tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA, answers_after_s=2)
        await order(driver, WAYS[model], f"ATD{ANNA};")
        listed = [line for line in await driver.ask("AT+CLCC") if line.startswith("+CLCC: 1,0,")]
        assert listed == [f'+CLCC: 1,0,3,0,0,"{ANNA}",145']
        await trio.sleep(3)
        assert f'+CLCC: 1,0,0,0,0,"{ANNA}",145' in await driver.ask("AT+CLCC")
        phone.calls[0].hang_up()
        await trio.sleep(1)
        assert not any(line.startswith("+CLCC: 1,0,0,") for line in (await driver.ask("AT+CLCC"))[-2:])


@pytest.mark.parametrize("model", ["e173", "sim7600", "sim800", "a7672", "generic"])
async def test_ringback_is_heard_where_sound_is_there_before_the_answer(
    model: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with one_line(model, tmp_path) as (bench, host, driver):
        bench.subscriber(ANNA, behaviour="no-answer")
        await order(driver, WAYS[model], f"ATD{ANNA};")
        await trio.sleep(0.2)
        await driver.ask(WAYS[model].within)
        tape = tape_of(bench, host)
        run(bench, 100, tape)
        loud = max(abs(int.from_bytes(tape.heard[at : at + 2], "little", signed=True)) for at in range(0, 16000, 2))
        assert loud > 3000


async def test_an_early_answer_brings_ringback_until_the_real_one(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("ec25", tmp_path) as (bench, host, driver):
        bench.line("one").faults.early_answer = True
        phone = bench.subscriber(ANNA, answers_after_s=5)
        await order(driver, WAYS["ec25"], f"ATD{ANNA};")
        assert f'+CLCC: 1,0,0,0,0,"{ANNA}",145' in await driver.ask("AT+CLCC")
        tape = Tape(host)
        bench.engine.tick()
        run(bench, 50, tape)
        assert any(tape.heard)
        await trio.sleep(5)
        await phone.calls[0].answered()
        quiet = Tape(host)
        run(bench, 4, Tape(host))
        run(bench, 50, quiet)
        assert not any(quiet.heard)


async def test_what_a_huawei_left_over_waits_for_the_next_call(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("e173", tmp_path) as (bench, host, driver):
        call = await sounding(bench, driver, WAYS["e173"])
        run(bench, 10, Tape(host))
        call.hang_up()
        await trio.sleep(1)
        assert len(host.pcm.recv(65536)) == 4800


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


async def test_a_restart_on_a_uart_leaves_its_tty(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line("sim800", tmp_path) as (bench, _, driver):
        assert (await driver.ask("AT+CFUN=1,1"))[-1] == "OK"
        await driver.until("RDY")
        await driver.until("SMS Ready")
        assert bench.network.party(OWN) is bench.line("one").modem


async def test_lines_have_identities_of_their_own(tmp_path: Path, autojump_clock: MockClock) -> None:
    lines = [BenchLine("one", OWN), BenchLine("two", OTHER)]
    async with Bench(lines, directory=tmp_path, realtime=False) as bench:
        found = []
        for name in ("one", "two"):
            host = bench.connect(name)
            with host.pcm:
                driver = Driver(host.at)
                await driver.ask("ATE0")
                found.append([(await driver.ask(f"AT{each}"))[0] for each in ("+CGSN", "+QCCID", "+CIMI", "+CNUM")])
        assert all(one != two for one, two in zip(*found, strict=True))
        assert [len(each[0]) for each in found] == [15, 15]


def test_the_command_has_every_model_and_switches_faults(tmp_path: Path) -> None:
    command, config = Command(tmp_path), tmp_path / "box.toml"
    lines = (f"e173:{OWN}", f"usr5637:{OTHER}", "sim7600:+33700000004")
    up = command.start(
        "up", *(part for line in lines for part in ("--line", line)), "--directory", str(tmp_path),
        "--write-config", str(config),
    )  # fmt: skip
    try:
        assert up.stdout is not None
        ready = json.loads(up.stdout.readline())
        assert [line.keys() & {"at", "pcm", "card"} for line in ready["lines"]] == [
            {"at", "pcm"},
            {"at"},
            {"at", "pcm"},
        ]
        assert ready["environment"] == {}
        tables = tomllib.loads(config.read_text())["lines"]
        assert [table["model"] for table in tables] == ["e173", "usr5637", "sim7600"]
        assert [table.keys() for table in tables][1] == {"name", "model", "number", "at"}
        assert {"hung", "drift-ppm", "sim-removed", "stall-s"} < set(command.invoke("fault", "line1")["known"])
        assert command.invoke("fault", "line1", "hung", "+CLCC")["faults"] == {"hung": ["+CLCC"]}
        assert command.invoke("fault", "line3", "sim-removed")["faults"] == {"sim-removed": True}
        status = command.invoke("status")["lines"]
        assert [line["faults"] for line in status] == [{"hung": ["+CLCC"]}, {}, {"sim-removed": True}]
        assert [line["model"] for line in status] == ["e173", "usr5637", "sim7600"]
        assert command.invoke("fault", "line1", "--clear")["faults"] == {}
        assert "no fault 'gremlins'" in command.fail("fault", "line1", "gremlins")
        assert "NAME=NUMBER" in command.fail("fault", "line1", "slow", "A")
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=LIMIT_S)


def test_news_waits_while_a_command_is_typed_and_for_nobody_who_has_gone() -> None:
    program = Program(Generic(Profile(OWN)), echo=True)
    program.take(program.port.power_on(0.0))
    program.wait(5)
    assert program.take(program.port.receive(b"AT+C", program.now)) == "AT+C"
    call, told = program.offered()
    assert told == []
    assert program.take(program.port.receive(b"SQ\r", program.now)).startswith("SQ\r\r\n+CSQ: ")
    program.released(call, Cause.NORMAL)
    program.port.receive(b"AT", program.now)
    assert program.offered()[1] == []
    assert program.wait(1) == ["RING"]
