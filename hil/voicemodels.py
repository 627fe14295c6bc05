"""What each voice modem of the bench says of itself, and what it does its own way: a new device is a row.

Marked figures of modems.md B1 to B4 count; what no source has is our choice, and stands with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hil.board import Usb
from native import VoiceFormat

# ITU-T T.35 annex A: what AT+GCI takes. Estonia has none of its own there.
T35: Mapping[str, str] = {
    "AU": "09", "BR": "16", "CA": "20", "CN": "26", "CZ": "2E", "DE": "42", "DK": "31", "ES": "A0", "FI": "3C",
    "FR": "3D", "GB": "B4", "GR": "46", "HK": "50", "IN": "53", "IT": "59", "JP": "00", "NL": "7B", "RU": "B8",
    "SE": "A5", "US": "B5",
}  # fmt: skip

ETX, CAN, SUB, ESC, FS, DLE = 0x03, 0x18, 0x1A, 0x1B, 0x1C, 0x10


@dataclass(frozen=True)
class Sampling:
    """One line of `AT+VSM=?`, behind its number. `format` None: the bench does not make its sound. `signed`: its bytes
    are around 0 and not around 128.
    """

    listed: str
    format: VoiceFormat | None
    rates_hz: tuple[int, ...] = (8000,)
    signed: bool = False


@dataclass(frozen=True)
class VoiceModel:
    usb: Usb | None
    # By the number behind ATI; others are an empty OK.
    identity: Mapping[int, str]
    # +GMI, +GMM, +GMR; +FMI, +FMM, +FMR are the same.
    manufacturer: str
    model: str
    revision: str
    # What AT+FCLASS=? prints, and what is left of it in a firmware without voice.
    classes: str
    data_classes: str
    samplings: Mapping[int, Sampling]
    # The one chosen at power-on.
    sampling: int
    # Settings that are not the common ones: AT+VSD, AT+VIT.
    defaults: Mapping[str, str]
    # Begin answers of +V commands with the command's name.
    prefixed: bool
    # ATA and ATD in class 8 end so.
    connected: str
    no_dial_tone: str
    # What ends +VTR, +VRX, +VTX; and how many DLE the last one takes, of which a pair is one byte of sound.
    ends_duplex: int
    ends_receive: frozenset[int]
    transmit_end_dles: int
    # The event codes that it knows. Keys are in every one.
    codes: frozenset[str]
    # What is told of a loop's current: interrupted, and there again. Codes that it does not know are not told.
    loop_codes: tuple[str, str]
    # What it says by itself once it is off hook.
    lifted_code: str
    # `<DLE>/`, the digit every 70 ms, `<DLE>~`; or just the digit.
    shields_keys: bool
    # <DLE><SUB> for two 0x10.
    packs_dles: bool
    # In class 8 a ring is <DLE>R, and a caller's number a report; or as in class 0.
    rings_by_code: bool
    reports_by_code: bool
    # NMBR=... or NMBR = ...
    spaced_caller_id: bool
    # A number is told behind so many rings at the earliest.
    caller_id_after_rings: int = 1
    # Cannot go off hook while the ringing voltage is on: takes the line when it pauses.
    lifts_in_pause: bool = False
    # S29, in 10 ms.
    flash: int = 50


_CX_SAMPLINGS = {
    0: Sampling('"SIGNED PCM",8,0,8000,0,0', VoiceFormat.U8, signed=True),
    1: Sampling('"UNSIGNED PCM",8,0,8000,0,0', VoiceFormat.U8),
    129: Sampling('"IMA ADPCM",4,0,8000,0,0', None),
    130: Sampling('"UNSIGNED PCM",8,0,8000,0,0', VoiceFormat.U8),
    131: Sampling('"Mu-Law",8,0,8000,0,0', VoiceFormat.PCMU),
    132: Sampling('"A-Law",8,0,8000,0,0', VoiceFormat.PCMA),
    # Left-justified, so 16 bits of which the last two mean nothing.
    133: Sampling('"14 bit PCM",14,0,8000,0,0', VoiceFormat.L16),
}
_USR_RATES = (7200, 8000, 11025)
_USR_SAMPLINGS = {
    128: Sampling('"8-BIT LINEAR",(7200,8000,11025)', VoiceFormat.U8, _USR_RATES),
    129: Sampling('"16-BIT LINEAR",(7200,8000,11025)', VoiceFormat.L16, _USR_RATES),
    130: Sampling('"8-BIT ALAW",(8000)', VoiceFormat.PCMA),
    131: Sampling('"8-BIT ULAW",(8000)', VoiceFormat.PCMU),
    132: Sampling('"IMA ADPCM",(7200,8000,11025)', None, _USR_RATES),
    133: Sampling('"G.729",(8000)', None),
}
_STD_SAMPLINGS = {
    0: Sampling('"SIGNED PCM",8,0,(7200,8000,11025),(0),(0)', VoiceFormat.U8, _USR_RATES, signed=True),
    1: Sampling('"UNSIGNED PCM",8,0,(7200,8000,11025),(0),(0)', VoiceFormat.U8, _USR_RATES),
    4: Sampling('"G.711U",8,0,(8000),(0),(0)', VoiceFormat.PCMU),
    5: Sampling('"G.711A",8,0,(8000),(0),(0)', VoiceFormat.PCMA),
    128: Sampling('"IMA ADPCM",4,0,(8000),(0),(0)', None),
}

_CX = VoiceModel(
    # 0572:1329 and :1321 are the same.
    usb=Usb(0x0572, 0x1340, "Conexant CX93010", {0: "at"}),
    identity={0: "56000", 3: "CX93001-EIS_V0.2013-V92"},
    manufacturer="CONEXANT",
    model="V90",
    revision="CX93001-EIS_V0.2013-V92",
    classes="0,1,1.0,2,8",
    data_classes="0,1,1.0,2",
    samplings=_CX_SAMPLINGS,
    sampling=130,
    # Not 0, as users learn who find the stream over by itself; how much is our choice.
    defaults={"+VIT": "60", "+VSD": "0,50"},
    prefixed=False,
    connected="VCON",
    no_dial_tone="NO DIALTONE",
    ends_duplex=ord("^"),
    ends_receive=frozenset({ord("!"), ESC}),
    transmit_end_dles=1,
    codes=frozenset("RabcdefhHJKlLpPqrsuoTX"),
    loop_codes=("l", ""),
    lifted_code="",
    shields_keys=True,
    packs_dles=True,
    rings_by_code=True,
    reports_by_code=False,
    spaced_caller_id=True,
)

VOICE_MODELS: Mapping[str, VoiceModel] = {
    "usr5637": VoiceModel(
        usb=Usb(0x0BAF, 0x0303, "USRobotics USR5637", {0: "at"}),
        # ATI3 and ATI7 as the box says it: no source has their exact words.
        identity={0: "5601", 3: "U.S. Robotics 56K FAX USB V1.2.23", 7: "U.S. Robotics 56K FAX USB"},
        manufacturer="U.S. Robotics",
        model="U.S. Robotics 56K FAX USB V1.2.23",
        revision="V1.2.23",
        classes="(0,1,1.0,8)",
        data_classes="(0,1,1.0)",
        samplings=_USR_SAMPLINGS,
        sampling=129,
        defaults={"+VIT": "0", "+VSD": "128,50"},
        prefixed=False,
        connected="OK",
        no_dial_tone="NO DIAL TONE",
        ends_duplex=ETX,
        ends_receive=frozenset({ord("!")}),
        transmit_end_dles=1,
        codes=frozenset("RabcdehHqsuo"),
        loop_codes=("h", "H"),
        # Its manual has <DLE>H for a telephone lifted; it confirms its own AT+VLS=1 so, too.
        lifted_code="H",
        shields_keys=False,
        packs_dles=False,
        rings_by_code=False,
        reports_by_code=False,
        spaced_caller_id=False,
        lifts_in_pause=True,
    ),
    "cx93010": _CX,
    "zoom3095": replace(
        _CX,
        usb=Usb(0x0803, 0x3095, "Zoom 3095", {0: "at"}),
        identity={0: "56000", 3: "CX93001-EIS_V0.2002-V92"},
        revision="CX93001-EIS_V0.2002-V92",
        transmit_end_dles=3,
        caller_id_after_rings=2,
    ),
    # By the letter of the standard, and as talkative as it allows.
    "v253": VoiceModel(
        usb=None,
        # Anything that none takes for an old one of another command set.
        identity={0: "V.253 VOICE MODEM", 3: "V.253 VOICE MODEM"},
        manufacturer="GENERIC",
        model="V.253",
        revision="1.0",
        classes="(0,1,8)",
        data_classes="(0,1)",
        samplings=_STD_SAMPLINGS,
        sampling=1,
        defaults={"+VIT": "10", "+VSD": "128,50"},
        prefixed=True,
        connected="VCON",
        no_dial_tone="NO DIALTONE",
        ends_duplex=ord("^"),
        ends_receive=frozenset({ord("!"), ESC}),
        transmit_end_dles=1,
        codes=frozenset("RabcdefhHJKlLmpPqrstuoTwX"),
        loop_codes=("l", ""),
        lifted_code="",
        shields_keys=True,
        packs_dles=True,
        rings_by_code=True,
        reports_by_code=True,
        spaced_caller_id=False,
    ),
}
