"""What is remembered of lines' health: test calls with their figures, who is ill, and since when.

That a line falls ill or is well again is told by an event, in the commit of what was found.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from appliance.ailments import Finding
from appliance.database import Commit, Database
from appliance.diagnosis import History, TestCall
from appliance.events import of_health
from appliance.outbox import Outbox

# Some months of nights: what is usual, and what lines spend this month.
KEEP_CALLS = 5000
# What is usual is that of the last so many.
HISTORY_CALLS = 30


class Casebook:
    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    async def history(self) -> History:
        """The last figures of each speaker at each listener, newest first."""
        query = """SELECT speaker, listener, figures FROM (
            SELECT *, row_number() OVER (PARTITION BY speaker, listener ORDER BY seq DESC) AS place FROM test_ways)
            WHERE place <= ? ORDER BY seq DESC"""
        rows = await self._database.read(lambda connection: connection.execute(query, (HISTORY_CALLS,)).fetchall())
        found: dict[tuple[str, str], list[Mapping[str, float]]] = {}
        for speaker, listener, figures in rows:
            found.setdefault((speaker, listener), []).append(json.loads(figures))
        return found

    async def write(self, findings: Sequence[Finding], calls: Sequence[TestCall], at: datetime) -> None:
        """Raises: StoreError."""

        def work(connection: sqlite3.Connection) -> None:
            for call in calls:
                _insert(connection, call, at)
            connection.execute(
                "DELETE FROM test_calls WHERE seq <= (SELECT max(seq) FROM test_calls) - ?", (KEEP_CALLS,)
            )
            for finding in findings:
                self._note(connection, finding, at)

        await self._database.write(Commit.LINES_EXAMINED, work)
        self._outbox.ring()

    def _note(self, connection: sqlite3.Connection, finding: Finding, at: datetime) -> None:
        row = connection.execute("SELECT since, codes FROM degraded_lines WHERE line = ?", (finding.line,)).fetchone()
        if finding.faults:
            codes = json.dumps([each.code for each in finding.faults])
            connection.execute(
                """INSERT INTO degraded_lines (line, since, codes) VALUES (?, ?, ?)
                ON CONFLICT (line) DO UPDATE SET codes = excluded.codes""",
                (finding.line, _text(at), codes),
            )
            if row is None:
                problems = [{"code": each.code, "text": str(each)} for each in finding.faults]
                self._outbox.put(connection, of_health(finding.line, finding.number, problems, at, at))
        elif row is not None and finding.heals(json.loads(row[1])):
            connection.execute("DELETE FROM degraded_lines WHERE line = ?", (finding.line,))
            since = datetime.fromisoformat(row[0])
            self._outbox.put(connection, of_health(finding.line, finding.number, (), since, at))

    # --- the nightly round ------------------------------------------------------------------------------------------

    async def round_done(self, day: date) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM test_rounds")
            connection.execute("INSERT INTO test_rounds (day) VALUES (?)", (day.isoformat(),))

        await self._database.write(Commit.ROUND_DONE, work)

    async def last_round(self) -> date | None:
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT day FROM test_rounds").fetchall()
        )
        return date.fromisoformat(rows[0][0]) if rows else None


def _insert(connection: sqlite3.Connection, call: TestCall, at: datetime) -> None:
    facts = (_text(at), call.caller, call.callee, call.outcome.value, call.detail, call.talked_s)
    statement = "INSERT INTO test_calls (at, caller, callee, outcome, detail, talked_s) VALUES (?, ?, ?, ?, ?, ?)"
    seq = connection.execute(statement, facts).lastrowid
    for way in call.ways:
        if way.heard is not None:
            connection.execute(
                "INSERT INTO test_ways (test_call, speaker, listener, figures) VALUES (?, ?, ?, ?)",
                (seq, way.speaker, way.listener, json.dumps(way.figures)),
            )


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
