"""PhoneVoice's calls over HTTP in this process, on lines that the test speaks for: a box with three lines, of which the
first is its project's relay.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from appliance.directory import AgentSettings
from appliance.outbox import legacy_key
from appliance.tenants import BOX
from drivers.line import Answered
from tests.box_client import api_of
from tests.core import still
from tests.line_box import NOON
from tests.phonevoice_box import Asker, Names, token_of
from tests.relay_town import OFFICE, Line, Town, open_town

RECIPIENT, DESK, SUPERVISOR = "+33612345678", "+33611111111", "+33633333333"
PREMIUM = "+33899123456"
STREAM = {"url": "ws://127.0.0.1:1/voice"}
INITIATE, LEGACY = "/api/v1/calls/initiate", "/v1/calls"


class Switchboard:
    def __init__(self, town: Town, ours: Asker, theirs: Asker) -> None:
        self.town = town
        self.ours = ours
        self.theirs = theirs

    async def agent(self, name: str = "Desk", project: int = BOX, **settings: Any) -> int:
        settings = {"stream": STREAM, **settings}
        agent = await self.town.store.directory.add_agent(project, name, AgentSettings(**settings), at=NOON)
        return agent.id

    async def initiate(self, **fields: Any) -> dict[str, Any]:
        order = {"recipient_phone_number": RECIPIENT, **fields}
        said: dict[str, Any] = await self.ours.ask("POST", INITIATE, order, status=201)
        return said

    async def refused(self, status: int, **fields: Any) -> Any:
        order = {"recipient_phone_number": RECIPIENT, **fields}
        said = await self.ours.ask("POST", INITIATE, order, status=status)
        assert self.town.rows("SELECT * FROM calls") == []
        return said

    async def call(self) -> dict[str, Any]:
        """The one that there is, as it is read."""
        said: dict[str, Any] = await self.ours.ask("GET", "/api/v1/calls/1")
        return said

    async def dialing(self) -> Line:
        """The first line that does."""
        lines = self.town.lines.values()
        while not any("dial" in line.orders for line in lines):
            await still()
        await still()
        return next(line for line in lines if "dial" in line.orders)

    async def talking(self) -> dict[str, Any]:
        """A bridge whose two phones hear each other, by the lines `home` and `office`."""
        said = await self.initiate(call_type="bridge", inbound_phone_number=DESK, relay_number=OFFICE)
        await self.town.dialed(self.town.home)
        self.town.home.say(Answered())
        await self.town.dialed(self.town.office)
        self.town.office.say(Answered())
        await self.town.until("SELECT 1 FROM calls WHERE joined_at IS NOT NULL")
        return said

    def kept(self, column: str) -> Any:
        [(value,)] = self.town.rows(f"SELECT {column} FROM calls")
        return value

    @property
    def switches(self) -> list[bool]:
        return [value for name, value in json.loads(self.kept("details")).items() if name.startswith("enable_")]

    @property
    def legacy(self) -> list[tuple[str, dict[str, Any]]]:
        """What waits for the address of the older generation."""
        query = f"SELECT url, body FROM deliveries WHERE webhook = '{legacy_key(BOX)}' ORDER BY seq"
        return [(url, json.loads(body)) for url, body in self.town.rows(query)]


@asynccontextmanager
async def open_switchboard(directory: Path) -> AsyncIterator[Switchboard]:
    async with open_town(directory) as town:
        store = town.store
        other = await store.tenants.project("other") or await store.tenants.add_project("other", at=NOON)
        transport = httpx.ASGITransport(api_of(town), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://box", timeout=None) as http:
            ours, theirs = [Asker(http, store, project, await token_of(store, project)) for project in (BOX, other.id)]
            # Nothing is looked up in the world.
            trio.socket.set_custom_hostname_resolver(Names())
            yield Switchboard(town, ours, theirs)
