"""A network's tones: made to the sample and the decibel, and found by what they are made of and by their cadence."""

import shutil
from array import array
from collections.abc import Iterator

import numpy
import pytest
from numpy.typing import NDArray

from native import (
    BEEP,
    COUNTRIES,
    RATE_HZ,
    Cadence,
    Engine,
    Event,
    Finished,
    Step,
    Tone,
    ToneEnded,
    ToneKind,
    Voice,
    keys,
    tones,
)
from tests.keys import FULL_SCALE_DBM0, found
from tests.speech import speech

Sound = NDArray[numpy.float64]
EVERY = [(country, kind) for country in COUNTRIES for kind in tones(country)]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def made(cadence: Cadence, seconds: float, *, loop: bool = False, level_dbm0: float = -10) -> Sound:
    with Engine() as engine:
        recorder = engine.recorder()
        engine.connect(engine.tone(cadence, loop=loop, level_dbm0=level_dbm0), recorder.left)
        engine.tick(1)
        sound = recorder.read()
        for _ in range(round(seconds * 10)):
            engine.tick(5)
            sound += recorder.read()
    return numpy.array(array("h", sound)[0::2][: round(seconds * RATE_HZ)], float)


def heard(sound: Sound, country: str) -> list[tuple[float, Event]]:
    """And when, in seconds."""
    samples = numpy.clip(numpy.rint(sound), -32768, 32767).astype("<i2").tobytes()
    events = []
    with Engine() as engine:
        player = engine.player(samples)
        player.detect_tones(country)
        for tick in range(len(samples) // 320 + 1):
            engine.tick()
            events += [(tick / 50, event) for event in engine.events()]
    return events


def told(sound: Sound, country: str) -> list[ToneKind]:
    return [event.kind for _, event in heard(sound, country) if isinstance(event, Tone)]


def altered(cadence: Cadence, *, pitch: float = 1, pace: float = 1) -> Cadence:
    return tuple(
        Step(tuple(hz * pitch for hz in step.hz), round(step.ms * pace), step.modulated_hz) for step in cadence
    )


def noisy(sound: Sound, snr_db: float) -> Sound:
    power = numpy.mean(sound[sound != 0] ** 2)
    return sound + numpy.random.default_rng(1).normal(0, numpy.sqrt(power / 10 ** (snr_db / 10)), len(sound))


# ---- made


@pytest.mark.parametrize("level_dbm0", [-30, -10, 0])
def test_a_tone_has_its_level_to_a_twentieth_of_a_decibel(level_dbm0: float) -> None:
    sound = made((Step((1000,)),), 2, level_dbm0=level_dbm0)[RATE_HZ:]
    assert 20 * numpy.log10(numpy.sqrt(2 * numpy.mean(sound**2)) / 32767) == pytest.approx(
        level_dbm0 - FULL_SCALE_DBM0, abs=0.05
    )


def test_both_frequencies_of_a_tone_have_the_level_and_nothing_else_sounds() -> None:
    spectrum = numpy.fft.rfft(made((Step((440, 480)),), 2)[RATE_HZ:])
    power = 2 * (numpy.abs(spectrum) / RATE_HZ) ** 2
    peak = 32767 * 10 ** ((-10 - FULL_SCALE_DBM0) / 20)
    assert power[440] == pytest.approx(peak**2 / 2, rel=0.01)
    assert power[480] == pytest.approx(peak**2 / 2, rel=0.01)
    power[[440, 480]] = 0
    # Rounding to 16 bits: a twelfth of a step, squared.
    assert power.sum() < 0.2


def test_a_cadence_is_kept_to_the_sample_and_runs_on_without_end() -> None:
    sound = made(tones("FR")[ToneKind.BUSY], 60, loop=True)
    blocks = sound.reshape(-1, RATE_HZ // 2)
    assert not blocks[1::2].any()
    assert all(abs(block).max() > 7000 for block in blocks[0::2])
    # The phase is never set back: 60 s of 440 Hz are whole turns, and so is each second of it.
    assert numpy.abs(blocks[0] - blocks[-2]).max() <= 1


def test_a_tone_begins_and_ends_without_a_click() -> None:
    step = 2 * numpy.pi * 440 / RATE_HZ * 32767 * 10 ** ((-10 - FULL_SCALE_DBM0) / 20)
    sound = made((Step((440,), 93), Step((), 57)), 3, loop=True)
    assert numpy.abs(numpy.diff(sound)).max() < 1.2 * step


def test_a_change_of_frequency_is_no_click_either() -> None:
    step = 2 * numpy.pi * 620 / RATE_HZ * 32767 * 10 ** ((-10 - FULL_SCALE_DBM0) / 20)
    sound = made((Step((440,), 93), Step((620,), 57)), 3, loop=True)
    assert numpy.abs(numpy.diff(sound)).max() < 1.1 * step


def test_a_tone_that_is_not_repeated_says_once_that_it_has_ended(engine: Engine) -> None:
    beep = engine.tone(BEEP)
    engine.tick(20)
    assert engine.events() == []
    engine.tick(5)
    assert engine.events() == [Finished(beep)]
    assert not made(BEEP, 1)[RATE_HZ * 400 // 1000 :].any()


def test_keys_that_were_made_are_found() -> None:
    digits = "0123456789*#ABCD"
    sound = made(keys(digits, on_ms=40, off_ms=40), 2)
    assert found(sound.astype("<i2").tobytes()) == digits


def test_what_is_no_tone_is_refused(engine: Engine) -> None:
    unending, nan = Step((440,)), float("nan")
    modulated = (Step((440,), 100, nan), Step((440,), 100, 4000), Step((440,), 100, -1))
    for cadence in ((), (Step((4000,)),), (Step((1, 2, 3)),), (Step((-1,)),), (unending, unending), *zip(modulated)):
        with pytest.raises(ValueError, match="tone"):
            engine.tone(cadence)
    for level_dbm0 in (nan, float("inf"), 50):
        with pytest.raises(ValueError, match="tone"):
            engine.tone(BEEP, level_dbm0=level_dbm0)
    with pytest.raises(ValueError, match="found"):
        keys("x")
    for times in ({"on_ms": 0}, {"off_ms": 0}):
        with pytest.raises(ValueError, match="for ever"):
            keys("1", **times)


# ---- found


@pytest.mark.parametrize(("country", "kind"), EVERY)
def test_every_tone_of_every_country_is_told_once_and_for_nothing_else(country: str, kind: ToneKind) -> None:
    silence = numpy.zeros(RATE_HZ)
    sound = made(tones(country)[kind], 20, loop=True)
    assert told(numpy.concatenate([silence, sound, silence]), country) == [kind]


@pytest.mark.parametrize(("country", "kind"), EVERY)
@pytest.mark.parametrize(("pitch", "pace"), [(1.015, 0.88), (0.985, 1.12)])
def test_a_tone_is_told_when_its_frequency_and_its_cadence_are_off(
    country: str, kind: ToneKind, pitch: float, pace: float
) -> None:
    sound = made(altered(tones(country)[kind], pitch=pitch, pace=pace), 20, loop=True)
    assert told(noisy(sound, 15), country) == [kind]


@pytest.mark.parametrize("level_dbm0", [0, -20, -35])
@pytest.mark.parametrize("country", ["DE", "US"])
def test_a_tone_is_told_at_any_level(country: str, level_dbm0: float) -> None:
    assert told(made(tones(country)[ToneKind.BUSY], 5, loop=True, level_dbm0=level_dbm0), country) == [ToneKind.BUSY]


def test_busy_is_told_in_its_second_pause_and_not_before() -> None:
    sound = made(tones("DE")[ToneKind.BUSY], 3, loop=True)
    assert told(sound[: round(1.75 * RATE_HZ)], "DE") == []
    assert told(sound[: round(2.05 * RATE_HZ)], "DE") == [ToneKind.BUSY]


def test_a_tone_is_told_again_after_it_has_ended_and_another_one_at_once() -> None:
    table = tones("FR")
    ringing = made(table[ToneKind.RINGBACK], 15, loop=True)
    busy = made(table[ToneKind.BUSY], 5, loop=True)
    silence = numpy.zeros(3 * RATE_HZ)
    sound = numpy.concatenate([ringing, busy, silence, busy])
    assert told(sound, "FR") == [ToneKind.RINGBACK, ToneKind.BUSY, ToneKind.BUSY]


def test_a_tone_that_is_joined_in_the_middle_is_told() -> None:
    for start in range(0, RATE_HZ, RATE_HZ // 16):
        assert told(made(tones("FR")[ToneKind.BUSY], 6, loop=True)[start:], "FR") == [ToneKind.BUSY]


@pytest.mark.parametrize("country", ["DE", "FR", "GB", "IN", "US"])
def test_another_countrys_cadence_at_another_pitch_is_not_told(country: str) -> None:
    cadence = altered(tones(country)[ToneKind.BUSY], pitch=1.1)
    assert told(made(cadence, 10, loop=True), country) == []


def test_one_burst_and_one_of_two_frequencies_are_not_busy() -> None:
    busy = made(tones("US")[ToneKind.BUSY], 1, loop=True)
    assert told(numpy.concatenate([busy, numpy.zeros(5 * RATE_HZ)]), "US") == []
    assert told(made((Step((480,), 500), Step((), 500)), 10, loop=True), "US") == []


def music(seconds: float) -> Sound:
    """Four voices of a scale around 440 Hz, each note with eight harmonics, in 120 quarters a minute."""
    chance = numpy.random.default_rng(1)
    time = numpy.arange(RATE_HZ // 2) / RATE_HZ
    beats = []
    for _ in range(round(2 * seconds)):
        chord = 220 * 2 ** (chance.choice([0, 2, 3, 5, 7, 8, 10, 12, 14, 15], 4) / 12)
        notes = [numpy.sin(2 * numpy.pi * hz * n * time) / n for hz in chord for n in range(1, 9)]
        beats.append(2000 * numpy.exp(-3 * time) * sum(notes))
    return numpy.concatenate(beats)


@pytest.mark.parametrize("country", ["AU", "DE", "FR", "GB", "IN", "US"])
def test_music_and_noise_have_no_tones(country: str) -> None:
    assert told(music(120), country) == []
    chance = numpy.random.default_rng(1)
    bursts = numpy.repeat(chance.integers(0, 2, 600), RATE_HZ // 5) * chance.normal(0, 3000, 120 * RATE_HZ)
    assert told(bursts, country) == []


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng makes the speech, and is missing")
def test_speech_has_no_tones() -> None:
    sound = numpy.frombuffer(speech(300, seed=11), "<i2").astype(float)
    for country in COUNTRIES:
        assert told(sound, country) == []


# ---- what ends, and what is none of them


@pytest.mark.parametrize("country", ["DE", "FR", "GB", "IN", "US"])
def test_ringback_that_ceases_is_told_when_its_pause_is_too_long(country: str) -> None:
    table = tones(country)
    cycle_s = sum(step.ms for step in table[ToneKind.RINGBACK]) / 1000
    pause_s = table[ToneKind.RINGBACK][-1].ms / 1000
    ringing = made(table[ToneKind.RINGBACK], 3 * cycle_s, loop=True)
    events = heard(numpy.concatenate([ringing, numpy.zeros(8 * RATE_HZ)]), country)
    assert [type(event) for _, event in events if not isinstance(event, Finished)] == [Tone, ToneEnded]
    ended_s = next(at for at, event in events if isinstance(event, ToneEnded))
    assert 3 * cycle_s < ended_s < 3 * cycle_s + 0.2 * pause_s + 0.3


@pytest.mark.parametrize("country", COUNTRIES)
def test_a_tone_that_becomes_another_one_has_ended_and_none_is_a_voice(country: str) -> None:
    table = tones(country)
    ringing, busy = (made(table[kind], 15, loop=True) for kind in (ToneKind.RINGBACK, ToneKind.BUSY))
    events = [event for _, event in heard(noisy(numpy.concatenate([ringing, busy]), 35), country)]
    kinds = [(type(event), event.kind) for event in events if isinstance(event, Tone | ToneEnded)]
    assert kinds == [
        (Tone, ToneKind.RINGBACK),
        (ToneEnded, ToneKind.RINGBACK),
        (Tone, ToneKind.BUSY),
        *kinds[3:],
    ]
    assert not any(isinstance(event, Voice) for event in events)


@pytest.mark.parametrize(("country", "kind"), EVERY)
@pytest.mark.parametrize(("pitch", "pace"), [(1.01, 0.9), (0.99, 1.1)])
def test_no_tone_is_a_voice(country: str, kind: ToneKind, pitch: float, pace: float) -> None:
    sound = noisy(made(altered(tones(country)[kind], pitch=pitch, pace=pace), 10, loop=True), 35)
    assert not any(isinstance(event, Voice) for _, event in heard(sound, country))


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng makes the speech, and is missing")
@pytest.mark.parametrize("country", ["DE", "FR", "GB", "IN", "US"])
@pytest.mark.parametrize("into_pause_s", [0.3, 1.0, 1.7])
def test_a_voice_between_two_sounds_of_ringback_is_told_within_a_second(country: str, into_pause_s: float) -> None:
    cadence = tones(country)[ToneKind.RINGBACK]
    cycle_s = sum(step.ms for step in cadence) / 1000
    starts_s = cycle_s - cadence[-1].ms / 1000 + into_pause_s
    words = numpy.frombuffer(speech(4, seed=5), "<i2").astype(float)
    words = words[numpy.argmax(abs(words) > 1000) :]
    sound = numpy.concatenate([made(cadence, cycle_s + starts_s, loop=True), words])
    voices = [at for at, event in heard(sound, country) if isinstance(event, Voice)]
    assert voices
    assert cycle_s + starts_s < voices[0] < cycle_s + starts_s + 1


def test_clicks_are_no_voice() -> None:
    clicks = numpy.zeros(10 * RATE_HZ)
    clicks[:: RATE_HZ // 4] = 30000
    assert heard(clicks, "FR")[:-1] == []


def test_only_what_is_known_can_be_looked_for_and_off_is_off(engine: Engine) -> None:
    busy = engine.tone(tones("DE")[ToneKind.BUSY], loop=True)
    with pytest.raises(ValueError, match="XX"):
        busy.detect_tones("XX")
    busy.detect_tones("DE")
    engine.tick(50)
    busy.detect_tones(None)
    engine.tick(200)
    assert engine.events() == []
    busy.close()
    busy.detect_tones("DE")
