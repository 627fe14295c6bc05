"""What each family of GSM and LTE devices does its own way, as data: a new device is a row (docs/drivers.md).

Sources are the vendors' manuals and their users' drivers, as collected in modems.md A1-A6; [mem] marks what stands in
none of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


class When(Enum):
    """When a device takes the command that switches a call's audio on; at any other time it refuses it."""

    # There is no such command: the audio is wired to a sound card.
    WIRED = "wired"
    BEFORE_ORDER = "before ATD and ATA"
    AFTER_ORDER = "after ATD and ATA"
    IN_CALL = "in the call"


@dataclass(frozen=True)
class Switch:
    """How a call's audio is switched on and off.

    `off` comes after each call; the first command that is taken is enough. With `off_first` it comes before the
    hang-up, too. `ability` asks whether the device has voice at all, which it has when the answer matches `able`; if
    not, `enable` is tried once. `degrades`: the device's audio may not outlive a call; if so, `on` is refused at
    first in a later one, and only the model's `reset` helps.
    """

    when: When = When.WIRED
    on: str = ""
    off: tuple[str, ...] = ()
    off_first: bool = False
    ability: str = ""
    able: str = ""
    enable: str = ""
    degrades: bool = False
    # The device's own step on a tty: 640 are 40 ms.
    chunk_bytes: int = 640


@dataclass(frozen=True)
class Model:
    """`set_up` and `after_registration` are sent in order; one that is refused is logged, and one of `set_up` tried
    again some times. `survey` asks who and how strong the network is, and whether it takes calls.

    `urcs` are the prefixes of what means something unasked, `noise` of what does not. `hears_keys` switches the
    device's own detector of keys on; where there is none, or it is refused, the media engine's is used. Of questions
    that vary with the firmware (`iccid`, `pin_tries`) and ways to hang up, the first that is not refused counts.
    """

    title: str
    # As its owners call it: what has no voice is "this stick".
    noun: str
    usb: tuple[UsbId, ...]
    # By the kinds of audio that it can have; the first is what is meant when a configuration does not say.
    audio: Mapping[Sound, Switch]
    urcs: tuple[str, ...]
    noise: tuple[str, ...]
    set_up: tuple[str, ...]
    after_registration: tuple[str, ...]
    survey: tuple[str, ...]
    iccid: tuple[str, ...]
    pin_tries: tuple[str, ...]
    hears_keys: str
    # For one key, and the index of the call.
    dtmf: str
    limits_s: Mapping[str, float]
    # That it sends: Huawei says OK to letters, and sends a 2.
    keys: str = "0123456789*#ABCD"
    # It says unasked when a call is answered; of others that is known by AT+CLCC alone.
    tells_states: bool = True
    hang_up: tuple[str, ...] = ("AT+CHUP",)
    # After these it needs a rest before the next command.
    pauses_s: Mapping[str, float] = field(default_factory=dict)
    # Its AT+CUSD wants and gives packed septets in hexadecimal, whatever AT+CSCS says.
    packs_ussd: bool = False
    # Starts the device anew, which then leaves the bus and comes back. Empty: there is no such command.
    reset: str = "AT+CFUN=1,1"

    @property
    def sound(self) -> tuple[Sound, ...]:
        return tuple(self.audio)

    def limit_s(self, command: str) -> float:
        """Of all rows that the command begins with, the longest is the closest."""
        return self.limits_s[max((prefix for prefix in self.limits_s if command.startswith(prefix)), key=len)]

    def pause_s(self, command: str) -> float:
        return next((pause_s for prefix, pause_s in self.pauses_s.items() if command.startswith(prefix)), 0)


# 27.007 and V.250: what any GSM module may say unasked.
COMMON_URCS = (
    "RING",
    "+CRING:",
    "+CLIP:",
    "+CCWA:",
    "+CREG:",
    "+CGREG:",
    "+CEREG:",
    "+CIREGU:",
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
    "ATH": 15,
    "AT+CHLD": 15,
    "ATD": 90,
}

COMMON_SET_UP = (
    # Nobody answers but us, whatever profile was stored.
    "ATS0=0",
    # Numbers and names as text, whoever used UCS2 before us.
    'AT+CSCS="GSM"',
    "AT+CLIP=1",
    "AT+CRC=1",
    "AT+CREG=2",
    "AT+COPS=3,0",
)
# One voice channel: a second caller hears busy instead of muting the first.
NO_WAITING = ("AT+CCWA=0,0,1",)
# Or he hears that he waits, which the network tells him and the module us.
WAITING = ("AT+CCWA=1,1,1",)
SURVEY = ("AT+CREG?", "AT+CSQ", "AT+COPS?")
LTE_SURVEY = ("AT+CREG?", "AT+CEREG?", "AT+CIREG?", "AT+CSQ", "AT+COPS?")
# 27.007 8.65.
COMMON_PIN_TRIES = ('AT+CPINR="SIM PIN"',)

