"""What the engine costs, by its thread's own accounting, ticked by hand and alone; medians.

`engine.call_tick_us`: one tick of one call, of 50: a modem's PCM on a socketpair, both ways, DTMF looked for in it, a
stream that hears it and plays to it, a recorder of both. The tick alone: the far ends of the socketpairs are another
engine, and messages and recordings are taken outside of what is counted.
"""

import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from native import RATE_HZ, Codec, Engine, Pace, StreamPort, alaw_decode
from tests.bench.figures import Figure
from tests.bench.voice import noise

CALLS = 50
WARM_UP_TICKS = 50
TICKS, QUICK_TICKS = 500, 100
# Queued audio, for more ticks than are counted.
PLAYED_S = 20


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    if "engine.call_tick_us" in names:
        yield Figure("engine.call_tick_us", call_tick_us(QUICK_TICKS if quick else TICKS))


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
