"""A call's sound: where it is, when it is switched, what the module and the engine hear of it."""

import os
import socket

import pytest
import trio

from drivers.audio import MUTE_S
from drivers.errors import CommandError, LineLost
from drivers.gsm import GsmLine
from drivers.line import Alerting, Answered, Digit, Incoming, LineState, Released, StateChanged
from drivers.watch import FULL_S
from native import Engine, FramesPort, PcmPort, Port
from native.tones import keys
from tests.gsm_rig import (
    IDLE,
    IN_USE,
    OURS,
    THEIRS,
    Clock,
    Rig,
    attached,
    events,
    has_sound,
    make_rig,
    quiet,
    talking,
)

FRAME_BYTES = 320


@pytest.fixture
async def rig(nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery)


@pytest.fixture
async def sim7600(nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery, "sim7600")


def audio_orders(rig: Rig) -> list[str]:
    """What was sent about calls and their sound."""
    begins = ("ATD", "ATA", "AT+CHUP", "AT+QPCMV", "AT^DDSETEX", "AT+CPCMREG", "AT+CRESET")
    return [command for command in rig.wire.take() if command.startswith(begins)]


# --- the order of switching, which is each family's own ---


@pytest.mark.parametrize(
    ("name", "before", "after", "end"),
    [
        ("ec25", ["AT+QPCMV=0", "AT+QPCMV=1,0"], [], ["AT+CHUP", "AT+QPCMV=0"]),
        ("ec25-uac", ["AT+QPCMV=0", "AT+QPCMV=1,2"], [], ["AT+CHUP", "AT+QPCMV=0"]),
        ("e173", [], ["AT^DDSETEX=2"], ["AT+CHUP"]),
        ("sim7600", [], ["AT+CPCMREG=1"], ["AT+CPCMREG=0,1", "AT+CHUP", "AT+CPCMREG=0,1"]),
        ("sim7600-v2", [], ["AT+CPCMREG=1"], ["AT+CPCMREG=0,1", "AT+CHUP", "AT+CPCMREG=0,1"]),
        ("sim800", [], [], ["AT+CHUP"]),
    ],
)
async def test_sound_is_switched_when_the_device_takes_it(
    name: str, before: list[str], after: list[str], end: list[str], nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, name)
    rig.phone(answers_after_s=3)
    async with rig.idle_line() as line:
        for order in ("ATA", f"ATD{THEIRS};"):
            if order == "ATA":
                rig.phone().dial(OURS)
                await events(line, 2)
                await line.answer()
                await events(line, 1)
            else:
                await line.dial(THEIRS)
                await events(line, 3)
            await trio.sleep(1)
            assert audio_orders(rig) == [*before, order, *after]
            await line.hang_up()
            await events(line, 2)
            assert audio_orders(rig) == end
            if name == "sim7600":
                # Its second call's sound is another matter.
                return


