"""What a modem's lines say, as values; `drivers/parsers.py` makes them.

Numbers are of 3GPP TS 27.007 unless a device is named. A line means the same whether it was asked for or not;
`drivers/at.py` has told the two apart by then.
"""

import re
from dataclasses import dataclass
from enum import Enum


class CallStat(Enum):
    """<stat> of +CLCC (7.18), and the end, which only news can tell: SIM7600 has a number for it, too."""

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
class CallMoved:
    """A call is in this state now; which one, in what direction and with whom is not said, or by its index alone.

    ^ORIG, ^CONF, ^CONN and ^CEND (Huawei), VOICE CALL (SIMCom). `cause` is of ITU-T Q.850.
    """

    index: int | None
    stat: CallStat
    cause: int | None = None


@dataclass(frozen=True)
class CallWaiting:
    """+CCWA: somebody calls while there is a call."""

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
    """`network` is "+CREG" (circuit switched), "+CGREG" or "+CEREG" (LTE); `stat` as in 7.2.

    `area` and `cell` are in hexadecimal, `act` is the access technology as in 7.3; None where the device does not say.
    """

    network: str
    stat: int
    area: str | None = None
    cell: str | None = None
    act: int | None = None

    @property
    def registered(self) -> bool:
        # Home or roaming; 9 and 10 are the same with "CSFB not preferred". 6 and 7 take messages only.
        return self.stat in (1, 5, 9, 10)


@dataclass(frozen=True)
class Ims:
    """+CIREG (8.71), `+QCFG: "ims"` (Quectel): whether voice over LTE works."""

    registered: bool


@dataclass(frozen=True)
class Signal:
    dbm: int | None


@dataclass(frozen=True)
class Operator:
    name: str
    act: int | None = None


@dataclass(frozen=True)
class SimState:
    """<code> of +CPIN: READY, SIM PIN, SIM PUK, NOT READY..."""

    code: str


@dataclass(frozen=True)
class PinTries:
    """How many wrong PINs the SIM still takes before it wants its PUK."""

    left: int


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
    | CallMoved
    | CallWaiting
    | Ring
    | CallerId
    | CallEnded
    | EndReport
    | Registration
    | Ims
    | Signal
    | Operator
    | SimState
    | PinTries
    | Tone
    | Flow
    | Restarted
    | Unreadable
    | Unknown
)


def bare(lines: list[str]) -> str:
    """The answer to a question like AT+CGMM: one line, with or without its prefix and quotes. Empty without one."""
    line = lines[0] if lines else ""
    return re.sub(r"^(\+\w+|Revision): *", "", line).strip('"')


def iccid(lines: list[str]) -> str:
    """The SIM's number, in whatever wording; without the F that fills it up to an even count. Empty without one."""
    found = re.search(r"\b89\d{16,18}", lines[0]) if lines else None
    return found[0] if found else ""
