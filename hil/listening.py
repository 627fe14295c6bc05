"""What was heard, held against what was said: where it is in there, how well it matches, how late it came.

Sound is 16-bit samples at 8000 Hz, one channel. Lines and buffers may slip a few milliseconds now and then, so speech
is compared in windows of about a second, each of them aligned on its own near the place of the whole.
"""

import wave
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from native import RATE_HZ

Sound = npt.NDArray[np.int16]

WINDOW_SAMPLES = RATE_HZ
# How far a window may lie from the place of the whole: 60 ms either way, what an elastic buffer gives or takes.
REACH_SAMPLES = 480
# A-law has no zero: its silence, 0xD5, decodes to this.
A_LAW_SILENCE = 8
# A window with less than this part of the mean energy is a pause: what it correlates with says nothing.
PAUSE = 0.01


@dataclass(frozen=True)
class Match:
    """`correlation` is the windows' mean, each with the weight of its energy; 0 when there is nothing to compare.

    `moved_samples` is what the delay of one window differs from another's: 0 says that nothing between was lost,
    doubled or slipped. `gain_db` is heard to said.
    """

    delay_samples: int
    correlation: float
    worst_window: float
    moved_samples: int
    gain_db: float

    @property
    def delay_ms(self) -> float:
        return ms(self.delay_samples)


NOTHING = Match(0, 0.0, 0.0, 0, float("-inf"))


@dataclass(frozen=True)
class _Window:
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
    delay = _place(sent, heard)
    windows = [_look(part, start, heard, delay) for start, part in _windows(sent)]
    energy = sum(window.energy for window in windows)
    spoken = [window for window in windows if window.energy >= PAUSE * energy / len(windows)]
    gain = sum(window.energy * window.gain for window in spoken) / energy
    return Match(
        delay_samples=max(spoken, key=lambda window: window.energy).delay_samples,
        correlation=sum(window.energy * window.correlation for window in windows) / energy,
        worst_window=min(window.correlation for window in spoken),
        moved_samples=max(w.delay_samples for w in spoken) - min(w.delay_samples for w in spoken),
        gain_db=float(20 * np.log10(gain)) if gain > 0 else float("-inf"),
    )


def _place(sent: Sound, heard: Sound) -> int:
    """The shift at which their product is greatest."""
    size = 1 << (len(sent) + len(heard)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sent, size)), size)
    shift = int(np.argmax(product))
    return shift if shift < len(heard) else shift - size


def _windows(sent: Sound) -> list[tuple[int, Sound]]:
    edges = np.linspace(0, len(sent), max(1, round(len(sent) / WINDOW_SAMPLES)) + 1).astype(int)
    return [(int(start), sent[start:end]) for start, end in pairwise(edges)]


def _look(part: Sound, start: int, heard: Sound, delay: int) -> _Window:
    """The best place of a window within reach of where the whole says it should be."""
    said = part.astype(float)
    around = _cut(heard, start + delay - REACH_SAMPLES, len(part) + 2 * REACH_SAMPLES)
    products = np.correlate(around, said, "valid")
    sums = np.concatenate(([0.0], np.cumsum(around**2)))
    energies = sums[len(said) :] - sums[: -len(said)]
    energy = float(said @ said)
    scale = np.sqrt(energies * energy)
    correlations = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    best = int(np.argmax(correlations))
    return _Window(
        energy=energy,
        delay_samples=delay + best - REACH_SAMPLES,
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
