"""A sound card's clock and the engine's, both by hand: what a card's thread does is `device_call` here."""

import errno
import threading
from array import array
from collections.abc import Iterator

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import FRAME_SAMPLES, RATE_HZ, Engine, PortFailed
from native._engine import ffi, lib

# Serial numbers are 1 to 30000, then 1 again: 0 is silence.
SERIALS = 30000


def serials(start: int, count: int) -> numpy.ndarray:
    return ((numpy.arange(start, start + count) % SERIALS) + 1).astype("<i2")


class Card:
    """A sound card at `rate_hz`, and the engine it belongs to; `heard` is what the engine was told of it."""

    def __init__(self, rate_hz: int = RATE_HZ) -> None:
        self.rate_hz = rate_hz
        self.engine = Engine()
        self.port = self.engine.device(rate_hz)
        self.recorder = self.engine.recorder()
        self.engine.connect(self.port, self.recorder.left)
        self.line = self.port.open_line()

    def say(self, samples: numpy.ndarray, *, loop: bool = False) -> None:
        """What the card plays from now on."""
        self.engine.connect(self.engine.player(samples.astype("<i2").tobytes(), loop=loop), self.port)

    def call(self, captured: numpy.ndarray) -> numpy.ndarray:
        played = numpy.full(len(captured), 0x5555, "<i2")
        into, out = (ffi.from_buffer("int16_t[]", samples) for samples in (captured.astype("<i2"), played))
        lib.device_call(self.line, into, out, len(captured))
        return played

    def heard(self) -> numpy.ndarray:
        return numpy.frombuffer(self.recorder.read(), "<i2")[0::2]

    def close(self) -> None:
        self.engine.close()


@pytest.fixture
def card() -> Iterator[Card]:
    card = Card()
    yield card
    card.close()


def test_at_8000_hz_every_sample_passes_unchanged_both_ways(card: Card) -> None:
    card.say(serials(0, 50 * FRAME_SAMPLES))
    played = []
    for n in range(50):
        card.engine.tick()
        played.append(card.call(serials(n * FRAME_SAMPLES, FRAME_SAMPLES)))
    card.engine.tick()
    assert (numpy.concatenate(played) == serials(0, 50 * FRAME_SAMPLES)).all()
    assert (card.heard() == numpy.concatenate([numpy.zeros(FRAME_SAMPLES), serials(0, 50 * FRAME_SAMPLES)])).all()
    stats = card.port.stats()
    assert (stats.captured_s, stats.played_s, stats.downlink.underruns, stats.uplink.underruns) == (1, 1, 0, 0)


@given(sizes=st.lists(st.integers(0, 900), min_size=1, max_size=30))
def test_a_card_may_ask_for_any_number_of_samples(sizes: list[int]) -> None:
    card = Card()
    card.port.conceal(False)
    at, said, played, heard = 0, 0, [], []
    card.say(serials(0, 30000))
    for size in sizes:
        while said < at + size:
            card.engine.tick()
            heard.append(card.heard())
            said += FRAME_SAMPLES
        played.append(card.call(serials(at, size)))
        at += size
    card.engine.tick(60)
    found = numpy.concatenate([*heard, card.heard()])
    found = found[found != 0]
    out = numpy.concatenate(played)
    out = out[out != 0]
    stats = card.port.stats()
    assert (out == serials(0, len(out))).all() or stats.uplink.dropped
    assert len(out) == at or stats.uplink.concealed or stats.uplink.dropped
    assert (found == serials(0, len(found))).all() or stats.downlink.dropped
    # What is no whole frame yet waits.
    assert at - len(found) < FRAME_SAMPLES or stats.downlink.dropped
    card.close()


def sine(rate_hz: int, count: int) -> numpy.ndarray:
    return numpy.rint(10000 * numpy.sin(2 * numpy.pi * 1000 * numpy.arange(count) / rate_hz)).astype("<i2")


def tone_to_noise_db(sound: numpy.ndarray, rate_hz: int) -> float:
    angles = 2 * numpy.pi * 1000 * numpy.arange(len(sound)) / rate_hz
    waves = numpy.stack([numpy.sin(angles), numpy.cos(angles)], 1)
    parts = numpy.linalg.lstsq(waves, sound.astype(float), rcond=None)[0]
    return float(20 * numpy.log10(numpy.hypot(*parts) / 2**0.5 / numpy.std(sound - waves @ parts)))


