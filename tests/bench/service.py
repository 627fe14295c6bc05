"""The whole service as a process, with 8 simulated EC25s on ptys, webhooks and a voice server on loopback.

`start.lines_ready_s.8`: from the start of `branchline run` on a database with no more than a key until /healthz tells
8 idle lines (asked every 50 ms). `service.rss_mib.8`: resident memory of that process with 8 calls up, streamed and
recorded.

`latency.*`: with these 8 calls, while the API is asked, also for pages of 2000 calls that were, the store is written
and a recording encoded, all without pause (tests.bench.load). In rounds of some seconds, each with calls of its own: of
a round that part counts which was over when the machine first stood still (tests.bench.pauses), or its kernel kept a
modem's bytes from the tty. What counts is when bytes come to the PCM port and are read from its modem's end, and the
voice server's end of the WebSocket: see tests.bench.delays. A modem writes 40 ms at a time; the last 20 of them can not
be sent to the customer before 20 ms have passed, and what the customer sends goes to the modem when it asks for it,
every 40 ms.
`latency.clear_ms` is the median.

`event.end_to_webhook_ms.p95`: 24 short calls on the 8 lines, from the caller's hanging up to phone_call.completed at
the webhook receiver, its signature verified.
"""

import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import soundfile
import trio

from appliance.call import Direction, Ended, Reason, State
from appliance.store import Store, open_store
from drivers.line import Answered
from hil.box import Box
from hil.customer import ANSWER, EVENTS, Webhooks, is_signed, open_webhooks
from hil.subscriber import PhoneCall, Subscriber
from native import RATE_HZ
from tests.bench import delays
from tests.bench.apart import Apart
from tests.bench.figures import Figure, percentile
from tests.bench.pauses import Pauses
from tests.bench.tap import Exchange, Take, TappedLine, open_exchange

LINES = 8
SECRET = "whsec_bench-5f0c3a9be17d4826"
STARTS, QUICK_STARTS = 3, 1
READY_LIMIT_S = 30
STREAM_LIMIT_S = 15
# Frames of each direction, and clears: there are rounds until there are as many, three on a quiet machine.
ENOUGH, QUICK_ENOUGH = (4000, 16), (200, 4)
MOST_ROUNDS = 12
# With fewer the machine, and not the box, was measured.
LEAST = (1000, 8), (100, 2)
TALK_S, QUICK_TALK_S = 5.0, 3.0
# A round's.
CLEARS = 3
SETTLE_S = 1.0
# Sound is queued, cleared in its midst, and the silence waited for.
QUEUED_FRAMES, PLAYED_S, SILENT_S = 75, 0.5, 0.5
SHORT_CALLS = 3
SHORT_CALL_S = 1.0
EVENT_LIMIT_S = 15
PAST_CALLS, PAST = 2000, datetime(2026, 2, 2, 10, tzinfo=UTC)
# Long enough never to be done within one look.
ENCODED_S = 600


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    figures: list[Figure] = []
    try:
        trio.run(lambda: _measure(figures, names, directory, quick=quick))
    finally:
        # Whatever failed, what was measured before counts.
        yield from (figure for figure in figures if figure.name in names)


async def _measure(figures: list[Figure], names: set[str], directory: Path, *, quick: bool) -> None:
    with Apart("tests.bench.voice", "--prompt") as voice:
        url = f"ws://127.0.0.1:{voice.hear()['port']}/voice"
        async with (
            open_exchange(LINES, directory) as exchange,
            open_webhooks(lambda: {"url": url, "codec": "PCMA", "sample_rate": 8000}) as webhooks,
        ):
            starts: list[float] = []
            rounds = (QUICK_STARTS if quick else STARTS) if "start.lines_ready_s.8" in names else 1
            for number in range(rounds):
                home = Path(tempfile.mkdtemp(dir=directory))
                async with _started(home, exchange, webhooks, starts) as box:
                    if number == rounds - 1:
                        figures.append(Figure("start.lines_ready_s.8", statistics.median(starts)))
                        await _Rig(figures, box, exchange, webhooks, voice, directory).run(names, quick=quick)


