r"""Short messages as they cross the AT port: hexadecimal PDUs (3GPP TS 23.040, 23.038) to values and back.

PDU            SMSC TPDU                        AT+CMGS and the like count the octets of the TPDU alone
SMSC           length, type of address, number                                   length 0: the SIM's own
SUBMIT         flags MR DA PID DCS [VP] UDL UD                                   from us
DELIVER        flags OA PID DCS SCTS UDL UD                                      to us
STATUS-REPORT  flags MR RA SCTS DT ST [PI [PID] [DCS] [UDL UD]]                  what became of ours

UD is drawn in `drivers/userdata.py`.
"""

import binascii
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from hashlib import sha256

from drivers import gsm7, userdata
from drivers.userdata import Alphabet, UserData, header_of

_ALPHANUMERIC, _INTERNATIONAL = 5, 1
# 9.1.2.3: the semi-octets of a number.
_DIGITS = "0123456789*#abc"
_NUMBER = re.compile(r"\+?[0-9*#]{1,20}")
# Of a first octet's bits, those that may differ when the service centre sends the same again: more to come, and a loop.
_FICKLE_FLAGS = 0x0C
_UDHI, _REPORT_WANTED = 0x40, 0x20


class Unreadable(Exception):
    """Not a PDU, or not of a kind that we know."""


@dataclass(frozen=True)
class Deliver:
    """`sender` has its plus when it is international; it may be a name. `sent_at` is the service centre's clock."""

    sender: str
    data: UserData
    sent_at: datetime | None
    # 0 is shown at once and not kept ("flash"), 1 to 3 say where to keep it (23.038 4).
    message_class: int | None = None
    # "You have voice mail": lit or put out by this message (23.038 4, 1100 to 1110).
    waiting: bool | None = None
    protocol: int = 0
    more: bool = False


@dataclass(frozen=True)
class Submit:
    """`reference` is the module's affair: it counts by itself, and tells its count when the message is taken."""

    recipient: str
    data: UserData
    reference: int = 0
    report: bool = False
    validity_s: float | None = None
    message_class: int | None = None


class Fate(Enum):
    """What a status means for who waits (9.2.3.15)."""

    DELIVERED = "delivered"
    # The service centre tries on.
    PENDING = "pending"
    FAILED = "failed"


@dataclass(frozen=True)
class Report:
    """`reference` is the one that the message was taken under, `recipient` as the network writes it."""

    reference: int
    recipient: str
    sent_at: datetime | None
    done_at: datetime | None
    status: int

    @property
    def fate(self) -> Fate:
        if self.status < 0x20:
            return Fate.DELIVERED
        return Fate.PENDING if self.status < 0x40 else Fate.FAILED


Message = Deliver | Submit | Report


# --- to us ---


def fingerprint(pdu: str) -> str:
    """The same for the same message, whichever way and however often it came. Raises: Unreadable."""
    tpdu = bytearray(_octets(pdu).skipped_smsc())
    tpdu[0] &= ~_FICKLE_FLAGS
    return sha256(tpdu).hexdigest()


def decode(pdu: str) -> Message:
    """As a module stores or tells it. Raises: Unreadable."""
    octets = _Octets(_octets(pdu).skipped_smsc())
    flags = octets.octet()
    # 9.2.3.1: the reserved kind, 3, is to be taken for a DELIVER.
    match flags & 3:
        case 1:
            return _submit(flags, octets)
        case 2:
            return _report(octets)
    return _deliver(flags, octets)


def tpdu_length(pdu: str) -> int:
    """What AT+CMGS, +CMGR and the like have for <length>. Raises: Unreadable."""
    return len(_octets(pdu).skipped_smsc())


