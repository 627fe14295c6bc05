"""A stream's lane on its WebSocket: what it plays and sends itself, and that nobody can tell that it does."""

import base64
import binascii
import gc
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import wsproto.events
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.utilities import RemoteProtocolError

from appliance.actions import StreamTo
from appliance.contracts.sfvopi_stream import Sfvopi
from appliance.dialect import Checkpoint, Clear, Fault, Play, around_payload
from native import CHUNK, SEQUENCE, TIME_MS, Codec, Engine, Lane, Lanes, StreamPort, alaw_decode, alaw_encode

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
PREFIX, SUFFIX = b'{"payload":"', b'"}'
FRAME_PREFIX, FRAME_SUFFIX = b'{"event":"playAudio","media":{"payload":"', b'"}}'

DIALECT = Sfvopi(StreamTo(""), "own", "call")


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def open_stream(engine: Engine) -> StreamPort:
    return engine.stream(Codec.PCMA, 8000, prefix=PREFIX, suffix=SUFFIX)


def open_lane(port: StreamPort, fd: int | None = None) -> Lane:
    """With a message learned; without a socket after the handshake."""
    lane = fed_lane() if fd is None else Lane(fd)
    lane.join(port)
    lane.learn(FRAME_PREFIX, FRAME_SUFFIX, Codec.PCMA, 8000)
    if fd is None:
        lane.feed(HEAD)
        assert lane.take() == HEAD
    return lane


def fed_lane() -> Lane:
    return Lane(-1, sealed=True)


def frame(payload: bytes, first: int = 0x81) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 2**16:
        return bytes([first, 126]) + size.to_bytes(2, "big") + payload
    return bytes([first, 127]) + size.to_bytes(8, "big") + payload


def played(data: bytes) -> bytes:
    return frame(FRAME_PREFIX + base64.b64encode(data) + FRAME_SUFFIX)


def taken(lane: Lane) -> bytes:
    return lane.take() if lane.handed else b""


# -- nobody can tell: the same bytes by the lane, and by wsproto and the contract's parser alone ----------------------


@dataclass
class Listener:
    """What becomes of a server's bytes: with a lane in front, or the plain way."""

    lane: Lane | None
    engine: Engine = field(default_factory=Engine)
    faults: list[str] = field(default_factory=list)
    answers: list[object] = field(default_factory=list)
    messages: int = 0
    marks: int = 0
    failed: bool = False

    def __post_init__(self) -> None:
        self.port = open_stream(self.engine)
        self.recorder = self.engine.recorder()
        self.engine.connect(self.port, self.recorder.left)
        self.websocket = Connection(ConnectionType.CLIENT)
        self.unobeyed: list[str] = []
        self.text = ""
        if self.lane:
            self.lane.feed(HEAD)
            assert self.lane.take() == HEAD
            self.lane.join(self.port)

    def hear(self, data: bytes, *, obey: bool) -> None:
        if self.lane:
            self.lane.feed(data)
            data = taken(self.lane)
        if data and not self.failed:
            self.read(data)
        if obey:
            self.obey_all()

    def read(self, data: bytes) -> None:
        try:
            self.websocket.receive_data(data)
            for event in self.websocket.events():
                if isinstance(event, wsproto.events.TextMessage):
                    self.text += event.data
                    if event.message_finished:
                        self.unobeyed.append(self.text)
                        self.text = ""
                elif isinstance(event, wsproto.events.BytesMessage):
                    if event.message_finished:
                        self.unobeyed.append("binary")
                else:
                    # Its words differ with where the pieces end.
                    self.answers.append((type(event), getattr(event, "payload", getattr(event, "code", None))))
                    self.failed |= isinstance(event, wsproto.events.CloseConnection)
        except RemoteProtocolError:
            self.failed = True

    def obey_all(self) -> None:
        while self.unobeyed:
            self.obey(self.unobeyed.pop(0))
            if self.lane:
                self.lane.obeyed()
                if (data := taken(self.lane)) and not self.failed:
                    self.read(data)

    def obey(self, text: str) -> None:
        self.messages += 1
        command = DIALECT.parse(text)
        match command:
            case Fault():
                self.faults.append(command.kind)
            case Play():
                if command.stream_id not in (None, "own"):
                    self.faults.append("stream id")
                self.port.play(command.data, command.codec, command.rate_hz)
                around = around_payload(text, command, DIALECT.parse)
                if self.lane and around and command.stream_id in (None, "own"):
                    self.lane.learn(*around, command.codec, command.rate_hz)
            case Clear():
                self.marks += 1
                self.port.clear(self.marks)
            case Checkpoint():
                self.marks += 1
                self.port.checkpoint(self.marks)

    def effects(self) -> object:
        self.obey_all()
        ticks: list[tuple[bytes, list[Any]]] = []
        while len(ticks) < 10 or self.port.queued_ms:
            self.engine.tick()
            ticks.append((self.recorder.read(), [(type(event), event.mark) for event in self.engine.events()]))
        messages = self.messages + self.port.stats().lane_messages
        return ticks, self.faults, self.answers, messages, self.failed


