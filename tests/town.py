"""Simulated lines of any model and the service that has them, in one process and in simulated time: hours in seconds.

    async with open_town([BenchLine("ec25", "+33700000001")], directory, clock) as town:
        await town.ready()
        call = town.bench.subscriber("+33783484044").dial("+33700000001")
        ...

All of the service but its HTTP: trunks, conductors, messages, and facts in a real SQLite file. Two things of the world
are replaced: device files by the bench's in-memory ends, and the customer's server by a function. Both engines are
ticked by hand, and only while there is something to be heard.

Threads and an autojump clock do not go together, as time jumps while a thread is at work: here the clock stands as long
as the database is.
"""

import json
import math
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import trio
import trio.testing

from appliance.config import Webhook
from appliance.contracts.sfvopi import App, Link
from appliance.control import Control
from appliance.customer import Customer
from appliance.database import Commit, Database, open_database
from appliance.ladder import Rung
from appliance.media import Media
from appliance.outbox import Outbox
from appliance.store import Store
from appliance.texting import Postbox
from appliance.trunk import Trunk, Whereabouts
from drivers.audio import PcmTty, Place
from drivers.bus import order_anew
from drivers.countries import PROFILES, AnalogLine
from drivers.errors import LineAbsent
from drivers.fxo import open_fxo_on
from drivers.gsm import open_gsm_on
from drivers.line import Line, LineState
from drivers.models import MODELS, Sound
from drivers.voicemodels import VOICE_MODELS
from hil import analog
from hil.bench import Bench, BenchLine, Host
from hil.bench import Line as BenchPlace
from native import TICK_S, Engine, Trust
from tests.plugs import Card, Wire

T = TypeVar("T")

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
URL = "http://customer.test/"
APP = App(
    "sfv_app_1",
    "Soak",
    f"{URL}answer",
    "POST",
    f"{URL}hangup",
    "POST",
    None,
    "POST",
    "ACTIVE",
    "2026-06-04T12:00:00.000Z",
)
HOOK = Webhook.model_construct(url=URL, secret="whsec_" + "0" * 24, events=("*",), name="town")
# A module that starts anew, or whose USB port has its power cut, is off the bus for so long.
OFF_BUS_S = 2.0
# Sound goes on for so long after the last call: what is left in buffers, and modems that are put on hook.
FADES_S = 3.0
# Streams of analog modems pass Python; sound of the others does not, and may come in larger pieces.
COARSE_TICKS = 5


