import sqlite3
import stat
import threading
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from appliance.database import Commit, Database, StoreError, migrate, open_database
from appliance.schema import MIGRATIONS


def version_of(path) -> int:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return version


def schema_of(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


async def test_a_new_file_is_of_this_programs_version_and_nobody_elses_to_read(tmp_path):
    async with open_database(tmp_path / "box.db"):
        pass
    assert version_of(tmp_path / "box.db") == len(MIGRATIONS)
    assert stat.S_IMODE((tmp_path / "box.db").stat().st_mode) == 0o600


async def test_a_commit_waits_for_the_disk_and_links_are_kept_whole(tmp_path):
    async with open_database(tmp_path / "box.db") as database:
        for pragma, expected in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            query = f"PRAGMA {pragma}"
            assert await on_writer(database, lambda c, query=query: c.execute(query).fetchone()[0]) == expected


async def test_reading_changes_nothing(tmp_path):
    async with open_database(tmp_path / "box.db") as database:
        with pytest.raises(StoreError, match="readonly"):
            await database.read(partial(add, 1))


async def test_reading_does_not_wait_for_the_disk_and_sees_all_that_is_written(tmp_path):
    async with open_database(tmp_path / "box.db") as database:
        await database.write(Commit.OUTBOX_AGED, partial(add, 7))
        async with disk_held(database):
            assert await hours(database) == 7


@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
async def test_a_file_of_each_earlier_version_is_brought_up(tmp_path, version):
    path, fresh = tmp_path / "box.db", sqlite3.connect(":memory:", isolation_level=None)
    migrate(fresh, path)
    older = sqlite3.connect(path, isolation_level=None)
    migrate(older, path, MIGRATIONS[:version])
    older.close()
    assert version_of(path) == version
    async with open_database(path) as database:
        assert await database.read(schema_of) == schema_of(fresh)
    fresh.close()


def test_a_migration_is_there_wholly_or_not_at_all(tmp_path):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    first = ("CREATE TABLE a (x)",)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, tmp_path, (first, ("CREATE TABLE b (x)", "CREATE TABLE a (x)")))
    assert [name for name, _ in schema_of(connection)] == ["a"]
    migrate(connection, tmp_path, (first, ("CREATE TABLE b (x)",)))
    assert [name for name, _ in schema_of(connection)] == ["a", "b"]
    connection.close()


async def refused(path) -> str:
    with pytest.raises(StoreError) as caught:
        async with open_database(path):
            pass
    return str(caught.value)


async def test_a_file_from_the_future_is_refused(tmp_path):
    path = tmp_path / "box.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    assert "written by a newer program" in await refused(path)
    assert version_of(path) == len(MIGRATIONS) + 1


async def test_what_is_no_database_is_named(tmp_path):
    path = tmp_path / "box.db"
    path.write_bytes(b"not a database at all" * 500)
    assert await refused(path) == f"{path} is damaged: file is not a database"


async def test_damage_inside_the_file_is_found_at_the_start(tmp_path):
    path = tmp_path / "box.db"
    async with open_database(path):
        pass
    content = bytearray(path.read_bytes())
    # The first page tells where the tables are; the rest is torn.
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    assert (await refused(path)).startswith(f"{path} is damaged: ")


async def test_a_missing_directory_is_named(tmp_path):
    assert "No such file or directory" in await refused(tmp_path / "none" / "box.db")


def add(number: int, connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE uptime SET hours = hours + ?", (number,))
    return number


async def on_writer(database: Database, work):
    return await database.write(Commit.OUTBOX_AGED, work)


async def hours(database) -> int:
    return await database.read(lambda connection: connection.execute("SELECT hours FROM uptime").fetchone()[0])


@asynccontextmanager
async def disk_held(database: Database):
    """While inside, a commit is under way that doesn't come to its end."""
    gate = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, Commit.OUTBOX_AGED, lambda connection: gate.wait())
        await trio.testing.wait_all_tasks_blocked()
        try:
            yield
        finally:
            gate.set()


async def test_writes_that_wait_together_are_one_commit_and_each_has_its_result(tmp_path):
    results, statements = {}, []
    async with open_database(tmp_path / "box.db") as database:

        async def write(number: int) -> None:
            results[number] = await database.write(Commit.OUTBOX_AGED, partial(add, number))

        await on_writer(database, lambda connection: connection.set_trace_callback(statements.append))
        statements.clear()
        async with trio.open_nursery() as nursery, disk_held(database):
            for number in range(50):
                nursery.start_soon(write, number)
            await trio.testing.wait_all_tasks_blocked()
        assert await hours(database) == sum(range(50))
    assert results == {number: number for number in range(50)}
    assert statements.count("COMMIT") == 2


async def test_a_cancelled_write_that_had_not_begun_never_happens(tmp_path):
    async with open_database(tmp_path / "box.db") as database:
        async with disk_held(database), trio.open_nursery() as nursery:
            for number in (1, 10, 100):
                nursery.start_soon(database.write, Commit.OUTBOX_AGED, partial(add, number))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await database.write(Commit.OUTBOX_AGED, partial(add, 1000))
        assert await hours(database) == 1000


async def test_a_write_that_is_cancelled_as_its_turn_comes_takes_no_other_with_it(tmp_path):
    results = []
    async with open_database(tmp_path / "box.db") as database:

        async def write(number: int) -> None:
            results.append(await database.write(Commit.OUTBOX_AGED, partial(add, number)))

        async with trio.open_nursery() as nursery, trio.open_nursery() as cut:
            gate = threading.Event()

            async def before_them() -> None:
                await database.write(Commit.OUTBOX_AGED, lambda connection: gate.wait())
                # The turn has just been given to the first of those who wait: it has not run since.
                cut.cancel_scope.cancel()

            nursery.start_soon(before_them)
            await trio.testing.wait_all_tasks_blocked()
            cut.start_soon(write, 1)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(write, 10)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert 10 in results
        assert await hours(database) == sum(results)


async def test_one_bad_write_leaves_nothing_and_takes_no_other_with_it(tmp_path):
    def bad(connection: sqlite3.Connection) -> None:
        add(1000, connection)
        raise LookupError("no such row")

    def doubled(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO gone (url, at) VALUES ('a', ''), ('a', '')")

    caught = []
    async with open_database(tmp_path / "box.db") as database:

        async def write(work) -> None:
            try:
                await database.write(Commit.OUTBOX_AGED, work)
            except (LookupError, sqlite3.IntegrityError) as exc:
                caught.append(type(exc))

        async with trio.open_nursery() as nursery:
            for work in (partial(add, 1), bad, partial(add, 2), doubled, partial(add, 3)):
                nursery.start_soon(write, work)
        assert await hours(database) == 6
    assert sorted(caught, key=str) == [LookupError, sqlite3.IntegrityError]


async def test_a_full_disk_fails_the_write_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "box.db"
    async with open_database(path) as database:
        await database.write(Commit.OUTBOX_AGED, partial(add, 1))
        pages = await database.read(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        await on_writer(database, lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())

        def too_big(connection: sqlite3.Connection) -> None:
            add(1000, connection)
            connection.execute("INSERT INTO gone (url, at) VALUES (hex(zeroblob(500000)), '')")

        with pytest.raises(StoreError, match="full"):
            await database.write(Commit.OUTBOX_AGED, too_big)
        await database.write(Commit.OUTBOX_AGED, partial(add, 1))
        assert await hours(database) == 2
