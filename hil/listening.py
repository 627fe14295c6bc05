"""What was heard, held against what was said: where it is in there, how well it matches, how late it came.

Sound is 16-bit samples at 8000 Hz, one channel. Lines and buffers may slip a few milliseconds now and then, so speech
is compared in windows of about a second, each of them aligned on its own near the place of the whole. A window with a
slip in its middle fits nowhere: it is halved, and halved again, so that a slip costs what it touches and no more.
"""

import wave
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from native import RATE_HZ

Sound = npt.NDArray[np.int16]

WINDOW_SAMPLES = RATE_HZ
# The shortest piece of a window: some syllables less would fit anywhere.
PIECE_SAMPLES = RATE_HZ // 8
# What fits less than this is halved; what fits more tells its delay to the sample.
FITS = 0.95
# A whole one of this length tells whose words they are.
CLEAR_SAMPLES = round(0.4 * RATE_HZ)
# How far a window may lie from the place of the whole: 60 ms either way, what an elastic buffer gives or takes.
REACH_SAMPLES = 480
# A-law has no zero: its silence, 0xD5, decodes to this.
A_LAW_SILENCE = 8
# A window with less than this part of the mean energy is a pause: what it correlates with says nothing.
PAUSE = 0.01
CLEAR_PAUSE = 0.1


@dataclass(frozen=True)
class Match:
    """`correlation` is the mean of all pieces, each with the weight of its energy; 0 when there is nothing to compare.

    `worst_window` is that of the worst second. `slips` counts how often the delay changed, and `moved_samples` is how
    far its extremes lie apart: none says that nothing between was lost or doubled. `gain_db` is heard to said.
    """

    delay_samples: int
    correlation: float
    worst_window: float
    slips: int
    moved_samples: int
    gain_db: float

    @property
    def delay_ms(self) -> float:
        return ms(self.delay_samples)


NOTHING = Match(0, 0.0, 0.0, 0, 0, float("-inf"))


@dataclass(frozen=True)
class _Piece:
    energy: float
    delay_samples: int
    correlation: float
    gain: float


def ms(samples: int) -> float:
    return 1000 * samples / RATE_HZ


def sound(pcm: bytes) -> Sound:
    return np.frombuffer(pcm, np.int16)


def align(sent: Sound, heard: Sound) -> Match:
    """Finds all of `sent` in `heard`, which may begin before or after it. A negative delay: heard began later."""
    if not sent.any() or not heard.any():
        return NOTHING
    place = _place(sent, heard)
    windows = [_look(part, start, heard, place) for start, part in _windows(sent)]
    pieces = [piece for window in windows for piece in window]
    energy = _energy(pieces)
    delays = [piece.delay_samples for piece in pieces if piece.correlation >= FITS] or [place]
    gain = sum(piece.energy * piece.gain for piece in pieces) / energy
    return Match(
        delay_samples=Counter(delays).most_common(1)[0][0],
        correlation=_mean(pieces),
        worst_window=min(_mean(window) for window in windows if _energy(window) >= PAUSE * energy / len(windows)),
        slips=sum(before != after for before, after in pairwise(delays)),
        moved_samples=max(delays) - min(delays),
        gain_db=float(20 * np.log10(gain)) if gain > 0 else float("-inf"),
    )


def clearest(sent: Sound, heard: Sound) -> float:
    """How well the best 400 ms of `sent` fit anywhere in `heard`: a machine that stands still for a moment tears sound,
    and leaves some of it whole. Noise is like it by 0.2, other words of one voice by 0.6.
    """
    mouth, ear = sent.astype(float), heard.astype(float)
    if len(ear) < CLEAR_SAMPLES or not mouth.any():
        return 0.0
    size = 1 << (len(ear) + CLEAR_SAMPLES).bit_length()
    spectrum = np.fft.rfft(ear, size)
    sums = np.concatenate(([0.0], np.cumsum(ear**2)))
    # Pauses are like any silence.
    least = CLEAR_PAUSE * float(mouth @ mouth) * CLEAR_SAMPLES / len(mouth)
    energies = np.maximum(sums[CLEAR_SAMPLES:] - sums[:-CLEAR_SAMPLES], least)
    best = 0.0
    for start in range(0, len(mouth) - CLEAR_SAMPLES + 1, CLEAR_SAMPLES // 2):
        piece = mouth[start : start + CLEAR_SAMPLES]
        if (energy := float(piece @ piece)) > least:
            products = np.fft.irfft(spectrum * np.fft.rfft(piece, size).conj(), size)[: len(energies)]
            best = max(best, float(np.max(products / np.sqrt(energies * energy))))
    return best


def _energy(pieces: list[_Piece]) -> float:
    return sum(piece.energy for piece in pieces)


def _mean(pieces: list[_Piece]) -> float:
    return sum(piece.energy * piece.correlation for piece in pieces) / _energy(pieces)


def _place(sent: Sound, heard: Sound) -> int:
    """The shift at which their product is greatest."""
    size = 1 << (len(sent) + len(heard)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sent, size)), size)
    shift = int(np.argmax(product))
    return shift if shift < len(heard) else shift - size


