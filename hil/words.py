"""Words that nobody has said, made to be found again: as codecs want speech, and no two alike.

Syllables of a voice: the harmonics of a pitch under three formants, as the codecs of mobile networks model it. What is
made of them by such a codec still is like them, which noise or a lone tone is not.
"""

import numpy as np
import numpy.typing as npt

from hil.listening import Sound
from native import RATE_HZ

# Of a telephone's band, with nothing that a detector of keys or progress tones would take for its own.
BAND_HZ = (300, 3400)
PEAK = 9000


def words(seconds: float, seed: int) -> bytes:
    """16-bit samples at 8000 Hz."""
    chance = np.random.default_rng(seed)
    size = round(RATE_HZ * seconds)
    said = np.zeros(0)
    while len(said) < size:
        said = np.concatenate((said, _syllable(chance)))
    said = said[:size]
    samples: Sound = (PEAK * said / np.abs(said).max()).astype("<i2")
    return samples.tobytes()


def _syllable(chance: np.random.Generator) -> npt.NDArray[np.float64]:
    t = np.arange(round(RATE_HZ * chance.uniform(0.12, 0.25))) / RATE_HZ
    # A pitch that moves: what stays the same fits in many places.
    low, high = chance.uniform(90, 220, 2)
    phase = 2 * np.pi * (low * t + (high - low) * t**2 / (2 * t[-1]))
    formants = chance.uniform((300, 900, 2000), (800, 2000, 3200))
    wave = np.zeros(len(t))
    for harmonic in range(1, int(BAND_HZ[1] / max(low, high)) + 1):
        hz = harmonic * (low + high) / 2
        if hz >= BAND_HZ[0]:
            weight = sum(1 / (1 + ((hz - formant) / 90) ** 2) for formant in formants) / (1 + hz / 1000)
            wave += weight * np.cos(harmonic * phase + chance.uniform(0, 2 * np.pi))
    # Never silent: a pause tells nothing.
    swell = 0.3 + 0.7 * np.sin(np.pi * np.arange(len(t)) / len(t))
    return np.asarray(wave / np.abs(wave).max() * swell)
