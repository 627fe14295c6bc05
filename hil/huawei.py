"""Huawei's UMTS sticks, as modems.md A3 has them: calls by ^ORIG, ^CONF, ^CONN, ^CEND; sound by AT^DDSETEX in a call.

What no source tells is marked [inferred]. The sticks differ in firmware more than in name; each class here has those
ways of one that a driver has to be ready for.
"""

import random
from collections import ChainMap
from collections.abc import Mapping
from typing import ClassVar

from hil.board import AudioPath, Leftover, Profile, Usb
from hil.callcommands import CALLS
from hil.commandline import Command, Kind, Refused, Setting, TooMany, Unknown
from hil.general import GENERAL
from hil.module import Act, Leg, Module, Stat
from hil.network import KEYS
from hil.radio import Pin
from hil.settings import SETTINGS, Table, absent, only

# ^CEND's third field.
END_NORMAL, END_REJECTED = 29, 104
# What a tty still holds when its call is over: users hear 300 ms of noise in the next one. It is there a moment later,
# when the host has let go of the tty.
LEFTOVER_BYTES = 4800
LEFTOVER_AFTER_S = 0.5

HUAWEI = Table()


class Huawei(Module):
    maker = "huawei"
    commands: ClassVar[Mapping[str, Act]] = ChainMap(HUAWEI, CALLS, GENERAL)
    settings = SETTINGS | {
        "^U2DIAG": Setting("(0,1,256)", "0"),
        "^CURC": Setting("(0,1)", "1"),
        "^PORTSEL": Setting("(0,1)", "1"),
    }
    audio_paths = frozenset({AudioPath.PCM})
    # 20 ms.
    chunk_bytes = 320
    technology = 2
    memories: ClassVar[Mapping[str, int]] = {"SM": 20, "ME": 100, "SR": 20}
    full_word = '^SMMEMFULL: "{}"'
    packs_ussd = True
    noise: Mapping[str, float] = {"^BOOT:37364192,0,0,0,6": 3.0, "^RSSI:19": 10.0}
    sim_words = ("^SIMST:1",)
    ready_words = ("^SRVST:2", "^MODE:5,4")
    gone_words = ("^SIMST:255",)
    babble = (
        "^RSSI:18",
        "^BOOT:37364192,0,0,0,6",
        "^MODE:5,4",
        "^DSFLOWRPT:0000001A,00000000,00000000,0,0,0,0",
        "^STIN:0,0,0",
    )
    # When in a call sound begins: the far end rings, or has answered.
    sound_from: ClassVar[tuple[Stat, ...]] = (Stat.ACTIVE,)
    # The last field of ^CEND, which some firmware leaves out.
    tells_cause: ClassVar[bool] = True
    # A result code behind ^CEND when the far end hung up.
    tells_result: ClassVar[bool] = True
    # AT+VTS works, and AT^DDTMFCFG.
    has_vts: ClassVar[bool] = True
    hears_keys: ClassVar[bool] = False
    # Of two calls, the one that goes on when the other ends is silent.
    mutes_the_other: ClassVar[bool] = False

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._chance = random.Random(profile.imei)

    def forget(self) -> None:
        super().forget()
        # By AT^DDSETEX, for this call.
        self.voice_open = False
        self.hearing = False
        # By index, from when on it was connected.
        self._connected_at: dict[int, float] = {}

    # --- what it tells ---

    def tell(self, line: str | bytes) -> None:
        """AT^CURC=0 silences Huawei's own news, AT^PORTSEL=0 sends all to the modem port, which is not on the bench.

        A dead interpreter has no say in noise.
        """
        silenced = isinstance(line, str) and line.startswith("^") and self.setting("^CURC", "1") == "0"
        if not silenced and self.setting("^PORTSEL", "1") == "1" and (not self.dead or line in self.noise):
            super().tell(line)

    def tell_state(self, leg: Leg, stat: Stat | None = None) -> None:
        match leg.stat:
            case Stat.DIALING:
                self.tell(f"^ORIG:{leg.index},0")
            case Stat.ALERTING:
                self.tell(f"^CONF:{leg.index}")
            case Stat.ACTIVE:
                self._connected_at[leg.index] = self.now
                self.tell(f"^CONN:{leg.index},0")

    def tell_end(self, leg: Leg, cause: int, *, locally: bool) -> None:
        connected_at = self._connected_at.pop(leg.index, None)
        seconds = 0 if connected_at is None else int(self.now - connected_at)
        status = END_REJECTED if locally and cause == 21 else END_NORMAL
        self.tell(f"^CEND:{leg.index},{seconds},{status}" + (f",{cause}" if self.tells_cause else ""))
        if self.tells_result:
            super().tell_end(leg, cause, locally=locally)
        if self.voice_open and self.in_call and self.mutes_the_other:
            self.voice_open = False
        if self.voice_open and not self.in_call:
            self.voice_open = False
            noise = self._chance.randbytes(LEFTOVER_BYTES)
            self.agenda.at(self.now + LEFTOVER_AFTER_S, lambda: self.orders.append(Leftover(noise)))

    def signal_told(self) -> None:
        self.tell(f"^RSSI:{self.rssi}")

    def pressed(self, key: str) -> None:
        if self.hearing:
            self.tell(f"^DDTMF: {key}")

    def listed(self, leg: Leg) -> str:
        """A withheld number has no type."""
        return leg.listed() if leg.number else leg.listed().removesuffix("128") + ',""'

    def refusal(self, refused: Refused) -> str | None:
        match refused:
            case Unknown():
                return "COMMAND NOT SUPPORT"
            case TooMany():
                return "TOO MANY PARAMETERS"
        return None

    # --- sound and keys ---

    @property
    def audio(self) -> AudioPath | None:
        return AudioPath.PCM if self.voice_open and self.legs(*self.sound_from) else None

    def open_voice(self) -> None:
        """AT^DDSETEX: once before is said OK to, and forgotten by the call [inferred]."""
        if not self.profile.voice:
            raise Refused
        self.voice_open = self.in_call


