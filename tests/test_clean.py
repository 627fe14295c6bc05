"""What a line adds to a voice is taken away: echo, noise, a wrong level; how loud it is, and who speaks, is seen."""

import shutil
from array import array
from collections.abc import Iterator

import numpy
import pytest
from numpy.typing import NDArray

from native import FRAME_SAMPLES, RATE_HZ, Engine, FramesPort, Step
from tests.keys import FULL_SCALE_DBM0
from tests.speech import speech

Sound = NDArray[numpy.float64]
# Of a sine.
FULL_SCALE_MEAN_SQUARE_DB = 10 * numpy.log10(32768**2 / 2)
needs_speech = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng makes the speech, and is missing"
)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def samples(sound: Sound) -> bytes:
    return numpy.clip(numpy.rint(sound), -32768, 32767).astype("<i2").tobytes()


def spoken(seconds: float, seed: int) -> Sound:
    return numpy.frombuffer(speech(seconds, seed), "<i2").astype(float)


def power(sound: Sound) -> float:
    return float(numpy.mean(sound**2))


# ---- echo


class Line:
    """An analog line's far end: a hybrid of 12 ms that gives back what it is sent, 12 dB weaker, and a talker."""

    def __init__(self, engine: Engine) -> None:
        self.port: FramesPort = engine.frames()
        chance = numpy.random.default_rng(3)
        taps = RATE_HZ * 12 // 1000
        self._hybrid = chance.normal(0, 1, taps) * numpy.exp(-numpy.arange(taps) / 20)
        self._hybrid *= 10 ** (-12 / 20) / numpy.sqrt(numpy.sum(self._hybrid**2))
        self._sent = numpy.zeros(taps - 1)

    def answer(self, talker: Sound) -> Sound:
        """Takes the frame that it was sent, answers it; returns the echo alone."""
        sent = numpy.frombuffer(self.port.pull() or bytes(2 * FRAME_SAMPLES), "<i2").astype(float)
        echo = numpy.convolve(numpy.concatenate([self._sent, sent]), self._hybrid, "valid")
        self._sent = numpy.concatenate([self._sent, sent])[-len(self._sent) :]
        self.port.push(samples(echo + talker))
        return echo


def call(engine: Engine, far: Sound, near: Sound, tail_ms: int) -> tuple[Sound, Sound]:
    """The echo on the line, and what is left of it and of the near talker after the canceller."""
    line = Line(engine)
    line.port.cancel_echo(tail_ms)
    recorder = engine.recorder()
    engine.connect(engine.player(samples(far)), line.port)
    engine.connect(line.port, recorder.left)
    echoes, heard = [], []
    engine.tick()
    for at in range(0, len(far) - FRAME_SAMPLES, FRAME_SAMPLES):
        echoes.append(line.answer(near[at : at + FRAME_SAMPLES]))
        recorder.read()
        engine.tick()
        heard.append(numpy.array(array("h", recorder.read())[0::2], float))
    return numpy.concatenate(echoes), numpy.concatenate(heard)


def erle_db(echo: Sound, heard: Sound, second: int) -> float:
    span = slice(second * RATE_HZ, (second + 1) * RATE_HZ)
    return 10 * float(numpy.log10(power(echo[span]) / max(power(heard[span]), 0.1)))


def test_an_echo_is_cancelled_within_two_seconds(engine: Engine) -> None:
    far = numpy.random.default_rng(1).normal(0, 3000, 6 * RATE_HZ)
    echo, heard = call(engine, far, numpy.zeros(len(far)), 32)
    assert erle_db(echo, heard, 0) > 6
    assert erle_db(echo, heard, 2) > 30
    assert erle_db(echo, heard, 4) > 35


@needs_speech
def test_while_both_speak_the_near_one_is_heard_as_if_alone_and_the_echo_stays_away_after() -> None:
    far, near = spoken(14, 5), spoken(14, 6)
    # Both speak in the seconds from five to eight, the far one alone before and after.
    near[: 5 * RATE_HZ] = near[8 * RATE_HZ :] = 0
    with Engine() as engine:
        echo, heard = call(engine, far, near, 32)
    with Engine() as engine:
        _, alone = call(engine, 0 * far, near, 32)
    both = slice(5 * RATE_HZ, 8 * RATE_HZ)
    assert 10 * numpy.log10(power(alone[both]) / power(heard[both] - alone[both])) > 25
    for second in (4, 8, 11):
        assert erle_db(echo, heard, second) > 30


def test_without_a_canceller_the_echo_is_there_to_the_sample(engine: Engine) -> None:
    far = numpy.random.default_rng(1).normal(0, 3000, RATE_HZ)
    echo, heard = call(engine, far, numpy.zeros(len(far)), 0)
    assert numpy.abs(echo - heard).max() <= 0.5


