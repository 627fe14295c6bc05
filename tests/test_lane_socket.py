"""A customer's server on a real socket can't tell the lane from trio-websocket, json and a port; nor can a caller.

The same script is run twice: against `run_stream`, and against `plain`, a client with nothing of ours between socket
and port but the contract's parser. The clock is ticked by hand, whenever all that was sent before has been obeyed.
"""

import base64
import contextlib
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import structlog
import trio
import trio_websocket
import wsproto.events
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import LogCapture
from wsproto.connection import Connection, ConnectionType
from wsproto.frame_protocol import CloseReason

from appliance.actions import StreamTo
from appliance.contracts.sfvopi_stream import Sfvopi
from appliance.dialect import Checkpoint, Clear, Fault, Json, Play, text_of
from appliance.media import Media
from appliance.stream import run_stream
from native import RATE_HZ, TICK_S, Cleared, Codec, Engine, Played, Port, StreamPort, alaw_encode
from tests.lane_rig import frame

STREAM, CALL = "SFV_STRM_BI_01JJXYZ1230ABC456DEF789GHJ", "6f2d1c0e-3f0b-4c63-9d55-0c1f6a2b7e11"
# RFC 6455 1.3
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LIMIT_S = 20
SOUND = np.random.default_rng(5).integers(-20000, 20000, 60 * RATE_HZ).astype("<i2").tobytes()
LINE = alaw_encode(SOUND[: 10 * 2 * RATE_HZ])

# ---- the script: what the server sends, in which pieces, and for how many ticks it then listens


@dataclass(frozen=True)
class Act:
    frames: tuple[bytes, ...]
    cuts: tuple[int, ...]
    # So long that a piece has been read before the next one comes.
    pause: bool
    ticks: int


STYLES = [
    '{"event":"playAudio","media":{"contentType":"audio/PCMA","sampleRate":8000,"payload":"%s"}}',
    '{"media" : {"payload" : "%s"}, "event" :\t"playAudio", "more": [1]}',
    f'{{"event":"playAudio","streamId":"{STREAM}","media":{{"payload":"%s","contentType":"audio/x-l16;rate=16000"}}}}',
    '{"event":"playAudio","streamId":"another","media":{"payload":"%s","contentType":"audio/PCMU"}}',
]
OTHERS = [
    b'{"event":"clearAudio"}',
    b'{"event":"checkpoint","name":"named"}',
    b'{"event":"checkpoint","name":""}',
    b'{"event":"playAudio","media":{"payload":"A"}}',
    b"[]",
]
pieces_of_sound = st.tuples(st.integers(0, 5000), st.sampled_from([0, 2, 160, 160, 320, 640, 1600]))
odd = [*map(frame, OTHERS), frame(b"\xd5", 0x82), frame(b"ping", 0x89), frame(b"pong", 0x8A)]


def play(style: str, place: tuple[int, int]) -> bytes:
    begin, size = place
    return (style % base64.b64encode(SOUND[2 * begin :][:size]).decode()).encode()


def torn(text: bytes, at: int) -> bytes:
    return frame(text[:at], 0x01) + frame(b"between", 0x89) + frame(text[at:], 0x80)


@st.composite
def scripts(draw: st.DrawFn) -> list[Act]:
    """Most of it audio in one style or two, as each server has its own."""
    styles = draw(st.lists(st.sampled_from(STYLES), min_size=1, max_size=2))
    plays = st.builds(play, st.sampled_from(styles), pieces_of_sound)
    rare = st.sampled_from(odd) | st.builds(torn, plays, st.integers(0, 60))
    frames = st.lists(st.one_of(*[plays.map(frame)] * 6, rare), min_size=3, max_size=15).map(tuple)
    cuts = st.lists(st.integers(0, 10**4), max_size=5).map(tuple)
    return draw(st.lists(st.builds(Act, frames, cuts, st.booleans(), st.integers(0, 8)), min_size=2, max_size=4))