@asynccontextmanager
async def _started(directory: Path, exchange: Exchange, webhooks: Webhooks, starts: list[float]) -> AsyncIterator[Box]:
    box = Box(directory, exchange.lines, events_url=webhooks.url + EVENTS, secret=SECRET)
    try:
        await box.create_key()
        began = time.monotonic()
        await box.start()
        await box.idle(within_s=READY_LIMIT_S)
        starts.append(time.monotonic() - began)
        yield box
        await box.stop()
    finally:
        await box.kill()


class _Rig:
    """A box that is up, and everybody around it; what is measured comes into `figures`."""

    def __init__(
        self,
        figures: list[Figure],
        box: Box,
        exchange: Exchange,
        webhooks: Webhooks,
        voice: Apart,
        directory: Path,
    ) -> None:
        self._figures = figures
        self._box = box
        self._exchange = exchange
        self._webhooks = webhooks
        self._voice = voice
        self._directory = directory
        self._app = ""

    async def run(self, names: set[str], *, quick: bool) -> None:
        if names - {"start.lines_ready_s.8"}:
            await self._link()
        if any(name.startswith(("latency.", "service.")) for name in names):
            await self._long_calls(quick=quick)
        if "event.end_to_webhook_ms.p95" in names:
            await self._short_calls()

    async def _link(self) -> None:
        app, _ = await self._box.post("/apps", {"name": "Bench", "answer_url": self._webhooks.url + ANSWER})
        self._app = app["app_id"]
        for line in self._exchange.lines:
            await self._box.post(f"/apps/{app['app_id']}/numbers", {"voip_number": line.number})

    # --- calls that last --------------------------------------------------------------------------------------------

    async def _long_calls(self, *, quick: bool) -> None:
        await self._remember()
        wav = self._directory / "load.wav"
        noise = np.random.default_rng(1).integers(-8000, 8000, (ENCODED_S * RATE_HZ, 2), np.int16)
        await trio.to_thread.run_sync(soundfile.write, wav, noise, RATE_HZ)
        late = _Late()
        with Pauses() as pauses:
            for _ in range(MOST_ROUNDS):
                late.add(await self._round(wav, pauses, quick=quick))
                if late.has(*(QUICK_ENOUGH if quick else ENOUGH)):
                    break
        self._figures.append(Figure("service.rss_mib.8", late.rss_mib))
        if not late.has(*LEAST[quick]):
            raise delays.NotFound(f"{late}: the machine stood still too often")
        self._figures += late.figures()

    async def _remember(self) -> None:
        """Calls of other days, as a box has them that is asked for its calls."""
        database = self._box.config.parent / "data" / "branchline.db"
        async with open_store(database) as store, trio.open_nursery() as nursery:
            for number in range(PAST_CALLS):
                nursery.start_soon(_remember_call, store, f"past-{number}")

    async def _round(self, wav: Path, pauses: Pauses, *, quick: bool) -> "_Late":
        """Calls of their own: a buffer remembers for a minute what a pause of the machine has done to it."""
        self._voice.ask("play")
        calls = [phone.dial(line.number) for line, phone in self._pairs()]
        for call in calls:
            await call.answered()
        with trio.fail_after(STREAM_LIMIT_S):
            await trio.to_thread.run_sync(self._voice.ask, "await", str(LINES), abandon_on_cancel=True)
        port = str(urlsplit(self._box.url).port)
        with Apart("tests.bench.load", port, self._box.key, self._app, str(wav)) as load:
            await trio.sleep(SETTLE_S)
            self._voice.ask("forget")
            await trio.sleep(QUICK_TALK_S if quick else TALK_S)
            talked = self._voice.ask("dump")
            paused = time.monotonic()
            self._voice.ask("pause")
            await trio.sleep(SILENT_S)
            for _ in range(CLEARS):
                self._voice.ask("queue", str(QUEUED_FRAMES))
                await trio.sleep(PLAYED_S)
                self._voice.ask("clear")
                await trio.sleep(SILENT_S)
            cleared = self._voice.ask("dump")
            rss_mib = self._box.rss_mib
            if not load.ask("end")["requests"]:
                raise RuntimeError("the service answered nobody")
        for call in calls:
            call.hang_up()
        await self._box.idle(within_s=READY_LIMIT_S)
        late = _Late(rss_mib=rss_mib)
        takes = [line.takes[-1] for line in self._exchange.lines]
        for talk, clear in zip(talked, cleared, strict=True):
            take = delays.take_of(talk, takes)
            talk_until, clear_until = (min(pauses.first(since), take.held_up(since)) for since in (take.begun, paused))
            late.find(take, talk, clear, talk_until, clear_until)
        return late

    # --- calls that end ---------------------------------------------------------------------------------------------

    async def _short_calls(self) -> None:
        waited: list[float] = []

        async def caller(number: int) -> None:
            line, phone = self._pairs()[number]
            await trio.sleep(number * SHORT_CALL_S / LINES)
            for _ in range(SHORT_CALLS):
                call = phone.dial(line.number)
                await call.answered()
                await trio.sleep(SHORT_CALL_S)
                waited.append(await self._end(call, phone.number))
                await trio.sleep(SETTLE_S)

        async with trio.open_nursery() as nursery:
            for number in range(LINES):
                nursery.start_soon(caller, number)
        self._add("event.end_to_webhook_ms.p95", percentile(waited, 0.95))

    async def _end(self, call: PhoneCall, number: str) -> float:
        """Milliseconds."""
        before = {post.json["id"] for post in self._webhooks.posts(EVENTS)}
        ended = time.monotonic()
        call.hang_up()
        post = await self._webhooks.post(
            EVENTS,
            lambda event: (
                event["id"] not in before
                and event["type"] == "phone_call.completed"
                and event["data"]["from"] == number
            ),
            within_s=EVENT_LIMIT_S,
        )
        if not await is_signed(post, SECRET):
            raise RuntimeError(f"a signature that does not verify: {post}")
        return 1000 * (post.at - ended)

    def _add(self, name: str, value: float) -> None:
        self._figures.append(Figure(name, value))

    def _pairs(self) -> list[tuple[TappedLine, Subscriber]]:
        return list(zip(self._exchange.lines, self._exchange.phones, strict=True))


