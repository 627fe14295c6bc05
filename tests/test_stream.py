"""A stream between a line and a customer's server. The line is a port whose sound is known sample by sample."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import structlog
import trio
import trio.testing
import trio_websocket
from structlog.testing import LogCapture

from appliance.actions import Direction, Protocol, StreamTo
from appliance.media import LOOK_AFTER_S, Media
from appliance.stream import MARKS_LIMIT, Ending, StreamEnd, run_stream
from native import FRAME_SAMPLES, Codec, Engine, Port, alaw_decode, alaw_encode, ulaw_decode, ulaw_encode

STREAM, CALL = "SFV_STRM_BI_01JJXYZ1230ABC456DEF789GHJ", "6f2d1c0e-3f0b-4c63-9d55-0c1f6a2b7e11"
START = {"event": "start", "streamId": STREAM, "callId": CALL}
WORDS = np.random.default_rng(7).integers(-20000, 20000, 50 * FRAME_SAMPLES).astype("<i2")
# A-law of no sample that is silence: where the playing begins is seen.
SPEECH = np.random.default_rng(8).integers(0, 0x50, 12345).astype("u1").tobytes()


class Call:
    """One call's media: `heard` is what the caller heard so far, `end` what the stream ended with."""

    def __init__(self, engine: Engine, media: Media) -> None:
        self.engine, self.media = engine, media
        self.line = engine.stream(Codec.L16, 8000, prefix=b"", suffix=b"")
        self.heard = bytearray()
        self.press, self.digits = trio.open_memory_channel[str](10)
        self.pressed: list[str] = []
        self.logged = LogCapture()
        self.log = structlog.wrap_logger(None, processors=[self.logged])
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.end: StreamEnd | None = None

    async def stream(self, order: StreamTo, waits_s: Sequence[float] = (0, 0, 0), ears: Sequence[Port] = ()) -> None:
        with self.scope:
            self.end = await run_stream(
                order,
                media=self.media,
                line=self.line,
                call_id=CALL,
                stream_id=STREAM,
                digits=self.digits,
                press=self.pressed.append,
                user_agent="branchline/test",
                log=self.log,
                ears=ears,
                waits_s=waits_s,
            )
        self.ended.set()

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.engine.tick()
            while (frame := self.line.take()) is not None:
                self.heard += base64.b64decode(frame)

    async def tick_for_ever(self) -> None:
        while True:
            self.tick()
            await trio.sleep(0.0001)

    async def over(self) -> StreamEnd:
        """The stream's end, for which the clock may have to go on."""
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.tick_for_ever)
                await self.ended.wait()
                nursery.cancel_scope.cancel()
        assert self.end is not None
        return self.end

    async def logged_lines(self, event: str, count: int) -> None:
        with trio.fail_after(20):
            while len(self.lines(event)) < count:  # noqa: ASYNC110 - a log has no event
                await trio.sleep(0.001)

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [dict(line) for line in self.logged.entries if line["event"] == event]


@asynccontextmanager
async def calling(
    order: StreamTo, *, engine: Engine | None = None, waits_s: Sequence[float] = (0, 0, 0), ears: Sequence[Port] = ()
) -> AsyncIterator[Call]:
    with Engine() as own:
        media = Media(engine or own)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(media.run)
            call = Call(engine or own, media)
            nursery.start_soon(call.stream, order, waits_s, ears)
            yield call
            nursery.cancel_scope.cancel()


def payload(message: Any) -> bytes:
    return base64.b64decode(message["media"]["payload"], validate=True)


def play(data: bytes, content_type: str = "audio/PCMA", rate_hz: int = 8000) -> dict[str, Any]:
    media = {"payload": base64.b64encode(data).decode(), "contentType": content_type, "sampleRate": rate_hz}
    return {"event": "playAudio", "media": media}


def checkpoint(name: str) -> dict[str, Any]:
    return {"event": "checkpoint", "name": name}


CLEAR = {"event": "clearAudio"}