def pieces(act: Act, number: int) -> list[bytes]:
    """With a checkpoint at the end, by which to know that all was obeyed."""
    data = b"".join(act.frames) + frame(json.dumps({"event": "checkpoint", "name": f"act {number}"}).encode())
    ends = sorted({0, len(data), *(cut % len(data) for cut in act.cuts)})
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


# ---- the server


@dataclass
class Outcome:
    told: list[dict[str, Any]] = field(default_factory=list)
    media: list[dict[str, Any]] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    heard: bytes = b""
    closed: int | None = None
    faults: dict[str, int] = field(default_factory=dict)


class Server:
    """One connection's. Raw bytes go out, so that they are cut where the script says."""

    def __init__(self) -> None:
        self.outcome = Outcome()
        self.open = trio.Event()
        self._websocket = Connection(ConnectionType.SERVER)

    async def serve(self, stream: trio.SocketStream) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += await stream.receive_some()
        key = next(line.split()[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        await stream.send_all(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        self._stream = stream
        self.open.set()
        async for data in stream:
            self._websocket.receive_data(data)
            for event in self._websocket.events():
                self._note(event)
            # RFC 6455 7.1.1: the server is who ends the connection.
            if self.outcome.closed is not None:
                return

    def _note(self, event: wsproto.events.Event) -> None:
        match event:
            case wsproto.events.TextMessage(data=text, message_finished=True):
                message = json.loads(text)
                (self.outcome.media if message["event"] == "media" else self.outcome.told).append(message)
            case wsproto.events.Pong(payload=payload):
                self.outcome.pongs.append(bytes(payload))
            case wsproto.events.CloseConnection(code=code):
                self.outcome.closed = code

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def close(self) -> None:
        await self.send(self._websocket.send(wsproto.events.CloseConnection(CloseReason.NORMAL_CLOSURE)))


# ---- the two clients


class Watched(Engine):
    """Counts the checkpoints that its streams were given."""

    checkpoints = 0

    def stream(self, *args: Any, **kwargs: Any) -> StreamPort:
        port = super().stream(*args, **kwargs)
        give = port.checkpoint

        def checkpoint(mark: int) -> None:
            give(mark)
            self.checkpoints += 1

        port.checkpoint = checkpoint  # type: ignore[method-assign]
        return port


Client = Callable[[str, Media, Port], Awaitable[dict[str, int]]]


async def ours(url: str, media: Media, line: Port) -> dict[str, int]:
    _, digits = trio.open_memory_channel[str](1)
    end = await run_stream(
        StreamTo(url),
        media=media,
        line=line,
        call_id=CALL,
        stream_id=STREAM,
        digits=digits,
        press=lambda digits: None,
        user_agent="branchline/test",
        log=structlog.wrap_logger(None, processors=[LogCapture()]),
    )
    return dict(end.faults)


async def plain(url: str, media: Media, line: Port) -> dict[str, int]:
    order = StreamTo(url)
    faults: Counter[str] = Counter()
    names = [""]
    dialect = Sfvopi(order, STREAM, CALL)
    before, after = dialect.media_frame()
    port = media.engine.stream(order.codec, order.rate_hz, prefix=before, suffix=after)
    media.engine.connect(line, port)
    media.engine.connect(port, line)
    place = urlsplit(url)
    tcp = await trio.open_tcp_stream(place.hostname or "", place.port or 0)
    async with tcp, trio.open_nursery() as nursery:
        websocket = await trio_websocket.wrap_client_stream(nursery, tcp, place.netloc, place.path)

        async def send(text: str) -> None:
            # `get_message` is who tells of the end.
            with contextlib.suppress(trio_websocket.ConnectionClosed):
                await websocket.send_message(text)

        async def say(message: Json) -> None:
            await send(text_of(message))

        await say(dialect.opening()[0])

        async def send_sound() -> None:
            while True:
                while message := port.take():
                    await send(message.decode())
                await trio.sleep(0.001)

        async def tell() -> None:
            with media.events_of(port) as events:
                async for event in events:
                    match event:
                        case Played(mark=mark):
                            await say(dialect.played(names[mark]))
                        case Cleared():
                            await say(dialect.cleared([])[0])

        nursery.start_soon(send_sound)
        nursery.start_soon(tell)
        try:
            while True:
                message = await websocket.get_message()
                command = dialect.parse(message) if isinstance(message, str) else None
                match command:
                    case None:
                        faults["binary"] += 1
                        continue
                    case Fault(kind=kind):
                        faults[kind] += 1
                        continue
                    case Play(data=data, codec=codec, rate_hz=rate_hz):
                        if data:
                            assert port.play(data, codec, rate_hz)
                    case Clear():
                        names.append("")
                        port.clear(len(names) - 1)
                    case Checkpoint(name=name):
                        names.append(name)
                        port.checkpoint(len(names) - 1)
                if command.stream_id not in (None, STREAM):
                    faults["stream id"] += 1
        except trio_websocket.ConnectionClosed:
            nursery.cancel_scope.cancel()
    return dict(faults)


# ---- both


async def until(ready: Callable[[], bool]) -> None:
    with trio.fail_after(LIMIT_S):
        while not ready():  # noqa: ASYNC110 - on the far side of a socket are no events
            await trio.sleep(0.0005)


async def play_script(client: Client, script: Sequence[Act], *, thread: bool) -> Outcome:
    server, ticked = Server(), 0
    with Watched() as engine:
        media = Media(engine)
        line = engine.stream(Codec.L16, RATE_HZ, prefix=b"", suffix=b"")
        line.play(LINE, Codec.PCMA, RATE_HZ)
        heard = bytearray()
        done = trio.Event()

        async def run(url: str) -> None:
            server.outcome.faults = await client(url, media, line)
            done.set()

        async def tick() -> None:
            nonlocal ticked
            engine.tick()
            ticked += 1
            while (message := line.take()) is not None:
                heard.extend(base64.b64decode(message))
            await until(lambda: len(server.outcome.media) == ticked)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(media.run)
            if thread:
                media.carry()
            [listener] = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
            nursery.start_soon(run, f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/")
            await until(lambda: len(server.outcome.told) == 1)
            given = 0
            for number, act in enumerate(script):
                for piece in pieces(act, number):
                    await server.send(piece)
                    if act.pause:
                        await trio.sleep(TICK_S)
                given += 1 + act.frames.count(frame(OTHERS[1]))
                await until(lambda given=given: engine.checkpoints == given)  # type: ignore[misc]
                for _ in range(act.ticks):
                    await tick()
            # What was begun is heard for a second. The rest is cleared: what is told while the server closes is chance.
            for _ in range(50):
                await tick()
            await server.send(frame(OTHERS[0]) + frame(b'{"event":"checkpoint","name":"end"}'))
            await until(lambda: engine.checkpoints == given + 1)
            for _ in range(2):
                await tick()
            await until(lambda: server.outcome.told[-1].get("name") == "end")
            await server.close()
            with trio.fail_after(LIMIT_S):
                while not done.is_set() or server.outcome.closed is None:
                    engine.tick()
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()

    server.outcome.heard = bytes(heard)
    del server.outcome.media[ticked:]
    return server.outcome


@pytest.mark.parametrize("thread", [False, True], ids=["in the tick's turn", "by a thread"])
@settings(max_examples=12, deadline=None)
@given(script=scripts())
def test_a_script_in_any_pieces_has_the_outcome_that_it_has_without_a_lane(thread: bool, script: list[Act]) -> None:
    assert trio.run(partial(play_script, ours, script, thread=thread)) == trio.run(
        partial(play_script, plain, script, thread=False)
    )