# Any order, any white space, any way to write the same; and what only looks like it.
STYLES = [
    '"event":"playAudio","media":{"contentType":"audio/PCMA","sampleRate":8000,"payload":"%s"}',
    '"media" : {\n "payload" : "%s" }, "more": [1, {"payload": "AAAA"}], "event" :\t"playAudio"',
    '"event":"playAudio","streamId":"own","media":{"payload":"%s","contentType":"audio/x-l16","sampleRate":16000}',
    '"event":"playAudio","streamId":"another","media":{"payload":"%s"}',
    '"event":"playAudio","media":{"payload":"%s","note":"\\u00e9 é 🎈"}',
    '"event":"playAudio","media":{"payload":"AAAA","payload":"%s"}',
    '"event":"playAudio","media":{"payload":"%s","payload":"AAAA"}',
    '"event":"playAudio","media":{"payload":"AAAA"},"payload":"%s"',
    '"event":"playAudio","media":{"payload":"AAAA","\\"%s":0}',
    '"event":"playAudio","media":{"payload":"%s","sampleRate":16000}',
    '"event":"checkpoint","name":"%s"',
]
SOUND = np.random.default_rng(3).integers(0, 256, 1000).astype("u1").tobytes()
audio = st.tuples(st.integers(0, 500), st.sampled_from([160, 160, 160, 400, 2, 1, 0])).map(
    lambda place: SOUND[place[0] :][: place[1]]
)
encoded = audio.map(lambda data: base64.b64encode(data).decode())
payloads = st.one_of(
    encoded,
    encoded,
    encoded,
    encoded.map(lambda text: text.replace("/", "\\/")),
    encoded.map(lambda text: text.replace("+", "\\u002B").replace("/", "\\/")),
    st.text("AQ+/=\\ub2B", max_size=12),
)
others = st.sampled_from(
    [b'{"event":"clearAudio"}', b'{"event":"checkpoint","name":"n"}', b'{"event":"stop"}', b"{", b"", b"\xff"]
)
binary, ping, pong, close = frame(b"\xd5", 0x82), frame(b"ping", 0x89), frame(b"pong", 0x8A), frame(b"\x03\xe8", 0x88)
lone_continuation, reserved = b"\x00\x00", b"\x83\x00"
odd = st.sampled_from([binary, ping, pong, ping, pong, close, lone_continuation, reserved])


