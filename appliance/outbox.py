"""Events, and what is not yet acknowledged of them: one delivery for each webhook that wants one, kept until it is
delivered or given up. Whoever asks for events by himself, instead, finds each of them once, for as long (`Archive`).

A delivery is put in the same commit as the fact that it tells, under its id. Its data are the event's, written once for
all who get it, and never changed. To whom it goes is looked up when it is sent, so that a changed secret or address
works for what waits already.

What was never tried goes first, the oldest before all, and of each call one at a time: so events of one call come in
their order, unless one has to be sent again. Then goes what is due again: no retry holds back what is new.

Clocks: a Pi has none at boot. `due_at` is wall time, since it must outlive a restart. What was never tried is due
whatever it says; should the clock be set back, so is a delivery that seems further away than any wait can be. A clock
set forward makes one wait shorter. Ages are counted in hours of the box being up, so that no setting of the clock
throws away what was never tried.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import trio

from appliance.config import Webhook
from appliance.database import Commit, Database
from appliance.events import Event, LegacyEvent, canonical, enveloped, event_id, legacy_body, of_webhook, wanted
from appliance.subscriptions import PREFIX, is_active, silence, subscribers, switch_off
from appliance.webhook import (
    FAILING_H,
    KEEP_H,
    LEGACY_SIGNATURE_HEADER,
    LOG_BODY_BYTES,
    LOG_PER_WEBHOOK,
    LONGEST_WAIT_S,
    SIGNATURE_HEADER,
    Verdict,
    public,
    verdict,
)

LEGACY = "legacy:"


def legacy_key(project: int) -> str:
    """Of what goes to addresses that came with a call (10)."""
    return f"{LEGACY}{project}"


@dataclass(frozen=True)
class Target:
    """Where the deliveries of a key go, as of now. Those of the older generation have an address each."""

    key: str
    url: str
    secret: str = field(repr=False)
    header: str = SIGNATURE_HEADER


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one webhook; `attempts` have been made and failed. `url` is one of its own."""

    seq: int
    id: str
    type: str
    attempts: int
    call: int | None
    url: str | None
    body: bytes


@dataclass(frozen=True)
class Attempt:
    """How one try went: `code` and `response` are the receiver's, `error` says why there was no answer."""

    verdict: Verdict
    at: datetime
    duration_ms: int
    code: int | None = None
    response: bytes = b""
    error: str | None = None
    next_at: datetime | None = None


@dataclass(frozen=True)
class LogEntry:
    seq: int
    event_id: str
    type: str
    attempt: int
    url: str
    code: int | None
    response: bytes
    error: str | None
    duration_ms: int
    at: str
    next_at: str | None

    @property
    def ok(self) -> bool:
        return self.code is not None and verdict(self.code) is Verdict.DELIVERED


class Receiver(Protocol):
    """Whoever deliveries go to, configured or made over an API."""

    @property
    def key(self) -> str: ...
    @property
    def url(self) -> str: ...


