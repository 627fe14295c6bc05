"""A box whose power goes while callers are forwarded, recorded and told of, again and again, and what is left of it.

Its disk forgets what was not synced (tests/power.py); the network's callers call on, customers are told, and there is a
cloud. Modems have a battery: a call that was up is up until somebody hangs it up.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx
import trio

from appliance.store import open_store
from hil.bench import Bench, BenchLine
from hil.network import State
from hil.subscriber import CallEnded, Subscriber
from tests.clouds import TOKEN
from tests.customer import SECRET, Post, open_customer
from tests.power import Disk
from tests.rig import BORN, PATIENCE_S, Rig, Run, serve_voice, speech
from tests.test_examples import free_ports, listening
from tests.test_ingest_server import started

# Of two the first take calls, the others dial.
LINES = [BenchLine(f"line{place}", f"+3370000000{place}", "ec25") for place in (1, 2, 3, 4)]
CALLERS = ("+33783484044", "+33783484045")
OWNERS = ("+33612345678", "+33612345679")
# A card's, when it is a good one.
SYNC_MS = 15
# A box that has its lines lives no longer than this, and now and then the power goes before it has any.
LIFE_S = 5.0
EARLY = 0.2
EARLY_S = (0.5, 3.0)
TALKS_S = (0.2, 3.0)
LOOK_S = 0.02
LONG_PATIENCE_S = 2 * PATIENCE_S
TO_DO = (
    "SELECT count(*) FROM calls WHERE ended_at IS NULL",
    "SELECT count(*) FROM deliveries WHERE state = 'pending'",
    "SELECT count(*) FROM recordings WHERE sha256 IS NULL OR upload = 'waiting'",
)
WORDS = speech(4, seed=1)

TOLD = """
[[webhooks]]
url = "{url}/named"
secret = "{secret}"
events = ["phone_call.ringing", "phone_call.queued"]
"""
CLOUD = """
[cloud]
url = "http://127.0.0.1:{port}/"
token = "{token}"
events = ["*", "phone_call.ringing", "phone_call.queued"]
"""


@dataclass(frozen=True)
class Cut:
    """`safe` is what each WAV then had on the disk, in frames; `late_s`, how late the machine ran a thread before."""

    at: datetime
    safe: Mapping[str, int]
    late_s: float


@dataclass
class Story:
    """What is left of a world: what its people and its cloud were told, each life's log, the files."""

    cuts: list[Cut] = field(default_factory=list)
    logs: list[Sequence[dict[str, Any]]] = field(default_factory=list)
    posts: Sequence[Post] = ()
    cloud: Path = Path()
    printed: Sequence[str] = ()
    recordings: Path = Path()
    # As `remember` asks for them.
    calls: Sequence[tuple[Any, ...]] = ()
    rows: Sequence[tuple[Any, ...]] = ()
    events: Sequence[tuple[str, Any]] = ()
    open_legs: int = 0
    # By the address that the last event of each call's end has: what is heard there.
    heard: dict[int, bytes] = field(default_factory=dict)

    def told(self, path: str) -> list[dict[str, Any]]:
        if path == "cloud":
            return [json.loads(file.read_bytes()) for file in sorted((self.cloud / "events").iterdir())]
        return [post.json for post in self.posts if post.path == path]


@asynccontextmanager
async def open_world(directory: Path) -> AsyncIterator[tuple[Rig, int]]:
    """A rig whose first lines are relays, and the port of its cloud."""
    port = free_ports()
    cloud = started(directory / "cloud", port)
    try:
        async with AsyncExitStack() as stack:
            await listening(port)
            bench = await stack.enter_async_context(Bench(LINES, directory=directory))
            customer = await stack.enter_async_context(open_customer())
            voice = await stack.enter_async_context(serve_voice())
            nursery = await stack.enter_async_context(trio.open_nursery())
            rig = Rig(directory, bench, customer, voice, nursery)
            await rig.furnish(linked=False)
            facts = {"project": 1, "country": "FR", "type_": "mobile", "at": BORN}
            async with open_store(rig.data / "branchline.db") as store:
                for line, owner in zip(bench.lines, OWNERS, strict=False):
                    await store.directory.buy(line.number, forward_to=owner, **facts)
                await store.subscriptions.create(1, f"{customer.url}/crm", at=BORN)
            for number in OWNERS:
                bench.subscriber(number).says = WORDS
            for number in CALLERS[1:]:
                bench.subscriber(number)
            yield rig, port
            nursery.cancel_scope.cancel()
    finally:
        cloud.terminate()
        cloud.wait()


