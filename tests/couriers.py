"""What the courier's tests have in common: a box with events to deliver, and servers that take them."""

import hashlib
import hmac
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path

import trio
import trio.testing

from appliance.config import Webhook
from appliance.courier import run_courier
from appliance.database import Commit, Database, open_database
from appliance.events import Event
from appliance.gateway import Gateway
from appliance.outbox import Outbox
from appliance.subscriptions import Subscription
from tests.bare_http import next_request

NOON = datetime(2026, 6, 4, 12, 0, 0, 0, UTC)
SECRET = "whsec_0123456789abcdef01234567"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BROKEN = b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad"
GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """As it came over the wire, the header's spelling included."""

    start: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def t(self) -> int:
        return int(self.headers["Phonevoice-Signature"].split(",")[0].removeprefix("t="))

    def is_signed(self, secret: str, header: str = "Phonevoice-Signature") -> bool:
        """The spelling counts: a published verifier looks it up in a case-sensitive map."""
        t, v1 = self.headers[header].split(",")
        made = hmac.new(secret.encode(), t.removeprefix("t=").encode() + b"." + self.body, hashlib.sha256)
        return v1 == f"v1={made.hexdigest()}"


@dataclass
class Receiver:
    """A customer's server, bare: `answers` are sent one after the other, the last one for ever."""

    answers: list[bytes] = field(default_factory=lambda: [OK])
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    held: trio.Event | None = None
    arrived: trio.Event = field(default_factory=trio.Event)

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        buffer = bytearray()
        try:
            while (came := await next_request(stream, buffer)) is not None:
                self.requests.append(Request(*came))
                self.arrived.set()
                self.arrived = trio.Event()
                if self.held is not None:
                    await self.held.wait()
                await stream.send_all(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
                if b"Content-Length" not in (self.answers[0] + OK):
                    return
        except (trio.BrokenResourceError, ssl.SSLError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def received(self, count: int) -> list[Request]:
        while len(self.requests) < count:
            await self.arrived.wait()
        return self.requests


async def until(ask: Callable[[], Awaitable[object]]) -> None:
    while not await ask():
        await trio.testing.wait_all_tasks_blocked(0.002)


@dataclass
class Box:
    database: Database
    nursery: trio.Nursery
    hooks: list[Webhook] = field(default_factory=list)
    epoch: datetime = NOON
    began: float = field(default_factory=trio.current_time)
    probe: tuple[str, int] | None = None

    def now(self) -> datetime:
        return self.epoch + timedelta(seconds=trio.current_time() - self.began)

    @cached_property
    def outbox(self) -> Outbox:
        return Outbox(self.database, self.hooks)

    async def receiver(self, *answers: bytes, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Receiver:
        receiver = Receiver(list(answers) or [OK])
        serve = partial(trio.serve_ssl_over_tcp, ssl_context=tls) if tls else trio.serve_tcp
        (listener,) = await self.nursery.start(partial(serve, receiver.serve, 0, host="127.0.0.1"))
        port = (listener.transport_listener if tls else listener).socket.getsockname()[1]
        url = f"{'https' if tls else 'http'}://{host}:{port}/hook?a=b%20c"
        self.hooks.append(Webhook.model_construct(url=url, secret=SECRET, events=("*",), name=None))
        return receiver

    def start(self, *, allow_loopback: bool = True, tls: ssl.SSLContext | None = None) -> None:
        self.nursery.start_soon(
            partial(
                run_courier,
                self.outbox,
                user_agent="Branchline/0.1.0",
                gateway=Gateway(allow_loopback=allow_loopback, probe=self.probe),
                now=self.now,
                tls=tls,
                chance=lambda: 0.0,
            )
        )

    async def put(self, *numbers: int, call: int | None = None, project: int | None = None) -> None:
        for number in numbers:
            event = Event("phone_call.completed", self.now(), {"id": number, "note": "Ça va ?"}, call, project)
            await self.database.write(Commit.CALL_ENDED, partial(self._put, event))
        self.outbox.ring()

    def _put(self, event: Event, connection) -> None:
        self.outbox.put(connection, event)

    async def settled(self, count: int, of: int | Webhook | Subscription = 0):
        """The log, once it has that many attempts: each is written down before the next thing."""

        hook = self.hooks[of] if isinstance(of, int) else of

        async def enough() -> bool:
            return len(await self.outbox.log(hook)) >= count

        await until(enough)
        return await self.outbox.log(hook)


@asynccontextmanager
async def open_box(directory: Path) -> AsyncIterator[Box]:
    """Where a test names `mock_clock`, time stands still but for its jumps."""
    async with open_database(directory / "box.db") as database, trio.open_nursery() as nursery:
        yield Box(database, nursery)
        nursery.cancel_scope.cancel()


async def served(box: Box, *answers: bytes) -> tuple[Receiver, str]:
    """A receiver that is in no configuration, and its address."""
    receiver = await box.receiver(*answers)
    return receiver, box.hooks.pop().url


@dataclass
class Names(trio.abc.HostnameResolver):
    """The DNS as a test wants it: addresses, or an error."""

    answer: list[str] | OSError

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        if isinstance(host, bytes):
            host = host.decode()
        if not host.endswith(".example"):
            return socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        if isinstance(self.answer, OSError):
            raise self.answer
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, int(port)))
            for address in self.answer
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise AssertionError


def resolve(answer: list[str] | OSError) -> Names:
    names = Names(answer)
    trio.socket.set_custom_hostname_resolver(names)
    return names


NO_NAME_SERVER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
