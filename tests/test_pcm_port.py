"""A modem's audio tty: its clock, its odd reads, its silences, from both ends."""

import contextlib
import errno
import os
import random
import socket
import termios
from array import array
from collections.abc import Iterator

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import FRAME_SAMPLES, Engine, Pace, PcmPort, PortFailed, Recorder
from tests.pcm_host import FRAME_BYTES, SERIALS, Host, Tty, left_of, serials


def serial_frames(count: int) -> bytes:
    """Each frame's samples are the frame's number, from 1 on."""
    return numpy.repeat(numpy.arange(1, count + 1), FRAME_SAMPLES).astype("<i2").tobytes()


def numbers_of(recorder: Recorder) -> list[int]:
    """Of the frames heard; a frame that is not whole fails."""
    frames = left_of(recorder).reshape(-1, FRAME_SAMPLES)
    assert (frames == frames[:, :1]).all()
    return frames[:, 0].tolist()


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


class Pair:
    """A device and a host, each an engine of its own, on the two ends of a socket; both say numbered frames."""

    def __init__(self, chunk_bytes: int, frames: int) -> None:
        ends = socket.socketpair()
        paces = (Pace.CLOCK, Pace.FOLLOW)
        self.engines: list[Engine] = []
        self.ports: list[PcmPort] = []
        self.recorders: list[Recorder] = []
        for end, pace in zip(ends, paces, strict=True):
            end.setblocking(False)
            engine = Engine()
            with end:
                port = engine.pcm(end.fileno(), pace=pace, chunk_bytes=chunk_bytes)
            recorder = engine.recorder()
            engine.connect(engine.player(serial_frames(frames)), port)
            engine.connect(port, recorder.left)
            self.engines.append(engine)
            self.ports.append(port)
            self.recorders.append(recorder)
        self.device, self.host = self.engines

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


