"""A stream's port in the engine: what it plays, what messages it makes, and how much of them is one tone."""

import base64
from array import array

import numpy

from native import (
    FRAME_SAMPLES,
    Codec,
    Engine,
    Recorder,
    StreamPort,
)

PREFIX, SUFFIX = b'{"payload":"', b'"}'
FRAME_BYTES = 2 * FRAME_SAMPLES
L16_RATES_HZ = [8000, 16000, 24000, 32000, 44100, 48000]


def open_stream(engine: Engine, codec: Codec = Codec.PCMA, rate_hz: int = 8000) -> StreamPort:
    return engine.stream(codec, rate_hz, prefix=PREFIX, suffix=SUFFIX)


def listen(engine: Engine, stream: StreamPort) -> Recorder:
    recorder = engine.recorder()
    engine.connect(stream, recorder.left)
    return recorder


def heard(recorder: Recorder) -> bytes:
    return array("h", recorder.read())[0::2].tobytes()


def payloads(stream: StreamPort) -> list[bytes]:
    messages = list(iter(stream.take, None))
    for message in messages:
        assert message.startswith(PREFIX)
        assert message.endswith(SUFFIX)
    return [base64.b64decode(m[len(PREFIX) : -len(SUFFIX)], validate=True) for m in messages]


def tone(hz: float, rate_hz: int, seconds: float) -> bytes:
    t = numpy.arange(round(rate_hz * seconds)) / rate_hz
    return (10000 * numpy.sin(2 * numpy.pi * hz * t)).astype("<i2").tobytes()


def likeness(samples: bytes, hz: float, rate_hz: int) -> float:
    """How much of the samples is one tone, whatever its phase: 1 is all."""
    x = numpy.frombuffer(samples, "<i2").astype(float)
    turn = 2 * numpy.pi * hz * numpy.arange(len(x)) / rate_hz
    return float(numpy.hypot(numpy.dot(x, numpy.cos(turn)), numpy.dot(x, numpy.sin(turn)))) / float(
        numpy.sqrt(numpy.dot(x, x) * len(x) / 2)
    )
