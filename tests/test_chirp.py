"""The doctor's probe through lines that delay, weaken, lose, add noise, return it, or are codecs."""

import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.chirp import PEAK, Echo, Heard, echo, heard, probe
from native import RATE_HZ, alaw_decode, alaw_encode, ulaw_decode, ulaw_encode

PROBE = probe()
# As the doctor records it: a moment before, and a second behind.
SAID = np.concatenate([np.zeros(1600, np.int16), PROBE, np.zeros(RATE_HZ, np.int16)])


def line(said=SAID, *, delay=0, gain_db=0.0, noise_dbm0=None, seed=0):
    out = np.zeros(len(said))
    out[delay:] = said[: len(said) - delay] * 10 ** (gain_db / 20)
    if noise_dbm0 is not None:
        sigma = 32768 / 2**0.5 * 10 ** ((noise_dbm0 - 3.14) / 20)
        out += np.random.default_rng(seed).normal(0, sigma, len(out))
    return np.clip(np.rint(out), -32768, 32767).astype(np.int16)


def without(sound, *gaps_ms):
    """Silence instead, 20 ms each."""
    out = sound.copy()
    for at in gaps_ms:
        out[at * 8 : at * 8 + 160] = 0
    return out


def found(sound) -> Heard:
    result = heard(SAID, sound)
    assert result is not None
    return result


def test_the_probe_is_in_the_band_of_telephony_and_as_loud_as_speech():
    spectrum = np.abs(np.fft.rfft(PROBE.astype(float))) ** 2
    hz = np.fft.rfftfreq(len(PROBE), 1 / RATE_HZ)
    inside = spectrum[(hz > 280) & (hz < 3420)].sum() / spectrum.sum()
    assert inside > 0.999
    assert abs(np.abs(PROBE).max() - PEAK) < 2
    assert 4 < len(PROBE) / RATE_HZ < 5


def test_what_is_unchanged_has_neither_delay_nor_loss():
    result = found(SAID)
    assert (result.delay_ms, result.jitter_ms, result.level_db, result.loss_percent) == (0, 0, 0, 0)
    assert result.noise_dbm0 < -90
    assert result.clipped_percent == 0


@settings(max_examples=25, deadline=None)
@given(delay=st.integers(0, 6400), gain_db=st.floats(-35, 8), noise=st.floats(-70, -45), seed=st.integers(0, 99))
def test_delay_level_and_noise_are_what_the_line_made_of_it(delay, gain_db, noise, seed):
    result = found(line(delay=delay, gain_db=gain_db, noise_dbm0=noise, seed=seed))
    assert result.delay_ms == pytest.approx(delay / 8, abs=0.5)
    assert result.level_db == pytest.approx(gain_db, abs=0.7)
    assert result.noise_dbm0 == pytest.approx(noise, abs=1.5)
    assert result.loss_percent < 1


@pytest.mark.parametrize("gaps", [[], [450], [455, 1700, 2900], list(range(300, 4900, 130))])
def test_lost_frames_are_counted_wherever_they_begin(gaps):
    result = found(without(line(delay=400, noise_dbm0=-60), *gaps))
    # 20 ms of the 3.2 s in which there is something to lose; those in pauses are no loss.
    inside = sum(np.abs(line(delay=400)[at * 8 : at * 8 + 160]).max() > PEAK / 2 for at in gaps)
    assert result.loss_percent == pytest.approx(100 * inside / 160, rel=0.5, abs=0.5)
    assert (result.loss_percent > 0) == (inside > 0)


def test_a_frame_said_twice_in_place_of_a_lost_one_is_a_loss():
    sound = line(delay=160)
    for at in range(4000, 36000, 3200):
        sound[at : at + 160] = sound[at - 160 : at]
    assert found(sound).loss_percent > 2


def test_a_burst_that_is_missing_whole_is_a_loss_of_an_eighth():
    sound = line(delay=800)
    first = 1600 + 800 + 3200 + 1280
    sound[first : first + 3200] = 0
    assert found(sound).loss_percent == pytest.approx(12.5, abs=0.5)


def test_a_delay_that_changes_on_the_way_is_jitter_and_no_loss():
    sound = line(delay=800)
    middle = 1600 + 800 + 3200 + 600
    slipped = np.concatenate([sound[:middle], np.zeros(240, np.int16), sound[middle:-240]])
    result = found(slipped)
    assert result.jitter_ms == pytest.approx(30, abs=1)
    assert result.loss_percent == 0


