"""Calls over the AT streams of the bench's lines, in no time."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from hil.network import Cause
from hil.subscriber import PATIENCE_S, CallEnded
from tests.bench_rig import ANNA, OTHER, OWN, Driver, one_line


async def test_an_incoming_call_from_ring_to_hang_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA)
        call = phone.dial("0700000002")
        await driver.until("+CLIP")
        await driver.until("+CLIP")
        assert driver.news == [
            f'+QIND: "ccinfo",1,1,4,0,0,"{ANNA}",145',
            *["RING", f'+CLIP: "{ANNA}",145,"",0,"",0'] * 2,
        ]
        assert await driver.ask("ATA") == ["OK"]
        await call.answered()
        assert await driver.ask("AT+CLCC") == [
            f'+QIND: "ccinfo",1,1,0,0,0,"{ANNA}",145',
            f'+CLCC: 1,1,0,0,0,"{ANNA}",145',
            "OK",
        ]
        await call.press("8#")
        assert [await driver.line() for _ in "8#"] == ["+QTONEDET: 56", "+QTONEDET: 35"]
        assert await driver.ask("AT+VTS=5") == ["OK"]
        assert call.keys == "5"
        assert await driver.ask("AT+CHUP") == ["OK"]
        assert await call.ended() == Cause.NORMAL
        assert await driver.line() == f'+QIND: "ccinfo",1,1,-1,0,0,"{ANNA}",145'


async def test_an_outgoing_call_that_the_far_end_ends(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA, answers_after_s=3)
        began_at = trio.current_time()
        assert await driver.ask(f"ATD{ANNA};") == ["OK"]
        await driver.until('+QIND: "ccinfo",1,0,0')
        assert trio.current_time() - began_at == pytest.approx(3)
        states = [line.split(",")[3] for line in driver.news]
        assert states == ["2", "3", "0"]
        phone.calls[0].hang_up()
        assert await driver.until("NO CARRIER") == "NO CARRIER"


async def test_a_phone_tells_of_each_call_that_came_once_however_late_it_is_asked(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA)
        for _ in range(2):
            await driver.ask(f"ATD{ANNA};")
            await driver.until('+QIND: "ccinfo",1,0,0')
            await driver.ask("AT+CHUP")
        assert [await phone.called(), await phone.called()] == phone.calls
        with trio.move_on_after(1) as scope:
            await phone.called()
        assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("behaviour", "told", "after_s"),
    [("busy", "BUSY", 0), ("reject", "NO CARRIER", 2), ("no-answer", "NO ANSWER", PATIENCE_S)],
)
async def test_an_outgoing_call_that_fails(
    tmp_path: Path, autojump_clock: MockClock, behaviour: str, told: str, after_s: float
) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        bench.subscriber(ANNA, behaviour=behaviour, answers_after_s=2)
        began_at = trio.current_time()
        assert await driver.ask(f"ATD{ANNA};") == ["OK"]
        assert await driver.until(told) == told
        assert trio.current_time() - began_at == pytest.approx(after_s)


async def test_a_caller_who_loses_patience_and_one_whom_we_reject(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA)
        call = phone.dial(OWN)
        await driver.until("RING")
        call.hang_up()
        await driver.until("NO CARRIER")
        call = phone.dial(OWN)
        await driver.until("RING")
        await driver.ask("AT+CHUP")
        with pytest.raises(CallEnded, match="21"):
            await call.answered()


async def test_one_line_may_answer_and_hang_up_twice(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        call = bench.subscriber(ANNA).dial(OWN)
        await driver.until("+CLIP")
        assert await driver.ask("ATAA+CHUP;+CHUP;H") == ["OK"]
        assert await call.ended() == Cause.REJECTED
        assert await driver.ask("AT+CLCC") == [*driver_states("0", "-1"), "OK"]


def driver_states(*states: str) -> list[str]:
    return [f'+QIND: "ccinfo",1,1,{state},0,0,"{ANNA}",145' for state in states]


async def test_two_modems_call_one_another(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        far = bench.connect("two")
        with far.pcm:
            other = Driver(far.at)
            await other.set_up()
            await driver.ask(f"ATD{OTHER};")
            assert await other.until("+CLIP") == f'+CLIP: "{OWN}",145,"",0,"",0'
            await driver.until("NO ANSWER")
            await driver.ask(f"ATD{OTHER};")
            await other.until("RING")
            await other.ask("ATA")
            await driver.until('+QIND: "ccinfo",1,0,0')
            await driver.ask("AT+CHUP")
            await other.until("NO CARRIER")


async def test_a_restart_leaves_the_stream_and_boots_on_the_next(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA)
        assert await driver.ask("AT+CFUN=1,1") == ["OK"]
        with pytest.raises(EOFError):
            await driver.line()
        assert await phone.dial(OWN).ended() == Cause.UNALLOCATED
        again = bench.connect("one")
        with again.pcm:
            driver = Driver(again.at)
            await driver.until("+QIND: PB DONE")
            assert driver.news[:3] == ["RDY", "+CFUN: 1", "+CPIN: READY"]


async def test_unplugged_in_a_call_the_far_end_hears_of_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        phone = bench.subscriber(ANNA)
        await driver.ask(f"ATD{ANNA};")
        await driver.until('+QIND: "ccinfo",1,0,0')
        await bench.line("one").unplug()
        with pytest.raises(EOFError):
            await driver.line()
        assert await phone.calls[0].ended() == Cause.OUT_OF_ORDER


async def test_a_flood_that_nobody_reads_stalls_neither_bench_nor_network(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        for _ in range(5000):
            bench.line("one").modem.inject(b'\r\n+QIND: "csq",20,99\r\n')
        bench.subscriber(ANNA).dial(OWN)
        await driver.until("RING")


async def test_a_busy_phone_is_busy_for_a_second_caller(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with one_line(tmp_path) as (bench, _, driver):
        anna, bert = bench.subscriber(ANNA), bench.subscriber("+33600000001")
        await driver.ask(f"ATD{ANNA};")
        await driver.until('+QIND: "ccinfo",1,0,0')
        assert await bert.dial(ANNA).ended() == Cause.BUSY
        assert [call.number for call in anna.calls] == [OWN]
