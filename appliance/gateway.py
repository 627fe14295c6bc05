"""The way from the box to other servers: where their names lead, whether anything may go there, whether there is a
network at all.
"""

import errno
import socket
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

import httpcore
import trio

from appliance.handshake import Network
from appliance.webhook import refusal

# Of the 15 s for all: one address that swallows packets must leave time for the next.
CONNECT_LIMIT_S = 5
LOOK_UP_LIMIT_S = 5
# Many deliveries fail at once: one look at the probe is for all of them.
PROBE_HOLDS_S = 10
# So long after a name was found, one that is not is that name's own fault.
NAMES_HOLD_S = 60

NO_ROUTE = {errno.ENETUNREACH, errno.ENETDOWN}
# Nobody answered at all: neither who was asked, nor the system in his place.
SILENCE = {errno.EHOSTUNREACH, errno.ETIMEDOUT}


class Offline(Exception):
    """This box has no network; whom it wanted to reach can't be blamed."""


class TargetRefused(Exception):
    """A name leads to where nothing may go."""


UNREACHED = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    OSError,
    UnicodeError,  # a name that has no form in the DNS
    TargetRefused,
)


class Gateway:
    """`probe` is a host and port that answer whenever there is internet; without one, only a box that has no route or
    no name server at all knows that it has none.
    """

    def __init__(self, *, allow_loopback: bool = False, probe: tuple[str, int] | None = None) -> None:
        self._allow_loopback = allow_loopback
        self._probe = probe
        self._turn = trio.Lock()
        self._probed_at = self._found_at = -float("inf")
        # As it was when somebody last tried.
        self.is_down = False

    async def addresses(self, host: str, port: int, *, encrypted: bool) -> Sequence[str]:
        """All of them that the name has, each of them one where something may go.

        Raises:
            Offline: nobody could be asked.
            TargetRefused: one of them may not be connected to.
            OSError: there is no such name.
        """
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as exc:
            # No name server could be asked, or this name's own is broken; one that does not exist is EAI_NONAME.
            if exc.errno == socket.EAI_AGAIN and trio.current_time() - self._found_at > NAMES_HOLD_S:
                self.is_down = True
                raise Offline("no name server") from exc
            raise
        addresses = [str(entry[4][0]) for entry in found]
        if host not in addresses:
            self._found_at = trio.current_time()
        for address in addresses:
            if refused := refusal(address, encrypted=encrypted, allow_loopback=self._allow_loopback):
                raise TargetRefused(f"{host}: {refused}")
        return addresses

    def network(self, *, encrypted: bool) -> "CheckedNetwork":
        return CheckedNetwork(self, encrypted=encrypted)

    def was_reached(self) -> None:
        """Somebody has answered."""
        self.is_down = False

    async def blame(self, failure: BaseException | None) -> None:
        """Returns when it is the other side's fault that there was no answer; None: of a wait that had no end.

        Raises:
            Offline: it is not.
        """
        if self._probe is not None and (failure is None or _is_silence(failure)) and not await self._probe_answers():
            raise Offline(f"{self._probe[0]} does not answer either") from failure

    async def _probe_answers(self) -> bool:
        assert self._probe is not None
        async with self._turn:
            if trio.current_time() - self._probed_at > PROBE_HOLDS_S:
                self.is_down = True
                with trio.move_on_after(CONNECT_LIMIT_S):
                    try:
                        async with await trio.open_tcp_stream(*self._probe):
                            self.is_down = False
                    except OSError:
                        pass
                self._probed_at = trio.current_time()
            return not self.is_down


class CheckedNetwork(Network):
    """Connects to the very address that was checked: what its name says a moment later does not matter."""

    def __init__(self, gateway: Gateway, *, encrypted: bool) -> None:
        self._gateway = gateway
        self._encrypted = encrypted

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own name
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failures: list[Exception] = []
        for address in await self._gateway.addresses(host, port, encrypted=self._encrypted):
            try:
                return await super().connect_tcp(address, port, CONNECT_LIMIT_S, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failures.append(exc)
        if all(_has_no_route(failure) for failure in failures):
            self._gateway.is_down = True
            raise Offline("no route") from failures[0]
        raise failures[0]


async def target_refusal(url: str, *, allow_loopback: bool) -> str | None:
    """Why nothing may be sent there, as far as can be seen now: what can't be looked up is seen when it is sent."""
    parts = urlsplit(url)
    encrypted = parts.scheme == "https"
    port = parts.port or (443 if encrypted else 80)
    with trio.move_on_after(LOOK_UP_LIMIT_S):
        try:
            await Gateway(allow_loopback=allow_loopback).addresses(parts.hostname or "", port, encrypted=encrypted)
        except TargetRefused as exc:
            return str(exc)
        except (Offline, OSError, UnicodeError):
            pass
    return None


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        # trio gathers an address's failures in a group, here of one.
        exc = exc.exceptions[0] if isinstance(exc, BaseExceptionGroup) else exc.__cause__ or exc.__context__


def reason(exc: BaseException) -> str:
    """The innermost error says most: the outer ones only carry it."""
    said = [f"{type(cause).__name__}: {cause}" for cause in _causes(exc) if str(cause)]
    return said[-1] if said else type(exc).__name__


def _has_no_route(exc: BaseException) -> bool:
    return any(isinstance(cause, OSError) and cause.errno in NO_ROUTE for cause in _causes(exc))


def _is_silence(exc: BaseException) -> bool:
    return any(
        isinstance(cause, httpcore.TimeoutException | trio.TooSlowError)
        or (isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN)
        or (isinstance(cause, OSError) and cause.errno in SILENCE)
        for cause in _causes(exc)
    )


async def beginning(response: httpcore.Response, read_bytes: int, *, keep_bytes: int | None = None) -> bytes:
    """Of an answer's body what is kept. It is read to its end, so that the connection can be used again, but no further
    than `read_bytes`.
    """
    read = bytearray()
    with trio.CancelScope() as enough:
        async for part in response.aiter_stream():
            read += part
            if len(read) > read_bytes:
                # Not `break`: httpcore's generators want to be unwound from within.
                enough.cancel()
    return bytes(read[: keep_bytes or read_bytes])