@st.composite
def fragments(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> bytes:
    text = draw(texts)
    at = draw(st.integers(0, len(text)))
    between = draw(st.sampled_from([b"", ping, frame(b"{}")]))
    return frame(text[:at], 0x01) + between + frame(text[at:], 0x80)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What a server might send: most of it audio in one style or two, as each server has its own."""
    styles = draw(st.lists(st.sampled_from([*3 * STYLES[:3], *STYLES]), min_size=1, max_size=2))
    plays = st.tuples(st.sampled_from(styles), payloads).map(lambda pair: ("{" + pair[0] % pair[1] + "}").encode())
    rare = others.map(frame) | odd | fragments(plays) | st.binary(max_size=5)
    # Mostly in peace: after what breaks the protocol nothing more can be seen.
    kinds = draw(st.lists(st.sampled_from([*9 * [plays.map(frame)], rare]), min_size=5, max_size=15))
    return b"".join(map(draw, kinds))


# How long each is, and whether Python finds the time to obey what it has by then.
pieces = st.tuples(st.sampled_from([1, 2, 7, 100, 300, 1000]), st.sampled_from([True, True, True, False]))


@settings(max_examples=300, deadline=None)
@given(streams(), st.lists(pieces, min_size=1, max_size=20))
def test_any_bytes_in_any_pieces_have_the_effects_that_they_have_without_a_lane(
    data: bytes, pieces: Sequence[tuple[int, bool]]
) -> None:
    ours, plain = Listener(fed_lane()), Listener(None)
    with ours.engine, plain.engine:
        plain.hear(data, obey=True)
        at = turn = 0
        while at < len(data):
            size, obey = pieces[turn % len(pieces)]
            ours.hear(data[at : at + size], obey=obey)
            at, turn = at + size, turn + 1
        assert ours.lane is not None
        ours.obey_all()
        ours.lane.end()
        if not ours.failed:
            ours.read(taken(ours.lane))
        assert ours.effects() == plain.effects()


def test_a_server_with_one_form_of_message_is_understood_by_python_once(engine: Engine) -> None:
    listener = Listener(fed_lane(), engine)
    for _ in range(50):
        listener.hear(frame(("{" + STYLES[0] % base64.b64encode(SOUND[:160]).decode() + "}").encode()), obey=True)
    assert (listener.messages, listener.port.stats().lane_messages) == (1, 49)


# -- what the lane plays, and what it leaves to others -----------------------------------------------------------------


@given(st.text("AQw+/=", max_size=12) | audio.map(lambda data: base64.b64encode(data).decode()))
def test_what_is_played_is_what_strict_base64_means(text: str) -> None:
    with Engine() as engine:
        port = open_stream(engine)
        lane = open_lane(port)
        recorder = engine.recorder()
        engine.connect(port, recorder.left)
        lane.feed(frame(FRAME_PREFIX + text.encode() + FRAME_SUFFIX))
        engine.tick(4)
        heard = np.frombuffer(recorder.read(), "<i2")[0::2].tobytes()
        if lane.handed:
            assert not any(heard)
        else:
            expected = alaw_decode(binascii.a2b_base64(text, strict_mode=True))
            assert expected
            assert heard == expected.ljust(4 * 320, b"\0")[: 4 * 320]


def test_what_fills_the_queue_is_handed_over_and_not_counted_twice(engine: Engine) -> None:
    port = open_stream(engine)
    lane = open_lane(port)
    port.play(bytes(600 * 8000 - 160), Codec.PCMA, 8000)
    lane.feed(played(SOUND[:160]) + played(SOUND[:160]))
    assert lane.take() == played(SOUND[:160])
    stats = port.stats()
    assert (stats.lane_messages, stats.refused_bytes, stats.queued_ms) == (1, 0, 600_000)


def test_what_is_handed_over_may_be_taken_in_parts(engine: Engine) -> None:
    lane = open_lane(open_stream(engine))
    data = frame(b"{}") + binary + ping
    lane.feed(data)
    parts = []
    while lane.handed:
        parts.append(lane.take(5))
    assert b"".join(parts) == data
    assert {len(part) for part in parts[:-1]} == {5}


@pytest.mark.parametrize("size", [20_000, 49_108, 49_120, 200_000])
def test_a_frame_above_64_kib_is_handed_over_as_it_comes(engine: Engine, size: int) -> None:
    port = open_stream(engine)
    lane = open_lane(port)
    sent, handed = played(bytes(size)) + played(SOUND[:160]), b""
    for at in range(0, len(sent), 16384):
        lane.feed(sent[at : at + 16384])
        handed += taken(lane)
    lane.obeyed()
    assert handed == (b"" if size < 49_110 else played(bytes(size)))
    assert port.stats().lane_messages == (2 if size < 49_110 else 1)


def test_the_last_four_forms_are_known(engine: Engine) -> None:
    lane = open_lane(open_stream(engine))
    for letter in b"abcde":
        lane.learn(bytes([letter]), b"", Codec.PCMA, 8000)
    # Longer than what is kept: not learned, and forgets nothing.
    lane.learn(bytes(1000), bytes(100), Codec.PCMA, 8000)
    unknown = played(b"\xd5") + frame(b"aAAAA")
    lane.feed(b"".join(frame(bytes([letter]) + b"AAAA") for letter in b"bcde") + unknown)
    assert lane.take() == unknown


def test_audio_waits_until_what_was_handed_over_before_it_is_obeyed(engine: Engine) -> None:
    port = open_stream(engine)
    lane = open_lane(port)
    one, two, three = frame(b"one"), frame(b"two"), frame(b"three")
    lane.feed(one + two + played(b"\xd5") + three + played(b"\xd5"))
    assert lane.take() == one + two
    lane.obeyed()
    assert (lane.handed, port.stats().lane_messages) == (False, 0)
    lane.obeyed()
    assert (lane.take(), port.stats().lane_messages) == (three, 1)
    lane.obeyed()
    assert (lane.handed, port.stats().lane_messages) == (False, 2)


def test_audio_overtakes_a_ping_which_means_nothing_to_it(engine: Engine) -> None:
    port = open_stream(engine)
    lane = open_lane(port)
    lane.feed(ping + played(b"\xd5") + pong + played(b"\xd5"))
    assert (lane.take(), port.stats().lane_messages) == (ping + pong, 2)


@pytest.mark.parametrize(
    "first", [close, lone_continuation, reserved, b"\x80\x00", b"\x09\x00", b"\xc1\x00", b"\x81\x80"]
)
def test_after_what_ends_a_connection_nothing_is_played(engine: Engine, first: bytes) -> None:
    port = open_stream(engine)
    lane = open_lane(port)
    lane.feed(first + bytes(4) * (first == b"\x81\x80") + played(b"\xd5"))
    lane.end()
    assert lane.take().endswith(played(b"\xd5"))
    assert port.stats().lane_messages == 0


def test_more_than_it_has_room_for_is_an_error_of_the_caller(engine: Engine) -> None:
    lane = open_lane(open_stream(engine))
    lane.feed(b"\x89\x00")
    assert lane.full
    with pytest.raises(OSError, match="buffer"):
        lane.feed(bytes(1))
    assert lane.take() == b"\x89\x00"
    # Audio that waits fills it, and is handed over at the end.
    lane.feed(frame(b"first"))
    assert lane.take() == frame(b"first")
    waiting = 0
    while not lane.full:
        lane.feed(played(bytes(6000)))
        waiting += 1
    assert waiting * len(played(bytes(6000))) > 65536
    lane.end()
    assert lane.full
    assert lane.take() == waiting * played(bytes(6000))


def test_a_port_that_closes_is_left(engine: Engine) -> None:
    port = open_stream(engine)
    lane = open_lane(port)
    engine.tick()
    port.close()
    engine.tick()
    assert lane.frame() == b""
    lane.feed(played(b"\xd5"))
    assert lane.take() == played(b"\xd5")
    lane.leave()
    lane.join(port)
    assert lane.frame() == b""


# -- on a socket -------------------------------------------------------------------------------------------------------


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        far.send(HEAD)
        yield near, far


def serve(*lanes: Lane) -> list[int]:
    """One turn of these; who had news, by their place."""
    together, news = Lanes(), []
    for place, lane in enumerate(lanes):
        together.add(lane, lambda place=place: news.append(place))  # type: ignore[misc]
    together.turn()
    return news


def unmasked(data: bytes) -> tuple[bytes, bytes, bytes]:
    """The first frame's mask and payload, and what follows."""
    assert data[0] == 0x81
    assert data[1] & 0x80
    digits = {126: 2, 127: 8}.get(data[1] & 127, 0)
    size = int.from_bytes(data[2 : 2 + digits], "big") if digits else data[1] & 127
    at = 2 + digits
    mask, payload = data[at : at + 4], data[at + 4 : at + 4 + size]
    assert len(payload) == size
    return mask, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)), data[at + 4 + size :]


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


