"""Sound cards, by libasound: which there are, and one at work. On any thread, which a driver may keep waiting."""

from dataclasses import dataclass
from typing import Any

from native._engine import ffi, lib
from native.terminals import DeviceLine

# What does not fit is not found; nobody has so many.
MOST_DEVICES = 256


class SoundError(Exception):
    """What was tried, and what ALSA said to it."""


@dataclass(frozen=True)
class SoundDevice:
    """`name` is for people: "USB Audio Device: USB Audio (hw:1,0)", or what ALSA's configuration calls one that is
    `configured` there, and may not work at all; `pcm` is what ALSA opens.
    """

    name: str
    pcm: str
    configured: bool


def sound_devices() -> list[SoundDevice]:
    """Those there are at this moment. Raises: SoundError: ALSA's configuration cannot be read."""
    found, why = ffi.new("sound_device[]", MOST_DEVICES), ffi.new("char[]", lib.SOUND_WORDS)
    count = lib.sound_look(found, MOST_DEVICES, why)
    if count < 0:
        raise SoundError(_text(why))
    return [SoundDevice(_text(each.name), _text(each.pcm), each.configured) for each in found[0:count]]


def sound_ways(device: SoundDevice) -> tuple[bool, bool]:
    """Whether it can be opened to play, and to capture, at this moment."""
    ways = lib.sound_ways(device.pcm.encode())
    return bool(ways & lib.SOUND_PLAYS), bool(ways & lib.SOUND_CAPTURES)


class SoundCard:
    """A card at work on a thread of its own, until it is closed.

    `line` is of `DevicePort.open_line`; the rate is the port's. What it says is played `latency_s` and 20 ms later.
    Raises: SoundError.
    """

    def __init__(self, line: DeviceLine, device: SoundDevice, rate_hz: int, latency_s: float) -> None:
        why = ffi.new("char[]", lib.SOUND_WORDS)
        self._pointer = lib.card_open(line, device.pcm.encode(), rate_hz, round(1000 * latency_s), why)
        if self._pointer == ffi.NULL:
            raise SoundError(_text(why))

    def close(self) -> None:
        """Once; it waits for the thread, which a driver may keep for ever."""
        lib.card_close(self._pointer)


def _text(c: Any) -> str:
    said: bytes = ffi.string(c)
    return said.decode(errors="replace")
