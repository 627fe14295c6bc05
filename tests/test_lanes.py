"""Lanes on their sockets: what goes there, in which order, and the turns they take, by hand."""

import base64
import select
import socket
from collections.abc import Iterator

import pytest

from native import CHUNK, SEQUENCE, TIME_MS, Codec, Engine, Lane, alaw_decode
from tests.lane_rig import (
    FRAME_PREFIX,
    FRAME_SUFFIX,
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
    sent,
    serve,
    unmasked,
)

LIMIT_S = 20


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    with connected() as both:
        yield both


@pytest.mark.parametrize("size", [0, 100, 1000, 70_000])
def test_a_frame_is_the_streams_message_masked_anew_each_time(
    engine: Engine, sockets: tuple[socket.socket, socket.socket], size: int
) -> None:
    near, far = sockets
    prefix = bytes(size)
    port = engine.stream(Codec.PCMA, 8000, prefix=prefix, suffix=b"") if size else open_stream(engine)
    lane = Lane(near.fileno())
    lane.join(port)
    engine.connect(engine.player(SOUND[:640]), port)
    masks = set()
    for _ in range(70):
        engine.tick()
        serve(lane)
        data = far.recv(2**20)
        mask, payload, rest = unmasked(data)
        masks.add(mask)
        assert rest == b""
        assert payload[: len(prefix)] == prefix
    assert len(masks) == 70
    assert port.stats().taken_frames == 70


def test_what_was_heard_before_a_connection_is_forgotten_or_kept(
    engine: Engine, sockets: tuple[socket.socket, socket.socket]
) -> None:
    near, far = sockets
    forgetful, keeping = (
        engine.stream(Codec.PCMA, 8000, prefix=CHUNK.encode(), suffix=b"", keep_s=keep_s) for keep_s in (0, 60)
    )
    lane = Lane(near.fileno())
    for port, least in ((forgetful, 13), (keeping, 3)):
        engine.tick(10)
        lane.join(port)
        engine.tick(2)
        numbers = [int(payload[:-216]) for payload in sent(lane, far)]
        engine.tick()
        lane.leave()
        assert numbers[0] == least - 2
    assert forgetful.stats().taken_frames == 2
    assert forgetful.stats().kept_frames == forgetful.stats().dropped_frames == 0


def test_over_gaps_a_kept_stream_goes_on_in_order_and_each_frame_is_sent_once(engine: Engine) -> None:
    port = engine.stream(Codec.PCMA, 8000, prefix=f"{SEQUENCE} {CHUNK} {TIME_MS} ".encode(), suffix=b"", keep_s=60)
    numbers: list[list[int]] = []
    gaps, spans = (7, 0, 1000, 3), (20, 5, 400, 50)
    for gap, span in zip(gaps, spans, strict=True):
        engine.tick(gap)
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            far.setblocking(False)
            lane = Lane(near.fileno())
            far.send(HEAD)
            serve(lane)
            lane.take()
            lane.join(port)
            for _ in range(span):
                engine.tick()
                payloads = sent(lane, far)
                assert 1 <= len(payloads) <= 4
                numbers += [list(map(int, payload.split()[:3])) for payload in payloads]
            # At the present, whatever there was to catch up with.
            assert sent(lane, far) == []
            far.send(b"\x88\x02\x03\xf3")
            serve(lane)
            # After the server's close it reads nothing more.
            engine.tick()
            assert sent(lane, far) == []
            lane.leave()
    ticks = sum(gaps) + sum(spans) + len(gaps)
    assert numbers == [[n, n, 20 * (n - 1)] for n in range(1, ticks)]
    stats = port.stats()
    # Each connection's last frame came after its close, and is the next one's to send.
    assert (stats.taken_frames, stats.kept_frames) == (ticks - 1, sum(gaps) + len(gaps) - 1)
    assert (stats.waiting_frames, stats.dropped_frames) == (1, 0)
    # Of what was kept, or waited behind it, it is no news that it was late.
    assert 0 < stats.to_socket.count < sum(spans)


def test_a_frame_is_measured_when_its_last_byte_is_the_sockets(engine: Engine) -> None:
    port = engine.stream(Codec.PCMA, 8000, prefix=bytes(500_000), suffix=b"")
    lane = Fed()
    lane.join(port)
    for number in range(3):
        engine.tick()
        serve(lane)
        assert lane.unsent_bytes > 0
        assert port.stats().to_socket.count == number
        while lane.unsent_bytes:
            assert lane.far.recv(2**20)
            lane.flush()
        lane.far.recv(2**20)
        hop = port.stats().to_socket
        assert hop.count == number + 1
        assert 0 < hop.median_ms <= hop.worst_ms


def test_audio_is_measured_until_it_is_begun_if_nothing_was_queued_before_it(engine: Engine) -> None:
    port = open_stream(engine)
    lane = Fed(port)
    lane.pause()
    # Of the second, to wait for the first is the sender's wish.
    lane.feed(played(SOUND[:160]) + played(SOUND[160:320]))
    assert port.stats().to_engine.count == 0
    engine.tick(2)
    lane.pause()
    # So is one that is handed over first.
    other = FRAME_PREFIX + b" " + FRAME_SUFFIX
    lane.feed(frame(other))
    lane.take()
    port.play(SOUND[:160], Codec.PCMA, 8000)
    lane.obeyed()
    engine.tick()
    hop = port.stats().to_engine
    assert hop.count == 2
    assert 0 < hop.median_ms <= hop.worst_ms