def sent(lane: Lane, far: socket.socket) -> list[bytes]:
    """The payloads of what goes in one turn."""
    serve(lane)
    try:
        data = far.recv(2**20)
    except BlockingIOError:
        return []
    payloads = []
    while data:
        _, payload, data = unmasked(data)
        payloads.append(payload)
    return payloads


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


@pytest.mark.parametrize("sealed", [False, True])
def test_a_frame_is_measured_when_its_last_byte_is_the_sockets(
    engine: Engine, sockets: tuple[socket.socket, socket.socket], sealed: bool
) -> None:
    near, _ = sockets
    port = open_stream(engine)
    lane = Lane(near.fileno(), sealed=sealed)
    if sealed:
        lane.feed(HEAD)
    lane.join(port)
    for number in range(3):
        engine.tick()
        serve(lane)
        if sealed:
            assert port.stats().to_socket.count == number
            assert lane.frame()
            lane.hold(True)
            assert not lane.frame()
            assert port.stats().to_socket.count == number
            lane.hold(False)
        hop = port.stats().to_socket
        assert hop.count == number + 1
        assert 0 < hop.median_ms <= hop.worst_ms


def test_audio_is_measured_until_it_is_begun_if_nothing_was_queued_before_it(engine: Engine) -> None:
    port = open_stream(engine)
    lane = open_lane(port)
    # Of the second, to wait for the first is the sender's wish.
    lane.feed(played(SOUND[:160]) + played(SOUND[160:320]))
    assert port.stats().to_engine.count == 0
    engine.tick(2)
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
    rest = lane.frame()
    ticks = engine.stats().ticks
    # Held: the stream keeps the last two seconds for when the server reads again.
    engine.tick(500)
    assert serve(lane) == []
    assert lane.frame() == b""
    data = b""
    while True:
        try:
            data += far.recv(2**20)
        except BlockingIOError:
            break
    data += rest
    frames = []
    while data:
        _, payload, data = unmasked(data)
        frames.append(base64.b64decode(payload[len(PREFIX) : -len(SUFFIX)])[0])
    assert frames == [n % 256 for n in range(ticks)]
    lane.hold(False)
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


