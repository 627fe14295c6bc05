"""A box with one line that the test speaks for, and no sound."""

import json
import sqlite3
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import trio

from appliance.contracts.sfvopi import App, Link, order
from appliance.control import Control
from appliance.limits import Limits
from appliance.links import Links
from appliance.media import Media
from appliance.numbers import ORDINARY_RULES, DialingRules
from appliance.shelf import Shelf
from appliance.store import Store
from appliance.trunk import NO_LIMITS, Trunk
from drivers.line import Identity, LineEvent, LineState, Recoveries, Released, StateChanged
from native import Engine, Event, FramesPort, Port
from tests.core import open_core, still
from tests.jacks import TestJack
from tests.rig import speech

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
LINKS = Links(b"k" * 32, "https://box.example")
NUMBER = "+33700000002"
URL = "http://127.0.0.1:1/"
APP = App("sfv_app_1", "Desk", URL, "POST", None, "POST", None, "POST", "ACTIVE", "2026-06-04T12:00:00.000Z")


class TestLine:
    """drivers.line.Line, with the test at its far end: what it says is said, what it is told to do is in `orders`."""

    __test__ = False
    name = "test"
    identity = Identity("", "", "", "", "")
    signal_dbm = None
    radio = None
    recoveries = Recoveries(0, 0, 0, 0, 0, 0)

    def __init__(self) -> None:
        self.state = LineState.STARTING
        self.orders: list[str] = []
        self.port: FramesPort | None = None
        self.when: dict[str, Callable[[], None]] = {"hang up": self.release}
        self._tell, self._events = trio.open_memory_channel[LineEvent](100)

    def say(self, *events: LineEvent, state: LineState | None = None) -> None:
        for event in events:
            self._tell.send_nowait(event)
        if state is not None:
            self.state = state
            self._tell.send_nowait(StateChanged(state))

    async def next_event(self) -> LineEvent:
        return await self._events.receive()

    def release(self) -> None:
        self.say(Released(16), state=LineState.IDLE)

    async def dial(self, number: str) -> None:
        self.say(state=LineState.IN_USE)
        self._obey("dial")

    async def answer(self) -> None:
        self._obey("answer")

    async def hang_up(self) -> None:
        self._obey("hang up")

    def _obey(self, order: str) -> None:
        self.orders.append(order)
        self.when.get(order, bool)()

    async def send_dtmf(self, digits: str) -> None:
        raise AssertionError("nobody asked for it")

    @asynccontextmanager
    async def attach(self, engine: Engine) -> AsyncIterator[Port]:
        with closing(engine.frames()) as self.port:
            yield self.port

    def heard(self, event: Event) -> None:
        raise AssertionError("nothing to be heard")


class Box:
    """A control with one trunk on a TestLine, and a wall clock that the test sets."""

    def __init__(self, directory: Path, store: Store, line: TestLine, control: Control) -> None:
        self.now = NOON
        self.store = store
        self.line = line
        self.control = control
        self.media: Media
        self.shelf: Shelf
        self._directory = directory

    def break_store(self, broken: bool) -> None:
        """Nothing can be written about calls, as on a full disk."""
        names = ("calls", "lost") if broken else ("lost", "calls")
        self.rows("ALTER TABLE {} RENAME TO {}".format(*names))

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self._directory / "box.db")) as connection:
            return connection.execute(query).fetchall()

    async def state(self, state: str) -> None:
        """Returns when the call is written down so, and all is still."""
        while self.rows("SELECT state FROM calls") != [(state,)]:
            await still()
        await still()

    async def idle(self) -> None:
        """Returns when no call is open, and all is still."""
        while self.rows("SELECT 1 FROM calls WHERE state <> 'ended'"):
            await still()
        await still()

    async def ended(self, count: int) -> None:
        """As `idle`, when there have been so many."""
        while self.rows("SELECT count(*) FROM calls WHERE state = 'ended'") != [(count,)]:
            await still()
        await self.idle()

    async def place(self, **fields: object) -> None:
        body = {"from": NUMBER, "to": "+33783484044", "answer_url": URL, **fields}
        await self.control.place(order(json.dumps(body).encode(), country="FR"), APP, f"sfv_ob_req_{uuid4()}")


@asynccontextmanager
async def open_box(
    directory: Path,
    *,
    limits: Limits = NO_LIMITS,
    rules: DialingRules = ORDINARY_RULES,
    concurrent: int | None = None,
    recordings: Path | None = None,
) -> AsyncIterator[Box]:
    line = TestLine()

    @asynccontextmanager
    async def open_line() -> AsyncIterator[TestLine]:
        line.say(state=LineState.IDLE)
        yield line

    async with open_core(
        directory,
        now=lambda: box.now,
        recordings=recordings,
        links=LINKS,
        rules=rules,
        concurrent_calls=concurrent,
    ) as core:
        box = Box(directory, core.store, line, core.control)
        box.media, box.shelf = core.media, core.shelf
        await box.store.save_app(APP)
        await box.store.link(Link(APP.app_id, NUMBER, APP.created_at))
        trunks = core.control.trunks
        trunks.append(Trunk("test", NUMBER, jack=TestJack(open_line), ring=core.control.ring, limits=limits))
        async with core.at_work():
            yield box


def write_announcement(path: Path, *, rate_hz: int = 16000, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(speech(0.2, seed=1))  # of 8000 Hz
