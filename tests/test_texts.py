"""A SIM's messages and USSD by the driver, over every family that the bench has."""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import trio
import trio.testing

from drivers.at import Dialogue, Info
from drivers.errors import CommandError, LineLost
from drivers.gsm import GsmLine, open_gsm_on
from drivers.line import Answered, Incoming, LineEvent, Received, Released, Storage, Texting
from drivers.models import MODELS
from drivers.sms import Deliver, Report, Submit, decode, encode, fingerprint, tpdu_length
from drivers.texts import SWEEP_S, is_whole
from drivers.userdata import join, split
from drivers.ussd import News, Outcome
from hil.bench import OTHERS, QUECTEL
from hil.board import profile_of
from hil.modem import Modem
from hil.network import Network
from hil.storage import Status
from hil.subscriber import PhoneCall, Subscriber
from native import Engine, Port

OURS, THEIRS = "+33700000002", "+33783484044"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAMILIES = QUECTEL | OTHERS
Clock = trio.testing.MockClock


class Deaf:
    """Where a call's audio would be, of which nobody asks anything here."""

    async def check(self) -> None:
        await trio.lowlevel.checkpoint()

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        pass

    def attach(self, engine: Engine) -> AbstractAsyncContextManager[Port]:
        raise AssertionError("nobody asks for its sound")