@pytest.mark.parametrize("rate_hz", [11025, 16000, 22050, 32000, 44100, 48000, 96000])
def test_a_tone_is_itself_at_every_rate_both_ways(rate_hz: int) -> None:
    card = Card(rate_hz)
    card.say(sine(RATE_HZ, RATE_HZ), loop=True)
    captured, played, at = sine(rate_hz, 2 * rate_hz), [], 0
    for n in range(100):
        card.engine.tick()
        # 11025 Hz has half a sample in 20 ms.
        end = (n + 1) * rate_hz // 50
        played.append(card.call(captured[at:end]))
        at = end
    heard = card.heard()[RATE_HZ // 2 :]
    assert tone_to_noise_db(heard, RATE_HZ) > 80
    assert tone_to_noise_db(numpy.concatenate(played)[rate_hz // 2 :], rate_hz) > 80
    stats = card.port.stats()
    assert stats.downlink.underruns <= 1
    assert (stats.downlink.slips, stats.uplink.slips) == (0, 0)
    card.close()


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_card_with_a_clock_of_its_own_keeps_its_delay_for_an_hour(ppm: int) -> None:
    card = Card()
    frame = numpy.full(FRAME_SAMPLES, 50, "<i2")
    card.say(frame, loop=True)
    calls, depths = 0, []
    for tick in range(180000):
        while calls * 1_000_000 < tick * (1_000_000 + ppm):
            card.call(frame)
            calls += 1
        card.engine.tick()
        if tick % 500 == 0:
            stats = card.port.stats()
            depths.append((stats.downlink.depth_ms, stats.uplink.depth_ms))
            card.recorder.read()
    assert max(max(pair) for pair in depths) <= 40
    stats = card.port.stats()
    # 36 frames too many or too few in an hour, each way; nothing else is lost.
    for side in (stats.downlink, stats.uplink):
        assert side.overruns == 0
        assert side.concealed * FRAME_SAMPLES <= 40 * FRAME_SAMPLES
        assert side.dropped <= 40 * FRAME_SAMPLES
    card.close()


def test_a_card_that_stands_still_for_half_a_second_is_back_at_its_delay(card: Card) -> None:
    card.say(serials(0, 30000), loop=True)
    frame = numpy.full(FRAME_SAMPLES, 50, "<i2")

    def run(ticks: int) -> None:
        for _ in range(ticks):
            card.engine.tick()
            card.call(frame)

    run(100)
    before = card.port.stats()
    card.engine.tick(25)
    assert card.port.stats().downlink.concealed - before.downlink.concealed == 24
    for _ in range(25):
        card.call(frame)
    run(500)
    after = card.port.stats()
    for was, now in ((before.downlink, after.downlink), (before.uplink, after.uplink)):
        assert now.depth_ms <= was.depth_ms + 30
        assert now.underruns <= 2
    assert (after.dropped_uplink, after.dropped_downlink) == (0, 0)


def test_a_second_that_nobody_fetches_is_all_that_is_kept(card: Card) -> None:
    card.say(serials(0, 30000), loop=True)
    card.engine.tick(60)
    assert card.port.stats().dropped_uplink == 9 * FRAME_SAMPLES
    for _ in range(60):
        card.call(numpy.ones(FRAME_SAMPLES))
    assert card.port.stats().dropped_downlink == 9 * FRAME_SAMPLES
    assert card.port.stats().uplink.overruns == 1


def test_xruns_of_the_two_ways_are_counted_apart(card: Card) -> None:
    for playing in (True, False, True):
        lib.device_xrun(card.line, playing)
    assert (card.port.stats().input_xruns, card.port.stats().output_xruns) == (1, 2)


def test_a_way_that_stands_still_holds_up_no_other(card: Card) -> None:
    card.engine.tick()
    lib.device_call(card.line, ffi.NULL, ffi.new("int16_t[]", 160), 160)
    lib.device_call(card.line, ffi.new("int16_t[]", [7] * 160), ffi.NULL, 160)
    card.engine.tick()
    assert (card.heard()[-160:] == 7).all()
    assert (card.port.stats().captured_s, card.port.stats().played_s) == (0.02, 0.02)


def test_a_card_that_is_unplugged_is_told_once_and_silent(card: Card) -> None:
    card.call(numpy.ones(FRAME_SAMPLES))
    lib.device_finish(card.line)
    card.engine.tick(5)
    assert card.engine.events() == [PortFailed(card.port, errno.ENODEV)]
    assert card.port.stats().downlink.concealed == 0


def test_a_card_that_outlives_its_port_plays_silence_and_is_not_wanted(card: Card) -> None:
    card.say(serials(0, 30000))
    card.engine.tick()
    assert card.call(numpy.ones(FRAME_SAMPLES)).any()
    assert lib.device_wanted(card.line)
    card.port.close()
    card.engine.tick()
    assert not card.call(numpy.ones(FRAME_SAMPLES)).any()
    assert not lib.device_wanted(card.line)
    lib.device_finish(card.line)
    card.engine.tick()
    assert card.engine.events() == []


def test_an_engine_may_be_closed_under_a_card() -> None:
    card = Card()
    card.engine.close()
    assert not card.call(numpy.ones(FRAME_SAMPLES)).any()
    assert not lib.device_wanted(card.line)


def test_both_threads_may_run_at_once() -> None:
    """For the sanitizers: nothing else is asked of it."""
    card = Card(48000)
    card.say(serials(0, 30000), loop=True)
    captured = array("h", bytes(2 * 960))

    def play() -> None:
        for _ in range(500):
            card.call(numpy.frombuffer(captured, "<i2"))

    thread = threading.Thread(target=play)
    thread.start()
    for _ in range(500):
        card.engine.tick()
        card.port.stats()
    thread.join()
    card.close()


def test_a_closed_port_is_inert_and_a_wrong_rate_the_callers(card: Card) -> None:
    with pytest.raises(ValueError, match="7919 Hz"):
        card.engine.device(7919)
    port = card.engine.device(8000)
    port.close()
    assert port.stats().captured_s == 0
    with pytest.raises(ValueError, match="closed"):
        port.open_line()
