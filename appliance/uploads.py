"""Recordings on their way to the cloud, from the commit that has one encoded to the one that says it is there.

What was tried before comes after what was not: one that the cloud chokes on delays no other.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from appliance.archive import UploadState
from appliance.database import Commit, Database
from appliance.ingest import Verdict

_WAITS = "upload = 'waiting' AND deleted_at IS NULL"


@dataclass(frozen=True)
class Upload:
    """A recording that waits; `call` is the call's id as events have it, `tries` have failed."""

    id: str
    path: Path
    size_bytes: int
    sha256: str
    frames: int
    call: int
    answered_at: str | None
    tries: int


@dataclass(frozen=True)
class Waiting:
    recordings: int
    size_bytes: int
    refused: int


class Uploads:
    """`wanted`: there is a cloud that takes recordings."""

    def __init__(self, database: Database, *, wanted: bool = False) -> None:
        self.wanted = wanted
        self._database = database
        self._news = trio.Event()

    @property
    def first(self) -> UploadState | None:
        """Of a recording that was just encoded."""
        return UploadState.WAITING if self.wanted else None

    def ring(self) -> None:
        """Wakes who waits for `news`: another recording is there."""
        self._news.set()
        self._news = trio.Event()

    @property
    def news(self) -> trio.Event:
        return self._news

    async def next(self) -> Upload | None:
        query = f"""SELECT recordings.id, wav, size_bytes, sha256, frames, calls.id, calls.answered_at, upload_tries
            FROM recordings JOIN calls ON calls.id = call_id WHERE {_WAITS}
            ORDER BY upload_tries, recordings.rowid LIMIT 1"""
        rows = await self._rows(query)
        for id_, wav, *facts in rows:
            return Upload(id_, Path(wav).with_suffix(".mp3"), *facts)
        return None

    async def tried(self, upload: Upload, verdict: Verdict) -> None:
        """Writes down what became of it; of one that was deleted meanwhile, nothing."""
        if verdict is Verdict.AGAIN:
            statement = f"UPDATE recordings SET upload_tries = upload_tries + 1 WHERE id = ? AND {_WAITS}"
            values: tuple[object, ...] = (upload.id,)
        else:
            statement = f"UPDATE recordings SET upload = ? WHERE id = ? AND {_WAITS}"
            values = (UploadState.UPLOADED if verdict is Verdict.TAKEN else UploadState.REFUSED, upload.id)
        await self._execute(statement, *values)

    async def give_up(self) -> int:
        """Where there is no cloud any more nothing waits for it. How many did."""
        return await self._execute("UPDATE recordings SET upload = NULL WHERE upload = 'waiting'")

    async def retry(self) -> int:
        """Whatever was refused waits again. How many were."""
        statement = "UPDATE recordings SET upload = 'waiting', upload_tries = 0 WHERE upload = 'refused'"
        return await self._execute(statement)

    async def waiting(self) -> Waiting:
        query = f"""SELECT count(*), IFNULL(sum(size_bytes), 0),
            (SELECT count(*) FROM recordings WHERE upload = 'refused') FROM recordings WHERE {_WAITS}"""
        return Waiting(*(await self._rows(query))[0])

    async def _execute(self, statement: str, *values: object) -> int:
        def work(connection: sqlite3.Connection) -> int:
            return connection.execute(statement, values).rowcount

        return await self._database.write(Commit.RECORDING_UPLOADED, work)

    async def _rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        return await self._database.read(lambda connection: connection.execute(query).fetchall())
