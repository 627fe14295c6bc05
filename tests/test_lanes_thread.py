"""Lanes on a thread of their own: Python has no turn, and whatever ends first, it ends in peace."""

import base64
import gc
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from native import Codec, Engine, Lane, Lanes, alaw_decode, alaw_encode
from tests.lane_rig import (
    HEAD,
    PREFIX,
    SOUND,
    SUFFIX,
    Fed,
    connected,
    frame,
    open_lane,
    open_stream,
    played,
    taken,
    unmasked,
)

LIMIT_S = 20
NOISE = alaw_decode(SOUND) * 16


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    with connected() as both:
        yield both


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], LIMIT_S)[0])


@pytest.fixture
def carried(engine: Engine) -> Iterator[Lanes]:
    lanes = Lanes()
    lanes.start(engine, 0.015)
    yield lanes
    lanes.stop()


def test_on_their_thread_lanes_send_and_play_and_python_has_no_turn(
    engine: Engine, sockets: tuple[socket.socket, socket.socket], carried: Lanes
) -> None:
    near, far = sockets
    far.settimeout(LIMIT_S)
    port = open_stream(engine)
    lane = open_lane(port, near.fileno())
    lane.receive()
    assert lane.take() == HEAD
    recorder = engine.recorder()
    engine.connect(engine.player(alaw_decode(SOUND[:160]), loop=True), port)
    engine.connect(port, recorder.left)
    carried.add(lane, lambda: pytest.fail("nothing is Python's"))
    engine.tick()
    _, payload, rest = unmasked(far.recv(2**16))
    assert payload == PREFIX + base64.b64encode(alaw_encode(alaw_decode(SOUND[:160]))) + SUFFIX
    assert rest == b""
    assert port.stats().taken_frames == 1
    # Nothing has to happen for it to be found.
    far.send(played(SOUND[:160]))
    deadline = time.monotonic() + LIMIT_S
    while port.stats().lane_messages == 0:
        assert time.monotonic() < deadline
    engine.tick()
    assert np.frombuffer(recorder.read(), "<i2")[320::2].tobytes() == alaw_decode(SOUND[:160])
    assert not select.select([engine.fd], [], [], 0)[0]
    carried.remove(lane)


def test_the_engines_descriptor_tells_what_the_thread_has_for_python(
    engine: Engine, sockets: tuple[socket.socket, socket.socket], carried: Lanes
) -> None:
    near, far = sockets
    handed: list[bytes] = []
    lane = open_lane(open_stream(engine), near.fileno())
    carried.add(lane, lambda: handed.append(taken(lane)))
    for expected in (HEAD, b"\x89\x00"):
        assert readable(engine.fd)
        engine.events()
        carried.turn()
        far.send(b"\x89\x00")
        assert b"".join(handed).endswith(expected)
    carried.remove(lane)


def test_what_was_told_and_is_done_by_now_is_no_news(
    engine: Engine, sockets: tuple[socket.socket, socket.socket], carried: Lanes
) -> None:
    near, _ = sockets
    lane = open_lane(open_stream(engine), near.fileno())
    carried.add(lane, lambda: pytest.fail("told of what was taken"))
    assert readable(engine.fd)
    lane.receive()
    assert lane.take() == HEAD
    engine.events()
    carried.turn()
    carried.remove(lane)


def test_a_lane_that_was_removed_is_not_touched_any_more(
    engine: Engine, sockets: tuple[socket.socket, socket.socket], carried: Lanes
) -> None:
    near, far = sockets
    port = open_stream(engine)
    for _ in range(200):
        lane = Lane(near.fileno())
        lane.join(port)
        carried.add(lane, lambda: None)
        engine.tick()
        carried.remove(lane)
        while select.select([far], [], [], 0)[0]:
            far.recv(2**16)
        engine.tick()
        assert not select.select([far], [], [], 0)[0]
        lane.leave()


