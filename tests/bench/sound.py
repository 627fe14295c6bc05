"""What the engine costs, by its thread's own accounting, ticked by hand and alone; medians.

`engine.call_tick_us`: one tick of one call, of 50: a modem's PCM on a socketpair, both ways, keys and a network's
tones looked for in it, a stream that hears it and plays to it, a recorder of both. The tick alone: the far ends of the
socketpairs are another engine, and messages and recordings are taken outside of what is counted.

`engine.conference_us.N`: one tick of a conference of N parties that all talk and hear, each a port whose sound comes
from and goes to memory. Its cost must grow with the parties, not with their square: 250 are compared with five
conferences of 50, measured in turn.
"""

import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from native import FRAME_SAMPLES, RATE_HZ, Codec, Engine, Pace, StreamPort, alaw_decode
from tests.bench.figures import Figure, against
from tests.bench.voice import noise

CALLS = 50
WARM_UP_TICKS = 50
TICKS, QUICK_TICKS = 500, 100
CONFERENCES = (50, 100, 250)
# So much is pushed at once, and so often.
CONFERENCE_TICKS = 50
CONFERENCE_BYTES = CONFERENCE_TICKS * FRAME_SAMPLES
CONFERENCE_ROUNDS = 4
ROUNDS, QUICK_ROUNDS = 9, 3
# Queued audio, for more ticks than are counted.
PLAYED_S = 20


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    if "engine.call_tick_us" in names:
        yield Figure("engine.call_tick_us", call_tick_us(QUICK_TICKS if quick else TICKS))
    sizes = [size for size in CONFERENCES if f"engine.conference_us.{size}" in names]
    if sizes:
        rounds = [[conference_us(size) for size in CONFERENCES] for _ in range(QUICK_ROUNDS if quick else ROUNDS)]
        costs = dict(zip(CONFERENCES, zip(*rounds, strict=True), strict=True))
        for size in sizes:
            five_of_50 = [5 * cost for cost in costs[50]] if size == 250 else []
            yield against(f"engine.conference_us.{size}", costs[size], five_of_50)


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
            line.detect_tones("US")
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


def conference_us(parties: int) -> float:
    with Engine() as engine:
        conference = engine.conference()
        ports = [engine.frames() for _ in range(parties)]
        said = [alaw_decode(noise(seed)[:CONFERENCE_BYTES]) for seed in range(parties)]
        for port in ports:
            engine.connect(port, conference)
            engine.connect(conference, port)
        spent_ns: list[int] = []
        for _ in range(CONFERENCE_ROUNDS):
            for port, samples in zip(ports, said, strict=True):
                port.push(samples)
            for _ in range(CONFERENCE_TICKS):
                began_ns = time.thread_time_ns()
                engine.tick()
                spent_ns.append(time.thread_time_ns() - began_ns)
            for port in ports:
                while port.pull() is not None:
                    pass
    return statistics.median(spent_ns) / 1000


def _take_all(stream: StreamPort) -> None:
    while stream.take() is not None:
        pass
