"""One way to carry calls between lines and a customer's WebSockets, in a process of its own, and what it costs.

    python -m tests.bench.contender ours|plain CALLS SECONDS [--tls FILE] [--modems]

`ours` is what the service runs: the engine on its thread, media, run_stream and wire. `plain` is the obvious way in
Python: trio-websocket, json, base64, audioop, a task per direction and call. Both talk A-law with the same voice server
(tests.bench.voice). Their lines are sound in memory, or with --modems the PCM ptys of tests.bench.modems.

Says {"us": the CPU time of this whole process per call and tick, that is for one frame out and one in, as the voice
server counted them; "pace": the share of the frames due that it carried, in the worse of the two directions;
"voice_share": how much of a core the voice server needed, which must be far from all of it}.
"""

import argparse
import base64
import json
import logging
import os
import ssl
import time
import warnings
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import structlog
import trio
from trio_websocket import open_websocket_url

from appliance.actions import StreamTo
from appliance.media import open_media
from appliance.stream import run_stream
from native import FRAME_SAMPLES, RATE_HZ, TICK_S, Codec, Engine, Port, Trust, alaw_decode, alaw_encode
from tests.bench.apart import MEASURED, OTHERS, Apart, say
from tests.bench.voice import noise

try:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        import audioop
except ImportError:  # Python 3.13
    audioop = None  # type: ignore[assignment]

FRAME_BYTES = 2 * FRAME_SAMPLES
# Everybody connected, buffers settled.
CONNECTED_LIMIT_S = 20
SETTLE_S = 0.5
SOUND_S = 60

Carry = Callable[[int, str, Path | None, Sequence[int]], Awaitable[None]]


# --- ours -----------------------------------------------------------------------------------------------------------


async def ours(calls: int, url: str, ca: Path | None, ttys: Sequence[int]) -> None:
    trust = Trust(ca)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    digits = [trio.open_memory_channel[str](1) for _ in range(calls)]
    async with open_media() as media, trio.open_nursery() as nursery:
        for number in range(calls):
            line: Port = media.engine.pcm(ttys[number]) if ttys else _line_in_memory(media.engine)
            run = partial(
                run_stream,
                StreamTo(url),
                media=media,
                line=line,
                call_id=f"call-{number}",
                stream_id=f"SFV_STRM_BI_{number:026}",
                digits=digits[number][1],
                press=lambda keys: None,
                user_agent="Branchline/bench",
                log=structlog.get_logger(),
                trust=trust,
            )
            nursery.start_soon(run)


def _line_in_memory(engine: Engine) -> Port:
    """Speaks and hears, and costs a copy of a frame each way: a stream port of which nobody takes messages."""
    line = engine.stream(Codec.PCMA, RATE_HZ, prefix=b"", suffix=b"", uplink=False)
    line.play(noise(1)[: SOUND_S * RATE_HZ], Codec.PCMA, RATE_HZ)
    return line


# --- the plain way --------------------------------------------------------------------------------------------------


async def plain(calls: int, url: str, ca: Path | None, ttys: Sequence[int]) -> None:
    tls = ssl.create_default_context(cafile=ca) if ca else None
    async with trio.open_nursery() as nursery:
        for number in range(calls):
            fd = ttys[number] if ttys else None
            nursery.start_soon(_plain_call, f"{number:026}", url, tls, fd, TICK_S * number / calls)


async def _plain_call(stream_id: str, url: str, tls: ssl.SSLContext | None, fd: int | None, phase_s: float) -> None:
    sound = _decoded(noise(1)[: 10 * RATE_HZ])
    async with open_websocket_url(url, ssl_context=tls) as websocket, trio.open_nursery() as nursery:

        async def send() -> None:
            due, at = trio.current_time() + phase_s, 0
            while True:
                if fd is None:
                    due += TICK_S
                    await trio.sleep_until(due)
                    frame = sound[at : at + FRAME_BYTES]
                    at = (at + FRAME_BYTES) % len(sound)
                else:
                    frame = await _read(fd)
                payload = base64.b64encode(_encoded(frame)).decode()
                media = {"contentType": "audio/PCMA", "sampleRate": RATE_HZ, "payload": payload}
                await websocket.send_message(json.dumps({"event": "media", "streamId": stream_id, "media": media}))

        async def receive() -> None:
            while True:
                message = json.loads(await websocket.get_message())
                if message["event"] == "playAudio":
                    frame = _decoded(base64.b64decode(message["media"]["payload"]))
                    if fd is not None:
                        _write(fd, frame)

        nursery.start_soon(send)
        nursery.start_soon(receive)


def _encoded(pcm: bytes) -> bytes:
    return alaw_encode(pcm) if audioop is None else audioop.lin2alaw(pcm, 2)


def _decoded(codes: bytes) -> bytes:
    return alaw_decode(codes) if audioop is None else audioop.alaw2lin(codes, 2)


async def _read(fd: int) -> bytes:
    while True:
        try:
            return os.read(fd, FRAME_BYTES)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(fd)


def _write(fd: int, frame: bytes) -> None:
    try:
        os.write(fd, frame)
    except BlockingIOError:
        # The modem does not take it: late sound is no sound.
        return


# --- what it costs --------------------------------------------------------------------------------------------------


async def measure(carry: Callable[[], Awaitable[None]], calls: int, seconds: float, voice: Apart) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry)
        with trio.fail_after(CONNECTED_LIMIT_S):
            # On a thread, as these are our own connections.
            await trio.to_thread.run_sync(voice.ask, "await", str(calls), abandon_on_cancel=True)
        await trio.sleep(SETTLE_S)
        before, cpu_before = voice.ask("count"), time.process_time()
        await trio.sleep(seconds)
        cpu_s, after = time.process_time() - cpu_before, voice.ask("count")
        carried = [after[way] - before[way] for way in ("in", "out")]
        due = calls * (after["at"] - before["at"]) / TICK_S
        say(
            {
                "us": 1e6 * cpu_s / (sum(carried) / 2),
                "pace": min(carried) / due,
                "voice_share": (after["cpu_s"] - before["cpu_s"]) / (after["at"] - before["at"]),
            }
        )
        nursery.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=("ours", "plain"))
    parser.add_argument("calls", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--tls", type=Path)
    parser.add_argument("--modems", action="store_true")
    options = parser.parse_args()
    carry: Carry = {"ours": ours, "plain": plain}[options.way]
    with (
        Apart("tests.bench.voice", *(["--tls", str(options.tls)] if options.tls else []), cores=OTHERS) as voice,
        Apart("tests.bench.modems", str(options.calls if options.modems else 0), cores=OTHERS) as modems,
    ):
        url = f"{'wss' if options.tls else 'ws'}://127.0.0.1:{voice.hear()['port']}/voice"
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY
        ttys = [os.open(path, flags) for path in modems.hear()["ports"]]
        os.sched_setaffinity(0, MEASURED)
        trio.run(measure, partial(carry, options.calls, url, options.tls, ttys), options.calls, options.seconds, voice)


if __name__ == "__main__":
    main()
