"""A box with three lines that the test speaks for, of which the first relays to its owner's phone."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trio

from appliance.config import Relay
from appliance.control import Control
from appliance.directory import RelayNumber
from appliance.limits import Limits
from appliance.media import Media
from appliance.shelf import Shelf
from appliance.store import Store
from appliance.trunk import NO_LIMITS, Trunk
from drivers.errors import LineLost
from drivers.line import Alerting, Answered, Incoming, LineEvent, LineState
from tests.core import open_core, still
from tests.jacks import TestJack
from tests.line_box import NOON, TestLine

OFFICE, HOME, SPARE = "+33700000001", "+33700000002", "+33700000003"
OWNER, CALLER = "+33612345678", "+33783484044"


class Line(TestLine):
    def lose(self) -> None:
        self._tell.send_nowait(LineLost("unplugged"))  # type: ignore[arg-type]

    async def send_dtmf(self, digits: str) -> None:
        self._obey("keys")

    async def next_event(self) -> LineEvent:
        event = await super().next_event()
        if isinstance(event, LineLost):
            raise event
        return event


class Town:
    """A box with three lines, of which the first relays to the owner's phone."""

    def __init__(self, directory: Path, store: Store, control: Control, relay: RelayNumber) -> None:
        self.now = NOON
        self.lines: dict[str, Line] = {}
        self.store = store
        self.control = control
        self.relay = relay
        self.media: Media
        self.shelf: Shelf
        self._directory = directory

    @property
    def office(self) -> Line:
        return self.lines["office"]

    @property
    def home(self) -> Line:
        return self.lines["home"]

    @property
    def spare(self) -> Line:
        return self.lines["spare"]

    @property
    def trunks(self) -> dict[str, Trunk]:
        return {trunk.name: trunk for trunk in self.control.trunks}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._directory / "box.db")) as connection:
            return connection.execute(query).fetchall()

    async def until(self, query: str) -> None:
        """Returns when there is such a row, and all is still."""
        with trio.fail_after(3600):
            while not self.rows(query):
                await still()
        await still()

    def ring(self, caller: str | None = CALLER) -> None:
        self.office.when["answer"] = lambda: self.office.say(Answered())
        self.office.say(Incoming(caller), state=LineState.IN_USE)

    async def dialed(self, line: Line) -> None:
        while "dial" not in line.orders:
            await still()
        await still()

    async def joined(self) -> None:
        """A call that has come so far."""
        self.ring()
        await self.dialed(self.home)
        self.home.say(Alerting(), Answered())
        await self.until("SELECT 1 FROM calls WHERE joined_at IS NOT NULL")
        # It is written down before anybody is let in.
        while not any(conductor.parties for conductor in self.control._conductors.values()):
            await still()

    async def ended(self) -> tuple[str, int]:
        await self.until("SELECT 1 FROM calls WHERE ended_at IS NOT NULL")
        while any(trunk.state is LineState.IN_USE for trunk in self.control.trunks):
            await still()
        [end] = self.rows("SELECT reason, cause FROM calls")
        assert self.rows("SELECT * FROM legs WHERE ended_at IS NULL") == []
        return end

    @property
    def events(self) -> list[str]:
        return [str(type_) for (type_,) in self.rows("SELECT type FROM events ORDER BY seq")]

    @property
    def legs(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT line, role, to_, answered_at IS NOT NULL, reason, cause FROM legs ORDER BY id")


@asynccontextmanager
async def open_town(
    directory: Path,
    *,
    choice: Relay = Relay(),  # noqa: B008 - a value
    forward_to: str = OWNER,
    limits: Limits = NO_LIMITS,
    recordings: bool = False,
    concurrent: int | None = None,
) -> AsyncIterator[Town]:
    kept = directory / "recordings" if recordings else None
    if kept:
        kept.mkdir()
    async with open_core(
        directory, now=lambda: town.now, recordings=kept, relay=choice, concurrent_calls=concurrent
    ) as core:
        relay = await core.store.directory.relay_of(OFFICE) or await core.store.directory.buy(
            OFFICE, project=1, forward_to=forward_to, country="FR", type_="mobile", at=NOON
        )
        town = Town(directory, core.store, core.control, relay)
        town.media, town.shelf = core.media, core.shelf
        for name, number in (("office", OFFICE), ("home", HOME), ("spare", SPARE)):
            line = town.lines[name] = Line()

            @asynccontextmanager
            async def opened(line: Line = line) -> AsyncIterator[Line]:
                line.say(state=LineState.IDLE)
                yield line

            has = NO_LIMITS if name == "office" else limits
            trunk = Trunk(name, number, jack=TestJack(opened), ring=core.control.ring, limits=has)
            core.control.trunks.append(trunk)
        async with core.at_work():
            yield town
