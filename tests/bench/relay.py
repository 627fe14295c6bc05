"""A relay's call through the whole service: how late caller and owner hear each other, while the box has much to do.

`latency.relay_ms.p99`, `.p999`: from the write that brought a sample to one modem's PCM port to the read that took it
from the other's, both ways, for the first sample of every 20 ms. Two modems on ptys, as tests.bench.tap has them: each
sends 640 bytes every 40 ms and plays as much, at a phase of its own. So the second 20 ms of what a modem writes can not
go before 20 ms have passed. Between them is `branchline run` with a relay number, that records what they say, while its
API is asked, its store is written and another recording encoded without pause (tests.bench.load).

In rounds of one call each; of a round that part counts which was over when the machine first stood still
(tests.bench.pauses), or its kernel kept a modem's bytes from the tty.
"""

import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import soundfile
import trio

from hil.box import Box, Project
from hil.customer import ANSWER, EVENTS, Webhooks, open_webhooks
from native import FRAME_SAMPLES, RATE_HZ, alaw_decode, alaw_encode
from tests.bench.apart import Apart
from tests.bench.delays import LOOK_S, NotFound, enough
from tests.bench.figures import Figure, percentile
from tests.bench.pauses import Pauses
from tests.bench.tap import CHUNK_SAMPLES, Exchange, Take, open_exchange

SECRET = "whsec_bench-5f0c3a9be17d4826"
# Blocks of 20 ms, both ways together: there are rounds until there are as many.
ENOUGH, QUICK_ENOUGH = 4000, 200
# With fewer the machine, and not the box, was measured.
LEAST, QUICK_LEAST = 1000, 100
MOST_ROUNDS = 12
TALK_S, QUICK_TALK_S = 15.0, 5.0
# Both buffers have found their depth.
SETTLE_S = 2.0
READY_LIMIT_S = 30
# As long as a call may need, with all that is waited for in it.
SOUND_S = 60
ENCODED_S = 600
# Of a block's correlation with itself: it went through A-law, and perhaps between two samples (native/fraction.c).
LIKE = 0.9
# How far a block may stand from where the one before it lets expect it.
JUMP_SAMPLES = RATE_HZ // 5


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    delays = trio.run(partial(_measure, directory, quick=quick))
    for name, share in (("latency.relay_ms.p99", 0.99), ("latency.relay_ms.p999", 0.999)):
        if name in names:
            yield Figure(name, percentile(delays, share))


async def _measure(directory: Path, *, quick: bool) -> list[float]:
    wav = directory / "load.wav"
    noise = np.random.default_rng(1).integers(-8000, 8000, (ENCODED_S * RATE_HZ, 2), np.int16)
    await trio.to_thread.run_sync(soundfile.write, wav, noise, RATE_HZ)
    async with (
        open_exchange(2, directory, says=partial(sound, seconds=SOUND_S)) as exchange,
        open_webhooks(dict) as webhooks,
    ):
        box = Box(directory, exchange.lines, events_url=webhooks.url + EVENTS, secret=SECRET)
        try:
            await box.create_key()
            project = Project(box, await box.create_project("bench"))
            await box.start()
            await box.idle(within_s=READY_LIMIT_S)
            app, _ = await box.post("/apps", {"name": "Bench", "answer_url": webhooks.url + ANSWER})
            number, owner = exchange.lines[0].number, exchange.phones[1].number
            await project.ask("POST", "/api/v1/relay_numbers", {"phone_number": number, "forward_to": owner})
            load = ("tests.bench.load", str(urlsplit(box.url).port), box.key, app["app_id"], str(wav))
            delays: list[float] = []
            with Pauses() as pauses:
                for _ in range(MOST_ROUNDS):
                    delays += await _round(box, exchange, webhooks, load, pauses, QUICK_TALK_S if quick else TALK_S)
                    if len(delays) >= (QUICK_ENOUGH if quick else ENOUGH):
                        break
            await box.stop()
        finally:
            await box.kill()
    if len(delays) < (QUICK_LEAST if quick else LEAST):
        raise NotFound(f"{len(delays)} blocks: the machine stood still too often")
    return delays


async def _round(
    box: Box, exchange: Exchange, webhooks: Webhooks, load: tuple[str, ...], pauses: Pauses, talk_s: float
) -> list[float]:
    before = {post.json["id"] for post in webhooks.posts(EVENTS)}
    call = exchange.phones[0].dial(exchange.lines[0].number)
    await webhooks.post(EVENTS, lambda event: event["id"] not in before and event["type"] == "phone_call.started")
    with Apart(*load) as loaded:
        await trio.sleep(SETTLE_S)
        since = time.monotonic()
        await trio.sleep(talk_s)
        if not loaded.ask("end")["requests"]:
            raise RuntimeError("the service answered nobody")
    call.hang_up()
    await box.idle(within_s=READY_LIMIT_S)
    one, other = (line.takes[-1] for line in exchange.lines)
    until = min(pauses.first(since), one.held_up(since), other.held_up(since))
    return [*delays_ms(one, other, since, until), *delays_ms(other, one, since, until)]


def sound(seed: int, seconds: int) -> bytes:
    """A-law. Noise that a fraction of a sample's delay leaves like itself: nothing near half the rate."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=seconds * RATE_HZ))
    hz = np.linspace(0, RATE_HZ / 2, len(spectrum))
    sound = np.fft.irfft(np.where((hz > 200) & (hz < 2800), spectrum, 0))
    return alaw_encode((sound * 8000).clip(-32000, 32000).astype("<i2").tobytes())


def delays_ms(spoken: Take, heard: Take, since: float, until: float = math.inf) -> list[float]:
    """Of each block of 20 ms that was spoken in that time, though not shortly before its end, and was heard.

    Raises: tests.bench.delays.NotFound: few were.
    """
    said, chunks = _samples(spoken.codes), spoken.sent
    codes, came_at = heard.heard()
    ear = _samples(codes)
    wanted = [n for n, sent in enumerate(chunks) if sent is not None and since <= sent < until - LOOK_S]
    if not wanted:
        return []
    blocks_of_chunk = CHUNK_SAMPLES // FRAME_SAMPLES
    first, last = blocks_of_chunk * wanted[0], blocks_of_chunk * (wanted[-1] + 1)
    delays: list[float] = []
    at, reach = int(came_at.searchsorted(since)), RATE_HZ
    for number in range(first, last):
        block = said[number * FRAME_SAMPLES :][:FRAME_SAMPLES]
        begin = max(0, at - reach)
        found = _find(block, ear[begin : at + reach])
        sent = chunks[number // blocks_of_chunk]
        if found is not None:
            at, reach = begin + found, JUMP_SAMPLES
            if sent is not None:
                delays.append(1000 * (float(came_at[at]) - sent))
        at += FRAME_SAMPLES
    return enough(delays, last - first, "blocks")


def _samples(codes: bytes) -> Any:
    return np.frombuffer(alaw_decode(codes), "<i2").astype(float)


def _find(block: Any, sound: Any) -> int | None:
    """Where it is most like the block."""
    if len(sound) < len(block):
        return None
    energy = np.convolve(sound**2, np.ones(len(block)), "valid")
    likeness = np.correlate(sound, block, "valid") / np.sqrt(np.maximum(energy, 1) * (block**2).sum())
    best = int(likeness.argmax())
    return best if likeness[best] >= LIKE else None
