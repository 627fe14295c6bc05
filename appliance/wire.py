"""One WebSocket to a customer's server, on which sending never waits.

trio-websocket shakes hands, reads, and answers pings. What it writes goes into the same buffer as our text frames,
whole frame by whole frame: so frames never mingle, a server that does not read holds up neither our reading nor
anybody else, and the close frame still fits behind what was begun.

    async with open_wire(url, headers=..., trust=None) as wire:
        wire.send(b"text")
        with wire.shared(port, media):
            message = await wire.receive()

While a port shares the wire, the audio of both directions goes past all this (native.Lane): no task wakes for a frame.
"""

import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from urllib.parse import SplitResult, quote, urlsplit

import h11
import idna
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from appliance.media import Media
from appliance.outlet import Outlet
from native import Codec, StreamPort, TlsError, Trust

HANDSHAKE_LIMIT_S = 10.0
PING_EVERY_S = 20.0
PONG_LIMIT_S = 20.0
# A server that is gone must not hold up the end of the call: the hangup webhook comes after the close.
CLOSE_LIMIT_S = 2.0
MESSAGE_LIMIT_BYTES = 16 * 2**20
# What the kernel may hold unsent before frames are better kept where the oldest can be dropped.
ROOM_BYTES = 16 * 1024

# RFC 9112 4: how an answer begins; a code of 1xx is not the answer.
REFUSAL = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d)")

_TARGET_CHARACTERS = "".join(map(chr, range(0x21, 0x7F)))


class Unreachable(Exception):
    """No connection, for a reason that may pass."""


class Rejected(Exception):
    """The server answered the handshake with a status of its own."""

    def __init__(self, status: int) -> None:
        super().__init__(f"handshake answered {status}")
        self.status = status


class Closed(Exception):
    """Nothing more will come. `code` is the server's; None when the connection went without one."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def text_frame(text: bytes, mask: bytes) -> bytes:
    """RFC 6455 5.2: one final, masked text frame. `mask` is four bytes that nobody can foresee (10.3)."""
    size = len(text)
    if size < 126:
        head = struct.pack("!BB", 0x81, 0x80 | size)
    elif size < 2**16:
        head = struct.pack("!BBH", 0x81, 0xFE, size)
    else:
        head = struct.pack("!BBQ", 0x81, 0xFF, size)
    # One long exclusive-or: ten times faster than byte by byte.
    key = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(text, "big") ^ int.from_bytes(key, "big")
    return head + mask + masked.to_bytes(size, "big")


class Wire:
    """An open connection, made by `open_wire`."""

    def __init__(self, websocket: WebSocketConnection, outlet: Outlet, life: trio.CancelScope) -> None:
        self._websocket = websocket
        self._outlet = outlet
        self._life = life
        self._lost = ""
        self._received = False

    def send(self, text: bytes) -> None:
        """One text message; after the close, into the void. `receive` is who tells of the end."""
        # RFC 6455 5.5.1: no frame after the close frame, which trio-websocket sends by itself in answer to one.
        if self._websocket.closed is None and not self._outlet.ended.is_set():
            self._outlet.write(text_frame(text, os.urandom(4)))

    def pause(self) -> None:
        """No audio goes before the next message: they have numbers, and the order of these."""
        self._outlet.pause()

    def shared(self, port: StreamPort, media: Media) -> AbstractContextManager[None]:
        """Meanwhile the port's messages go out in the media's turns, as long as the server keeps up, and messages that
        were learned are played without being received.
        """
        return self._outlet.shared(port, media)

    def learn(self, before: bytes, after: bytes, codec: Codec, rate_hz: int) -> None:
        """Text messages with audio in base64 between these two are for the port."""
        self._outlet.learn(before, after, codec, rate_hz)

    async def receive(self) -> str | bytes:
        """Asking for the next message says that the last one was obeyed: none overtakes it.

        Raises:
            Closed: by the server, or lost.
        """
        if self._received:
            self._outlet.obeyed()
        try:
            message: str | bytes = await self._websocket.get_message()
            self._received = True
            return message
        except ConnectionClosed as exc:
            # 1006 stands for a connection that went without a close frame (RFC 6455 7.1.5).
            code = exc.reason.code if exc.reason and exc.reason.code != 1006 else None
            reason = f"closed with {code}" if code else self._outlet.fault or "cut off"
            raise Closed(code, self._lost or reason) from None

    async def keep_alive(self, every_s: float, limit_s: float) -> None:
        try:
            while True:
                await trio.sleep(every_s)
                with trio.fail_after(limit_s):
                    await self._websocket.ping()
        except trio.TooSlowError:
            self._lost = f"no pong in {limit_s:g} s"
            self._outlet.cut()
        except ConnectionClosed:
            pass

    async def close(self) -> None:
        """The closing handshake, whoever began it, within its time."""
        try:
            with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
                await self._websocket.aclose()
                await self._outlet.aclose()
        finally:
            self._life.cancel()


@asynccontextmanager
async def open_wire(
    url: str,
    *,
    headers: Mapping[str, str],
    trust: Trust | None = None,
    ping_every_s: float = PING_EVERY_S,
    pong_limit_s: float = PONG_LIMIT_S,
) -> AsyncIterator[Wire]:
    """Closed with 1000 on the way out, also when cancelled. `trust` None: the system's authorities.

    Raises:
        Unreachable, Rejected: instead of a connection.
    """
    try:
        async with trio.open_nursery() as nursery:
            carry = partial(_carry, url, headers, trust, ping_every_s, pong_limit_s)
            wire: Wire = await nursery.start(carry)
            try:
                yield wire
            finally:
                await wire.close()
    except BaseExceptionGroup as group:
        failures, others = group.split((Unreachable, Rejected, ConnectionRejected, LocalProtocolError))
        if failures is None or others is not None:
            raise others or group from None
        match _first(failures):
            case ConnectionRejected() as rejected:
                raise Rejected(rejected.status_code) from None
            case Unreachable() | Rejected() as exc:
                raise exc from exc.__cause__
            # LocalProtocolError: a ping that met our close, and must not be answered any more.


async def _carry(
    url: str,
    headers: Mapping[str, str],
    trust: Trust | None,
    ping_every_s: float,
    pong_limit_s: float,
    *,
    task_status: trio.TaskStatus[Wire],
) -> None:
    """Lives until the wire is closed: once open, out of reach of the cancellation that makes us close it."""
    outlet: Outlet | None = None
    try:
        with trio.CancelScope() as life:
            async with trio.open_nursery() as nursery:
                with trio.move_on_after(HANDSHAKE_LIMIT_S) as limit:
                    outlet = await _connect(url, trust)
                    nursery.start_soon(outlet.flush)
                    if _is_secure(url):
                        await _secure(outlet)
                    # trio-websocket goes on waiting for its handshake when the connection is no more.
                    nursery.start_soon(_cancel_after, outlet.ended, limit)
                    websocket = await _shake_hands(nursery, outlet, url, headers)
                if limit.cancelled_caught or outlet is None:
                    # trio-websocket waits for the whole of a refusal's body, which may have no length.
                    if outlet is not None and (refusal := REFUSAL.match(outlet.beginning)):
                        raise Rejected(int(refusal[1]))
                    if outlet is not None and outlet.ended.is_set():
                        raise Unreachable(outlet.fault or "cut off in the handshake")
                    raise Unreachable("no handshake in time")
                life.shield = True
                wire = Wire(websocket, outlet, life)
                nursery.start_soon(wire.keep_alive, ping_every_s, pong_limit_s)
                task_status.started(wire)
    # UnicodeDecodeError: wsproto (1.2) takes some headers for ASCII.
    except* (h11.LocalProtocolError, UnicodeDecodeError) as group:
        if outlet is None or not outlet.beginning:
            raise Unreachable(f"no such request can be made: {_first(group)}") from group
        raise Unreachable("the server's handshake is not HTTP") from group
    finally:
        if outlet is not None:
            outlet.cut()


def _is_secure(url: str) -> bool:
    return urlsplit(url).scheme == "wss"


def _split(url: str) -> SplitResult:
    """With the host in ASCII as Trio looks it up (IDNA 2008): wsproto's is 2003's, in which some names are others'."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    if not netloc.isascii():
        name, colon, port = netloc.partition(":")
        netloc = idna.encode(name, uts46=True).decode() + colon + port
    return parts._replace(netloc=netloc)


