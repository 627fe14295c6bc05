"""What the engine tells: which port heard, played or failed."""

from dataclasses import dataclass

from native._engine import lib
from native.callerid import Caller
from native.ports import Port
from native.terminals import VoicePort
from native.tones import ToneKind


@dataclass(frozen=True)
class Dtmf:
    """A key was pressed: one of `0-9*#A-D`."""

    port: Port
    digit: str


@dataclass(frozen=True)
class Tone:
    """A network's tone: told when it is certain, and again only after it has ended."""

    port: Port
    kind: ToneKind


@dataclass(frozen=True)
class ToneEnded:
    """What was told as a Tone has ceased, or has become another one."""

    port: Port
    kind: ToneKind


@dataclass(frozen=True)
class Voice:
    """Where a country's tones are looked for, something else has sounded for a while: somebody speaks."""

    port: Port


@dataclass(frozen=True)
class CallerId:
    """A line told who calls."""

    port: Port
    caller: Caller


@dataclass(frozen=True)
class Played:
    port: Port
    mark: int


@dataclass(frozen=True)
class Cleared:
    port: Port
    mark: int


@dataclass(frozen=True)
class Finished:
    """A player, not looping, has yielded its last sample."""

    port: Port


@dataclass(frozen=True)
class PortFailed:
    """Reading or writing failed: told once, the port is silent from now on. `errno` 0 is the end of the file."""

    port: Port
    errno: int


@dataclass(frozen=True)
class VoiceCode:
    """A voice modem said `<DLE>code`: `b` busy, `d` dial tone, `l` the line's current was interrupted, and more."""

    port: Port
    code: str


@dataclass(frozen=True)
class VoiceReport:
    """Lines of text that a voice modem sent between `<DLE>X` and `<DLE>.`: a caller's number, a cadence."""

    port: Port
    text: str


@dataclass(frozen=True)
class StreamEnded:
    """A voice modem's stream is over: the port is silent, `beyond` and the tty belong to the AT dialogue."""

    port: Port


Event = (
    Dtmf
    | Tone
    | ToneEnded
    | Voice
    | CallerId
    | Played
    | Cleared
    | Finished
    | PortFailed
    | VoiceCode
    | VoiceReport
    | StreamEnded
)


def event_of(port: Port, kind: int, value: int) -> Event | None:
    match kind:
        case lib.EVENT_CALLER_ID:
            caller = port._take_caller()
            return None if caller is None else CallerId(port, caller)
        case lib.EVENT_DTMF:
            return Dtmf(port, chr(value))
        case lib.EVENT_TONE:
            return Tone(port, ToneKind(value))
        case lib.EVENT_TONE_END:
            return ToneEnded(port, ToneKind(value))
        case lib.EVENT_VOICE:
            return Voice(port)
        case lib.EVENT_PLAYED:
            return Played(port, value)
        case lib.EVENT_CLEARED:
            return Cleared(port, value)
        case lib.EVENT_FINISHED:
            return Finished(port)
        case lib.EVENT_CODE:
            return VoiceCode(port, chr(value))
        case lib.EVENT_REPORT if isinstance(port, VoicePort):
            return VoiceReport(port, port._end_report())
        case lib.EVENT_ENDED if isinstance(port, VoicePort):
            port._end_report()
            return StreamEnded(port)
        case _:
            return PortFailed(port, value)