class TimedDatabase:
    """appliance.database.Database; the clock stands while a thread of it is at work."""

    def __init__(self, database: Database, clock: trio.testing.MockClock) -> None:
        self._database = database
        self._clock = clock
        self._working = 0

    async def write(self, commit: Commit, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._standing():
            return await self._database.write(commit, work)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        with self._standing():
            return await self._database.read(query)

    @contextmanager
    def _standing(self) -> Iterator[None]:
        self._working += 1
        self._clock.autojump_threshold = math.inf
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._clock.autojump_threshold = 0


# --- where lines are plugged in -------------------------------------------------------------------------------------


class Socket:
    """appliance.trunk.Jack: where one device is plugged in, gone, and plugged in again."""

    def __init__(self, town: "Town", place: BenchPlace) -> None:
        self.place = place
        # The sound card of this life, where it has one.
        self.card: Card | None = None
        self.lives = 0
        self._town = town
        self._host: Host | None = None
        self._moved = trio.Event()
        self._wanted = trio.Event()
        self._wanted.set()

    @property
    def whereabouts(self) -> Whereabouts:
        return Whereabouts(self.place.model, self.place.usb_port or "uart", "", "")

    @property
    def possible(self) -> Collection[Rung]:
        has_reset = self._analog is None and bool(MODELS[self.place.model].reset)
        return {Rung.REOPEN, Rung.POWER} | ({Rung.RESET} if has_reset else set())

    @property
    def _analog(self) -> analog.AnalogLine | None:
        modem = self.place.modem
        return modem if isinstance(modem, analog.AnalogLine) else None

    async def live(self) -> None:
        """On the bus and off it, as `plug` and `unplug` say and as the device itself does."""
        while True:
            await self._wanted.wait()
            self._host = host = self._town.bench.connect(self.place.name)
            with host.pcm:
                await self.place.plug()
                self.lives += 1
                self._move()
                await self.place.gone()
                self._host = None
                self._move()
                # What the driver has of it reads its end, and then is closed.
                await trio.sleep(OFF_BUS_S)
            await host.at.aclose()

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def unplug(self) -> None:
        self._wanted = trio.Event()
        if self._host is not None:
            self.place.modem.unplug()
            await self.place.gone()

    def plug(self) -> None:
        self._wanted.set()

    async def changed(self) -> None:
        await self._moved.wait()

    def need(self) -> Host:
        if self._host is None:
            raise LineAbsent(f"nothing is plugged in at {self.whereabouts.place}")
        return self._host

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        host, name, model = self.need(), self.place.name, self.place.model
        async with AsyncExitStack() as stack:
            if (modem := self._analog) is not None:
                profile = AnalogLine(PROFILES[modem.country])
                device = Wire(host.at, modem)
                yield await stack.enter_async_context(open_fxo_on(device, name, VOICE_MODELS[model], profile))
                return
            row = MODELS[model]
            place: Place
            if host.card is not None:
                place = self.card = Card(host.card, need=self.need)
                sound = Sound.CARD
            else:
                sound = Sound.PCM
                place = PcmTty(self._open_pcm, row.audio[sound].chunk_bytes)
            yield await stack.enter_async_context(open_gsm_on(host.at, name, row, sound=sound, place=place))

    async def _open_pcm(self) -> int:
        await trio.lowlevel.checkpoint()
        pcm = self.need().pcm
        with suppress(BlockingIOError):
            while pcm.recv(65536):
                pass
        return os.dup(pcm.fileno())

    async def climb(self, rung: Rung) -> None:
        host = self.need()
        if rung is Rung.RESET:
            await order_anew(host.at, MODELS[self.place.model].reset)
        else:
            await self.unplug()
            self.plug()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    await trio.lowlevel.checkpoint()
    yield body


# --- the town -------------------------------------------------------------------------------------------------------


class Town:
    """`asked`: what the customer's server answers a webhook; it may take its time."""

    def __init__(self, bench: Bench, database: Database, nursery: trio.Nursery) -> None:
        self.bench = bench
        self.database = database
        self.store = store = Store(database, Outbox(database, [HOOK]))
        self.engine = Engine()
        self.media = Media(self.engine)
        self.answer: Callable[[httpx.Request], object] = lambda _: None
        self.began_at = trio.current_time()
        self.sockets = {line.name: Socket(self, line) for line in bench.lines}
        self._nursery = nursery
        self._stirred = trio.Event()
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._reply), timeout=None)
        self.control = Control(
            store=store,
            media=self.media,
            customer=Customer(client),
            shelf=None,
            country="FR",
            user_agent="town",
            trust=Trust(),
            now=self.now,
        )
        names = {line.number: line.name for line in bench.lines}
        self.postbox = Postbox(store.mailbox, names=names, country="FR", now=self.now)
        for line in bench.lines:
            trunk = Trunk(line.name, line.number, jack=self.sockets[line.name], ring=self.control.ring)
            trunk.attend = self.postbox.attend
            self.control.trunks.append(trunk)
        bench.network.observers.append(lambda call, state: self.stir())

    @property
    def trunks(self) -> dict[str, Trunk]:
        return {trunk.name: trunk for trunk in self.control.trunks}

    def now(self) -> datetime:
        return NOON + timedelta(seconds=trio.current_time() - self.began_at)

    async def _reply(self, request: httpx.Request) -> httpx.Response:
        body = self.answer(request)
        if isinstance(body, float | int):
            await trio.sleep(body)
            return httpx.Response(503)
        # As a body comes by the network: read once, by pieces.
        return httpx.Response(200, content=_pieces(json.dumps(body or {}).encode()))

    async def run(self) -> None:
        for socket in self.sockets.values():
            self._nursery.start_soon(socket.live)
        await trio.testing.wait_all_tasks_blocked()
        self._nursery.start_soon(self._tick)
        self._nursery.start_soon(self.media.run)
        await self._nursery.start(self.control.run)
        await self._nursery.start(self.postbox.run)
        for trunk in self.control.trunks:
            self._nursery.start_soon(trunk.keep)

    async def until(self, is_so: Callable[[], bool], *, within_s: float) -> None:
        with trio.fail_after(within_s):
            while not is_so():  # noqa: ASYNC110 - on a clock that jumps
                await trio.sleep(0.1)

    async def ready(self, *, within_s: float = 60) -> None:
        await self.until(lambda: all(t.state is LineState.IDLE for t in self.control.trunks), within_s=within_s)

    # --- sound ---

    def stir(self) -> None:
        """There is, or will be, something to hear."""
        self._stirred.set()

    @property
    def _is_loud(self) -> bool:
        return bool(self.bench.network.calls) or any(t.state is LineState.IN_USE for t in self.control.trunks)

    @property
    def _is_streamed(self) -> bool:
        """Sound passes Python."""
        lines = (self.trunks[name] for name, socket in self.sockets.items() if socket.place.modem.shared_tty)
        return any(t.state is LineState.IN_USE for t in lines) or any(
            isinstance(party, analog.AnalogLine)
            for call in self.bench.network.calls
            for party in (call.caller, call.callee)
        )

    async def _tick(self) -> None:
        quiet_at = 0.0
        while True:
            if self._is_loud:
                quiet_at = trio.current_time() + FADES_S
            elif trio.current_time() >= quiet_at:
                self._stirred = trio.Event()
                await self._stirred.wait()
                quiet_at = trio.current_time() + FADES_S
            ticks = 1 if self._is_streamed else COARSE_TICKS
            await trio.sleep(ticks * TICK_S)
            for _ in range(ticks):
                self.bench.engine.tick()
                self.engine.tick()
                for socket in self.sockets.values():
                    if socket.card is not None:
                        socket.card.turn()


@asynccontextmanager
async def open_town(
    lines: list[BenchLine],
    directory: Path,
    clock: trio.testing.MockClock,
    *,
    before: Callable[[Town], None] = lambda town: None,
) -> AsyncIterator[Town]:
    """`before` is called when all is plugged in and nobody has spoken to it."""
    async with (
        Bench(lines, directory=directory, realtime=False) as bench,
        open_database(directory / "town.db") as database,
        trio.open_nursery() as nursery,
    ):
        timed: Any = TimedDatabase(database, clock)
        town = Town(bench, timed, nursery)
        await town.store.save_app(APP)
        for line in bench.lines:
            await town.store.link(Link(APP.app_id, line.number, APP.created_at))
        before(town)
        with closing(town.engine):
            await town.run()
            yield town
            nursery.cancel_scope.cancel()
