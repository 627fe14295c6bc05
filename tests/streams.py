"""A stream between a line and a customer's server. The line is a port whose sound is known sample by sample."""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import structlog
import trio
from structlog.testing import LogCapture

from appliance.actions import StreamTo
from appliance.media import Media
from appliance.stream import StreamEnd, run_stream
from native import FRAME_SAMPLES, Codec, Engine, Port

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