def codecs():
    yield "A-law", lambda sound: np.frombuffer(alaw_decode(alaw_encode(sound.tobytes())), np.int16)
    yield "mu-law", lambda sound: np.frombuffer(ulaw_decode(ulaw_encode(sound.tobytes())), np.int16)
    # A voice modem's.
    yield "8 bits", lambda sound: (np.rint(sound / 256) * 256).clip(-32768, 32512).astype(np.int16)
    yield "an amplifier that is too loud", lambda sound: (sound * 8.0).clip(-32768, 32767).astype(np.int16)
    yield "a band of 500 to 3000 Hz", band
    yield "frames whose phases are mangled", mangled


def band(sound):
    spectrum = np.fft.rfft(sound.astype(float))
    hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    spectrum *= 1 / (1 + (400 / (hz + 1)) ** 6) / (1 + (hz / 3200) ** 12)
    return np.rint(np.fft.irfft(spectrum, len(sound))).astype(np.int16)


def mangled(sound):
    """Of each frame the two strongest bins and their neighbours alone: what a coder of speech leaves of a sweep."""
    out, chance, window = np.zeros(len(sound)), np.random.default_rng(1), np.hanning(320)
    for at in range(0, len(sound) - 320, 160):
        spectrum = np.fft.rfft(sound[at : at + 320] * window)
        keep = np.abs(spectrum) > np.sort(np.abs(spectrum))[-8]
        out[at : at + 320] += np.fft.irfft(spectrum * keep * np.exp(1j * chance.normal(0, 0.3)), 320)
    return np.clip(np.rint(out), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize(("name", "codec"), list(codecs()), ids=[name for name, _ in codecs()])
def test_a_codec_is_no_loss(name, codec):
    result = found(codec(line(delay=640, noise_dbm0=-65)))
    assert result.delay_ms == pytest.approx(80, abs=5)
    assert result.loss_percent < 2
    assert (result.clipped_percent > 10) == ("too loud" in name)


@pytest.mark.skipif(shutil.which("sox") is None, reason="Debian package sox, for its GSM full rate codec")
@pytest.mark.parametrize("times", [1, 2])
def test_two_mobile_phones_in_a_row_are_no_loss_and_what_is_lost_between_them_is(times):
    sound = line(delay=800)
    for _ in range(times):
        coded = sox("raw", "gsm", sound.tobytes())
        sound = np.resize(np.frombuffer(sox("gsm", "raw", coded), np.int16), len(SAID))
    result = found(sound)
    assert result.delay_ms == pytest.approx(100, abs=2)
    assert result.loss_percent < 1
    assert -12 < result.level_db < 0
    assert found(without(sound, *range(600, 4600, 200))).loss_percent > 4


def sox(given: str, wanted: str, sound: bytes) -> bytes:
    forms = {"raw": "-t raw -r 8000 -e signed -b 16 -c 1 -", "gsm": "-t gsm -r 8000 -c 1 -"}
    command = ["sox", "-D", *forms[given].split(), *forms[wanted].split()]
    return subprocess.run(command, input=sound, capture_output=True, check=True).stdout


def test_what_is_not_the_probe_is_not_heard():
    chance = np.random.default_rng(3)
    speech = np.convolve(chance.normal(0, 3000, len(SAID)), np.ones(8) / 3, "same").astype(np.int16)
    for sound in (np.zeros_like(SAID), line(gain_db=-90, noise_dbm0=-40), speech):
        assert heard(SAID, sound) is None
        assert echo(SAID, sound) is None
    assert heard(np.zeros_like(SAID), SAID) is None


@settings(max_examples=20, deadline=None)
@given(delay=st.integers(80, 4000), loss_db=st.floats(8, 40), seed=st.integers(0, 99))
def test_an_echo_is_found_by_its_level_and_delay(delay, loss_db, seed):
    result = echo(SAID, line(delay=delay, gain_db=-loss_db, noise_dbm0=-58, seed=seed))
    assert isinstance(result, Echo)
    assert result.level_db == pytest.approx(-loss_db, abs=1.5)
    assert result.delay_ms == pytest.approx(delay / 8, abs=1)


def test_an_echo_that_the_canceller_has_learnt_to_take_away_is_none():
    sound = line(delay=400, gain_db=-12, noise_dbm0=-65)
    first = np.flatnonzero(SAID)[0] + 3 * 3200 + (160 + 230 + 180) * 8
    sound[first:] = line(np.zeros_like(SAID), noise_dbm0=-65)[first:]
    assert echo(SAID, sound) is None
