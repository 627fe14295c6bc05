"""A customer of the box, on loopback: who receives its webhooks and speaks with its callers.

Nothing here knows how the box is made: the webhooks come in by the standard library's HTTP server on a thread, the
audio by a voice server that is a process of its own (hil.voice_server). Both keep all that came, with times of
time.monotonic(), and let a task wait for what it expects.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import trio

from hil.listening import Sound, sound
from hil.voice_server import RECORD
from native import alaw_decode

ANSWER, RING, HANGUP, EVENTS = "/answer", "/ring", "/hangup", "/events"


class Missing(Exception):
    """What was waited for did not come; the text says what did."""


T = TypeVar("T")


class Inbox(Generic[T]):
    """All that came, the oldest first; to be filled in trio's thread."""

    def __init__(self) -> None:
        self.all: list[T] = []
        self._news = trio.Event()

    def put(self, item: T) -> None:
        self.all.append(item)
        self._news.set()
        self._news = trio.Event()

    async def get(self, what: str, wanted: Callable[[T], bool], *, within_s: float) -> T:
        """The first that is wanted, whether it came already or comes in time.

        Raises:
            Missing: it did not.
        """
        with trio.move_on_after(within_s):
            while True:
                for item in self.all:
                    if wanted(item):
                        return item
                await self._news.wait()
        came = "\n  ".join(str(item)[:300] for item in self.all[-5:]) or "nothing"
        raise Missing(f"expected {what} within {within_s:g} s; the last that came:\n  {came}")


# --- webhooks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Post:
    """One webhook, as it came."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.path} {self.body.decode(errors='replace')}"


class Webhooks:
    """Answers `/answer` with the stream that the customer wants, and all else with an empty object."""

    def __init__(self, stream: Callable[[], dict[str, object]]) -> None:
        self.inbox = Inbox[Post]()
        self.url = ""
        self._stream = stream

    async def post(self, path: str, wanted: Callable[[Any], bool], *, within_s: float = 10) -> Post:
        return await self.inbox.get(
            f"a webhook at {path}", lambda post: post.path == path and wanted(post.json), within_s=within_s
        )

    def posts(self, path: str) -> list[Post]:
        return [post for post in self.inbox.all if post.path == path]

    def answer(self, path: str) -> bytes:
        return json.dumps({"stream": self._stream()} if path == ANSWER else {}).encode()


@asynccontextmanager
async def open_webhooks(stream: Callable[[], dict[str, object]]) -> AsyncIterator[Webhooks]:
    """`stream` gives the Stream JSON's fields; it is called on another thread."""
    webhooks = Webhooks(stream)
    token = trio.lowlevel.current_trio_token()

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(size)
            if len(body) < size:
                # Cut off when its sender stopped: no request at all.
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            token.run_sync_soon(webhooks.inbox.put, Post(time.monotonic(), self.path, headers, body))
            answer = webhooks.answer(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        # All lines may ring at once; with the library's five the kernel refuses some.
        request_queue_size = 256

        def handle_error(self, request: object, client_address: object) -> None:
            # A connection that was kept alive and goes with its process is no fault.
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)  # type: ignore[arg-type]

    with Server(("127.0.0.1", 0), Receiver) as server:
        webhooks.url = f"http://127.0.0.1:{server.server_port}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, server.serve_forever, 0.05)
            try:
                yield webhooks
            finally:
                server.shutdown()


async def is_signed(event: Post, secret: str) -> bool:
    """As a customer finds it out, with openssl: `t=<unix seconds>,v1=<hex>`, an HMAC over `<t>.<body>`.

    The key is the whole secret; a time more than five minutes away is a repeat (PhoneVoice 8).
    """
    t, _, v1 = event.headers.get("phonevoice-signature", "").removeprefix("t=").partition(",v1=")
    if not t.isdecimal() or abs(time.time() - int(t)) > 300:
        return False
    command = ["openssl", "dgst", "-sha256", "-hmac", secret, "-r"]
    done = await trio.run_process(command, stdin=f"{t}.".encode() + event.body, capture_stdout=True)
    return done.stdout.split()[0].decode() == v1


# --- the voice server -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """One line of the voice server's."""

    at: float
    kind: str
    what: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} {self.what}"

    @property
    def message(self) -> dict[str, Any]:
        """What the box sent; for `received`."""
        message: dict[str, Any] = self.what.get("message", {})
        return message


@dataclass(frozen=True)
class Audio:
    """What one connection carried: the A-law bytes, and when each frame of 20 ms came."""

    alaw: bytes
    came_at: list[float]

    @property
    def samples(self) -> Sound:
        return sound(alaw_decode(self.alaw))


class VoiceServer:
    """The process, which can be killed and started again at the same address. `told` is of all its lives."""

    def __init__(self, directory: Path) -> None:
        self.told = Inbox[Told]()
        self.port = 0
        self._directory = directory
        self._process: trio.Process | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/voice"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """One life, from the moment it listens; returns at its end, and takes it along when cancelled."""
        command = [sys.executable, "-m", "hil.voice_server", str(self.port), str(self._directory)]
        with (self._directory / "voice-server.log").open("ab") as log:
            process = await trio.lowlevel.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        self._process = process
        assert process.stdout is not None
        try:
            unread = b""
            async for data in process.stdout:
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    what = json.loads(line)
                    told = Told(what.pop("at"), what.pop("kind"), what)
                    if told.kind == "listening":
                        self.port = told.what["port"]
                        task_status.started()
                    self.told.put(told)
            await process.wait()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)

    async def order(self, **order: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps(order).encode() + b"\n")

    async def send(self, event: str, **members: object) -> None:
        await self.order(send={"event": event, **members})

    async def message(self, event: str, *, after: float = 0, within_s: float = 5) -> Told:
        """The first message of this kind since `after`."""
        return await self.told.get(
            f'a message "{event}" at the voice server',
            lambda told: told.at > after and told.message.get("event") == event,
            within_s=within_s,
        )

    def messages(self, event: str, *, after: float = 0) -> list[Told]:
        return [told for told in self.told.all if told.at > after and told.message.get("event") == event]

    def audio(self, opened: Told) -> Audio:
        """What the connection of an `opened` has carried so far."""
        path = Path(opened.what["frames"])
        size = path.stat().st_size // RECORD.itemsize
        records = np.fromfile(path, RECORD, size)
        return Audio(records["frame"].tobytes(), records["at"].tolist())
