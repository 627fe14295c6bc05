"""Quectel's LTE and UMTS modules: PCM on the NMEA interface or as a sound card, call states by ccinfo and ^DSCI.

Facts are of an EC25 where no other is named.
"""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from hil.board import NMEA_FIX, AudioPath, Nmea, Profile, Usb
from hil.callcommands import CALLS
from hil.commandline import Command, Kind, Refused, Setting
from hil.general import GENERAL
from hil.module import Act, Leg, Module, Stat
from hil.radio import LTE, Pin
from hil.settings import SETTINGS, Table, absent, only

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

_GAIN = "(0-65535)"
_SETTINGS = {
    "^DSCI": Setting("(0,1)", "0"),
    "+QTONEDET": Setting("(0,1)", "0"),
    "+QAUDLOOP": Setting("(0,1)", "0"),
    "+QAUDMOD": Setting("(0-3)", "0"),
    "+QSIDET": Setting(_GAIN, "0"),
    "+QMIC": Setting(f"{_GAIN},{_GAIN}", "20577,16384"),
    "+QRXGAIN": Setting(_GAIN, "20577"),
    "+QEEC": Setting(f"(0-255),{_GAIN}", "0,0"),
}

QUECTEL = Table()


class Quectel(Module):
    maker = "Quectel"
    commands: ClassVar[Mapping[str, Act]] = ChainMap(QUECTEL, CALLS, GENERAL)
    settings = SETTINGS | _SETTINGS
    chunk_bytes = 640
    tests_pcm = "(0,1),(0-2)"
    ids: ClassVar[Usb]
    # +QIND: "ccinfo" is there.
    has_ccinfo: ClassVar[bool] = True
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


# With every flag of AT+QCFG="usbcfg" set; a device of class audio has two interfaces, of which this is the first.
ROLES = {0: "diag", 1: "pcm", 2: "at", 3: "modem", 4: "net", 5: "adb", 6: "audio"}


class Ec25(Quectel):
    title = "EC25"
    firmware = "EC25EFAR06A06M4G"
    ids = Usb(0x2C7C, 0x0125, "EC25", ROLES)


class Ec20(Quectel):
    title = "EC20F"
    firmware = "EC20CEFHLGR06A07M1G"
    ids = Usb(0x2C7C, 0x0125, "EC20-CE", ROLES)
    tests_pcm = "(0,1),(0,1,2)"


class Ec21(Quectel):
    title = "EC21"
    firmware = "EC21EFAR06A04M4G"
    ids = Usb(0x2C7C, 0x0121, "EC21", ROLES)


class Eg25(Quectel):
    """With a firmware that tells of a caller by +CLIP and ccinfo only."""

    title = "EG25"
    firmware = "EG25GGBR07A08M2G_30.202.30.202"
    ids = Usb(0x2C7C, 0x0125, "EG25-G", ROLES)
    rings = False


class Eg91(Quectel):
    title = "EG91"
    firmware = "EG91EFBR06A08M4G"
    ids = Usb(0x2C7C, 0x0191, "EG91", ROLES)


class Eg95(Quectel):
    title = "EG95"
    firmware = "EG95EFBR06A08M4G"
    ids = Usb(0x2C7C, 0x0195, "EG95", ROLES)


class Uc20(Quectel):
    """UMTS: no LTE registration, no IMS."""

    title = "UC20"
    firmware = "UC20GQBR03A14E1G"
    ids = Usb(0x05C6, 0x9003, "UC20", ROLES)
    technology = 2
    commands: ClassVar[Mapping[str, Act]] = ChainMap(
        Table(dict.fromkeys(("+CEREG", "+CIREG"), absent)), QUECTEL, CALLS, GENERAL
    )


class Ep06(Quectel):
    """No ccinfo, and some wedge on AT+QHUP."""

    title = "EP06-E"
    firmware = "EP06ELAR04A02M4G"
    ids = Usb(0x2C7C, 0x0306, "EP06-E", ROLES)
    has_ccinfo = False


# --- commands of Quectel's own ---