async def _remember_call(store: Store, uuid: str) -> None:
    call = await store.open_call(
        uuid=uuid,
        line="bench",
        direction=Direction.INBOUND,
        from_="+33783484044",
        to="+33700000001",
        state=State.INCOMING,
        started_at=PAST,
        route="",
    )
    await store.save(call.apply(Answered(), PAST).apply(Ended(Reason.HANGUP, 16), PAST))


@dataclass
class _Late:
    """How late sound was, in milliseconds."""

    up: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    clears: list[float] = field(default_factory=list)
    rss_mib: float = 0

    def find(
        self, take: Take, talk: dict[str, Any], clear: dict[str, Any], talk_until: float, clear_until: float
    ) -> None:
        self.up += delays.line_to_socket_ms(take, talk, talk_until)
        self.down += delays.socket_to_line_ms(take, talk, talk_until)
        self.clears += delays.clear_ms(take, clear, clear_until)

    def add(self, other: "_Late") -> None:
        self.up += other.up
        self.down += other.down
        self.clears += other.clears
        self.rss_mib = max(self.rss_mib, other.rss_mib)

    def has(self, frames: int, clears: int) -> bool:
        return min(len(self.up), len(self.down)) >= frames and len(self.clears) >= clears

    def __str__(self) -> str:
        return f"{len(self.up)} frames in, {len(self.down)} out, {len(self.clears)} clears"

    def figures(self) -> Iterator[Figure]:
        for way, ms in (("line_to_socket", self.up), ("socket_to_line", self.down)):
            yield Figure(f"latency.{way}_ms.p50", percentile(ms, 0.5))
            yield Figure(f"latency.{way}_ms.p999", percentile(ms, 0.999))
        yield Figure("latency.clear_ms", statistics.median(self.clears))
