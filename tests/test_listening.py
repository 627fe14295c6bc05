import wave

import numpy as np
import pytest

from hil.listening import align, at_peak, clearest, last_sound, read_wav, resampled, sound
from hil.words import words
from native import RATE_HZ, alaw_decode, alaw_encode


def speechlike(seconds: float, seed: int = 1) -> np.ndarray:
    """Noise in bursts of a syllable's length, smoothed to a voice's band."""
    chance = np.random.default_rng(seed)
    noise = np.convolve(chance.normal(size=int(seconds * RATE_HZ)), np.ones(6) / 6, "same")
    syllables = np.repeat(chance.random(int(seconds * 5)) > 0.3, RATE_HZ // 5)
    return (noise[: len(syllables)] * syllables * 6000).clip(-32768, 32767).astype(np.int16)


def silence(samples: int) -> np.ndarray:
    return np.zeros(samples, np.int16)


@pytest.mark.parametrize("delay", [0, 1, 777, 20_000])
def test_a_delayed_copy_is_found_to_the_sample(delay):
    said = speechlike(3)
    match = align(said, np.concatenate([silence(delay), said, silence(5000)]))
    assert (match.delay_samples, match.slips, match.moved_samples) == (delay, 0, 0)
    assert match.correlation == pytest.approx(1)
    assert match.gain_db == pytest.approx(0, abs=1e-6)


def test_heard_may_begin_in_the_middle_of_what_was_said():
    said = speechlike(3)
    match = align(said, said[300:])
    assert match.delay_samples == -300
    assert match.correlation > 0.95


def test_a_law_costs_hardly_any_correlation():
    said = speechlike(3)
    heard = np.frombuffer(alaw_decode(alaw_encode(said.tobytes())), np.int16)
    assert 0.999 < align(said, heard).correlation < 1


def test_a_level_is_told_and_does_not_matter():
    said = speechlike(3)
    match = align(said, (said // 2).astype(np.int16))
    assert match.gain_db == pytest.approx(-6, abs=0.1)
    assert match.correlation > 0.999


def test_a_slip_is_counted_and_costs_what_it_touches():
    said = speechlike(5)
    heard = np.concatenate([said[:18_000], said[18_160:]])
    match = align(said, heard)
    assert (match.slips, match.moved_samples) == (1, 160)
    assert 0.95 < match.worst_window < match.correlation < 1


def test_holes_are_slips_as_well():
    said = speechlike(5)
    heard = np.concatenate([said[:10_000], silence(160), said[10_000:30_000], silence(160), said[30_000:]])
    match = align(said, heard)
    assert (match.slips, match.moved_samples) == (2, 320)
    assert match.correlation > 0.97


def test_a_second_that_is_missing_shows_in_the_worst_window():
    said = speechlike(5)
    heard = said.copy()
    heard[8000:16_000] = 0
    match = align(said, heard)
    assert match.worst_window < 0.1
    assert match.correlation < 0.95


@pytest.mark.parametrize("heard", [silence(40_000), silence(0), speechlike(5, seed=2)])
def test_what_was_not_said_does_not_match(heard):
    assert align(speechlike(3), heard).correlation < 0.4


def test_silence_matches_nothing():
    assert align(silence(8000), speechlike(2)).correlation == 0


def test_a_pause_is_no_worst_window():
    said = np.concatenate([speechlike(1), silence(RATE_HZ), speechlike(1, seed=3)])
    assert align(said, said).worst_window == pytest.approx(1)


def test_silence_begins_behind_the_last_sound_also_in_a_law():
    samples = np.concatenate([silence(10), np.array([900, 0, -40], np.int16), silence(7)])
    heard = np.frombuffer(alaw_decode(alaw_encode(samples.tobytes())), np.int16)
    assert heard.all()
    assert last_sound(heard) == last_sound(samples) == 12
    assert last_sound(silence(5)) is None


def test_a_wav_is_read_at_its_own_rate(tmp_path):
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.zeros(1600, np.int16).tobytes())
    assert len(read_wav(tmp_path / "tone.wav")) == 800


def test_resampling_keeps_a_tone_and_drops_what_8000_hz_can_not_carry():
    seconds = np.arange(22_050) / 22_050
    fade = np.hanning(22_050)
    tone = (10_000 * fade * np.sin(2 * np.pi * 440 * seconds)).astype(np.int16)
    hiss = (10_000 * fade * np.sin(2 * np.pi * 6000 * seconds)).astype(np.int16)
    heard = resampled(tone + hiss, 22_050)
    expected = 10_000 * np.hanning(8000) * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    assert len(heard) == RATE_HZ
    assert np.abs(heard - expected).max() < 40


def test_a_peak_level_is_met():
    assert np.abs(at_peak(speechlike(1), -6)).max() == round(32767 * 10 ** (-6 / 20))
    assert not at_peak(silence(100), -6).any()


def test_words_that_are_torn_are_told_from_others_by_a_piece_that_is_whole():
    said, others = sound(words(1.2, seed=1)), [sound(words(1.2, seed=seed)) for seed in range(2, 8)]
    torn = np.concatenate((others[0][:3000], said[1500:6400], silence(900), said[8000:]))
    assert clearest(said, torn) > 0.999
    assert max(clearest(said, other) for other in others) < 0.5
    assert clearest(said, torn[:1000]) == clearest(silence(8000), torn) == 0
