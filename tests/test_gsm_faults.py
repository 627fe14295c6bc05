"""A module that hangs, falls silent, talks nonsense or loses its SIM."""

from contextlib import suppress
from functools import partial

import pytest
import trio

from drivers.errors import CommandError, LineLost
from drivers.gsm import GsmLine
from drivers.line import Answered, Digit, Incoming, LineState, Released
from tests.gsm_rig import (
    IDLE,
    IN_USE,
    OURS,
    THEIRS,
    Clock,
    Rig,
    events,
    make_rig,
    quiet,
    talking,
)


@pytest.fixture
async def rig(nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery)


@pytest.mark.parametrize("idle", [True, False])
async def test_a_module_that_falls_silent_is_lost_after_the_whole_ladder(
    idle: bool, rig: Rig, autojump_clock: Clock
) -> None:
    async with rig.idle_line() if idle else talking(rig) as opened:
        line = opened if isinstance(opened, GsmLine) else opened[0]
        rig.modem.faults.deaf = True
        began = trio.current_time()
        with pytest.raises(LineLost, match="no answer to AT commands"):
            await events(line, 1)
        assert 5 < trio.current_time() - began < 30
        assert line.state is LineState.DOWN
        for order in (line.hang_up, line.next_event, partial(line.dial, THEIRS), partial(line.send_dtmf, "1")):
            with pytest.raises(LineLost):
                await order()


HUNG = [
    *[("ec25", name) for name in ("+CHUP", "D", "A", "+QPCMV", "+CEER", "+VTS", "+CREG", "+CCWA", "+COPS", "+CLCC")],
    *[("e1550", name) for name in ("^CVOICE", "^DDSETEX", "+CHUP", "D", "A", "^DTMF", "+CEER")],
    *[("sim7600", name) for name in ("+CPCMREG", "+CHUP", "D", "A", "+CICCID", "+CEER")],
    *[("sim800", name) for name in ("+CHUP", "H", "D", "A", "+DDET")],
    *[("generic", name) for name in ("+CHUP", "D", "A", "+CLCC")],
]


@pytest.mark.parametrize(("model", "name"), HUNG)
async def test_no_single_command_that_hangs_wedges_the_line(
    model: str, name: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    """Whatever one command does, a call ends up told and the line is usable, or the line is lost and says so."""
    rig = await make_rig(nursery, model)
    rig.modem.faults.hung.add(name)
    phone = rig.phone()
    try:
        async with rig.line() as line:
            await events(line, 1)
            with suppress(CommandError):
                await line.dial(THEIRS)
                await trio.sleep(20)
                await line.send_dtmf("1")
            with suppress(CommandError):
                await line.hang_up()
            rig.modem.faults.hung.clear()
            await line.hang_up()
            assert rig.modem.calls == []
            while line.state is not LineState.IDLE:
                await events(line, 1)
            call = phone.dial(OURS)
            while not isinstance((await events(line, 1))[0], Incoming):
                pass
            await line.answer()
            await call.answered()
            await trio.sleep(1)
            assert rig.modem.module.audible
    except* LineLost:
        pass


async def test_a_lost_result_is_a_retry_and_no_more(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.faults.lost_finals = 1
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]


GARBAGE = (
    b"\xff\xfe\x00\x1b~",
    b"\r\n+CLCC: 1,0,",
    b"\r\nOK",
    b"ERROR",
    b"\r\n> ",
    b"\n\n\r\r+CREG: \r\n",
    b"x" * 20_000,
)


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_at_any_time_is_survived(garbage: bytes, rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.inject(garbage)
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        rig.modem.faults.before_answer = garbage
        await line.answer()
        rig.modem.inject(garbage)
        assert await events(line, 1) == [Answered()]
        rig.modem.faults.splice = (8, garbage)
        await trio.sleep(10)
        rig.modem.inject(garbage)
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
        await quiet(line)


@pytest.mark.parametrize("cut_at", [0, 1, 5, 12, 20])
async def test_half_an_answer_is_asked_for_again(cut_at: int, rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        rig.modem.faults.cut_at = cut_at
        await quiet(line, 30)
        assert rig.modem.faults.cut_at is None
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]


async def test_a_slow_module_is_only_slow(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.faults.delay_s = 2
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
        assert line.recoveries.timeouts == 0


async def test_a_flood_of_noise_disturbs_nothing(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        for _ in range(200):
            rig.modem.inject(b'\r\n^RSSI: 12\r\n\r\n+QIND: "csq",20,99\r\n\r\n+QIND: "act","LTE"\r\n' * 20)
            await trio.lowlevel.checkpoint()
        await call.press("7")
        assert await events(line, 1) == [Digit("7")]
        assert line.recoveries.urcs_lost == 0
        assert line.recoveries.noise >= 1000
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]


async def test_a_sim_that_loses_contact_for_a_moment_ends_no_call(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        rig.modem.inject(b"\r\n+CPIN: NOT READY\r\n")
        await quiet(line, 10)
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
        await quiet(line, 30)
        assert rig.wire.take().count("AT+CPIN?") == 1


async def test_a_sim_that_is_gone_loses_an_idle_line(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.faults.refused["+CPIN"] = 10
        rig.modem.inject(b"\r\n+CPIN: NOT READY\r\n")
        with pytest.raises(LineLost, match="no SIM in the module"):
            await events(line, 1)


async def test_a_module_that_restarts_by_itself_is_lost_as_its_settings_are(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.inject(b"\r\nRDY\r\n")
        with pytest.raises(LineLost, match="restarted"):
            await events(line, 1)
