"""What the engine costs, by its thread's own accounting, ticked by hand and alone; medians.

`engine.call_tick_us`: one tick of one call, of 50: a modem's PCM on a socketpair, both ways, DTMF looked for in it, a
stream that hears it and plays to it, a recorder of both. The tick alone: the far ends of the socketpairs are another
engine, and messages and recordings are taken outside of what is counted. `g711.*`: 160 samples of A-law, within one
call on a block of 1000 frames of noise, the hardest for whoever guesses.
"""

import socket
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from native import FRAME_SAMPLES, RATE_HZ, Codec, Engine, Pace, StreamPort, alaw_decode
from native._engine import ffi, lib
from tests.bench.figures import Figure, against
from tests.bench.voice import noise

try:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        import audioop
except ImportError:  # Python 3.13
    audioop = None  # type: ignore[assignment]

CALLS = 50
WARM_UP_TICKS = 50
TICKS, QUICK_TICKS = 500, 100
# Queued audio, for more ticks than are counted.
PLAYED_S = 20
BLOCK_FRAMES = 1000
ROUNDS = 25


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    if "engine.call_tick_us" in names:
        yield Figure("engine.call_tick_us", call_tick_us(QUICK_TICKS if quick else TICKS))
    for name, way in (("g711.encode_ns", _encoders), ("g711.decode_ns", _decoders)):
        if name in names:
            yield against(name, *_in_turn(*way()))


def call_tick_us(ticks: int) -> float:
    sockets = [socket.socketpair() for _ in range(CALLS)]
    with Engine() as engine, Engine() as far:
        sound = far.player(alaw_decode(noise(1)[: 10 * RATE_HZ]), loop=True)
        streams, recorders = [], []
        for ours, theirs in sockets:
            ours.setblocking(False)
            theirs.setblocking(False)
            far.connect(sound, far.pcm(theirs.fileno(), pace=Pace.CLOCK))
            line = engine.pcm(ours.fileno())
            line.detect_dtmf(True)
            stream = engine.stream(Codec.PCMA, RATE_HZ, prefix=b'{"payload":"', suffix=b'"}')
            stream.play(noise(2)[: PLAYED_S * RATE_HZ], Codec.PCMA, RATE_HZ)
            recorder = engine.recorder()
            engine.connect(line, stream)
            engine.connect(stream, line)
            engine.connect(line, recorder.left)
            engine.connect(stream, recorder.right)
            streams.append(stream)
            recorders.append(recorder)
        spent_ns: list[int] = []
        for tick in range(WARM_UP_TICKS + ticks):
            far.tick()
            began_ns = time.thread_time_ns()
            engine.tick()
            if tick >= WARM_UP_TICKS:
                spent_ns.append(time.thread_time_ns() - began_ns)
            engine.events()
            for stream in streams:
                _take_all(stream)
            for recorder in recorders:
                recorder.read()
    for pair in sockets:
        for end in pair:
            end.close()
    return statistics.median(spent_ns) / 1000 / CALLS


def _take_all(stream: StreamPort) -> None:
    while stream.take() is not None:
        pass


Work = Callable[[], object]


def _encoders() -> tuple[Work, Work | None]:
    pcm = alaw_decode(noise(1)[: BLOCK_FRAMES * FRAME_SAMPLES])
    count = len(pcm) // 2
    coded, samples = ffi.new("uint8_t[]", count), ffi.from_buffer("int16_t[]", pcm)
    peer = None if audioop is None else lambda: audioop.lin2alaw(pcm, 2)
    return lambda: lib.alaw_encode(coded, samples, count), peer


def _decoders() -> tuple[Work, Work | None]:
    coded = noise(1)[: BLOCK_FRAMES * FRAME_SAMPLES]
    samples, codes = ffi.new("int16_t[]", len(coded)), ffi.from_buffer("uint8_t[]", coded)
    peer = None if audioop is None else lambda: audioop.alaw2lin(coded, 2)
    return lambda: lib.alaw_decode(samples, codes, len(coded)), peer


def _in_turn(ours: Work, peer: Work | None) -> tuple[list[float], list[float]]:
    """Nanoseconds a frame, of each round."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for work, rounds in zip((ours, peer), spent, strict=True):
            if work is not None:
                began_ns = time.thread_time_ns()
                work()
                rounds.append((time.thread_time_ns() - began_ns) / BLOCK_FRAMES)
    return spent
