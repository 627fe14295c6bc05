"""A module's SIM and its place on the network: power, PIN, registration, signal (3GPP TS 27.007 clauses 7, 8)."""

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from functools import partial
from types import MappingProxyType

from hil.board import Board, Profile, Restart
from hil.commandline import Refused

ATTACH_S = 0.2
# 27.007 7.2 <AcT>: E-UTRAN.
LTE = 7
# The ports stay long enough for a host to read the OK.
LEAVE_AFTER_S = 0.5


class Pin(Enum):
    READY = "READY"
    PIN = "SIM PIN"
    PUK = "SIM PUK"


class Radio(Board):
    """Switched on and registered; `power_on` is for one that starts anew."""

    # What a boot tells: when the ports are there, when the SIM can be read, when all of it was.
    boot_words: tuple[str, ...] = ()
    sim_words: tuple[str, ...] = ()
    ready_words: tuple[str, ...] = ()
    # And that the SIM was taken out.
    gone_words: tuple[str, ...] = ("+CPIN: NOT INSERTED",)
    # News of the kind that comes in floods.
    babble: tuple[str, ...] = ("+CREG: 1",)
    # What it says all the time and nobody asked for: the text, and how often in seconds.
    noise: Mapping[str, float] = MappingProxyType({})
    # 27.007 7.2 <AcT>: 0 GSM, 2 UTRAN, 7 E-UTRAN.
    technology = LTE

    def __init__(self, profile: Profile) -> None:
        # What the antenna finds, as a 27.007 7.2 <stat>, and how strong (27.007 8.5).
        self.coverage = 1
        self.rssi = 24
        self.pin_tries = 3
        self.pin = Pin.READY if profile.pin is None else Pin.PIN
        super().__init__(profile)
        self._make_noise()

    def forget(self) -> None:
        super().forget()
        self.functionality = 1
        self.booting = False
        self.operator_format = 0
        self._attached = True
        self._told_stat = self.stat

    def power_on(self) -> None:
        """The host sees what is told once the ports are there."""
        if self.profile.pin is not None:
            self.pin = Pin.PIN if self.pin_tries else Pin.PUK
        self.agenda.clear()
        self.forget()
        self.booting, self._attached, self._told_stat = True, False, 0
        step = self.profile.boot_s / 2
        self._tell_at(self.now, self.boot_words)
        self.agenda.at(self.now + step, self._sim_up)
        self._make_noise()

    def _make_noise(self) -> None:
        def again(text: str, every_s: float) -> None:
            self.tell(text)
            self.agenda.at(self.now + every_s, partial(again, text, every_s))

        for text, every_s in self.noise.items():
            self.agenda.at(self.now + every_s, partial(again, text, every_s))
        self._flooding = False
        self.flood()

    def flood(self) -> None:
        """Begins, if `faults` want it; goes on as long as they do."""

        def say(said: int) -> None:
            self._flooding = self.faults.flood_per_s > 0
            if self._flooding:
                self.tell(self.babble[said % len(self.babble)])
                self.agenda.at(self.now + 1 / self.faults.flood_per_s, partial(say, said + 1))

        if not self._flooding and self.faults.flood_per_s > 0:
            say(0)

    def _tell_at(self, when: float, words: tuple[str, ...]) -> None:
        def tell() -> None:
            for line in words:
                self.tell(line)

        self.agenda.at(when, tell)

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
        for line in self.sim_words:
            self.tell(line)
        self._tell_at(self.now + self.profile.boot_s / 2, self.ready_words)
        self._attach_later()

    def set_sim(self, there: bool) -> None:
        """Somebody takes the SIM out, or puts it in."""
        if self.profile.sim is there:
            return
        self.profile = replace(self.profile, sim=there)
        self._attached = False
        if there:
            self.pin = Pin.READY if self.profile.pin is None else Pin.PIN
            self.agenda.at(self.now + self.profile.boot_s / 2, self._sim_up)
        else:
            for line in self.gone_words:
                self.tell(line)
            self.registration_moved()

    def lock(self, pin: str | None) -> None:
        """Another SIM, that wants this PIN, or none."""
        self.set_sim(False)
        self.profile = replace(self.profile, pin=pin)
        self.pin_tries = 3
        self.set_sim(True)

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
    def over_ims(self) -> bool:
        return self.registered and self.profile.ims

    @property
    def callable(self) -> bool:
        """LTE alone carries no call without IMS; older networks know nothing of that."""
        return self.over_ims or (self.registered and self.technology != LTE)

    def _attach_later(self) -> None:
        def attach() -> None:
            self._attached = True
            self.registration_moved()

        self.registration_moved()
        self.agenda.at(self.now + ATTACH_S, attach)

    def location(self) -> str:
        return f',"1A2B","01C3D4E5",{self.technology}' if self.registered else ""

    def registration_moved(self) -> None:
        if self.stat == self._told_stat:
            return
        self._told_stat = self.stat
        for name in ("+CREG", "+CGREG", "+CEREG"):
            if (reporting := self.setting(name, "0")) != "0":
                self.tell(f"{name}: {self.stat}{self.location() if reporting == '2' else ''}")
        if self.setting("+CIREG", "0") != "0":
            self.tell(f"+CIREGU: {self.over_ims:d}{',1' if self.over_ims else ''}")
        if self.registered:
            self.technology_told()

    def technology_told(self) -> None:
        """URCs of a family's own about the network that was found."""

    def signal_told(self) -> None:
        """And about its signal."""

    def set_coverage(self, stat: int) -> None:
        self.coverage = stat
        self.registration_moved()

    def set_signal(self, rssi: int) -> None:
        self.rssi = rssi
        self.signal_told()
