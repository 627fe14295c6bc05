"""The box's one SQLite file: the threads that may touch it, and what a commit is.

A commit is on the disk when `write` returns (WAL, synchronous=FULL): only then may anybody be told. Writes that wait
for the disk at the same moment share one commit, as an SD card syncs some hundred times a second at best.

Each commit has a name. For tests, `BRANCHLINE_CRASH_AT=before.call.ended` or `after.call.ended:2` in the environment
ends the process there and then by SIGKILL, the first or the second time that it comes by.
"""

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

import trio

from appliance.schema import MIGRATIONS

T = TypeVar("T")

# What else is written in the commit that makes something, of what it makes.
Also = Callable[[sqlite3.Connection, T], None]

# Another process may hold the file: `branchline token create` for a moment, a backup or somebody's shell for longer.
BUSY_LIMIT_S = 60


class StoreError(Exception):
    """The file can't be used: damaged, newer than this program, disk full. The message says which.

    At the start it ends the program. Later it is the fault of one write: what can't be written is not told, the call
    that it is about is hung up, and others go on - since a start on the same disk would serve nobody at all.
    """


class Commit(StrEnum):
    APP_SAVED = "app.saved"
    APP_DELETED = "app.deleted"
    APP_OPTIONS_SET = "app.options"
    NUMBER_LINKED = "number.linked"
    NUMBER_UNLINKED = "number.unlinked"
    KEY_ADDED = "key.added"
    KEY_REVOKED = "key.revoked"
    # One for each state that a call comes into, with the events that tell it.
    CALL_QUEUED = "call.queued"
    CALL_INCOMING = "call.incoming"
    CALL_DIALING = "call.dialing"
    CALL_ALERTING = "call.alerting"
    CALL_ACTIVE = "call.active"
    CALL_JOINED = "call.joined"
    CALL_ENDED = "call.ended"
    CALL_MEASURED = "call.measured"
    # Of one more line in a call.
    LEG_DIALED = "leg.dialed"
    LEG_ANSWERED = "leg.answered"
    LEG_ENDED = "leg.ended"
    RECORDING_OPENED = "recording.opened"
    RECORDING_ENCODED = "recording.encoded"
    RECORDING_DELETED = "recording.deleted"
    # What became of an attempt to bring it to the cloud.
    RECORDING_UPLOADED = "recording.uploaded"
    # A part of a message that is not complete, and one that is; what goes, and what becomes of it.
    SMS_KEPT = "sms.kept"
    SMS_RECEIVED = "sms.received"
    SMS_QUEUED = "sms.queued"
    SMS_MOVED = "sms.moved"
    SMS_EXPIRED = "sms.expired"
    SMS_REPORTED = "sms.reported"
    LINES_EXAMINED = "lines.examined"
    ROUND_DONE = "round.done"
    # What became of an attempt to deliver: what was sent before this commit is sent again after a crash.
    DELIVERY_ATTEMPTED = "delivery.attempted"
    OUTBOX_AGED = "outbox.aged"
    LEGACY_GIVEN_UP = "legacy.given_up"
    WEBHOOK_RESUMED = "webhook.resumed"
    WEBHOOK_SAVED = "webhook.saved"
    WEBHOOK_DELETED = "webhook.deleted"
    PROJECT_ADDED = "project.added"
    USER_SIGNED_UP = "user.signed_up"
    USER_CONFIRMED = "user.confirmed"
    TOKEN_ADDED = "token.added"
    TOKEN_REVOKED = "token.revoked"
    NUMBER_BOUGHT = "number.bought"
    NUMBER_CHANGED = "number.changed"
    NUMBER_RELEASED = "number.released"
    AGENT_SAVED = "agent.saved"
    AGENT_DELETED = "agent.deleted"


_passed: Counter[str] = Counter()


def crash_point(name: str) -> None:
    if wanted := os.environ.get("BRANCHLINE_CRASH_AT"):
        _passed[name] += 1
        if wanted in (f"{name}:{_passed[name]}", name):
            os.kill(os.getpid(), signal.SIGKILL)


def nothing_else(connection: sqlite3.Connection, made: object) -> None:
    """`Also`, where there is no more to it."""


