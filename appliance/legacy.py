"""Calls as the older generation of PhoneVoice's contract tells them: to an address that came with the order (10).

Its last event comes once: when the recording is there, or when that has taken too long. What waits for that is in the
database, so that a crash forgets none and tells none twice.
"""

import math
import sqlite3
from collections.abc import Callable
from datetime import datetime

import structlog
import trio

from appliance.archive import CALL_COLUMNS, call_of
from appliance.call import Call
from appliance.database import Commit, Database, StoreError
from appliance.events import LEGACY_COMPLETED, legacy_of_call
from appliance.outbox import Outbox

log = structlog.get_logger(__name__)

# 10: so long is the recording waited for. By the service's own time, from its start on for what a crash left.
WAIT_S = 120
WRITE_AGAIN_S = 60


class Legacy:
    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._news = trio.Event()

    def changed(self, connection: sqlite3.Connection, call: Call, at: datetime, recording_url: str | None) -> bool:
        """Within the transaction of the change. True: its end waits for the recording, and when that is committed,
        `ring`.
        """
        event = legacy_of_call(call, at, recording_url=recording_url)
        if event is None:
            return False
        if event.event == LEGACY_COMPLETED and _is_being_made(connection, call.id):
            connection.execute("INSERT INTO legacy_ends (call_id) VALUES (?)", (call.id,))
            return True
        self._outbox.put_legacy(connection, event)
        return False

    def recorded(self, connection: sqlite3.Connection, call_id: int, at: datetime, url: str | None = None) -> bool:
        """Within the transaction of that: the call's recording is there, or there is none. False: nothing waited for
        it.
        """
        if not connection.execute("DELETE FROM legacy_ends WHERE call_id = ?", (call_id,)).rowcount:
            return False
        row = connection.execute(f"SELECT {CALL_COLUMNS} FROM calls WHERE id = ?", (call_id,)).fetchone()
        event = legacy_of_call(call_of(row), at, recording_url=url)
        assert event is not None
        self._outbox.put_legacy(connection, event)
        return True

    def ring(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def run(self, *, now: Callable[[], datetime]) -> None:
        """Tells what has waited for long enough, until cancelled."""
        until: dict[int, float] = {}
        while True:
            news = self._news
            at = trio.current_time()
            try:
                until = {call_id: until.get(call_id, at + WAIT_S) for call_id in await self._waiting()}
                for call_id in [call_id for call_id, due in until.items() if due <= at]:
                    await self.give_up(call_id, now())
                    del until[call_id]
            except StoreError as exc:
                log.error("the end of a call not told", error=str(exc))
                await trio.sleep(WRITE_AGAIN_S)
                continue
            with trio.move_on_at(min(until.values(), default=math.inf)):
                await news.wait()

    async def _waiting(self) -> list[int]:
        query = "SELECT call_id FROM legacy_ends ORDER BY call_id"
        rows = await self._database.read(lambda connection: connection.execute(query).fetchall())
        return [call_id for (call_id,) in rows]

    async def give_up(self, call_id: int, at: datetime) -> None:
        """Its end is told without the recording, if it waits for that."""

        def work(connection: sqlite3.Connection) -> bool:
            return self.recorded(connection, call_id, at)

        if await self._database.write(Commit.LEGACY_GIVEN_UP, work):
            self._outbox.ring()
            log.warning("the end of a call is told without its recording", call=call_id)


def _is_being_made(connection: sqlite3.Connection, call_id: int) -> bool:
    query = "SELECT 1 FROM recordings WHERE call_id = ? AND sha256 IS NULL AND deleted_at IS NULL"
    return connection.execute(query, (call_id,)).fetchone() is not None