class Outbox:
    """The courier delivers to `webhooks`; `others` take out by themselves what is for them, and are never switched off.
    `chance` gives that many random bytes.
    """

    def __init__(
        self,
        database: Database,
        webhooks: Iterable[Webhook],
        others: Iterable[Webhook] = (),
        *,
        chance: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._webhooks, self._others = tuple(webhooks), tuple(others)
        self._chance = chance
        self._news = trio.Event()

    def put(self, connection: sqlite3.Connection, event: Event) -> None:
        """Within the transaction of the fact. When it is committed, `ring`."""
        facts = (event.type, event.at.isoformat(), canonical(event.data))
        statement = "INSERT INTO events (type, at, data, born_h) VALUES (?, ?, ?, (SELECT hours FROM uptime))"
        seq = connection.execute(statement, facts).lastrowid
        for key in self._told(connection, event):
            connection.execute(
                """INSERT INTO deliveries (id, webhook, type, body, event, call_id, due_at, born_h)
                VALUES (?, ?, ?, x'', ?, ?, ?, (SELECT hours FROM uptime))""",
                (self._new_id(event.at), key, event.type, seq, event.call, event.at.timestamp()),
            )

    def put_legacy(self, connection: sqlite3.Connection, event: LegacyEvent) -> None:
        """As `put`; to the one address that it is for."""
        facts = (self._new_id(event.at), legacy_key(event.project), event.event, legacy_body(event), event.url)
        connection.execute(
            """INSERT INTO deliveries (id, webhook, type, body, url, call_id, due_at, born_h)
            VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT hours FROM uptime))""",
            (*facts, event.call, event.at.timestamp()),
        )

    def _told(self, connection: sqlite3.Connection, event: Event) -> Iterator[str]:
        """The keys of those who are told of it."""
        gone = {url for (url,) in connection.execute("SELECT url FROM gone")}
        for webhook in (*self._webhooks, *self._others):
            if webhook.url not in gone and wanted(webhook.events, event.type):
                yield webhook.key
        if event.project is not None:
            yield from subscribers(connection, event.project, event.type)

    def _new_id(self, at: datetime) -> str:
        return event_id(at, self._chance(10))

    def ring(self) -> None:
        """Wakes who waits for `news`."""
        self._news.set()
        self._news = trio.Event()

    @property
    def news(self) -> trio.Event:
        """Set when there may be something to deliver that was not there when this was read."""
        return self._news

    async def targets(self) -> list[Target]:
        """Who is delivered to, as of now."""
        pending = "SELECT 1 FROM deliveries WHERE state = 'pending' AND webhook = :legacy || projects.id AND attempts"
        legacy = f"""SELECT id, legacy_secret FROM projects
            WHERE EXISTS ({pending} = 0) OR EXISTS ({pending} > 0)"""

        def query(connection: sqlite3.Connection) -> list[Target]:
            gone = {url for (url,) in connection.execute("SELECT url FROM gone")}
            targets = [Target(each.key, each.url, each.secret) for each in self._webhooks if each.url not in gone]
            rows = connection.execute("SELECT id, url, secret FROM subscriptions WHERE active ORDER BY id")
            targets += [Target(f"{PREFIX}{id_}", url, secret) for id_, url, secret in rows]
            rows = connection.execute(legacy, {"legacy": LEGACY})
            return targets + [Target(legacy_key(id_), "", secret, LEGACY_SIGNATURE_HEADER) for id_, secret in rows]

        return await self._database.read(query)

    async def next_due(
        self,
        webhook: Receiver,
        now: datetime,
        *,
        besides: Collection[int] = (),
        calls: Collection[int] = (),
        busy: Collection[str] = (),
    ) -> Delivery | float:
        """The one to be sent next, or in how many seconds one will be due. `besides` are under way already, and so is
        something new of these `calls`; `busy` are addresses to which nothing more can go now.
        """
        # Made here: they may change while the thread is at work.
        key, seqs, calls, at = webhook.key, tuple(besides), tuple(calls), now.timestamp()
        free = f"deliveries.seq NOT IN ({_marks(seqs)}) AND (url IS NULL OR url NOT IN ({_marks(busy)}))"
        ours = (key, *seqs, *busy)

        def query(connection: sqlite3.Connection) -> Delivery | float:
            def first(condition: str, *values: object) -> Delivery | None:
                row = connection.execute(
                    f"""SELECT deliveries.seq, id, deliveries.type, attempts, call_id, url, body, events.at, events.data
                    FROM deliveries LEFT JOIN events ON events.seq = event
                    WHERE state = 'pending' AND webhook = ? AND {free} AND {condition}
                    LIMIT 1""",
                    (*ours, *values),
                ).fetchone()
                return None if row is None else _delivery(*row)

            of_others = f"(call_id IS NULL OR call_id NOT IN ({_marks(calls)}))"
            by_time = "ORDER BY due_at, deliveries.seq"
            found = (
                first(f"attempts = 0 AND {of_others} ORDER BY deliveries.seq", *calls)
                or first(f"attempts > 0 AND due_at <= ? {by_time}", at)
                or first(f"attempts > 0 AND due_at > ? {by_time}", at + LONGEST_WAIT_S)
            )
            if found is not None:
                return found
            (due_at,) = connection.execute(
                f"""SELECT min(due_at) FROM deliveries
                WHERE state = 'pending' AND webhook = ? AND {free} AND attempts > 0""",
                ours,
            ).fetchone()
            return float("inf") if due_at is None else float(due_at - at)

        return await self._database.read(query)

    async def attempted(self, target: Receiver, delivery: Delivery, attempt: Attempt) -> str | None:
        """Writes down how it went, and what follows from it. If that is that the webhook is off now, why."""

        def work(connection: sqlite3.Connection) -> str | None:
            if not self._is_on(connection, target):
                return None
            self._log(connection, target, delivery, attempt)
            self._move(connection, delivery, attempt)
            if delivery.url is not None:
                # There is no webhook that could be switched off: an address is that of one call.
                if attempt.verdict is Verdict.GONE:
                    silence(connection, target.key, delivery.url)
                return None
            if any(target.key == other.key for other in self._others):
                return None
            reason = _reason_to_stop(connection, target.key, attempt)
            if reason is not None:
                self._switch_off(connection, target, reason, attempt.at)
            return reason

        return await self._database.write(Commit.DELIVERY_ATTEMPTED, work)

    def _is_on(self, connection: sqlite3.Connection, target: Receiver) -> bool:
        """Otherwise it was switched off, or deleted, while this went on, and so is void what it was."""
        if target.key.startswith(PREFIX):
            return is_active(connection, target.key)
        return connection.execute("SELECT 1 FROM gone WHERE url = ?", (target.url,)).fetchone() is None

    def _move(self, connection: sqlite3.Connection, delivery: Delivery, attempt: Attempt) -> None:
        due_at = attempt.next_at and attempt.next_at.timestamp()
        if attempt.verdict is Verdict.DELIVERED:
            told = "UPDATE recordings SET told_at = ? WHERE call_id = ?"
            connection.execute(told, (attempt.at.isoformat(), delivery.call))
            change = "state = 'delivered', body = x'', due_at = IFNULL(?, due_at)"
        elif due_at is None:
            change = "state = 'dead', due_at = IFNULL(?, due_at)"
        else:
            change = "due_at = ?"
        statement = f"UPDATE deliveries SET attempts = attempts + 1, {change} WHERE seq = ?"
        connection.execute(statement, (due_at, delivery.seq))

    def _switch_off(self, connection: sqlite3.Connection, target: Receiver, reason: str, at: datetime) -> None:
        """It is told to those who are left."""
        silence(connection, target.key)
        if target.key.startswith(PREFIX):
            subscription = switch_off(connection, target.key, reason)
            name, project = subscription.name, subscription.project
        else:
            statement = "INSERT INTO gone (url, at, reason) VALUES (?, ?, ?)"
            connection.execute(statement, (target.url, at.isoformat(), reason))
            name, project = None if target.key == target.url else target.key, None
        self.put(connection, of_webhook(public(target.url), name, project, reason, at))

    async def pending(self, webhook: Webhook | None = None) -> int:
        """Not yet delivered, not given up; to one webhook, or all."""
        query = "SELECT count(*) FROM deliveries WHERE state = 'pending' AND webhook = IFNULL(?, webhook)"
        key = webhook and webhook.key
        return int(await self._database.read(lambda connection: connection.execute(query, (key,)).fetchone()[0]))

    async def gone(self) -> dict[str, str]:
        """Why, and since when, those of the configured webhooks are off that are, by their addresses."""
        query = "SELECT url, reason, at FROM gone"
        rows = await self._database.read(lambda connection: connection.execute(query).fetchall())
        ours = {webhook.url for webhook in self._webhooks}
        return {url: f"{reason} at {at}" for url, reason, at in rows if url in ours}

    async def resume(self, webhook: Webhook) -> bool:
        """It wants what happens from now on; False when it was not off."""

        def work(connection: sqlite3.Connection) -> bool:
            return connection.execute("DELETE FROM gone WHERE url = ?", (webhook.url,)).rowcount > 0

        return await self._database.write(Commit.WEBHOOK_RESUMED, work)

    async def log(self, webhook: Receiver) -> list[LogEntry]:
        """The newest attempts, newest first."""
        query = """SELECT seq, event_id, type, attempt, url, code, response, error, duration_ms, at, next_at
            FROM attempts WHERE webhook = ? ORDER BY seq DESC"""
        rows = await self._database.read(lambda connection: connection.execute(query, (webhook.key,)).fetchall())
        return [LogEntry(*row) for row in rows]

    async def grow_older(self, minutes: int = 60, *, offline: bool = False) -> None:
        """The box has been up for so long since the last time: what is too old goes, delivered or not. Time without
        network is no time of anybody's failing.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                """UPDATE uptime SET hours = hours + (minutes + ?1) / 60, minutes = (minutes + ?1) % 60,
                online_min = online_min + ?2""",
                (minutes, 0 if offline else minutes),
            )
            for table in ("deliveries", "events"):
                connection.execute(f"DELETE FROM {table} WHERE born_h <= (SELECT hours FROM uptime) - ?", (KEEP_H,))

        await self._database.write(Commit.OUTBOX_AGED, work)

    def _log(self, connection: sqlite3.Connection, target: Receiver, delivery: Delivery, attempt: Attempt) -> None:
        connection.execute(
            """INSERT INTO attempts
            (webhook, event_id, type, attempt, url, code, response, error, duration_ms, at, next_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                target.key,
                delivery.id,
                delivery.type,
                delivery.attempts + 1,
                delivery.url or target.url,
                attempt.code,
                attempt.response[:LOG_BODY_BYTES],
                attempt.error,
                attempt.duration_ms,
                attempt.at.isoformat(),
                attempt.next_at and attempt.next_at.isoformat(),
            ),
        )
        connection.execute(
            """DELETE FROM attempts WHERE webhook = ? AND seq <= (
                SELECT seq FROM attempts WHERE webhook = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)""",
            (target.key, target.key, LOG_PER_WEBHOOK),
        )


