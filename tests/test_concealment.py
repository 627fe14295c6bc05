"""What is heard in place of what did not come."""

import socket
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

from native import FRAME_SAMPLES, RATE_HZ, Engine, Pace, PortFailed
from tests import pcm_host
from tests.pcm_host import FRAME_BYTES, left_of


def voiced(frames: int) -> Any:
    """Like a vowel: harmonics of a pitch that glides between 100 and 140 Hz, as loud as it may be."""
    at = numpy.arange(frames * FRAME_SAMPLES) / RATE_HZ
    phase = 2 * numpy.pi * (120 * at - 20 / (2 * numpy.pi * 0.5) * numpy.cos(2 * numpy.pi * 0.5 * at))
    sound = sum(numpy.sin(k * phase) / k for k in range(1, 12)) * (1 + 0.3 * numpy.sin(2 * numpy.pi * 3 * at))
    return (sound / numpy.abs(sound).max() * 12000).round().astype("<i2")


class Host(pcm_host.Host):
    def __init__(self) -> None:
        super().__init__(conceal=True)

    def hear(self, frames: list[bytes]) -> Any:
        """One each tick; an empty one never comes."""
        for frame in frames:
            self.device.sendall(frame)
            self.engine.tick()
        return left_of(self.recorder)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def cut(sound: Any) -> list[bytes]:
    data = sound.tobytes()
    return [data[at : at + FRAME_BYTES] for at in range(0, len(data), FRAME_BYTES)]


def distance_db(sound: Any, heard: Any) -> float:
    wanted, error = sound.astype(float), heard.astype(float) - sound
    return float(10 * numpy.log10((wanted**2).sum() / (error**2).sum()))


def test_a_voice_that_lost_a_tenth_is_far_closer_to_itself_than_with_gaps() -> None:
    sound, distances = voiced(500), []
    for on in (True, False):
        host = Host()
        host.port.conceal(on)
        heard = host.hear([b"" if i % 10 == 7 else frame for i, frame in enumerate(cut(sound))])
        assert host.port.stats().concealed == 50
        host.close()
        distances.append(distance_db(sound, heard))
    concealed, silence = distances
    assert silence == pytest.approx(10, abs=1)
    assert concealed > silence + 6


def test_what_came_whole_is_heard_to_the_last_bit(host: Host) -> None:
    sound = voiced(100)
    assert (host.hear(cut(sound)) == sound).all()


def test_what_stops_fades_within_sixty_milliseconds_and_what_follows_begins_softly(host: Host) -> None:
    sound = voiced(30)
    frames = cut(sound)
    heard = host.hear([*frames[:20], *([b""] * 100), *frames[20:]]).reshape(-1, FRAME_SAMPLES)
    loudness = numpy.abs(heard[20:24].astype(int)).max(axis=1)
    assert loudness[0] > loudness[1] > loudness[2]
    assert not heard[23:120].any()
    assert abs(heard[120, 0]) < 1000
    # A quarter of the longest pitch period.
    assert (heard[120, 30:] == sound[20 * FRAME_SAMPLES + 30 : 21 * FRAME_SAMPLES]).all()
    assert (heard[121:].ravel() == sound[21 * FRAME_SAMPLES :]).all()


def test_silence_stays_silence(host: Host) -> None:
    quiet = bytes(FRAME_BYTES)
    heard = host.hear([*cut(voiced(10)), *([quiet] * 5), b"", b"", quiet, b"", quiet])
    assert not heard[10 * FRAME_SAMPLES :].any()


def test_nothing_goes_on_after_the_end(host: Host) -> None:
    host.hear(cut(voiced(10)))
    host.device.close()
    host.engine.tick(5)
    assert not any(host.recorder.read())
    assert [type(event) for event in host.engine.events()] == [PortFailed]
    assert host.port.stats().concealed == 0


def test_a_device_that_we_play_conceals_nothing_and_other_ports_cannot(host: Host) -> None:
    one, other = socket.socketpair()
    for end in (one, other):
        end.setblocking(False)
    with Engine() as engine, one, other:
        port = engine.pcm(one.fileno(), pace=Pace.CLOCK)
        recorder = engine.recorder()
        engine.connect(port, recorder.left)
        engine.tick()
        other.sendall(voiced(10).tobytes())
        engine.tick(10)
        recorder.read()
        engine.tick(3)
        assert not any(recorder.read())
        with pytest.raises(ValueError, match="no clock but ours"):
            engine.frames().conceal(True)
