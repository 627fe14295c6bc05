"""What each family of devices does its own way, as data: a new device is a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class UsbId:
    """How a device shows itself on the bus: which interface is what, by `bInterfaceNumber`. A device that has more
    than one such composition has a row for each.
    """

    vendor: int
    product: int
    at: int
    # None: no tty has a call's audio.
    pcm: int | None = None


class Sound(Enum):
    """Where a call's audio is, by the key that names it in the configuration."""

    # A tty of its own.
    PCM = "pcm"
    # A sound card: analog, or of the device itself (USB audio class).
    CARD = "card"
    # The tty of the commands (V.253).
    AT = "at"


@dataclass(frozen=True)
class Model:
    """`set_up` and `after_registration` are sent in order; one that is refused is logged, and one of `set_up` tried
    again some times. `survey` asks who and how strong the network is, and whether it takes calls.

    `audio_on` comes before ATD or ATA, `audio_off` after each call. `{}` in `dtmf` stands for one digit.
    """

    title: str
    urcs: tuple[str, ...]
    set_up: tuple[str, ...]
    after_registration: tuple[str, ...]
    survey: tuple[str, ...]
    iccid: str
    audio_on: str
    audio_off: str
    chunk_bytes: int
    hang_up: str
    dtmf: str
    limits_s: Mapping[str, float]
    usb: tuple[UsbId, ...] = ()
    # The kinds that it can have; the first is what is meant when a configuration does not say.
    sound: tuple[Sound, ...] = (Sound.PCM,)
    # Starts the device anew, which then leaves the bus and comes back. Empty: there is no such command.
    reset: str = "AT+CFUN=1,1"

    def limit_s(self, command: str) -> float:
        """Of all rows that the command begins with, the longest is the closest."""
        return self.limits_s[max((prefix for prefix in self.limits_s if command.startswith(prefix)), key=len)]


# 27.007 and V.250: what any GSM module may say unasked.
COMMON_URCS = (
    "RING",
    "+CRING:",
    "+CLIP:",
    "+CCWA:",
    "+CREG:",
    "+CGREG:",
    "+CEREG:",
    "+CPIN:",
    "+CFUN:",
    "+CMTI:",
    "+CUSD:",
    "+CSSI:",
    "+CSSU:",
    "NO CARRIER",
    "BUSY",
    "NO ANSWER",
    "NO DIALTONE",
    "NO DIAL TONE",
    "RDY",
)

# Limits from the field: +CSQ takes 5 s in an attach. Vendors allow themselves 90 s for call commands, and until then a
# byte typed may abort ATD and ATA (V.250 5.6.1): how long these are waited for is `drivers/watch.py`'s.
COMMON_LIMITS_S = {
    "AT": 5,
    "AT+CPIN": 20,
    "AT+CFUN": 20,
    # Asks the network, by way of a supplementary service transaction.
    "AT+CCWA": 20,
    "ATA": 90,
    "AT+CHUP": 15,
    "AT+CHLD": 15,
    "ATD": 90,
}

MODELS: Mapping[str, Model] = {
    "ec25": Model(
        title="Quectel EC25",
        urcs=(
            *COMMON_URCS,
            "+QIND:",
            "^DSCI:",
            "+QTONEDET:",
            "+QPCMV:",
            "+QUSIM:",
            "POWERED DOWN",
        ),
        set_up=(
            # Nobody answers but us, whatever profile was stored.
            "ATS0=0",
            # The URCs go to one port only, and a reset may forget which.
            'AT+QURCCFG="urcport","usbat"',
            # Numbers and names as text, whoever used UCS2 before us.
            'AT+CSCS="GSM"',
            # GNSS shares interface 1 with the PCM: its sentences would be heard.
            'AT+QGPSCFG="outport","none"',
            "AT+CLIP=1",
            "AT+CRC=1",
            # The third field: not kept over a reset.
            'AT+QINDCFG="ccinfo",1,0',
            'AT+QINDCFG="csq",1,0',
            # EP06 and others of the family have no ccinfo.
            "AT^DSCI=1",
            "AT+QTONEDET=1",
            # Sidetone is echo to whoever listens on the PCM.
            "AT+QSIDET=0",
            "AT+CREG=2",
            "AT+CEREG=2",
            "AT+COPS=3,0",
        ),
        # One voice channel: a second caller hears busy instead of muting the first.
        after_registration=("AT+CCWA=0,0,1",),
        survey=("AT+CREG?", "AT+CEREG?", 'AT+QCFG="ims"', "AT+CSQ", "AT+COPS?"),
        iccid="AT+QCCID",
        audio_on="AT+QPCMV=1,0",
        audio_off="AT+QPCMV=0",
        chunk_bytes=640,
        hang_up="AT+CHUP",
        dtmf='AT+VTS="{}"',
        limits_s=COMMON_LIMITS_S,
        usb=(UsbId(0x2C7C, 0x0125, at=2, pcm=1),),
        sound=(Sound.PCM, Sound.CARD),
    ),
}
