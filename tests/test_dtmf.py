"""Keys found in sound: the limits of ITU-T Q.24, and what is no key. docs/dtmf.md has the whole table."""

import shutil

import numpy
import pytest

from tests.keys import Line, dial, found
from tests.speech import speech

PRESSES = 160


@pytest.mark.parametrize(("offset", "snr_db"), [(-0.015, 15), (0, 15), (0.015, 15), (0, 10)])
@pytest.mark.parametrize("twist_db", [-8, -4, 0, 4])
def test_every_key_of_40_ms_is_found_at_any_twist_and_offset(offset: float, twist_db: float, snr_db: float) -> None:
    keys, sound = dial(Line(offset=offset, twist_db=twist_db, snr_db=snr_db), PRESSES)
    assert found(sound) == keys


@pytest.mark.parametrize("level_dbm0", [0, -10, -20, -30, -36, -40])
def test_every_key_is_found_at_any_level(level_dbm0: float) -> None:
    keys, sound = dial(Line(level_dbm0=level_dbm0), PRESSES)
    assert found(sound) == keys


@pytest.mark.parametrize("offset", [-0.06, -0.035, 0.035, 0.06])
def test_a_frequency_3_5_percent_off_is_no_key(offset: float) -> None:
    assert found(dial(Line(on_ms=100, offset=offset, snr_db=30), PRESSES)[1]) == ""


@pytest.mark.parametrize("twist_db", [-14, 8])
def test_a_tone_much_louder_than_the_other_is_no_key(twist_db: float) -> None:
    assert found(dial(Line(on_ms=100, twist_db=twist_db, snr_db=30), PRESSES)[1]) == ""


def test_a_tone_of_20_ms_is_no_key() -> None:
    assert found(dial(Line(on_ms=20, snr_db=30), PRESSES)[1]) == ""


@pytest.mark.parametrize("interruption_ms", [5, 10, 20, 25])
def test_an_interruption_doubles_no_key(interruption_ms: float) -> None:
    keys, sound = dial(Line(on_ms=120, off_ms=80, interruption_ms=interruption_ms, snr_db=20), PRESSES)
    assert found(sound) == keys


def test_the_same_key_pressed_again_after_40_ms_counts_again() -> None:
    keys, sound = dial(Line(), PRESSES)
    assert "".join(key for key, before in zip(keys[1:], keys, strict=False) if key == before)
    assert found(sound) == keys


def test_one_tone_alone_is_no_key() -> None:
    turns = 2 * numpy.pi * numpy.arange(8000) / 8000
    for hz in (697, 770, 852, 941, 1209, 1336, 1477, 1633):
        assert found((10000 * numpy.sin(hz * turns)).astype("<i2").tobytes()) == ""


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng makes the speech, and is missing")
def test_five_minutes_of_speech_have_no_key() -> None:
    assert found(speech(300, seed=7)) == ""
