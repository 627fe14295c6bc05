from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from appliance.ingest import Verdict
from appliance.store import Store, open_store
from appliance.uploads import Upload, Waiting
from tests.test_store import opened

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
DIGEST = "ab" * 32


@dataclass(frozen=True)
class Mp3:
    frames: int = 8000
    size_bytes: int = 4000
    sha256: str = DIGEST


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "box.db", uploads=True) as store:
        yield store


async def recorded(store: Store, *names: str) -> None:
    for name in names:
        call = await opened(store, name, started_at=NOON)
        await store.recordings.open(call.id, Path(f"/recordings/{name}.wav"))
        await store.recordings.encoded(Path(f"/recordings/{name}.wav"), Mp3(), NOON)


async def next_(store: Store) -> Upload:
    upload = await store.uploads.next()
    assert upload is not None
    return upload


async def test_what_is_encoded_waits_until_it_is_there(store):
    assert await store.uploads.next() is None
    news = store.uploads.news
    await recorded(store, "a", "b")
    assert news.is_set()
    upload = await next_(store)
    assert upload == Upload("a", Path("/recordings/a.mp3"), 4000, DIGEST, 8000, 1, None, 0)
    await store.uploads.tried(upload, Verdict.TAKEN)
    assert (await next_(store)).id == "b"
    assert await store.uploads.waiting() == Waiting(1, 4000, 0)


async def test_what_failed_comes_after_all_that_was_not_tried(store):
    await recorded(store, "a", "b")
    await store.uploads.tried(await next_(store), Verdict.AGAIN)
    assert (await next_(store)).id == "b"
    await store.uploads.tried(await next_(store), Verdict.AGAIN)
    assert ((await next_(store)).id, (await next_(store)).tries) == ("a", 1)


async def test_what_was_refused_waits_again_only_when_somebody_says_so(store):
    await recorded(store, "a")
    await store.uploads.tried(await next_(store), Verdict.REFUSED)
    assert await store.uploads.next() is None
    assert await store.uploads.waiting() == Waiting(0, 0, 1)
    assert await store.uploads.retry() == 1
    assert (await next_(store)).tries == 0


async def test_without_a_cloud_nothing_waits(tmp_path):
    async with open_store(tmp_path / "box.db") as store:
        await recorded(store, "a")
        assert await store.uploads.next() is None


async def test_what_waited_for_a_cloud_that_is_no_more_is_given_up(store):
    await recorded(store, "a", "b")
    assert await store.uploads.give_up() == 2
    assert await store.uploads.next() is None


async def test_each_query_has_an_index(store):
    def plans(connection):
        query = "EXPLAIN QUERY PLAN SELECT id FROM recordings WHERE upload = 'waiting' AND deleted_at IS NULL"
        next_ = connection.execute(f"{query} ORDER BY upload_tries, rowid LIMIT 1").fetchall()
        return [row[3] for row in next_]

    plan = await store._database.read(plans)
    assert plan == ["SCAN recordings USING INDEX waiting_uploads"]
    await trio.lowlevel.checkpoint()
