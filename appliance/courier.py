"""Takes deliveries from the outbox to their webhooks: at least once, each under one id and with one body.

    take the oldest that is due -> sign with the time of now -> POST -> commit what came of it -> take the next

A crash between POST and commit sends the same again. Each webhook has workers and connections of its own, so that a
slow or dead one delays nobody else.
"""

import errno
import random
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import httpcore
import structlog
import trio

from appliance import webhook as rules
from appliance.config import Webhook
from appliance.database import StoreError
from appliance.outbox import Attempt, Delivery, Outbox
from appliance.webhook import Verdict

log = structlog.get_logger(__name__)

# Of the 15 s for all: one address that swallows packets must leave time for the next.
CONNECT_LIMIT_S = 5
# Longer than any wait for news needs to be: so the clock being set is noticed.
LOOK_AGAIN_S = 60
OFFLINE_PAUSE_S = 30
# An answer is read to its end, so that the connection can be used again; but not a longer one than this.
READ_BYTES = 64 * 1024
# Shorter than common servers' own, so that we rarely send into a connection which they are closing.
KEEP_CONNECTION_S = 4

NO_ROUTE = {errno.ENETUNREACH, errno.ENETDOWN}


class Offline(Exception):
    """This box has no network; the webhook can't be blamed."""


class TargetRefused(Exception):
    """The webhook's name leads to where no event may go."""


class CheckedNetwork(httpcore.TrioBackend):
    """Connects to the very address that was checked: what its name says a moment later does not matter."""

    def __init__(self, *, encrypted: bool, allow_loopback: bool) -> None:
        self._refusal = partial(rules.refusal, encrypted=encrypted, allow_loopback=allow_loopback)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own name
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failures: list[Exception] = []
        for address in await self._addresses(host, port):
            try:
                return await super().connect_tcp(address, port, CONNECT_LIMIT_S, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failures.append(exc)
        if all(_has_no_route(failure) for failure in failures):
            raise Offline("no route") from failures[0]
        raise failures[0]

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as exc:
            # No name server could be asked. A name that does not exist is EAI_NONAME.
            if exc.errno == socket.EAI_AGAIN:
                raise Offline("no name server") from exc
            raise
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if refused := self._refusal(address):
                raise TargetRefused(f"{host}: {refused}")
        return addresses


UNREACHED = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    OSError,
    UnicodeError,  # a name that has no form in the DNS
    TargetRefused,
)


@dataclass
class _Answer:
    """What has come back so far. There is an answer once there is a code; `error` says why there is none."""

    code: int | None = None
    retry_after: str | None = None
    beginning: bytes = b""
    error: str | None = f"no answer in {rules.LIMIT_S} s"


async def run_courier(
    outbox: Outbox,
    webhooks: Iterable[Webhook],
    *,
    user_agent: str,
    allow_loopback: bool,
    now: Callable[[], datetime],
    tls: ssl.SSLContext | None = None,
    chance: Callable[[], float] = random.random,
) -> None:
    """Delivers until cancelled. Without `tls` the system's certificates are trusted."""
    tls = tls or ssl.create_default_context()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_count_hours, outbox)
        for webhook in webhooks:
            nursery.start_soon(_Route(outbox, webhook, user_agent, allow_loopback, now, tls, chance).run)


async def _count_hours(outbox: Outbox) -> None:
    full_hour = trio.current_time()
    while True:
        full_hour += 3600
        await trio.sleep_until(full_hour)
        try:
            await outbox.grow_older()
        except StoreError as exc:
            log.error("outbox not aged", error=str(exc))


