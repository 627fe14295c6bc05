"""What any simulated module keeps and tells: its profile, its settings, what is due when, URCs and orders.

Pure: time comes in as `now`, what is to be done in the world goes out as orders, what the host is told as lines.
"""

import heapq
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from hil.faults import Faults


@dataclass(frozen=True)
class Profile:
    """What differs from one module to the next, and what its box says."""

    number: str
    imei: str = "867698040000018"
    iccid: str = "89330123456789012345"
    imsi: str = "208010000000018"
    # Empty: the model's usual one.
    firmware: str = ""
    operator: tuple[str, str, str] = ("Orange F", "Orange", "20801")
    # None: the SIM asks for no PIN. No SIM at all: `sim=False`.
    pin: str | None = None
    puk: str = "12345678"
    sim: bool = True
    # A data-only firmware answers AT+QPCMV=? and refuses every set form.
    voice: bool = True
    # Without IMS an LTE-only network carries no call, though the module is registered.
    ims: bool = True
    # GNSS runs from power-on, as AT+QGPSCFG="autogps",1 leaves it: NMEA goes where the voice goes.
    gnss: bool = False
    # The data bearer stands in +CLCC as a call of mode 1, as LTE firmware does.
    data_bearer: bool = False
    # A Quectel's composition has a sound card (UAC), as AT+QCFG="usbcfg" may have left it.
    uac: bool = False
    boot_s: float = 0.5


def profile_of(number: str) -> Profile:
    """A box of its own for each number: no two have the same IMEI, SIM or subscriber."""
    digits = re.sub(r"\D", "", number)[-8:].zfill(8)
    return Profile(number, imei=_luhn(f"867698{digits}"), iccid=_luhn(f"8933012345{digits}0"), imsi=f"2080100{digits}")


def _luhn(digits: str) -> str:
    """With its check digit (ISO/IEC 7812-1)."""
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    return digits + str(-sum(each // 10 + each % 10 for each in doubled) % 10)


@dataclass(frozen=True)
class Dial:
    index: int
    number: str
    withheld: bool


@dataclass(frozen=True)
class Ring:
    index: int


@dataclass(frozen=True)
class Answer:
    index: int


@dataclass(frozen=True)
class Release:
    index: int
    cause: int


@dataclass(frozen=True)
class Press:
    index: int
    key: str


@dataclass(frozen=True)
class Submit:
    """A short message goes to the service centre, under the module's own reference."""

    pdu: str
    reference: int


@dataclass(frozen=True)
class Session:
    """A USSD code, or an answer in a menu; None leaves it."""

    text: str | None


@dataclass(frozen=True)
class Leftover:
    """What a PCM tty still holds of a call that is over."""

    data: bytes


@dataclass(frozen=True)
class Restart:
    """The module leaves the bus; `again` is False when it was switched off for good."""

    again: bool


@dataclass(frozen=True)
class Wake:
    """A restart is over, of a module that has not left."""


@dataclass(frozen=True)
class Nmea:
    """Bytes for the NMEA interface, which is the PCM interface of some."""

    data: bytes


Order = Dial | Ring | Answer | Release | Press | Restart | Wake | Nmea | Leftover | Submit | Session


@dataclass(frozen=True)
class Usb:
    """What a device is on the bus: its ids, and by bInterfaceNumber what each of its interfaces is for.

    Roles that have a tty: "at", "pcm", and those that a driver leaves alone: "diag", "nmea", "modem", "log". Without
    one: "net", "storage", and "audio" for a sound card (UAC), of whose two interfaces the first is named.
    """

    vendor: int
    product: int
    title: str
    roles: Mapping[int, str]
    # What it is until usb_modeswitch has moved it: a CD-ROM of the same vendor.
    unswitched: int | None = None


NMEA_FIX = (
    b"$GPGGA,092204.999,4250.5589,S,14718.5084,E,1,04,24.4,19.7,M,,,,0000*1F\r\n$GPVTG,,T,,M,0.0,N,0.0,K,A*23\r\n"
)


class AudioPath(Enum):
    """Where a module has the sound of its call."""

    PCM = "pcm"
    CARD = "card"


class Agenda:
    """What is due when, in order."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    @property
    def deadline(self) -> float:
        return self._due[0][0] if self._due else float("inf")

    def at(self, when: float, act: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._due, (when, self._count, act))

    def run(self, now: float) -> None:
        while self.deadline <= now:
            heapq.heappop(self._due)[2]()

    def clear(self) -> None:
        self._due.clear()


class Board:
    """Settings by command name, and the two ways out: `news` for the host, `orders` for the world."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.now = 0.0
        self.agenda = Agenda()
        self.orders: list[Order] = []
        # Lines, but for what its firmware frames in a way of its own.
        self.news: list[str | bytes] = []
        self.faults = Faults()
        self.forget()

    def forget(self) -> None:
        """What does not outlive a restart."""
        self.values: dict[str, str] = {}

    def setting(self, name: str, default: str) -> str:
        return self.values.get(name, default)

    def tell(self, line: str | bytes) -> None:
        self.news.append(line)