class E1550(Huawei):
    title = "E1550"
    firmware = "11.608.14.15.311"
    usb = Usb(0x12D1, 0x1001, "HUAWEI Mobile", {0: "modem", 1: "pcm", 2: "at", 3: "storage"}, unswitched=0x1446)
    rest_s = 0.02
    tells_cause = False
    tells_result = False
    has_vts = False
    mutes_the_other = True


class E173(Huawei):
    title = "E173"
    firmware = "11.126.85.00.209"
    usb = Usb(0x12D1, 0x1436, "HUAWEI Mobile", {0: "modem", 3: "pcm", 4: "at", 5: "storage"}, unswitched=0x1446)
    # Ringback is heard.
    sound_from = (Stat.ALERTING, Stat.ACTIVE)
    hears_keys = True


class E3131(Huawei):
    title = "E3131"
    firmware = "21.157.31.00.521"
    usb = Usb(
        0x12D1, 0x1506, "HUAWEI Mobile", {0: "modem", 1: "net", 2: "pcm", 3: "at", 4: "storage"}, unswitched=0x14FE
    )
    # +CRING: VOICE in place of RING from the start.
    settings = Huawei.settings | {"+CRC": Setting("(0,1)", "1")}
    # A limit of 2 s was too short for it.
    delays_s: ClassVar[Mapping[str, float]] = {"A": 3.0}
    noise: Mapping[str, float] = {**Huawei.noise, '^HCSQ:"WCDMA",40,33,58': 7.0}
    has_vts = False


# --- commands of Huawei's own ---

HUAWEI.update(dict.fromkeys(("+CEREG", "+CIREG", "+CESQ", "+CCID", "+QCCID"), absent))