@QUECTEL.command("+QCCID")
def _card_number(module: Quectel, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    only(asked, Kind.ACT)
    module.need_sim()
    return [f"+QCCID: {module.profile.iccid}"]


@QUECTEL.command("+QHUP")
def _hang_up_with_cause(module: Quectel, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["+QHUP: (0-127),(0-7)"]
    only(asked, Kind.SET)
    cause, index = asked.number(0), asked.number(1, 0)
    if isinstance(module, Ep06):
        module.dead = True
    for leg in list(module.voice):
        if index in (0, leg.index):
            module.order_release(leg, cause)
    return []


@QUECTEL.command("+QLDTMF")
def _local_tone(module: Quectel, asked: Command) -> list[str]:
    return []


@QUECTEL.command("+QPCMV")
def _pcm(module: Quectel, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return [f"+QPCMV: {module.tests_pcm}"]
        case Kind.READ:
            return ["+QPCMV: 0" if module.pcm_mode is None else f"+QPCMV: 1,{module.pcm_mode}"]
    only(asked, Kind.SET)
    on, mode = asked.number(0), asked.number(1, 0)
    if on not in (0, 1) or mode not in (0, 1, 2):
        raise Refused
    module.set_pcm(bool(on), mode)
    return []


@QUECTEL.command("+QINDCFG")
def _indication(module: Quectel, asked: Command) -> list[str]:
    only(asked, Kind.SET)
    name = asked.argument(0)
    if name not in module.indications:
        raise Refused(50)
    if not asked.argument(1):
        return [f'+QINDCFG: "{name}",{module.indications[name]}']
    if (on := asked.number(1)) not in (0, 1):
        raise Refused(50)
    module.indications[name] = on
    return []


@QUECTEL.command("+QURCCFG")
def _urc_port(module: Quectel, asked: Command) -> list[str]:
    ports = ("usbat", "usbmodem", "uart1", "uart2", "all")
    if asked.kind is Kind.TEST:
        return ['+QURCCFG: "urcport",(' + ",".join(f'"{port}"' for port in ports) + ")"]
    only(asked, Kind.SET)
    if asked.argument(0) != "urcport" or asked.argument(1, "all") not in ports:
        raise Refused(50)
    if len(asked.arguments) == 1:
        return [f'+QURCCFG: "urcport","{module.urc_port}"']
    module.urc_port = asked.argument(1)
    return []


@QUECTEL.command("+QCFG")
def _configuration(module: Quectel, asked: Command) -> list[str]:
    """What is set is kept, and what USB looks like changes with a restart."""
    told = {"usbcfg": module.usb_configuration()}
    if module.technology == LTE:
        told["ims"] = f"{module.setting('ims', '0')},{module.over_ims:d}"
    only(asked, Kind.SET)
    name = asked.argument(0)
    if name not in told:
        raise Refused
    if len(asked.arguments) == 1:
        return [f'+QCFG: "{name}",{told[name]}']
    if name == "ims":
        module.values["ims"] = str(asked.number(1))
    else:
        module.interfaces_wanted = _flags(asked)
    return []


def _flags(asked: Command) -> tuple[int, int, int, int, int, int, int]:
    """Raises: Refused: not name, two ids and seven flags."""
    diag, nmea, at, modem, net, adb, uac = (asked.number(place) for place in range(3, 10))
    flags = (diag, nmea, at, modem, net, adb, uac)
    if len(asked.arguments) != 10 or not {0, 1}.issuperset(flags):
        raise Refused(50)
    return flags


@QUECTEL.command("+QPOWD")
def _switch_off(module: Quectel, asked: Command) -> list[str]:
    module.tell("POWERED DOWN")
    module.restart(again=False)
    return []


@QUECTEL.command("+QPINC")
def _pin_tries(module: Quectel, asked: Command) -> list[str]:
    return [f'+QPINC: "SC",{module.pin_tries},10']


@QUECTEL.command("+QINISTAT")
def _init_state(module: Quectel, asked: Command) -> list[str]:
    return [f"+QINISTAT: {0 if module.booting else 7 if module.pin is Pin.READY else 1}"]


@QUECTEL.command("+QSIMSTAT")
def _sim_state(module: Quectel, asked: Command) -> list[str]:
    return [f"+QSIMSTAT: 0,{module.profile.sim:d}"]


@QUECTEL.command("+QNWINFO")
def _network_info(module: Quectel, asked: Command) -> list[str]:
    if not module.registered:
        return ["+QNWINFO: No Service"]
    return [f'+QNWINFO: "FDD LTE","{module.profile.operator[2]}","LTE BAND 3",1300']


@QUECTEL.command("+QGPS")
def _gnss_on(module: Quectel, asked: Command) -> list[str]:
    if asked.kind is Kind.READ:
        return [f"+QGPS: {module.gnss:d}"]
    only(asked, Kind.SET)
    if asked.number(0) not in range(1, 5):
        raise Refused(50)
    module.set_gnss(True)
    return []


@QUECTEL.command("+QGPSEND")
def _gnss_off(module: Quectel, asked: Command) -> list[str]:
    if not module.gnss:
        # EC25 GNSS: 505, session not active; a number of its own, so ERROR does for +CMEE=2.
        raise Refused
    module.set_gnss(False)
    return []


@QUECTEL.command("+QGPSCFG")
def _gnss_setting(module: Quectel, asked: Command) -> list[str]:
    only(asked, Kind.SET)
    if asked.argument(0) != "outport":
        raise Refused
    port = asked.argument(1)
    if not port:
        return [f'+QGPSCFG: "outport","{module.gnss_port}"']
    if port not in ("none", "usbnmea", "uartdebug"):
        raise Refused(50)
    module.gnss_port = port
    return []
