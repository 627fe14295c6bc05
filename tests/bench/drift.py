"""What a device's clock that is off does to the delay, over a day of simulated time.

`drift.delay_change_ms`: a device sends 640 bytes whenever its own clock has made so many, as an EC25 does, 200 ppm too
slow, then 200 ppm too fast. The largest delay less the smallest one, of any frame either way, from the fifth minute on:
until then the drift is being found out, as such chunks tell of it only every 20 ms of it. `drift.gaps`: how often, in
that time, sound had run out, was too much, or was cut out.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from native import FRAME_SAMPLES, RATE_HZ, TICK_S, Engine, Pace, PcmPort, PcmStats, Recorder
from tests.bench.figures import Figure

PPM = 200
KNOWN_S = 300
DAY_S, QUICK_S = 86400, 3600

# A second of a straight line: what a sample's value is, tells when it was said, to a quarter of a sample.
SLOPE = 4
RAMP = (SLOPE * (numpy.arange(RATE_HZ) - RATE_HZ // 2)).astype("<i2").tobytes()
# A recorder keeps 500 frames.
BLOCK_TICKS = 400


@dataclass(frozen=True)
class Span:
    """Of delays in samples, without what is constant on the way."""

    least: float
    most: float


@dataclass(frozen=True)
class Block:
    """Eight seconds; `roughest` is the largest difference between what a sample is and what its neighbours let expect.

    None where silence stood in for all of it.
    """

    since_s: float
    downlink: Span | None
    uplink: Span | None
    roughest: float


def span(spans: list[Span]) -> float:
    return max(one.most for one in spans) - min(one.least for one in spans)


class Apart:
    """A host and a device, each an engine with a clock of its own; either end says the ramp, over and over."""

    def __init__(self, ppm: float, *, phase: float = 0.5, chunk_bytes: int = 640) -> None:
        """The device's first tick is `phase` of a tick after the host's."""
        self._speed, self._phase = 1 + ppm / 1e6, phase
        self.device, self.host = Engine(), Engine()
        ends = socket.socketpair()
        for end in ends:
            end.setblocking(False)
        with ends[0], ends[1]:
            self.device_port = self.device.pcm(ends[0].fileno(), pace=Pace.CLOCK, chunk_bytes=chunk_bytes)
            self.host_port = self.host.pcm(ends[1].fileno(), chunk_bytes=chunk_bytes)
        self._by_device = self._join(self.device, self.device_port)
        self._by_host = self._join(self.host, self.host_port)
        self.host.tick()
        self._by_host.read()
        self.host_ticks = self.device_ticks = 0

    @staticmethod
    def _join(engine: Engine, port: PcmPort) -> Recorder:
        recorder = engine.recorder()
        engine.connect(engine.player(RAMP, loop=True), port)
        engine.connect(port, recorder.left)
        return recorder

    def close(self) -> None:
        self.device.close()
        self.host.close()

    def run(self, seconds: float, *, stuck: bool = False) -> Iterator[Block]:
        """`stuck`: the device's bytes stay where they are, and come all together at the end."""
        end = self.host_ticks + round(seconds / TICK_S)
        while self.host_ticks < end:
            since_s, count = self.host_ticks * TICK_S, min(BLOCK_TICKS, end - self.host_ticks)
            for _ in range(count):
                if not stuck:
                    self._catch_up()
                self.host.tick()
                self.host_ticks += 1
            yield self._block(since_s)

    def _catch_up(self) -> None:
        while (self.device_ticks + self._phase) / self._speed < self.host_ticks + 1:
            self.device.tick()
            self.device_ticks += 1

    def _block(self, since_s: float) -> Block:
        host, device = _frames(self._by_host), _frames(self._by_device)
        # What either end had said when the other one heard.
        by_host = (numpy.arange(self.host_ticks - len(host), self.host_ticks) + 1) * self._speed - self._phase
        by_device = (numpy.arange(self.device_ticks - len(device), self.device_ticks) + self._phase) / self._speed
        down, rough_down = _delays(host, by_host * FRAME_SAMPLES)
        up, rough_up = _delays(device, by_device * FRAME_SAMPLES)
        return Block(since_s, down, up, max(rough_down, rough_up))


def _frames(recorder: Recorder) -> Any:
    return numpy.frombuffer(recorder.read(), "<i2")[0::2].reshape(-1, FRAME_SAMPLES).astype(float)


def _delays(frames: Any, said: Any) -> tuple[Span | None, float]:
    # Neither where the ramp begins anew, nor in silence.
    frames_at = (numpy.abs(frames) < 15000).all(axis=1) & (numpy.count_nonzero(frames, axis=1) >= FRAME_SAMPLES - 1)
    if not frames_at.any():
        return None, 0.0
    ramps = frames[frames_at]
    rough = numpy.abs(numpy.diff(ramps, axis=1) - SLOPE).max(axis=1)
    delays = ((said[frames_at] - ramps[:, 0] / SLOPE - RATE_HZ // 2) % RATE_HZ)[rough <= 1]
    return Span(delays.min(), delays.max()) if len(delays) else None, rough.max()


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    worst, gaps = 0.0, 0
    for ppm in (-PPM, PPM):
        apart = Apart(ppm)
        list(apart.run(KNOWN_S))
        before = _gaps(apart.host_port.stats())
        blocks = list(apart.run((QUICK_S if quick else DAY_S) - KNOWN_S))
        gaps += _gaps(apart.host_port.stats()) - before
        apart.close()
        for way in ([block.downlink for block in blocks], [block.uplink for block in blocks]):
            worst = max(worst, span([one for one in way if one is not None]))
    yield Figure("drift.delay_change_ms", 1000 * worst / RATE_HZ)
    yield Figure("drift.gaps", gaps)


def _gaps(stats: PcmStats) -> int:
    return stats.underruns + stats.overruns + stats.slips