class _Octets:
    """Taken one after the other."""

    def __init__(self, octets: bytes) -> None:
        self.rest = octets

    def take(self, count: int) -> bytes:
        if count > len(self.rest):
            raise Unreadable("ends too early")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def octet(self) -> int:
        return self.take(1)[0]

    def skipped_smsc(self) -> bytes:
        self.take(self.octet())
        if not self.rest:
            raise Unreadable("a service centre and nothing else")
        return self.rest

    def address(self) -> str:
        """9.1.2.5: the length counts semi-octets."""
        length, kind = self.octet(), self.octet()
        octets = self.take((length + 1) // 2)
        if kind >> 4 & 7 == _ALPHANUMERIC:
            return gsm7.decode(gsm7.unpack(octets, length * 4 // 7))
        semi_octets = [half for octet in octets for half in (octet & 15, octet >> 4)][:length]
        digits = "".join(_DIGITS[half] for half in semi_octets if half < len(_DIGITS))
        return "+" + digits if kind >> 4 & 7 == _INTERNATIONAL else digits

    def time(self) -> datetime | None:
        """9.2.3.11; None where the service centre wrote nonsense."""
        year, month, day, hour, minute, second, zone = (10 * (octet & 15) + (octet >> 4) for octet in self.take(7))
        # The zone counts quarters of an hour, with a sign in the first digit's highest bit.
        quarters = 80 - zone if zone >= 80 else zone
        try:
            offset = timezone(timedelta(minutes=15 * quarters))
            return datetime(2000 + year, month, day, hour, minute, second, tzinfo=offset)
        except ValueError:
            return None

    def user_data(self, *, coding: int, headed: bool) -> UserData:
        length = self.octet()
        return userdata.decode(self.rest, length, _alphabet(coding), headed=headed)


def _octets(pdu: str) -> _Octets:
    try:
        return _Octets(binascii.unhexlify(pdu.strip()))
    except ValueError as exc:
        raise Unreadable("not hexadecimal") from exc


def _alphabet(coding: int) -> Alphabet:
    """23.038 4. Reserved codings are to be taken for the default alphabet."""
    group = coding >> 4
    if group < 8:
        # Compression (bit 5) is of an algorithm that nobody uses: such a text is data.
        compressed, alphabet = coding & 0x20, coding >> 2 & 3
        return Alphabet.DATA if compressed else Alphabet.GSM7 if alphabet == 3 else Alphabet(alphabet)
    if group == 0xE:
        return Alphabet.UCS2
    return Alphabet.DATA if group == 0xF and coding & 4 else Alphabet.GSM7


def _message_class(coding: int) -> int | None:
    return coding & 3 if coding >> 4 == 0xF or coding & 0x90 == 0x10 else None


def _waiting(coding: int) -> bool | None:
    return bool(coding & 8) if coding >> 4 in (0xC, 0xD, 0xE) else None


def _deliver(flags: int, octets: _Octets) -> Deliver:
    sender, protocol, coding = octets.address(), octets.octet(), octets.octet()
    return Deliver(
        sender,
        sent_at=octets.time(),
        data=octets.user_data(coding=coding, headed=bool(flags & _UDHI)),
        message_class=_message_class(coding),
        waiting=_waiting(coding),
        protocol=protocol,
        more=not flags & 4,
    )


def _submit(flags: int, octets: _Octets) -> Submit:
    reference, recipient, _, coding = octets.octet(), octets.address(), octets.octet(), octets.octet()
    # 9.2.3.3: none, enhanced, relative, absolute; only the relative form means anything to us.
    validity = octets.take((0, 7, 1, 7)[flags >> 3 & 3])
    return Submit(
        recipient,
        octets.user_data(coding=coding, headed=bool(flags & _UDHI)),
        reference=reference,
        report=bool(flags & _REPORT_WANTED),
        validity_s=_validity_s(validity[0]) if len(validity) == 1 else None,
        message_class=_message_class(coding),
    )


def _report(octets: _Octets) -> Report:
    return Report(octets.octet(), octets.address(), octets.time(), octets.time(), octets.octet())


# --- from us ---


def encode(message: Message, *, smsc: str = "") -> str:
    """Hexadecimal, as AT+CMGS takes it; the other kinds are a service centre's. Raises: ValueError, for a recipient."""
    match message:
        case Submit():
            tpdu = _encoded_submit(message)
        case Deliver(sender=sender, data=data, sent_at=sent_at):
            flags = (0 if message.more else 4) | (_UDHI if header_of(data) else 0)
            coding = _coding(data, message.message_class)
            tpdu = bytes([flags, *_address(sender), message.protocol, coding]) + _time(sent_at) + userdata.encode(data)
        case Report():
            times = _time(message.sent_at) + _time(message.done_at)
            tpdu = bytes([6, message.reference, *_address(message.recipient)]) + times + bytes([message.status])
    number = _address(smsc)[1:] if smsc else b""
    return (bytes([len(number)]) + number + tpdu).hex().upper()


def _encoded_submit(message: Submit) -> bytes:
    validity = b"" if message.validity_s is None else bytes([_validity(message.validity_s)])
    flags = 1 | (0x10 if validity else 0) | (_UDHI if header_of(message.data) else 0)
    flags |= _REPORT_WANTED if message.report else 0
    coding = _coding(message.data, message.message_class)
    head = bytes([flags, message.reference, *_address(message.recipient), 0, coding])
    return head + validity + userdata.encode(message.data)


def _coding(data: UserData, message_class: int | None) -> int:
    coding = data.alphabet.value << 2
    return coding if message_class is None else coding | 0x10 | message_class


def _address(number: str) -> bytes:
    digits = number.removeprefix("+")
    if _NUMBER.fullmatch(number):
        kind = 0x91 if number.startswith("+") else 0x81
        halves = [_DIGITS.index(digit) for digit in digits] + [15] * (len(digits) % 2)
        pairs = zip(halves[::2], halves[1::2], strict=True)
        return bytes([len(digits), kind, *(high << 4 | low for low, high in pairs)])
    if not number or not gsm7.fits(number):
        raise ValueError(f"{number!r} is no number and no name")
    packed = gsm7.pack(b"".join(gsm7.encode(number)))
    if len(packed) > 10:
        raise ValueError(f"{number!r} is too long for a name")
    return bytes([len(packed) * 2, 0xD0]) + packed


def _time(time: datetime | None) -> bytes:
    if time is None:
        return bytes(7)
    zone = (time.utcoffset() or timedelta()) // timedelta(minutes=15)
    values = [time.year % 100, time.month, time.day, time.hour, time.minute, time.second, abs(zone)]
    octets = bytes(value % 10 << 4 | value // 10 for value in values)
    return octets[:6] + bytes([octets[6] | (8 if zone < 0 else 0)])


# 9.2.3.12.1, each row: up to this octet, a step of so many seconds, from so many on.
_VALIDITY = ((143, 300, 300), (167, 1800, 12 * 3600 + 1800), (196, 86400, 2 * 86400), (255, 7 * 86400, 5 * 7 * 86400))


def _validity_s(octet: int) -> float:
    first = 0
    for last, step_s, least_s in _VALIDITY:
        if octet <= last:
            return least_s + (octet - first) * step_s
        first = last + 1
    raise AssertionError(octet)


def _validity(seconds: float) -> int:
    """The longest that is not longer, of at least five minutes."""
    return max((octet for octet in range(256) if _validity_s(octet) <= seconds), default=0)


# --- what a refusal means ---

# 24.011 8.2.5.4: RP causes by which the network says that it will never be taken; and 27.005 3.2.5: our own fault.
_FOR_GOOD = {1, 8, 10, 11, 21, 28, 29, 30, 50, 69, 81, 95, 96, 97, 98, 99, 111, 127, 304, 305}
# 23.040 9.2.3.22: the service centre's own words.
_SC_FOR_GOOD = {*range(0x80, 0xC0), 0xC1, 0xC3, 0xC4, 0xC5}


def is_final(result: str) -> bool:
    """Of a `+CMS ERROR: 38` and the like: whether to try again is in vain."""
    _, _, number = result.partition("+CMS ERROR:")
    code = number.strip()
    return code.isdecimal() and (int(code) in _FOR_GOOD or int(code) in _SC_FOR_GOOD)
