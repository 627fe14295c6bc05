"""Takes deliveries from the outbox to their webhooks: at least once, each under one id and with one body.

    take the oldest that is due -> sign with the time of now -> POST -> commit what came of it -> take the next

A crash between POST and commit sends the same again. Each webhook has workers and connections of its own, so that a
slow or dead one delays nobody else; webhooks come, change and go while it runs. The addresses that came with calls, of
which there may be as many as calls, share those of their project, and none gets so many that others wait for it.
"""

import random
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

import httpcore
import structlog
import trio

from appliance import webhook as rules
from appliance.database import StoreError
from appliance.gateway import UNREACHED, Gateway, Offline, beginning, reason
from appliance.outbox import Attempt, Delivery, Outbox, Target
from appliance.webhook import Verdict

log = structlog.get_logger(__name__)

# Longer than any wait for news needs to be: so the clock being set is noticed, and what another process changed.
LOOK_AGAIN_S = 60
OFFLINE_PAUSE_S = 30
# What the disk refuses to have written down, or read.
DISK_PAUSE_S = 30
# What is up for less than this and never for longer does not grow older; a card is not written to more often for that.
COUNT_EVERY_MIN = 5
# An answer is read to its end, so that the connection can be used again; but not a longer one than this.
READ_BYTES = 64 * 1024
# Shorter than common servers' own, so that we rarely send into a connection which they are closing.
KEEP_CONNECTION_S = 4


@dataclass
class _Answer:
    """What has come back so far. There is an answer once there is a code; `error` says why there is none."""

    code: int | None = None
    retry_after: str | None = None
    beginning: bytes = b""
    error: str | None = f"no answer in {rules.LIMIT_S} s"


async def run_courier(
    outbox: Outbox,
    *,
    user_agent: str,
    gateway: Gateway,
    now: Callable[[], datetime],
    tls: ssl.SSLContext | None = None,
    chance: Callable[[], float] = random.random,
) -> None:
    """Delivers until cancelled. Without `tls` the system's certificates are trusted."""
    tls = tls or ssl.create_default_context()
    make = partial(_Route, outbox, user_agent=user_agent, gateway=gateway, now=now, tls=tls, chance=chance)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_count_time, outbox, gateway)
        await _keep_routes(outbox, make, nursery)