def test_only_a_port_that_speaks_and_hears_has_an_echo(engine: Engine) -> None:
    with pytest.raises(ValueError, match="echo"):
        engine.player(b"").cancel_echo(32)
    with pytest.raises(ValueError, match="echo"):
        engine.recorder().left.cancel_echo(32)
    with pytest.raises(ValueError, match="513 ms"):
        engine.frames().cancel_echo(513)


# ---- noise and level


def processed(engine: Engine, sound: Sound, *, agc: bool, denoise: bool) -> Sound:
    player, recorder = engine.player(samples(sound)), engine.recorder()
    player.process(agc=agc, denoise=denoise)
    engine.connect(player, recorder.left)
    parts = b""
    for _ in range(len(sound) // FRAME_SAMPLES):
        engine.tick()
        parts += recorder.read()
    return numpy.array(array("h", parts)[0::2], float)


def test_a_steady_noise_is_suppressed(engine: Engine) -> None:
    noise = numpy.random.default_rng(1).normal(0, 300, 5 * RATE_HZ)
    left = processed(engine, noise, agc=False, denoise=True)
    assert power(left[3 * RATE_HZ :]) < power(noise) / 10


@needs_speech
def test_quiet_and_loud_talkers_come_to_one_level(engine: Engine) -> None:
    talker = spoken(20, 9)
    levels = []
    for gain in (0.1, 0.3, 1.0):
        heard = processed(engine, gain * talker, agc=True, denoise=False)[10 * RATE_HZ :]
        levels.append(10 * numpy.log10(power(heard)))
    before = 20 * numpy.log10(1.0 / 0.1)
    assert max(levels) - min(levels) < before / 4
    # -20 dBm0 while they speak, which is three quarters of the time.
    for level in levels:
        assert level - 10 * numpy.log10(0.75) == pytest.approx(-20 + FULL_SCALE_MEAN_SQUARE_DB - FULL_SCALE_DBM0, abs=3)


def test_what_is_not_processed_is_not_changed(engine: Engine) -> None:
    sound = numpy.random.default_rng(1).normal(0, 3000, RATE_HZ)
    heard = processed(engine, sound, agc=False, denoise=False)
    assert heard.astype("<i2").tobytes() == samples(sound)


def test_what_was_switched_off_changes_nothing_any_more(engine: Engine) -> None:
    sound = samples(numpy.random.default_rng(1).normal(0, 3000, 10 * FRAME_SAMPLES))
    port, recorder = engine.frames(), engine.recorder()
    engine.connect(port, recorder.left)
    engine.connect(engine.player(sound, loop=True), port)
    port.cancel_echo(32)
    port.process(agc=True, denoise=True)
    for on in (True, False):
        if not on:
            port.cancel_echo(0)
            port.process()
        port.push(sound)
        engine.tick(10)
        heard = array("h", recorder.read())[0::2].tobytes()
        assert (heard == sound) is not on


# ---- level and voice


@pytest.mark.parametrize("level_dbm0", [0, -10, -40])
def test_the_level_is_against_a_sine_of_full_scale(engine: Engine, level_dbm0: float) -> None:
    tone = engine.tone((Step((1000,)),), level_dbm0=level_dbm0)
    tone.measure(True)
    engine.tick(50)
    assert tone.stats().level_dbfs == pytest.approx(level_dbm0 - FULL_SCALE_DBM0, abs=0.1)


def test_what_is_not_measured_has_no_level(engine: Engine) -> None:
    tone = engine.tone((Step((1000,)),))
    assert (tone.stats().level_dbfs, tone.stats().voice) == (None, None)
    tone.measure(True)
    engine.tick(2)
    assert tone.stats().level_dbfs is not None
    tone.measure(False)
    assert tone.stats().level_dbfs is None
    silence = engine.player(b"")
    silence.measure(True)
    engine.tick(2)
    assert silence.stats().level_dbfs == -numpy.inf
    silence.close()
    silence.measure(True)
    assert silence.stats().voice is None


@needs_speech
@pytest.mark.parametrize("noise_rms", [0, 30, 200])
def test_voice_is_seen_in_any_background_and_not_where_there_is_none(engine: Engine, noise_rms: float) -> None:
    talk = spoken(4, 2)
    silence = numpy.zeros(4 * RATE_HZ)
    sound = numpy.concatenate([silence, talk, silence, talk, silence])
    sound += numpy.random.default_rng(1).normal(0, noise_rms, len(sound))
    player = engine.player(samples(sound))
    player.measure(True)
    seen = []
    for _ in range(len(sound) // FRAME_SAMPLES):
        engine.tick()
        seen.append(player.stats().voice)
    spans = numpy.array(seen, float).reshape(5, -1)
    # The first second and the last words' 300 ms left out.
    assert [round(float(spans[span][50:].mean()), 1) for span in (0, 2, 4)] == [0, 0, 0]
    assert spans[1].mean() > 0.7
    assert spans[3].mean() > 0.7
