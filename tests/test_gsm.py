import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from drivers.audio import PcmTty
from drivers.errors import CommandError, LineError, LineLost
from drivers.gsm import LEAVE_S, GsmLine, open_gsm, open_gsm_on
from drivers.line import (
    Alerting,
    Answered,
    Digit,
    Identity,
    Incoming,
    LineEvent,
    LineState,
    Released,
    StateChanged,
)
from drivers.models import MODELS, Sound
from drivers.port import close_tty, open_tty
from drivers.watch import FULL_S, SETTLE_S
from hil.board import Profile
from hil.modem import Modem
from hil.network import Cause, Network
from hil.quectel import Ec25
from hil.subscriber import Subscriber
from hil.tty import Pty
from native import Engine, PcmPort

EC25 = MODELS["ec25"]
# Hours pass in an instant: nothing here waits for anything but time and itself.
Clock = trio.testing.MockClock
OURS, THEIRS = "+33700000002", "+33783484044"
IDLE, IN_USE = StateChanged(LineState.IDLE), StateChanged(LineState.IN_USE)


class Wire(trio.abc.Stream):
    """The host's end of the AT port, with what was sent on it kept."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.sent = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()

    def take(self) -> list[str]:
        """The commands since last asked."""
        sent, self.sent = self.sent, b""
        return sent.decode().replace("\x1b", "").split("\r")[:-1]


@dataclass
class Rig:
    """A simulated EC25 and phones on one network."""

    network: Network
    modem: Modem
    nursery: trio.Nursery
    wire: Wire
    # The PCM's ends, each time that it was opened: the host's, and the module's.
    pcm: list[int]
    sounds: list[socket.socket]

    def phone(self, behaviour: str = "answer", **rest: float) -> Subscriber:
        return Subscriber(THEIRS, self.network, self.nursery, behaviour=behaviour, **rest)

    async def plug(self) -> None:
        host, device = trio.testing.memory_stream_pair()
        self.wire = Wire(host)
        self.nursery.start_soon(self.modem.serve_at, device)

    async def open_pcm(self) -> int:
        await trio.lowlevel.checkpoint()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.pcm.append(ours.detach())
        self.sounds.append(theirs)
        return self.pcm[-1]

    @asynccontextmanager
    async def line(self) -> AsyncIterator[GsmLine]:
        try:
            place = PcmTty(self.open_pcm, 640)
            async with open_gsm_on(self.wire, "office", EC25, sound=Sound.PCM, place=place) as line:
                yield line
        finally:
            for sound in self.sounds:
                sound.close()

    @asynccontextmanager
    async def idle_line(self) -> AsyncIterator[GsmLine]:
        """Registered and settled."""
        async with self.line() as line:
            assert await line.next_event() == IDLE
            await trio.sleep(0.1)
            self.wire.take()
            yield line


@pytest.fixture
async def rig(nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery)


async def make_rig(nursery: trio.Nursery, **profile: object) -> Rig:
    network = Network()
    modem = Modem(Ec25(Profile(number=OURS, **profile)), network)  # type: ignore[arg-type]
    host, device = trio.testing.memory_stream_pair()
    nursery.start_soon(modem.serve_at, device)
    return Rig(network, modem, nursery, Wire(host), [], [])


async def events(line: GsmLine, count: int, within_s: float = 60) -> list[LineEvent]:
    with trio.fail_after(within_s):
        return [await line.next_event() for _ in range(count)]


@asynccontextmanager
async def attached(line: GsmLine) -> AsyncIterator[tuple[Engine, PcmPort]]:
    with Engine() as engine:
        async with line.attach(engine) as port:
            assert isinstance(port, PcmPort)
            yield engine, port


async def has_sound(line: GsmLine) -> bool:
    try:
        async with attached(line):
            return True
    except LineError:
        return False


async def quiet(line: GsmLine, for_s: float = 30) -> None:
    with trio.move_on_after(for_s):
        raise AssertionError(f"{await line.next_event()} out of the blue")


async def why_not(rig: Rig) -> str:
    with pytest.raises(ExceptionGroup) as caught:
        async with rig.line():
            pass
    (exc,) = caught.value.exceptions
    assert isinstance(exc, LineLost)
    return str(exc)


# --- bring-up ---


async def test_a_line_comes_up_and_knows_who_it_is(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.line() as line:
        assert line.state is LineState.IDLE
        assert await events(line, 1) == [IDLE]
        assert line.identity == Identity(
            "EC25", "EC25EFAR06A06M4G", "867698040000018", "89330123456789012345", "Orange F"
        )
        assert line.signal_dbm == -65
        assert not await has_sound(line)
        await trio.sleep(1)
        asked = set(rig.wire.take())
        assert {*EC25.set_up, *EC25.survey} <= asked
        assert asked.isdisjoint(EC25.after_registration)
        await trio.sleep(SETTLE_S)
        assert {*EC25.after_registration} <= set(rig.wire.take())
        assert rig.modem.module.pcm_mode is None
        rig.modem.set_signal(10)
        await trio.sleep(0.1)
        assert line.signal_dbm == -93
        await quiet(line, 300)
        assert line.recoveries.timeouts == line.recoveries.repairs == line.recoveries.resyncs == 0


async def test_a_line_without_network_is_open_and_waits_for_it(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.set_coverage(2)
    async with rig.line() as line:
        assert await events(line, 1) == [StateChanged(LineState.SEARCHING)]
        await quiet(line, 3600)
        rig.modem.set_coverage(1)
        assert await events(line, 1) == [IDLE]
        await trio.sleep(1)
        assert line.identity.operator == "Orange F"
        rig.modem.set_coverage(3)
        assert await events(line, 1) == [StateChanged(LineState.SEARCHING)]
        rig.modem.set_coverage(5)
        assert await events(line, 1) == [IDLE]


async def test_a_registration_whose_news_was_lost_is_found(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.set_coverage(2)
    async with rig.line() as line:
        assert await events(line, 1) == [StateChanged(LineState.SEARCHING)]
        rig.modem.module.coverage = 1
        assert await events(line, 1, within_s=15) == [IDLE]


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        ({"pin": "1234"}, "the SIM asks for its PIN"),
        ({"sim": False}, "no SIM in the module"),
        ({"voice": False}, "this module reports no voice: AT+QPCMV=0: "),
    ],
)
async def test_what_a_person_must_mend_is_told_in_a_sentence(
    profile: dict[str, object], why: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, **profile)
    assert why in await why_not(rig)
    assert not any(command.startswith("AT+CPIN=") for command in rig.wire.take())


async def test_a_module_that_says_nothing_is_lost_in_seconds(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.faults.deaf = True
    began = trio.current_time()
    assert "no answer to AT commands" in await why_not(rig)
    assert trio.current_time() - began < 12


async def test_a_sim_that_is_busy_after_power_on_is_waited_for(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    rig = await make_rig(nursery, boot_s=12)
    rig.modem.unplug()
    await trio.sleep(1)
    await rig.plug()
    async with rig.line() as line:
        assert (await events(line, 1))[0] in (IDLE, StateChanged(LineState.SEARCHING))
        await trio.sleep(30)
        assert line.state is LineState.IDLE


async def test_a_call_left_by_a_crash_is_hung_up_and_the_audio_reset(rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone()
    await rig.wire.send_all(b"AT+QPCMV=1,0\r")
    await rig.wire.send_all(f"ATD{THEIRS};\r".encode())
    await trio.sleep(5)
    assert len(rig.modem.calls) == 1
    async with rig.line() as line:
        assert rig.modem.calls == []
        assert rig.modem.module.pcm_mode is None
        assert await events(line, 1) == [IDLE]
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        assert rig.modem.module.audible
    del phone


async def test_a_call_that_rings_while_the_line_comes_up_is_not_lost(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone().dial(OURS)
    await trio.sleep(1)
    async with rig.line() as line:
        assert await events(line, 3) == [IDLE, Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]


# --- calls ---


async def test_an_incoming_call_answered_and_ended_by_the_caller(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await quiet(line, 20)
        await line.answer()
        assert await has_sound(line)
        assert await events(line, 1) == [Answered()]
        await call.answered()
        assert rig.modem.module.audible
        orders = [c for c in rig.wire.take() if c.startswith(("ATA", "AT+QPCMV"))]
        assert orders == ["AT+QPCMV=0", "AT+QPCMV=1,0", "ATA"]
        await quiet(line, 60)
        call.hang_up()
        assert await events(line, 2, within_s=2) == [Released(16), IDLE]
        assert not await has_sound(line)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(rig.pcm[-1])
        assert rig.modem.module.pcm_mode is None
        assert line.repairs == 0


async def test_a_second_call_has_sound_too(rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone()
    async with rig.idle_line() as line:
        for _ in range(3):
            call = phone.dial(OURS)
            assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
            await line.answer()
            assert await events(line, 1) == [Answered()]
            assert rig.modem.module.audible
            await line.hang_up()
            assert await events(line, 2) == [Released(16), IDLE]
            await call.ended()


@pytest.mark.parametrize(
    ("form", "told"), [("withheld", None), ("+33783484044", "+33783484044"), ("0783484044", "0783484044")]
)
async def test_the_number_is_told_as_the_network_gave_it(
    form: str, told: str | None, rig: Rig, autojump_clock: Clock
) -> None:
    async with rig.idle_line() as line:
        phone = Subscriber(form if told else THEIRS, rig.network, rig.nursery)
        phone.dial(OURS, withheld=told is None)
        assert await events(line, 2) == [Incoming(told), IN_USE]


@pytest.mark.parametrize(
    "deaf_to",
    [
        {"AT+CLIP=1", 'AT+QINDCFG="ccinfo",1,0', "AT^DSCI=1"},
        {"AT+CRC=1", 'AT+QINDCFG="ccinfo",1,0', "AT^DSCI=1"},
        {"RING", "AT^DSCI=1", 'AT+QINDCFG="ccinfo",1,0'},
        {"RING", "AT+CLIP=1", 'AT+QINDCFG="ccinfo",1,0'},
        {"RING", "AT+CLIP=1", "AT^DSCI=1"},
        {"RING", "AT+CLIP=1", "AT^DSCI=1", 'AT+QINDCFG="ccinfo",1,0'},
    ],
)
async def test_any_one_source_of_news_or_none_opens_one_call(
    deaf_to: set[str], rig: Rig, autojump_clock: Clock
) -> None:
    module = rig.modem.module
    async with rig.idle_line() as line:
        for command in deaf_to:
            match command:
                case "RING":
                    module.indications["ring"] = 0
                case "AT+CLIP=1" | "AT+CRC=1" | "AT^DSCI=1":
                    module.values[command[2:-2]] = "0"
                case _:
                    module.indications["ccinfo"] = 0
        call = rig.phone().dial(OURS)
        assert await events(line, 2, within_s=11) == [Incoming(THEIRS), IN_USE]
        await quiet(line, 20)
        await line.answer()
        assert await events(line, 1) == [Answered()]
        call.hang_up()
        assert await events(line, 2, within_s=5) == [Released(16), IDLE]
        await quiet(line)


async def test_an_incoming_call_that_nobody_answers_ends_once(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await trio.sleep(12)
        call.hang_up()
        assert await events(line, 2, within_s=2) == [Released(16), IDLE]
        await quiet(line)


async def test_an_incoming_call_is_rejected_by_hanging_up(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.hang_up()
        assert await events(line, 2) == [Released(21), IDLE]
        assert await call.ended() == Cause.REJECTED


async def test_a_second_caller_hears_busy_and_the_first_goes_on(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        # As a network does that ignores +CCWA=0.
        rig.modem.module.values["waiting"] = "1"
        rig.phone().dial(OURS)
        await events(line, 2)
        await line.answer()
        assert await events(line, 1) == [Answered()]
        second = Subscriber("+33612345678", rig.network, rig.nursery).dial(OURS)
        assert await second.ended() == Cause.BUSY
        await quiet(line)
        assert line.state is LineState.IN_USE
        assert len(rig.modem.calls) == 1


async def test_an_outgoing_call_is_answered_and_hung_up_by_us(rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone(answers_after_s=7)
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        assert await has_sound(line)
        orders = [c for c in rig.wire.take() if c.startswith(("ATD", "AT+QPCMV"))]
        assert orders == ["AT+QPCMV=0", "AT+QPCMV=1,0", f"ATD{THEIRS};"]
        assert await events(line, 2) == [IN_USE, Alerting()]
        assert await events(line, 1) == [Answered()]
        assert rig.modem.module.audible
        with pytest.raises(CommandError, match="the line is in use"):
            await line.dial(THEIRS)
        await line.hang_up()
        assert rig.modem.calls == []
        assert await events(line, 2) == [Released(16), IDLE]
        assert rig.modem.module.pcm_mode is None
        await quiet(line)
        assert line.repairs == 0
    del phone


@pytest.mark.parametrize(
    ("behaviour", "number", "cause"),
    [("busy", THEIRS, 17), ("reject", THEIRS, 21), ("no-answer", THEIRS, 19), ("answer", "+33999999999", 1)],
)
async def test_a_call_that_fails_tells_its_cause_once(
    behaviour: str, number: str, cause: int, rig: Rig, autojump_clock: Clock
) -> None:
    rig.phone(behaviour)
    async with rig.idle_line() as line:
        await line.dial(number)
        await trio.sleep(45)
        for call in rig.modem.calls:
            rig.network.give_up(call)
        told = await events(line, 1)
        while told[-1] != IDLE:
            told += await events(line, 1)
        assert [e for e in told if not isinstance(e, Alerting)] == [IN_USE, Released(cause), IDLE]
        await quiet(line)
        assert rig.modem.module.pcm_mode is None


async def test_what_the_device_refuses_to_dial_leaves_nothing(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.module.pin_tries = 0
        with pytest.raises(ValueError, match="not a number"):
            await line.dial("06;AT+CFUN=0")
        rig.modem.module.profile = Profile(OURS, voice=False)
        with pytest.raises(CommandError, match=r"AT\+QPCMV=1,0"):
            await line.dial(THEIRS)
        assert not await has_sound(line)
        assert line.state is LineState.IDLE
        assert "ATD" not in "".join(rig.wire.take())
        with pytest.raises(CommandError, match="nobody is calling"):
            await line.answer()
        with pytest.raises(CommandError, match="no call"):
            await line.send_dtmf("1")
        await line.hang_up()
        await quiet(line)


@pytest.mark.parametrize("after_s", [0, 0.5, 1, 1.5, 2, 2.5])
async def test_a_cancelled_dial_leaves_no_call(after_s: float, rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line:
        # Each of its three commands takes a second.
        rig.modem.faults.delay_s = 1
        with trio.move_on_after(after_s):
            await line.dial(THEIRS)
            # Cancelled in the last one, it is done all the same: whoever placed the call hangs it up.
            with trio.CancelScope(shield=True):
                await line.hang_up()
        rig.modem.faults.delay_s = 0
        await trio.sleep(10)
        assert rig.modem.calls == []
        assert line.state is LineState.IDLE
        assert not await has_sound(line)
        assert rig.modem.module.pcm_mode is None
        await line.dial(THEIRS)
        assert len(rig.modem.calls) == 1


async def test_a_line_that_is_closed_in_a_call_hangs_up(rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone()
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
    assert rig.modem.calls == []
    assert rig.modem.module.pcm_mode is None
    del phone


# --- lists that say less than there is, and orders that take their time ---


async def test_a_call_that_the_list_has_late_is_no_ended_one(rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone(answers_after_s=7)
    async with rig.idle_line() as line:
        rig.modem.faults.list_lag_s = 1.2
        rig.modem.module.urc_port = "usbmodem"
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        await quiet(line, 10)
        await line.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
        await quiet(line)
    del phone


async def test_a_gap_in_the_list_ends_no_call_that_is_up(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, _):
        for _ in range(20):
            rig.modem.faults.no_list_until = trio.current_time() + 2.5
            await trio.sleep(5.3)
        assert line.state is LineState.IN_USE
        assert rig.modem.module.audible
        assert line.repairs == 0


async def test_no_carrier_and_a_gap_as_lte_falls_back_for_a_call_end_nothing(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line:
        rig.modem.module.urc_port = "usbmodem"
        await line.dial(THEIRS)
        rig.modem.faults.no_list_until = trio.current_time() + 1
        rig.modem.inject(b"\r\nNO CARRIER\r\n")
        assert await events(line, 2) == [IN_USE, Alerting()]
        await quiet(line, 5)
        assert len(rig.modem.calls) == 1


async def test_a_hang_up_right_after_the_order_ends_a_call_that_no_list_has_yet(
    rig: Rig, autojump_clock: Clock
) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line:
        rig.modem.faults.list_lag_s = 2
        await line.dial(THEIRS)
        await trio.sleep(0.1)
        await line.hang_up()
        await trio.sleep(1)
        assert rig.modem.calls == []
        assert Released(16) in await events(line, 4)
        assert line.state is LineState.IDLE
        await line.dial(THEIRS)
        await trio.sleep(0.1)
    assert rig.modem.calls == []


async def test_a_cancelled_dial_ends_a_call_that_no_list_has_yet(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line:
        rig.modem.faults.list_lag_s = 2
        rig.modem.faults.slow["D"] = 1
        with trio.move_on_after(0.5):
            await line.dial(THEIRS)
        assert rig.modem.calls == []
        await trio.sleep(10)
        assert line.state is LineState.IDLE


async def test_a_call_that_is_answered_is_no_stray_of_a_list_that_has_it_ringing(
    rig: Rig, autojump_clock: Clock
) -> None:
    async with rig.idle_line() as line:
        rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        rig.modem.faults.list_lag_s, rig.modem.faults.news_behind_list = 1.5, True
        await line.answer()
        assert await events(line, 1) == [Answered()]
        await quiet(line, 10)
        assert not {"AT+CHLD=0", "AT+CHUP"} & set(rig.wire.take())
        assert len(rig.modem.calls) == 1


async def test_a_release_that_takes_the_network_seconds_is_told_once_when_it_is_there(
    rig: Rig, autojump_clock: Clock
) -> None:
    async with talking(rig) as (line, _):
        rig.modem.faults.release_s = 4
        began = trio.current_time()
        await line.hang_up()
        assert trio.current_time() - began >= 4
        assert rig.modem.calls == []
        assert await events(line, 2) == [Released(16), IDLE]
        await quiet(line)


async def test_a_call_that_comes_back_after_its_end_was_told_is_hung_up_within_seconds(
    rig: Rig, autojump_clock: Clock
) -> None:
    async with talking(rig) as (line, _):
        back = rig.modem.faults.no_list_until = trio.current_time() + 7
        assert await events(line, 2, within_s=7) == [Released(16), IDLE]
        await trio.sleep_until(back + 2)
        assert rig.modem.calls == []


async def test_a_second_caller_who_rings_before_anybody_looks_is_told_as_another(
    rig: Rig, autojump_clock: Clock
) -> None:
    async with rig.idle_line() as line:
        first = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        first.hang_up()
        Subscriber("+33612345678", rig.network, rig.nursery).dial(OURS)
        assert await events(line, 4) == [Released(16), IDLE, Incoming("+33612345678"), IN_USE]


async def test_an_order_at_work_is_not_disturbed(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=50)
    async with rig.idle_line() as line:
        rig.modem.faults.slow["D"] = 45
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        assert line.recoveries.timeouts == line.recoveries.resyncs == 0


async def test_an_order_whose_result_is_lost_is_over_with_the_answer(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=5)
    async with rig.idle_line() as line:
        rig.modem.faults.hung.add("D")
        began = trio.current_time()
        await line.dial(THEIRS)
        await line.send_dtmf("1")
        assert trio.current_time() - began < 12
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        assert len(rig.modem.calls) == 1


async def test_a_hang_up_does_not_wait_for_an_order_that_takes_its_time(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line, trio.open_nursery() as nursery:
        rig.modem.faults.slow["D"] = 20
        nursery.start_soon(line.dial, THEIRS)
        await trio.sleep(1)
        began = trio.current_time()
        await line.hang_up()
        assert trio.current_time() - began < 4
        assert rig.modem.calls == []
        assert (await events(line, 4))[-2:] == [Released(16), IDLE]


async def test_a_hang_up_overtakes_an_order_that_was_not_sent_yet(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone("no-answer")
    async with rig.idle_line() as line, trio.open_nursery() as nursery:
        rig.modem.faults.slow["+QPCMV"] = 1

        async def refused() -> None:
            with pytest.raises(CommandError, match="ATD: not sent"):
                await line.dial(THEIRS)

        nursery.start_soon(refused)
        await trio.sleep(0.5)
        await line.hang_up()
        assert "ATD" not in "".join(rig.wire.take())
        assert not await has_sound(line)


async def test_closing_a_line_takes_no_longer_than_its_limit(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone()
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        rig.modem.faults.hung.add("+CHUP")
        began = trio.current_time()
    assert trio.current_time() - began <= LEAVE_S


# --- what must wait for calls, and what calls must not suffer by ---


async def test_the_network_is_asked_for_nothing_while_a_call_rings(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.set_coverage(2)
    async with rig.line() as line:
        assert await events(line, 1) == [StateChanged(LineState.SEARCHING)]
        rig.modem.faults.slow["+CCWA"] = 8
        rig.modem.set_coverage(1)
        await trio.sleep(0.5)
        call = rig.phone().dial(OURS)
        assert await events(line, 3) == [IDLE, Incoming(THEIRS), IN_USE]
        await trio.sleep(SETTLE_S)
        began = trio.current_time()
        await line.answer()
        assert trio.current_time() - began < 1
        call.hang_up()
        assert await events(line, 3) == [Answered(), Released(16), IDLE]
        assert "AT+CCWA=0,0,1" not in rig.wire.take()
        await trio.sleep(2 * SETTLE_S)
        assert "AT+CCWA=0,0,1" in rig.wire.take()


async def test_a_sim_that_loses_contact_for_a_moment_ends_no_call(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        rig.modem.inject(b"\r\n+CPIN: NOT READY\r\n")
        await quiet(line, 10)
        call.hang_up()  # type: ignore[attr-defined]
        assert await events(line, 2) == [Released(16), IDLE]
        await quiet(line, 30)
        assert rig.wire.take().count("AT+CPIN?") == 1


async def test_a_sim_that_is_gone_loses_an_idle_line(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.faults.refused["+CPIN"] = 10
        rig.modem.inject(b"\r\n+CPIN: NOT READY\r\n")
        with pytest.raises(LineLost, match="no SIM in the module"):
            await events(line, 1)


async def test_a_setting_that_is_refused_while_the_sim_is_busy_is_made_later(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.faults.refused["+QTONEDET"] = 14
    rig.modem.faults.refused["+QSIDET"] = 515
    async with rig.idle_line() as line:
        rig.modem.faults.refused.pop("+QTONEDET")
        await trio.sleep(1000)
        asked = rig.wire.take()
        assert asked.count("AT+QTONEDET=1") == 1
        # Refused for good.
        assert asked.count("AT+QSIDET=0") < 5
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]
        await call.press("5")
        assert await events(line, 1) == [Digit("5")]


async def test_unreadable_lists_for_some_seconds_lose_no_line(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone(answers_after_s=20)
    async with rig.idle_line() as line:
        await line.dial(THEIRS)
        with trio.move_on_after(12):
            while True:
                rig.modem.faults.splice = (0, b"\r\n+CLCC: 1,0,\r\n")
                await trio.sleep(0.1)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]


# --- digits and flow ---


@asynccontextmanager
async def talking(rig: Rig) -> AsyncIterator[tuple[GsmLine, object]]:
    async with rig.idle_line() as line:
        call = rig.phone().dial(OURS)
        await events(line, 2)
        await line.answer()
        assert await events(line, 1) == [Answered()]
        rig.wire.take()
        yield line, call


async def test_keys_cross_both_ways(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        await call.press("12#*D")  # type: ignore[attr-defined]
        assert await events(line, 5) == [Digit(digit) for digit in "12#*D"]
        await line.send_dtmf("98*#A")
        await trio.sleep(1)
        assert call.keys == "98*#A"  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="keys"):
            await line.send_dtmf('1";H')


def takes_sound(rig: Rig, engine: Engine, port: PcmPort) -> bool:
    """The module gives 40 ms, and is given as much."""
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


# --- ill luck ---


async def test_one_silent_list_does_not_end_a_call(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, _):
        rig.modem.faults.hung.add("+CLCC")
        await trio.sleep(12)
        rig.modem.faults.hung.clear()
        await quiet(line)
        assert line.state is LineState.IN_USE
        assert line.recoveries.timeouts >= 1
        assert line.recoveries.resyncs >= 1
        assert rig.modem.module.audible


async def test_a_call_goes_on_without_lists_and_keys_still_cross(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        rig.modem.faults.hung.add("+CLCC")
        await trio.sleep(120)
        await call.press("5")  # type: ignore[attr-defined]
        assert await events(line, 1) == [Digit("5")]
        await line.send_dtmf("7")
        assert call.keys == "7"  # type: ignore[attr-defined]
        # Its end cannot be verified: the line is opened anew, and finds no call.
        call.hang_up()  # type: ignore[attr-defined]
        with pytest.raises(LineLost, match="does not list its calls"):
            await events(line, 1, within_s=60)


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


@pytest.mark.parametrize("name", ["+CHUP", "D", "A", "+QPCMV", "+CEER", "+VTS", "+CREG", "+CCWA", "+COPS"])
async def test_no_single_command_that_hangs_wedges_the_line(name: str, rig: Rig, autojump_clock: Clock) -> None:
    """Whatever one command does, a call ends up told and the line is usable, or the line is lost and says so."""
    rig.modem.faults.hung.add(name)
    phone = rig.phone()
    with suppress(LineLost, ExceptionGroup):
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
            while not isinstance(await line.next_event(), Incoming):
                pass
            await line.answer()
            await call.answered()
            assert rig.modem.module.audible


async def test_a_lost_result_is_a_retry_and_no_more(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.faults.lost_finals = 1
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]


@pytest.mark.parametrize("news", [b"\r\nNO CARRIER\r\n", b"\r\nBUSY\r\n", b'\r\n+QIND: "ccinfo",1,1,-1,0,0,"",128\r\n'])
async def test_news_of_an_end_that_the_list_denies_ends_nothing(news: bytes, rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        rig.modem.inject(news)
        await quiet(line)
        assert line.state is LineState.IN_USE
        call.hang_up()  # type: ignore[attr-defined]
        assert await events(line, 2) == [Released(16), IDLE]


@pytest.mark.parametrize(
    "news",
    [b"\r\nRING\r\n", b"\r\nNO CARRIER\r\n", b'\r\n+QIND: "ccinfo",1,0,0,0,0,"1",129\r\n', b"\r\n+QTONEDET: 49\r\n"],
)
async def test_news_of_nothing_opens_no_call(news: bytes, rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        for _ in range(5):
            rig.modem.inject(news)
            await trio.sleep(0.4)
        await quiet(line)


async def test_a_phantom_call_that_was_told_is_taken_back_and_counted(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.inject(b'\r\n+CLIP: "+33600000000",145,"",0,"",0\r\n')
        assert await events(line, 2) == [Incoming("+33600000000"), IN_USE]
        assert await events(line, 2, within_s=3) == [Released(127), IDLE]
        assert line.repairs == 1


async def test_a_call_that_vanishes_without_news_is_found_and_counted(rig: Rig, autojump_clock: Clock) -> None:
    async with talking(rig) as (line, call):
        rig.modem.module.urc_port = "usbmodem"
        call.hang_up()  # type: ignore[attr-defined]
        assert await events(line, 2, within_s=7) == [Released(16), IDLE]
        assert line.repairs == 1


async def test_a_whole_outgoing_call_without_news_is_told_by_the_list_alone(rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone(answers_after_s=5)
    async with rig.idle_line() as line:
        rig.modem.module.urc_port = "usbmodem"
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        assert line.repairs == 2
        await line.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
    del phone


async def test_a_call_placed_by_another_program_is_dropped_and_counted(rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone()
    async with rig.idle_line() as line:
        await rig.wire.send_all(f"ATD{THEIRS};\r".encode())
        await trio.sleep(10)
        assert rig.modem.calls == []
        assert line.repairs == 1
        await quiet(line)
    del phone


async def test_the_data_bearer_in_the_list_is_no_call(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    rig = await make_rig(nursery, data_bearer=True)
    async with rig.idle_line() as line:
        await quiet(line)
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]
        await line.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
        assert await call.ended() == Cause.NORMAL


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
        call.hang_up()  # type: ignore[attr-defined]
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
        await call.press("7")  # type: ignore[attr-defined]
        assert await events(line, 1) == [Digit("7")]
        assert line.recoveries.urcs_lost == 0
        assert line.recoveries.noise >= 1000
        call.hang_up()  # type: ignore[attr-defined]
        assert await events(line, 2) == [Released(16), IDLE]


@pytest.mark.parametrize("when", ["idle", "ringing", "talking"])
async def test_an_unplugged_line_is_down_at_once_and_comes_back(when: str, rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone()

    async def life() -> None:
        async with rig.idle_line() as line:
            if when != "idle":
                phone.dial(OURS)
                await events(line, 2)
            if when == "talking":
                await line.answer()
                await events(line, 1)
            rig.modem.unplug()
            unplugged = trio.current_time()
            try:
                while True:
                    await line.next_event()
            finally:
                assert line.state is LineState.DOWN
                assert trio.current_time() - unplugged < 2

    with pytest.raises(ExceptionGroup) as caught:
        await life()
    assert caught.group_contains(LineLost, match="the device is gone")
    for fd in rig.pcm:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    await rig.plug()
    async with rig.line() as line:
        while (await line.next_event()) != IDLE:
            pass


async def test_a_module_that_restarts_by_itself_is_lost_as_its_settings_are(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.modem.inject(b"\r\nRDY\r\n")
        with pytest.raises(LineLost, match="restarted"):
            await events(line, 1)


async def test_a_line_whose_service_is_cancelled_in_a_call_hangs_up(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone()
    with trio.CancelScope() as service:
        async with rig.idle_line() as line:
            await line.dial(THEIRS)
            assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
            service.cancel()
            await trio.sleep_forever()
    assert rig.modem.calls == []
    assert rig.modem.module.pcm_mode is None


async def test_an_order_while_somebody_rings_is_refused_and_the_caller_goes_on(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.idle_line() as line:
        rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        with pytest.raises(CommandError, match="the line is in use"):
            await line.dial("+33612345678")
        await line.answer()
        assert await events(line, 1) == [Answered()]


async def test_whoever_calls_at_the_moment_that_we_dial_one_call_wins_and_both_are_told(
    rig: Rig, autojump_clock: Clock
) -> None:
    phone = rig.phone()
    other = Subscriber("+33612345678", rig.network, rig.nursery, behaviour="answer")
    for delay_s in (0, 0.05, 0.15, 0.25, 0.35, 0.45):
        async with rig.idle_line() as line:
            rig.modem.faults.delay_s = 0.1
            async with trio.open_nursery() as nursery:

                async def ring(delay_s: float = delay_s) -> None:
                    await trio.sleep(delay_s)
                    phone.dial(OURS)

                nursery.start_soon(ring)
                with suppress(CommandError):
                    await line.dial(other.number)
            await trio.sleep(5)
            assert len(rig.modem.calls) == 1
            rig.modem.faults.delay_s = 0
            await line.hang_up()
            told = await events(line, 3)
            while not isinstance(told[-2], Released):
                told += await events(line, 1)
            assert [type(e) for e in told if isinstance(e, Incoming | Answered | Released)] in (
                [Incoming, Released],
                [Answered, Released],
            )
            assert line.state is LineState.IDLE


class Meddler(Wire):
    """Has the module say something between one command of many and its answer."""

    def __init__(self, wire: Wire, modem: Modem, place: int, news: bytes) -> None:
        super().__init__(wire)
        self._modem, self._place, self._news = modem, place, news

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._place == 0:
            self._modem.faults.before_answer = self._news
        self._place -= 1
        await super().send_all(data)

    @property
    def done(self) -> bool:
        return self._place < 0


@pytest.mark.parametrize(
    "news",
    [
        b"\r\nRING\r\n",
        b"\r\nNO CARRIER\r\n",
        b'\r\n+CREG: 1,"1A2B","01C3D4E5",7\r\n',
        b"\r\n+QPCMV: 0\r\n",
        b"\r\n> ",
        b"\xff\x00\r\n",
    ],
)
async def test_news_before_any_answer_of_the_bring_up_disturbs_nothing(
    news: bytes, rig: Rig, autojump_clock: Clock
) -> None:
    place, wire = 0, rig.wire
    while True:
        rig.wire = meddler = Meddler(wire, rig.modem, place, news)
        async with rig.line() as line:
            if not meddler.done:
                break
            assert await events(line, 1) == [IDLE]
            assert line.identity.imei == "867698040000018"
            await quiet(line, 5)
        # The same module is opened again on the same port.
        wire.aclose = trio.lowlevel.checkpoint  # type: ignore[method-assign]
        place += 1
    assert place > 25


@pytest.mark.parametrize(
    "name",
    ["+CMEE", "+CFUN", "+CPIN", "+QURCCFG", "+QINDCFG", "^DSCI", "+CLIP", "+CGMM", "+CGSN", "+QCCID", "+CSQ", "+QCFG"],
)
async def test_a_command_of_the_bring_up_that_hangs_costs_time_or_is_told(
    name: str, rig: Rig, autojump_clock: Clock
) -> None:
    rig.modem.faults.hung.add(name)
    if name == "+CPIN":
        assert await why_not(rig) == "the SIM is not ready: no answer"
        return
    async with rig.line() as line:
        assert await events(line, 1) == [IDLE]
        rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]


async def test_a_line_on_real_ttys_rings_answers_and_is_unplugged(tmp_path: Path, nursery: trio.Nursery) -> None:
    network = Network()
    modem = Modem(Ec25(Profile(OURS)), network)
    with Pty(tmp_path / "at") as at, Pty(tmp_path / "pcm") as pcm:
        nursery.start_soon(modem.serve_at, trio.lowlevel.FdStream(os.dup(at.master)))
        os.write(pcm.master, b"stale")
        with trio.fail_after(20):
            async with open_gsm("office", EC25, at_path=str(at.link), pcm_path=str(pcm.link)) as line:
                assert await events(line, 1) == [IDLE]
                Subscriber(THEIRS, network, nursery).dial(OURS)
                assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
                await line.answer()
                async with attached(line) as (engine, port):
                    engine.tick(4)
                    assert port.stats().received_bytes == 0
                with pytest.raises(LineLost, match="pcm: in use by another program"):
                    await open_tty(str(pcm.link))
                assert await events(line, 1) == [Answered()]
                await line.hang_up()
                assert await events(line, 2) == [Released(16), IDLE]
                close_tty(await open_tty(str(pcm.link)))


async def test_a_missing_tty_is_told_in_plain_words(tmp_path: object) -> None:
    with pytest.raises(LineLost, match="no such device"):
        async with open_gsm("office", EC25, at_path=f"{tmp_path}/at", pcm_path=f"{tmp_path}/pcm"):
            pass
