"""What a modem's lines say: one parser a prefix, each giving a value. Of malformed lines the value is Unreadable.

Syntax and numbers are of 3GPP TS 27.007 unless a device is named. A line means the same whether it was asked for or
not; `drivers/at.py` has told the two apart by then.
"""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class CallStat(Enum):
    """<stat> of +CLCC (7.18), and the end, which only news can tell."""

    ACTIVE = 0
    HELD = 1
    DIALING = 2
    ALERTING = 3
    INCOMING = 4
    WAITING = 5
    RELEASED = 6


@dataclass(frozen=True)
class CallReport:
    """One call of +CLCC, `+QIND: "ccinfo"` or ^DSCI. `number` is None when withheld or not known yet."""

    index: int
    outgoing: bool
    stat: CallStat
    voice: bool
    number: str | None


@dataclass(frozen=True)
class Ring:
    voice: bool


@dataclass(frozen=True)
class CallerId:
    number: str | None


@dataclass(frozen=True)
class CallEnded:
    """The device says that a call is over. `cause` is of ITU-T Q.850, None where the word does not tell."""

    cause: int | None


@dataclass(frozen=True)
class EndReport:
    """+CEER, about the last call that ended."""

    cause: int | None


@dataclass(frozen=True)
class Registration:
    """`network` is "+CREG" (circuit switched), "+CGREG" or "+CEREG" (LTE); `stat` as in 7.2."""

    network: str
    stat: int

    @property
    def registered(self) -> bool:
        # Home or roaming; 9 and 10 are the same with "CSFB not preferred". 6 and 7 take messages only.
        return self.stat in (1, 5, 9, 10)


@dataclass(frozen=True)
class Ims:
    """`+QCFG: "ims"` (Quectel): whether voice over LTE works."""

    registered: bool


@dataclass(frozen=True)
class Signal:
    dbm: int | None


@dataclass(frozen=True)
class Operator:
    name: str


@dataclass(frozen=True)
class SimState:
    """<code> of +CPIN: READY, SIM PIN, SIM PUK, NOT READY..."""

    code: str


@dataclass(frozen=True)
class SimId:
    iccid: str


@dataclass(frozen=True)
class Tone:
    """The far side pressed a key."""

    digit: str


@dataclass(frozen=True)
class Flow:
    """+QPCMV unasked (Quectel): room in the uplink buffer, or none."""

    ready: bool


@dataclass(frozen=True)
class Restarted:
    """The module came up or went down by itself: all that was set is lost."""


@dataclass(frozen=True)
class Unreadable:
    """A known prefix with a body that makes no sense: half a line, noise, a firmware unlike the others."""

    text: str


@dataclass(frozen=True)
class Unknown:
    text: str


Reply = (
    CallReport
    | Ring
    | CallerId
    | CallEnded
    | EndReport
    | Registration
    | Ims
    | Signal
    | Operator
    | SimState
    | SimId
    | Tone
    | Flow
    | Restarted
    | Unreadable
    | Unknown
)

_DIALABLE = re.compile(r"\+?[0-9*#A-Ca-c]{1,80}")
# 24.008 10.5.118 and 27.007 7.18: plain voice, voice and data by turns, and "not known". EC25 also lists its data
# connection as a call, with mode 1.
_VOICE_MODES = {0, 3, 6, 9}
# 24.008 10.5.4.7: the type-of-number bits of <type>; 145 is the usual one with "international".
_TON_MASK, _TON_INTERNATIONAL = 0x70, 0x10


def parse(text: str) -> Reply:
    """Never raises."""
    name, colon, body = text.partition(":")
    if not colon:
        return _WORDS.get(text) or Unknown(text)
    if name not in _PARSERS:
        return Unknown(text)
    try:
        if body.count('"') % 2:
            return Unreadable(text)
        return _PARSERS[name](next(csv.reader([body], skipinitialspace=True))) or Unknown(text)
    except (ValueError, LookupError, csv.Error):
        return Unreadable(text)


def bare(lines: list[str]) -> str:
    """The answer to a question like AT+CGMM: one line, with or without its prefix and quotes. Empty without one."""
    line = lines[0] if lines else ""
    return re.sub(r"^(\+\w+|Revision): *", "", line).strip('"')


def _number(digits: str, kind: str) -> str | None:
    # IMS networks write words like "anonymous" here.
    if not _DIALABLE.fullmatch(digits):
        return None
    international = int(kind or 0) & _TON_MASK == _TON_INTERNATIONAL
    return f"+{digits.removeprefix('+')}" if international else digits


def _call(index: str, direction: str, stat: CallStat, mode: str, number: list[str]) -> CallReport:
    # Huawei leaves <type> out of a withheld caller's line: `+CLCC: 1,1,4,0,0,"",,""`.
    digits, kind = (*number, "", "")[:2]
    if direction not in ("0", "1"):
        raise ValueError(direction)
    return CallReport(int(index), direction == "0", stat, int(mode) in _VOICE_MODES, _number(digits, kind))


def _clcc(f: list[str]) -> Reply:
    if int(f[3]) not in _VOICE_MODES:
        # A data connection may be in states of its own, and must not make a list unreadable.
        return _call(f[0], f[1], CallStat.ACTIVE, f[3], [])
    return _call(f[0], f[1], CallStat(int(f[2])), f[3], f[5:7])


