"""Every model of the bench in a call, by its own commands and with sound both ways, and who it is."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from hil.bench import MODELS, OTHERS, QUECTEL, Bench, BenchLine
from hil.board import Profile
from hil.generic import Generic
from hil.network import Cause
from tests.at_program import Program
from tests.bench_models import HUAWEI, WAYS, WITH_TTY, one_line, order, sounding, tape_of
from tests.bench_rig import ANNA, OTHER, OWN, Driver, Tape, run, speech


def test_each_model_that_has_a_sim_is_here() -> None:
    assert {name for name in MODELS if name.removesuffix("-uac") in QUECTEL | OTHERS} <= WAYS.keys()


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
