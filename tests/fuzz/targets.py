"""What must hold of foreign bytes, whatever they are: one function for each parser, for atheris and hypothesis alike.

Each takes its input apart by a grammar of its own, so that a fuzzer reaches orders, charsets and cuts as well as bytes.
"""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from drivers import analog, gsm7, parsers, replies, sms, ussd, voicemodels
from drivers.at import LINE_LIMIT_BYTES, Dialogue, Event, Final, Info, Prompt
from drivers.dle import Begun, Ended, Splitter, Words
from drivers.models import MODELS
from drivers.reassembly import Piece, Reassembly, missing
from drivers.userdata import Part
from hil.atport import AtPort, Say
from hil.board import Profile, Restart, profile_of
from hil.generic import Generic
from hil.models import OTHERS, QUECTEL
from hil.voicemodels import VOICE_MODELS
from hil.voicemodem import VoiceModem

Target = Callable[[bytes], None]

# In what a port reads: here a read ends, the next command is sent, the command is given up.
CUT, SEND, ABANDON = b"\xfc", b"\xfd", b"\xfe"
COMMANDS = (
    "AT",
    "ATI",
    "AT+CLCC",
    "AT+CREG?",
    "AT+CUSD=1",
    "AT+CMGL=4",
    "AT+CGSN",
    "ATD123;",
    "ATA",
    "AT+CPIN?",
    "AT+CMGS=9",
    "AT+VTR",
    "AT+CICCID",
    "AT+QPCMV=0;+QPCMV=1,2;D123;",
)
CHARSETS = ("GSM", "IRA", "UCS2")
# The driver asks so often before it says that a modem is out of step.
PROBES = 3


def at(data: bytes) -> None:
    """The same bytes mean the same however they are read, and nothing that was said keeps the next command from its
    answer."""
    model = tuple(MODELS.values())[data[0] % len(MODELS)] if data else MODELS["generic"]
    urcs = model.urcs + model.noise
    commands = itertools.cycle(COMMANDS[data[1] % len(COMMANDS) :] + COMMANDS if data[1:] else COMMANDS)
    once, bytewise = Dialogue(urcs), Dialogue(urcs)
    for piece in _split(data[2:], CUT + SEND + ABANDON):
        if piece == ABANDON:
            once.abandon()
            bytewise.abandon()
        elif piece == SEND and not _is_pending(once):
            command = next(commands)
            assert once.send(command) == bytewise.send(command)
        elif piece not in (CUT, SEND):
            pending = _is_pending(once)
            told = once.receive(piece)
            assert told == [event for byte in piece for event in bytewise.receive(bytes([byte]))]
            _check_events(told, pending)
    once.abandon()
    for _ in range(PROBES):
        once.send("AT+CSQ")
        told = once.receive(b"\r\n+CSQ: 21,99\r\n\r\nOK\r\n")
        once.abandon()
    assert told == [Info("+CSQ: 21,99"), Final("OK")]


def _split(data: bytes, marks: bytes) -> Iterator[bytes]:
    piece = b""
    for byte in data:
        if byte in marks:
            if piece:
                yield piece
            yield bytes([byte])
            piece = b""
        else:
            piece += bytes([byte])
    if piece:
        yield piece


def _is_pending(dialogue: Dialogue) -> bool:
    return dialogue._pending is not None


def _check_events(told: list[Event], pending: bool) -> None:
    for event in told:
        assert pending or not isinstance(event, Info | Final)
        pending = pending and not isinstance(event, Final)
        if not isinstance(event, Prompt):
            assert event.text
            assert len(event.text) <= 3 * LINE_LIMIT_BYTES
            _read(event.text)


def _read(text: str) -> None:
    assert isinstance(parsers.parse(text), replies.Reply)
    replies.bare([text])
    replies.iccid([text])
    sms.is_final(text)
    for charset in CHARSETS:
        ussd.read(text, charset)


def reply(data: bytes) -> None:
    """One line as it came, and as the others that begin alike."""
    text = data.decode("latin-1")
    _read(text)
    _, _, body = text.partition(":")
    for other in parsers._PARSERS:
        parsers.parse(f"{other}:{body}")


def pdu(data: bytes) -> None:
    """Nothing but Unreadable; and what was understood survives being written again."""
    for text in (data.hex(), data.decode("latin-1")):
        try:
            message = sms.decode(text)
            assert len(sms.fingerprint(text)) == 64
            assert sms.tpdu_length(text) > 0
        except sms.Unreadable:
            continue
        if isinstance(message, sms.Report):
            assert message.fate in sms.Fate
            continue
        assert isinstance(message.data.text, str)
        try:
            again = sms.decode(sms.encode(message))
        except ValueError:
            # What no number or name is, or too long with its header put in our own way.
            continue
        assert not isinstance(again, sms.Report)
        assert (again.data.text, again.data.part, again.data.ports) == (
            message.data.text,
            message.data.part,
            message.data.ports,
        )
        assert sms.decode(sms.encode(again)) == again


