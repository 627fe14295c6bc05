"""What comes on a lane: what it plays, what it hands over, and that nobody can tell that it does."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
from native import Codec, Engine, Lane, alaw_decode
from tests.lane_rig import FRAME_PREFIX, FRAME_SUFFIX, SOUND, Fed, frame, open_stream, played, sent, taken

DIALECT = Sfvopi(StreamTo(""), "own", "call")


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


# -- nobody can tell: the same bytes by the lane, and by wsproto and the contract's parser alone ----------------------


@dataclass
class Listener:
    """What becomes of a server's bytes: with a lane in front, or the plain way."""

    lane: Fed | None
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
    ours, plain = Listener(Fed()), Listener(None)
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
    listener = Listener(Fed(), engine)
    for _ in range(50):
        listener.hear(frame(("{" + STYLES[0] % base64.b64encode(SOUND[:160]).decode() + "}").encode()), obey=True)
    assert (listener.messages, listener.port.stats().lane_messages) == (1, 49)


# -- what the lane plays, and what it leaves to others -----------------------------------------------------------------


@given(st.text("AQw+/=", max_size=12) | audio.map(lambda data: base64.b64encode(data).decode()))
def test_what_is_played_is_what_strict_base64_means(text: str) -> None:
    with Engine() as engine:
        port = open_stream(engine)
        lane = Fed(port)
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
    lane = Fed(port)
    port.play(bytes(600 * 8000 - 160), Codec.PCMA, 8000)
    lane.feed(played(SOUND[:160]) + played(SOUND[:160]))
    assert lane.take() == played(SOUND[:160])
    stats = port.stats()
    assert (stats.lane_messages, stats.refused_bytes, stats.queued_ms) == (1, 0, 600_000)


def test_what_is_handed_over_may_be_taken_in_parts(engine: Engine) -> None:
    lane = Fed(open_stream(engine))
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
    lane = Fed(port)
    sent, handed = played(bytes(size)) + played(SOUND[:160]), b""
    for at in range(0, len(sent), 16384):
        lane.feed(sent[at : at + 16384])
        handed += taken(lane)
    lane.obeyed()
    assert handed == (b"" if size < 49_110 else played(bytes(size)))
    assert port.stats().lane_messages == (2 if size < 49_110 else 1)


def test_the_last_four_forms_are_known(engine: Engine) -> None:
    lane = Fed(open_stream(engine))
    for letter in b"abcde":
        lane.learn(bytes([letter]), b"", Codec.PCMA, 8000)
    # Longer than what is kept: not learned, and forgets nothing.
    lane.learn(bytes(1000), bytes(100), Codec.PCMA, 8000)
    unknown = played(b"\xd5") + frame(b"aAAAA")
    lane.feed(b"".join(frame(bytes([letter]) + b"AAAA") for letter in b"bcde") + unknown)
    assert lane.take() == unknown


def test_audio_waits_until_what_was_handed_over_before_it_is_obeyed(engine: Engine) -> None:
    port = open_stream(engine)
    lane = Fed(port)
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
    lane = Fed(port)
    lane.feed(ping + played(b"\xd5") + pong + played(b"\xd5"))
    assert (lane.take(), port.stats().lane_messages) == (ping + pong, 2)


@pytest.mark.parametrize(
    "first", [close, lone_continuation, reserved, b"\x80\x00", b"\x09\x00", b"\xc1\x00", b"\x81\x80"]
)
def test_after_what_ends_a_connection_nothing_is_played(engine: Engine, first: bytes) -> None:
    port = open_stream(engine)
    lane = Fed(port)
    lane.feed(first + bytes(4) * (first == b"\x81\x80") + played(b"\xd5"))
    lane.end()
    assert lane.take().endswith(played(b"\xd5"))
    assert port.stats().lane_messages == 0


def test_what_it_has_no_room_for_stays_with_the_server(engine: Engine) -> None:
    lane = Fed(open_stream(engine))
    for data in (ping, pong):
        lane.feed(data)
    assert lane.take() == ping
    lane.receive()
    assert lane.take() == pong
    # Audio that waits behind what is not obeyed.
    lane.feed(frame(b"first"))
    lane.take()
    audio, sent = 100 * played(bytes(6000)), 0
    with suppress(BlockingIOError):
        while True:
            sent += lane.far.send(audio[sent:])
            lane.receive()
    lane.end()
    waiting = lane.take()
    assert 65536 <= len(waiting) < 2 * 65536 + 4
    lane.far.close()
    assert b"".join(iter(lambda: lane.near.recv(2**20), b"")) == audio[len(waiting) : sent]


def test_a_port_that_closes_is_left(engine: Engine) -> None:
    port = open_stream(engine)
    lane = Fed(port)
    engine.tick()
    port.close()
    engine.tick()
    assert sent(lane, lane.far) == []
    lane.feed(played(b"\xd5"))
    assert lane.take() == played(b"\xd5")
    lane.leave()
    lane.join(port)
    assert sent(lane, lane.far) == []


def test_a_port_has_one_lane_and_a_lane_one_port(engine: Engine) -> None:
    port, other = open_stream(engine), open_stream(engine)
    lane = Fed(port)
    lane.join(port)
    with pytest.raises(OSError, match="busy"):
        Lane(lane.far.fileno()).join(port)
    with pytest.raises(OSError, match="busy"):
        lane.join(other)
    other.close()
    engine.tick()
    assert len(sent(lane, lane.far)) == 1
    lane.leave()
    assert Fed(port).fault == ""