WIRED = {Sound.CARD: Switch()}


# --- Huawei: E1550, E173, E3131 and their kin (A3) ---


def _huawei(title: str, *usb: UsbId) -> Model:
    return Model(
        title=title,
        noun="stick",
        usb=usb,
        audio={
            Sound.PCM: Switch(
                When.AFTER_ORDER,
                on="AT^DDSETEX=2",
                # Many are sold locked to data. `0,8000,16,20` is 8 kHz, 16 bits, 20 ms; `1` is no voice.
                ability="AT^CVOICE?",
                able=r"\^CVOICE: *\(?0",
                enable="AT^CVOICE=0",
                chunk_bytes=320,
            )
        },
        urcs=(*COMMON_URCS, "^ORIG:", "^CONF:", "^CONN:", "^CEND:", "^DDTMF:", "^SIMST:", "^SMMEMFULL:"),
        # Every few seconds, between a command and its answer, too.
        noise=("^RSSI:", "^BOOT:", "^MODE:", "^SRVST:", "^HCSQ:", "^CSNR:", "^DSFLOWRPT:", "^STIN:", "^EARST:"),
        # [mem] The news of calls, should another program have switched it off with the rest.
        set_up=("AT^CURC=1", *COMMON_SET_UP),
        after_registration=NO_WAITING,
        survey=SURVEY,
        iccid=("AT^ICCID?", "AT+CCID"),
        pin_tries=("AT^CPIN?", *COMMON_PIN_TRIES),
        hears_keys="AT^DDTMFCFG=0,1",
        # AT+VTS is refused by some.
        dtmf="AT^DTMF={index},{key}",
        keys="0123456789*#",
        limits_s=COMMON_LIMITS_S,
        pauses_s={"AT+CHUP": 0.1, "AT+CMGS": 0.1},
        packs_ussd=True,
    )


# --- Quectel (A4) ---


def _qpcmv(port: int) -> Switch:
    """Firmware without voice refuses to switch it on and off alike. One port is refused while another is on, and a
    call for which it was not switched on anew is silent.
    """
    return Switch(
        When.BEFORE_ORDER,
        on=f"AT+QPCMV=1,{port}",
        off=("AT+QPCMV=0",),
        ability="AT+QPCMV=0",
        enable=f"AT+QPCMV=1,{port}",
    )


def _quectel(title: str, *products: tuple[int, int], lte: bool = True, ccinfo: bool = True) -> Model:
    return Model(
        title=title,
        noun="module",
        # Interface 1 is the NMEA port as well.
        usb=tuple(UsbId(vendor, product, at=2, pcm=1) for vendor, product in products),
        audio={Sound.PCM: _qpcmv(0), Sound.CARD: _qpcmv(2)},
        urcs=(*COMMON_URCS, "+QIND:", "^DSCI:", "+QTONEDET:", "+QPCMV:", "POWERED DOWN"),
        noise=("+QUSIM:",),
        set_up=(
            # The URCs go to one port only, and a reset may forget which.
            'AT+QURCCFG="urcport","usbat"',
            *COMMON_SET_UP,
            # GNSS shares interface 1 with the PCM: its sentences would be heard.
            'AT+QGPSCFG="outport","none"',
            # The third field: not kept over a reset.
            *(('AT+QINDCFG="ccinfo",1,0',) if ccinfo else ()),
            'AT+QINDCFG="csq",1,0',
            # EP06 and others of the family have no ccinfo.
            "AT^DSCI=1",
            # Sidetone is echo to whoever listens on the PCM.
            "AT+QSIDET=0",
            *(("AT+CEREG=2",) if lte else ()),
        ),
        after_registration=NO_WAITING,
        survey=("AT+CREG?", "AT+CEREG?", 'AT+QCFG="ims"', "AT+CSQ", "AT+COPS?") if lte else SURVEY,
        iccid=("AT+QCCID", "AT+CCID"),
        pin_tries=('AT+QPINC="SC"', *COMMON_PIN_TRIES),
        hears_keys="AT+QTONEDET=1",
        dtmf='AT+VTS="{key}"',
        limits_s=COMMON_LIMITS_S,
    )


# --- SIMCom (A5) ---

SIMCOM_URCS = (
    *COMMON_URCS,
    "+CLCC:",
    "VOICE CALL",
    "MISSED_CALL:",
    "+RXDTMF:",
    "+DTMF:",
    "+SIMCARD:",
    "NORMAL POWER DOWN",
    "UNDER-VOLTAGE",
)
# At boot and of the network, some of it with nothing before it.
SIMCOM_NOISE = (
    *("+CNSMOD:", "+CSQN:", "*PSUTTZ:", "*PSNWID:", "+CTZV:", "+CTZE:", "DST:", "SMS DONE", "PB DONE", "SMS Ready"),
    *("Call Ready", "OVER-VOLTAGE", "*ATREADY:"),
)


