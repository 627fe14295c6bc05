"""Brings what happens on the box to a cloud: events in their order, recordings one at a time.

Two lanes that don't wait for each other. What troubles the cloud stops a lane, for longer each time, and costs nothing
of what waits; what is wrong with one thing sets that one aside. A thing is done when it is written down that it is
there: what a crash comes between is brought again, and found there.
"""

import math
import random
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import structlog
import trio

from appliance.config import Cloud as Settings
from appliance.config import Webhook
from appliance.database import StoreError
from appliance.depot import Brake, Bucket, Client, Depot, Ingest, NotTaken, Troubled, Unreadable
from appliance.ingest import Trouble, Verdict, pause_s
from appliance.outbox import Attempt, Delivery, Outbox
from appliance.uploads import Upload, Uploads
from appliance.webhook import CLOCK_IS_SET_AFTER
from appliance.webhook import Verdict as Delivered

log = structlog.get_logger(__name__)

# Longer than any wait for news needs to be: the clock may be set, and another process may have put something there.
LOOK_AGAIN_S = 60
# What the disk refuses to have written down, or read.
DISK_PAUSE_S = 30
# A recording that so often has not arrived as its digest says: the file itself may be another by now.
MOST_DIFFERENT = 5
# An event that a cloud fails over waits this long, and lets others go first; so many of them.
ASIDE_S = 3600
MOST_ASIDE = 100

_T = TypeVar("_T")

WELL, WAITING = "ok", "outside its hours"


class Lane:
    """How one of the two fares; `state` is WELL, WAITING or a Trouble."""

    def __init__(self, name: str, chance: Callable[[], float]) -> None:
        self.state: str = WELL
        self.reason: str | None = None
        self._failures = 0
        self._chance = chance
        self._pause_ends = trio.current_time()
        self._log = log.bind(lane=name)

    async def rest(self) -> None:
        await trio.sleep_until(self._pause_ends)

    @property
    def again_s(self) -> int:
        """Until it is tried again."""
        return max(0, math.ceil(self._pause_ends - trio.current_time()))

    def report(self) -> dict[str, Any]:
        return {"state": self.state, "reason": self.reason, "again_s": self.again_s}

    def gets_on(self) -> None:
        self._failures = 0
        self.turn(WELL)

    def troubled(self, exc: Troubled) -> None:
        # A trouble of another kind has a first time of its own.
        self._failures = self._failures + 1 if self.state == exc.trouble else 1
        wait_s = pause_s(exc.trouble, self._failures, self._chance(), exc.asked_s)
        self._pause_ends = trio.current_time() + wait_s
        self.turn(exc.trouble, str(exc))

    def turn(self, state: str, reason: str | None = None) -> None:
        """One line in the log when it is another state."""
        if state != self.state:
            (self._log.warning if reason else self._log.info)("cloud", state=state, reason=reason)
        self.state, self.reason = state, reason


