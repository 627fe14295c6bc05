"""What the engine costs, by its thread's own accounting, ticked by hand and alone; medians.

`engine.call_tick_us`: one tick of one call, of 50: a modem's PCM on a socketpair, both ways, keys and a network's
tones looked for in it, a stream that hears it and plays to it, a recorder of both. The tick alone: the far ends of the
socketpairs are another engine, and messages and recordings are taken outside of what is counted. Ticks are counted by
two: a modem's chunk comes in every other one, which makes it a third dearer. Measured in turn with the conferences.

`engine.conference_us.N`: one tick of a conference of N parties that all talk and hear, each a port whose sound comes
from and goes to memory. Its cost must grow with the parties, not with their square: 250 are compared with five
conferences of 50 in one engine, as many ports, so as much memory, measured in turn.
"""

import socket
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from native import FRAME_SAMPLES, RATE_HZ, Codec, Engine, Pace, StreamPort, alaw_decode
from tests.bench.figures import Figure, against
from tests.bench.voice import noise

CALLS = 50
WARM_UP_TICKS = 50
PAIRS_OF_TICKS = 50
LARGEST = "engine.conference_us.250"
# So much is pushed at once, and so often.
CONFERENCE_TICKS = 50
CONFERENCE_BYTES = CONFERENCE_TICKS * FRAME_SAMPLES
CONFERENCE_ROUNDS = 4
ROUNDS, QUICK_ROUNDS = 9, 3
# Queued audio, for more ticks than are counted.
PLAYED_S = 20


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    costs: dict[str, list[float]] = {name: [] for name in FIGURES if name in names}
    five_of_50: list[float] = []
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        for name, spent in costs.items():
            spent.append(FIGURES[name]())
        if LARGEST in costs:
            five_of_50.append(conference_us(50, halls=5))
    for name, spent in costs.items():
        yield against(name, spent, five_of_50 if name == LARGEST else [])


def call_tick_us() -> float:
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
        for _ in range(WARM_UP_TICKS + 2 * PAIRS_OF_TICKS):
            far.tick()
            began_ns = time.thread_time_ns()
            engine.tick()
            spent_ns.append(time.thread_time_ns() - began_ns)
            engine.events()
            for stream in streams:
                _take_all(stream)
            for recorder in recorders:
                recorder.read()
    for pair in sockets:
        for end in pair:
            end.close()
    warm_ns = spent_ns[WARM_UP_TICKS:]
    pairs_ns = [one + other for one, other in zip(warm_ns[::2], warm_ns[1::2], strict=True)]
    return statistics.median(pairs_ns) / 2 / 1000 / CALLS


def conference_us(parties: int, *, halls: int = 1) -> float:
    with Engine() as engine:
        conferences = [engine.conference() for _ in range(halls)]
        ports = [engine.frames() for _ in range(halls * parties)]
        said = [alaw_decode(noise(seed)[:CONFERENCE_BYTES]) for seed in range(len(ports))]
        for number, port in enumerate(ports):
            conference = conferences[number // parties]
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


FIGURES: dict[str, Callable[[], float]] = {
    "engine.call_tick_us": call_tick_us,
    "engine.conference_us.50": partial(conference_us, 50),
    "engine.conference_us.100": partial(conference_us, 100),
    LARGEST: partial(conference_us, 250),
}


def _take_all(stream: StreamPort) -> None:
    while stream.take() is not None:
        pass
