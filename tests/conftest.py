"""A customer's voice server, made with a foreign library, on a thread of its own."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import hypothesis
import pytest
import trio
import websockets
import websockets.asyncio.server as foreign

from tests.conformance.contract import keywords
from tests.secrecy import leaked
from tests.threads import beside

# How many times slower all is than it should be: ./dev sets it where a sanitizer is at work.
SLOWNESS = int(os.environ.get("BRANCHLINE_SLOWNESS", "1"))
# Against a test that would hang; nothing is measured with it.
PATIENCE_S = 60 * SLOWNESS

# How long an example takes, or to think of one, is the machine's affair.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak-hours", type=float, default=0.5, help="simulated hours of tests/test_soak.py")
    parser.addoption("--soak-seed", type=int, default=1, help="what happens in them")
    parser.addoption(
        "--schema-examples", type=int, default=3, help="requests of a kind in tests/test_service_schema.py"
    )
    parser.addoption("--power-cuts", type=int, default=6, help="how often the power goes in tests/test_power.py")
    parser.addoption("--power-seed", type=int, default=1, help="when it does, and what is on the disk then")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`-k section_7_9` finds what keeps that section of SFVoPI (tests/conformance/contract.py)."""
    for item in items:
        file, _, name = item.nodeid.removeprefix("tests/").partition("::")
        function, _, parameters = name.partition("[")
        item.extra_keyword_matches |= keywords(file, function, parameters)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No test prints, or logs, what is for one person's eyes."""
    report = yield
    said = "".join(text for _, text in report.sections)
    # `httpx` is the tests' own client.
    secrets = leaked("\n".join(line for line in said.splitlines() if " httpx:" not in line))
    if report.passed and secrets:
        report.outcome, report.longrepr = "failed", f"printed: {', '.join(secrets)}"
    return report


class Connection:
    """One WebSocket that the service opened; `receive` gives what it sent, and None at its end."""

    def __init__(self, socket: foreign.ServerConnection, loop: asyncio.AbstractEventLoop) -> None:
        self.socket = socket
        self.path = socket.request.path if socket.request else ""
        self.headers = socket.request.headers if socket.request else {}
        self.reading = asyncio.Event()
        self.reading.set()
        self._loop = loop
        self.told, self._received = trio.open_memory_channel[str | bytes | None](100_000)

    async def receive(self) -> Any:
        """The next message as an object; None: the connection is closed, see `close_code`."""
        with trio.fail_after(PATIENCE_S):
            message = await self._received.receive()
        return None if message is None else json.loads(message)

    async def next(self, event: str) -> Any:
        while (message := await self.receive()) is not None:
            if message["event"] == event:
                return message
        raise AssertionError(f"closed before {event}")

    def waiting(self) -> list[Any]:
        messages = []
        while self._received.statistics().current_buffer_used:
            messages.append(json.loads(self._received.receive_nowait() or "null"))
        return messages

    async def send(self, *messages: object) -> None:
        for message in messages:
            text = message if isinstance(message, str | bytes) else json.dumps(message)
            await self._do(self.socket.send(text))

    def close(self, code: int = 1000) -> None:
        asyncio.run_coroutine_threadsafe(self.socket.close(code), self._loop)

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self.socket.transport.abort)

    def stop_reading(self) -> None:
        self._loop.call_soon_threadsafe(self.socket.transport.pause_reading)

    @property
    def close_code(self) -> int | None:
        return self.socket.protocol.close_rcvd.code if self.socket.protocol.close_rcvd else None

    async def _do(self, order: Any) -> None:
        future = asyncio.run_coroutine_threadsafe(order, self._loop)
        with trio.fail_after(PATIENCE_S):
            await trio.to_thread.run_sync(future.result, PATIENCE_S)


class VoiceServer:
    def __init__(self, scheme: str) -> None:
        self.port = 0
        self.statuses: list[int] = []
        self.handshakes = 0
        self._scheme = scheme
        self._told, self._connections = trio.open_memory_channel[Connection](100)
        self._trio = trio.lowlevel.current_trio_token()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/voice?call=1"

    async def connection(self) -> Connection:
        with trio.fail_after(PATIENCE_S):
            return await self._connections.receive()

    def run(
        self, tls: ssl.SSLContext | None, started: Callable[[asyncio.AbstractEventLoop, asyncio.Event], None]
    ) -> None:
        asyncio.run(self._serve(tls, started))

    async def _serve(self, tls: ssl.SSLContext | None, started: Callable[..., None]) -> None:
        stop = asyncio.Event()
        async with foreign.serve(
            self._speak, "127.0.0.1", self.port, ssl=tls, process_request=self._judge, close_timeout=1, max_size=2**25
        ) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            started(asyncio.get_running_loop(), stop)
            await stop.wait()

    async def _judge(self, socket: foreign.ServerConnection, request: object) -> Any:
        """Answers handshakes with the statuses that the test wants, then with 101."""
        self.handshakes += 1
        return socket.respond(self.statuses.pop(0), "no\n") if self.statuses else None

    async def _speak(self, socket: foreign.ServerConnection) -> None:
        connection = Connection(socket, asyncio.get_running_loop())
        self._tell(self._told.send_nowait, connection)
        with suppress(websockets.ConnectionClosed):
            async for message in socket:
                self._tell(connection.told.send_nowait, message)
        self._tell(connection.told.send_nowait, None)

    def _tell(self, what: Callable[[Any], None], news: object) -> None:
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(what, news)


@asynccontextmanager
async def _serve_voice(tls: ssl.SSLContext | None = None) -> AsyncIterator[VoiceServer]:
    server = VoiceServer("wss" if tls else "ws")
    started, start = trio.open_memory_channel[tuple[asyncio.AbstractEventLoop, asyncio.Event]](1)
    token = trio.lowlevel.current_trio_token()
    async with beside(server.run, tls, lambda *begun: token.run_sync_soon(started.send_nowait, begun)):
        with trio.fail_after(PATIENCE_S):
            loop, stop = await start.receive()
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(stop.set)


@pytest.fixture
def serve_voice() -> Callable[..., AbstractAsyncContextManager[VoiceServer]]:
    """To open a server in the test itself: with TLS, or more than one."""
    return _serve_voice


@pytest.fixture
async def voice_server() -> AsyncIterator[VoiceServer]:
    async with _serve_voice() as server:
        yield server
