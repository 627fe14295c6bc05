"""The bench's messages: what a module stores, tells and sends, byte by byte, and what the network does with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from drivers import gsm7
from drivers.sms import Deliver, Fate, Submit, decode, encode, tpdu_length
from drivers.userdata import split
from hil.bench import OTHERS, QUECTEL
from hil.board import profile_of
from hil.messages import ACKNOWLEDGE_S
from hil.modem import Modem
from hil.module import Module
from hil.network import Network
from hil.quectel import Ec25
from hil.subscriber import Subscriber

OURS, THEIRS = "+33700000002", "+33783484044"
FAMILIES = QUECTEL | OTHERS
Clock = trio.testing.MockClock


class Host:
    """Somebody at a module's AT port, with E0, and a phone that writes to it."""

    def __init__(self, modem: Modem, phone: Subscriber, stream: trio.abc.Stream) -> None:
        self.modem = modem
        self.phone = phone
        self.network = phone.network
        self._stream = stream

    async def type(self, data: bytes) -> str:
        """All that comes of it in a second."""
        await self._stream.send_all(data)
        return await self.hears()

    async def hears(self, within_s: float = 1.0) -> str:
        heard = b""
        with trio.move_on_after(within_s):
            while True:
                heard += bytes(await self._stream.receive_some())
        return heard.decode("latin-1")

    async def ask(self, command: str) -> list[str]:
        return self._lines(await self.type(command.encode() + b"\r"))

    async def send(self, message: Submit) -> list[str]:
        pdu = encode(message)
        assert "\r\n> " in await self.type(b"AT+CMGS=%d\r" % tpdu_length(pdu))
        return self._lines(await self.type(pdu.encode() + b"\x1a"))

    def _lines(self, heard: str) -> list[str]:
        """Without a stick's noise."""
        return [line for line in heard.split("\r\n") if line and not line.startswith("^")]


@asynccontextmanager
async def bench(family: type[Module] = Ec25) -> AsyncIterator[Host]:
    network = Network()
    module = family(profile_of(OURS))
    modem = Modem(module, network)
    host, device = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(modem.serve_at, device)
        host_end = Host(modem, Subscriber(THEIRS, network, nursery), host)
        await host_end.type(b"ATE0\r")
        await host_end.ask("AT+CMEE=1")
        await host_end.ask('AT+CPMS="SM","SM","SM"')
        yield host_end
        nursery.cancel_scope.cancel()


def text_of(pdu: str) -> str:
    message = decode(pdu)
    assert isinstance(message, Deliver)
    return message.data.text