@pytest.mark.parametrize("chunk_bytes", [320, 640, 1600])
@pytest.mark.parametrize("host_first", [False, True])
def test_in_ten_minutes_no_frame_is_lost_or_doubled_either_way(chunk_bytes: int, host_first: bool) -> None:
    ticks = 30000
    pair = Pair(chunk_bytes, ticks + 1)
    pair.host.tick()
    order = (pair.host, pair.device) if host_first else (pair.device, pair.host)
    heard: list[list[int]] = [[], []]
    for _ in range(ticks // 400):
        for _ in range(400):
            for engine in order:
                engine.tick()
        for numbers, recorder in zip(heard, pair.recorders, strict=True):
            numbers += numbers_of(recorder)
    by_device, by_host = ([number for number in numbers if number] for numbers in heard)
    # The first chunk comes after at most five ticks, and is heard at once.
    late = chunk_bytes // FRAME_BYTES + 1
    assert by_host == list(range(1, by_host[-1] + 1))
    assert ticks - by_host[-1] <= late
    # What the host says before it has heard the device is nobody's.
    assert by_device == list(range(by_device[0], by_device[-1] + 1))
    assert by_device[0] <= late + 1
    assert ticks - by_device[-1] <= late
    for numbers in heard:
        # Silence is before the first frame only.
        assert 0 not in numbers[late + 1 :]
    stats = pair.ports[1].stats()
    assert (stats.underruns, stats.slips, stats.overruns, stats.dropped_uplink) == (0, 0, 0, 0)
    pair.close()


def test_what_waited_in_the_tty_is_thrown_away_and_keeps_the_alignment() -> None:
    device, ours = socket.socketpair()
    ours.setblocking(False)
    with Engine() as engine, device, ours:
        device.sendall(bytes(70001))
        port = engine.pcm(ours.fileno())
        recorder = engine.recorder()
        engine.connect(port, recorder.left)
        engine.tick()
        # The last stale byte was the first one of a sample.
        device.sendall(b"\x00" + serials(0, 159))
        engine.tick()
        assert left_of(recorder).tolist() == [0] * FRAME_SAMPLES + [0, *range(1, 160)]
        assert port.stats().received_bytes == 319


@given(st.lists(st.integers(0, FRAME_BYTES), max_size=60))
def test_reads_may_be_split_anywhere(sizes: list[int]) -> None:
    host = Host()
    audio = serials(0, sum(sizes) // 2 + 1)
    at = 0
    for size in sizes:
        host.step(audio[at : at + size])
        at += size
    heard = left_of(host.recorder)
    heard = heard[heard != 0]
    assert len(heard) == at // FRAME_BYTES * FRAME_SAMPLES
    assert heard.tobytes() == audio[: 2 * len(heard)]
    host.close()


def test_one_byte_at_a_time_is_heard_whole(host: Host) -> None:
    audio = serials(0, 4 * FRAME_SAMPLES)
    heard = b""
    for byte in audio:
        host.step(bytes([byte]))
        samples = left_of(host.recorder)
        heard += samples[samples != 0].tobytes()
    assert heard == audio


def test_a_device_that_never_starts_is_silent_and_sent_nothing(host: Host) -> None:
    host.say(serials(0, 8000))
    for _ in range(50):
        host.step()
    assert not left_of(host.recorder).any()
    assert host.sent() == b""
    stats = host.port.stats()
    assert (stats.underruns, stats.concealed, stats.dropped_uplink) == (0, 0, 0)


def test_a_byte_is_sent_for_a_byte_received(host: Host) -> None:
    host.say(serials(0, 16000))
    chance = random.Random(1)
    received, sent = 0, b""
    for _ in range(2000):
        chunk = chance.choice([0, 0, 1, 320, 639, 640])
        host.step(bytes(chunk))
        received += chunk
        sent += host.sent()
        assert len(sent) <= received
    assert len(sent) > 0.9 * received
    assert len(sent) == host.port.stats().sent_bytes


def test_what_is_sent_is_what_was_mixed_in_the_same_tick(host: Host) -> None:
    host.say(serials(0, 8000))
    host.step(bytes(640))
    assert host.sent() == serials(0, FRAME_SAMPLES)
    host.step()
    assert host.sent() == serials(FRAME_SAMPLES, FRAME_SAMPLES)


def test_after_a_late_chunk_the_uplink_catches_up(host: Host) -> None:
    host.say(serials(0, 8000))
    for _ in range(10):
        host.step(bytes(640))
        host.step()
    host.sent()
    host.step()
    assert host.sent() == b""
    host.step(bytes(640))
    assert host.sent() == serials(20 * FRAME_SAMPLES, 2 * FRAME_SAMPLES)
    assert host.port.stats().dropped_uplink == 0


def test_what_has_no_leave_for_sixty_ms_is_lost_the_oldest_first(host: Host) -> None:
    host.say(serials(0, 16000))
    host.step(bytes(FRAME_BYTES))
    for _ in range(10):
        host.step()
    host.sent()
    host.step(bytes(1280))
    # Eleven frames had no leave, the one of this tick included: three are kept.
    assert host.sent() == serials(9 * FRAME_SAMPLES, 3 * FRAME_SAMPLES)
    assert host.port.stats().dropped_uplink == 8 * FRAME_SAMPLES


def test_leave_that_was_not_used_lapses_beyond_two_chunks(host: Host) -> None:
    host.step(bytes(64000))
    host.say(serials(0, 16000))
    for _ in range(100):
        host.step()
    assert len(host.sent()) == 2 * 640


def test_what_the_device_has_not_asked_for_yet_waits_and_is_measured(host: Host) -> None:
    host.say(serials(0, 16000))
    waited = []
    for _ in range(5):
        host.step(serials(0, 2 * FRAME_SAMPLES))
        waited.append(host.port.stats().uplink_depth_ms)
        host.step()
        waited.append(host.port.stats().uplink_depth_ms)
    host.step()
    assert waited == 10 * [0]
    assert host.port.stats().uplink_depth_ms == 20


def test_a_held_port_hears_and_sends_nothing_and_goes_on_in_step(host: Host) -> None:
    host.say(serials(0, 16000))
    for i in range(30):
        if i == 10:
            host.sent()
            host.port.hold(True)
        if i == 20:
            assert host.sent() == b""
            host.port.hold(False)
        host.step(serials(i * FRAME_SAMPLES, FRAME_SAMPLES))
    assert host.sent() == serials(20 * FRAME_SAMPLES, 10 * FRAME_SAMPLES)
    assert host.port.stats().dropped_uplink == 10 * FRAME_SAMPLES
    assert left_of(host.recorder).astype("<i2").tobytes() == serials(0, 30 * FRAME_SAMPLES)


def test_leave_from_before_a_hold_and_from_within_it_lapses(host: Host) -> None:
    for _ in range(10):
        host.step(bytes(640))
    host.port.hold(True)
    for _ in range(10):
        host.step(bytes(640))
    host.port.hold(False)
    host.say(serials(0, 16000))
    host.sent()
    host.step()
    assert host.sent() == b""


def test_a_device_that_takes_nothing_costs_whole_samples_and_stops_nothing() -> None:
    with Tty() as device, Engine() as engine:
        # High bytes are 0x55, low bytes count below it: a torn sample shows.
        port = engine.pcm(device.slave)
        talk = engine.player(b"".join(bytes([i % 80, 0x55]) for i in range(80)), loop=True)
        engine.connect(talk, port)
        engine.tick()
        sent = b""
        for i in range(400):
            if i % 2 == 0:
                device.give(bytes(640))
            engine.tick()
            if i > 200:
                sent += device.take(333)
        while len(sent) < port.stats().sent_bytes:
            sent += device.take(4096)
        assert len(sent) == port.stats().sent_bytes
        low, high = sent[0::2][: len(sent) // 2], sent[1::2]
        assert set(high) == {0x55}
        assert max(low) < 80
        assert port.stats().dropped_uplink > 0
        assert engine.events() == []


def test_a_sample_that_a_short_write_tore_is_completed() -> None:
    """A pty's buffers have even sizes: a stranger's bytes in between make the room in them odd."""
    stranger, strangers, torn, sent = b"\x99", 0, 0, b""
    with Tty() as device, Engine() as engine:
        port = engine.pcm(device.slave)
        engine.connect(engine.player(b"\x01\x55" * FRAME_SAMPLES, loop=True), port)
        engine.tick()
        for i in range(2000):
            device.give(bytes(FRAME_BYTES))
            engine.tick()
            torn += port.stats().sent_bytes % 2
            with contextlib.suppress(BlockingIOError):
                strangers += os.write(device.slave, stranger)
            if i > 100:
                sent += device.take(301)
        while len(sent) < port.stats().sent_bytes + strangers:
            sent += device.take(4096)
        assert torn > 0
        ours = sent.replace(stranger, b"")
        assert len(ours) == port.stats().sent_bytes
        assert ours == (b"\x01\x55" * len(ours))[: len(ours)]


def test_the_end_of_the_file_is_told_once(host: Host) -> None:
    host.say(serials(0, 8000))
    host.step(serials(0, 2 * FRAME_SAMPLES))
    host.device.close()
    for _ in range(5):
        host.step()
    [failed] = host.engine.events()
    assert isinstance(failed, PortFailed)
    assert failed.errno in (0, errno.EPIPE, errno.ECONNRESET)
    # What had come before is heard.
    assert left_of(host.recorder).tobytes() == serials(0, 2 * FRAME_SAMPLES) + bytes(4 * FRAME_BYTES)


def test_a_tty_that_was_hung_up_is_told_once_and_one_without_news_is_not() -> None:
    with Tty() as device, Engine() as engine:
        # As pyserial sets it: reading gives nothing, not EAGAIN, while nothing is there.
        attributes = termios.tcgetattr(device.slave)
        attributes[6][termios.VMIN] = 0
        termios.tcsetattr(device.slave, termios.TCSANOW, attributes)
        port = engine.pcm(device.slave)
        engine.tick(3)
        device.give(serials(0, FRAME_SAMPLES))
        engine.tick(3)
        assert engine.events() == []
        device.unplug()
        engine.tick(3)
        [event] = engine.events()
        assert isinstance(event, PortFailed)
        assert event.port is port
        assert event.errno in (0, errno.EIO)
        engine.tick(3)
        assert engine.events() == []
        assert port.stats().concealed == 2


def test_a_closed_port_lets_go_of_the_tty(host: Host) -> None:
    host.port.close()
    host.step()
    assert host.device.recv(1) == b""


def test_a_descriptor_that_blocks_or_a_torn_chunk_is_an_error_of_the_caller() -> None:
    one, other = socket.socketpair()
    with Engine() as engine, one, other:
        with pytest.raises(ValueError, match="blocks"):
            engine.pcm(one.fileno())
        one.setblocking(False)
        for chunk_bytes in (0, 641, 8194):
            with pytest.raises(ValueError, match="chunks of"):
                engine.pcm(one.fileno(), chunk_bytes=chunk_bytes)


class Device:
    """An engine that plays the device, towards a socket in the test's hands."""

    def __init__(self, chunk_bytes: int) -> None:
        self.host, ours = socket.socketpair()
        self.host.setblocking(False)
        ours.setblocking(False)
        self.engine = Engine()
        with ours:
            self.port = self.engine.pcm(ours.fileno(), pace=Pace.CLOCK, chunk_bytes=chunk_bytes)
        self.recorder = self.engine.recorder()
        self.engine.connect(self.port, self.recorder.left)
        self.engine.connect(self.engine.player(serials(0, SERIALS), loop=True), self.port)

    def received(self) -> bytes:
        try:
            return self.host.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.engine.close()
        self.host.close()


@pytest.mark.parametrize(
    ("chunk_bytes", "sizes"),
    [(320, [320] * 10), (640, [0, 640] * 5), (1600, [0, 0, 0, 0, 1600] * 2), (500, [0, 500, 0, 500, 500, 0, 500, 500])],
)
def test_a_device_sends_whole_chunks_by_its_own_clock(chunk_bytes: int, sizes: list[int]) -> None:
    device = Device(chunk_bytes)
    chunks = []
    for _ in sizes:
        device.engine.tick()
        chunks.append(device.received())
    assert [len(chunk) for chunk in chunks] == sizes
    assert b"".join(chunks) == serials(0, sum(sizes) // 2)
    device.close()


def test_a_device_keeps_a_second_of_what_it_is_sent() -> None:
    device = Device(640)
    device.engine.tick()
    device.recorder.read()
    device.host.sendall(serials(0, 12000))
    device.engine.tick()
    assert device.port.stats().depth_ms == 980
    assert left_of(device.recorder).tobytes() == serials(12000 - 8000, FRAME_SAMPLES)
    device.engine.tick(100)
    heard = array("h", left_of(device.recorder).tobytes())
    assert heard[:7840].tobytes() == serials(12000 - 8000 + 160, 7840)
    assert not any(heard[7840:])
    device.close()
