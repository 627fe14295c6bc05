"""One answer for each key, whatever comes between."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio

from appliance.database import Commit
from appliance.repeats import AnotherBody, Answer, Repeats, StillRunning
from appliance.store import open_store

Once = Callable[..., Awaitable[Answer]]


class Work:
    """Something that must be done once; `gate` holds it up."""

    def __init__(self, status: int = 201) -> None:
        self.status = status
        self.count = 0
        self.begun, self.gate = trio.Event(), trio.Event()
        self.gate.set()

    async def __call__(self) -> Answer:
        self.count += 1
        self.begun.set()
        await self.gate.wait()
        return Answer(self.status, b"%d" % self.count)


@pytest.fixture
async def repeats(tmp_path: Path) -> AsyncIterator[Repeats]:
    async with open_store(tmp_path / "box.db") as store:
        yield store.repeats


async def test_the_first_answer_is_the_answer_also_after_a_restart(tmp_path: Path) -> None:
    work = Work()
    for replayed in (False, True):
        async with open_store(tmp_path / "box.db") as store:
            said = [await store.repeats.once("t", "/p", "k", b"body", work) for _ in range(2)]
            assert said == [Answer(201, b"1", replayed), Answer(201, b"1", True)]
    assert work.count == 1


async def test_each_token_path_and_key_is_by_itself(repeats: Repeats) -> None:
    work = Work()
    places = [("t", "/p", "k"), ("u", "/p", "k"), ("t", "/q", "k"), ("t", "/p", "l")]
    assert [(await repeats.once(*place, b"", work)).body for place in places] == [b"1", b"2", b"3", b"4"]


async def test_another_body_is_refused_while_it_runs_and_after(repeats: Repeats) -> None:
    work = Work()
    work.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repeats.once, "t", "/p", "k", b"a", work)
        await work.begun.wait()
        with pytest.raises(StillRunning):
            await repeats.once("t", "/p", "k", b"a", work)
        with pytest.raises(AnotherBody):
            await repeats.once("t", "/p", "k", b"b", work)
        work.gate.set()
    with pytest.raises(AnotherBody):
        await repeats.once("t", "/p", "k", b"b", work)
    assert work.count == 1


async def test_the_key_of_an_attempt_that_failed_or_was_cut_off_is_free(repeats: Repeats) -> None:
    refused, cut = Work(422), Work()
    assert (await repeats.once("t", "/p", "k", b"", refused)).status == 422
    cut.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repeats.once, "t", "/p", "k", b"", cut)
        await cut.begun.wait()
        nursery.cancel_scope.cancel()
    work = Work()
    assert await repeats.once("t", "/p", "k", b"", work) == Answer(201, b"1")


async def test_what_was_done_is_told_also_when_it_cannot_be_kept(tmp_path: Path) -> None:
    async with open_store(tmp_path / "box.db") as store:

        async def work() -> Answer:
            # As if the disk were full from here on.
            await store._database.write(
                Commit.WEBHOOK_SAVED, lambda connection: connection.execute("PRAGMA query_only = 1")
            )
            return Answer(201, b"done")

        assert await store.repeats.once("t", "/p", "k", b"", work) == Answer(201, b"done")
