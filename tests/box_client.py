"""All that the box serves over HTTP, in this process, and a client that has a key to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import httpx
from starlette.types import ASGIApp

from appliance.api import make_api
from appliance.call import Direction, Ended, Reason, State
from appliance.control import Control
from appliance.health import Health, Notifier
from appliance.media import Media
from appliance.metrics import Metrics
from appliance.shelf import Shelf
from appliance.store import Store, new_key
from appliance.texting import Postbox
from tests.line_box import APP, LINKS, NOON, NUMBER, Box, open_box

SOUND = bytes(range(256)) * 300
SIZE = len(SOUND)
SHA256 = "ab" * 32


@dataclass(frozen=True)
class Mp3:
    frames: int = 20000
    size_bytes: int = SIZE
    sha256: str = SHA256


class Client:
    def __init__(self, http: httpx.AsyncClient, box: Box, directory: Path) -> None:
        self.http = http
        self.box = box
        self.directory = directory

    async def get(self, path: str, status: int = 200) -> Any:
        return await self.ask("GET", path, status)

    async def ask(self, method: str, path: str, status: int, body: object = None) -> Any:
        answer = await self.http.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


class Served(Protocol):
    """What is behind an API: a Box of line_box.py, a Town of relay_town.py."""

    control: Control
    store: Store
    media: Media
    shelf: Shelf
    now: datetime


def api_of(box: Served, **options: Any) -> ASGIApp:
    """With `options` of make_api."""

    def now() -> datetime:
        return box.now

    control, store = box.control, box.store
    health = Health(box.media, control.trunks, store.outbox, Notifier({}))
    metrics = Metrics(health, control.trunks, store.outbox)
    postbox = Postbox(store.mailbox, names={NUMBER: "test"}, country="FR", now=now)
    return make_api(
        control, store, box.shelf, LINKS, health, metrics, postbox, org_id=1, country="FR", now=now, **options
    )


@asynccontextmanager
async def open_api(directory: Path, *, recordings: Path | None = None) -> AsyncIterator[tuple[ASGIApp, Box, str]]:
    """All that the box serves over HTTP, in this process, and a key to it."""
    async with open_box(directory, recordings=recordings) as box:
        key, digest = new_key()
        await box.store.add_key(digest, name="test", at=NOON)
        yield api_of(box), box, key


@asynccontextmanager
async def open_client(directory: Path, *, recordings: Path | None = None) -> AsyncIterator[Client]:
    async with (
        open_api(directory, recordings=recordings) as (api, box, key),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(api), base_url="http://box/box/v1", headers={"X-API-Key": key}
        ) as http,
    ):
        yield Client(http, box, directory)


async def make_call(store: Store, uuid: str = "call-1", **changes: object) -> None:
    """One that was answered, and has ended."""
    call = await store.open_call(
        uuid=uuid,
        line="test",
        direction=Direction.OUTBOUND,
        from_=NUMBER,
        to="+33783484044",
        state=State.QUEUED,
        started_at=NOON,
        route="",
        request_uuid=f"sfv_ob_req_{uuid}",
        app_id=APP.app_id,
    )
    ended = {"state": State.ENDED, "answered_at": NOON, "ended_at": NOON, "end": Ended(Reason.HANGUP, 16)}
    await store.save(replace(call, **ended, **changes))


async def make_recording(client: Client, uuid: str = "call-1") -> Path:
    await make_call(client.box.store, uuid)
    wav = client.directory / f"{uuid}.wav"
    record = await client.box.store.archive.call(uuid)
    assert record
    await client.box.store.recordings.open(record.call.id, wav)
    wav.with_suffix(".mp3").write_bytes(SOUND)
    await client.box.store.recordings.encoded(wav, Mp3(), NOON)
    return wav.with_suffix(".mp3")
