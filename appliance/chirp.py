"""A line's sound in figures: chirps are said at one end, and looked for in what was heard at an end.

A codec for speech mangles a steady tone, and may take it for noise; a chirp in bursts passes. Each burst sweeps the
band of telephony, up or down, and is found by its matched filter. The pauses differ, so that no burst is taken for its
neighbour; what is heard in them is noise. Sound is 16-bit samples at 8000 Hz, one channel.

Who imports this pays for numpy: only a test call does.
"""

from collections.abc import Iterator
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from appliance.diagnosis import Echo, Heard
from native import FRAME_SAMPLES, RATE_HZ

Sound = npt.NDArray[np.int16]
Wave = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]

# What every telephone line carries (ITU-T G.712 has 300 to 3400 Hz).
LOW_HZ, HIGH_HZ = 300.0, 3400.0
BURST_SAMPLES = 20 * FRAME_SAMPLES
TAPER_SAMPLES = RATE_HZ // 100
PAUSES_MS = (160, 230, 180, 260, 200, 240, 170)
# 3.14 dBm0 is full scale (ITU-T G.711); speech has its mean some dB below this.
LEVEL_DBM0 = -10.0
FULL_SCALE_DBM0 = 3.14
PEAK = 32768 * 10 ** ((LEVEL_DBM0 - FULL_SCALE_DBM0) / 20)
# Round trips by satellite are shorter; later is nothing of ours.
LONGEST_S = 1.2
# A clock's drift, a jitter buffer: how far a burst may be from the place of all of them.
REACH_SAMPLES = RATE_HZ // 10
# A match stands out: noise alone makes peaks of twice the median, where eight bursts are added.
STANDS_OUT = 4.0
# Less than this is no sound, whatever its shape: G.711's smallest step is -66 dBm0 or so.
INAUDIBLE_DB = -62.0
# From a burst's end until nothing of it is heard any more, of what the pauses are long.
FADES_SAMPLES = RATE_HZ * 60 // 1000
# Codecs are some dB louder here and softer there: of GSM full rate twice, one window in 200 lacks more than this. Of
# what is lost, one window of two that overlap lacks three quarters at least.
SLACK = 0.7
CLIPPED = 32000
# An echo canceller learns by the first bursts.
LEARNS_BURSTS = 3


def probe() -> Sound:
    """What is said: 4.6 s."""
    sound = np.zeros(_PLACES[-1] + BURST_SAMPLES)
    for place, burst in zip(_PLACES, _BURSTS, strict=True):
        sound[place : place + BURST_SAMPLES] = PEAK * burst.real
    return np.rint(sound).astype(np.int16)


def heard(said: Sound, sound: Sound) -> Heard | None:
    """`said` is a recording of the probe, and `sound` one of the same length and begin. None: it is not in there."""
    found = _find(said, sound, range(len(_BURSTS)))
    if found is None:
        return None
    wave, begin, places, gain = found
    delays = [place - begin - _PLACES[burst] for burst, place in places.items()]
    shift = begin + int(np.median(delays))
    return Heard(
        delay_ms=round(_ms(float(np.median(delays))), 1),
        jitter_ms=round(_ms(max(delays) - min(delays)), 1),
        level_db=round(_db(gain / PEAK), 1),
        loss_percent=round(_loss(wave, places, shift), 1),
        noise_dbm0=round(_noise_dbm0(wave, shift), 1),
        clipped_percent=round(_clipped(wave, shift), 1),
    )


def echo(said: Sound, sound: Sound) -> Echo | None:
    """Of the probe, in what was heard where it was said. None: no echo is to be heard."""
    found = _find(said, sound, range(LEARNS_BURSTS, len(_BURSTS)))
    if found is None:
        return None
    _, begin, places, gain = found
    delay = float(np.median([place - begin - _PLACES[burst] for burst, place in places.items()]))
    return Echo(level_db=round(_db(gain / PEAK), 1), delay_ms=round(_ms(delay), 1))


# --- the probe ------------------------------------------------------------------------------------------------------


def _chirp(first_hz: float, last_hz: float) -> Spectrum:
    """With its quadrature as imaginary part: the phase that a line gives it does not matter."""
    t = np.arange(BURST_SAMPLES) / RATE_HZ
    rate = (last_hz - first_hz) / (BURST_SAMPLES / RATE_HZ)
    envelope = np.ones(BURST_SAMPLES)
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(TAPER_SAMPLES) / TAPER_SAMPLES)
    envelope[:TAPER_SAMPLES], envelope[-TAPER_SAMPLES:] = rise, rise[::-1]
    chirp: Spectrum = envelope * np.exp(2j * np.pi * (first_hz + rate * t / 2) * t)
    return chirp


