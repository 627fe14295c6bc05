"""What was: calls with what was measured and recorded of them, recordings, and events, for whoever looks back.

Pages are by place in the order of making, which no setting of the clock disturbs.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

from appliance.call import Call, Direction, Ended, Kind, Reason, State
from appliance.database import Database

CALL_COLUMNS = """id, uuid, line, direction, from_, to_, started_at, state, request_uuid, app_id, answered_at, ended_at,
    reason, cause, project, kind, relay_number, joined_at, revision, details"""
_CALLS = ", ".join(f"calls.{name.strip()}" for name in CALL_COLUMNS.split(","))
_RECORDING = """recordings.id, recordings.rowid, wav, frames, size_bytes, sha256, deleted_at, deleted_why, deleted_by,
    upload, told_at"""


class RecordingState(Enum):
    RECORDING = "recording"
    ENCODING = "encoding"  # the call is over; there is the WAV, and no MP3 yet
    READY = "ready"
    DELETED = "deleted"


class UploadState(StrEnum):
    """Of what there is a cloud for."""

    WAITING = "waiting"
    UPLOADED = "uploaded"
    REFUSED = "refused"


@dataclass(frozen=True)
class Recording:
    """`frames` at 8000 Hz, size and digest are known once it is encoded; `seq` is its place among all.

    Of one that was deleted there is when, why, and by which key; None: by the box itself. `told_at` is when an event of
    its call was last delivered to anybody.
    """

    id: str
    seq: int
    call: Call
    wav: Path
    frames: int | None
    size_bytes: int | None
    sha256: str | None
    deleted_at: datetime | None = None
    deleted_why: str | None = None
    deleted_by: str | None = None
    upload: UploadState | None = None
    told_at: datetime | None = None

    @property
    def mp3(self) -> Path:
        return self.wav.with_suffix(".mp3")

    @property
    def state(self) -> RecordingState:
        return _state(ended=self.call.end is not None, encoded=self.sha256 is not None, deleted=bool(self.deleted_at))


def _state(*, ended: bool, encoded: bool, deleted: bool) -> RecordingState:
    if deleted:
        return RecordingState.DELETED
    if encoded:
        return RecordingState.READY
    return RecordingState.ENCODING if ended else RecordingState.RECORDING


@dataclass(frozen=True)
class Record:
    """A call, what was measured of it, and its recordings by their ids and states."""

    call: Call
    receipt: Mapping[str, Any] | None
    recordings: Sequence[tuple[str, RecordingState]]


@dataclass(frozen=True)
class PastEvent:
    """`seq` only grows; `data` is what webhooks are told."""

    seq: int
    type: str
    at: datetime
    data: Mapping[str, Any]


class Archive:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def calls(
        self,
        *,
        line: str | None = None,
        direction: Direction | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[Record]:
        """Newest first; `since` and `until` are of their start, `before` is the id of a call."""
        wanted = [
            ("line = ?", line),
            ("direction = ?", direction and direction.value),
            ("state = ?", state and state.value),
            ("started_at >= ?", since and text_of(since)),
            ("started_at < ?", until and text_of(until)),
            ("id < ?", before),
        ]
        if state not in (None, State.ENDED):
            # There are few of these, and an index has them.
            wanted.append(("ended_at IS NULL AND ?", 1))
        return await self._database.read(lambda connection: _records(connection, wanted, limit))

    async def project_calls(self, project: int, *, offset: int, limit: int) -> tuple[list[Call], int]:
        """A page of them, newest first, and how many there are."""
        query = f"SELECT {CALL_COLUMNS} FROM calls WHERE project = ? ORDER BY id DESC LIMIT ? OFFSET ?"

        def read(connection: sqlite3.Connection) -> tuple[list[Call], int]:
            rows = connection.execute(query, (project, limit, offset)).fetchall()
            (total,) = connection.execute("SELECT count(*) FROM calls WHERE project = ?", (project,)).fetchone()
            return [call_of(row) for row in rows], total

        return await self._database.read(read)

    async def call(self, uuid: str) -> Record | None:
        """By its own id, or the one that it was asked for by."""

        def query(connection: sqlite3.Connection) -> list[Record]:
            found = _records(connection, [("uuid = ?", uuid)], 1)
            return found or _records(connection, [("request_uuid = ?", uuid)], 1)

        return next(iter(await self._database.read(query)), None)

    async def recordings(self, *, line: str | None = None, before: int | None = None, limit: int) -> list[Recording]:
        """Newest first; `before` is the `seq` of one."""
        return await self._recordings([("line = ?", line), ("recordings.rowid < ?", before)], limit)

    async def recording(self, id_: str) -> Recording | None:
        return next(iter(await self._recordings([("recordings.id = ?", id_)], 1)), None)

    async def _recordings(self, wanted: "_Wanted", limit: int) -> list[Recording]:
        where, values = _where(wanted)
        query = f"""SELECT {_RECORDING}, {_CALLS} FROM recordings JOIN calls ON calls.id = call_id
            {where} ORDER BY recordings.rowid DESC LIMIT ?"""
        rows = await self._database.read(lambda connection: connection.execute(query, (*values, limit)).fetchall())
        found = []
        for id_, seq, wav, frames, size_bytes, sha256, deleted_at, why, by, upload, told_at, *call in rows:
            at, told = (datetime.fromisoformat(text) if text else None for text in (deleted_at, told_at))
            state = UploadState(upload) if upload else None
            file = (Path(wav), frames, size_bytes, sha256)
            found.append(Recording(id_, seq, call_of(call), *file, at, why, by, state, told))
        return found

    async def events(self, *, after: int, type_: str | None = None, limit: int) -> list[PastEvent]:
        """Oldest first."""
        where, values = _where([("seq > ?", after), ("type = ?", type_)])
        query = f"SELECT seq, type, at, data FROM events {where} ORDER BY seq LIMIT ?"
        rows = await self._database.read(lambda connection: connection.execute(query, (*values, limit)).fetchall())
        return [PastEvent(seq, type_, datetime.fromisoformat(at), json.loads(data)) for seq, type_, at, data in rows]


_Wanted = Sequence[tuple[str, object]]


def _where(wanted: _Wanted) -> tuple[str, tuple[object, ...]]:
    """Of conditions with a value each, those whose value is not None."""
    asked = [(condition, value) for condition, value in wanted if value is not None]
    text = " AND ".join(condition for condition, _ in asked)
    return f"WHERE {text}" if asked else "", tuple(value for _, value in asked)


def _records(connection: sqlite3.Connection, wanted: _Wanted, limit: int) -> list[Record]:
    where, values = _where(wanted)
    query = f"SELECT {CALL_COLUMNS}, receipt FROM calls {where} ORDER BY id DESC LIMIT ?"
    rows = connection.execute(query, (*values, limit)).fetchall()
    calls = [call_of(row[:-1]) for row in rows]
    recordings: dict[int, list[tuple[str, RecordingState]]] = {call.id: [] for call in calls}
    ended = {call.id for call in calls if call.end}
    places = ", ".join("?" * len(rows))
    query = f"""SELECT call_id, id, sha256 IS NOT NULL, deleted_at IS NOT NULL FROM recordings
        WHERE call_id IN ({places}) ORDER BY rowid"""
    for call_id, id_, encoded, deleted in connection.execute(query, tuple(recordings)):
        recordings[call_id].append((id_, _state(ended=call_id in ended, encoded=encoded, deleted=deleted)))
    return [
        Record(call, json.loads(row[-1]) if row[-1] else None, recordings[call.id])
        for call, row in zip(calls, rows, strict=True)
    ]


def call_of(row: Sequence[Any]) -> Call:
    """From CALL_COLUMNS."""
    id_, uuid, line, direction, from_, to, started_at, state, request_uuid, app_id, answered_at, ended_at, *more = row
    reason, cause, project, kind, relay_number, joined_at, revision, details = more
    return Call(
        id=id_,
        uuid=uuid,
        line=line,
        direction=Direction(direction),
        from_=from_,
        to=to,
        started_at=datetime.fromisoformat(started_at),
        state=State(state),
        request_uuid=request_uuid,
        app_id=app_id,
        answered_at=datetime.fromisoformat(answered_at) if answered_at else None,
        ended_at=datetime.fromisoformat(ended_at) if ended_at else None,
        end=Ended(Reason(reason), cause) if ended_at else None,
        project=project,
        kind=Kind(kind),
        relay_number=relay_number,
        joined_at=datetime.fromisoformat(joined_at) if joined_at else None,
        revision=revision,
        details=json.loads(details),
    )


def text_of(at: datetime) -> str:
    """As the file has times: in an order that is theirs, too."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
