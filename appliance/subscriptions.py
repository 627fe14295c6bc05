"""Webhooks that a project's customers make, change and delete over the API, beside those of the configuration.

A webhook that is off gets nothing: what waits for it is void in the same commit, and what happens until it is on again
is not made up for. Its secret signs, so it is kept as it is; it is told once, to whom it was made for.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_urlsafe

from appliance.database import Also, Commit, Database, nothing_else
from appliance.events import wanted

# 6
MOST_PER_PROJECT = 20

_COLUMNS = "id, project, url, subscriptions.name, events, active, created_at, off_reason, failing.since"
# The key of one is that of its deliveries, attempts and failures.
PREFIX = "subscription:"
_SUBSCRIPTIONS = f"subscriptions LEFT JOIN failing ON failing.webhook = '{PREFIX}' || id"


class TooMany(Exception):
    """A project has as many as it may; the text says how many."""


@dataclass(frozen=True)
class Subscription:
    """Times are ISO 8601 text. `off_reason` is why the box switched it off by itself, `failing_since` is when the first
    of its failures was after which nothing was delivered.
    """

    id: int
    project: int
    url: str
    name: str | None
    events: tuple[str, ...]
    active: bool
    created_at: str
    off_reason: str | None = None
    failing_since: str | None = None

    @property
    def key(self) -> str:
        return f"{PREFIX}{self.id}"


def new_secret() -> str:
    """What events are signed with (6)."""
    return "whsec_" + token_urlsafe(32)


class Subscriptions:
    """`ring` is called when there is another, or one is not as it was."""

    def __init__(self, database: Database, ring: Callable[[], None]) -> None:
        self._database = database
        self._ring = ring

    async def create(
        self,
        project: int,
        url: str,
        *,
        name: str | None = None,
        events: Sequence[str] = ("*",),
        at: datetime,
        also: Also[tuple[Subscription, str]] = nothing_else,
    ) -> tuple[Subscription, str]:
        """It, and its secret, which nobody is told again. The values are the caller's to check.

        Raises:
            TooMany: nothing was made.
        """
        secret = new_secret()
        facts = (
            project,
            url,
            name,
            json.dumps(list(events)),
            secret,
            at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

        def work(connection: sqlite3.Connection) -> tuple[Subscription, str]:
            (count,) = connection.execute("SELECT count(*) FROM subscriptions WHERE project = ?", (project,)).fetchone()
            if count >= MOST_PER_PROJECT:
                raise TooMany(f"a project has {MOST_PER_PROJECT} webhooks at most")
            statement = """INSERT INTO subscriptions (project, url, name, events, secret, created_at, active)
                VALUES (?, ?, ?, ?, ?, ?, 1)"""
            made = _one(connection, connection.execute(statement, facts).lastrowid)
            assert made is not None
            also(connection, (made, secret))
            return made, secret

        made = await self._database.write(Commit.WEBHOOK_SAVED, work)
        self._ring()
        return made

    async def page(self, project: int, *, offset: int, limit: int) -> tuple[list[Subscription], int]:
        """Newest first, and how many there are in all."""
        query = f"SELECT {_COLUMNS} FROM {_SUBSCRIPTIONS} WHERE project = ? ORDER BY id DESC LIMIT ? OFFSET ?"
        count = "SELECT count(*) FROM subscriptions WHERE project = ?"

        def read(connection: sqlite3.Connection) -> tuple[list[Subscription], int]:
            rows = connection.execute(query, (project, limit, offset)).fetchall()
            return [_of(row) for row in rows], connection.execute(count, (project,)).fetchone()[0]

        return await self._database.read(read)

    async def get(self, id_: int) -> Subscription | None:
        """Of whichever project."""
        return await self._database.read(lambda connection: _one(connection, id_))

    async def change(self, id_: int, changes: Mapping[str, str | bool | Sequence[str] | None]) -> Subscription | None:
        """It with new values in fields of these names: url, name, events, active. None: there is no such webhook."""
        assert changes.keys() <= {"url", "name", "events", "active"}
        values = {name: json.dumps(list(v)) if isinstance(v, list | tuple) else v for name, v in changes.items()}
        setting = ", ".join(f"{name} = ?" for name in values)

        def work(connection: sqlite3.Connection) -> Subscription | None:
            before = _one(connection, id_)
            if before is None or not values:
                return before
            connection.execute(f"UPDATE subscriptions SET {setting} WHERE id = ?", (*values.values(), id_))
            if values.get("active") is False:
                silence(connection, before.key)
            if values.get("active") is True or "url" in values:
                # Its failures are those of another time, or of another place.
                connection.execute("UPDATE subscriptions SET off_reason = NULL WHERE id = ? AND active", (id_,))
                connection.execute("DELETE FROM failing WHERE webhook = ?", (before.key,))
            return _one(connection, id_)

        changed = await self._database.write(Commit.WEBHOOK_SAVED, work)
        self._ring()
        return changed

    async def delete(self, id_: int) -> bool:
        """With what waits for it, and its log. False: there is no such webhook."""
        key = f"{PREFIX}{id_}"

        def work(connection: sqlite3.Connection) -> bool:
            silence(connection, key)
            for table in ("failing", "attempts"):
                connection.execute(f"DELETE FROM {table} WHERE webhook = ?", (key,))
            return connection.execute("DELETE FROM subscriptions WHERE id = ?", (id_,)).rowcount > 0

        deleted = await self._database.write(Commit.WEBHOOK_DELETED, work)
        self._ring()
        return deleted


# --- within the transactions of others ------------------------------------------------------------------------------


def subscribers(connection: sqlite3.Connection, project: int, event_type: str) -> list[str]:
    """The keys of the project's webhooks that are to be told of events of this type."""
    query = "SELECT id, events FROM subscriptions WHERE project = ? AND active ORDER BY id"
    rows = connection.execute(query, (project,))
    return [f"{PREFIX}{id_}" for id_, events in rows if wanted(json.loads(events), event_type)]


def is_active(connection: sqlite3.Connection, key: str) -> bool:
    query = "SELECT 1 FROM subscriptions WHERE id = ? AND active"
    return connection.execute(query, (int(key.removeprefix(PREFIX)),)).fetchone() is not None


def switch_off(connection: sqlite3.Connection, key: str, reason: str) -> Subscription:
    """By the box itself, for a reason that is for people."""
    id_ = int(key.removeprefix(PREFIX))
    connection.execute("UPDATE subscriptions SET active = 0, off_reason = ? WHERE id = ?", (reason, id_))
    switched = _one(connection, id_)
    assert switched is not None
    return switched


def silence(connection: sqlite3.Connection, key: str, url: str | None = None) -> None:
    """What waits for the webhook of this key is void; of what has addresses of its own, what waits for this one."""
    # One after the other: each has an index.
    for tried in ("attempts = 0", "attempts > 0"):
        connection.execute(
            f"""UPDATE deliveries SET state = 'dead'
            WHERE state = 'pending' AND {tried} AND webhook = ? AND url IS ?""",
            (key, url),
        )


def _one(connection: sqlite3.Connection, id_: int | None) -> Subscription | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM {_SUBSCRIPTIONS} WHERE id = ?", (id_,)).fetchone()
    return None if row is None else _of(row)


def _of(row: Sequence[object]) -> Subscription:
    id_, project, url, name, events, active, *rest = row
    return Subscription(id_, project, url, name, tuple(json.loads(str(events))), bool(active), *rest)  # type: ignore[arg-type]