def test_one_engine_has_one_thread_of_lanes_and_a_lane_is_in_one_place(engine: Engine, carried: Lanes) -> None:
    lane = Fed(open_stream(engine))
    carried.add(lane, lambda: None)
    with pytest.raises(OSError, match="busy"):
        Lanes().add(lane, lambda: None)
    with pytest.raises(KeyError):
        Lanes().remove(lane)
    with pytest.raises(OSError, match="busy"):
        Lanes().add(lane, lambda: None)
    with pytest.raises(OSError, match="busy"):
        carried.start(engine, 0.015)
    others = Lanes()
    with pytest.raises(OSError, match="busy"):
        others.start(engine, 0.015)
    with pytest.raises(ValueError, match="0 s"):
        others.start(engine, 0)
    assert (carried.running, others.running) == (True, False)
    carried.stop()
    others.start(engine, 0.015)
    assert (carried.running, others.running) == (False, True)
    others.stop()


@pytest.mark.parametrize("first", ["engine", "lanes", "lane", "cycle"])
def test_whatever_goes_first_the_thread_ends_in_peace(first: str) -> None:
    near, far = socket.socketpair()
    with near, far:
        engine, lanes = Engine(), Lanes()
        port = open_stream(engine)
        lane: Lane | None = Lane(near.fileno())
        assert lane is not None
        lane.join(port)
        lanes.add(lane, lambda: None)
        lanes.start(engine, 0.015)
        engine.start()
        far.settimeout(LIMIT_S)
        assert far.recv(1)
        if first == "engine":
            engine.close()
            assert not lanes.running
            lanes.remove(lane)
        elif first == "lanes":
            del lanes
            engine.close()
        elif first == "lane":
            lanes._attend.clear()
            port.close()
            del lane
            engine.close()
        else:
            engine.cycle, lanes.cycle, lane.cycle = [lanes, lane], [engine], [engine, lanes]  # type: ignore[attr-defined]
            del engine, lanes, lane, port
            gc.collect()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_a_fork_inherits_is_its_parents_alone(engine: Engine, carried: Lanes) -> None:
    port, recorder = open_stream(engine), engine.recorder()
    lane = Fed(port)
    carried.add(lane, lambda: None)
    engine.start()
    child = os.fork()
    if child == 0:
        missed = 0
        for order in (engine.tick, engine.events, engine.recorder, lane.receive, carried.turn, carried.stop):
            with suppress(TypeError):
                order()
                missed += 1
        recorder.close()
        port.close()
        engine.close()
        alive = [engine.fd, port.play(SOUND, Codec.PCMA, 8000), recorder.read(), missed]
        del engine, carried, lane, port, recorder
        gc.collect()
        os._exit(alive != [-1, False, b"", 0])
    assert os.waitpid(child, 0)[1] == 0
    before = engine.stats().ticks
    lane.far.setblocking(True)
    lane.far.settimeout(LIMIT_S)
    assert lane.far.recv(1)
    while engine.stats().ticks == before:
        assert select.select([engine.fd], [], [], LIMIT_S)[0]
        engine.events()


def test_a_message_of_pythons_never_stands_within_a_frame_of_the_threads(
    engine: Engine, sockets: tuple[socket.socket, socket.socket], carried: Lanes
) -> None:
    near, far = sockets
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    far.settimeout(LIMIT_S)
    port = open_stream(engine)
    engine.connect(engine.player(NOISE), port)
    lane = open_lane(port, near.fileno())
    lane.receive()
    lane.take()
    carried.add(lane, lambda: None)
    came = bytearray()
    for n in range(300):
        engine.tick()
        lane.send(frame(b"%d" % n))
        while lane.unsent_bytes > 2000:
            came += far.recv(1000)
            lane.flush()
    carried.remove(lane)
    while lane.unsent_bytes:
        came += far.recv(1000)
        lane.flush()
    near.close()
    while data := far.recv(2**16):
        came += data
    data, ours, its = bytes(came), 0, 0
    while data:
        if data[1] & 0x80:
            _, _, data = unmasked(data)
            its += 1
            continue
        text = frame(b"%d" % ours)
        assert data.startswith(text)
        data, ours = data[len(text) :], ours + 1
    assert (ours, its) == (300, port.stats().taken_frames)
