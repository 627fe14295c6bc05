"""The tones of telephone networks, as data: what exchanges send, country by country, and a telephone's keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from native.codec import COLUMNS_HZ, KEYS, ROWS_HZ


class ToneKind(Enum):
    DIAL = 0
    RINGBACK = 1
    BUSY = 2
    CONGESTION = 3


@dataclass(frozen=True)
class Step:
    """Silence, one frequency or two at once; `modulated_hz` is of the first one's amplitude, `ms` 0 is for ever."""

    hz: tuple[float, ...] = ()
    ms: int = 0
    modulated_hz: float = 0.0


# Sounds and pauses in turn; a single step goes on for ever.
Cadence = tuple[Step, ...]

BEEP: Cadence = (Step((1000.0,), 400),)

# Dial tone, ringback, busy, congestion: "440+480 2000/4000" are both frequencies for two seconds, then four of
# silence; "400*25" is one, its amplitude modulated. The usual tones of national networks (ITU-T E.180, supplement 2),
# as PBXs' tables have them, too; these differ in Russia's ringback (1000/4000) and Japan's (400 and 15 Hz at once).
# An exchange that sends its busy tone for congestion, or one that differs in level alone, has none here.
_TABLE = {
    "AU": ("413+438", "413+438 400/200/400/2000", "425 375/375", ""),
    "BR": ("425", "425 1000/4000", "425 250/250", "425 250/250/750/250"),
    "CA": ("350+440", "440+480 2000/4000", "480+620 500/500", "480+620 250/250"),
    "CN": ("450", "450 1000/4000", "450 350/350", "450 700/700"),
    "CZ": ("425 330/330/660/660", "425 1000/4000", "425 330/330", "425 165/165"),
    "DE": ("425", "425 1000/4000", "425 480/480", "425 240/240"),
    "DK": ("425", "425 1000/4000", "425 500/500", "425 200/200"),
    "EE": ("425", "425 1000/4000", "425 300/300", "425 200/200"),
    "ES": ("425", "425 1500/3000", "425 200/200", "425 200/200/200/200/200/600"),
    "FI": ("425", "425 1000/4000", "425 300/300", "425 200/200"),
    "FR": ("440", "440 1500/3500", "440 500/500", "440 250/250"),
    "GB": ("350+440", "400+450 400/200/400/2000", "400 375/375", "400 400/350/225/525"),
    "GR": ("425 200/300/700/800", "425 1000/4000", "425 300/300", "425 200/200"),
    "HK": ("350+440", "440+480 400/200/400/3000", "480+620 500/500", "480+620 250/250"),
    "IN": ("400*25", "400*25 400/200/400/2000", "400 750/750", "400 250/250"),
    "IT": ("425 200/200/600/1000", "425 1000/4000", "425 500/500", "425 200/200"),
    "JP": ("400", "400*15 1000/2000", "400 500/500", ""),
    "NL": ("425", "425 1000/4000", "425 500/500", "425 250/250"),
    "RU": ("425", "425 800/3200", "425 350/350", "425 175/175"),
    "SE": ("425", "425 1000/5000", "425 250/250", "425 250/750"),
    "US": ("350+440", "440+480 2000/4000", "480+620 500/500", "480+620 250/250"),
}
COUNTRIES = tuple(_TABLE)

# Cycles before a tone is told. One of ringback is as long as four of busy; a second busy tone is no chance.
_CYCLES = {ToneKind.DIAL: 1, ToneKind.RINGBACK: 1, ToneKind.BUSY: 2, ToneKind.CONGESTION: 2}


def tones(country: str) -> Mapping[ToneKind, Cadence]:
    """A country's tones, by its ISO 3166 code.

    Raises:
        ValueError: none of `COUNTRIES`.
    """
    try:
        row = _TABLE[country]
    except KeyError:
        raise ValueError(f"the tones of {country} are not known, those of {', '.join(COUNTRIES)} are") from None
    return {kind: _cadence(text) for kind, text in zip(ToneKind, row, strict=True) if text}


def cycles(country: str, kind: ToneKind) -> int:
    """How many have to be heard."""
    # Spain's congestion begins as its busy tone does: three times 200/200, then a longer pause.
    return 4 if (country, kind) == ("ES", ToneKind.BUSY) else _CYCLES[kind]


def keys(digits: str, *, on_ms: int = 100, off_ms: int = 100) -> Cadence:
    """A telephone's keys (ITU-T Q.23), a pause after each.

    Raises:
        ValueError: a character that is no key, or no time, which would be for ever.
    """
    if not (on_ms and off_ms):
        raise ValueError(f"a key that sounds or is silent for ever: {on_ms} ms, {off_ms} ms")
    steps: list[Step] = []
    for digit in digits:
        row, column = divmod(KEYS.index(digit), 4)
        steps += [Step((ROWS_HZ[row], COLUMNS_HZ[column]), on_ms), Step((), off_ms)]
    return tuple(steps)


def _cadence(text: str) -> Cadence:
    sound, _, times = text.partition(" ")
    carrier, _, modulation = sound.partition("*")
    hz = tuple(float(part) for part in carrier.split("+"))
    lengths = [int(ms) for ms in times.split("/")] if times else [0]
    modulated_hz = float(modulation or 0)
    return tuple(Step((), ms) if at % 2 else Step(hz, ms, modulated_hz) for at, ms in enumerate(lengths))