@HUAWEI.command("^CVOICE")
def _voice_capability(module: Huawei, asked: Command) -> list[str]:
    """0, then rate, bits and milliseconds; 1 is none: locked to data, or without a codec."""
    match asked.kind:
        case Kind.TEST:
            return ["^CVOICE:(0)"]
        case Kind.READ:
            return ["^CVOICE:0,8000,16,20" if module.profile.voice else "^CVOICE:1"]
    only(asked, Kind.SET)
    if not module.profile.voice or asked.text != "0":
        raise Refused
    return []


@HUAWEI.command("^DDSETEX")
def _open_voice(module: Huawei, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["^DDSETEX:(2)"]
    only(asked, Kind.SET)
    if asked.text != "2":
        raise Refused(50)
    module.open_voice()
    return []


@HUAWEI.command("^DTMF")
def _send_key(module: Huawei, asked: Command) -> list[str]:
    """^DTMF=<call>,<key>. A letter is said OK to, and sent as a 2."""
    only(asked, Kind.SET)
    index, key = asked.number(0), asked.argument(1).upper()
    leg = module.calls.get(index)
    if leg is None or leg.stat is not Stat.ACTIVE or len(key) != 1 or key not in KEYS:
        raise Refused
    module.press("2" if key.isalpha() else key)
    return []


@HUAWEI.command("+VTS")
def _send_keys(module: Huawei, asked: Command) -> list[str]:
    if not module.has_vts:
        raise Refused
    return CALLS["+VTS"](module, asked)


@HUAWEI.command("^DDTMFCFG")
def _hear_keys(module: Huawei, asked: Command) -> list[str]:
    """0,1 switches the detector on, 1,0 off."""
    if not module.hears_keys:
        raise Unknown
    only(asked, Kind.SET)
    if asked.text not in ("0,1", "1,0"):
        raise Refused(50)
    module.hearing = asked.text == "0,1"
    return []


@HUAWEI.command("+CHLD")
def _hold(module: Huawei, asked: Command) -> list[str]:
    """E1550: dropping a call by its index before ^CONF kills the interpreter; noise goes on."""
    dialing = [f"1{leg.index}" for leg in module.legs(Stat.DIALING)]
    if isinstance(module, E1550) and asked.kind is Kind.SET and asked.text in dialing:
        module.dead = True
        return []
    return CALLS["+CHLD"](module, asked)


@HUAWEI.command("^CPIN")
def _pin_state(module: Huawei, asked: Command) -> list[str]:
    """<state>,<left for it>,<left for PUK, PIN, PUK2, PIN2>."""
    only(asked, Kind.READ)
    if not module.profile.sim or module.booting:
        module.need_sim()
    left = {Pin.READY: "", Pin.PIN: str(module.pin_tries), Pin.PUK: "10"}[module.pin]
    return [f"^CPIN: {module.pin.value},{left},10,{module.pin_tries},10,3"]


@HUAWEI.command("^ICCID")
def _card_number(module: Huawei, asked: Command) -> list[str]:
    only(asked, Kind.READ)
    module.need_sim()
    return [f"^ICCID: {module.profile.iccid}"]


@HUAWEI.command("^SYSINFO")
def _system(module: Huawei, asked: Command) -> list[str]:
    """Service, domain, roaming, mode, SIM state, and two of the mode's parts."""
    only(asked, Kind.ACT)
    return [f"^SYSINFO:{2 if module.registered else 0},3,{module.stat == 5:d},5,{module.pin is Pin.READY:d},,4"]


@HUAWEI.command("I")
def _identify(module: Huawei, asked: Command) -> list[str]:
    lines = (
        f"Manufacturer: {module.maker}",
        f"Model: {module.title}",
        f"Revision: {module.version}",
        f"IMEI: {module.profile.imei}",
        "+GCAP: +CGSM,+DS,+ES",
    )
    return ["\r\n".join(lines)]