def _windows(sent: Sound) -> list[tuple[int, Sound]]:
    edges = np.linspace(0, len(sent), max(1, round(len(sent) / WINDOW_SAMPLES)) + 1).astype(int)
    return [(int(start), sent[start:end]) for start, end in pairwise(edges)]


def _look(part: Sound, start: int, heard: Sound, place: int) -> list[_Piece]:
    """A window in one piece if it fits so, else in as many as it takes."""
    piece = _fit(part, start, heard, place)
    half = len(part) // 2
    if piece.correlation >= FITS or piece.energy == 0 or half < PIECE_SAMPLES:
        return [piece]
    return _look(part[:half], start, heard, place) + _look(part[half:], start + half, heard, place)


def _fit(part: Sound, start: int, heard: Sound, place: int) -> _Piece:
    """Where it fits best, within reach of where the whole says it should be."""
    said = part.astype(float)
    around = _cut(heard, start + place - REACH_SAMPLES, len(part) + 2 * REACH_SAMPLES)
    products = np.correlate(around, said, "valid")
    sums = np.concatenate(([0.0], np.cumsum(around**2)))
    energies = sums[len(said) :] - sums[: -len(said)]
    energy = float(said @ said)
    scale = np.sqrt(energies * energy)
    correlations = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    best = int(np.argmax(correlations))
    return _Piece(
        energy=energy,
        delay_samples=place + best - REACH_SAMPLES,
        correlation=float(correlations[best]),
        gain=float(products[best]) / energy if energy else 0.0,
    )


def _cut(heard: Sound, start: int, size: int) -> npt.NDArray[np.float64]:
    """As many samples as asked for; silence where there are none."""
    out = np.zeros(size)
    first, last = max(start, 0), min(start + size, len(heard))
    if first < last:
        out[first - start : last - start] = heard[first:last]
    return out


def last_sound(samples: Sound) -> int | None:
    """Where silence begins for good; None when it is all there is."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > A_LAW_SILENCE)
    return int(loud[-1]) if len(loud) else None


def read_wav(path: Path) -> Sound:
    """A WAV of one channel and 16 bits, at whatever rate."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise ValueError(f"{path}: not one channel of 16 bits")
        return resampled(sound(file.readframes(file.getnframes())), file.getframerate())


def tone(hz: float, seconds: float) -> Sound:
    """At a quarter of full scale."""
    return _whole(8192 * np.sin(2 * np.pi * hz / RATE_HZ * np.arange(round(seconds * RATE_HZ))))


def resampled(samples: Sound, rate_hz: int) -> Sound:
    """From another rate to 8000 Hz. The whole is one period to the filter: give it silence at both ends."""
    size = round(len(samples) * RATE_HZ / rate_hz)
    spectrum = np.fft.rfft(samples)[: size // 2 + 1]
    return _whole(np.fft.irfft(spectrum, size) * (size / len(samples)))


def at_peak(samples: Sound, dbfs: float) -> Sound:
    """Louder or softer, so that the largest sample has this level. Silence stays silence."""
    peak = int(np.abs(samples.astype(int)).max(initial=0))
    factor = 32767 * 10 ** (dbfs / 20) / peak if peak else 1.0
    return _whole(samples.astype(float) * factor)


def _whole(wave: npt.NDArray[np.float64]) -> Sound:
    return np.clip(np.rint(wave), -32768, 32767).astype(np.int16)
