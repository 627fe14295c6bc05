"""A customer's stream: the messages made of what it hears."""

import base64
from collections.abc import Iterator

import numpy
import pytest

from native import (
    CHUNK,
    FRAME_SAMPLES,
    SEQUENCE,
    TIME_MS,
    Codec,
    Engine,
    alaw_decode,
    alaw_encode,
    ulaw_encode,
)
from tests.stream_ports import (
    FRAME_BYTES,
    L16_RATES_HZ,
    PREFIX,
    SUFFIX,
    heard,
    likeness,
    listen,
    open_stream,
    payloads,
    tone,
)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.mark.parametrize(
    ("codec", "encode"),
    [(Codec.PCMA, alaw_encode), (Codec.PCMU, ulaw_encode), (Codec.L16, bytes)],
)
def test_every_frame_heard_is_one_message(engine: Engine, codec: Codec, encode: type[bytes]) -> None:
    audio = numpy.random.default_rng(1).integers(-32768, 32768, 50 * FRAME_SAMPLES).astype("<i2").tobytes()
    stream = open_stream(engine, codec)
    engine.connect(engine.player(audio), stream)
    engine.tick(50)
    frames = payloads(stream)
    assert len(frames) == 50
    assert b"".join(frames) == encode(audio)


@pytest.mark.parametrize(("codec", "silence"), [(Codec.PCMA, b"\xd5"), (Codec.PCMU, b"\xff"), (Codec.L16, b"\0\0")])
def test_silence_is_the_codecs_own_silence(engine: Engine, codec: Codec, silence: bytes) -> None:
    stream = open_stream(engine, codec)
    engine.tick(2)
    assert payloads(stream) == [FRAME_SAMPLES * silence] * 2


@pytest.mark.parametrize("rate_hz", L16_RATES_HZ)
def test_every_rate_has_its_whole_number_of_samples_in_each_frame(engine: Engine, rate_hz: int) -> None:
    stream = open_stream(engine, Codec.L16, rate_hz)
    engine.connect(engine.player(tone(1000, 8000, 2)), stream)
    frames = []
    for _ in range(100):
        engine.tick()
        frames += payloads(stream)
    assert [len(frame) for frame in frames] == [2 * rate_hz // 50] * 100
    # A tone that is continuous over every seam; the filter's start is left out.
    assert likeness(b"".join(frames[5:]), 1000, rate_hz) > 0.9999


def test_only_the_last_two_seconds_are_kept_and_the_loss_is_counted(engine: Engine) -> None:
    audio = b"".join(alaw_decode(bytes([n % 256]) * FRAME_SAMPLES) for n in range(1000))
    stream = open_stream(engine)
    engine.connect(engine.player(audio), stream)
    engine.tick(100)
    assert len(payloads(stream)) == 100
    assert stream.stats().dropped_frames == 0
    engine.tick(700)
    assert [frame[0] for frame in payloads(stream)] == [n % 256 for n in range(700, 800)]
    assert stream.stats().dropped_frames == 600
    engine.tick()
    assert len(payloads(stream)) == 1


def numbered(ticks: int) -> bytes:
    """Of each frame one code, its number's."""
    return b"".join(alaw_decode(bytes([n % 256]) * FRAME_SAMPLES) for n in range(ticks))


def test_a_stream_that_keeps_is_caught_up_with_at_four_frames_a_tick(engine: Engine) -> None:
    stream = engine.stream(Codec.PCMA, 8000, prefix=PREFIX, suffix=SUFFIX, keep_s=60)
    engine.connect(engine.player(numbered(400)), stream)
    engine.tick(300)
    taken = [[frame[0] for frame in payloads(stream)]]
    while len(taken[-1]) == 4:
        engine.tick()
        taken.append([frame[0] for frame in payloads(stream)])
    # Three hundred, and the one of each tick that it took.
    assert len(taken) == 100
    assert [n for frames in taken for n in frames] == [n % 256 for n in range(399)]
    engine.tick()
    assert payloads(stream) == [bytes([399 % 256]) * FRAME_SAMPLES]
    assert stream.stats().dropped_frames == 0


def test_of_what_is_kept_the_oldest_is_lost_and_counted(engine: Engine) -> None:
    stream = engine.stream(Codec.PCMA, 8000, prefix=PREFIX, suffix=SUFFIX, keep_s=10)
    engine.connect(engine.player(numbered(700)), stream)
    engine.tick(700)
    assert (stream.stats().waiting_frames, stream.stats().dropped_frames) == (500, 200)
    assert [frame[0] for frame in payloads(stream)] == [200, 201, 202, 203]


def test_what_is_kept_of_any_rate_has_no_seam(engine: Engine) -> None:
    stream = engine.stream(Codec.L16, 48000, prefix=PREFIX, suffix=SUFFIX, keep_s=60)
    engine.connect(engine.player(tone(1000, 8000, 8)), stream)
    engine.tick(300)
    frames = []
    for _ in range(90):
        frames += payloads(stream)
        engine.tick()
    assert likeness(b"".join(frames[5:360]), 1000, 48000) > 0.9999


def test_more_than_a_minute_is_not_kept(engine: Engine) -> None:
    with pytest.raises(ValueError, match="61 s not kept"):
        engine.stream(Codec.PCMA, 8000, prefix=PREFIX, suffix=SUFFIX, keep_s=61)


def test_a_stream_without_uplink_makes_no_message(engine: Engine) -> None:
    stream = engine.stream(Codec.PCMA, 8000, prefix=PREFIX, suffix=SUFFIX, uplink=False)
    engine.connect(engine.player(bytes(FRAME_BYTES), loop=True), stream)
    engine.tick(10)
    assert stream.take() is None
    stream.play(b"\x55", Codec.PCMA, 8000)
    recorder = listen(engine, stream)
    engine.tick()
    assert heard(recorder)[:2] == alaw_decode(b"\x55")


def test_a_message_has_its_numbers_where_they_are_wanted(engine: Engine) -> None:
    stream = engine.stream(
        Codec.PCMA,
        8000,
        prefix=f'{{"n":{SEQUENCE},"c":"{CHUNK}",'.encode(),
        suffix=f'","t":{TIME_MS},"again":{SEQUENCE}}}'.encode(),
    )
    engine.tick(3)

    def taken() -> list[bytes]:
        return [message.replace(base64.b64encode(b"\xd5" * 160), b"") for message in iter(stream.take, None)]

    assert taken() == [b'{"n":%d,"c":"%d",","t":%d,"again":%d}' % (n, n, 20 * n - 20, n) for n in (1, 2, 3)]
    assert stream.next_number() == 4
    # What was lost has its place in time, and none among the messages.
    engine.tick(150)
    assert taken()[0] == b'{"n":5,"c":"54",","t":1060,"again":5}'


def test_the_texts_may_be_empty(engine: Engine) -> None:
    stream = engine.stream(Codec.PCMA, 8000, prefix=b"", suffix=b"")
    engine.tick()
    assert stream.take() == base64.b64encode(FRAME_SAMPLES * b"\xd5")


@pytest.mark.parametrize(
    ("codec", "rate_hz"), [(Codec.PCMA, 16000), (Codec.PCMU, 0), (Codec.L16, 22050), (Codec.L16, 8001)]
)
def test_a_rate_that_no_contract_has_is_an_error_of_the_caller(engine: Engine, codec: Codec, rate_hz: int) -> None:
    with pytest.raises(ValueError, match="carried"):
        open_stream(engine, codec, rate_hz)
    stream = open_stream(engine)
    with pytest.raises(ValueError, match="cannot be played"):
        stream.play(b"\0\0", codec, rate_hz)