async def obeyed(call: Call, server: Any) -> None:
    """Until all that the server sent before has reached the engine; the playing may have to go on for that."""
    await server.send(checkpoint("so far"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.tick_for_ever)
        assert (await server.next("playedStream"))["name"] == "so far"
        nursery.cancel_scope.cancel()


# -- to the server ----------------------------------------------------------------------------------------------------


async def test_start_comes_first_then_a_frame_for_each_tick(voice_server: Any):
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        assert await server.receive() == START
        codes = alaw_encode(WORDS.tobytes())
        call.line.play(codes, Codec.PCMA, 8000)
        frames = []
        for _ in range(50):
            call.tick()
            frames.append(await server.receive())
        # PCMA comes out as the line's own bytes: nothing between may change a code.
        assert b"".join(map(payload, frames)) == codes
        for frame in frames:
            assert frame["event"] == "media"
            assert frame["streamId"] == STREAM
            assert (frame["media"]["contentType"], frame["media"]["sampleRate"]) == ("audio/PCMA", 8000)
        assert server.waiting() == []


async def test_late_ticks_are_made_up_for_in_order(voice_server: Any):
    async with calling(StreamTo(voice_server.url, codec=Codec.L16)) as call:
        server = await voice_server.connection()
        await server.receive()
        call.line.play(WORDS.tobytes(), Codec.L16, 8000)
        call.tick(50)
        assert b"".join([payload(await server.receive()) for _ in range(50)]) == WORDS.tobytes()


@pytest.mark.parametrize(
    ("codec", "rate_hz", "silence"),
    [
        (Codec.PCMA, 8000, b"\xd5" * 160),
        (Codec.PCMU, 8000, b"\xff" * 160),
        (Codec.L16, 8000, bytes(320)),
        (Codec.L16, 16000, bytes(640)),
        (Codec.L16, 44100, bytes(1764)),
        (Codec.L16, 48000, bytes(1920)),
    ],
)
async def test_a_silent_line_is_digital_silence(voice_server: Any, codec: Codec, rate_hz: int, silence: bytes):
    async with calling(StreamTo(voice_server.url, codec=codec, rate_hz=rate_hz)) as call:
        server = await voice_server.connection()
        await server.receive()
        call.tick(5)
        assert [payload(await server.receive()) for _ in range(5)] == [silence] * 5


async def test_each_key_is_told_once(voice_server: Any):
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        await server.receive()
        for digit in "12#":
            await call.press.send(digit)
        assert [(await server.receive())["dtmf"]["digit"] for _ in range(3)] == ["1", "2", "#"]


async def test_the_customers_headers_are_in_the_handshake(voice_server: Any):
    async with calling(StreamTo(voice_server.url, headers={"X-Tenant": "7"})):
        server = await voice_server.connection()
        assert server.path == "/voice?call=1"
        assert (server.headers["X-Tenant"], server.headers["User-Agent"]) == ("7", "branchline/test")


# -- from the server --------------------------------------------------------------------------------------------------


async def test_what_the_server_plays_is_heard_on_the_line_and_by_its_ears(voice_server: Any):
    with Engine() as engine:
        recorder = engine.recorder()
        async with calling(StreamTo(voice_server.url), engine=engine, ears=[recorder.right]) as call:
            server = await voice_server.connection()
            # In pieces of any size, as they come: 20 ms steps are ours to make.
            for start, stop in pairwise((0, 1, 160, 5000, 5321, len(SPEECH))):
                await server.send(play(SPEECH[start:stop]))
            await obeyed(call, server)
        both = np.frombuffer(recorder.read(), "<i2").reshape(-1, 2)
    heard = np.frombuffer(bytes(call.heard), "<i2")
    # The ticks of this test do not wait: there may be silence between pieces, and nowhere else.
    assert heard[heard != 0].tobytes() == alaw_decode(SPEECH)
    assert both[both[:, 1] != 0, 1].tobytes() == alaw_decode(SPEECH)
    assert not both[:, 0].any()


async def test_audio_in_another_codec_than_the_streams_is_played_by_what_it_says(voice_server: Any):
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        loud = np.full(800, 12000, "<i2").tobytes()
        await server.send(play(loud, "audio/x-l16;rate=8000"), play(SPEECH))
        await obeyed(call, server)
    assert bytes(call.heard).find(loud + alaw_decode(SPEECH)) >= 0


async def test_7_7_clear_silences_the_line_and_is_answered_once(voice_server: Any):
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        await server.send(checkpoint("begun"), play(SPEECH * 10), checkpoint("never reached"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.tick_for_ever)
            await server.next("playedStream")
            nursery.cancel_scope.cancel()
        await server.send(CLEAR, CLEAR, play(SPEECH[:160]), checkpoint("after"))
        answers = []
        while not answers or answers[-1].get("name") != "after":
            call.tick()
            await trio.sleep(0.001)
            answers += [message for message in server.waiting() if message["event"] != "media"]
        call.tick(10)
    assert answers == [
        {"event": "clearedAudio", "streamId": STREAM},
        {"event": "clearedAudio", "streamId": STREAM},
        {"event": "playedStream", "streamId": STREAM, "name": "after"},
    ]
    assert bytes(call.heard).rstrip(b"\0").endswith(alaw_decode(SPEECH[:160]))
    assert len(call.heard.strip(b"\0")) < 2 * len(SPEECH * 10)


async def test_7_8_checkpoints_are_answered_in_order_each_when_its_audio_was_played(voice_server: Any):
    async with calling(StreamTo(voice_server.url, direction=Direction.OUTBOUND)) as call:
        server = await voice_server.connection()
        await server.receive()
        await server.send(checkpoint("now"), play(SPEECH[:1600]), checkpoint("same"), checkpoint("same"))
        await server.send(play(SPEECH[:160]), checkpoint("é 🎈"))
        names = []
        while len(names) < 4:
            before = len(call.heard.lstrip(b"\0"))
            call.tick()
            await trio.sleep(0.001)
            for message in server.waiting():
                names.append(message["name"])
                if message["name"] == "same":
                    assert before >= 2 * 1440 - 2
    assert names == ["now", "same", "same", "é 🎈"]


@pytest.mark.parametrize(
    ("order", "media", "played"),
    [
        ({"direction": Direction.BOTH}, True, True),
        ({"direction": Direction.INBOUND}, True, False),
        ({"direction": Direction.OUTBOUND}, False, True),
        ({"bidirectional": False}, True, False),
    ],
)
async def test_6_4_direction_decides_what_flows(voice_server: Any, order: dict[str, Any], media: bool, played: bool):
    async with calling(StreamTo(voice_server.url, **order)) as call:
        server = await voice_server.connection()
        await server.receive()
        await call.press.send("5")
        assert (await server.receive())["event"] == "dtmf"
        await server.send(play(SPEECH), play(SPEECH), CLEAR, play(SPEECH), checkpoint("end"))
        events = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.tick_for_ever)
            while events[-1:] != ["playedStream"]:
                events.append((await server.receive())["event"])
            nursery.cancel_scope.cancel()
    assert ("media" in events) == media
    assert events.count("clearedAudio") == 1
    assert any(call.heard) == played
    assert len([line for line in call.lines("message dropped") if line["kind"] == "one way"]) == (not played)
    assert call.lines("stream ended")[0]["faults"] == ({} if played else {"one way": 3})


FAULTS = {
    "json": "{",
    "payload": {"event": "playAudio"},
    "base64": {"event": "playAudio", "media": {"payload": "???"}},
    "odd": {"event": "playAudio", "media": {"payload": "AAAA", "contentType": "audio/x-l16"}},
    "rate": {"event": "playAudio", "media": {"payload": "AAAA", "sampleRate": 16000}},
    "content type": {"event": "playAudio", "media": {"payload": "AAAA", "contentType": "audio/opus"}},
    "event": {"event": "stop"},
    "name": {"event": "checkpoint"},
    "binary": b"\xd5" * 160,
}


async def test_what_breaks_a_rule_is_dropped_counted_and_logged_once_a_kind(voice_server: Any):
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        for _ in range(3):
            await server.send(*FAULTS.values())
        await server.send({**play(SPEECH), "streamId": "another"})
        await obeyed(call, server)
        server.close(1000)
        end = await call.over()
    assert end.faults == {**dict.fromkeys(FAULTS, 3), "stream id": 1}
    assert end.messages == 3 * len(FAULTS) + 2
    assert [line["kind"] for line in call.lines("message dropped")] == list(FAULTS)
    assert bytes(call.heard).find(alaw_decode(SPEECH)) >= 0


async def test_ten_megabytes_at_once_are_queued_and_can_be_cleared(voice_server: Any):
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        await server.send(play(b"\x10\x10" * 5_000_000, "audio/x-l16", 48000), CLEAR)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call.tick_for_ever)
                await server.next("clearedAudio")
                nursery.cancel_scope.cancel()
    assert call.lines("stream ended")[0]["faults"] == {}