async def _count_time(outbox: Outbox, gateway: Gateway) -> None:
    counted, step_s = trio.current_time(), 60 * COUNT_EVERY_MIN
    while True:
        await trio.sleep_until(counted + step_s)
        # More than one where the process stood still.
        steps = max(1, int((trio.current_time() - counted) // step_s))
        counted += steps * step_s
        try:
            await outbox.grow_older(steps * COUNT_EVERY_MIN, offline=gateway.is_down)
        except StoreError as exc:
            log.error("outbox not aged", error=str(exc))


async def _keep_routes(outbox: Outbox, make: Callable[[Target], "_Route"], nursery: trio.Nursery) -> None:
    """One for each target, as they come and go."""
    for url, why in (await outbox.gone()).items():
        off = f"{why}; `branchline webhook resume` switches it on again"
        log.warning("webhook", webhook=rules.public(url), state="gone", reason=off)
    routes: dict[str, _Route] = {}

    async def go(route: _Route) -> None:
        await route.run()
        # Only now may there be another one with this key: what is under way must not be taken twice.
        del routes[route.target.key]
        outbox.ring()

    while True:
        news = outbox.news
        try:
            targets = {target.key: target for target in await outbox.targets()}
        except StoreError as exc:
            log.error("webhooks can't be read", error=str(exc))
            await trio.sleep(DISK_PAUSE_S)
            continue
        for key, route in routes.items():
            if key in targets:
                route.aim(targets.pop(key))
            else:
                route.end()
        for target in targets.values():
            routes[target.key] = make(target)
            nursery.start_soon(go, routes[target.key])
        with trio.move_on_after(LOOK_AGAIN_S):
            await news.wait()


class _Route:
    """The way to one webhook, or to all addresses of a project's calls, for a few deliveries at a time."""

    def __init__(
        self,
        outbox: Outbox,
        target: Target,
        *,
        user_agent: str,
        gateway: Gateway,
        now: Callable[[], datetime],
        tls: ssl.SSLContext,
        chance: Callable[[], float],
    ) -> None:
        self.target = target
        self._outbox = outbox
        self._user_agent = user_agent
        self._gateway = gateway
        self._now = now
        self._chance = chance
        self._turn = trio.Lock()
        self._bell = trio.Event()
        self._under_way: dict[int, Delivery] = {}
        self._ended = False
        self._pause_ends = -float("inf")
        self._parallel = rules.PARALLEL if target.url else rules.PARALLEL_LEGACY
        self._offline = False
        # By address, None where it is the target's; what is not there is "delivering".
        self._states: dict[str | None, str] = {}
        self._log = log.bind(webhook=rules.public(target.key))
        self._connections = {
            scheme: httpcore.AsyncConnectionPool(
                ssl_context=tls,
                max_connections=self._parallel,
                keepalive_expiry=KEEP_CONNECTION_S,
                network_backend=gateway.network(encrypted=scheme == "https"),
            )
            for scheme in ("http", "https")
        }

    def aim(self, target: Target) -> None:
        """There may be something new, and it goes there; what is under way goes where it was going."""
        if target.url != self.target.url:
            self._pause_ends = -float("inf")
        self.target = target
        self._ring()

    def end(self) -> None:
        """Nothing more is taken."""
        self._ended = True
        self._ring()

    def _ring(self) -> None:
        self._bell.set()
        self._bell = trio.Event()

    async def run(self) -> None:
        async with self._connections["http"], self._connections["https"], trio.open_nursery() as nursery:
            for _ in range(self._parallel):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while (delivery := await self._take()) is not None:
            target = self.target
            try:
                attempt = await self._attempt(target, delivery)
                off = await self._write_down(target, delivery, attempt)
                if off is not None:
                    self._outbox.ring()
                self._note(delivery, attempt, off)
            except Offline as exc:
                # Not counted, not written down: it is tried again when the pause is over.
                self._pause_ends = trio.current_time() + OFFLINE_PAUSE_S
                if not self._offline:
                    self._offline = True
                    self._log.warning("webhook", state="offline", reason=str(exc))
            finally:
                del self._under_way[delivery.seq]
                # There may be another to take: the same again, or the next one of its call.
                self._ring()

    async def _take(self) -> Delivery | None:
        """None: there will be nothing more."""
        async with self._turn:
            while not self._ended:
                bell, looked_at = self._bell, trio.current_time()
                wait_s = self._pause_ends - looked_at
                if wait_s <= 0:
                    found = await self._next_due()
                    if not isinstance(found, Delivery):
                        wait_s = found
                    elif not self._ended:
                        self._under_way[found.seq] = found
                        return found
                with trio.move_on_at(looked_at + min(wait_s, LOOK_AGAIN_S)):
                    await bell.wait()
        return None

    async def _next_due(self) -> Delivery | float:
        try:
            return await self._outbox.next_due(
                self.target,
                self._now(),
                besides=self._under_way,
                calls=self._calls_under_way(),
                busy=self._busy_addresses(),
            )
        except StoreError as exc:
            self._log.error("deliveries can't be read", error=str(exc))
            return DISK_PAUSE_S

    def _calls_under_way(self) -> list[int]:
        """Events of one call come in their order; what has to be sent again comes when it comes."""
        return [each.call for each in self._under_way.values() if each.call is not None and not each.attempts]

    def _busy_addresses(self) -> list[str]:
        under_way = Counter(each.url for each in self._under_way.values() if each.url is not None)
        most = rules.PARALLEL if under_way.total() < self._parallel / 2 else 1
        return [url for url, count in under_way.items() if count >= most]

    async def _write_down(self, target: Target, delivery: Delivery, attempt: Attempt) -> str | None:
        """Until it is written it is not sent again, nor another in its place. Why the webhook is off now, if it is."""
        while True:
            try:
                return await self._outbox.attempted(target, delivery, attempt)
            except StoreError as exc:
                self._log.error("delivery not written down", id=delivery.id, error=str(exc))
                await trio.sleep(DISK_PAUSE_S)

    async def _attempt(self, target: Target, delivery: Delivery) -> Attempt:
        """Raises Offline."""
        at, started_at = self._now(), trio.current_time()
        if at.timestamp() < rules.CLOCK_IS_SET_AFTER:
            raise Offline("the clock is not set")
        answer = await self._post(target, delivery, at)
        if answer.code is not None:
            self._gateway.was_reached()
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

    async def _post(self, target: Target, delivery: Delivery, at: datetime) -> _Answer:
        """Raises Offline."""
        answer = _Answer()
        url = delivery.url or target.url
        failure: BaseException | None = None
        with trio.move_on_after(rules.LIMIT_S):
            try:
                async with self._connections[urlsplit(url).scheme].stream(
                    "POST", url, headers=self._headers(target, delivery, at), content=delivery.body
                ) as response:
                    # From here on there is an answer, even if its end never comes.
                    answer.code, answer.error = response.status, None
                    answer.retry_after = _header(response, b"retry-after")
                    answer.beginning = await beginning(response, READ_BYTES, keep_bytes=rules.LOG_BODY_BYTES)
            except UNREACHED as exc:
                failure = exc
        if answer.code is None:
            await self._gateway.blame(failure)
            answer.error = answer.error if failure is None else reason(failure)
        return answer

    def _headers(self, target: Target, delivery: Delivery, at: datetime) -> dict[bytes | str, bytes | str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": self._user_agent,
            "webhook-id": delivery.id,
            target.header: rules.sign(target.secret, int(at.timestamp()), delivery.body),
        }

    def _note(self, delivery: Delivery, attempt: Attempt, off: str | None) -> None:
        """One line in the log when the webhook's state changes, one for each event that nobody will get."""
        what = attempt.error or f"status {attempt.code}"
        if attempt.verdict is Verdict.DELIVERED:
            self._come_to("delivering", what, delivery.url)
        elif off is not None or attempt.verdict is Verdict.GONE:
            self._come_to("gone", off or what, delivery.url)
        else:
            self._come_to("failing", what, delivery.url)
            if attempt.next_at is None:
                self._log.error("event given up", id=delivery.id, type=delivery.type, attempts=delivery.attempts + 1)

    def _come_to(self, state: str, reason: str, url: str | None) -> None:
        was = self._states.pop(url, "delivering")
        if state != "delivering":
            self._states[url] = state
        if state != was or self._offline:
            log = self._log if url is None else self._log.bind(address=rules.public(url))
            (log.info if state == "delivering" else log.warning)("webhook", state=state, reason=reason)
        self._offline = False


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)
