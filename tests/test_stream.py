"""What a stream carries to a customer's server and from it, in each protocol's words."""

import base64
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import trio

from appliance.actions import Direction, Protocol, StreamTo
from appliance.stream import MARKS_LIMIT
from native import Codec, Engine, alaw_decode, alaw_encode, ulaw_decode, ulaw_encode
from tests.streams import CLEAR, SPEECH, START, STREAM, WORDS, Call, calling, checkpoint, obeyed, payload, play

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