def _simcom(title: str, *usb: UsbId, audio: Mapping[Sound, Switch], lte: bool, set_up: tuple[str, ...]) -> Model:
    return Model(
        title=title,
        noun="module",
        usb=usb,
        audio=audio,
        urcs=SIMCOM_URCS,
        noise=SIMCOM_NOISE,
        set_up=(*COMMON_SET_UP, *(("AT+CEREG=2",) if lte else ()), *set_up),
        after_registration=NO_WAITING,
        survey=LTE_SURVEY if lte else SURVEY,
        iccid=("AT+CICCID", "AT+CCID"),
        pin_tries=("AT+CPINC?", "AT+SPIC", *COMMON_PIN_TRIES),
        hears_keys="AT+DDET=1",
        dtmf="AT+VTS={key}",
        limits_s=COMMON_LIMITS_S,
        hang_up=("AT+CHUP", "ATH"),
        reset="AT+CRESET" if lte else "AT+CFUN=1,1",
        pauses_s={} if lte else {"AT+CHUP": 0.1, "ATH": 0.1, "AT+CMGS": 0.1},
    )


CPCMREG = Switch(
    When.IN_CALL,
    on="AT+CPCMREG=1",
    # Firmware V2 refuses the short form; the long one drops what is left at once.
    off=("AT+CPCMREG=0,1", "AT+CPCMREG=0"),
    off_first=True,
    ability="AT+CPCMREG?",
    degrades=True,
)

MODELS: Mapping[str, Model] = {
    # Some of 12d1:1001 have their ports elsewhere, as users tell.
    "e1550": _huawei("Huawei E1550", UsbId(0x12D1, 0x1001, at=2, pcm=1), UsbId(0x12D1, 0x1001, at=4, pcm=3)),
    "e173": _huawei(
        "Huawei E173, E17x, E1750, E153",
        UsbId(0x12D1, 0x1436, at=4, pcm=3),
        UsbId(0x12D1, 0x140C, at=3, pcm=2),
        UsbId(0x12D1, 0x14AC, at=4, pcm=3),
        UsbId(0x12D1, 0x1001, at=2, pcm=1),
    ),
    "e3131": _huawei("Huawei E3131, E171, E303, K3xxx", UsbId(0x12D1, 0x1506, at=3, pcm=2)),
    "uc20": _quectel("Quectel UC20, UC15", (0x05C6, 0x9003), (0x05C6, 0x9090), lte=False),
    "ec20": _quectel("Quectel EC20", (0x2C7C, 0x0125), (0x05C6, 0x9215)),
    "ec21": _quectel("Quectel EC21", (0x2C7C, 0x0121)),
    "ec25": _quectel("Quectel EC25", (0x2C7C, 0x0125)),
    "eg25": _quectel("Quectel EG25-G", (0x2C7C, 0x0125)),
    "eg91": _quectel("Quectel EG91", (0x2C7C, 0x0191)),
    "eg95": _quectel("Quectel EG95", (0x2C7C, 0x0195)),
    "ep06": _quectel("Quectel EP06, EG06", (0x2C7C, 0x0306), ccinfo=False),
    "sim7600": _simcom(
        "SIMCom SIM7600, SIM7500, SIM7100",
        UsbId(0x1E0E, 0x9001, at=2, pcm=4),
        # With an RNDIS network interface in front, all move by two.
        UsbId(0x1E0E, 0x9011, at=4, pcm=6),
        audio={Sound.PCM: CPCMREG},
        lte=True,
        # 8 kHz, where there is more.
        set_up=("AT+CLCC=1", "AT+CPCMFRM=0"),
    ),
    "sim800": _simcom("SIMCom SIM800", audio=WIRED, lte=False, set_up=("AT+CLCC=1",)),
    "sim900": _simcom("SIMCom SIM900", audio=WIRED, lte=False, set_up=("AT+CLCC=1",)),
    "a7672": _simcom("SIMCom A7670, A7672", UsbId(0x1E0E, 0x9011, at=4), audio=WIRED, lte=True, set_up=("AT+CLCC=1",)),
    "generic": Model(
        title="a modem after 3GPP TS 27.007",
        noun="modem",
        usb=(),
        audio=WIRED,
        urcs=COMMON_URCS,
        noise=(),
        set_up=(*COMMON_SET_UP, "AT+CEREG=2"),
        after_registration=NO_WAITING,
        survey=LTE_SURVEY,
        iccid=("AT+CCID",),
        pin_tries=COMMON_PIN_TRIES,
        hears_keys="",
        dtmf="AT+VTS={key}",
        limits_s=COMMON_LIMITS_S,
        hang_up=("AT+CHUP", "ATH"),
        tells_states=False,
    ),
}
