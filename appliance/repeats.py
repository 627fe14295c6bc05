"""Requests that may come again: what was answered to the first is answered to the others (phonevoice 3).

Only what succeeded is kept: a refusal has done nothing, so to try again is safe. It is kept in the commit of what was
done, so that whatever a crash leaves of an attempt, it is both or none. What is under way is known to this process
alone: the key of an attempt that died before its commit is free.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from appliance.database import Also, Database

# Hours of the box being up, as the age of what is delivered is counted (`outbox`).
KEEP_H = 24


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    replayed: bool = False


class StillRunning(Exception):
    """The first request with this key is not answered yet."""


class AnotherBody(Exception):
    """The key was of a request that said something else."""


class Repeats:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: dict[tuple[str, str, str], str] = {}

    async def once(
        self, token: str, path: str, key: str, body: bytes, work: Callable[[Also[Answer]], Awaitable[Answer]]
    ) -> Answer:
        """What `work` answers, or what it did for the first request of this token with this key. A token is a digest.

        `work` is handed what keeps its answer, for the commit of what it does; a refusal has none.

        Raises:
            StillRunning, AnotherBody: and nothing was done.
        """
        place, digest = (token, path, key), sha256(body).hexdigest()
        if place in self._running:
            raise AnotherBody if self._running[place] != digest else StillRunning
        self._running[place] = digest
        try:
            if (kept := await self._kept(place)) is not None:
                before, answer = kept
                if before != digest:
                    raise AnotherBody
                return answer
            return await work(partial(_keep, place, digest))
        finally:
            del self._running[place]

    async def _kept(self, place: tuple[str, str, str]) -> tuple[str, Answer] | None:
        query = """SELECT body_sha256, status, answer FROM repeats WHERE token = ? AND path = ? AND key = ?
            AND born_h > (SELECT hours FROM uptime) - ?"""
        row = await self._database.read(lambda connection: connection.execute(query, (*place, KEEP_H)).fetchone())
        return None if row is None else (row[0], Answer(row[1], row[2], replayed=True))


def _keep(place: tuple[str, str, str], digest: str, connection: sqlite3.Connection, answer: Answer) -> None:
    connection.execute("DELETE FROM repeats WHERE born_h <= (SELECT hours FROM uptime) - ?", (KEEP_H,))
    connection.execute(
        """INSERT INTO repeats (token, path, key, body_sha256, status, answer, born_h)
        VALUES (?, ?, ?, ?, ?, ?, (SELECT hours FROM uptime))""",
        (*place, digest, answer.status, answer.body),
    )
