"""A customer's server for webhooks, of the standard library's making; for streams there is the one of conftest.py."""

import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import trio

from hil.customer import Inbox
from tests.conftest import SLOWNESS
from tests.threads import beside
from tests.verifiers import refusing

SECRET = "whsec_0123456789abcdef0123456789"
# Against a test that would hang; nothing is measured with it. Encoders yield to whatever the machine has to do.
PATIENCE_S = 180 * SLOWNESS


@dataclass(frozen=True)
class Reply:
    """What a webhook's receiver answers; nothing at all when `silent`."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False


@dataclass(frozen=True)
class Post:
    """One webhook, as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"
    query: str = ""

    @property
    def json(self) -> Any:
        """Its fields; those of a GET are in the query, and texts."""
        return json.loads(self.body) if self.method == "POST" else dict(parse_qsl(self.query))


class Customer:
    """Receives webhooks: answers each path as `replies` says (asked on another thread), and keeps all that came."""

    def __init__(self) -> None:
        self.inbox = Inbox[Post]()
        self.replies: dict[str, Reply | Callable[[], Reply]] = {}
        self.url = ""

    def posts(self, path: str) -> list[Post]:
        return [post for post in self.inbox.all if post.path == path]

    async def post(self, path: str, **facts: object) -> Post:
        """The first one with these facts that came or comes."""
        return await self._first(path, lambda post: facts.items() <= post.items(), facts)

    async def event(self, type_: str, **data: object) -> dict[str, Any]:
        """The first one of this type, with these facts in its data, that came or comes."""

        def is_it(event: dict[str, Any]) -> bool:
            return event["type"] == type_ and data.items() <= event["data"].items()

        post = await self._first("/events", is_it, {"type": type_, **data})
        assert is_signed(post)
        event: dict[str, Any] = post.json
        return event

    async def _first(self, path: str, is_it: Callable[[Any], bool], facts: Mapping[str, object]) -> Post:
        return await self.inbox.get(
            f"a webhook at {path} with {facts}",
            lambda post: post.path == path and is_it(post.json),
            within_s=PATIENCE_S,
        )

    @property
    def events(self) -> list[str]:
        """The types of all that came, each once, in the order of their ids."""
        return [type_ for _, type_ in sorted({(post.json["id"], post.json["type"]) for post in self.posts("/events")})]


def is_signed(post: Post) -> bool:
    """As every published receiver verifies it (PhoneVoice 8)."""
    return not refusing(post.headers["phonevoice-signature"], post.body, SECRET)


@asynccontextmanager
async def open_customer() -> AsyncIterator[Customer]:
    customer = Customer()
    token = trio.lowlevel.current_trio_token()
    over = threading.Event()

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(size)
            if len(body) < size:
                # Cut off when its sender stopped: no request at all.
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            path, _, query = self.path.partition("?")
            reply = customer.replies.get(path, Reply())
            reply = reply if isinstance(reply, Reply) else reply()
            token.run_sync_soon(customer.inbox.put, Post(path, headers, body, self.command, query))
            if reply.silent:
                over.wait()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST

        def handle(self) -> None:
            # The box may go at any moment, and come back.
            try:
                super().handle()
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.daemon_threads = True
        customer.url = f"http://127.0.0.1:{server.server_port}"
        async with beside(server.serve_forever, 0.02):
            try:
                yield customer
            finally:
                over.set()
                server.shutdown()
