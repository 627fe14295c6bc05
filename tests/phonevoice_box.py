"""PhoneVoice's REST in this process, on a real store, for who tests it: a box with four numbers and two projects.

async with open_phonevoice(tmp_path) as desk:
    made = await desk.ours.ask("POST", "/api/v1/webhooks", {"url": "https://a.example"}, status=201)
"""

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import trio
from starlette.types import ASGIApp

from appliance.call import Direction, Kind, State
from appliance.phonevoice_api import Terms
from appliance.store import Store, new_key
from appliance.tenants import BOX, new_token
from appliance.trunk import Trunk
from tests.box_client import api_of
from tests.jacks import TestJack
from tests.line_box import NOON, Box, open_box
from tests.secrecy import leaked

# Of an SFVoPI app's is NUMBER; these are free.
PARIS, TOLL_FREE, SAN_FRANCISCO = "+33159133354", "+33800123456", "+14155550123"
PHONE = "+33612345678"
NUMBERS, WEBHOOKS = "/api/v1/relay_numbers", "/api/v1/webhooks"
HOOK = {"url": "https://93.184.216.34/hook"}


@dataclass
class Asker:
    """Somebody of a project, who takes another token now and then, so that none is too fast."""

    http: httpx.AsyncClient
    store: Store
    project: int
    token: str
    answers: list[httpx.Response] = field(default_factory=list)

    async def send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        if len(self.answers) % 15 == 14 and not (headers and "Idempotency-Key" in headers):
            self.token = await token_of(self.store, self.project)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        typed = {} if content is None else {"Content-Type": "application/json"}
        sent = {"Authorization": f"Bearer {self.token}", **typed, **(headers or {})}
        answer = await self.http.request(method, path, content=content, headers=sent)
        self.answers.append(answer)
        return answer

    async def ask(self, method: str, path: str, body: object = None, *, status: int = 200, **headers: str) -> Any:
        answer = await self.send(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        assert answer.status_code == status, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, body: object = None, *, status: int, **headers: str) -> str:
        said = await self.ask(method, path, body, status=status, **headers)
        assert isinstance(said["error"], str)
        return str(said["error"])


class Names(trio.abc.HostnameResolver):
    """Where all names lead to; nowhere at first."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    async def getaddrinfo(
        self, host: object, port: object, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise AssertionError("nobody asks for the name of an address")


@dataclass
class Desk:
    api: ASGIApp
    box: Box
    http: httpx.AsyncClient
    ours: Asker
    theirs: Asker
    names: Names

    @property
    def store(self) -> Store:
        return self.box.store

    async def asker(self, project: int = BOX) -> Asker:
        return Asker(self.http, self.store, project, await token_of(self.store, project))


async def token_of(store: Store, project: int) -> str:
    token, digest = new_token("project")
    await store.tenants.add_token(digest, project=project, name="test", at=NOON)
    return token


@asynccontextmanager
async def open_phonevoice(directory: Path, terms: Terms | None = None) -> AsyncIterator[Desk]:
    async with open_box(directory) as box:
        control, store = box.control, box.store
        jack = TestJack(open_nothing)
        control.trunks += [
            Trunk(name, number, jack=jack, ring=control.ring)
            for name, number in (("paris", PARIS), ("free", TOLL_FREE), ("sf", SAN_FRANCISCO))
        ]
        api = api_of(box, terms=terms or Terms())
        other = await store.tenants.add_project("other", at=NOON)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(api, raise_app_exceptions=False), base_url="http://box"
        ) as http:
            ours, theirs = [Asker(http, store, project, await token_of(store, project)) for project in (BOX, other.id)]
            # Nothing is looked up in the world.
            names = Names()
            trio.socket.set_custom_hostname_resolver(names)
            yield Desk(api, box, http, ours, theirs, names)
            assert leaked("\n".join(said.text for said in ours.answers + theirs.answers if said.is_error)) == []


@asynccontextmanager
async def open_nothing() -> AsyncIterator[Any]:
    raise AssertionError("no line of this box is opened")
    yield


async def api_key(desk: Desk) -> str:
    key, digest = new_key()
    await desk.store.add_key(digest, name="test", at=NOON)
    return key


async def buy(asker: Asker, number: str = PARIS, forward_to: str = PHONE) -> int:
    relay = await asker.ask("POST", NUMBERS, {"phone_number": number, "forward_to": forward_to}, status=201)
    return int(relay["id"])


async def open_call(desk: Desk, project: int | None, uuid: str = "call-1") -> int:
    call = await desk.store.open_call(
        uuid=uuid,
        line="paris",
        direction=Direction.INBOUND,
        from_="+33783484044",
        to=PHONE,
        state=State.INCOMING,
        started_at=NOON,
        route="{}",
        kind=Kind.RELAY,
        project=project,
        relay_number=PARIS,
    )
    return call.id