async def test_a_call_that_the_device_gives_no_sound_is_ended(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    rig = await make_rig(nursery, "e173")
    rig.phone(answers_after_s=2)
    async with rig.idle_line() as line:
        rig.modem.faults.refused["^DDSETEX"] = 4
        with pytest.raises(CommandError, match="DDSETEX"):
            await line.dial(THEIRS)
        assert rig.modem.calls == []


async def test_a_call_that_ended_at_once_needs_no_sound(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    rig = await make_rig(nursery, "e173")
    rig.phone("busy")
    async with rig.idle_line() as line:
        rig.modem.faults.refused["^DDSETEX"] = 4
        rig.modem.faults.slow["^DDSETEX"] = 1
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Released(17), IDLE]


async def test_a_switch_that_stays_silent_ends_no_call(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    rig = await make_rig(nursery, "e173")
    rig.phone(answers_after_s=2)
    async with rig.idle_line() as line:
        rig.modem.faults.hung.add("^DDSETEX")
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        assert len(rig.modem.calls) == 1
        assert await has_sound(line)


# --- SIM7600, whose audio wears out ---


async def test_a_sim7600s_second_call_has_sound_and_then_it_is_restarted_at_rest(
    sim7600: Rig, autojump_clock: Clock
) -> None:
    rig = sim7600

    async def life() -> None:
        async with talking(rig) as (line, call):
            await trio.sleep(1)
            assert rig.modem.module.audible
            call.hang_up()
            assert await events(line, 2) == [Released(16), IDLE]
            assert "AT+CRESET" not in rig.wire.take()
            rig.phone().dial(OURS)
            assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
            await line.answer()
            assert await events(line, 1) == [Answered()]
            await trio.sleep(1)
            # Refused at first, it is there all the same, and the call goes on as long as it likes.
            assert rig.modem.module.audible
            await quiet(line, 300)
            await line.hang_up()
            assert await events(line, 3) == [Released(16), IDLE, StateChanged(LineState.STARTING)]
            with pytest.raises(CommandError):
                await line.dial(THEIRS)
            assert audio_orders(rig)[-1] == "AT+CRESET"
            await events(line, 1)

    with pytest.raises(ExceptionGroup) as caught:
        await life()
    assert caught.group_contains(LineLost)
    assert rig.modem.restarts
    await rig.plug()
    # As new.
    async with talking(rig) as (line, _):
        await trio.sleep(1)
        assert rig.modem.module.audible
        await line.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
        await quiet(line)


async def test_a_refusal_before_the_answer_tells_of_wear_where_it_was_taken_there_before(
    sim7600: Rig, autojump_clock: Clock
) -> None:
    sim7600.phone(answers_after_s=4)
    async with sim7600.idle_line() as line:
        for _ in range(2):
            await line.dial(THEIRS)
            assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
            await trio.sleep(1)
            assert sim7600.modem.module.audible
            await line.hang_up()
            assert await events(line, 2) == [Released(16), IDLE]
        assert await events(line, 1) == [StateChanged(LineState.STARTING)]


async def test_a_call_whose_audio_is_refused_for_good_goes_on_and_is_tried_again(
    sim7600: Rig, autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    sim7600.modem.faults.audio_refused = True
    async with talking(sim7600) as (line, call):
        await quiet(line, 30)
        assert len(sim7600.modem.calls) == 1
        assert "a call without audio" in caplog.text
        sim7600.modem.faults.audio_refused = False
        await trio.sleep(3)
        assert sim7600.modem.module.audible
        call.hang_up()
        assert await events(line, 3) == [Released(16), IDLE, StateChanged(LineState.STARTING)]


async def test_a_call_in_which_no_byte_came_tells_of_wear(sim7600: Rig, autojump_clock: Clock) -> None:
    async with talking(sim7600) as (line, _):
        await trio.sleep(1)
        async with attached(line) as (engine, _port):
            engine.tick(4)
            await trio.sleep(MUTE_S + 1)
        await line.hang_up()
        assert await events(line, 3) == [Released(16), IDLE, StateChanged(LineState.STARTING)]


async def test_a_firmware_without_wear_is_never_restarted(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    rig = await make_rig(nursery, "sim7600-v2")
    rig.phone(answers_after_s=2)
    async with rig.idle_line() as line:
        for _ in range(4):
            await line.dial(THEIRS)
            assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
            await trio.sleep(1)
            assert rig.modem.module.audible
            await line.hang_up()
            assert await events(line, 2) == [Released(16), IDLE]
        await quiet(line)


# --- keys ---


def play(engine: Engine, port: Port, theirs: socket.socket | None, digits: str) -> None:
    """The far side's keys, as sound in the call."""
    with Engine() as other:
        sound, tap = other.tone(keys(digits)), other.frames()
        other.connect(sound, tap)
        frames = []
        for _ in range(10 * len(digits) + 10):
            other.tick()
            frames.append(tap.pull() or bytes(FRAME_BYTES))
    for frame in frames:
        if isinstance(port, FramesPort):
            port.push(frame)
        else:
            assert theirs is not None
            theirs.send(frame)
        engine.tick()


def tell(engine: Engine, line: GsmLine) -> None:
    for event in engine.events():
        line.heard(event)


@pytest.mark.parametrize("name", ["e1550", "generic", "ec25", "sim800"])
async def test_keys_are_heard_by_the_module_or_by_the_engine_and_never_by_both(
    name: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, name)
    async with talking(rig) as (line, call), attached(line) as (engine, port):
        engine.tick()
        with trio.CancelScope(shield=True):
            await call.press("15#")
        play(engine, port, rig.sounds[-1] if rig.sounds else None, "15#")
        tell(engine, line)
        assert await events(line, 3) == [Digit(digit) for digit in "15#"]
        await quiet(line)


async def test_the_engine_hears_keys_where_the_module_refuses_to(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.faults.refused["+QTONEDET"] = 4
    async with talking(rig) as (line, call), attached(line) as (engine, port):
        engine.tick()
        await call.press("7")
        play(engine, port, rig.sounds[-1], "7")
        tell(engine, line)
        assert await events(line, 1) == [Digit("7")]
        await quiet(line)


# --- flow ---


def takes_sound(rig: Rig, engine: Engine, port: Port) -> bool:
    """The module gives 40 ms, and is given as much."""
    assert isinstance(port, PcmPort)
    before = port.stats().sent_bytes
    rig.sounds[-1].send(bytes(640))
    engine.tick(4)
    return port.stats().sent_bytes > before


async def test_a_full_uplink_is_given_nothing_until_it_has_room(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, _), attached(line) as (engine, port):
        engine.tick()
        assert takes_sound(rig, engine, port)
        rig.modem.buffer_full(True)
        await trio.sleep(0.1)
        assert not takes_sound(rig, engine, port)
        rig.modem.buffer_full(False)
        await trio.sleep(0.1)
        assert takes_sound(rig, engine, port)


async def test_an_uplink_that_was_full_before_it_was_attached_is_given_nothing(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, _):
        rig.modem.buffer_full(True)
        await trio.sleep(0.1)
        async with attached(line) as (engine, port):
            engine.tick()
            assert not takes_sound(rig, engine, port)


async def test_an_uplink_whose_resumption_is_lost_goes_on_all_the_same(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, _), attached(line) as (engine, port):
        engine.tick()
        rig.modem.faults.lost_news.add("+QPCMV: 1")
        rig.modem.buffer_full(True)
        await trio.sleep(0.1)
        assert not takes_sound(rig, engine, port)
        rig.modem.buffer_full(False)
        await trio.sleep(FULL_S + 0.1)
        assert takes_sound(rig, engine, port)
        await quiet(line)


async def test_a_tty_is_let_go_with_its_call(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        assert await has_sound(line)
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(rig.pcm[-1])