def parts(data: bytes) -> None:
    """Every part comes out once, whatever comes together, twice or late."""
    reassembly, now = Reassembly(), 0.0
    expected: list[str] = []
    told: list[str] = []
    for place, (a, b, c) in enumerate(zip(*[iter(data)] * 3, strict=False)):
        total = a % 4 + 1
        part = Part(a >> 2 & 1, total, b % total + 1)
        sent_at = None if c == 0xFF else datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=c)
        piece = Piece(str(place), "+33" if b & 0x80 else "40404", part, sent_at)
        expected.append(piece.id)
        now += c & 15
        done = reassembly.add(piece, now)
        assert [each.part.number for each in done] == list(range(1, total + 1))[: len(done)]
        told += [each.id for each in done]
        if b & 0x40:
            for incomplete in reassembly.expired(now, 100):
                assert missing(incomplete)
                told += [each.id for each in incomplete]
    for incomplete in reassembly.expired(float("inf"), 0):
        told += [each.id for each in incomplete]
    assert sorted(told) == sorted(expected)
    assert reassembly.deadline(0) == float("inf")


def menu(data: bytes) -> None:
    """USSD in every charset and coding; packed septets come out as they went in."""
    if not data:
        return
    charset, coding, text = CHARSETS[data[0] % 3], data[0], data[1:].decode("latin-1")
    for raw in (text, data[1:].hex(), data[1:].hex().upper()):
        assert isinstance(ussd.decode(raw, coding, charset), str)
        ussd.read(f'+CUSD: {coding % 7},"{raw}",{coding}', charset)
    septets = bytes(byte & 0x7F for byte in data[1:])
    fill = data[0] % 7
    assert gsm7.unpack(gsm7.pack(septets, fill=fill), len(septets), fill=fill) == septets
    plain = gsm7.decode(septets)
    assert gsm7.fits(plain)
    assert gsm7.decode(b"".join(gsm7.encode(plain))) == plain


def dle(data: bytes) -> None:
    """A voice modem's bytes come apart alike wherever they are cut, and none is told twice."""
    wanted = bool(data[:1]) and bool(data[0] & 1)
    data = data[1:]
    once, bytewise = Splitter(), Splitter()
    once.wanted = bytewise.wanted = wanted
    whole = once.receive(data)
    single = [piece for byte in data for piece in bytewise.receive(bytes([byte]))]
    assert [piece for piece in whole if not isinstance(piece, Words)] == [
        piece for piece in single if not isinstance(piece, Words)
    ]
    assert once.heard_bytes == bytewise.heard_bytes
    assert once.in_stream == bytewise.in_stream
    assert sum(isinstance(piece, Begun) for piece in whole) - sum(isinstance(piece, Ended) for piece in whole) == (
        once.in_stream
    )
    words = [b"".join(piece.data for piece in pieces if isinstance(piece, Words)) for pieces in (whole, single)]
    assert words[0].split() == words[1].split()
    assert len(words[0]) <= len(data)


def report(data: bytes) -> None:
    """V.253's report of who calls, AT+VSM=?, and the message behind MESG."""
    for line in data.decode("latin-1").splitlines():
        told = analog.report(line)
        if told is not None:
            analog.number_in(told)
    for name in ("NMBR", "MESG"):
        for value in (data.decode("latin-1"), data.hex()):
            number = analog.number_in(analog.Report(name, value))
            assert number is None or set(number) <= set("+0123456789*#")
    for offered in voicemodels.offers(data.decode("latin-1").splitlines()).values():
        assert offered >= 0


def bench(data: bytes) -> None:
    """No host can bring a simulated module down, and it answers the next one that is in its senses."""
    families = tuple((QUECTEL | OTHERS).values())
    port = AtPort(families[data[0] % len(families)](profile_of("+33700000002")) if data else Generic(Profile("")))
    now, effects = 1.0, port.power_on(0.0)
    for piece in (CUT, *_split(data[1:], CUT)):
        if piece == CUT:
            now += 1
            effects += port.elapse(now)
        else:
            effects += port.receive(piece, now)
    # What was typed is carried out, and what is typed now is none of the next host's.
    for line in (b"", b"\r", b"\x1b", b"\r", b"ATQ0E0V1\r"):
        effects += port.receive(line, now)
        while port._pending is not None and not port.module.dead:
            now = port.deadline
            effects += port.elapse(now)
        now += 600
        effects += port.elapse(now)
    if not port.module.dead and not any(isinstance(effect, Restart) for effect in effects):
        assert port.receive(b"AT\r", now) == [Say(b"\r\nOK\r\n")]


def voicebench(data: bytes) -> None:
    """The same of its voice modems."""
    modem = VoiceModem(tuple(VOICE_MODELS.values())[data[0] % len(VOICE_MODELS)] if data else VOICE_MODELS["v253"])
    now = 1.0
    modem.power_on(0.0)
    for piece in _split(data[1:], CUT):
        if piece == CUT:
            now += 1
            modem.elapse(now)
        else:
            modem.receive(piece, now)
    modem.elapse(now + 600)


TARGETS: dict[str, Target] = {
    target.__name__: target for target in (at, reply, pdu, parts, menu, dle, report, bench, voicebench)
}