class World:
    def __init__(self, rig: Rig, disk: Disk, chance: Random, port: int) -> None:
        self.story = Story()
        self._late_s = 0.0
        self._rig = rig
        self._disk = disk
        self._chance = chance
        self._config = rig.config.read_text() + TOLD.format(url=rig.customer.url, secret=SECRET)
        self._config += CLOUD.format(port=port, token=TOKEN)
        rig.config.write_text(self._config + "bandwidth_kib_s = 8\n")

    async def suffer(self) -> None:
        """One life, and its end."""
        ready, self._late_s = trio.Event(), 0.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            nursery.start_soon(self._live, ready)
            if self._chance.random() < EARLY:
                await trio.sleep(self._chance.uniform(*EARLY_S))
            else:
                await ready.wait()
                await trio.sleep(self._chance.uniform(0, LIFE_S))
            await self._die()
            nursery.cancel_scope.cancel()
        # One that was just being started.
        await self._die()
        at = datetime.now(UTC)
        wavs = (self._rig.data / "recordings").glob("*.wav")
        safe = {wav.stem: max(0, len(self._disk.synced(wav)) - 44) // 4 for wav in wavs}
        self.story.cuts.append(Cut(at, safe, self._late_s))
        self._disk.cut()
        # Whoever still waits has enough. Who talks holds the line, until the box hangs up.
        for phone in self._rig.bench.subscribers:
            for call in phone.calls:
                if call.answered_at is None:
                    call.hang_up()

    async def _die(self) -> None:
        # The box first: it would tell of a child that died before it.
        for run in self._rig.runs:
            if run.process.returncode is None:
                run.process.kill()
        self._disk.kill()
        for run in self._rig.runs:
            # Its threads, too: each may yet have been at a write.
            await run.over.wait()

    async def _watch(self) -> None:
        while True:
            due = trio.current_time() + LOOK_S
            await trio.sleep_until(due)
            self._late_s = max(self._late_s, trio.current_time() - due)

    async def _live(self, ready: trio.Event) -> None:
        await self._start()
        ready.set()
        async with trio.open_nursery() as nursery:
            for line, caller, owner in zip(self._rig.bench.lines, CALLERS, OWNERS, strict=False):
                phones = self._rig.bench.phone(caller), self._rig.bench.phone(owner)
                nursery.start_soon(self._call_on, line.number, *phones)

    async def _start(self) -> Run:
        """Returns when all lines are on hook, whatever they were at."""
        run = await self._rig.start(**self._disk.environment)
        with trio.fail_after(PATIENCE_S):
            while any(self._calls()):  # noqa: ASYNC110 - of modems nobody tells this
                await trio.sleep(LOOK_S)
        return run

    def _calls(self) -> Iterator[bool]:
        yield from (bool(line.gsm.calls) for line in self._rig.bench.lines)
        for phone in self._rig.bench.subscribers:
            yield from (call.state is not State.ENDED for call in phone.calls)

    async def _call_on(self, number: str, caller: Subscriber, owner: Subscriber) -> None:
        while True:
            owner.answers_after_s = self._chance.uniform(0, 0.8)
            await self._call(number, caller, self._chance.uniform(*TALKS_S))
            await trio.sleep(self._chance.uniform(0, 0.5))

    async def _call(self, number: str, caller: Subscriber, talks_s: float) -> None:
        call = caller.dial(number, play=WORDS)
        try:
            await call.answered()
            with trio.move_on_after(talks_s):
                await call.ended()
        except CallEnded:
            pass
        call.hang_up()

    async def be_well(self) -> None:
        """The last life: what the others left is done, and one more call goes well."""
        rig = self._rig
        rig.config.write_text(self._config)
        run = await self._start()
        line, owner = rig.bench.lines[0], rig.bench.phone(OWNERS[0])
        owner.answers_after_s = 0
        call = rig.bench.phone(CALLERS[0]).dial(line.number, play=WORDS)
        await call.answered()
        await run.logged("call", state="joined")
        theirs = owner.calls[-1]
        await theirs.said()
        theirs.hang_up()
        await call.ended()
        left = self._left()
        while left:
            # Of several lives, and encoders yield to whatever the machine has to do: as long as there is less of it.
            with trio.fail_after(LONG_PATIENCE_S):
                while self._left() == left:  # noqa: ASYNC110 - nor of this
                    await trio.sleep(LOOK_S)
            left = self._left()
        await self._listen(run)
        assert await run.stop() == 0

    def _left(self) -> int:
        """How much there is to do."""
        rows = sum(self._rig.rows(query)[0][0] for query in TO_DO)
        # A WAV goes after the last commit; one without an MP3 by then never does, and is not waited for.
        here = {path.name for path in self._rig.recordings}
        return int(rows) + sum(name.removesuffix(".mp3") + ".wav" in here for name in here)

    async def _listen(self, run: Run) -> None:
        # What came on another thread is in the inbox by then.
        await trio.sleep(LOOK_S)
        last: dict[int, tuple[int, str]] = {}
        for post in self._rig.customer.posts("/events"):
            data = post.json["data"]
            last[data["id"]] = max(last.get(data["id"], (0, "")), (data["revision"], data["recording_url"] or ""))
        async with httpx.AsyncClient(base_url=run.url, trust_env=False, timeout=PATIENCE_S) as client:
            for call, (_, url) in last.items():
                if url:
                    response = await client.get(urlsplit(url).path)
                    self.story.heard[call] = response.raise_for_status().content

    def remember(self, directory: Path) -> None:
        rig, story = self._rig, self.story
        story.logs = [run.log.all for run in rig.runs]
        assert len(story.logs) == len(story.cuts) + 1
        story.posts = rig.customer.inbox.all
        story.cloud = directory / "cloud"
        story.printed = (story.cloud / "said").read_text().splitlines()
        story.recordings = rig.data / "recordings"
        story.calls = rig.rows("SELECT id, uuid, answered_at, joined_at, reason, revision FROM calls")
        story.rows = rig.rows("SELECT id, call_id, frames, sha256, upload FROM recordings")
        story.events = [(type_, json.loads(data)) for type_, data in rig.rows("SELECT type, data FROM events")]
        story.open_legs = len(rig.rows("SELECT 1 FROM legs WHERE ended_at IS NULL"))


async def live(directory: Path, library: Path, seed: str, cuts: int) -> Story:
    """A world from its beginning to its end, with so many cuts."""
    chance = Random(seed)
    async with open_world(directory) as (rig, port):
        world = World(rig, Disk(rig.data, library, chance, sync_ms=SYNC_MS), chance, port)
        for _ in range(cuts):
            await world.suffer()
        await world.be_well()
        world.remember(directory)
        return world.story