class Cloud:
    def __init__(
        self,
        outbox: Outbox,
        uploads: Uploads,
        settings: Settings,
        *,
        user_agent: str,
        tls: ssl.SSLContext,
        allow_loopback: bool,
        now: Callable[[], datetime],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._uploads = uploads
        self._webhook = settings.webhook
        self._takes_recordings = settings.recordings
        self._window = settings.window
        self._now = now
        self._client = Client(user_agent, tls=tls, allow_loopback=allow_loopback, now=now)
        bucket = Bucket(self._client, settings.presign, settings.token) if settings.presign else None
        ingest = Ingest(self._client, settings.url, settings.token) if settings.url else None
        # One of the two is there, as the configuration is sound.
        self._for_events: Depot = ingest or bucket  # type: ignore[assignment]
        self._for_recordings: Depot = bucket or ingest  # type: ignore[assignment]
        limit = settings.bandwidth_kib_s
        self._brake = Brake(None if limit is None else 1024.0 * limit)
        self._events, self._recordings = Lane("events", chance), Lane("recordings", chance)
        # Events by their seq, and until when.
        self._aside: dict[int, float] = {}
        # Recordings, by how often what arrived was something else.
        self._different: Counter[str] = Counter()

    async def run(self) -> None:
        """Until cancelled."""
        async with self._client, trio.open_nursery() as nursery:
            if self._webhook is not None:
                nursery.start_soon(self._send_events, self._webhook)
            if self._takes_recordings:
                nursery.start_soon(self._bring_recordings)

    async def report(self) -> dict[str, Any]:
        """Of what is on its way there; without what the cloud does not take."""
        report: dict[str, Any] = {}
        if self._webhook is not None:
            report["events"] = self._events.report() | {"waiting": await self._outbox.pending(self._webhook)}
        if self._takes_recordings:
            there = await self._uploads.waiting()
            report["recordings"] = self._recordings.report() | {
                "waiting": there.recordings,
                "waiting_bytes": there.size_bytes,
                "refused": there.refused,
            }
        return report

    # --- events -----------------------------------------------------------------------------------------------------

    async def _send_events(self, webhook: Webhook) -> None:
        while True:
            await self._events.rest()
            delivery = await self._next_event(webhook)
            at, began_at = self._now(), trio.current_time()
            code, error = None, None
            try:
                self._need_the_time()
                code = await self._for_events.event(delivery.id, delivery.body)
                self._events.gets_on()
            except Troubled as exc:
                self._events.troubled(exc)
                if exc.trouble is Trouble.FAILING:
                    self._set_aside(delivery)
                continue
            except NotTaken as exc:
                error = str(exc)
                self._events.gets_on()
                log.error("event refused by the cloud", id=delivery.id, type=delivery.type, reason=error)
            verdict = Delivered.DELIVERED if error is None else Delivered.RETRY
            duration_ms = round(1000 * (trio.current_time() - began_at))
            attempt = Attempt(verdict, at, duration_ms, code, error=error)
            await _insist(partial(self._outbox.attempted, webhook, delivery, attempt))

    async def _next_event(self, webhook: Webhook) -> Delivery:
        while True:
            news, looked_at = self._outbox.news, trio.current_time()
            self._aside = {seq: until for seq, until in self._aside.items() if until > looked_at}
            found = await _insist(partial(self._outbox.next_due, webhook, self._now(), besides=self._aside))
            if isinstance(found, Delivery):
                return found
            with trio.move_on_at(looked_at + min(found, LOOK_AGAIN_S)):
                await news.wait()

    def _set_aside(self, delivery: Delivery) -> None:
        if len(self._aside) < MOST_ASIDE:
            self._aside[delivery.seq] = trio.current_time() + ASIDE_S

    # --- recordings -------------------------------------------------------------------------------------------------

    async def _bring_recordings(self) -> None:
        while True:
            await self._recordings.rest()
            open_s = await self._hours()
            news, looked_at = self._uploads.news, trio.current_time()
            upload = await _insist(self._uploads.next)
            if upload is None:
                with trio.move_on_at(looked_at + LOOK_AGAIN_S):
                    await news.wait()
                continue
            verdict = None
            with trio.move_on_after(open_s):
                verdict = await self._bring(upload)
            if verdict is not None:
                await _insist(partial(self._uploads.tried, upload, verdict))
            if verdict in (Verdict.TAKEN, Verdict.REFUSED):
                del self._different[upload.id]

    async def _bring(self, upload: Upload) -> Verdict | None:
        """None: it is not to blame, and waits as it did."""
        try:
            self._need_the_time()
            await self._for_recordings.recording(upload, self._brake, self._recordings.gets_on)
        except Troubled as exc:
            self._recordings.troubled(exc)
            return Verdict.AGAIN if exc.trouble is Trouble.FAILING else None
        except NotTaken as exc:
            self._different[upload.id] += 1
            if exc.verdict is Verdict.AGAIN and self._different[upload.id] < MOST_DIFFERENT:
                self._recordings.troubled(Troubled(Trouble.FAILING, str(exc)))
                return Verdict.AGAIN
            self._recordings.gets_on()
            log.error("recording refused by the cloud", recording=upload.id, call=upload.call, reason=str(exc))
            return Verdict.REFUSED
        except Unreadable as exc:
            log.error("recording can't be brought to the cloud", recording=upload.id, reason=str(exc))
            return Verdict.REFUSED
        log.info("recording uploaded", recording=upload.id, call=upload.call, size_bytes=upload.size_bytes)
        self._recordings.gets_on()
        return Verdict.TAKEN

    async def _hours(self) -> float:
        """Waits until recordings may go, and says for how long they may."""
        if self._window is None:
            return float("inf")
        while True:
            now = self._now().astimezone()
            if now.timestamp() > CLOCK_IS_SET_AFTER and (open_s := self._window.open_s(now)):
                if self._recordings.state == WAITING:
                    self._recordings.turn(WELL)
                return open_s
            self._recordings.turn(WAITING)
            # Not all of it at once: the clock may be set, or changed for the summer.
            await trio.sleep(min(self._window.opens_in_s(now) or LOOK_AGAIN_S, LOOK_AGAIN_S))

    # ----------------------------------------------------------------------------------------------------------------

    def _need_the_time(self) -> None:
        if self._now().timestamp() < CLOCK_IS_SET_AFTER:
            raise Troubled(Trouble.OFFLINE, "the clock is not set")


async def _insist(work: Callable[[], Awaitable[_T]]) -> _T:
    """Until the disk lets it: what is not written down is not brought again, nor another in its place."""
    while True:
        try:
            return await work()
        except StoreError as exc:
            log.error("what the cloud has can't be read or written down", error=str(exc))
            await trio.sleep(DISK_PAUSE_S)
