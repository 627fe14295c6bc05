"""What a Quectel EC25 is, apart from its command line: SIM, registration, calls, the PCM switch, its news.

Pure: time comes in as `now`, what is to be done in the world goes out as orders, what the host is told as URC lines.
Described by 3GPP TS 27.007 where a clause is named, by the module's ways ("EC25") elsewhere.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum

from hil.commandline import Final, Refused


@dataclass(frozen=True)
class Profile:
    """What differs from one module to the next, and what its box says."""

    number: str
    imei: str = "867698040000018"
    iccid: str = "89330123456789012345"
    imsi: str = "208010000000018"
    firmware: str = "EC25EFAR06A06M4G"
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
    boot_s: float = 0.5


class Pin(Enum):
    READY = "READY"
    PIN = "SIM PIN"
    PUK = "SIM PUK"


class Stat(IntEnum):
    """27.007 8.18 <stat>; RELEASED is ccinfo's own."""

    RELEASED = -1
    ACTIVE = 0
    HELD = 1
    DIALING = 2
    ALERTING = 3
    INCOMING = 4
    WAITING = 5


# EC25: ^DSCI counts the same states its own way.
DSCI_STAT = {
    Stat.HELD: 1,
    Stat.DIALING: 2,
    Stat.ACTIVE: 3,
    Stat.INCOMING: 4,
    Stat.WAITING: 5,
    Stat.RELEASED: 6,
    Stat.ALERTING: 7,
}


@dataclass
class Leg:
    """One line of +CLCC."""

    index: int
    incoming: bool
    stat: Stat
    number: str
    mode: int = 0

    @property
    def kind(self) -> int:
        if not self.number:
            return 128
        return 145 if self.number.startswith("+") else 129

    def listed(self, stat: Stat | None = None) -> str:
        """As +CLCC and ccinfo have it."""
        state = self.stat if stat is None else stat
        return f'{self.index},{self.incoming:d},{state:d},{self.mode},0,"{self.number}",{self.kind}'


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
class Restart:
    """The module leaves the bus; `again` is False when it was switched off for good."""

    again: bool


@dataclass(frozen=True)
class Nmea:
    """Bytes for the NMEA interface, which is the PCM interface too."""

    data: bytes


Order = Dial | Ring | Answer | Release | Press | Restart | Nmea

# 24.008 10.5.123, the causes that the bench's network gives.
CAUSES = {
    1: "Unassigned (unallocated) number",
    16: "Normal call clearing",
    17: "User busy",
    18: "No user responding",
    19: "User alerting, no answer",
    20: "Subscriber absent",
    21: "Call rejected",
    27: "Destination out of order",
    41: "Temporary failure",
}
RING_EVERY_S = 5.0
ATTACH_S = 0.2
NMEA_EVERY_S = 1.0
NMEA_FIX = (
    b"$GPGGA,092204.999,4250.5589,S,14718.5084,E,1,04,24.4,19.7,M,,,,0000*1F\r\n$GPVTG,,T,,M,0.0,N,0.0,K,A*23\r\n"
)


