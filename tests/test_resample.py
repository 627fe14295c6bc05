"""Resampling by itself: what passes, what is stopped, and that no sample is lost."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native._engine import ffi, lib

RATES_HZ = [16000, 24000, 32000, 44100, 48000]
WAYS = [(8000, hz) for hz in RATES_HZ] + [(hz, 8000) for hz in RATES_HZ]
AMPLITUDE = 16000


class Resampler:
    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._r = ffi.gc(lib.resampler_create(from_hz, to_hz), lib.resampler_destroy)
        self.delay = lib.resampler_delay(self._r)

    def run(self, samples: numpy.ndarray, room: int) -> tuple[numpy.ndarray, int]:
        out, count = ffi.new("int16_t[]", room), ffi.new("uint32_t *", len(samples))
        block = ffi.from_buffer("int16_t[]", samples.astype("<i2").tobytes())
        made = lib.resampler_run(self._r, out, room, block, count)
        return numpy.frombuffer(ffi.buffer(out)[: 2 * made], "<i2"), count[0]

    def clear(self) -> None:
        lib.resampler_clear(self._r)


def resampled(samples: numpy.ndarray, from_hz: int, to_hz: int) -> numpy.ndarray:
    """Without the first 100 ms, in which the filter is filled."""
    room = len(samples) * to_hz // from_hz
    made, count = Resampler(from_hz, to_hz).run(samples, room)
    assert len(made) == room
    assert len(samples) - from_hz / to_hz <= count <= len(samples)
    return made[to_hz // 10 :].astype(float)


def tone(hz: float, rate_hz: int, amplitude: float = AMPLITUDE) -> numpy.ndarray:
    """1.1 s: a second of it is a whole number of periods."""
    samples = amplitude * numpy.sin(2 * numpy.pi * hz * numpy.arange(rate_hz * 11 // 10) / rate_hz)
    return numpy.rint(samples).astype("<i2")


def amplitudes(samples: numpy.ndarray) -> numpy.ndarray:
    """Of each whole frequency, given one second."""
    return 2 * numpy.abs(numpy.fft.rfft(samples)) / len(samples)


def db(ratio: float) -> float:
    return 20 * float(numpy.log10(max(ratio, 1e-9)))


ways = pytest.mark.parametrize(("from_hz", "to_hz"), WAYS)


@ways
def test_a_tone_keeps_its_purity(from_hz: int, to_hz: int) -> None:
    spectrum = amplitudes(resampled(tone(1000, from_hz), from_hz, to_hz))
    noise = numpy.delete(spectrum, [0, 1000])
    assert abs(db(spectrum[1000] / AMPLITUDE)) < 0.01
    assert db(spectrum[1000] / float(numpy.sqrt(numpy.sum(noise**2)))) >= 85


@ways
def test_the_telephone_band_passes_unchanged(from_hz: int, to_hz: int) -> None:
    for hz in (20, 300, 1000, 2000, 3000, 3400):
        assert abs(db(amplitudes(resampled(tone(hz, from_hz), from_hz, to_hz))[hz] / AMPLITUDE)) < 0.1


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_images_are_75_db_down(rate_hz: int) -> None:
    for hz in (100, 1000, 2000, 3000, 3400, 3700, 3900):
        spectrum = amplitudes(resampled(tone(hz, 8000), 8000, rate_hz))
        assert db(float(numpy.max(spectrum[4001:])) / AMPLITUDE) < -75


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_aliases_are_75_db_down(rate_hz: int) -> None:
    for hz in (4100, 4600, 5000, 6000, 7900, 9000, 11900, 13000, 15900, 17000, 21000, 23900):
        if hz < rate_hz / 2:
            spectrum = amplitudes(resampled(tone(hz, rate_hz), rate_hz, 8000))
            assert db(float(numpy.max(spectrum)) / AMPLITUDE) < -75


@ways
def test_it_delays_by_4_ms(from_hz: int, to_hz: int) -> None:
    assert Resampler(from_hz, to_hz).delay == numpy.ceil(0.004 * to_hz)
    # What was cut off were whole periods: the phase tells the delay.
    wave = numpy.fft.rfft(resampled(tone(100, from_hz), from_hz, to_hz))[100]
    turns = -(numpy.angle(wave) + numpy.pi / 2) / (2 * numpy.pi) % 1
    assert 0.0039 < turns / 100 <= 0.004


@ways
def test_20_ms_are_20_ms_for_ever(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    frame = numpy.zeros(from_hz // 50)
    for _ in range(1000):
        made, count = resampler.run(frame, 10000)
        assert (len(made), count) == (to_hz // 50, from_hz // 50)


@ways
@settings(max_examples=30, deadline=None)
@given(blocks=st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 2000)), min_size=1))
def test_blocks_of_any_size_make_the_same_samples(from_hz: int, to_hz: int, blocks: list[tuple[int, int]]) -> None:
    samples = numpy.random.default_rng(1).integers(-32768, 32768, from_hz // 10)
    whole, _ = Resampler(from_hz, to_hz).run(samples, to_hz // 10)
    resampler, parts, at, made = Resampler(from_hz, to_hz), [], 0, 0
    for size, room in [*blocks, (len(samples), len(whole))]:
        block, room = samples[at : at + size], min(room, len(whole) - made)
        part, count = resampler.run(block, room)
        # It stops for one of two reasons only.
        assert len(part) == room or count == len(block)
        parts.append(part)
        at += count
        made += len(part)
    assert numpy.array_equal(numpy.concatenate(parts), whole)


@ways
def test_what_was_cleared_is_not_heard(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    resampler.run(tone(1000, from_hz), to_hz)
    resampler.clear()
    samples = numpy.random.default_rng(2).integers(-32768, 32768, from_hz // 10)
    made, _ = resampler.run(samples, to_hz // 10)
    assert numpy.array_equal(made, Resampler(from_hz, to_hz).run(samples, to_hz // 10)[0])


@ways
def test_the_loudest_sound_saturates_and_does_not_turn_over(from_hz: int, to_hz: int) -> None:
    square = numpy.where(tone(200, from_hz) >= 0, 32767, -32768)
    made = resampled(square, from_hz, to_hz)
    period = made[: to_hz // 200]
    assert (made.max(), made.min()) == (32767, -32768)
    # Two edges a period, each within the filter's reach: no jumps in between.
    assert numpy.count_nonzero(numpy.diff(numpy.sign(period))) <= 2


def test_a_ratio_beyond_the_table_is_an_error_of_the_caller() -> None:
    for rates in ((8000, 44101), (8000, 0), (0, 8000)):
        assert lib.resampler_create(*rates) == ffi.NULL
    lib.resampler_destroy(ffi.NULL)