def _reason_to_stop(connection: sqlite3.Connection, key: str, attempt: Attempt) -> str | None:
    """Why the webhook gets nothing more after this attempt."""
    if attempt.verdict is Verdict.RETRY:
        connection.execute(
            """INSERT INTO failing (webhook, since_min, since) VALUES (?, (SELECT online_min FROM uptime), ?)
            ON CONFLICT (webhook) DO NOTHING""",
            (key, attempt.at.isoformat()),
        )
        query = "SELECT (SELECT online_min FROM uptime) - since_min FROM failing WHERE webhook = ?"
        # The first of the minutes that are counted together had begun.
        if connection.execute(query, (key,)).fetchone()[0] <= 60 * FAILING_H:
            return None
    connection.execute("DELETE FROM failing WHERE webhook = ?", (key,))
    if attempt.verdict is Verdict.DELIVERED:
        return None
    return "status 410" if attempt.verdict is Verdict.GONE else f"no delivery in {FAILING_H // 24} days"


def _delivery(
    seq: int,
    id_: str,
    type_: str,
    attempts: int,
    call: int | None,
    url: str | None,
    body: bytes,
    at: str | None,
    data: str | None,
) -> Delivery:
    if at is not None and data is not None:
        body = enveloped(type_, datetime.fromisoformat(at), data, id_)
    return Delivery(seq, id_, type_, attempts, call, url, body)


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))