@dataclass(eq=False)
class _Job(Generic[T]):
    """One write, with others perhaps, on its way into a commit."""

    commit: Commit
    work: Callable[[sqlite3.Connection], T]
    done: bool = False
    results: list[T] = field(default_factory=list)
    error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """What the work itself gets wrong is its own: it leaves nothing behind, and the others go on."""
        connection.execute("SAVEPOINT job")
        try:
            self.results.append(self.work(connection))
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError) as exc:
            self.error = exc
        except sqlite3.Error:
            raise
        except Exception as exc:
            self.error = exc
        if self.error is not None:
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.results[0]


class Database:
    """Two connections, each with a thread of its own: who reads does not wait for the disk that a commit waits for."""

    def __init__(self, path: Path, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._path = path
        self._writer, self._reader = writer, reader
        self._turn = trio.Lock()
        # Limits of our own: a commit must not queue behind other work that blocks.
        self._writing, self._reading = trio.CapacityLimiter(1), trio.CapacityLimiter(1)
        self._waiting: list[_Job[object]] = []

    async def write(self, commit: Commit, work: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what `work` returned, once it is on the disk. When cancelled it is either there wholly or not at all.

        Raises:
            StoreError: nothing was written.
        """
        job = _Job(commit, work)
        self._waiting.append(job)  # type: ignore[arg-type]
        try:
            async with self._turn:
                if not job.done:
                    jobs, self._waiting = self._waiting, []
                    # Others' among them: who is cancelled as his turn comes would leave them undone.
                    with trio.CancelScope(shield=True):
                        await trio.to_thread.run_sync(self._commit, jobs, limiter=self._writing)
        finally:
            if job in self._waiting:
                self._waiting.remove(job)  # type: ignore[arg-type]
        return job.result()

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Sees all that was written when it is called."""
        return await trio.to_thread.run_sync(self._read, query, limiter=self._reading)

    def _commit(self, jobs: Sequence[_Job[object]]) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.run(self._writer)
            for job in jobs:
                crash_point(f"before.{job.commit}")
            self._writer.execute("COMMIT")
        except sqlite3.Error as exc:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            for job in jobs:
                job.error = self._unusable(exc)
        for job in jobs:
            job.done = True
            crash_point(f"after.{job.commit}")

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return query(self._reader)
        except sqlite3.DatabaseError as exc:
            raise self._unusable(exc) from exc

    def _unusable(self, cause: sqlite3.Error) -> StoreError:
        error = StoreError(f"{self._path}: {cause}")
        error.__cause__ = cause
        return error


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[Database]:
    """Made when it is not there, brought up to this program's version when it is older.

    Raises:
        StoreError: it can't be used.
    """
    writer, reader = await trio.to_thread.run_sync(_open, path)
    try:
        yield Database(path, writer, reader)
    finally:
        # Whoever writes or reads has been waited for: a thread is not cancelled.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(reader.close)
            await trio.to_thread.run_sync(writer.close)


def _open(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    with ExitStack() as undo:
        try:
            # SQLite gives its -wal and -shm files the same rights: there are telephone numbers in them.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            writer = undo.enter_context(closing(_connect(path)))
            if writer.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise StoreError(f"{path}: this file system can't keep a write-ahead log")
            writer.execute("PRAGMA synchronous = FULL")
            writer.execute("PRAGMA foreign_keys = ON")
            damage = writer.execute("PRAGMA quick_check(1)").fetchone()[0]
            if damage != "ok":
                raise sqlite3.DatabaseError(damage)
            migrate(writer, path)
            reader = undo.enter_context(closing(_connect(path)))
            reader.execute("PRAGMA query_only = ON")
        except (OSError, sqlite3.OperationalError) as exc:
            raise StoreError(f"{path} can't be used: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            raise StoreError(f"{path} is damaged: {exc}") from exc
        undo.pop_all()
        return writer, reader


def _connect(path: Path) -> sqlite3.Connection:
    # Autocommit: transactions are begun and ended by name. Threads come from trio's pool, one at a time.
    return sqlite3.connect(path, BUSY_LIMIT_S, isolation_level=None, check_same_thread=False)


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Each step is there wholly or not at all, and another process may be at the same step."""
    execute = connection.execute
    while True:
        execute("BEGIN IMMEDIATE")
        try:
            version = execute("PRAGMA user_version").fetchone()[0]
            if version > len(migrations):
                raise StoreError(
                    f"{path} is of version {version}, written by a newer program; this one knows {len(migrations)}"
                )
            if version == len(migrations):
                return
            for statement in migrations[version]:
                execute(statement)
            execute(f"PRAGMA user_version = {version + 1}")
            execute("COMMIT")
        finally:
            if connection.in_transaction:
                execute("ROLLBACK")
