"""One answer for each key, whatever comes between."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.database import Also, StoreError
from appliance.repeats import AnotherBody, Answer, Repeats, StillRunning
from appliance.store import Store, open_store
from appliance.tenants import BOX
from tests.line_box import NOON
from tests.ordering_box import ORDERS


class Work:
    """Something that must be done once; `gate` holds it up."""

    def __init__(self, store: Store, *, refused: bool = False) -> None:
        self.count = 0
        self.begun, self.gate = trio.Event(), trio.Event()
        self.gate.set()
        self._store = store
        self._refused = refused

    async def __call__(self, keep: Also[Answer]) -> Answer:
        self.begun.set()
        await self.gate.wait()
        if self._refused:
            return Answer(422, b"no")
        answer = Answer(201, b"%d" % (self.count + 1))
        await self._store.subscriptions.create(
            BOX, "https://a.example", at=NOON, also=lambda connection, made: keep(connection, answer)
        )
        self.count += 1
        return answer


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "box.db") as store:
        yield store


@pytest.fixture
def repeats(store: Store) -> Repeats:
    return store.repeats


async def test_the_first_answer_is_the_answer_also_after_a_restart(tmp_path: Path) -> None:
    for replayed in (False, True):
        async with open_store(tmp_path / "box.db") as store:
            work = Work(store)
            said = [await store.repeats.once("t", "/p", "k", b"body", work) for _ in range(2)]
            assert said == [Answer(201, b"1", replayed), Answer(201, b"1", True)]
            assert work.count == (not replayed)


async def test_each_token_path_and_key_is_by_itself(store: Store, repeats: Repeats) -> None:
    work = Work(store)
    places = [("t", "/p", "k"), ("u", "/p", "k"), ("t", "/q", "k"), ("t", "/p", "l")]
    assert [(await repeats.once(*place, b"", work)).body for place in places] == [b"1", b"2", b"3", b"4"]


async def test_another_body_is_refused_while_it_runs_and_after(store: Store, repeats: Repeats) -> None:
    work = Work(store)
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


async def test_the_key_of_an_attempt_that_failed_or_was_cut_off_is_free(store: Store, repeats: Repeats) -> None:
    refused, cut = Work(store, refused=True), Work(store)
    assert (await repeats.once("t", "/p", "k", b"", refused)).status == 422
    cut.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repeats.once, "t", "/p", "k", b"", cut)
        await cut.begun.wait()
        nursery.cancel_scope.cancel()
    assert await repeats.once("t", "/p", "k", b"", Work(store)) == Answer(201, b"1")


async def test_what_can_not_be_kept_is_not_done(tmp_path: Path, store: Store, repeats: Repeats) -> None:
    with closing(sqlite3.connect(tmp_path / "box.db")) as connection:
        # As if the disk were full there.
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON repeats BEGIN SELECT json('{'); END")
    with pytest.raises(StoreError):
        await repeats.once("t", "/p", "k", b"", Work(store))
    assert await store.subscriptions.page(BOX, offset=0, limit=1) == ([], 0)


# --- kill -9 ----------------------------------------------------------------------------------------------------------

COMMITS = {"number": "number.bought", "webhook": "webhook.saved", "monitor": "leg.dialed"}


@pytest.fixture(scope="module")
def life() -> Iterator[Callable[..., tuple[int, list[Any]]]]:
    """Lives a box until it ends or dies: its exit status, and what it answered."""
    box = [sys.executable, "-m", "tests.ordering_box"]
    with subprocess.Popen(box, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def live(path: Path, order: str, crash: str | None = None) -> tuple[int, list[Any]]:
            process.stdin.write(json.dumps({"path": str(path), "order": order, "crash": crash}) + "\n")
            process.stdin.flush()
            said = []
            while isinstance(line := json.loads(process.stdout.readline()), list):
                said.append(line)
            return line, said

        yield live
        process.stdin.close()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("order", ORDERS)
def test_an_order_that_a_crash_cut_off_is_done_once_and_its_repeat_is_answered(tmp_path, life, order, when):
    crash = f"{when}.{COMMITS.get(order, 'call.queued')}"
    assert life(tmp_path, order, crash) == (-signal.SIGKILL, [])
    ended, [(status, replayed, answer), again] = life(tmp_path, order)
    assert ended == 0
    # Of a call that was cut nobody can be made to listen.
    done = (when, order) != ("before", "monitor")
    assert (status < 300, replayed) == (done, when == "after"), answer
    assert again == [status, done, answer]
    with closing(sqlite3.connect(tmp_path / "box.db")) as connection:
        assert connection.execute(ORDERS[order].made).fetchall() == [(int(done),)]
