"""What becomes of recordings, as the database has it: begun, made small and told, deleted; and which may be deleted.

A recording's row outlives its file: it says when that was deleted, why, and by whom.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from appliance.archive import CALL_COLUMNS, call_of, text_of
from appliance.call import Call
from appliance.database import Commit, Database
from appliance.events import of_call
from appliance.legacy import Legacy
from appliance.links import Links
from appliance.outbox import Outbox
from appliance.uploads import Uploads


class Why(StrEnum):
    """Why a recording was deleted."""

    ORDERED = "ordered"  # over HTTP, by the owner of a key
    EXPIRED = "expired"  # it had been kept for its time
    ROOM = "room"  # it was among the oldest when the disk, or what recordings may have of it, was full


class Encoded(Protocol):
    """What is to be known of a recording's final file."""

    @property
    def frames(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True)
class Kept:
    """One that may be deleted."""

    id: str
    mp3: Path
    size_bytes: int


# Whose call is over and told to everybody who wants to be, as what is not delivered yet has its address; and which the
# cloud has, if it is to have it.
_FREE = """sha256 IS NOT NULL AND deleted_at IS NULL
    AND EXISTS (SELECT 1 FROM calls WHERE calls.id = call_id AND ended_at IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.call_id = recordings.call_id AND state = 'pending')
    AND upload IS NOT 'waiting'"""


class Recordings:
    """Without `links` nobody is told where a recording is."""

    def __init__(
        self, database: Database, outbox: Outbox, uploads: Uploads, legacy: Legacy, links: Links | None
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._legacy = legacy
        self._uploads = uploads
        self._links = links

    async def open(self, call_id: int, wav: Path) -> None:
        statement = """INSERT INTO recordings (wav, id, call_id, born_h)
            VALUES (?, ?, ?, (SELECT hours FROM uptime))"""
        await self._execute(Commit.RECORDING_OPENED, statement, str(wav), wav.stem, call_id)

    async def unfinished(self) -> list[Path]:
        """Not yet encoded, oldest first. At the start of the service these are what a crash cut off."""
        query = "SELECT wav FROM recordings WHERE sha256 IS NULL AND deleted_at IS NULL ORDER BY rowid"
        rows = await self._database.read(lambda connection: connection.execute(query).fetchall())
        return [Path(wav) for (wav,) in rows]

    async def dropped(self, wav: Path, at: datetime) -> None:
        """There is nothing in it."""

        def work(connection: sqlite3.Connection) -> None:
            statement = "DELETE FROM recordings WHERE wav = ? RETURNING call_id"
            for (call_id,) in connection.execute(statement, (str(wav),)).fetchall():
                self._legacy.recorded(connection, call_id, at)

        await self._database.write(Commit.RECORDING_ENCODED, work)
        self._outbox.ring()

    async def encoded(self, wav: Path, file: Encoded, at: datetime) -> None:
        """Its MP3 is safe. If its call has ended by now, that is told again, with the address (7.4); or else the
        call's end will have it.
        """

        def work(connection: sqlite3.Connection) -> None:
            statement = """UPDATE recordings SET frames = ?, size_bytes = ?, sha256 = ?, upload = ? WHERE wav = ?
                RETURNING call_id, id"""
            facts = (file.frames, file.size_bytes, file.sha256, self._uploads.first, str(wav))
            ((call_id, id_),) = connection.execute(statement, facts).fetchall()
            again = f"""UPDATE calls SET revision = revision + 1 WHERE id = ? AND ended_at IS NOT NULL
                RETURNING {CALL_COLUMNS}"""
            url = None
            for row in connection.execute(again, (call_id,)).fetchall() if self._links else ():
                call = call_of(row)
                url = self._url(call, id_, at)
                self._outbox.put(connection, of_call(call, at, recording_url=url))
            self._legacy.recorded(connection, call_id, at, url)

        await self._database.write(Commit.RECORDING_ENCODED, work)
        self._outbox.ring()
        self._uploads.ring()

    def url(self, connection: sqlite3.Connection, call: Call, at: datetime) -> str | None:
        """The address of the call's newest recording that can be heard."""
        query = """SELECT id FROM recordings WHERE call_id = ? AND sha256 IS NOT NULL AND deleted_at IS NULL
            ORDER BY rowid DESC LIMIT 1"""
        row = connection.execute(query, (call.id,)).fetchone()
        return self._url(call, row[0], at) if row else None

    async def urls(self, calls: Sequence[Call], at: datetime) -> list[str | None]:
        """The same of each, for who asks: good for another seven days."""
        return await self._database.read(lambda connection: [self.url(connection, call, at) for call in calls])

    def _url(self, call: Call, id_: str, at: datetime) -> str | None:
        return self._links.recording(call, id_, at) if self._links else None

    # --- what goes --------------------------------------------------------------------------------------------------

    async def deleted(self, ids: Sequence[str], why: Why, at: datetime, *, by: str | None = None) -> None:
        """`by` is the id of a key; None: the box itself."""
        statement = """UPDATE recordings SET deleted_at = ?, deleted_why = ?, deleted_by = ?
            WHERE id = ? AND deleted_at IS NULL"""
        rows = [(text_of(at), why.value, by, id_) for id_ in ids]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(statement, rows)

        await self._database.write(Commit.RECORDING_DELETED, work)

    async def expired(self, hours: int, *, limit: int) -> list[Kept]:
        """Those that may go and are older than this, in hours of the box being up."""
        return await self._free(f"{_FREE} AND born_h <= (SELECT hours FROM uptime) - ?", hours, limit)

    async def oldest(self, *, limit: int) -> list[Kept]:
        """Of those that may go."""
        return await self._free(_FREE, limit)

    async def size_bytes(self) -> int:
        """Of all together."""
        query = "SELECT IFNULL(sum(size_bytes), 0) FROM recordings WHERE deleted_at IS NULL"
        return int(await self._database.read(lambda connection: connection.execute(query).fetchone()[0]))

    async def _free(self, condition: str, *values: int) -> list[Kept]:
        query = f"SELECT id, wav, size_bytes FROM recordings WHERE {condition} ORDER BY rowid LIMIT ?"
        rows = await self._database.read(lambda connection: connection.execute(query, values).fetchall())
        return [Kept(id_, Path(wav).with_suffix(".mp3"), size_bytes) for id_, wav, size_bytes in rows]

    async def _execute(self, commit: Commit, statement: str, *values: object) -> None:
        await self._database.write(commit, lambda connection: connection.execute(statement, values))