def _qind(f: list[str]) -> Reply | None:
    """EC25; "act" and the boot's "SMS DONE" and "PB DONE" are nothing to a line."""
    if f[0] == "ccinfo":
        stat = CallStat.RELEASED if f[3] == "-1" else CallStat(int(f[3]))
        return _call(f[1], f[2], stat, f[4], f[6:8])
    return _csq(f[1:]) if f[0] == "csq" else None


# Quectel's own count of states, where 0 is not used.
_DSCI_STATS = {
    1: CallStat.HELD,
    2: CallStat.DIALING,
    3: CallStat.ACTIVE,
    4: CallStat.INCOMING,
    5: CallStat.WAITING,
    6: CallStat.RELEASED,
    7: CallStat.ALERTING,
}


def _dsci(f: list[str]) -> Reply | None:
    stat = _DSCI_STATS.get(int(f[2]))
    return _call(f[0], f[1], stat, f[3], f[4:6]) if stat else None


def _cring(f: list[str]) -> Reply:
    return Ring(f[0].startswith("VOICE"))


def _clip(f: list[str]) -> Reply:
    return CallerId(_number(f[0], f[1]))


def _registration(network: str) -> Callable[[list[str]], Reply]:
    def parser(f: list[str]) -> Reply:
        # Asked, <n> is before <stat>: 2, 4 or 5 fields; unasked 1, 3 or 4, of which the second is a <lac>: two octets
        # in hexadecimal, four digits.
        asked = len(f) > 1 and len(f[1]) <= 2
        stat = int(f[1] if asked else f[0])
        if stat not in range(11):
            raise ValueError(stat)
        return Registration(network, stat)

    return parser


def _qcfg(f: list[str]) -> Reply | None:
    return Ims(f[2] == "1") if f[0] == "ims" else None


def _csq(f: list[str]) -> Reply:
    rssi = int(f[0])
    if rssi == 99:
        return Signal(None)
    if rssi not in range(32):
        raise ValueError(rssi)
    return Signal(2 * rssi - 113)


def _cops(f: list[str]) -> Reply:
    return Operator(f[2] if len(f) > 2 else "")


# EC25 tells a key by its character code, in decimal.
_TONES = {ord(digit): digit for digit in "0123456789*#ABCD"}


def _qtonedet(f: list[str]) -> Reply:
    return Tone(_TONES[int(f[0])])


def _qpcmv(f: list[str]) -> Reply:
    return Flow(("0", "1").index(f[0]) == 1)


# What the causes of Q.850 table 1 are called by firmware which gives words (27.007 8.27 leaves the text free), in
# lower case and letters only; the longer before the one it contains.
_CAUSE_WORDS = {
    "unassigned": 1,
    "unallocated": 1,
    "no route": 3,
    "operator determined barring": 8,
    "normal call clearing": 16,
    "client ended": 16,
    "network ended": 16,
    "user busy": 17,
    "userbusy": 17,
    "no user responding": 18,
    "no answer": 19,
    "absent": 20,
    "rejected": 21,
    "number changed": 22,
    "destination out of order": 27,
    "invalid number": 28,
    "facility rejected": 29,
    "normal unspecified": 31,
    "no circuit": 34,
    "network out of order": 38,
    "no service": 38,
    "temporary failure": 41,
    "congestion": 42,
    "resources unavailable": 47,
    "not subscribed": 50,
    "not authorized": 57,
    "incompatible destination": 88,
    "timer expiry": 102,
    "protocol error": 111,
    "interworking": 127,
}


def _ceer(f: list[str]) -> Reply:
    """`5,17` (Quectel: <type>,<cause>), `"CC setup error",16,"Normal call clearing"`, or words alone."""
    if len(f) > 1 and f[1].isdecimal() and int(f[1]) in range(1, 128):
        return EndReport(int(f[1]))
    words = re.sub(r"[^a-z]+", " ", " ".join(f).lower())
    return EndReport(next((cause for name, cause in _CAUSE_WORDS.items() if name in words), None))


_PARSERS: dict[str, Callable[[list[str]], Reply | None]] = {
    "+CLCC": _clcc,
    "+QIND": _qind,
    "^DSCI": _dsci,
    "+CRING": _cring,
    "+CLIP": _clip,
    "+CEER": _ceer,
    "+CREG": _registration("+CREG"),
    "+CGREG": _registration("+CGREG"),
    "+CEREG": _registration("+CEREG"),
    "+QCFG": _qcfg,
    "+CSQ": _csq,
    "+COPS": _cops,
    "+CPIN": lambda f: SimState(f[0].strip()),
    "+QCCID": lambda f: SimId(f[0].strip()),
    "+QTONEDET": _qtonedet,
    "+QPCMV": _qpcmv,
}

_WORDS: dict[str, Reply] = {
    "RING": Ring(voice=True),
    "NO CARRIER": CallEnded(None),
    "BUSY": CallEnded(17),
    "NO ANSWER": CallEnded(19),
    "NO DIALTONE": CallEnded(None),
    "NO DIAL TONE": CallEnded(None),
    "RDY": Restarted(),
    "POWERED DOWN": Restarted(),
}