_UP, _DOWN = _chirp(LOW_HZ, HIGH_HZ), _chirp(HIGH_HZ, LOW_HZ)
_BURSTS = [_UP if place % 2 == 0 else _DOWN for place in range(len(PAUSES_MS) + 1)]
_PLACES = list(accumulate((BURST_SAMPLES + RATE_HZ * pause // 1000 for pause in PAUSES_MS), initial=0))


# --- the matched filter ---------------------------------------------------------------------------------------------


def _find(said: Sound, sound: Sound, bursts: range) -> tuple[Wave, int, dict[int, int], float] | None:
    """The sound, where the probe begins in what was said, where bursts begin in the sound, and their amplitude."""
    spoken = np.flatnonzero(said)
    if not len(spoken) or len(sound) < len(said):
        return None
    # The very first sample is zero.
    begin = int(spoken[0]) - int(np.flatnonzero(probe())[0])
    wave = sound.astype(np.float64)
    matches = {burst: _matched(wave, _BURSTS[burst]) for burst in bursts}
    reach = int(LONGEST_S * RATE_HZ)
    together = sum(_cut(match, begin + _PLACES[burst], reach) for burst, match in matches.items())
    assert isinstance(together, np.ndarray)
    delay = int(np.argmax(together))
    loudest = float(together[delay]) / len(bursts)
    if _db(loudest / PEAK) < INAUDIBLE_DB or together[delay] < STANDS_OUT * np.median(together):
        return None
    places = {}
    for burst, match in matches.items():
        first = max(0, begin + _PLACES[burst] + delay - REACH_SAMPLES)
        near = _cut(match, first, 2 * REACH_SAMPLES)
        # What is missing has no place.
        if near.max() > loudest / 4:
            places[burst] = first + int(np.argmax(near))
    gain = float(np.median([g for burst, place in places.items() for g in _gains(wave, burst, place)]))
    return (wave, begin, places, gain) if places and gain > 0 else None


def _matched(wave: Wave, burst: Spectrum) -> Wave:
    """For each place, the amplitude of the burst if it began there."""
    size = 1 << (len(wave) + len(burst)).bit_length()
    product = np.fft.ifft(np.fft.fft(wave, size) * np.conj(np.fft.fft(burst, size)))
    amplitudes: Wave = 2 * np.abs(product[: len(wave)]) / np.sum(np.abs(burst) ** 2)
    return amplitudes


def _gains(wave: Wave, burst: int, place: int) -> list[float]:
    """The amplitude in each window of 20 ms, one each 10 ms, but where it comes and goes."""
    windows = range(place + FRAME_SAMPLES, place + BURST_SAMPLES - 2 * FRAME_SAMPLES + 1, FRAME_SAMPLES // 2)
    return [
        float(2 * np.abs(np.vdot(_BURSTS[burst][at - place :][:FRAME_SAMPLES], _cut(wave, at, FRAME_SAMPLES))))
        / FRAME_SAMPLES
        for at in windows
    ]


# --- figures --------------------------------------------------------------------------------------------------------


def _loss(wave: Wave, places: dict[int, int], shift: int) -> float:
    """Against the other bursts of the kind: lines weaken the ends of the band."""
    lacks = []
    for kind in (0, 1):
        alike = range(kind, len(_BURSTS), 2)
        gains = np.array([_gains(wave, burst, places.get(burst, shift + _PLACES[burst])) for burst in alike])
        there = gains[[burst in places for burst in alike]]
        usual = np.median(there, axis=0) if len(there) else np.full(gains.shape[1], np.inf)
        usual = np.maximum(usual, np.median(usual) / 4)
        lack = np.clip(1 - gains / usual, 0, 1)
        # What is lost begins anywhere: each 10 ms are as much lost as the worse of the two windows that they are in.
        lost = np.pad(np.where(lack > SLACK, lack, 0), ((0, 0), (1, 1)))
        lacks.append(np.maximum(lost[:, 1:], lost[:, :-1]))
    return 100 * float(np.mean(lacks))


def _noise_dbm0(wave: Wave, shift: int) -> float:
    pauses = np.concatenate([wave[first:last] for first, last in _pauses(shift)])
    level = float(np.sqrt(np.mean(pauses**2))) if len(pauses) else 0.0
    return _db(level * np.sqrt(2) / 32768) + FULL_SCALE_DBM0


def _pauses(shift: int) -> Iterator[tuple[int, int]]:
    for place, following in pairwise(_PLACES):
        # What is early of the next burst is not noise either.
        yield shift + place + BURST_SAMPLES + FADES_SAMPLES, shift + following - FADES_SAMPLES // 2


def _clipped(wave: Wave, shift: int) -> float:
    bursts = [np.abs(_cut(wave, shift + place, BURST_SAMPLES)) >= CLIPPED for place in _PLACES]
    return 100 * float(np.mean(bursts))


def _cut(wave: Wave, first: int, size: int) -> Wave:
    """As many samples as asked for; silence where there are none."""
    out = np.zeros(size)
    begin, end = max(first, 0), min(first + size, len(wave))
    if begin < end:
        out[begin - first : end - first] = wave[begin:end]
    return out


def _db(ratio: float) -> float:
    return 20 * float(np.log10(max(ratio, 1e-6)))


def _ms(samples: float) -> float:
    return 1000 * samples / RATE_HZ