def submit(text: str, **rest: object) -> Submit:
    (data,) = split(text, reference=0)
    return Submit(THEIRS, data, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
async def test_a_message_is_stored_told_of_read_and_deleted(autojump_clock: Clock, family: type[Module]) -> None:
    async with bench(family) as host:
        assert await host.ask("AT+CNMI=2,1,0,2,0") == ["OK"]
        host.phone.text(OURS, "Ça va ? \U0001f600")
        assert '\r\n+CMTI: "SM",0\r\n' in await host.hears()
        header, pdu, ok = await host.ask("AT+CMGR=0")
        assert (header, ok) == (f"+CMGR: 0,,{tpdu_length(pdu)}", "OK")
        assert text_of(pdu) == "Ça va ? \U0001f600"
        assert f"+CMGL: 0,1,,{tpdu_length(pdu)}" in await host.ask("AT+CMGL=4")
        assert "OK" in await host.ask("AT+CMGD=0")
        assert "+CPMS: 0," in "".join(await host.ask('AT+CPMS="SM"'))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
async def test_a_message_goes_out_by_a_prompt(autojump_clock: Clock, family: type[Module]) -> None:
    async with bench(family) as host:
        assert await host.send(submit("hello")) == ["+CMGS: 1", "OK"]
        assert (await host.phone.texted()).body == "hello"
        assert host.phone.texts[0].sender == OURS


async def test_a_prompt_is_two_characters_and_esc_leaves_it(autojump_clock: Clock) -> None:
    async with bench() as host:
        assert await host.type(b"AT+CMGS=20\r") == "\r\n> "
        assert await host.type(b"0011\x1b") == "\r\nOK\r\n"
        assert await host.ask("AT+CMGF?") == ["+CMGF: 0", "OK"]
        assert host.phone.texts == []


async def test_with_echo_the_pdu_comes_back(autojump_clock: Clock) -> None:
    async with bench() as host:
        await host.type(b"ATE1\r")
        pdu = encode(submit("x")).encode()
        assert (
            await host.type(b"AT+CMGS=%d\r" % tpdu_length(pdu.decode()))
            == f"AT+CMGS={tpdu_length(pdu.decode())}\r\r\n> "
        )
        assert await host.type(pdu[:10]) == pdu[:10].decode()
        assert await host.type(pdu[10:] + b"\x1a") == pdu[10:].decode() + "\x1a\r\n+CMGS: 1\r\n\r\nOK\r\n"


@pytest.mark.parametrize(
    ("typed", "error"),
    [(b"00\x1a", 304), (b"zz\x1a", 304), (encode(submit("longer")).encode() + b"\x1a", 304)],
)
async def test_what_is_no_pdu_of_that_length_is_refused(autojump_clock: Clock, typed: bytes, error: int) -> None:
    async with bench() as host:
        await host.type(b"AT+CMGS=14\r")
        assert await host.type(typed) == f"\r\n+CMS ERROR: {error}\r\n"


async def test_without_a_network_nothing_is_sent_and_what_comes_waits(autojump_clock: Clock) -> None:
    async with bench() as host:
        await host.ask("AT+CNMI=2,1,0,0,0")
        host.modem.set_coverage(2)
        assert await host.send(submit("hello")) == ["+CMS ERROR: 331"]
        host.phone.text(OURS, "later")
        assert "+CMTI" not in await host.hears()
        assert host.network.centre.waiting == 1
        host.modem.set_coverage(1)
        assert "+CMTI" in await host.hears()


async def test_the_network_refuses_by_a_number_of_its_own(autojump_clock: Clock) -> None:
    async with bench() as host:
        host.modem.faults.refused["+CMGS"] = 38
        assert await host.send(submit("hello")) == ["+CMS ERROR: 38"]


async def test_a_full_memory_takes_nothing_until_there_is_room(autojump_clock: Clock) -> None:
    async with bench() as host:
        await host.ask("AT+CNMI=2,1,0,0,0")
        host.modem.module.indications["smsfull"] = 1  # type: ignore[attr-defined]
        for number in range(30):
            host.phone.text(OURS, f"message {number}")
        heard = await host.hears()
        assert heard.count("+CMTI") == 25
        assert '+QIND: "smsfull","SM"' in heard
        assert await host.ask('AT+CPMS="SM"') == ["+CPMS: 25,25,25,25,25,25", "OK"]
        assert host.network.centre.waiting == 5
        assert '+CMTI: "SM",7' in await host.type(b"AT+CMGD=7\r")
        await host.ask("AT+CMGD=1,4")
        assert host.network.centre.waiting == 0
        await host.type(b"AT+CMGW=14\r")
        assert "OK" in await host.type(encode(submit("x")).encode() + b"\x1b")


async def test_direct_messages_are_told_with_their_pdu_and_acknowledged(autojump_clock: Clock) -> None:
    async with bench() as host:
        await host.ask("AT+CSMS=1")
        await host.ask("AT+CNMI=2,2,0,1,0")
        host.phone.text(OURS, "one")
        host.phone.text(OURS, "two")
        _, header, pdu, _ = (await host.hears()).split("\r\n")
        assert header == f"+CMT: ,{tpdu_length(pdu)}"
        assert text_of(pdu) == "one"
        # The second waits for the first one's acknowledgement.
        assert "two" in "".join(text_of(line) for line in await host.ask("AT+CNMA") if line[:2] == "07")
        assert await host.ask("AT+CNMA") == ["OK"]
        assert await host.ask("AT+CNMA") == ["+CMS ERROR: 340"]


async def test_a_missed_acknowledgement_ends_the_telling(autojump_clock: Clock) -> None:
    async with bench() as host:
        await host.ask("AT+CSMS=1")
        await host.ask("AT+CNMI=2,2,0,1,0")
        host.phone.text(OURS, "one")
        await host.hears(ACKNOWLEDGE_S + 1)
        assert await host.ask("AT+CNMI?") == ["+CNMI: 2,0,0,0,0", "OK"]
        await host.hears(60)
        assert len(await host.ask("AT+CMGL=4")) == 3


async def test_flash_messages_are_told_even_where_others_are_stored(autojump_clock: Clock) -> None:
    async with bench() as host:
        await host.ask("AT+CNMI=2,1,0,0,0")
        host.phone.text(OURS, "now!", flash=True)
        assert "+CMT: ," in await host.hears()


@pytest.mark.parametrize(("route", "told"), [("0", ""), ("1", "+CDS: "), ("2", '+CDSI: "SR",0')])
async def test_reports_come_by_their_own_route(autojump_clock: Clock, route: str, told: str) -> None:
    async with bench() as host:
        await host.ask(f"AT+CNMI=2,1,0,{route},0")
        host.phone.takes_texts = False
        assert await host.send(submit("hello", report=True)) == ["+CMGS: 1", "OK"]
        assert await host.hears() == ""
        host.phone.takes_texts = True
        host.network.centre.knock(THEIRS, trio.current_time())
        assert told in await host.hears()


async def test_what_nobody_takes_expires_and_is_reported(autojump_clock: Clock) -> None:
    async with bench() as host:
        await host.ask("AT+CNMI=2,1,0,0,0")
        host.modem.set_coverage(2)
        host.phone.text(OURS, "short-lived", report=True, validity_s=3600)
        await trio.sleep(3700)
        host.modem.set_coverage(1)
        assert "+CMTI" not in await host.hears()
        assert [report.fate for report in host.phone.reports] == [Fate.FAILED]


async def test_parts_come_in_disorder_when_they_are_held(autojump_clock: Clock) -> None:
    async with bench() as host:
        await host.ask("AT+CNMI=2,0,0,0,0")
        centre = host.network.centre
        centre.holding = True
        host.phone.text(OURS, "a" * 400)
        centre.held = [centre.held[place] for place in (2, 0, 0, 1)]
        centre.release(trio.current_time())
        lines = await host.ask("AT+CMGL=4")
        messages = [decode(pdu) for pdu in lines[1:-1:2]]
        parts = [message.data.part for message in messages if isinstance(message, Deliver) and message.data.part]
        assert [part.number for part in parts] == [3, 1, 1, 2]


async def test_a_written_message_is_sent_from_its_slot(autojump_clock: Clock) -> None:
    async with bench() as host:
        pdu = encode(submit("stored"))
        await host.type(b"AT+CMGW=%d\r" % tpdu_length(pdu))
        assert "+CMGW: 0" in await host.type(pdu.encode() + b"\x1a")
        assert await host.ask("AT+CMSS=0") == ["+CMSS: 1", "OK"]
        assert (await host.phone.texted()).body == "stored"
        assert (await host.ask("AT+CMGL=4"))[0].startswith("+CMGL: 0,3,")


async def test_messages_outlive_a_restart_and_routes_do_not(autojump_clock: Clock) -> None:
    async with bench() as host:
        await host.ask("AT+CNMI=2,1,0,2,0")
        host.phone.text(OURS, "kept")
        await host.hears()
        module = host.modem.module
        module.forget()
        await host.type(b"ATE0\r")
        assert len(module.storage["SM"]) == 1
        assert await host.ask("AT+CNMI?") == ["+CNMI: 2,1,0,0,0", "OK"]


# --- USSD ---


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
async def test_a_code_is_answered_in_the_family_s_writing(autojump_clock: Clock, family: type[Module]) -> None:
    async with bench(family) as host:
        code = "*123#"
        if family.packs_ussd:
            code = gsm7.pack(code.encode()).hex().upper()
        heard = await host.type(f'AT+CUSD=1,"{code}",15\r'.encode())
        text = "Your balance is 5.00 EUR. Valid until 31/12."
        written = gsm7.pack(text.encode()).hex().upper() if family.packs_ussd else text
        assert f'+CUSD: 0,"{written}",15' in heard


async def test_a_menu_is_walked_and_left(autojump_clock: Clock) -> None:
    async with bench() as host:
        assert '+CUSD: 1,"1. Balance\n2. Top up\n0. Exit",15' in await host.type(b'AT+CUSD=1,"*100#",15\r')
        assert '+CUSD: 0,"5.00 EUR",15' in await host.type(b'AT+CUSD=1,"1",15\r')
        await host.type(b'AT+CUSD=1,"*100#",15\r')
        assert "+CUSD: 2" in await host.type(b"AT+CUSD=2\r")
        assert "+CUSD: 4" in await host.type(b'AT+CUSD=1,"*999#",15\r')


@pytest.mark.parametrize("charset", ["GSM", "UCS2"])
async def test_another_script_is_ucs2(autojump_clock: Clock, charset: str) -> None:
    async with bench() as host:
        await host.ask(f'AT+CSCS="{charset}"')
        code = "*101#" if charset == "GSM" else "*101#".encode("utf-16-be").hex()
        heard = await host.type(f'AT+CUSD=1,"{code}",15\r'.encode())
        assert f'+CUSD: 0,"{"Баланс: 5 €".encode("utf-16-be").hex().upper()}",72' in heard
