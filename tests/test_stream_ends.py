"""How a stream ends, or is lost and goes on: by either side, at any message, by the clock, and where nobody is."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket

from appliance.actions import Protocol, StreamTo
from appliance.media import LOOK_AFTER_S
from appliance.stream import Ending
from native import Codec, alaw_decode, alaw_encode, ulaw_encode
from tests.streams import CLEAR, SPEECH, START, STREAM, WORDS, Call, calling, checkpoint, payload, play


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