async def test_7_6_more_than_ten_minutes_are_not_queued(voice_server: Any):
    minute = play(b"\x11" * 60 * 8000)
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        await server.send(*[minute] * 12, CLEAR)
        await obeyed(call, server)
    assert call.lines("stream ended")[0]["faults"]["full"] >= 1


async def test_commands_without_end_are_bounded(voice_server: Any):
    """Nothing ticks, so nothing is ever done."""
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        await server.receive()
        await server.send(*[checkpoint(str(n)) for n in range(MARKS_LIMIT + 500)])
        await server.send("{")
        await call.logged_lines("message dropped", 2)
        call.tick(10)
        names = [(await server.next("playedStream"))["name"] for _ in range(MARKS_LIMIT)]
    assert names == [str(n) for n in range(MARKS_LIMIT)]
    assert call.lines("stream ended")[0]["faults"] == {"marks": 500, "json": 1}


# -- the end of a connection, and of the stream -----------------------------------------------------------------------


@pytest.mark.parametrize(("code", "ending"), [(1000, Ending.CUSTOMER), (1008, Ending.REFUSED)])
async def test_7_9_a_deliberate_close_is_the_end(voice_server: Any, code: int, ending: Ending):
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        server.close(code)
        end = await call.over()
    assert (end.ending, end.reconnects) == (ending, 0)
    assert voice_server.handshakes == 1


