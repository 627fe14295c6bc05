"""A customer's stream: the queue of what it plays, and that an echo of it stays pure and in step."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import (
    FRAME_SAMPLES,
    Cleared,
    Codec,
    Engine,
    Event,
    Played,
    alaw_decode,
    alaw_encode,
    ulaw_decode,
    ulaw_encode,
)
from tests.stream_ports import FRAME_BYTES, L16_RATES_HZ, heard, likeness, listen, open_stream, payloads, tone

DECODERS = {Codec.PCMA: alaw_decode, Codec.PCMU: ulaw_decode, Codec.L16: bytes}


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@dataclass
class Model:
    """The queue as a list: samples (two bytes each), checkpoints and clears."""

    queue: list[bytes | Played | Cleared] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    played: bytes = b""

    def tick(self) -> None:
        cleared = [item for item in self.queue if isinstance(item, Cleared)]
        if cleared:
            self.events += cleared
            del self.queue[: self.queue.index(cleared[-1]) + 1]
        frame = b""
        while self.queue and (len(frame) < FRAME_BYTES or isinstance(self.queue[0], Played)):
            match self.queue.pop(0):
                case bytes() as sample:
                    frame += sample
                case event:
                    self.events.append(event)
        self.played += frame.ljust(FRAME_BYTES, b"\0")


orders = st.one_of(
    st.tuples(st.just("play"), st.integers(0, 500), st.sampled_from(Codec)),
    st.tuples(st.just("play"), st.just(1), st.sampled_from(Codec)),
    st.tuples(st.just("clear")),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("tick"), st.integers(1, 4)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(orders, max_size=40))
def test_any_sequence_of_orders_plays_as_the_list_of_its_samples_would(script: list[tuple]) -> None:
    model = Model()
    with Engine() as engine:
        stream = open_stream(engine)
        recorder = listen(engine, stream)
        for mark, order in enumerate([*script, ("tick", 10)]):
            match order:
                case ("play", size, codec):
                    data = bytes((mark + i) % 251 + 1 for i in range(size * (2 if codec is Codec.L16 else 1)))
                    assert stream.play(data, codec, 8000)
                    pcm = DECODERS[codec](data)
                    model.queue += [pcm[i : i + 2] for i in range(0, len(pcm), 2)]
                case ("clear",):
                    stream.clear(mark)
                    model.queue.append(Cleared(stream, mark))
                case ("checkpoint",):
                    stream.checkpoint(mark)
                    model.queue.append(Played(stream, mark))
                case ("tick", count):
                    for _ in range(count):
                        engine.tick()
                        model.tick()
                    # No command is under way between ticks: what waits can be told exactly.
                    samples = sum(isinstance(item, bytes) for item in model.queue)
                    assert abs(stream.queued_ms - samples / 8) <= 1
        assert heard(recorder) == model.played
        assert engine.events() == model.events


def test_a_long_utterance_is_played_without_a_seam(engine: Engine) -> None:
    audio = numpy.random.default_rng(2).integers(0, 256, 8000 * 60, dtype="uint8").tobytes()
    stream = open_stream(engine)
    recorder = listen(engine, stream)
    assert stream.play(audio, Codec.PCMA, 8000)
    played = b""
    for _ in range(60):
        engine.tick(50)
        played += heard(recorder)
    assert played == alaw_decode(audio)
    assert stream.queued_ms == 0


def test_a_part_frame_is_completed_by_what_comes_in_time_and_padded_otherwise(engine: Engine) -> None:
    stream = open_stream(engine)
    recorder = listen(engine, stream)
    stream.play(b"\x11" * 100, Codec.PCMA, 8000)
    stream.play(b"\x22" * 100, Codec.PCMA, 8000)
    engine.tick()
    stream.play(b"\x33" * 10, Codec.PCMA, 8000)
    engine.tick()
    engine.tick()
    expected = alaw_decode(b"\x11" * 100 + b"\x22" * 100 + b"\x33" * 10) + bytes(2 * 110 + FRAME_BYTES)
    assert heard(recorder) == expected


def test_a_clear_obeyed_in_the_next_tick_silences_it(engine: Engine) -> None:
    stream = open_stream(engine)
    recorder = listen(engine, stream)
    stream.play(b"\x11" * 8000, Codec.PCMA, 8000)
    stream.checkpoint(1)
    engine.tick()
    stream.clear(2)
    stream.clear(3)
    engine.tick()
    assert heard(recorder) == alaw_decode(b"\x11" * FRAME_SAMPLES) + bytes(FRAME_BYTES)
    assert engine.events() == [Cleared(stream, 2), Cleared(stream, 3)]
    assert stream.queued_ms == 0


def test_more_than_ten_minutes_are_refused_whole(engine: Engine) -> None:
    stream = open_stream(engine)
    assert stream.play(bytes(599 * 8000), Codec.PCMA, 8000)
    assert not stream.play(bytes(8001), Codec.PCMA, 8000)
    assert stream.play(bytes(2 * 48000), Codec.L16, 48000)
    assert stream.queued_ms == 600000
    assert not stream.play(b"\x55", Codec.PCMA, 8000)
    assert stream.stats().refused_bytes == 8002
    engine.tick()
    assert stream.play(b"\x55" * 160, Codec.PCMA, 8000)
    stream.clear(1)
    engine.tick()
    assert stream.play(bytes(600 * 8000), Codec.PCMA, 8000)


def test_pieces_of_a_sample_do_not_take_a_hundred_times_their_memory(engine: Engine) -> None:
    stream = open_stream(engine)
    pieces = 0
    while pieces < 2_000_000 and stream.play(b"\x11", Codec.PCMA, 8000):
        pieces += 1
    assert 1_000_000 < pieces < 2_000_000
    assert stream.stats().refused_bytes == 1
    engine.tick()
    assert stream.play(b"\x11", Codec.PCMA, 8000)
    stream.clear(1)
    assert stream.play(bytes(600 * 2 * 48000), Codec.L16, 48000)
    engine.tick()


def test_any_array_is_played_whole(engine: Engine) -> None:
    stream = open_stream(engine)
    recorder = listen(engine, stream)
    samples = memoryview(array("h", range(FRAME_SAMPLES)))
    assert stream.play(samples, Codec.L16, 8000)
    engine.tick()
    assert heard(recorder) == samples.tobytes()
    assert engine.player(samples).stats().peak_yielded == 0
    with pytest.raises(ValueError, match="3 bytes"):
        engine.frames().push(memoryview(b"abc"))


def test_what_a_clear_will_forget_takes_no_room_of_what_comes_with_it(engine: Engine) -> None:
    stream = open_stream(engine)
    recorder = listen(engine, stream)
    assert stream.play(b"\x11" * 600 * 8000, Codec.PCMA, 8000)
    engine.tick(3)
    stream.clear(1)
    assert stream.queued_ms == 0
    assert stream.play(b"\x22" * 600 * 8000, Codec.PCMA, 8000)
    assert not stream.play(b"\x22", Codec.PCMA, 8000)
    engine.tick()
    assert stream.queued_ms == 600_000 - 20
    assert heard(recorder) == alaw_decode(b"\x11" * 3 * FRAME_SAMPLES + b"\x22" * FRAME_SAMPLES)


def test_one_streams_marks_leave_room_for_everybodys_events(engine: Engine) -> None:
    stream, other = open_stream(engine), open_stream(engine)
    for mark in range(1000):
        stream.checkpoint(mark)
    other.checkpoint(-1)
    engine.tick()
    first = engine.events()
    assert first[-1] == Played(other, -1)
    assert len(first) <= 129
    engine.tick(10)
    told = [event for event in [*first, *engine.events()] if event.port is stream]
    assert told == [Played(stream, mark) for mark in range(1000)]


@pytest.mark.parametrize("rate_hz", L16_RATES_HZ)
def test_audio_that_comes_just_in_time_has_been_played_in_its_tick(engine: Engine, rate_hz: int) -> None:
    stream = open_stream(engine)
    for mark in range(100):
        assert stream.play(bytes(2 * rate_hz // 50), Codec.L16, rate_hz)
        stream.checkpoint(mark)
        engine.tick()
        assert engine.events() == [Played(stream, mark)]


def test_half_a_sample_of_l16_is_an_error_of_the_caller_and_nothing_is_queued(engine: Engine) -> None:
    stream = open_stream(engine)
    with pytest.raises(ValueError, match="321 bytes"):
        stream.play(bytes(321), Codec.L16, 8000)
    assert stream.queued_ms == 0


@pytest.mark.parametrize("rate_hz", L16_RATES_HZ[1:])
@pytest.mark.parametrize("piece_ms", [5, 20, 37, 1000])
def test_resampled_pieces_join_without_a_seam(engine: Engine, rate_hz: int, piece_ms: int) -> None:
    audio = tone(800, rate_hz, 2)
    piece = 2 * (rate_hz * piece_ms // 1000)
    stream = open_stream(engine)
    recorder = listen(engine, stream)
    for at in range(0, len(audio), piece):
        assert stream.play(audio[at : at + piece], Codec.L16, rate_hz)
    stream.checkpoint(1)
    engine.tick(99)
    assert engine.events() == []
    engine.tick(6)
    assert engine.events() == [Played(stream, 1)]
    samples = numpy.frombuffer(heard(recorder), "<i2")
    spoken = numpy.nonzero(abs(samples) > 50)[0]
    # The filter's delay is 4 ms at most, and what it holds at the end is played, too.
    assert spoken[0] <= 8 * 4
    assert abs(int(spoken[-1]) - int(spoken[0]) - 16000) < 20
    assert likeness(samples[spoken[0] + 80 : spoken[-1] - 80].tobytes(), 800, 8000) > 0.9999


def test_resampled_audio_that_comes_step_by_step_in_real_time_has_no_gaps(engine: Engine) -> None:
    audio = tone(800, 16000, 1)
    stream = open_stream(engine)
    recorder = listen(engine, stream)
    for at in range(0, len(audio), 640):
        stream.play(audio[at : at + 640], Codec.L16, 16000)
        engine.tick()
    assert likeness(heard(recorder)[4 * FRAME_BYTES :], 800, 8000) > 0.9999


def test_pieces_of_any_rate_follow_one_another(engine: Engine) -> None:
    stream = open_stream(engine, Codec.L16, 24000)
    recorder = listen(engine, stream)
    kinds = [(Codec.L16, rate) for rate in L16_RATES_HZ] + [(Codec.PCMA, 8000), (Codec.PCMU, 8000)]
    for mark, (codec, rate_hz) in enumerate(kinds):
        audio = tone(800, rate_hz, 0.2)
        encode = {Codec.PCMA: alaw_encode, Codec.PCMU: ulaw_encode, Codec.L16: bytes}[codec]
        stream.play(encode(audio), codec, rate_hz)
        stream.checkpoint(mark)
    engine.tick(200)
    assert engine.events() == [Played(stream, mark) for mark in range(len(kinds))]
    samples = numpy.frombuffer(heard(recorder), "<i2")
    # Five rates end with a filter's 4 ms.
    length = int(numpy.nonzero(abs(samples) > 50)[0][-1])
    assert abs(length - 8 * (200 * len(kinds) + 5 * 4)) < 20
    for i in range(len(kinds)):
        middle = samples[round(8 * (204 * i + 60)) :][: 8 * 100]
        assert likeness(middle.tobytes(), 800, 8000) > 0.999


def test_what_a_customer_echoes_is_what_it_heard(engine: Engine) -> None:
    stream = open_stream(engine)
    recorder = listen(engine, stream)
    engine.connect(engine.player(tone(440, 8000, 1)), stream)
    for _ in range(50):
        engine.tick()
        for payload in payloads(stream):
            stream.play(payload, Codec.PCMA, 8000)
    said = alaw_decode(alaw_encode(tone(440, 8000, 1)))
    assert heard(recorder) == bytes(FRAME_BYTES) + said[:-FRAME_BYTES]


@pytest.mark.parametrize("rate_hz", [44100, 48000])
def test_an_echo_in_high_definition_stays_pure_and_in_step_for_ten_minutes(engine: Engine, rate_hz: int) -> None:
    stream = open_stream(engine, Codec.L16, rate_hz)
    recorder = listen(engine, stream)
    engine.connect(engine.player(tone(1000, 8000, 1), loop=True), stream)
    seconds, sent_bytes = [], 0
    for _ in range(600):
        for _ in range(50):
            engine.tick()
            for payload in payloads(stream):
                assert stream.play(payload, Codec.L16, rate_hz)
                sent_bytes += len(payload)
        seconds.append(heard(recorder))
        assert stream.queued_ms == 20
    assert sent_bytes == 600 * 2 * rate_hz
    assert {len(second) for second in seconds} == {50 * FRAME_BYTES}
    # The first one has the way and the filters' start in it. All others are the same to the last bit.
    assert set(seconds[1:]) == {seconds[1]}
    assert likeness(seconds[1], 1000, 8000) > 1 - 10 ** (-60 / 10) / 2