class _Route:
    """The way to one webhook, for a few deliveries at a time."""

    def __init__(
        self,
        outbox: Outbox,
        webhook: Webhook,
        user_agent: str,
        allow_loopback: bool,
        now: Callable[[], datetime],
        tls: ssl.SSLContext,
        chance: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._webhook = webhook
        self._user_agent = user_agent
        self._now = now
        self._chance = chance
        self._turn = trio.Lock()
        self._under_way: set[int] = set()
        self._pause_ends = -float("inf")
        self._state = "delivering"
        self._log = log.bind(webhook=rules.public(webhook.key))
        encrypted = webhook.url.startswith("https:")
        self._connections = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=rules.PARALLEL,
            keepalive_expiry=KEEP_CONNECTION_S,
            network_backend=CheckedNetwork(encrypted=encrypted, allow_loopback=allow_loopback),
        )

    async def run(self) -> None:
        if since := (await self._outbox.gone()).get(self._webhook.url):
            self._turn_to("gone", f"status 410 at {since}; `branchline webhook resume` switches it on again")
        async with self._connections, trio.open_nursery() as nursery:
            for _ in range(rules.PARALLEL):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            delivery = await self._take()
            try:
                attempt = await self._attempt(delivery)
                await self._write_down(delivery, attempt)
                self._note(delivery, attempt)
            except Offline as exc:
                # Not counted, not written down: it is tried again when the pause is over.
                self._pause_ends = trio.current_time() + OFFLINE_PAUSE_S
                self._turn_to("offline", str(exc))
                # Whoever looks out for the next one must look out for this one too.
                self._outbox.ring()
            finally:
                self._under_way.discard(delivery.seq)

    async def _take(self) -> Delivery:
        async with self._turn:
            while True:
                await trio.sleep_until(self._pause_ends)
                news, looked_at = self._outbox.news, trio.current_time()
                found = await self._outbox.next_due(self._webhook, self._now(), besides=self._under_way)
                if isinstance(found, Delivery):
                    self._under_way.add(found.seq)
                    return found
                with trio.move_on_at(looked_at + min(found, LOOK_AGAIN_S)):
                    await news.wait()

    async def _write_down(self, delivery: Delivery, attempt: Attempt) -> None:
        """Until it is written it is not sent again, nor another in its place."""
        while True:
            try:
                return await self._outbox.attempted(self._webhook, delivery, attempt)
            except StoreError as exc:
                self._log.error("delivery not written down", id=delivery.id, error=str(exc))
                await trio.sleep(OFFLINE_PAUSE_S)

    async def _attempt(self, delivery: Delivery) -> Attempt:
        """Raises Offline."""
        at, started_at = self._now(), trio.current_time()
        if at.timestamp() < rules.CLOCK_IS_SET_AFTER:
            raise Offline("the clock is not set")
        answer = await self._post(delivery, at)
        verdict = Verdict.RETRY if answer.code is None else rules.verdict(answer.code)
        next_at = None
        if verdict is Verdict.RETRY:
            failed_at = self._now().timestamp()
            asked_s = rules.retry_after_s(answer.code or 0, answer.retry_after, failed_at)
            next_at = rules.next_attempt(delivery.attempts + 1, failed_at, self._chance(), asked_s)
        return Attempt(
            verdict,
            at,
            duration_ms=round(1000 * (trio.current_time() - started_at)),
            code=answer.code,
            response=answer.beginning,
            error=answer.error,
            next_at=None if next_at is None else datetime.fromtimestamp(next_at, UTC),
        )

    async def _post(self, delivery: Delivery, at: datetime) -> _Answer:
        answer = _Answer()
        with trio.move_on_after(rules.LIMIT_S):
            try:
                headers = self._headers(delivery, at)
                async with self._connections.stream(
                    "POST", self._webhook.url, headers=headers, content=delivery.body
                ) as response:
                    # From here on there is an answer, even if its end never comes.
                    answer.code, answer.error = response.status, None
                    answer.retry_after = _header(response, b"retry-after")
                    answer.beginning = await _beginning(response)
            except UNREACHED as exc:
                if answer.code is None:
                    answer.error = reason(exc)
        return answer

    def _headers(self, delivery: Delivery, at: datetime) -> dict[bytes | str, bytes | str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": self._user_agent,
            "webhook-id": delivery.id,
            rules.SIGNATURE_HEADER: rules.sign(self._webhook.secret, int(at.timestamp()), delivery.body),
        }

    def _note(self, delivery: Delivery, attempt: Attempt) -> None:
        """One line in the log when the webhook's state changes, one for each event that nobody will get."""
        what = attempt.error or f"status {attempt.code}"
        if attempt.verdict is Verdict.DELIVERED:
            self._turn_to("delivering", what)
        elif attempt.verdict is Verdict.GONE:
            self._turn_to("gone", what)
        else:
            self._turn_to("failing", what)
            if attempt.next_at is None:
                self._log.error("event given up", id=delivery.id, type=delivery.type, attempts=delivery.attempts + 1)

    def _turn_to(self, state: str, reason: str) -> None:
        if state != self._state:
            self._state = state
            (self._log.info if state == "delivering" else self._log.warning)("webhook", state=state, reason=reason)


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


async def _beginning(response: httpcore.Response) -> bytes:
    read = bytearray()
    with trio.CancelScope() as enough:
        async for part in response.aiter_stream():
            read += part
            if len(read) > READ_BYTES:
                # Not `break`: httpcore's generators want to be unwound from within.
                enough.cancel()
    return bytes(read[: rules.LOG_BODY_BYTES])


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