@pytest.mark.parametrize("code", [1001, 1011, 1012, 4000, None])
async def test_7_9_any_other_end_is_a_loss_and_the_stream_goes_on(voice_server: Any, code: int | None):
    async with calling(StreamTo(voice_server.url)) as call:
        for _ in range(2):
            server = await voice_server.connection()
            assert await server.receive() == START
            server.cut() if code is None else server.close(code)
        server = await voice_server.connection()
        assert await server.receive() == START
        call.line.play(WORDS.tobytes(), Codec.L16, 8000)
        call.tick()
        assert payload(await server.receive()) == alaw_encode(WORDS[:160].tobytes())
        server.close(1000)
        end = await call.over()
    assert (end.ending, end.reconnects) == (Ending.CUSTOMER, 2)
    assert len(call.lines("stream lost")) == 2


@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("cut", [False, True])
async def test_a_server_may_end_the_connection_at_any_message(voice_server: Any, after: int, cut: bool):
    async with calling(StreamTo(voice_server.url)) as call, trio.open_nursery() as nursery:
        nursery.start_soon(call.tick_for_ever)
        server = await voice_server.connection()
        await server.send(play(SPEECH), checkpoint("a"), CLEAR, checkpoint("b"))
        for _ in range(after):
            await server.receive()
        server.cut() if cut else server.close(1011)
        server = await voice_server.connection()
        assert await server.receive() == START
        assert (await server.next("media"))["streamId"] == STREAM
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_7_10_a_handshake_answered_so_is_final(voice_server: Any, status: int):
    voice_server.statuses.append(status)
    async with calling(StreamTo(voice_server.url)) as call:
        end = await call.over()
    assert (end.ending, voice_server.handshakes) == (Ending.REFUSED, 1)