async def _connect(url: str, trust: Trust | None) -> Outlet:
    try:
        parts = _split(url)
        secure = _is_secure(url)
        host = parts.hostname or ""
        if secure and trust is None:
            trust = await trio.to_thread.run_sync(Trust)
        tcp = await trio.open_tcp_stream(host, parts.port or (443 if secure else 80))
        try:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, ROOM_BYTES)
            # Certificates have names without the last dot, and servers are told theirs so (RFC 6066 3).
            return Outlet(tcp, trust=trust if secure else None, host=host.removesuffix("."))
        except BaseException:
            tcp.socket.close()
            raise
    # ValueError: a port or a host name that cannot be.
    except (OSError, ValueError) as exc:
        raise Unreachable(_words(exc)) from exc


async def _secure(outlet: Outlet) -> None:
    try:
        await outlet.shake_hands()
    except TlsError as exc:
        raise Unreachable(str(exc)) from exc


def _words(exc: BaseException) -> str:
    """Trio says that all attempts failed; why the first did is what helps."""
    return str(_first(exc.__cause__ or exc))


def _first(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


async def _shake_hands(
    nursery: trio.Nursery, outlet: Outlet, url: str, headers: Mapping[str, str]
) -> WebSocketConnection:
    parts = _split(url)
    # The customer's path and query as they are: secrets stand there. Only what HTTP has no form for is escaped.
    target = quote(parts._replace(scheme="", netloc="", fragment="").geturl() or "/", safe=_TARGET_CHARACTERS)
    return await wrap_client_stream(
        nursery,
        outlet,  # type: ignore[arg-type]  # any stream will do
        parts.netloc,
        target if target.startswith("/") else f"/{target}",
        extra_headers=[(name.encode(), value.encode()) for name, value in headers.items()],
        max_message_size=MESSAGE_LIMIT_BYTES,
        receive_buffer_size=65536,
    )


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
