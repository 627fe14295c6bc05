"""What Quectel's LTE and UMTS modules are: calls told by ccinfo and ^DSCI, PCM on the NMEA interface or a sound card.

Facts are of an EC25 where no other is named.
"""

from dataclasses import replace
from typing import ClassVar

from hil.board import NMEA_FIX, AudioPath, Nmea, Profile, Usb
from hil.commandline import Refused
from hil.module import Leg, Module, Stat
from hil.radio import LTE

NMEA_EVERY_S = 1.0
# ^DSCI counts the states of +CLCC its own way.
DSCI_STAT = {
    Stat.HELD: 1,
    Stat.DIALING: 2,
    Stat.ACTIVE: 3,
    Stat.INCOMING: 4,
    Stat.WAITING: 5,
    Stat.RELEASED: 6,
    Stat.ALERTING: 7,
}
# AT+QPCMV's second number; 1 is an UART that no host here has.
PCM_MODES = {0: AudioPath.PCM, 2: AudioPath.CARD}
# With every flag of AT+QCFG="usbcfg" set; a device of class audio has two interfaces, of which this is the first.
ROLES = {0: "diag", 1: "pcm", 2: "at", 3: "modem", 4: "net", 5: "adb", 6: "audio"}


class QuectelBoard(Module):
    maker = "Quectel"
    chunk_bytes = 640
    tests_pcm = "(0,1),(0-2)"
    ids: ClassVar[Usb]
    # +QIND: "ccinfo" is there.
    has_ccinfo: ClassVar[bool] = True
    # Its interpreter outlives AT+QHUP.
    takes_qhup: ClassVar[bool] = True
    # RING, or +CRING.
    rings: ClassVar[bool] = True
    boot_words = ("RDY", "+CFUN: 1")
    sim_words = ("+QUSIM: 1",)
    default_memory = "ME"
    full_word = '+QIND: "smsfull","{}"'
    ready_words = ("+QIND: SMS DONE", "+QIND: PB DONE")
    gone_words = ("+CPIN: NOT READY",)
    babble = ('+QIND: "csq",20,99', '+QIND: "act","LTE"', '+QIND: "csq",19,99')

    def __init__(self, profile: Profile) -> None:
        # AT+QCFG="usbcfg": diag, NMEA, AT, modem, net, ADB, UAC; as they are, and as they will be after a restart.
        self.interfaces = self.interfaces_wanted = (1, 1, 1, 1, 1, 0, int(profile.uac))
        super().__init__(profile)
        if self.gnss:
            self.agenda.at(NMEA_EVERY_S, self._navigate)

    def forget(self) -> None:
        super().forget()
        self.pcm_mode: int | None = None
        # The voice path is set up by QPCMV's change from 0 to 1 and is spent by one call.
        self._pcm_fresh = False
        self.indications = {"all": 1, "csq": 0, "smsfull": 0, "ring": 1, "smsincoming": 1, "act": 0}
        if self.has_ccinfo:
            self.indications["ccinfo"] = 0
        self.urc_port = "usbat"
        self.gnss = self.profile.gnss
        self.gnss_port = "usbnmea"

    def power_on(self) -> None:
        self.interfaces = self.interfaces_wanted
        super().power_on()
        if self.gnss:
            self.agenda.at(self.now, self._navigate)

    # --- what it tells ---

    def tell(self, line: str | bytes) -> None:
        """URCs go to the port that AT+QURCCFG names; another than ours is not on the bench."""
        if self.urc_port in ("usbat", "all"):
            super().tell(line)

    def indicate(self, name: str, text: str) -> None:
        if self.indications["all"] and self.indications.get(name):
            self.tell(f'+QIND: "{name}",{text}')

    def tell_ring(self, leg: Leg) -> None:
        if self.rings and self.indications["all"] and self.indications["ring"]:
            super().tell_ring(leg)
        else:
            self.tell_caller(leg)

    def tell_state(self, leg: Leg, stat: Stat | None = None) -> None:
        self.indicate("ccinfo", leg.listed(stat))
        if self.setting("^DSCI", "0") == "1":
            state = DSCI_STAT[leg.stat if stat is None else stat]
            self.tell(f"^DSCI: {leg.index},{leg.incoming:d},{state},0,{leg.number},{leg.kind}")

    def tell_end(self, leg: Leg, cause: int, *, locally: bool) -> None:
        self.tell_state(leg, Stat.RELEASED)
        super().tell_end(leg, cause, locally=locally)

    def technology_told(self) -> None:
        self.indicate("act", {2: '"WCDMA"', LTE: '"LTE"'}[self.technology])

    def signal_told(self) -> None:
        self.indicate("csq", f"{self.rssi},99")

    def pressed(self, key: str) -> None:
        if self.setting("+QTONEDET", "0") == "1":
            self.tell(f"+QTONEDET: {ord(key)}")

    # --- the voice path ---

    @property
    def audio_paths(self) -> frozenset[AudioPath]:  # type: ignore[override]
        _, nmea, _, _, _, _, uac = self.interfaces
        return frozenset(path for path, there in ((AudioPath.PCM, nmea), (AudioPath.CARD, uac)) if there)

    @property
    def audio(self) -> AudioPath | None:
        path = PCM_MODES.get(-1 if self.pcm_mode is None else self.pcm_mode)
        return path if path in self.audio_paths and self._pcm_fresh and self.legs(Stat.ACTIVE) else None

    def released(self, index: int, cause: int, *, locally: bool) -> None:
        leg = self.calls.get(index)
        super().released(index, cause, locally=locally)
        if leg is not None and not self.in_call:
            self._pcm_fresh = self._pcm_fresh and leg.stat in (Stat.INCOMING, Stat.WAITING)

    def set_pcm(self, on: bool, mode: int) -> None:
        """AT+QPCMV: not in a call, and one mode does not replace another but by way of 0."""
        if not self.profile.voice or self.in_call:
            raise Refused
        if not on:
            self.pcm_mode, self._pcm_fresh = None, False
        elif self.pcm_mode is None:
            self.pcm_mode, self._pcm_fresh = mode, True
        elif self.pcm_mode != mode:
            raise Refused

    def buffer_filled(self, full: bool) -> None:
        self.tell(f"+QPCMV: {not full:d}")

    @property
    def usb(self) -> Usb:  # type: ignore[override]
        """As it is composed now."""
        there = {number: role for (number, role), on in zip(ROLES.items(), self.interfaces, strict=True) if on}
        return replace(self.ids, roles=there)

    def usb_configuration(self) -> str:
        """AT+QCFG="usbcfg": ids, then flags: diag, NMEA, AT, modem, net, ADB, UAC."""
        return ",".join((f"0x{self.usb.vendor:04X},0x{self.usb.product:04X}", *map(str, self.interfaces_wanted)))

    # --- GNSS ---

    def set_gnss(self, on: bool) -> None:
        if on and not self.gnss:
            self.agenda.at(self.now + NMEA_EVERY_S, self._navigate)
        self.gnss = on

    def _navigate(self) -> None:
        if self.gnss:
            if self.gnss_port == "usbnmea":
                self.orders.append(Nmea(NMEA_FIX))
            self.agenda.at(self.now + NMEA_EVERY_S, self._navigate)