def test_of_a_steady_stream_one_frame_in_some_is_measured_and_the_first_after_a_pause(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        with far:
            near.setblocking(False)
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far.sendall(HEAD)
            port = open_stream(engine)
            lane = open_lane(port, near.fileno())
            select.select([near], [], [])
            serve(lane)
            lane.take()
            for pause, measured in ((20, 1), (0, 1), (0, 1), (20, 2)):
                for _ in range(pause):
                    serve(lane)
                far.sendall(played(SOUND[:160]))
                select.select([near], [], [])
                serve(lane)
                engine.tick()
                assert port.stats().to_engine.count == measured
            hop = port.stats().to_engine
            assert port.stats().lane_messages == 4
            assert 0 < hop.median_ms <= hop.worst_ms < 60_000


def test_lanes_take_turns_in_one_call_and_only_those_with_news_are_told(engine: Engine) -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    ports = [open_stream(engine) for _ in pairs]
    lanes = [Lane(near.fileno()) for near, _ in pairs]
    for lane, port, (_, far) in zip(lanes, ports, pairs, strict=True):
        lane.join(port)
        lane.learn(FRAME_PREFIX, FRAME_SUFFIX, Codec.PCMA, 8000)
        far.send(HEAD)
    assert serve(*lanes) == [0, 1, 2]
    assert [lane.take() for lane in lanes] == [HEAD] * 3
    for _, far in pairs:
        far.send(played(SOUND[:160]))
    pairs[1][1].send(b"\x89\x00")
    assert serve(*lanes) == [1]
    assert [port.stats().lane_messages for port in ports] == [1, 1, 1]
    pairs[2][1].close()
    assert serve(*lanes) == [1, 2]
    assert [lane.ended for lane in lanes] == [False, False, True]
    for near, far in pairs:
        near.close()
        far.close()


def test_what_a_socket_does_not_take_is_the_rest_of_one_frame_and_then_nothing(
    engine: Engine, sockets: tuple[socket.socket, socket.socket]
) -> None:
    near, far = sockets
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    port = open_stream(engine)
    engine.connect(engine.player(b"".join(alaw_decode(bytes([n % 256]) * 160) for n in range(1000))), port)
    lane = open_lane(port, near.fileno())
    serve(lane)
    lane.take()
    while not serve(lane):
        engine.tick()
    ticks = engine.stats().ticks
    # The stream keeps the last two seconds for when the server reads again.
    engine.tick(500)
    assert serve(lane) == []
    data = b""
    while lane.unsent:
        data += far.recv(2**20)
        lane.flush()
    data += far.recv(2**20)
    frames = []
    while data:
        _, payload, data = unmasked(data)
        frames.append(base64.b64decode(payload[len(PREFIX) : -len(SUFFIX)])[0])
    assert frames == [n % 256 for n in range(ticks)]
    serve(lane)
    _, payload, _ = unmasked(far.recv(2**20))
    assert base64.b64decode(payload[len(PREFIX) : -len(SUFFIX)])[0] == (ticks + 400) % 256
    assert port.stats().dropped_frames == 400


def test_at_the_end_what_is_there_of_a_frame_is_handed_over(
    engine: Engine, sockets: tuple[socket.socket, socket.socket]
) -> None:
    near, far = sockets
    lane = open_lane(open_stream(engine), near.fileno())
    lane.receive()
    assert lane.take() == HEAD
    far.send(played(SOUND[:160])[:100])
    lane.receive()
    assert not lane.handed
    far.close()
    lane.receive()
    assert lane.ended
    assert lane.take() == played(SOUND[:160])[:100]
    engine.tick()
    assert serve(lane) == [0]


def test_a_socket_that_was_given_up_is_not_touched(
    engine: Engine, sockets: tuple[socket.socket, socket.socket]
) -> None:
    near, far = sockets
    lane = open_lane(open_stream(engine), near.fileno())
    lane.end()
    engine.tick()
    serve(lane)
    with pytest.raises(BlockingIOError):
        far.recv(1)
    assert near.recv(100) == HEAD


def test_what_a_server_said_before_it_went_away_is_heard_though_nothing_can_be_sent_to_it(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        near.setblocking(False)
        port = open_stream(engine)
        lane = open_lane(port, near.fileno())
        lane.send(b"unread")
        # What is closed with something unread is reset.
        far.sendall(HEAD + b"\x88\x02\x03\xe8")
        far.close()
        hung_up = select.poll()
        hung_up.register(near, 0)
        assert hung_up.poll(1000 * LIMIT_S)
        lane.send(b"void")
        engine.tick()
        assert serve(lane) == [0]
        assert lane.take() == HEAD + b"\x88\x02\x03\xe8"
        lane.receive()
        assert (lane.ended, lane.unsent_bytes, port.stats().taken_frames) == (True, 0, 0)
