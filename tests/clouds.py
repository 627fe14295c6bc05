"""What the cloud's tests have in common: a box with events and recordings to bring there, its clock, and the place."""

import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import trio
import trio.testing

from appliance.call import Ended, Reason
from appliance.cloud import Cloud
from appliance.config import Cloud as Settings
from appliance.database import Commit
from appliance.events import Event
from appliance.ingest import window
from appliance.store import Store, open_store
from drivers.line import Answered
from tests.bare_http import next_request
from tests.test_store import opened

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
# Of the shape of our own, so that whatever prints it is noticed (tests/secrecy.py).
TOKEN = "pv_project_" + "0123456789" * 4 + "abc"


@dataclass(frozen=True)
class Mp3:
    size_bytes: int
    sha256: str
    frames: int = 8000


def settings(url: str | None, *, presign: str | None = None, hours: str | None = None, **others: Any) -> Settings:
    facts: dict[str, Any] = {"events": ("*",), "recordings": True, "bandwidth_kib_s": None} | others
    return Settings.model_construct(
        url=url, presign=presign, token=TOKEN, window=window(hours) if hours else None, **facts
    )


@dataclass
class Box:
    store: Store
    settings: Settings
    directory: Path
    nursery: trio.Nursery
    epoch: datetime = NOON
    began: float = field(default_factory=trio.current_time)
    cloud: Cloud = field(init=False)

    def now(self) -> datetime:
        return self.epoch + timedelta(seconds=trio.current_time() - self.began)

    def start(self, *, allow_loopback: bool = True, tls: ssl.SSLContext | None = None) -> None:
        self.cloud = Cloud(
            self.store.outbox,
            self.store.uploads,
            self.settings,
            user_agent="Branchline/0.1.0",
            tls=tls or ssl.create_default_context(),
            allow_loopback=allow_loopback,
            now=self.now,
            chance=lambda: 0.0,
        )
        self.nursery.start_soon(self.cloud.run)

    async def happen(self, *numbers: int) -> None:
        for number in numbers:
            event = Event("phone_call.completed", self.now(), {"id": number, "note": "Ça va ?"})
            await self.store._database.write(Commit.CALL_ENDED, partial(self._put, event))
        self.store.outbox.ring()

    def _put(self, event: Event, connection: Any) -> None:
        self.store.outbox.put(connection, event)

    async def record(self, name: str, size: int, seed: int = 1) -> bytes:
        """A recording of random bytes."""
        content = random.Random(seed).randbytes(size)
        wav = self.directory / f"{name}.wav"
        wav.with_suffix(".mp3").write_bytes(content)
        call = await opened(self.store, str(uuid4()), started_at=self.now())
        for what in (Answered(), Ended(Reason.HANGUP, 16)):
            call = call.apply(what, self.now())
            await self.store.save(call)
        await self.store.recordings.open(call.id, wav)
        await self.store.recordings.encoded(wav, Mp3(size, sha256(content).hexdigest()), NOON)
        return content

    async def lane(self, name: str) -> dict[str, Any]:
        report: dict[str, Any] = (await self.cloud.report())[name]
        return report

    async def until(self, lane: str, **facts: object) -> dict[str, Any]:
        """That lane's report, once it has these facts."""
        while not facts.items() <= (report := await self.lane(lane)).items():
            await trio.testing.wait_all_tasks_blocked(0.002)
        return report


@asynccontextmanager
async def open_box(directory: Path, settings: Settings) -> AsyncIterator[Box]:
    """The cloud is begun by `start`."""
    webhooks = [settings.webhook] if settings.webhook else []
    recordings = directory / "recordings"
    recordings.mkdir(exist_ok=True)
    async with (
        open_store(directory / "box.db", webhooks, uploads=settings.recordings) as store,
        trio.open_nursery() as nursery,
    ):
        yield Box(store, settings, recordings, nursery)
        nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    # That of a HEAD tells of the body that a GET would have.
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def spoken(value: object) -> str | None:
    """An answer's name in a test's; it says nothing for None, and other things speak for themselves."""
    if isinstance(value, bytes):
        return value.partition(b"\r")[0].decode().replace("HTTP/1.1 ", "")
    return "nothing" if value is None else None


@dataclass
class Place:
    """An HTTP server, bare. What it answers is `answers`' affair; None: it says nothing, and hangs up."""

    port: int = 0
    answers: Callable[[Request], bytes | None] = lambda _: answer(204)
    requests: list[Request] = field(default_factory=list)
    held: trio.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def seen(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]

    async def serve(self, stream: trio.abc.Stream) -> None:
        buffer = bytearray()
        try:
            while (came := await next_request(stream, buffer)) is not None:
                start, headers, body = came
                method, path, _ = start.split(" ")
                request = Request(method, path, {name.lower(): value for name, value in headers.items()}, body)
                self.requests.append(request)
                if self.held is not None:
                    await self.held.wait()
                said = self.answers(request)
                if said is None:
                    return
                await stream.send_all(said)
        except (trio.BrokenResourceError, ssl.SSLError):
            pass
        finally:
            await trio.aclose_forcefully(stream)


class Shelf:
    """Answers as an ingest address does: what came of each recording, by its path."""

    def __init__(self) -> None:
        self.there: dict[str, bytes] = {}

    def __call__(self, request: Request) -> bytes:
        there = self.there.get(request.path, b"")
        if request.method == "POST":
            return answer(204)
        if request.method == "PUT":
            first, size = 0, len(request.body)
            if asked := request.headers.get("content-range"):
                first, size = int(asked.split()[1].split("-")[0]), int(asked.split("/")[1])
            there = self.there[request.path] = there[:first] + request.body
            return answer(201) if len(there) == size else answer(308, Range=f"bytes=0-{len(there) - 1}")
        if not there:
            return answer(404)
        return answer(308, Range=f"bytes=0-{len(there) - 1}")


@asynccontextmanager
async def open_place(tmp_path: Path, *, bucket: bool = False, **others: Any) -> AsyncIterator[tuple[Box, Place]]:
    place = Place(answers=Shelf())
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        place.port = listener.socket.getsockname()[1]
        # Whatever it is by then.
        nursery.start_soon(trio.serve_listeners, lambda stream: place.serve(stream), [listener])
        chosen = settings(None, presign=f"{place.url}/presign", **others) if bucket else settings(place.url, **others)
        async with open_box(tmp_path, chosen) as box:
            yield box, place
        nursery.cancel_scope.cancel()
