"""SIMCom's modules, as modems.md A5 has them: SIM7600 with its audio on USB, SIM800 and A7672 with analog audio.

SIM7600 has a stream in a call only, and with several builds it wears out: see `Sim7600`. What no source tells is
marked [inferred].
"""

from collections import ChainMap
from collections.abc import Mapping
from typing import ClassVar

from hil.board import AudioPath, Profile, Restart, Usb
from hil.callcommands import CALLS
from hil.commandline import Command, Kind, Refused, Setting
from hil.general import GENERAL
from hil.module import Act, Leg, Module, Stat
from hil.radio import LEAVE_AFTER_S
from hil.settings import SETTINGS, Table, absent, only

# 27.007 7.18 ends with 5; this is SIMCom's for a call that is over.
DISCONNECTED = 6
# From a call's change of state until AT+CPCMREG=1 is taken.
SETTLE_S = 0.1

SIMCOM, SIM7600 = Table(), Table()
_SETTINGS = {
    "+DDET": Setting("(0,1),(0-10000),(0,1),(0,1)", "0,0,0,0"),
    "+CMICGAIN": Setting("(0-8)", "4"),
    "+COUTGAIN": Setting("(0-8)", "4"),
    "+CTXVOL": Setting("(0-65535)", "8192"),
    "+CRXVOL": Setting("(0-65535)", "8192"),
    "+CECM": Setting("(0-7)", "1"),
}


