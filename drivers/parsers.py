"""From a modem's line to what it says: one parser a prefix. Of malformed lines the value is Unreadable.

Syntax is of 3GPP TS 27.007 unless a device is named.
"""

import csv
import re
from collections.abc import Callable

from drivers.causes import cause_in_words, cause_of_end
from drivers.replies import (
    CallEnded,
    CallerId,
    CallMoved,
    CallReport,
    CallStat,
    CallWaiting,
    EndReport,
    Flow,
    Ims,
    Operator,
    PinTries,
    Registration,
    Reply,
    Restarted,
    Ring,
    Signal,
    SimState,
    Tone,
    Unknown,
    Unreadable,
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


# Huawei's count of call types (^ORIG, ^CONN): voice, and an emergency call. The others are data and services.
_HUAWEI_VOICE = {0, 9}


def _huawei(stat: CallStat) -> Callable[[list[str]], Reply | None]:
    def parser(f: list[str]) -> Reply | None:
        # ^CONF has no type.
        return CallMoved(int(f[0]), stat) if len(f) < 2 or int(f[1]) in _HUAWEI_VOICE else None

    return parser


def _cend(f: list[str]) -> Reply:
    """<index>, <seconds>, <end status>, and on most firmware the network's cause."""
    status, cause = (int(text) if text.strip() else None for text in (*f[2:4], "", "")[:2])
    return CallMoved(int(f[0]), CallStat.RELEASED, cause_of_end(status, cause))


_VOICE_CALL_STATS = {
    "BEGIN": CallStat.ACTIVE,
    "END": CallStat.RELEASED,
    "ALERTING": CallStat.ALERTING,
}


def _voice_call(f: list[str]) -> Reply | None:
    """`VOICE CALL: BEGIN`, `VOICE CALL: END`, `VOICE CALL: END: 000012`; A7672 has `VOICE CALL:END: 000012`."""
    stat = _VOICE_CALL_STATS.get(f[0].partition(":")[0].strip())
    return CallMoved(None, stat) if stat else None


def _ccwa(f: list[str]) -> Reply | None:
    """Unasked a number, its type and a class; the answer to a question has a status and a class."""
    if len(f) < 3:
        return None
    # 27.007 7.12: the class is a sum, voice is 1.
    return CallWaiting(_number(f[0], f[1])) if int(f[2]) & 1 else None


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
        area, cell, act = (*f[1 + asked :], "", "", "")[:3]
        return Registration(network, stat, area or None, cell or None, _count(act))

    return parser


def _count(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _qcfg(f: list[str]) -> Reply | None:
    return Ims(f[2] == "1") if f[0] == "ims" else None


def _cireg(f: list[str]) -> Reply:
    """<info>, and a sum of what can be had by it, of which 1 is voice (8.71)."""
    return Ims(int(f[0]) == 1 and bool(int(f[1]) & 1 if len(f) > 1 else True))


def _csq(f: list[str]) -> Reply:
    rssi = int(f[0])
    if rssi == 99:
        return Signal(None)
    if rssi not in range(32):
        raise ValueError(rssi)
    return Signal(2 * rssi - 113)


def _cops(f: list[str]) -> Reply:
    return Operator(f[2] if len(f) > 2 else "", _count(f[3]) if len(f) > 3 else None)


def _huawei_sim(f: list[str]) -> Reply | None:
    """^SIMST: 255 is no SIM, 0 one that does not work. That it works is asked for."""
    return SimState("NOT INSERTED") if int(f[0]) in (0, 255) else None


def _tries(place: int) -> Callable[[list[str]], Reply | None]:
    """Of an answer that has the tries left for the PIN there."""
    return lambda f: PinTries(int(f[place]))


KEYS = "0123456789*#ABCD"
# EC25 tells a key by its character code, in decimal.
_TONES = {ord(digit): digit for digit in KEYS}


def _qtonedet(f: list[str]) -> Reply:
    return Tone(_TONES[int(f[0])])


def _key(f: list[str]) -> Reply:
    """SIM800 may add how long it was pressed."""
    return Tone(KEYS[KEYS.index(f[0].strip()) if len(f[0].strip()) == 1 else len(KEYS)])


def _qpcmv(f: list[str]) -> Reply:
    return Flow(("0", "1").index(f[0]) == 1)


def _ceer(f: list[str]) -> Reply:
    """`5,17` (Quectel: <type>,<cause>), `"CC setup error",16,"Normal call clearing"`, or words alone."""
    if len(f) > 1 and f[1].isdecimal() and int(f[1]) in range(1, 128):
        return EndReport(int(f[1]))
    return EndReport(cause_in_words(" ".join(f)))


_PARSERS: dict[str, Callable[[list[str]], Reply | None]] = {
    "+CLCC": _clcc,
    "+QIND": _qind,
    "^DSCI": _dsci,
    "^ORIG": _huawei(CallStat.DIALING),
    "^CONF": _huawei(CallStat.ALERTING),
    "^CONN": _huawei(CallStat.ACTIVE),
    "^CEND": _cend,
    "VOICE CALL": _voice_call,
    # A ring that nobody answered, with its time and number (SIMCom).
    "MISSED_CALL": lambda f: CallEnded(None),
    "+CCWA": _ccwa,
    "+CRING": _cring,
    "+CLIP": _clip,
    "+CEER": _ceer,
    "+CREG": _registration("+CREG"),
    "+CGREG": _registration("+CGREG"),
    "+CEREG": _registration("+CEREG"),
    "+CIREG": lambda f: _cireg(f[1:]),
    "+CIREGU": _cireg,
    "+QCFG": _qcfg,
    "+CSQ": _csq,
    "+COPS": _cops,
    "+CPIN": lambda f: SimState(f[0].strip()),
    "^SIMST": _huawei_sim,
    "+SIMCARD": lambda f: SimState("NOT INSERTED") if f[0].strip() == "NOT AVAILABLE" else None,
    # 27.007 8.65: `SIM PIN,<left>`.
    "+CPINR": _tries(1),
    "+CPINC": _tries(0),
    "+QPINC": _tries(1),
    # Huawei: the state, what is left for what it asks, then for PUK, PIN, PUK2 and PIN2.
    "^CPIN": _tries(3),
    "+QTONEDET": _qtonedet,
    "+RXDTMF": _key,
    "+DTMF": _key,
    "^DDTMF": _key,
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
    "NORMAL POWER DOWN": Restarted(),
    "UNDER-VOLTAGE POWER DOWN": Restarted(),
}
