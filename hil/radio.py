"""A module's SIM and its place on the network: power, PIN, registration, signal, GNSS (3GPP TS 27.007 clauses 7, 8)."""

from enum import Enum

from hil.board import Board, Nmea, Profile, Restart
from hil.commandline import Refused

ATTACH_S = 0.2
# The ports stay long enough for a host to read the OK.
LEAVE_AFTER_S = 0.5
NMEA_EVERY_S = 1.0
NMEA_FIX = (
    b"$GPGGA,092204.999,4250.5589,S,14718.5084,E,1,04,24.4,19.7,M,,,,0000*1F\r\n$GPVTG,,T,,M,0.0,N,0.0,K,A*23\r\n"
)


class Pin(Enum):
    READY = "READY"
    PIN = "SIM PIN"
    PUK = "SIM PUK"


class Radio(Board):
    """Switched on and registered; `power_on` is for one that starts anew."""

    def __init__(self, profile: Profile) -> None:
        # What the antenna finds, as a 27.007 7.2 <stat>, and how strong (27.007 8.5).
        self.coverage = 1
        self.rssi = 24
        self.pin_tries = 3
        self.pin = Pin.READY if profile.pin is None else Pin.PIN
        super().__init__(profile)
        if self.gnss:
            self.agenda.at(NMEA_EVERY_S, self._navigate)

    def forget(self) -> None:
        super().forget()
        self.functionality = 1
        self.booting = False
        self.operator_format = 0
        self.gnss = self.profile.gnss
        self.gnss_port = "usbnmea"
        self._attached = True
        self._told_stat = self.stat

    def power_on(self) -> None:
        """EC25 boot: the host sees these lines once the ports are there."""
        if self.profile.pin is not None:
            self.pin = Pin.PIN if self.pin_tries else Pin.PUK
        self.agenda.clear()
        self.forget()
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
        self.orders.clear()
        self.news.clear()

    def restart(self, *, again: bool) -> None:
        """Off the bus, and unless it is for good on it again."""
        self.agenda.at(self.now + LEAVE_AFTER_S, lambda: self.orders.append(Restart(again)))

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

    def set_gnss(self, on: bool) -> None:
        if on and not self.gnss:
            self.agenda.at(self.now + NMEA_EVERY_S, self._navigate)
        self.gnss = on

    def _navigate(self) -> None:
        if self.gnss:
            if self.gnss_port == "usbnmea":
                self.orders.append(Nmea(NMEA_FIX))
            self.agenda.at(self.now + NMEA_EVERY_S, self._navigate)