class Wire(trio.abc.Stream):
    """The host's end, with the commands that were sent."""

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

    def take(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent


@dataclass
class Rig:
    name: str
    modem: Modem
    phone: Subscriber
    wire: Wire

    @property
    def slots(self) -> dict[str, int]:
        storage = self.modem.module.storage
        return {memory: len(storage[memory]) for memory in storage if storage[memory]}

    @asynccontextmanager
    async def line(self) -> AsyncIterator[GsmLine]:
        model = MODELS[self.name]
        async with open_gsm_on(self.wire, "office", model, sound=model.sound[0], place=Deaf()) as line:
            yield line


@asynccontextmanager
async def rig_of(name: str) -> AsyncIterator[Rig]:
    network = Network()
    modem = Modem(FAMILIES[name](profile_of(OURS)), network, model=name)
    host, device = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(modem.serve_at, device)
        yield Rig(name, modem, Subscriber(THEIRS, network, nursery), Wire(host))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def line_of(name: str = "ec25") -> AsyncIterator[tuple[Rig, GsmLine]]:
    """Up, with its memories swept."""
    async with rig_of(name) as rig, rig.line() as line:
        await trio.sleep(5)
        yield rig, line


def submit(text: str, **rest: object) -> str:
    (data,) = split(text, reference=0)
    return encode(Submit(THEIRS, data, **rest))  # type: ignore[arg-type]


def text_of(*received: Received) -> str:
    messages = [decode(each.pdu) for each in received]
    return join([message.data for message in messages if isinstance(message, Deliver)])


async def receive(line: GsmLine, within_s: float = 5) -> Received:
    with trio.fail_after(within_s):
        return await line.texts.receive()


async def nothing(line: GsmLine, for_s: float = 5) -> None:
    with trio.move_on_after(for_s):
        pytest.fail(f"received {await line.texts.receive()}")


async def event(line: GsmLine, kind: type[LineEvent]) -> LineEvent:
    with trio.fail_after(60):
        while not isinstance(told := await line.next_event(), kind):
            pass
        return told


# --- what comes ---


@pytest.mark.parametrize("name", FAMILIES)
async def test_a_message_is_handed_over_and_deleted_when_it_is_safe(autojump_clock: Clock, name: str) -> None:
    async with line_of(name) as (rig, line):
        assert isinstance(line, Texting)
        rig.phone.text(OURS, "Ça va ? \U0001f600")
        received = await receive(line)
        assert text_of(received) == "Ça va ? \U0001f600"
        await nothing(line, SWEEP_S + 10)
        assert sum(rig.slots.values()) == 1
        await line.texts.forget(received)
        assert rig.slots == {}


@pytest.mark.parametrize("name", FAMILIES)
async def test_what_was_stored_before_the_line_was_opened_is_found_in_every_memory(
    autojump_clock: Clock, name: str
) -> None:
    async with rig_of(name) as rig:
        for memory in ("ME", "SM"):
            rig.modem.module.values["memory 2"] = memory
            rig.phone.text(OURS, memory)
        assert rig.slots == {"ME": 1, "SM": 1}
        async with rig.line() as line:
            received = [await receive(line, 30) for _ in range(2)]
            assert sorted(map(text_of, received)) == ["ME", "SM"]
            for each in received:
                await line.texts.forget(each)
            assert rig.slots == {}


async def test_what_nobody_was_told_of_is_found_by_a_sweep(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.lost_news.add("+CMTI")
        rig.phone.text(OURS, "quiet")
        assert text_of(await receive(line, SWEEP_S + 5)) == "quiet"


@pytest.mark.parametrize(
    "news",
    [
        b"\r\n+CMTI: ,2\r\n",
        b'\r\n+CMTI: "SM",-1\r\n',
        b'\r\n+CMTI: "MT",0\r\n',
        b'\r\n+CMTI: "MT",1\r\n',
        b'\r\n^SMMEMFULL: "SM"\r\n',
    ],
)
async def test_news_without_a_place_is_a_reason_to_sweep(autojump_clock: Clock, news: bytes) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.lost_news.add("+CMTI")
        rig.phone.text(OURS, "somewhere")
        rig.modem.inject(news)
        received = await receive(line)
        assert text_of(received) == "somewhere"
        assert received.memory in ("SM", "ME")


async def test_a_storage_that_was_full_takes_what_waited_for_room(autojump_clock: Clock) -> None:
    async with rig_of("e173") as rig:
        for number in range(30):
            rig.phone.text(OURS, f"message {number}")
        assert rig.slots == {"SM": 20}
        async with rig.line() as line:
            texts: list[str] = []
            while len(texts) < 30:
                received = await receive(line, 60)
                texts.append(text_of(received))
                await line.texts.forget(received)
            assert sorted(texts) == sorted(f"message {number}" for number in range(30))
            assert rig.slots == {}
            assert line.texts.storage["SM"].total == 20


async def test_what_can_not_be_deleted_is_not_handed_over_again_and_goes_later(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.phone.text(OURS, "sticky")
        received = await receive(line)
        rig.modem.faults.refused["+CMGD"] = 314
        await line.texts.forget(received)
        await nothing(line, SWEEP_S + 10)
        assert sum(rig.slots.values()) == 1
        rig.modem.faults.refused.clear()
        await trio.sleep(SWEEP_S + 10)
        assert rig.slots == {}


async def test_flash_messages_are_acknowledged_when_they_are_safe(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.phone.text(OURS, "now!", flash=True)
        received = await receive(line)
        assert (received.memory, text_of(received)) == ("", "now!")
        assert rig.modem.module.unacknowledged is not None
        await line.texts.forget(received)
        assert rig.modem.module.unacknowledged is None


async def test_messages_that_others_wrote_to_the_sim_stay_there(autojump_clock: Clock) -> None:
    async with rig_of("ec25") as rig:
        rig.modem.module.storage.put("SM", submit("a draft"), Status.UNSENT)
        async with rig.line() as line:
            await nothing(line, 30)
            assert rig.slots == {"SM": 1}
            assert line.texts.storage["SM"] == Storage(1, 25)


async def test_a_sim_that_is_busy_at_first_is_asked_again(autojump_clock: Clock) -> None:
    async with rig_of("ec25") as rig:
        rig.phone.text(OURS, "early")
        rig.modem.faults.refused["+CPMS"] = 14
        async with rig.line() as line:
            await nothing(line, 20)
            rig.modem.faults.refused.clear()
            assert text_of(await receive(line, 30)) == "early"


# --- never in the way of calls ---


async def test_in_a_call_nothing_is_asked_and_after_it_all_is_there(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        call = rig.phone.dial(OURS)
        await event(line, Incoming)
        await line.answer()
        await event(line, Answered)
        rig.wire.take()
        rig.phone.text(OURS, "in a call")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.texts.send, submit("out of a call"))
            await trio.sleep(SWEEP_S + 60)
            sent = rig.wire.take()
            assert not any(word in sent for word in (b"+CPMS", b"+CMG", b"+CNMI"))
            call.hang_up()
            await event(line, Released)
            assert text_of(await receive(line)) == "in a call"
            assert (await rig.phone.texted()).body == "out of a call"


async def test_a_call_that_comes_at_the_prompt_goes_first(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.wire.take()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.texts.send, submit("waits"))
            # Between AT+CMGS and the text there is a moment.
            while b"+CMGS" not in rig.wire.sent:  # noqa: ASYNC110  # the wire tells nobody
                await trio.sleep(0.01)
            await trio.sleep(0.05)
            call = rig.phone.dial(OURS)
            await event(line, Incoming)
            await line.answer()
            await event(line, Answered)
            assert b"\x1b" in rig.wire.sent
            assert b"\x1a" not in rig.wire.sent
            call.hang_up()
            with trio.fail_after(30):
                assert (await rig.phone.texted()).body == "waits"


async def test_a_prompt_that_never_comes_leaves_a_line_that_works(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.hung.add("+CMGS")
        with pytest.raises(CommandError, match="no prompt"):
            await line.texts.send(submit("x"))
        rig.modem.faults.hung.clear()
        assert await line.texts.send(submit("y")) == 1
        assert line.recoveries.timeouts == 0


# --- what goes ---


@pytest.mark.parametrize("name", FAMILIES)
async def test_messages_go_out_and_are_reported_on(autojump_clock: Clock, name: str) -> None:
    async with line_of(name) as (rig, line):
        rig.phone.takes_texts = False
        assert await line.texts.send(submit("hello", report=True)) == 1
        assert await line.texts.send(submit("world", report=True)) == 2
        rig.phone.takes_texts = True
        rig.phone.network.centre.knock(THEIRS, trio.current_time())
        references = set()
        for _ in range(2):
            received = await receive(line)
            report = decode(received.pdu)
            assert isinstance(report, Report)
            references.add(report.reference)
            await line.texts.forget(received)
        assert references == {1, 2}
        assert rig.slots == {}
        assert [text.body for text in rig.phone.texts] == ["hello", "world"]


async def test_a_refusal_is_told_with_its_number(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.refused["+CMGS"] = 38
        with pytest.raises(CommandError) as refusal:
            await line.texts.send(submit("x"))
        assert refusal.value.result == "+CMS ERROR: 38"


async def test_without_a_network_a_message_waits_for_one(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.set_coverage(2)
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.texts.send, submit("patient"))
            await trio.sleep(600)
            assert rig.phone.texts == []
            rig.modem.set_coverage(1)
            with trio.fail_after(30):
                assert (await rig.phone.texted()).body == "patient"


async def test_a_network_that_says_nothing_is_given_up_in_a_minute(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.slow["+CMGS"] = 100
        with trio.fail_after(70), pytest.raises(CommandError, match="no answer"):
            await line.texts.send(submit("x"))


# --- USSD ---


@pytest.mark.parametrize("name", FAMILIES)
async def test_codes_and_menus_in_every_family(autojump_clock: Clock, name: str) -> None:
    async with line_of(name) as (_, line):
        text = "Your balance is 5.00 EUR. Valid until 31/12."
        news = await line.texts.ussd("*123#")
        assert (news.outcome, news.text) == (Outcome.DONE, text)
        assert (await line.texts.ussd("*101#")).text == "Баланс: 5 €"
        menu = await line.texts.ussd("*100#")
        assert (menu.outcome, menu.text) == (Outcome.MORE, "1. Balance\n2. Top up\n0. Exit")
        assert (await line.texts.ussd("1")).text == "5.00 EUR"
        await line.texts.ussd("*100#")
        await line.texts.cancel_ussd()
        assert (await line.texts.ussd("1")).outcome is Outcome.UNSUPPORTED


async def test_a_network_without_an_answer_is_given_up(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.lost_news.add("+CUSD")
        with trio.fail_after(80), pytest.raises(CommandError, match="did not answer"):
            await line.texts.ussd("*123#")
        rig.modem.faults.lost_news.clear()
        assert (await line.texts.ussd("*123#")).text.startswith("Your balance")


async def test_one_session_at_a_time_and_none_in_a_call(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.texts.ussd, "*123#")
            await trio.sleep(0.1)
            with pytest.raises(CommandError, match="under way"):
                await line.texts.ussd("*123#")
        rig.phone.dial(OURS)
        await event(line, Incoming)
        with pytest.raises(CommandError, match="in use"):
            await line.texts.ussd("*123#")


async def test_a_menu_may_be_left_while_its_answer_is_waited_for(autojump_clock: Clock) -> None:
    async with line_of() as (_, line):
        await line.texts.ussd("*100#")
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.texts.ussd, "1")
                await trio.sleep(0.1)
                await line.texts.cancel_ussd()
        assert (await line.texts.ussd("*123#")).outcome is Outcome.DONE


async def test_an_answer_without_a_result_is_an_answer(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.lost_finals = 1
        assert (await line.texts.ussd("*123#")).text.startswith("Your balance")


async def test_a_menu_that_nobody_asked_for_is_left(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.wire.take()
        rig.modem.inject(b'\r\n+CUSD: 1,"Win a car!\r\n1. Yes",15\r\n')
        await trio.sleep(2)
        assert b"AT+CUSD=2\r" in rig.wire.take()
        assert (await line.texts.ussd("*123#")) == News(
            Outcome.DONE, text := "Your balance is 5.00 EUR. Valid until 31/12.", text
        )


async def test_what_is_no_code_is_refused(autojump_clock: Clock) -> None:
    async with line_of() as (_, line):
        with pytest.raises(ValueError, match="USSD"):
            await line.texts.ussd('*1"\r')


async def test_a_message_sent_at_once_is_reported_on_too(autojump_clock: Clock) -> None:
    """The module drops what it has no route for."""
    async with rig_of("ec25") as rig, rig.line() as line:
        assert await line.texts.send(submit("hello", report=True)) == 1
        assert isinstance(decode((await receive(line)).pdu), Report)


async def test_a_module_that_goes_with_a_message_has_refused_it(autojump_clock: Clock) -> None:
    """As a firmware does that starts anew over it: whoever sent it must not take it for the line's misfortune."""
    async with line_of() as (rig, line):
        rig.modem.faults.slow["+CMGS"] = 60
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(CommandError, match="lost"):
                    await line.texts.send(submit("poison"))

            nursery.start_soon(send)
            await trio.sleep(5)
            assert rig.wire.take().endswith(submit("poison").encode() + b"\x1a")
            rig.modem.unplug()
        with pytest.raises(LineLost):
            await line.texts.send(submit("next"))


# --- news in the midst ---

PDU = encode(Deliver(THEIRS, split("Ça va ?", reference=0)[0], None))
LISTS = {
    "AT+CMGR=1": f"\r\n+CMGR: 0,,{tpdu_length(PDU)}\r\n{PDU}\r\n\r\nOK\r\n".encode(),
    "AT+CMGL=4": f'\r\n+CMGL: 1,0,"",{tpdu_length(PDU)}\r\n{PDU}\r\n\r\nOK\r\n'.encode(),
}


@pytest.mark.parametrize("command", LISTS)
@pytest.mark.parametrize("news", [b"\r\nRING\r\n", b'\r\n+CMTI: "SM",3\r\n', b"\r\n^RSSI:19\r\n", b"\r\nAB\r\n"])
def test_half_a_message_is_never_taken_for_it(command: str, news: bytes) -> None:
    """Wherever the news lands."""
    answer = LISTS[command]
    for place in range(len(answer)):
        dialogue = Dialogue(urcs=("RING", "+CMTI:", "^RSSI:"))
        dialogue.send(command)
        told = dialogue.receive(answer[:place] + news + answer[place:])
        lines = [each.text for each in told if isinstance(each, Info)]
        taken = {pdu for header, pdu in pairwise(lines) if header.startswith("+CMG") and is_whole(header, pdu)}
        assert taken <= {PDU}
    assert is_whole(lines[0], lines[1])


async def test_a_message_that_was_cut_in_two_is_read_again(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.phone.text(OURS, "first")
        await line.texts.forget(await receive(line))
        rig.modem.faults.splice = (40, b"\r\n+CREG: 1\r\n")
        rig.phone.text(OURS, "whole in the end")
        assert text_of(await receive(line, 60)) == "whole in the end"
        assert rig.modem.faults.splice is None
        await nothing(line, SWEEP_S)


# --- all of it together ---


@pytest.mark.parametrize("name", ["ec25", "e173"])
async def test_of_many_messages_none_is_lost_whatever_happens(autojump_clock: Clock, name: str) -> None:
    """An hour of texts, calls, unplugs, noise in answers, lost news and lost results."""
    chance, network = random.Random(7), Network()
    modem = Modem(FAMILIES[name](profile_of(OURS)), network, model=name)
    said: list[str] = []
    heard: dict[str, Deliver] = {}

    async def keep(line: GsmLine) -> None:
        while True:
            received = await line.texts.receive()
            message = decode(received.pdu)
            assert isinstance(message, Deliver)
            heard[fingerprint(received.pdu)] = message
            # Longer than the line may live.
            await trio.sleep(chance.random())
            await line.texts.forget(received)

    async def live() -> None:
        while True:
            host, device = trio.testing.memory_stream_pair()
            nursery.start_soon(modem.serve_at, device)
            with suppress_group(LineLost):
                async with Rig(name, modem, phone, Wire(host)).line() as line, trio.open_nursery() as inner:
                    inner.start_soon(keep, line)
                    while True:
                        await line.next_event()
            await trio.sleep(3)

    async def hang_up(call: PhoneCall) -> None:
        await trio.sleep(100 * chance.random())
        call.hang_up()

    def fault() -> None:
        match chance.randrange(12):
            case 0:
                modem.unplug()
            case 1:
                modem.faults.splice = (chance.randrange(80), b"\r\n+CREG: 1\r\n")
            case 2:
                modem.faults.lost_finals = 1
            case 3:
                modem.faults.lost_news ^= {"+CMTI"}
            case 4:
                nursery.start_soon(hang_up, phone.dial(OURS))

    async with trio.open_nursery() as nursery:
        phone = Subscriber(THEIRS, network, nursery)
        nursery.start_soon(live)
        for number in range(80):
            await trio.sleep(90 * chance.random())
            said.append(chance.choice([f"ok {number}", f"long {number} " * 60, f"жук {number} \U0001f600" * 20]))
            phone.text(OURS, said[-1])
            fault()
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()
    assert network.centre.waiting == 0
    assert all(not modem.module.storage[memory] for memory in modem.module.storage)
    # Of one sender no two messages have the same time: a text's parts follow one another.
    in_order = sorted(heard.values(), key=lambda message: message.sent_at or EPOCH)
    assert "".join(message.data.text for message in in_order) == "".join(said)


@contextmanager
def suppress_group(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except* kind:
        pass