async def test_7_10_another_status_is_tried_again(voice_server: Any):
    voice_server.statuses += [500, 503]
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        assert await server.receive() == START
        server.close(1000)
        end = await call.over()
    # None was connected before: it is still the first connection.
    assert (end.ending, end.reconnects, voice_server.handshakes) == (Ending.CUSTOMER, 0, 3)


async def test_7_10_in_the_gap_audio_plays_on_and_facts_are_told_after_the_new_start(voice_server: Any):
    async with calling(StreamTo(voice_server.url), waits_s=(0.05,) * 3) as call:
        server = await voice_server.connection()
        await server.receive()
        await server.send(checkpoint("queued"), play(SPEECH), checkpoint("in the gap"))
        names: list[str] = []
        with trio.fail_after(20):
            # What came is read in a turn, not in the moment.
            while not names:
                call.tick()
                await trio.sleep(LOOK_AFTER_S)
                names = [message["name"] for message in server.waiting() if message["event"] == "playedStream"]
        assert names == ["queued"]
        while not call.heard.strip(b"\0"):
            call.tick()
            await trio.sleep(0.001)
        server.cut()
        await call.logged_lines("stream lost", 1)
        call.line.play(WORDS.tobytes(), Codec.L16, 8000)
        call.tick(len(SPEECH) // 160 + 5)
        await call.press.send("7")
        server = await voice_server.connection()
        told = [await server.receive() for _ in range(3)]
        call.tick()
        told.append(await server.receive())
    assert told[0] == START
    assert {message["event"] for message in told[1:3]} == {"playedStream", "dtmf"}
    # What the caller said in the gap is gone.
    assert payload(told[3]) == b"\xd5" * 160
    assert bytes(call.heard).find(alaw_decode(SPEECH)) >= 0


@pytest.mark.parametrize("protocol", Protocol)
async def test_what_the_caller_says_in_a_gap_can_be_kept_and_nothing_is_left_out_or_told_twice(
    voice_server: Any, protocol: Protocol
):
    codec = Codec.PCMU if protocol is Protocol.TWILIO else Codec.PCMA
    encode = ulaw_encode if protocol is Protocol.TWILIO else alaw_encode
    order = StreamTo(voice_server.url, codec, protocol=protocol, keep_audio_s=60)
    async with calling(order, waits_s=(0.05,) * 3) as call:
        call.line.play(WORDS.tobytes(), Codec.L16, 8000)
        media: list[Any] = []
        # The stream has begun, and is far from connected.
        for _ in range(2):
            await trio.lowlevel.checkpoint()
        # Before each connection; the first is no other.
        for gap in (2, 18, 12):
            call.tick(gap)
            await call.press.send("7")
            server = await voice_server.connection()
            while (await server.receive())["event"] != "dtmf":
                pass
            waiting = gap
            for _ in range(10):
                taken = min(4, waiting)
                media += [await server.receive() for _ in range(taken)]
                call.tick()
                waiting += 1 - taken
            assert waiting == 1
            media.append(await server.receive())
            server.cut()
            await call.logged_lines("stream lost", len(call.lines("stream started")))
        call.scope.cancel()
        with trio.fail_after(20):
            await call.ended.wait()
    assert b"".join(map(payload, media))[: 50 * 160] == encode(WORDS.tobytes())
    if protocol is not Protocol.SFVOPI:
        assert [int(message["media"]["chunk"]) for message in media] == list(range(1, 63))
        assert [int(message["media"]["timestamp"]) for message in media] == list(range(0, 20 * 62, 20))
        # A start and a key stand before the frames of each connection.
        numbers = [int(message["sequenceNumber"]) for message in media]
        assert numbers == [*range(3, 15), *range(17, 45), *range(47, 69)]
    (ended,) = call.lines("stream ended")
    assert (ended["frames"], ended["kept"], ended["dropped"]) == (62, 2 + 18 + 12, 0)


async def test_the_calls_end_closes_with_1000_and_what_was_said_before_arrives(voice_server: Any):
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        assert await server.receive() == START
        call.tick(3)
        await server.next("media")
        call.scope.cancel()
        with trio.fail_after(20):
            await call.ended.wait()
        # The socket is closed before the stream is over: the hangup webhook follows it.
        messages = [await server.receive() for _ in range(3)]
    assert messages[-1] is None
    assert server.close_code == 1000
    assert call.lines("stream ended")[0]["ending"] == "call over"


async def test_a_stalled_server_costs_its_own_frames_and_nobody_elses(voice_server: Any):
    order = StreamTo(voice_server.url, codec=Codec.L16, rate_hz=48000)
    with Engine() as engine:
        async with calling(order, engine=engine) as stalled:
            deaf = await voice_server.connection()
            await deaf.receive()
            deaf.stop_reading()
            other = Call(engine, stalled.media)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other.stream, StreamTo(voice_server.url))
                server = await voice_server.connection()
                await server.receive()
                for n in range(3000):
                    other.line.play(alaw_encode(np.full(160, n, "<i2").tobytes()), Codec.PCMA, 8000)
                    stalled.tick()
                    other.line.take()
                    code = alaw_encode(np.full(160, n, "<i2").tobytes())
                    assert payload(await server.receive()) == code
                server.close(1000)
                end = await other.over()
                stalled.scope.cancel()
                await stalled.ended.wait()
    assert end.frames_dropped == 0
    [line] = stalled.lines("stream ended")
    # All that may wait: two seconds in the engine, and what two kernels hold.
    assert line["frames"] < 2000
    assert line["dropped"] >= 3000 - line["frames"] - 128


