"""What facts cost: to keep them, and to deliver them late.

`outbox.enqueue_ms.p99`: one event put and committed, from `write` to the moment at which the world may know; one after
the other. `sqlite.commit_ms`: the median of the same, beside a bare sqlite3 that commits the same row in turn with it,
in another file of the same directory. `outbox.catch_up_per_s`: a backlog, as an outage leaves it, until the last of it
is acknowledged and that written down; the receiver is another process on loopback.
"""

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio

from appliance.config import Webhook
from appliance.courier import run_courier
from appliance.database import Commit, open_database
from appliance.events import Event, Json
from appliance.gateway import Gateway
from appliance.outbox import Outbox
from tests.bench.apart import OTHERS, Apart
from tests.bench.figures import Figure, against, percentile

COMMITS, QUICK_COMMITS = 500, 100
BACKLOG, QUICK_BACKLOG = 1000, 200
CATCH_UP_LIMIT_S = 60
LOOK_EVERY_S = 0.02
DATA: dict[str, Json] = {
    "id": 1,
    "status": "completed",
    "duration": 61,
    "cost": 0,
    "direction": "inbound",
    "from": "+33783484044",
    "to": "+33700000002",
    "relay_number": None,
    "recording_url": None,
    "transcription": None,
    "analysis": None,
    "revision": 1,
    "ended_reason": "hangup",
}


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    if names & {"outbox.enqueue_ms.p99", "sqlite.commit_ms"}:
        ours, bare = trio.run(_commit, directory, QUICK_COMMITS if quick else COMMITS)
        yield Figure("outbox.enqueue_ms.p99", percentile(ours, 0.99))
        yield against("sqlite.commit_ms", ours, bare)
    if "outbox.catch_up_per_s" in names:
        yield Figure("outbox.catch_up_per_s", trio.run(_catch_up, directory, QUICK_BACKLOG if quick else BACKLOG))


def _now() -> datetime:
    return datetime.now(UTC)


def _webhook(port: int) -> Webhook:
    settings = {"url": f"http://127.0.0.1:{port}/events", "secret": "whsec_bench-0123456789abcdef"}
    return Webhook.model_validate(settings, context={"allow_loopback": True})


async def _commit(directory: Path, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each commit: ours, and a bare one."""
    ours, bare = [], []
    connection = open_bare(directory)
    async with open_database(directory / "commits.db") as database:
        outbox = Outbox(database, [_webhook(9)])
        for _ in range(count):
            put = partial(outbox.put, event=Event("phone_call.completed", _now(), DATA))
            began = time.perf_counter()
            await database.write(Commit.CALL_ENDED, put)
            ours.append(1000 * (time.perf_counter() - began))
            bare.append(commit_bare_ms(connection))
    connection.close()
    return ours, bare


def open_bare(directory: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(directory / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, type TEXT, body TEXT)")
    return connection


def commit_bare_ms(connection: sqlite3.Connection) -> float:
    began = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO events (type, body) VALUES ('phone_call.completed', ?)", (str(DATA),))
    connection.execute("COMMIT")
    return 1000 * (time.perf_counter() - began)


async def _catch_up(directory: Path, count: int) -> float:
    """Deliveries a second."""
    with Apart("tests.bench.receiver", cores=OTHERS) as receiver:
        webhook = _webhook(receiver.hear()["port"])
        async with open_database(directory / "backlog.db") as database, trio.open_nursery() as nursery:
            outbox = Outbox(database, [webhook])
            events = [Event("phone_call.completed", _now(), DATA) for _ in range(count)]

            def put(connection: sqlite3.Connection) -> None:
                for event in events:
                    outbox.put(connection, event)

            await database.write(Commit.CALL_ENDED, put)
            began = time.perf_counter()
            nursery.start_soon(_run_courier, outbox)
            with trio.fail_after(CATCH_UP_LIMIT_S):
                while await outbox.pending():  # noqa: ASYNC110 - the courier tells nobody when it is done
                    await trio.sleep(LOOK_EVERY_S)
            took_s = time.perf_counter() - began
            nursery.cancel_scope.cancel()
        posts = receiver.ask("count")["posts"]
        if posts != count:
            raise RuntimeError(f"{count} deliveries became {posts}")
    return count / took_s


async def _run_courier(outbox: Outbox) -> None:
    await run_courier(outbox, user_agent="Branchline/bench", gateway=Gateway(allow_loopback=True), now=_now)
