"""Clocks that are apart, and devices that stop and burst: what is measured, and what is heard of it."""

from collections.abc import Iterator
from typing import Any

import numpy
import pytest

from native import FRAME_SAMPLES, RATE_HZ
from tests.bench.drift import KNOWN_S, Apart, Block, span
from tests.pcm_host import Host, left_of


def spans(blocks: list[Block]) -> Iterator[float]:
    """How far apart the delays of each way are, in samples."""
    for way in ([block.downlink for block in blocks], [block.uplink for block in blocks]):
        yield span([one for one in way if one is not None])


@pytest.mark.parametrize("chunk_bytes", [320, 640, 1600])
@pytest.mark.parametrize("ppm", [-200, 200])
def test_in_twenty_minutes_of_drift_the_delay_stays_and_no_step_is_heard(ppm: int, chunk_bytes: int) -> None:
    apart = Apart(ppm, chunk_bytes=chunk_bytes)
    list(apart.run(KNOWN_S))
    before = apart.host_port.stats()
    blocks = list(apart.run(1200 - KNOWN_S))
    stats = apart.host_port.stats()
    apart.close()
    assert max(spans(blocks)) < 60
    # What is said rises by 4 a sample.
    assert max(block.roughest for block in blocks) <= 1
    assert stats.drift_ppm == pytest.approx(ppm, abs=10)
    assert (stats.slips, stats.overruns) == (before.slips, 0)
    assert stats.underruns == before.underruns <= 2
    assert stats.dropped_uplink == before.dropped_uplink


@pytest.mark.parametrize("ppm", [-50, 20])
@pytest.mark.parametrize("phase", [0.05, 0.95])
def test_however_slowly_clocks_part_no_more_than_two_gaps_are_heard(ppm: int, phase: float) -> None:
    apart = Apart(ppm, phase=phase)
    blocks = list(apart.run(3600))
    stats = apart.host_port.stats()
    apart.close()
    assert stats.underruns + stats.slips <= 2
    assert stats.drift_ppm == pytest.approx(ppm, abs=15)
    # From no margin at all to a frame, with what was not known at first.
    assert max(spans(blocks)) < 3 * FRAME_SAMPLES


def test_clocks_that_agree_are_left_alone() -> None:
    apart = Apart(0)
    blocks = list(apart.run(600))
    stats = apart.host_port.stats()
    apart.close()
    assert max(spans(blocks)) == 0
    assert (round(stats.drift_ppm, 6), stats.underruns, stats.slips) == (0, 0, 0)


class Counted(Host):
    """Whose device sends some samples more or less each 40 ms, as the device's own clock makes them."""

    def __init__(self, said: Any, ppm: float) -> None:
        super().__init__(conceal=True)
        self._said, self._speed = said, 1 + ppm / 1e6
        self._sent = 0
        self._chunks = 0

    def run(self, seconds: float, late: frozenset[int] = frozenset()) -> Any:
        """What is heard. The chunks whose numbers are in `late` come a tick late."""
        heard = []
        for _ in range(round(25 * seconds)):
            self._chunks += 1
            due = int(320 * self._chunks * self._speed)
            chunk = self._said(numpy.arange(self._sent, due)).round().astype("<i2").tobytes()
            self._sent = due
            for comes in (self._chunks not in late, self._chunks in late):
                if comes:
                    self.device.sendall(chunk)
                self.engine.tick()
            heard.append(left_of(self.recorder))
        return numpy.concatenate(heard).astype(float)


@pytest.mark.parametrize("ppm", [-200, -20, -6, 6, 20, 200])
def test_a_device_that_counts_by_the_sample_is_known_within_a_minute(ppm: int) -> None:
    counted = Counted(lambda at: 0 * at, ppm)
    counted.run(60, late=frozenset(range(100, 1500, 3)))
    stats = counted.port.stats()
    counted.close()
    assert stats.drift_ppm == pytest.approx(ppm, abs=2)


def distance_db(heard: Any, hz: float) -> float:
    """How far below a tone everything else is."""
    at = 2 * numpy.pi * hz / RATE_HZ * numpy.arange(len(heard))
    basis = numpy.stack([numpy.cos(at), numpy.sin(at)], axis=1)
    tone = basis @ numpy.linalg.lstsq(basis, heard, rcond=None)[0]
    return float(10 * numpy.log10((tone**2).sum() / ((heard - tone) ** 2).sum()))


@pytest.mark.parametrize("ppm", [-200, 200])
@pytest.mark.parametrize(("hz", "least_db"), [(1000, 62), (3400, 52)])
def test_a_tone_stays_a_tone_when_it_is_bent(ppm: int, hz: int, least_db: float) -> None:
    counted = Counted(lambda at: 10000 * numpy.sin(2 * numpy.pi * hz / RATE_HZ * at), ppm)
    counted.run(90)
    before = counted.port.stats()
    heard = counted.run(1)
    assert counted.port.stats().underruns == before.underruns
    counted.close()
    assert distance_db(heard, hz * (1 + ppm / 1e6)) > least_db


@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_each_of_many_hiccups_is_over_within_seconds_both_ways(ppm: int) -> None:
    apart = Apart(ppm)
    list(apart.run(KNOWN_S))
    [before] = apart.run(8)
    for _ in range(5):
        was = apart.host_port.stats()
        list(apart.run(0.5, stuck=True))
        list(apart.run(4))
        stats = apart.host_port.stats()
        assert (stats.underruns, stats.slips) == (was.underruns + 1, was.slips + 1)
        # 25 ticks without a chunk, less what was there.
        assert stats.concealed - was.concealed in (23, 24, 25)
        [after] = apart.run(8)
        assert before.downlink
        assert before.uplink
        assert after.downlink
        assert after.uplink
        # A step of the saw that drift is seen by, and what is too little for a slip; none of it without drift.
        slack = 0 if ppm == 0 else FRAME_SAMPLES + 80
        assert after.downlink.most <= before.downlink.most + slack
        # A device that stalled is sent two chunks of 640 bytes at once, and keeps what it need not have had.
        assert after.uplink.most <= before.uplink.most + 320 + slack
    apart.close()