class Agenda:
    """What is due when, in order."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    @property
    def deadline(self) -> float:
        return self._due[0][0] if self._due else float("inf")

    def at(self, when: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (when, self._count, act))

    def run(self, now: float) -> None:
        while self.deadline <= now:
            heapq.heappop(self._due)[2]()

    def clear(self) -> None:
        self._due.clear()


class Module:
    """A module that is switched on and registered; `power_on` is for one that starts anew."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.now = 0.0
        self.agenda = Agenda()
        self.orders: list[Order] = []
        self.news: list[str] = []
        # What the antenna finds, as a 27.007 7.2 <stat>, and how strong (27.007 8.5).
        self.coverage = 1
        self.rssi = 24
        self.pin_tries = 3
        self.pin = Pin.READY if profile.pin is None else Pin.PIN
        self._forget()

    def _forget(self) -> None:
        """What does not outlive a restart."""
        self.values: dict[str, str] = {}
        self.calls: dict[int, Leg] = {}
        if self.profile.data_bearer:
            self.calls[1] = Leg(1, False, Stat.ACTIVE, "", mode=1)
        self.functionality = 1
        self.booting = False
        self.cop_format = 0
        self.last_cause: int | None = None
        self.indications = {"all": 1, "csq": 0, "smsfull": 0, "ring": 1, "smsincoming": 1, "act": 0, "ccinfo": 0}
        self.urc_port = "usbat"
        self.gnss = self.profile.gnss
        self.gnss_port = "usbnmea"
        self.pcm_mode: int | None = None
        # The voice path is set up by QPCMV's change from 0 to 1 and is spent by one call.
        self._pcm_fresh = False
        self._attached = True
        self._told_stat = self.stat

    def setting(self, name: str, default: str) -> str:
        return self.values.get(name, default)

    # --- life ---

    def power_on(self) -> None:
        """EC25 boot: the host sees these lines once the ports are there."""
        self.pin = Pin.READY if self.profile.pin is None or self.pin_tries == 0 else Pin.PIN
        if self.pin_tries == 0:
            self.pin = Pin.PUK
        self.agenda.clear()
        self._forget()
        self.booting, self._attached, self._told_stat = True, False, 0
        step = self.profile.boot_s / 2
        self.agenda.at(self.now, lambda: self.tell("RDY"))
        self.agenda.at(self.now, lambda: self.tell("+CFUN: 1"))
        self.agenda.at(self.now + step, self._sim_up)
        if self.gnss:
            self.agenda.at(self.now, self._navigate)

    def power_off(self) -> None:
        """Nothing is told: there is nobody left to tell it."""
        self.agenda.clear()
        self.calls.clear()
        self.orders.clear()
        self.news.clear()

    def _sim_up(self) -> None:
        self.booting = False
        if not self.profile.sim:
            self.tell("+CPIN: NOT INSERTED")
            return
        self.tell(f"+CPIN: {self.pin.value}")
        if self.pin is Pin.READY:
            self._sim_ready()

    def _sim_ready(self) -> None:
        self.tell("+QUSIM: 1")
        self.agenda.at(self.now + self.profile.boot_s / 2, lambda: self.tell("+QIND: SMS DONE"))
        self.agenda.at(self.now + self.profile.boot_s / 2, lambda: self.tell("+QIND: PB DONE"))
        self._attach_later()

    def unlock(self, pin: str, new_pin: str) -> None:
        """AT+CPIN (27.007 8.3): three wrong ones, and the SIM wants its PUK."""
        if self.pin is Pin.PUK:
            if pin != self.profile.puk:
                raise Refused(16)
            self.pin_tries = 3
        elif self.pin is Pin.READY or new_pin:
            raise Refused(3)
        elif pin != self.profile.pin:
            self.pin_tries -= 1
            if self.pin_tries == 0:
                self.pin = Pin.PUK
            raise Refused(16)
        self.pin = Pin.READY
        self.tell("+CPIN: READY")
        self._sim_ready()

    def need_sim(self) -> None:
        """Raises: Refused as long as the SIM cannot be read."""
        if not self.profile.sim:
            raise Refused(10)
        if self.booting:
            raise Refused(14)
        if self.pin is not Pin.READY:
            raise Refused(11 if self.pin is Pin.PIN else 12)

    def set_functionality(self, level: int) -> None:
        """AT+CFUN (27.007 8.2): with the radio off there is neither call nor network."""
        if level == self.functionality:
            return
        self.functionality = level
        if level == 1:
            self._attach_later()
        else:
            for leg in list(self.voice):
                self.order_release(leg, 16)
            self._attached = False
            self.registration_moved()

    # --- network ---

    @property
    def stat(self) -> int:
        """27.007 7.2 <stat>."""
        if self.functionality != 1 or self.booting or not self.profile.sim or self.pin is not Pin.READY:
            return 0
        return self.coverage if self._attached or self.coverage not in (1, 5) else 2

    @property
    def registered(self) -> bool:
        return self.stat in (1, 5)

    @property
    def callable(self) -> bool:
        return self.registered and self.profile.ims

    def _attach_later(self) -> None:
        def attach() -> None:
            self._attached = True
            self.registration_moved()

        self.registration_moved()
        self.agenda.at(self.now + ATTACH_S, attach)

    def location(self) -> str:
        return ',"1A2B","01C3D4E5",7' if self.registered else ""

    def registration_moved(self) -> None:
        if self.stat == self._told_stat:
            return
        self._told_stat = self.stat
        for name in ("+CREG", "+CGREG", "+CEREG"):
            if (reporting := self.setting(name, "0")) != "0":
                self.tell(f"{name}: {self.stat}{self.location() if reporting == '2' else ''}")
        if self.registered:
            self.indicate("act", '"LTE"')

    def set_coverage(self, stat: int) -> None:
        self.coverage = stat
        self.registration_moved()

    def set_signal(self, rssi: int) -> None:
        self.rssi = rssi
        self.indicate("csq", f"{rssi},99")

    # --- calls ---

    @property
    def voice(self) -> Iterator[Leg]:
        return (leg for leg in self.calls.values() if leg.mode == 0)

    def legs(self, *stats: Stat) -> list[Leg]:
        return [leg for leg in self.voice if leg.stat in stats]

    @property
    def in_call(self) -> bool:
        """Past ATD or ATA: from here on the voice path cannot be set up."""
        return bool(self.legs(Stat.DIALING, Stat.ALERTING, Stat.ACTIVE, Stat.HELD))

    @property
    def waits(self) -> bool:
        """Call waiting, a service of the network (22.083) that holds until it is switched off."""
        return self.setting("waiting", "1") == "1"

    def free_index(self) -> int:
        return next(index for index in range(1, 8) if index not in self.calls)

    def dial(self, number: str, withheld: bool) -> None:
        self.need_sim()
        if any(self.voice):
            raise Refused(3)
        if not self.callable:
            raise Final("NO CARRIER")
        self.last_cause = None
        leg = Leg(self.free_index(), False, Stat.DIALING, number)
        self.calls[leg.index] = leg
        self.tell_state(leg)
        self.orders.append(Dial(leg.index, number, withheld))

    def offered(self, index: int, number: str | None) -> None:
        """The network asked `refuses` before: there is room for this call."""
        waiting = any(self.voice)
        leg = Leg(index, True, Stat.WAITING if waiting else Stat.INCOMING, number or "")
        self.calls[index] = leg
        self.tell_state(leg)
        self.orders.append(Ring(index))
        if waiting:
            if self.setting("+CCWA", "0") == "1":
                self.tell(f'+CCWA: "{leg.number}",{leg.kind},1')
        else:
            self._ring(leg, 1)

    def _ring(self, leg: Leg, count: int) -> None:
        if self.calls.get(leg.index) is not leg or leg.stat is not Stat.INCOMING:
            return
        if self.indications["all"] and self.indications["ring"]:
            self.tell("+CRING: VOICE" if self.setting("+CRC", "0") == "1" else "RING")
        if self.setting("+CLIP", "0") == "1":
            self.tell(f'+CLIP: "{leg.number}",{leg.kind},"",0,"",{0 if leg.number else 1}')
        if count == int(self.setting("S0", "0")):
            self.orders.append(Answer(leg.index))
        self.agenda.at(self.now + RING_EVERY_S, lambda: self._ring(leg, count + 1))

    def answer(self) -> None:
        """ATA; a waiting call is not its affair (27.007 6.6)."""
        ringing = self.legs(Stat.INCOMING)
        if not ringing:
            raise Final("NO CARRIER")
        self.answer_leg(ringing[0])

    def answer_leg(self, leg: Leg) -> None:
        self.orders.append(Answer(leg.index))

    def cause_text(self) -> str:
        """AT+CEER (27.007 6.10)."""
        return CAUSES.get(self.last_cause or 0, "No cause information available")

    def moved(self, index: int, stat: Stat) -> None:
        """The network moved a call on."""
        if (leg := self.calls.get(index)) is not None and leg.stat is not stat:
            leg.stat = stat
            self.tell_state(leg)

    def released(self, index: int, cause: int, *, locally: bool) -> None:
        """The network ended a call; EC25 has a result code for it only when the far end did it."""
        leg = self.calls.pop(index, None)
        if leg is None:
            return
        self.last_cause = cause
        self.tell_state(leg, Stat.RELEASED)
        if not locally:
            busy = cause == 17 and self.setting("X", "4") in ("3", "4")
            self.tell("BUSY" if busy else "NO ANSWER" if cause in (18, 19) else "NO CARRIER")
        if not self.in_call:
            self._pcm_fresh = self._pcm_fresh and leg.stat in (Stat.INCOMING, Stat.WAITING)
            for waiting in self.legs(Stat.WAITING):
                waiting.stat = Stat.INCOMING
                self.tell_state(waiting)
                self._ring(waiting, 1)

    def order_release(self, leg: Leg, cause: int) -> None:
        self.orders.append(Release(leg.index, cause))

    def pressed(self, key: str) -> None:
        if self.setting("+QTONEDET", "0") == "1":
            self.tell(f"+QTONEDET: {ord(key)}")

    # --- audio ---

    @property
    def audible(self) -> bool:
        """Call audio runs on the PCM interface now."""
        return self.pcm_mode == 0 and self._pcm_fresh and bool(self.legs(Stat.ACTIVE))

    def set_pcm(self, on: bool, mode: int) -> None:
        """AT+QPCMV. EC25: not in a call, and one mode does not replace another but by way of 0."""
        if not self.profile.voice or self.in_call:
            raise Refused
        if not on:
            self.pcm_mode, self._pcm_fresh = None, False
        elif self.pcm_mode is None:
            self.pcm_mode, self._pcm_fresh = mode, True
        elif self.pcm_mode != mode:
            raise Refused

    def set_gnss(self, on: bool) -> None:
        if on and not self.gnss:
            self.agenda.at(self.now + NMEA_EVERY_S, self._navigate)
        self.gnss = on

    def _navigate(self) -> None:
        if self.gnss:
            if self.gnss_port == "usbnmea":
                self.orders.append(Nmea(NMEA_FIX))
            self.agenda.at(self.now + NMEA_EVERY_S, self._navigate)

    # --- news ---

    def tell(self, line: str) -> None:
        """EC25: URCs go to the port that AT+QURCCFG names; another than ours is not on the bench."""
        if self.urc_port in ("usbat", "all"):
            self.news.append(line)

    def indicate(self, name: str, text: str) -> None:
        if self.indications["all"] and self.indications[name]:
            self.tell(f'+QIND: "{name}",{text}')

    def tell_state(self, leg: Leg, stat: Stat | None = None) -> None:
        self.indicate("ccinfo", leg.listed(stat))
        if self.setting("^DSCI", "0") == "1":
            state = DSCI_STAT[leg.stat if stat is None else stat]
            self.tell(f"^DSCI: {leg.index},{leg.incoming:d},{state},0,{leg.number},{leg.kind}")