# -- time: a server in the same loop, so that the clock can be jumped -------------------------------------------------


@asynccontextmanager
async def near_server(speak: Callable[[trio_websocket.WebSocketConnection], Any]) -> AsyncIterator[str]:
    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        await speak(await request.accept())

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, ssl_context=None))
        yield f"ws://127.0.0.1:{server.port}/"
        nursery.cancel_scope.cancel()


async def tick_in_time(call: Call) -> None:
    while True:
        call.tick()
        await trio.sleep(0.02)


async def ended_at(order: StreamTo) -> tuple[float, Call]:
    started = trio.current_time()
    async with calling(order, waits_s=(1, 2, 4)) as call, trio.open_nursery() as nursery:
        nursery.start_soon(tick_in_time, call)
        await call.ended.wait()
        nursery.cancel_scope.cancel()
    return trio.current_time() - started, call


async def test_7_10_where_nobody_is_it_gives_up_after_1_2_and_4_seconds(autojump_clock: trio.testing.MockClock):
    duration, call = await ended_at(StreamTo("ws://127.0.0.1:1/"))
    assert duration == pytest.approx(7, abs=0.1)
    assert [line["wait_s"] for line in call.lines("stream lost")] == [1, 2, 4, None]
    assert call.end is not None
    assert call.end.ending is Ending.LOST


async def test_7_10_thirty_seconds_of_connection_give_all_attempts_back(autojump_clock: trio.testing.MockClock):
    lives = iter([31.0, 31.0, 5.0, 5.0, 5.0, 5.0])

    async def speak(socket: trio_websocket.WebSocketConnection) -> None:
        with trio.move_on_after(next(lives)):
            while True:
                await socket.get_message()
        await socket.aclose(1011)

    async with near_server(speak) as url:
        _, call = await ended_at(StreamTo(url))
    assert [line["wait_s"] for line in call.lines("stream lost")] == [1, 1, 2, 4, None]