class SimCom(Module):
    maker = "SIMCOM INCORPORATED"
    commands: ClassVar[Mapping[str, Act]] = ChainMap(SIMCOM, CALLS, GENERAL)
    settings = SETTINGS | _SETTINGS
    boot_words: tuple[str, ...] = ("RDY", "+CFUN: 1")
    gone_words = ("+CPIN: NOT READY",)
    babble: tuple[str, ...] = ("+CNSMOD: 8", "+CSQN: 20,99", "+CREG: 1")
    reads_empty_slots = False
    full_word = "+SMS FULL"
    # Of a call's end: whether it was connected is in it, and how long.
    end_words: ClassVar[str] = "VOICE CALL: END"
    # What AT+DDET tells of, and how it is framed.
    key_words: ClassVar[str] = "+RXDTMF: {}"
    key_frame: ClassVar[str] = "\r\n{}\r\n"
    # VOICE CALL and MISSED_CALL are told.
    tells_voice: ClassVar[bool] = True

    def forget(self) -> None:
        super().forget()
        self._connected_at: dict[int, float] = {}
        # A call began or moved then, last.
        self._moved_at = float("-inf")

    def tell_state(self, leg: Leg, stat: Stat | None = None) -> None:
        self._moved_at = self.now
        if self.faults.early_answer and not leg.incoming:
            if leg.stat is Stat.DIALING:
                # All of it comes in one burst, when the far phone rings.
                return
            if leg.stat is Stat.ALERTING:
                self._tell_listed(leg, Stat.DIALING)
        self._tell_listed(leg, leg.stat)
        if leg.stat is Stat.ACTIVE:
            self._connected_at[leg.index] = self.now
            if self.tells_voice:
                self.tell("VOICE CALL: BEGIN")
            # Duplicates are common.
            self._tell_listed(leg, leg.stat)
            if not leg.incoming and self.setting("+COLP", "0") == "1":
                self.tell(f'+COLP: "{leg.number}",{leg.kind}')

    def _tell_listed(self, leg: Leg, stat: int) -> None:
        if self.setting("+CLCC", "0") == "1":
            index, direction, _, rest = leg.listed().split(",", 3)
            self.tell(f"+CLCC: {index},{direction},{stat:d},{rest}")

    def tell_end(self, leg: Leg, cause: int, *, locally: bool) -> None:
        self._moved_at = self.now
        self._tell_listed(leg, DISCONNECTED)
        connected_at = self._connected_at.pop(leg.index, None)
        if self.tells_voice:
            seconds = "" if connected_at is None else f": {int(self.now - connected_at):06}"
            self.tell(self.end_words + seconds)
            if leg.incoming and connected_at is None and not locally:
                self.tell(f"MISSED_CALL: {self._clock()} {leg.number}")
        super().tell_end(leg, cause, locally=locally)

    def _clock(self) -> str:
        """The module's own, which nobody has set: it began at noon."""
        minutes = 12 * 60 + int(self.now // 60)
        hour, minute = minutes // 60 % 24, minutes % 60
        return f"{hour % 12 or 12:02}:{minute:02}{'PM' if hour >= 12 else 'AM'}"

    def pressed(self, key: str) -> None:
        if self.setting("+DDET", "0").startswith("1"):
            self.tell(self.key_frame.format(self.key_words.format(key)).encode())


class Sim7600(SimCom):
    """AT+CPCMREG=1 is for a call that is there, and some 100 ms old in its state.

    After the first time that its audio was opened and closed it is worn: at the next opening the command is refused
    once, then sound stutters. Neither AT+CFUN=1,1 nor the host's ports change that; AT+CRESET does, and power.
    """

    title = "SIMCOM_SIM7600E-H"
    firmware = "LE20B03SIM7600M22"
    usb = Usb(0x1E0E, 0x9001, "SimTech, Incorporated", {0: "diag", 1: "nmea", 2: "at", 3: "modem", 4: "pcm", 5: "net"})
    commands: ClassVar[Mapping[str, Act]] = ChainMap(SIM7600, SIMCOM, CALLS, GENERAL)
    audio_paths = frozenset({AudioPath.PCM})
    sim_words = ("+CPIN: READY",)
    ready_words = ("SMS DONE", "PB DONE", '*PSUTTZ: 2026,1,5,9,30,0,"+4",0', "DST: 0")
    key_frame = "\r\r\n{}\r\r\n"
    # AT+CPCMREG=0, without how it is to be flushed.
    takes_short_off: ClassVar[bool] = True
    wears: ClassVar[bool] = True

    def __init__(self, profile: Profile) -> None:
        # What no restart but AT+CRESET takes away: how often audio was closed, and whether this opening was refused.
        self.closed = 0
        self.refused_once = False
        self._warm = False
        super().__init__(profile)

    def forget(self) -> None:
        super().forget()
        self.registered_pcm = False

    def power_on(self) -> None:
        if not self._warm:
            self.closed, self.refused_once = 0, False
        self._warm = False
        super().power_on()

    def restart(self, *, again: bool) -> None:
        """AT+CFUN=1,1 does not reach the audio function."""
        self._warm = again
        super().restart(again=again)

    def reset(self) -> None:
        """AT+CRESET."""
        self.agenda.at(self.now + LEAVE_AFTER_S, lambda: self.orders.append(Restart(again=True)))

    @property
    def worn(self) -> bool:
        return self.wears and self.closed > 0

    @property
    def audio(self) -> AudioPath | None:
        return AudioPath.PCM if self.registered_pcm and self.in_call else None

    @property
    def choppy(self) -> bool:
        return self.worn

    def register_pcm(self) -> None:
        """Raises: Refused: no call, too early, or a worn function's first no."""
        in_time = self.now - self._moved_at >= SETTLE_S - 1e-9
        if not self.profile.voice or not self.in_call or not in_time or self.faults.audio_refused:
            raise Refused
        if self.worn and not self.registered_pcm and not self.refused_once:
            self.refused_once = True
            raise Refused
        self.registered_pcm = True

    def unregister_pcm(self) -> None:
        if self.registered_pcm:
            self.registered_pcm, self.refused_once = False, False
            self.closed += 1


class Sim7600V2(Sim7600):
    """A firmware that wants to be told how to flush, does not wear out, and frames keys as all do."""

    firmware = "LE20B04SIM7600G22_V2"
    takes_short_off = False
    wears = False
    key_frame = "\r\n{}\r\n"


class Sim800(SimCom):
    title = "SIMCOM_SIM800L"
    firmware = "1418B05SIM800L24"
    audio_paths = frozenset({AudioPath.CARD})
    technology = 0
    sim_words = ("+CPIN: READY",)
    ready_words = ("Call Ready", "SMS Ready")
    key_words = "+DTMF: {}"
    tells_voice = False
    rest_s = 0.02
    commands: ClassVar[Mapping[str, Act]] = ChainMap(
        Table(dict.fromkeys(("+CEREG", "+CIREG", "+CESQ", "+CRESET", "+CPINC"), absent)), SIMCOM, CALLS, GENERAL
    )

    @property
    def audio(self) -> AudioPath | None:
        """Wired: whatever the module hears, it says."""
        return AudioPath.CARD if self.legs(Stat.ALERTING, Stat.ACTIVE) else None


class Sim900(Sim800):
    title = "SIMCOM_SIM900"
    firmware = "1137B15SIM900M64_ST"


class A7672(SimCom):
    title = "A7672SA-FASE"
    firmware = "A7672M7_V1.11.1"
    usb = Usb(0x1E0E, 0x9011, "SIMCOM", {0: "net", 2: "diag", 4: "at", 5: "modem"})
    audio_paths = frozenset({AudioPath.CARD})
    boot_words = ("*ATREADY: 1",)
    gone_words = ("+SIMCARD: NOT AVAILABLE",)
    sim_words = ("+CPIN: READY",)
    ready_words = ("SMS DONE", "PB DONE", "+CGEV: EPS PDN ACT 1")
    end_words = "VOICE CALL:END"

    @property
    def audio(self) -> AudioPath | None:
        return AudioPath.CARD if self.legs(Stat.ALERTING, Stat.ACTIVE) else None


# --- commands of SIMCom's own ---


@SIMCOM.command("+CLCC")
def _list_calls(module: SimCom, asked: Command) -> list[str]:
    """The read form is whether news of the same kind are told."""
    match asked.kind:
        case Kind.TEST:
            return ["+CLCC: (0-1)"]
        case Kind.READ:
            return [f"+CLCC: {module.setting('+CLCC', '0')}"]
        case Kind.SET:
            if asked.text not in ("0", "1"):
                raise Refused(50)
            module.values["+CLCC"] = asked.text
            return []
    return CALLS["+CLCC"](module, asked)


@SIMCOM.command("+CICCID")
def _card_number(module: SimCom, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    only(asked, Kind.ACT)
    module.need_sim()
    return [f"+ICCID: {module.profile.iccid}"]


@SIMCOM.command("+CPINC")
def _tries(module: SimCom, asked: Command) -> list[str]:
    return [f"+CPINC: {module.pin_tries},3,10,10"]


@SIMCOM.command("+SPIC")
def _tries_of_sim800(module: SimCom, asked: Command) -> list[str]:
    return [f"+SPIC: {module.pin_tries},10,3,10"]


@SIMCOM.command("+CRESET")
def _reset(module: SimCom, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    only(asked, Kind.ACT)
    if isinstance(module, Sim7600):
        module.reset()
    else:
        module.restart(again=True)
    return []


@SIMCOM.command("+CPOF")
def _power_off(module: SimCom, asked: Command) -> list[str]:
    only(asked, Kind.ACT)
    module.tell("NORMAL POWER DOWN")
    module.restart(again=False)
    return []


@SIMCOM.command("+CNSMOD")
def _network_mode(module: SimCom, asked: Command) -> list[str]:
    only(asked, Kind.READ)
    mode = {0: 1, 2: 4, 7: 8}[module.technology] if module.registered else 0
    return [f"+CNSMOD: 0,{mode}"]


@SIM7600.command("+CPCMREG")
def _pcm(module: Sim7600, asked: Command) -> list[str]:
    """=1 opens the stream; =0, or =0,1 which flushes it at once, closes it."""
    if not module.profile.voice:
        raise Refused
    match asked.kind:
        case Kind.TEST:
            return ["+CPCMREG: (0-1)"]
        case Kind.READ:
            return [f"+CPCMREG: {module.registered_pcm:d}"]
    only(asked, Kind.SET)
    if asked.text == "1":
        module.register_pcm()
    elif asked.text == "0,1" or (asked.text == "0" and module.takes_short_off):
        module.unregister_pcm()
    else:
        raise Refused
    return []


@SIM7600.command("+CPCMFRM")
def _pcm_rate(module: Sim7600, asked: Command) -> list[str]:
    """No answer to the test form: 8 kHz is all that there is."""
    only(asked, Kind.SET)
    if asked.text != "0":
        raise Refused
    return []


@SIM7600.command("+CPCMBANDWIDTH")
def _pcm_bandwidth(module: Sim7600, asked: Command) -> list[str]:
    only(asked, Kind.SET)
    if asked.text != "1,1":
        raise Refused
    return []


@SIM7600.command("+CPSI")
def _system(module: Sim7600, asked: Command) -> list[str]:
    only(asked, Kind.READ)
    if not module.registered:
        return ["+CPSI: NO SERVICE,Online"]
    return ["+CPSI: LTE,Online,208-01,0x1A2B,29611237,137,EUTRAN-BAND3,1300,5,5,-94,-850,-560,18"]
