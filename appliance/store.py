"""What the box remembers: apps, their numbers, keys and calls. What is asked of what was is in `archive`.

Facts that must be true together are one commit: a call's change of state, and the events that tell it.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from appliance.archive import CALL_COLUMNS, Archive, call_of, text_of
from appliance.call import Call, Direction, Ended, Kind, State
from appliance.casebook import Casebook
from appliance.claims import SFVOPI, NumberTaken, claim, claimed, release
from appliance.config import Webhook
from appliance.contracts.sfvopi import App, Link
from appliance.database import Also, Commit, Database, nothing_else, open_database
from appliance.directory import Directory
from appliance.events import of_call
from appliance.legacy import Legacy
from appliance.links import Links
from appliance.mailbox import Mailbox
from appliance.options import Options
from appliance.outbox import Outbox
from appliance.recordings import Recordings
from appliance.repeats import Repeats
from appliance.subscriptions import Subscriptions
from appliance.tenants import Tenants
from appliance.uploads import Uploads

APP_COLUMNS = ", ".join(field.name for field in fields(App))


# Of its digest, to name a key by: enough to tell them apart, and no help in finding one.
KEY_ID_LENGTH = 12


@dataclass(frozen=True)
class Key:
    """Of a key for the API nobody knows more. Times are ISO 8601 text."""

    id: str
    name: str
    created_at: str
    revoked_at: str | None


def new_key() -> tuple[str, str]:
    """For the header X-API-Key, and its digest, which is all that is kept of it."""
    key = "sfv_key_" + token_urlsafe(32)
    return key, sha256(key.encode()).hexdigest()


def key_id(key: str) -> str:
    return sha256(key.encode()).hexdigest()[:KEY_ID_LENGTH]


class Store:
    """Open with `open_store`."""

    def __init__(
        self, database: Database, outbox: Outbox, *, uploads: bool = False, links: Links | None = None
    ) -> None:
        self.outbox = outbox
        self.uploads = Uploads(database, wanted=uploads)
        self.legacy = Legacy(database, outbox)
        self.recordings = Recordings(database, outbox, self.uploads, self.legacy, links)
        self.subscriptions = Subscriptions(database, outbox.ring)
        self.mailbox = Mailbox(database, outbox)
        self.casebook = Casebook(database, outbox)
        self.archive = Archive(database)
        self.tenants = Tenants(database)
        self.directory = Directory(database)
        self.repeats = Repeats(database)
        self._database = database

    # --- apps and their numbers -------------------------------------------------------------------------------------

    async def save_app(self, app: App) -> None:
        """New, or in the place of the one with its id."""
        changes = ", ".join(f"{field.name} = excluded.{field.name}" for field in fields(App)[1:])
        statement = f"""INSERT INTO apps ({APP_COLUMNS}) VALUES ({", ".join("?" * len(fields(App)))})
            ON CONFLICT (app_id) DO UPDATE SET {changes}"""
        await self._execute(Commit.APP_SAVED, statement, *astuple(app))

    async def apps(self) -> list[App]:
        """Newest first."""
        # By the order of their making: the clock may have been wrong.
        return [App(*row) for row in await self._rows(f"SELECT {APP_COLUMNS} FROM apps ORDER BY rowid DESC")]

    async def app(self, app_id: str) -> App | None:
        rows = await self._rows(f"SELECT {APP_COLUMNS} FROM apps WHERE app_id = ?", app_id)
        return App(*rows[0]) if rows else None

    async def change_app(self, app_id: str, changes: Mapping[str, str | None]) -> App | None:
        """The app with new values in fields of these names; None when there is none."""
        setting = ", ".join(f"{name} = ?" for name in changes)

        def work(connection: sqlite3.Connection) -> App | None:
            if changes:
                connection.execute(f"UPDATE apps SET {setting} WHERE app_id = ?", (*changes.values(), app_id))
            row = connection.execute(f"SELECT {APP_COLUMNS} FROM apps WHERE app_id = ?", (app_id,)).fetchone()
            return App(*row) if row else None

        return await self._database.write(Commit.APP_SAVED, work)

    async def delete_app(self, app_id: str) -> bool:
        """Its numbers become unlinked. False when there is none."""

        def work(connection: sqlite3.Connection) -> bool:
            for (number,) in connection.execute("SELECT number FROM links WHERE app_id = ?", (app_id,)).fetchall():
                release(connection, number)
            return connection.execute("DELETE FROM apps WHERE app_id = ?", (app_id,)).rowcount > 0

        return await self._database.write(Commit.APP_DELETED, work)

    async def link(self, link: Link) -> Link | None:
        """The number's link as it now is: an older one stays, to whichever app. None: neither link nor app is there.

        Raises:
            NumberTaken: by another contract.
        """

        def work(connection: sqlite3.Connection) -> Link | None:
            inserted = connection.execute(
                """INSERT INTO links (number, app_id, created_at) SELECT ?, app_id, ? FROM apps WHERE app_id = ?
                ON CONFLICT (number) DO NOTHING""",
                (link.number, link.created_at, link.app_id),
            )
            if inserted.rowcount and (holder := claim(connection, link.number, SFVOPI)):
                raise NumberTaken(holder)
            found = "SELECT app_id, number, created_at FROM links WHERE number = ?"
            row = connection.execute(found, (link.number,)).fetchone()
            return Link(*row) if row else None

        return await self._database.write(Commit.NUMBER_LINKED, work)

    async def links(self, app_id: str) -> list[Link]:
        """Newest first."""
        query = "SELECT app_id, number, created_at FROM links WHERE app_id = ? ORDER BY rowid DESC"
        return [Link(*row) for row in await self._rows(query, app_id)]

    async def claimed_numbers(self) -> set[str]:
        """By whichever contract."""
        return await self._database.read(claimed)

    async def unlink(self, app_id: str, number: str) -> bool:
        """False when it was not linked to this app."""

        def work(connection: sqlite3.Connection) -> bool:
            statement = "DELETE FROM links WHERE app_id = ? AND number = ?"
            if not connection.execute(statement, (app_id, number)).rowcount:
                return False
            release(connection, number)
            return True

        return await self._database.write(Commit.NUMBER_UNLINKED, work)

    async def app_of_number(self, number: str) -> App | None:
        query = f"SELECT {APP_COLUMNS} FROM apps WHERE app_id = (SELECT app_id FROM links WHERE number = ?)"
        rows = await self._rows(query, number)
        return App(*rows[0]) if rows else None

    async def options(self, app_id: str) -> Options | None:
        """None: there is no such app."""
        query = "SELECT options FROM apps LEFT JOIN app_options USING (app_id) WHERE app_id = ?"
        rows = await self._rows(query, app_id)
        return Options.of(rows[0][0]) if rows else None

    async def set_options(self, app_id: str, options: Options) -> bool:
        """False: there is no such app."""
        statement = """INSERT INTO app_options (app_id, options) SELECT app_id, ? FROM apps WHERE app_id = ?
            ON CONFLICT (app_id) DO UPDATE SET options = excluded.options"""
        return await self._execute(Commit.APP_OPTIONS_SET, statement, options.model_dump_json(), app_id) > 0

    # --- keys -------------------------------------------------------------------------------------------------------

    async def add_key(self, sha256: str, *, name: str, at: datetime) -> Key:
        """Only the digest is kept: who reads the file can't use the API."""
        statement = "INSERT INTO keys (sha256, name, created_at) VALUES (?, ?, ?)"
        await self._execute(Commit.KEY_ADDED, statement, sha256, name, text_of(at))
        return Key(sha256[:KEY_ID_LENGTH], name, text_of(at), None)

    async def key_known(self, sha256: str) -> bool:
        query = "SELECT 1 FROM keys WHERE sha256 = ? AND revoked_at IS NULL"
        return bool(await self._rows(query, sha256))

    async def has_key(self) -> bool:
        """Whether anybody may use the API at all."""
        return bool(await self._rows("SELECT 1 FROM keys WHERE revoked_at IS NULL LIMIT 1"))

    async def keys(self) -> list[Key]:
        """Oldest first."""
        rows = await self._rows("SELECT sha256, name, created_at, revoked_at FROM keys ORDER BY rowid")
        return [Key(sha256[:KEY_ID_LENGTH], *facts) for sha256, *facts in rows]

    async def revoke_keys(self, name: str, *, at: datetime) -> int:
        """All keys of that name; how many there were."""
        statement = "UPDATE keys SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL"
        return await self._execute(Commit.KEY_REVOKED, statement, _text(at), name)

    async def revoke_key(self, id_: str, *, at: datetime) -> bool:
        """False: it is the last that is valid, and nothing was done. Of a key that is void already: True."""
        statement = """UPDATE keys SET revoked_at = IFNULL(revoked_at, ?) WHERE substr(sha256, 1, ?) = ?
            AND (revoked_at IS NOT NULL OR (SELECT count(*) FROM keys WHERE revoked_at IS NULL) > 1)"""
        return await self._execute(Commit.KEY_REVOKED, statement, _text(at), KEY_ID_LENGTH, id_) > 0

    # --- calls ------------------------------------------------------------------------------------------------------

    async def open_call(
        self,
        *,
        uuid: str,
        line: str,
        direction: Direction,
        from_: str,
        to: str,
        state: State,
        started_at: datetime,
        route: str,
        request_uuid: str | None = None,
        app_id: str | None = None,
        kind: Kind = Kind.APP,
        project: int | None = None,
        relay_number: str | None = None,
        details: Mapping[str, Any] | None = None,
        also: Also[Call] = nothing_else,
    ) -> Call:
        """`route` is the kind's own text, kept for whoever closes the call. Its being there is told, too."""

        def work(connection: sqlite3.Connection) -> Call:
            statement = """INSERT INTO calls
                (uuid, line, direction, from_, to_, state, started_at, route, request_uuid, app_id,
                kind, project, relay_number, details)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
            facts = (uuid, line, direction.value, from_, to, state.value, _text(started_at), route)
            of_kind = (kind.value, project, relay_number, json.dumps(details or {}))
            cursor = connection.execute(statement, (*facts, request_uuid, app_id, *of_kind))
            call = f"SELECT {CALL_COLUMNS} FROM calls WHERE id = ?"
            opened = call_of(connection.execute(call, (cursor.lastrowid,)).fetchone())
            self.outbox.put(connection, of_call(opened, started_at))
            also(connection, opened)
            return opened

        call = await self._database.write(Commit(f"call.{state.value}"), work)
        self.outbox.ring()
        return call

    async def save(self, call: Call, *, told_at: datetime | None = None) -> None:
        """The call's change, which is told as of `told_at`, or not at all. With a call all its legs end.

        Raises:
            ValueError: the call has ended before; its end is told once.
        """
        times = [_text(at) for at in (call.started_at, call.answered_at, call.joined_at, call.ended_at)]
        end = (call.end.reason.value, call.end.cause) if call.end else (None, None)
        joins = call.joined_at is not None and call.end is None

        def work(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                """UPDATE calls SET state = ?, line = ?, from_ = ?, started_at = ?, answered_at = ?, joined_at = ?,
                ended_at = ?, reason = ?, cause = ?, details = ? WHERE id = ? AND ended_at IS NULL""",
                (call.state.value, call.line, call.from_, *times, *end, json.dumps(call.details), call.id),
            )
            if cursor.rowcount != 1:
                raise ValueError(f"call {call.id} is not open")
            if call.end:
                ended = "UPDATE legs SET ended_at = ?, reason = ?, cause = ? WHERE call_id = ? AND ended_at IS NULL"
                connection.execute(ended, (_text(call.ended_at), *end, call.id))
            if told_at is None:
                return False
            recording_url = self.recordings.url(connection, call, told_at) if call.end else None
            self.outbox.put(connection, of_call(call, told_at, recording_url=recording_url))
            return self.legacy.changed(connection, call, told_at, recording_url)

        commit = Commit.CALL_JOINED if joins else Commit(f"call.{call.state.value}")
        waits = await self._database.write(commit, work)
        if told_at is not None:
            self.outbox.ring()
        if waits:
            self.legacy.ring()

    async def open_leg(
        self, call_id: int, *, line: str, role: str, to: str, at: datetime, also: Also[int] = nothing_else
    ) -> int:
        """One more line of the call is to dial. Its id."""

        def work(connection: sqlite3.Connection) -> int:
            statement = "INSERT INTO legs (call_id, line, role, to_, dialed_at) VALUES (?, ?, ?, ?, ?)"
            leg_id = connection.execute(statement, (call_id, line, role, to, _text(at))).lastrowid or 0
            also(connection, leg_id)
            return leg_id

        return await self._database.write(Commit.LEG_DIALED, work)

    async def leg_answered(self, leg_id: int, at: datetime) -> None:
        statement = "UPDATE legs SET answered_at = ? WHERE id = ? AND ended_at IS NULL"
        await self._execute(Commit.LEG_ANSWERED, statement, _text(at), leg_id)

    async def leg_ended(self, leg_id: int, end: Ended, at: datetime) -> None:
        """With its call it may have ended already, and stays so."""
        statement = "UPDATE legs SET ended_at = ?, reason = ?, cause = ? WHERE id = ? AND ended_at IS NULL"
        await self._execute(Commit.LEG_ENDED, statement, _text(at), end.reason.value, end.cause, leg_id)

    async def call(self, call_id: int) -> Call | None:
        rows = await self._rows(f"SELECT {CALL_COLUMNS} FROM calls WHERE id = ?", call_id)
        return call_of(rows[0]) if rows else None

    async def open_calls(self) -> list[tuple[Call, str]]:
        """With their routes, oldest first. At the start of the service these are what a crash cut off."""
        rows = await self._rows(f"SELECT {CALL_COLUMNS}, route FROM calls WHERE ended_at IS NULL ORDER BY id")
        return [(call_of(row[:-1]), row[-1]) for row in rows]

    async def minutes_used(self, line: str, since: Sequence[datetime]) -> list[int]:
        """Minutes begun of calls that the line dialed, as their own or as one more line, and that were answered since
        each of these times; of test calls, too, as the operator knows no difference.
        """
        minutes = "IFNULL(SUM(MAX(1, (unixepoch(ended_at) - unixepoch(answered_at) + 59) / 60)), 0)"
        begun = f"""SELECT {minutes} FROM calls
            WHERE line = ? AND direction = ? AND answered_at >= ? AND ended_at IS NOT NULL"""
        joined = f"SELECT {minutes} FROM legs WHERE line = ? AND answered_at >= ? AND ended_at IS NOT NULL"
        tested = """SELECT IFNULL(SUM(CAST((talked_s + 59.9) / 60 AS INTEGER)), 0) FROM test_calls
            WHERE caller = ? AND at >= ? AND talked_s > 0"""

        def count(connection: sqlite3.Connection) -> list[int]:
            used = []
            for at in map(_text, since):
                (calls,) = connection.execute(begun, (line, Direction.OUTBOUND.value, at)).fetchone()
                (legs,) = connection.execute(joined, (line, at)).fetchone()
                (tests,) = connection.execute(tested, (line, at)).fetchone()
                used.append(calls + legs + tests)
            return used

        return await self._database.read(count)

    async def measured(self, call_id: int, receipt: str) -> None:
        """What was measured of a call that has ended, as JSON."""
        await self._execute(Commit.CALL_MEASURED, "UPDATE calls SET receipt = ? WHERE id = ?", receipt, call_id)

    # ----------------------------------------------------------------------------------------------------------------

    async def _execute(self, commit: Commit, statement: str, *values: object) -> int:
        """How many rows it changed."""
        return await self._database.write(commit, lambda connection: connection.execute(statement, values).rowcount)

    async def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._database.read(lambda connection: connection.execute(query, values).fetchall())


def _text(at: datetime | None) -> str | None:
    return None if at is None else text_of(at)


@asynccontextmanager
async def open_store(
    path: Path,
    webhooks: Iterable[Webhook] = (),
    *,
    others: Iterable[Webhook] = (),
    uploads: bool = False,
    links: Links | None = None,
) -> AsyncIterator[Store]:
    """Events go into the outbox for `webhooks`, and for `others`, who take them out by themselves; recordings wait for
    the cloud where there is one for `uploads`, and are told with addresses where there are `links`.

    Raises:
        StoreError: the file can't be used; the message is for people.
    """
    async with open_database(path) as database:
        yield Store(database, Outbox(database, webhooks, others), uploads=uploads, links=links)