async def test_7_9_stream_timeout_closes_with_1000(autojump_clock: trio.testing.MockClock):
    codes = []

    async def speak(socket: trio_websocket.WebSocketConnection) -> None:
        try:
            while True:
                await socket.get_message()
        except trio_websocket.ConnectionClosed as closed:
            codes.append(closed.reason and closed.reason.code)

    async with near_server(speak) as url:
        duration, call = await ended_at(StreamTo(url, timeout_s=90))
    assert duration == pytest.approx(90, abs=0.1)
    assert call.end is not None
    assert (call.end.ending, codes) == (Ending.TIMEOUT, [1000])
    # A frame each 20 ms, and none is missing.
    assert call.end.frames_sent == pytest.approx(90 * 50, abs=2)


@pytest.mark.parametrize(("queued_s", "stays_s"), [(0, 0), (3, 3), (30, 10)])
async def test_7_9_a_farewell_is_heard_for_ten_seconds_at_most(
    autojump_clock: trio.testing.MockClock, queued_s: int, stays_s: int
):
    async def speak(socket: trio_websocket.WebSocketConnection) -> None:
        await socket.send_message(json.dumps(play(b"\x11" * 8000 * queued_s)))
        await socket.aclose(1000)

    async with near_server(speak) as url:
        duration, call = await ended_at(StreamTo(url))
    assert duration == pytest.approx(stays_s, abs=0.2)
    assert len(call.heard.strip(b"\0")) == pytest.approx(16000 * stays_s, abs=3200)


# -- other protocols' words -------------------------------------------------------------------------------------------


async def test_7_11_all_that_is_sent_is_numbered_in_order(voice_server):
    async with calling(StreamTo(voice_server.url, protocol=Protocol.PLIVO)) as call:
        server = await voice_server.connection()
        numbers = [(await server.receive())["sequenceNumber"]]
        for digit in "123":
            call.tick(2)
            await call.press.send(digit)
        while len(numbers) < 10:
            message = await server.receive()
            numbers.append(message["sequenceNumber"])
            if message["event"] == "media":
                last = message["media"]
        assert numbers == list(range(1, 11))
        assert (last["chunk"], last["timestamp"], last["track"]) == (6, "100", "inbound")


async def test_7_11_keys_for_the_far_end_are_pressed_in_order(voice_server):
    async with calling(StreamTo(voice_server.url, protocol=Protocol.PLIVO)) as call:
        server = await voice_server.connection()
        await server.send({"event": "sendDTMF", "dtmf": "12#"}, {"event": "sendDTMF", "dtmf": "5"})
        await obeyed(call, server)
        assert call.pressed == ["12#", "5"]


async def test_a_bot_for_twilio_hears_speaks_marks_and_is_told_the_end(voice_server):
    order = StreamTo(voice_server.url, Codec.PCMU, protocol=Protocol.TWILIO)
    async with calling(order) as call:
        server = await voice_server.connection()
        assert (await server.receive())["event"] == "connected"
        start = await server.receive()
        sid = {"streamSid": start["streamSid"]}
        assert (start["event"], start["sequenceNumber"]) == ("start", "1")

        call.tick()
        frame = await server.receive()
        assert (frame["event"], frame["sequenceNumber"], frame["media"]["chunk"]) == ("media", "2", "1")
        assert payload(frame) == b"\xff" * 160

        spoken = ulaw_encode(WORDS.tobytes())
        media = {"event": "media", "media": {"payload": base64.b64encode(spoken).decode()}, **sid}
        await server.send(media, {"event": "mark", "mark": {"name": "said"}, **sid})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.tick_for_ever)
            assert (await server.next("mark"))["mark"] == {"name": "said"}
            nursery.cancel_scope.cancel()
        assert ulaw_decode(spoken) in bytes(call.heard)

        await server.send(media, {"event": "mark", "mark": {"name": "lost"}, **sid}, {"event": "clear", **sid})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.tick_for_ever)
            assert (await server.next("mark"))["mark"] == {"name": "lost"}
            nursery.cancel_scope.cancel()

        call.scope.cancel()
        assert (await server.next("stop"))["stop"]["callSid"] == start["start"]["callSid"]
        assert await server.receive() is None
