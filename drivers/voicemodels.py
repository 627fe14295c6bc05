"""What each voice modem does its own way, as data: a new device is a row."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from drivers.models import Sound, UsbId
from native import VoiceFormat

# V.250 and V.253: what a modem may say unasked.
VOICE_URCS = (
    "RING",
    "DATE",
    "TIME",
    "NMBR",
    "NAME",
    "MESG",
    "DRON",
    "DROF",
    "NO CARRIER",
    "BUSY",
    "NO ANSWER",
    "NO DIALTONE",
    "NO DIAL TONE",
    "RINGING",
)

# Off-hook waits for the end of a ring, or of three (USR5637), and ATD for the dial tone and for each digit.
VOICE_LIMITS_S = {"AT": 5, "AT+VLS=1": 20, "ATA": 20, "ATD": 30, "ATZ": 8, "AT+VTS": 8}


@dataclass(frozen=True)
class VoiceModel:
    """`set_up` is sent in order in class 0, `set_up_voice` in class 8; what is refused is logged. `{}` of `choose` are
    the number of the format and its rate; `formats` are in order of preference.

    `leave` are the sequences that end the duplex stream, the one that works first. `loop_codes` say that the line's
    current was interrupted. A caller's number is told behind the first ring, or after `number_after_rings`. `keys`: it
    tells them as codes; if not, the engine listens for them.
    """

    title: str
    who: tuple[str, ...]
    set_up: tuple[str, ...]
    set_up_voice: tuple[str, ...]
    formats: tuple[VoiceFormat, ...]
    choose: str
    leave: tuple[bytes, ...]
    loop_codes: str
    number_after_rings: int = 1
    keys: bool = True
    usb: tuple[UsbId, ...] = ()
    sound: tuple[Sound, ...] = (Sound.AT,)
    # As drivers.models.Model's: none of them has an order to start anew; its way out is DTR.
    reset: str = ""

    def limit_s(self, command: str) -> float:
        """Of all rows that the command begins with, the longest is the closest."""
        return VOICE_LIMITS_S[max((prefix for prefix in VOICE_LIMITS_S if command.startswith(prefix)), key=len)]


COMMON_SET_UP = (
    # Nobody answers but us.
    "ATS0=0",
    # Dropping DTR hangs up, whatever state the modem is in.
    "AT&D2",
    # Long results, the speaker off, and a comma that lasts as long as people think.
    "ATM0",
    "ATS8=2",
    # Who calls, in lines of text; where the country has cadences that mean something, these too.
    "AT+VCID=1",
    "AT+VDR=1,15",
)
COMMON_SET_UP_VOICE = (
    # Else the modem falls back to data, in the midst of a call in which nobody types.
    "AT+VIT=0",
    "AT+VNH=0",
    "AT+VTD=10",
)

DUPLEX_END, RECEIVE_END, TRANSMIT_END = b"\x10^", b"\x10!", b"\x10\x03"
# Needed by a Zoom 3095, whose manual says two.
ZOOM_END = b"\x10\x10\x10\x03"

# What +VSM calls them, without what is neither letter nor digit; and their bits, where the name leaves them open.
_FORMATS: tuple[tuple[re.Pattern[str], int | None, VoiceFormat], ...] = (
    (re.compile("16BITLINEAR|16BITPCM"), None, VoiceFormat.L16),
    (re.compile("SIGNEDPCM"), 16, VoiceFormat.L16),
    (re.compile("UNSIGNEDPCM|8BITLINEAR"), 8, VoiceFormat.U8),
    (re.compile(".*(ULAW|G711U).*"), None, VoiceFormat.PCMU),
    (re.compile(".*(ALAW|G711A).*"), None, VoiceFormat.PCMA),
)
RATE_HZ = 8000
_OFFER = re.compile(r'(?:\+VSM:)? *(\d+) *, *"([^"]*)" *(.*)')


def offers(lines: Iterable[str]) -> Mapping[VoiceFormat, int]:
    """The formats of `AT+VSM=?` that the engine knows and that exist at 8000 Hz, with the modem's number for each:

    128,"8-BIT LINEAR",(7200,8000,11025)        +VSM:131,"ULAW",8,0,8000,0,0
    """
    found: dict[VoiceFormat, int] = {}
    for line in lines:
        if (offer := _OFFER.match(line)) is None:
            continue
        number, name, rest = offer.groups()
        figures = [int(figure) for figure in re.findall(r"\d+", rest)]
        bits = figures[0] if figures and figures[0] <= 16 else None
        known = _format_of(re.sub(r"[^0-9A-Z]", "", name.upper()), bits)
        if known is not None and (RATE_HZ in figures or not any(figure > 1000 for figure in figures)):
            found.setdefault(known, int(number))
    return found


def _format_of(name: str, bits: int | None) -> VoiceFormat | None:
    for pattern, its_bits, format in _FORMATS:
        if pattern.fullmatch(name) and (bits is None or its_bits in (None, bits)):
            return format
    return None


_LINEAR_FIRST = (VoiceFormat.L16, VoiceFormat.PCMU, VoiceFormat.PCMA, VoiceFormat.U8)
_CX_END = (DUPLEX_END, TRANSMIT_END, RECEIVE_END)

VOICE_MODELS: Mapping[str, VoiceModel] = {
    "usr5637": VoiceModel(
        title="USRobotics USR5637",
        who=("ATI3", "ATI7"),
        set_up=COMMON_SET_UP,
        set_up_voice=("AT+VSD=128,0", *COMMON_SET_UP_VOICE),
        formats=_LINEAR_FIRST,
        choose="AT+VSM={},{}",
        leave=(TRANSMIT_END, DUPLEX_END, RECEIVE_END),
        # Has no `l`: the line's current, with no telephone on its second jack.
        loop_codes="h",
        usb=(UsbId(0x0BAF, 0x0303, at=0),),
    ),
    "cx93010": VoiceModel(
        title="Conexant CX93010, CX93001",
        who=("AT+GMM", "ATI3"),
        set_up=(*COMMON_SET_UP, "AT-SCID=1;+VCID=1;-STE=3"),
        set_up_voice=("AT+VSD=0,0", *COMMON_SET_UP_VOICE),
        # Not requantised on the way: what the network has is G.711.
        formats=(VoiceFormat.PCMU, VoiceFormat.PCMA, VoiceFormat.U8),
        choose="AT+VSM={},{},0,0",
        leave=_CX_END,
        loop_codes="lh",
        usb=(UsbId(0x0572, 0x1340, at=0), UsbId(0x0572, 0x1329, at=0), UsbId(0x0572, 0x1321, at=0)),
    ),
    "zoom3095": VoiceModel(
        title="Zoom 3095",
        who=("AT+GMM", "ATI3"),
        set_up=(*COMMON_SET_UP, "AT-SCID=1;+VCID=1;-STE=3"),
        set_up_voice=("AT+VSD=0,0", *COMMON_SET_UP_VOICE),
        formats=(VoiceFormat.U8, VoiceFormat.PCMU, VoiceFormat.PCMA),
        choose="AT+VSM={},{},0,0",
        leave=(DUPLEX_END, ZOOM_END, TRANSMIT_END, RECEIVE_END),
        loop_codes="lh",
        number_after_rings=2,
        usb=(UsbId(0x0803, 0x3095, at=0),),
    ),
    "v253": VoiceModel(
        title="any modem with ITU-T V.253",
        who=("AT+GMM", "AT+GMR"),
        set_up=COMMON_SET_UP,
        set_up_voice=("AT+VSD=128,0", *COMMON_SET_UP_VOICE),
        formats=_LINEAR_FIRST,
        choose="AT+VSM={},{}",
        leave=(DUPLEX_END, TRANSMIT_END, ZOOM_END, RECEIVE_END),
        loop_codes="lh",
    ),
}