# -- on a thread of their own ------------------------------------------------------------------------------------------

LIMIT_S = 20
NOISE = alaw_decode(SOUND) * 16


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
    for sent in (HEAD, b"\x89\x00"):
        assert readable(engine.fd)
        engine.events()
        carried.turn()
        far.send(b"\x89\x00")
        assert b"".join(handed).endswith(sent)
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
    lane = open_lane(open_stream(engine))
    carried.add(lane, lambda: None)
    with pytest.raises(OSError, match="busy"):
        Lanes().add(lane, lambda: None)
    with pytest.raises(OSError, match="busy"):
        carried.start(engine, 0.015)
    others = Lanes()
    with pytest.raises(OSError, match="busy"):
        others.start(engine, 0.015)
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
        # As a connection does it: what the lane has begun goes first.
        unsent = memoryview(lane.seize() + frame(b"%d" % n, 0x81))
        while unsent:
            try:
                unsent = unsent[near.send(unsent) :]
            except BlockingIOError:
                came += far.recv(1000)
        lane.hold(False)
    carried.remove(lane)
    rest = lane.seize()
    near.close()
    while data := far.recv(2**16):
        came += data
    data, ours, its = bytes(came) + rest, 0, 0
    while data:
        if data[1] & 0x80:
            _, _, data = unmasked(data)
            its += 1
            continue
        text = frame(b"%d" % ours)
        assert data.startswith(text)
        data, ours = data[len(text) :], ours + 1
    assert (ours, its) == (300, port.stats().taken_frames)
