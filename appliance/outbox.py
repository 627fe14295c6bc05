"""Events, and what is not yet acknowledged of them: one delivery for each webhook that wants one, kept until it is
delivered or given up. Whoever asks for events by himself, instead, finds each of them once, for as long (`Archive`).

A delivery is put in the same commit as the fact that it tells, with its body made once and for all. To whom it goes
is looked up when it is sent, so that a changed secret or address works for what waits already.

Clocks: a Pi has none at boot. `due_at` is wall time, since it must outlive a restart. What was never tried is due
whatever it says; should the clock be set back, so is a delivery that seems further away than any wait can be. A clock
set forward makes one wait shorter. Ages are counted in hours of the box being up, so that no setting of the clock
throws away what was never tried.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import trio

from appliance.config import Webhook
from appliance.database import Commit, Database
from appliance.events import Event, body, canonical, event_id, wanted
from appliance.webhook import KEEP_H, LOG_BODY_BYTES, LOG_PER_WEBHOOK, LONGEST_WAIT_S, Verdict


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one webhook; `attempts` have been made and failed."""

    seq: int
    id: str
    type: str
    body: bytes
    attempts: int


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


class Keyed(Protocol):
    """Whoever deliveries go to, configured or made over an API."""

    @property
    def key(self) -> str: ...


class Outbox:
    """`chance` gives that many random bytes."""

    def __init__(
        self, database: Database, webhooks: Iterable[Webhook], *, chance: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._database = database
        self._webhooks = tuple(webhooks)
        self._chance = chance
        self._news = trio.Event()

    def put(self, connection: sqlite3.Connection, event: Event) -> None:
        """Within the transaction of the fact. When it is committed, `ring`."""
        connection.execute(
            "INSERT INTO events (type, at, data, born_h) VALUES (?, ?, ?, (SELECT hours FROM uptime))",
            (
                event.type,
                event.at.isoformat(),
                canonical(event.data),
            ),
        )
        gone = {url for (url,) in connection.execute("SELECT url FROM gone")}
        for webhook in self._webhooks:
            if webhook.url in gone or not wanted(webhook.events, event.type):
                continue
            id_ = event_id(event.at, self._chance(10))
            connection.execute(
                """INSERT INTO deliveries (id, webhook, type, body, call_id, due_at, born_h)
                VALUES (?, ?, ?, ?, ?, ?, (SELECT hours FROM uptime))""",
                (id_, webhook.key, event.type, body(event, id_), event.call, event.at.timestamp()),
            )

    def ring(self) -> None:
        """Wakes who waits for `news`."""
        self._news.set()
        self._news = trio.Event()

    @property
    def news(self) -> trio.Event:
        """Set when there may be something to deliver that was not there when this was read."""
        return self._news

    async def next_due(self, webhook: Webhook, now: datetime, *, besides: Collection[int] = ()) -> Delivery | float:
        """The oldest that is due, or in how many seconds one will be; `besides` are under way already."""

        # Made here: `besides` may change while the thread is at work.
        others = (webhook.key, *besides)
        waiting = f"""FROM deliveries WHERE state = 'pending' AND webhook = ?
            AND seq NOT IN ({", ".join("?" * (len(others) - 1))})"""

        def query(connection: sqlite3.Connection) -> Delivery | float:
            at = now.timestamp()
            row = connection.execute(
                f"""SELECT seq, id, type, body, attempts {waiting} AND (attempts = 0 OR due_at <= ? OR due_at > ?)
                ORDER BY seq LIMIT 1""",
                (*others, at, at + LONGEST_WAIT_S),
            ).fetchone()
            if row is not None:
                return Delivery(*row)
            (due_at,) = connection.execute(f"SELECT min(due_at) {waiting}", others).fetchone()
            return float("inf") if due_at is None else float(due_at - at)

        return await self._database.read(query)

    async def attempted(self, webhook: Webhook, delivery: Delivery, attempt: Attempt) -> None:
        """Writes down how it went, and what follows from it."""
        number = delivery.attempts + 1

        def work(connection: sqlite3.Connection) -> None:
            self._log(connection, webhook, delivery, attempt)
            if attempt.verdict is Verdict.DELIVERED:
                # A body is of no further use once it is delivered, and there are people's numbers in it.
                connection.execute(
                    "UPDATE deliveries SET state = 'delivered', attempts = ?, body = x'' WHERE seq = ?",
                    (number, delivery.seq),
                )
            elif attempt.verdict is Verdict.GONE:
                connection.execute(
                    "INSERT OR IGNORE INTO gone (url, at) VALUES (?, ?)", (webhook.url, attempt.at.isoformat())
                )
                connection.execute(
                    "UPDATE deliveries SET state = 'dead' WHERE state = 'pending' AND webhook = ?", (webhook.key,)
                )
            elif attempt.next_at is None:
                connection.execute(
                    "UPDATE deliveries SET state = 'dead', attempts = ? WHERE seq = ?", (number, delivery.seq)
                )
            else:
                connection.execute(
                    "UPDATE deliveries SET attempts = ?, due_at = ? WHERE seq = ?",
                    (number, attempt.next_at.timestamp(), delivery.seq),
                )

        await self._database.write(Commit.DELIVERY_ATTEMPTED, work)
        if attempt.next_at is not None:
            self.ring()

    async def pending(self, webhook: Webhook | None = None) -> int:
        """Not yet delivered, not given up; to one webhook, or all."""
        query = "SELECT count(*) FROM deliveries WHERE state = 'pending' AND webhook = IFNULL(?, webhook)"
        key = webhook and webhook.key
        return int(await self._database.read(lambda connection: connection.execute(query, (key,)).fetchone()[0]))

    async def gone(self) -> dict[str, str]:
        """When each of the configured webhooks that answered so wanted nothing more, by its address."""
        rows = await self._database.read(lambda connection: connection.execute("SELECT url, at FROM gone").fetchall())
        return {url: at for url, at in rows if any(webhook.url == url for webhook in self._webhooks)}

    async def resume(self, webhook: Webhook) -> bool:
        """It wants what happens from now on; False when it was not gone."""

        def work(connection: sqlite3.Connection) -> bool:
            return connection.execute("DELETE FROM gone WHERE url = ?", (webhook.url,)).rowcount > 0

        return await self._database.write(Commit.WEBHOOK_RESUMED, work)

    async def log(self, webhook: Keyed) -> list[LogEntry]:
        """The newest attempts, newest first."""
        query = """SELECT seq, event_id, type, attempt, url, code, response, error, duration_ms, at, next_at
            FROM attempts WHERE webhook = ? ORDER BY seq DESC"""
        rows = await self._database.read(lambda connection: connection.execute(query, (webhook.key,)).fetchall())
        return [LogEntry(*row) for row in rows]

    async def grow_older(self) -> None:
        """To be called once an hour: what is too old goes, delivered or not."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE uptime SET hours = hours + 1")
            for table in ("deliveries", "events"):
                connection.execute(f"DELETE FROM {table} WHERE born_h <= (SELECT hours FROM uptime) - ?", (KEEP_H,))

        await self._database.write(Commit.OUTBOX_AGED, work)

    def _log(self, connection: sqlite3.Connection, webhook: Webhook, delivery: Delivery, attempt: Attempt) -> None:
        connection.execute(
            """INSERT INTO attempts
            (webhook, event_id, type, attempt, url, code, response, error, duration_ms, at, next_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                webhook.key,
                delivery.id,
                delivery.type,
                delivery.attempts + 1,
                webhook.url,
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
            (webhook.key, webhook.key, LOG_PER_WEBHOOK),
        )
