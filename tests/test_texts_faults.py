"""No message of a SIM is lost or made up: not by news in the midst of one, nor by an hour of all that may go wrong."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import trio
import trio.testing

from drivers.at import Dialogue, Info
from drivers.errors import CommandError, LineLost
from drivers.gsm import GsmLine
from drivers.sms import Deliver, decode, encode, fingerprint, tpdu_length
from drivers.texts import SWEEP_S, is_whole
from drivers.userdata import split
from hil.board import profile_of
from hil.modem import Modem
from hil.network import Network
from hil.subscriber import PhoneCall, Subscriber
from tests.gsm_rig import OURS, THEIRS, Clock, Wire
from tests.text_rig import FAMILIES, Rig, line_of, nothing, receive, submit, text_of


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
            assert rig.wire.sent.endswith(submit("poison").encode() + b"\x1a")
            rig.modem.unplug()
        with pytest.raises(LineLost):
            await line.texts.send(submit("next"))


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


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
