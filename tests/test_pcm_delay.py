"""How late a modem's audio is: after a hiccup, a slip, jitter and a flood; and how little of it stays."""

import random
from collections.abc import Iterator

import numpy
import pytest

from native import FRAME_SAMPLES, RATE_HZ
from tests.pcm_host import FRAME_BYTES, SERIALS, Host, left_of, serials


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def test_a_device_that_stops_is_concealed_by_silence_and_counted(host: Host) -> None:
    for i in range(10):
        host.step(serials(i * FRAME_SAMPLES, FRAME_SAMPLES))
    for _ in range(7):
        host.step()
    host.step(serials(10 * FRAME_SAMPLES, FRAME_SAMPLES))
    heard = left_of(host.recorder)
    assert heard.tobytes() == (
        serials(0, 10 * FRAME_SAMPLES) + bytes(7 * FRAME_BYTES) + serials(10 * FRAME_SAMPLES, FRAME_SAMPLES)
    )
    stats = host.port.stats()
    assert (stats.underruns, stats.concealed) == (1, 7)


def _delay(sent: int, heard: numpy.ndarray) -> int:
    """In samples, between the newest one sent and the newest one heard."""
    return (sent - int(heard[-1])) % SERIALS


def test_the_delay_of_a_hiccup_goes_away_by_itself(host: Host) -> None:
    sent = 0

    def chunk(count: int) -> bytes:
        nonlocal sent
        sent += count
        return serials(sent - count, count)

    def run(ticks: int) -> int:
        heard = left_of(host.recorder)
        for _ in range(ticks // 2):
            host.step(chunk(320))
            host.step()
            heard = left_of(host.recorder)
        return _delay(sent, heard)

    steady = run(100)
    for _ in range(25):
        host.step()
    host.step(chunk(25 * FRAME_SAMPLES))
    assert host.port.stats().depth_ms <= 200
    after = run(150)
    assert steady == 0
    # One frame of margin for the one underrun, and what is too little for a slip.
    assert after - steady < FRAME_SAMPLES + 80
    stats = host.port.stats()
    assert (stats.slips, stats.underruns) == (1, 1)
    # A minute and a half without another one, and the margin is gone, too.
    assert run(90 * 50) - steady < 80


def test_a_slip_waits_a_second_for_silence(host: Host) -> None:
    loud, quiet = b"\x00\x40" * FRAME_SAMPLES, bytes(FRAME_BYTES)
    host.step(4 * loud)
    for _ in range(75):
        host.step(loud)
    assert host.port.stats().slips == 0
    for _ in range(4):
        host.step(quiet)
    assert host.port.stats().slips == 1
    # What was cut out was silence only.
    assert (left_of(host.recorder) != 0).sum() == 79 * FRAME_SAMPLES
    assert host.port.stats().depth_ms == 0


@pytest.mark.parametrize("phase", [0, numpy.pi / 2])
def test_a_slip_within_sound_is_no_click(host: Host, phase: float) -> None:
    # What is cut out, three frames, is half a wave too many.
    hz = 24.5 / 480 * RATE_HZ
    wave = 10000 * numpy.sin(2 * numpy.pi * hz / RATE_HZ * numpy.arange(200 * FRAME_SAMPLES) + phase)
    frames = wave.astype("<i2").reshape(-1, FRAME_SAMPLES)
    host.step(frames[:4].tobytes())
    for frame in frames[4:]:
        host.step(frame.tobytes())
    assert host.port.stats().slips == 1
    assert numpy.abs(numpy.diff(left_of(host.recorder).astype(int))).max() < 1.25 * numpy.abs(numpy.diff(wave)).max()


def test_the_margin_of_a_single_lateness_goes_away(host: Host) -> None:
    def run(ticks: int) -> float:
        for _ in range(ticks):
            host.step(bytes(FRAME_BYTES))
        return host.port.stats().depth_ms

    assert run(100) == 0
    host.step()
    host.step(bytes(2 * FRAME_BYTES))
    assert run(10 * 50) == 20
    assert run(80 * 50) == 0


def test_jitter_is_met_once_and_then_has_its_margin(host: Host) -> None:
    chance = random.Random(2)
    for i in range(60 * 25):
        late = i > 100 and chance.random() < 0.3
        chunk = serials(320 * i, 320)
        host.step(b"" if late else chunk)
        host.step(chunk if late else b"")
        assert host.port.stats().depth_ms <= 60
        host.recorder.read()
    stats = host.port.stats()
    assert (stats.underruns, stats.slips, stats.overruns) == (1, 0, 0)


def test_a_flood_is_bounded_to_the_newest_two_hundred_ms(host: Host) -> None:
    host.step(serials(0, 20000))
    stats = host.port.stats()
    assert stats.overruns >= 1
    assert stats.dropped_downlink == 20000 - 1600
    assert stats.depth_ms == 180
    assert left_of(host.recorder).tobytes() == serials(20000 - 1600, FRAME_SAMPLES)
