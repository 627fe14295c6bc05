"""Short messages in the database: those that came, part by part, and those that are to go.

What came is known by its number and fingerprint, for ever: a SIM that was not emptied in time, or a service centre
that did not hear our thanks, gives the same again.
"""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import trio

from appliance.call import Direction
from appliance.claims import project_of
from appliance.database import Commit, Database
from appliance.events import of_message
from appliance.message import WAITING, Message, MessagePart, PartState
from appliance.outbox import Outbox

_COLUMNS = "seq, id, line, direction, from_, to_, text, created_at, sent_at, expires_at, report"
_WAITING = ", ".join(f"'{state}'" for state in WAITING)
# A report is for one of the last messages: references come round after 256.
_REPORT_LOOKS_BACK = 8
# Networks write a number with its country or without, but hardly change its end.
_SAME_DIGITS = 7


@dataclass(frozen=True)
class NewPart:
    """A part that came, as it was; `number` of `total`."""

    fingerprint: str
    pdu: str
    number: int
    total: int


@dataclass(frozen=True)
class DuePart:
    """A part to be sent next."""

    key: int
    message: str
    number: int
    pdu: str
    attempts: int
    expires_at: datetime | None


class Mailbox:
    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._news = trio.Event()

    @property
    def news(self) -> trio.Event:
        """Set when there may be something to send that was not there when this was read."""
        return self._news

    def _ring(self) -> None:
        self._news.set()
        self._news = trio.Event()

    # --- what comes -------------------------------------------------------------------------------------------------

    async def knows(self, number: str, fingerprint: str) -> bool:
        query = "SELECT 1 FROM message_parts WHERE sim = ? AND fingerprint = ?"
        return bool(await self._rows(query, number, fingerprint))

    async def loose_parts(self, number: str) -> list[NewPart]:
        """Those of messages that are not complete yet, oldest first."""
        query = """SELECT fingerprint, pdu, number, total FROM message_parts
            WHERE sim = ? AND message IS NULL ORDER BY key"""
        return [NewPart(*row) for row in await self._rows(query, number)]

    async def keep_part(self, number: str, part: NewPart, at: datetime) -> None:
        """Others of its message are still to come."""

        def work(connection: sqlite3.Connection) -> None:
            _insert_part(connection, number, part, None, at)

        await self._database.write(Commit.SMS_KEPT, work)

    async def received(self, message: Message, fingerprints: Collection[str], *, last: NewPart | None = None) -> None:
        """A whole message, and the event that tells it: of parts that are kept, and of the `last` one that is not yet.
        Those that are missing are only listed.
        """

        def work(connection: sqlite3.Connection) -> None:
            seq = _insert_message(connection, message)
            if last is not None:
                _insert_part(connection, message.to, last, seq, message.created_at)
            connection.executemany(
                "UPDATE message_parts SET message = ? WHERE sim = ? AND fingerprint = ?",
                [(seq, message.to, each) for each in fingerprints],
            )
            missing = [part for part in message.parts if part.state is PartState.MISSING]
            connection.executemany(
                "INSERT INTO message_parts (message, sim, number, total, pdu, state, at) VALUES (?, ?, ?, ?, '', ?, ?)",
                [
                    (seq, message.to, part.number, len(message.parts), part.state, _text(message.created_at))
                    for part in missing
                ],
            )
            event = of_message(message, message.created_at, project=project_of(connection, message.to))
            self._outbox.put(connection, event)

        await self._database.write(Commit.SMS_RECEIVED, work)
        self._outbox.ring()

    # --- what goes --------------------------------------------------------------------------------------------------

    async def queue(self, message: Message, pdus: Sequence[str]) -> Message:
        """As it is from now on."""

        def work(connection: sqlite3.Connection) -> Message:
            seq = _insert_message(connection, message)
            connection.executemany(
                "INSERT INTO message_parts (message, sim, number, total, pdu, state, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (seq, message.from_, number, len(pdus), pdu, PartState.QUEUED, _text(message.created_at))
                    for number, pdu in enumerate(pdus, 1)
                ],
            )
            return _messages(connection, "WHERE seq = ?", seq)[0]

        queued = await self._database.write(Commit.SMS_QUEUED, work)
        self._ring()
        return queued

    async def next_due(self, number: str, *, besides: Collection[str]) -> DuePart | None:
        """The oldest that waits on this line; messages `besides` rest after a failure."""
        # Made here: `besides` may change while the thread is at work.
        others = tuple(besides)
        query = f"""SELECT key, id, number, pdu, attempts, expires_at
            FROM message_parts JOIN messages ON message = seq
            WHERE direction = 'outbound' AND from_ = ? AND state IN ({_WAITING})
            AND id NOT IN ({", ".join("?" * len(others))}) ORDER BY key LIMIT 1"""
        for row in await self._rows(query, number, *others):
            key, id_, place, pdu, attempts, expires_at = row
            return DuePart(key, id_, place, pdu, attempts, _time(expires_at))
        return None

    async def move(
        self,
        part: DuePart,
        state: PartState,
        at: datetime,
        *,
        attempts: int,
        reference: int | None = None,
        error: str | None = None,
    ) -> None:
        """A part that fails for good, or expires, takes those behind it along: half a message is none."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE message_parts SET state = ?, at = ?, attempts = ?, reference = ?, error = ? WHERE key = ?",
                (state, _text(at), attempts, reference, error, part.key),
            )
            if state in (PartState.FAILED, PartState.EXPIRED):
                connection.execute(
                    f"""UPDATE message_parts SET state = ?, at = ?, error = ?
                    WHERE message = (SELECT message FROM message_parts WHERE key = ?) AND state IN ({_WAITING})""",
                    (state, _text(at), f"part {part.number} is {state}", part.key),
                )

        await self._database.write(Commit.SMS_MOVED, work)

    async def expire(self, now: datetime) -> int:
        """What waited too long for its line; how many parts."""
        statement = f"""UPDATE message_parts SET state = 'expired', at = ?, error = 'its line was not there in time'
            WHERE state IN ({_WAITING}) AND message IN (SELECT seq FROM messages WHERE expires_at <= ?)"""
        waiting = f"SELECT 1 FROM message_parts WHERE state IN ({_WAITING}) LIMIT 1"
        if not await self._rows(waiting):
            return 0

        def work(connection: sqlite3.Connection) -> int:
            return connection.execute(statement, (_text(now), _text(now))).rowcount

        return await self._database.write(Commit.SMS_EXPIRED, work)

    async def reported(
        self, number: str, reference: int, recipient: str, state: PartState, error: str | None, at: datetime
    ) -> bool:
        """What a service centre reports of a part; False when there is none that it could be of."""

        def work(connection: sqlite3.Connection) -> bool:
            rows = connection.execute(
                """SELECT key, to_ FROM message_parts JOIN messages ON message = seq
                WHERE direction = 'outbound' AND from_ = ? AND reference = ? AND state = 'sent'
                ORDER BY key DESC LIMIT ?""",
                (number, reference, _REPORT_LOOKS_BACK),
            )
            key = next((key for key, to in rows if to[-_SAME_DIGITS:] == recipient[-_SAME_DIGITS:]), None)
            if key is not None:
                values = (state, _text(at), error, key)
                connection.execute("UPDATE message_parts SET state = ?, at = ?, error = ? WHERE key = ?", values)
            return key is not None

        return await self._database.write(Commit.SMS_REPORTED, work)

    # --- both -------------------------------------------------------------------------------------------------------

    async def message(self, id_: str) -> Message | None:
        found = await self._database.read(lambda connection: _messages(connection, "WHERE id = ?", id_))
        return found[0] if found else None

    async def messages(
        self, *, line: str | None, direction: Direction | None, before: int | None, limit: int
    ) -> list[Message]:
        """Newest first."""
        wanted = {"line = ?": line, "direction = ?": direction and direction.value, "seq < ?": before}
        conditions = {condition: value for condition, value in wanted.items() if value is not None}
        where = "WHERE " + " AND ".join(conditions) if conditions else ""
        tail = f"{where} ORDER BY seq DESC LIMIT ?"
        return await self._database.read(lambda connection: _messages(connection, tail, *conditions.values(), limit))

    async def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._database.read(lambda connection: connection.execute(query, values).fetchall())


def _insert_message(connection: sqlite3.Connection, message: Message) -> int:
    cursor = connection.execute(
        """INSERT INTO messages (id, line, direction, from_, to_, text, created_at, sent_at, expires_at, report)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            message.id,
            message.line,
            message.direction.value,
            message.from_,
            message.to,
            message.text,
            _text(message.created_at),
            _text(message.sent_at),
            _text(message.expires_at),
            message.report,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _insert_part(connection: sqlite3.Connection, number: str, part: NewPart, message: int | None, at: datetime) -> None:
    connection.execute(
        """INSERT INTO message_parts (message, sim, fingerprint, number, total, pdu, state, at)
        VALUES (?, ?, ?, ?, ?, ?, 'received', ?)""",
        (message, number, part.fingerprint, part.number, part.total, part.pdu, _text(at)),
    )


def _messages(connection: sqlite3.Connection, tail: str, *values: object) -> list[Message]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM messages {tail}", values).fetchall()
    parts: dict[int, list[MessagePart]] = {row[0]: [] for row in rows}
    query = f"""SELECT message, number, state, attempts, reference, error, at, pdu FROM message_parts
        WHERE message IN ({", ".join("?" * len(parts))}) ORDER BY number"""
    for seq, number, state, attempts, reference, error, at, pdu in connection.execute(query, tuple(parts)):
        parts[seq].append(MessagePart(number, PartState(state), attempts, reference, error, _time(at), pdu))
    return [_message(row, parts[row[0]]) for row in rows]


def _message(row: Sequence[Any], parts: Sequence[MessagePart]) -> Message:
    seq, id_, line, direction, from_, to, text, created_at, sent_at, expires_at, report = row
    return Message(
        id=id_,
        seq=seq,
        line=line,
        direction=Direction(direction),
        from_=from_,
        to=to,
        text=text,
        created_at=datetime.fromisoformat(created_at),
        sent_at=_time(sent_at),
        expires_at=_time(expires_at),
        report=bool(report),
        parts=parts,
    )


def _text(at: datetime | None) -> str | None:
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
