"""What a voice modem asks of the world around it, and what can go wrong with it: values, and nothing else."""

from dataclasses import dataclass
from typing import ClassVar

from hil.exchange import LineFaults
from hil.faults import Faults
from hil.voicestream import Mode
from native import Cadence, VoiceFormat


@dataclass(frozen=True)
class Say:
    """Bytes for the host."""

    data: bytes


@dataclass(frozen=True)
class Hook:
    off: bool


@dataclass(frozen=True)
class Key:
    """A key's tone on the line."""

    key: str
    ms: int


@dataclass(frozen=True)
class Sing:
    """Any other tone."""

    cadence: Cadence


@dataclass(frozen=True)
class Open:
    """The stream begins: its sound is shielded, in this format, which if `signed` is around 0."""

    mode: Mode
    format: VoiceFormat
    signed: bool = False


@dataclass(frozen=True)
class Close:
    pass


@dataclass(frozen=True)
class Play:
    """Shielded sound for the line."""

    data: bytes


@dataclass(frozen=True)
class Drop:
    """What was to be played and was not yet."""


@dataclass(frozen=True)
class PlayOut:
    """Tell by `VoiceModem.played` when there is nothing left to play."""


Effect = Say | Hook | Key | Sing | Open | Close | Play | Drop | PlayOut


@dataclass
class VoiceFaults(Faults, LineFaults):
    """What goes wrong between a voice modem, its host and its exchange."""

    void: ClassVar[frozenset[str]] = frozenset(
        {"list_lag_s", "news_behind_list", "early_answer", "false_no_carrier", "audio_refused"}
        | {"flood_per_s", "nmea", "release_s", "choppy", "echo_db"}
    )
    # A firmware without voice, whatever the box says.
    no_voice: bool = False
    # What ends a stream is ignored; dropping DTR helps.
    exit_ignored: bool = False
    # As that, and DTR does not help either: only power does.
    wedged: bool = False
    # So many more rings are told behind an order to go off hook, before it is carried out.
    late_rings: int = 0
    # Says OK, and stays off hook; dropping DTR helps.
    stuck_off_hook: bool = False
    # While it plays it says these codes in turn, one a second, whatever the line does.
    spurious: str = ""
    # The loop's interruption is not told.
    no_loop_code: bool = False
