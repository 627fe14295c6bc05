"""The internet is gone for a week in which there are ten thousand calls, and then it is back.

The outbox, the courier and the shelf are the service's, on a disk; an hour passes as soon as its facts are committed.
Three webhooks are told, in a process of their own (judges.py): one, told of everything, answers at once, one is slow,
one answers 500 at first. One call in ten is not answered; one is told of again, with its recording, which is said to
be of 4 MiB.

`outbox.week_enqueue_ms.p99`: one event put and committed during the week, one after the other; beside a bare sqlite3
that commits the same row in turn with it. `.week_catch_up_per_s`: deliveries, from the moment at which the network is
back until the last of them is written down. `.week_lost`, `.week_doubled`, `.week_disordered`: what the three were not
told, were told twice, and of which calls not in order. `.week_rss_growth_mib`: the most resident memory until the end,
over that after the first day. `.week_disk_mib`: the database and its log, at their largest. `.week_deleted_early`:
recordings that went before they were told of, as there were more than there should be; `.week_surplus_mib`: by how much
there still are when all is told.
"""

import itertools
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio
import trio.testing

from appliance.config import Keeping, Webhook
from appliance.courier import OFFLINE_PAUSE_S, run_courier
from appliance.database import Commit, open_database
from appliance.events import Event
from appliance.gateway import Gateway
from appliance.legacy import Legacy
from appliance.outbox import Outbox
from appliance.recordings import Recordings
from appliance.shelf import Shelf
from appliance.subscriptions import Subscriptions
from appliance.uploads import Uploads
from tests.bench.apart import OTHERS, Apart, say
from tests.bench.facts import DATA, commit_bare_ms, open_bare
from tests.bench.figures import Figure, percentile

BEGINNING = "outbox.week_"
CALLS, QUICK_CALLS = 10_000, 1_000
DAYS, DAY_H = 7, 24
# Of so many calls one has its facts committed one by one, as they all have in life; those of the others go together.
ALONE = 8
RECORDING_MIB, MOST_MIB = 4, 100
BARE = "bare"
MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
PROJECT = 1
# A catch-up that is much too slow is a figure, too.
LIMIT_S = 600
LOOK_EVERY_S = 0.2
MIB = 2**20


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    # In a process of its own: what others left of theirs would hide what memory it takes.
    with Apart("tests.bench.week", str(directory), str(QUICK_CALLS if quick else CALLS)) as week:
        values = week.hear()
    peers = {"enqueue_ms.p99": values.pop(BARE)}
    yield from (Figure(BEGINNING + name, value, peers.get(name)) for name, value in values.items())


class Internet(trio.abc.HostnameResolver):
    """All names lead to this machine, while it is there."""

    is_there = False

    async def getaddrinfo(self, host: object, port: Any, *hints: object, **others: object) -> Any:
        if not self.is_there:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", int(port)))]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise AssertionError("nobody asks for the name of an address")


class Box:
    """What of the service keeps and tells facts. Its recordings are names of files."""

    def __init__(self, directory: Path, ports: Sequence[int], clock: trio.testing.MockClock) -> None:
        self.internet = Internet()
        self.recorded = 0
        self.commits_ms: list[float] = []
        self.bare_ms: list[float] = []
        self.resident_bytes: list[int] = []
        self.disk_bytes: list[int] = []
        self._file, self.recordings = directory / "week.db", directory / "recordings"
        self.recordings.mkdir()
        self._bare = open_bare(directory)
        self._clock = clock
        self._began = trio.current_time()
        self._urls = [f"http://crm.example:{port}/" for port in ports]

    def now(self) -> datetime:
        return MONDAY + timedelta(seconds=trio.current_time() - self._began)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        prompt, slow, unwell = self._urls
        hook = Webhook.model_construct(url=prompt, secret="whsec_bench-0123456789abcdef", events=("*",), name=None)
        async with open_database(self._file) as self._database:
            self.outbox = Outbox(self._database, [hook])
            subscriptions = Subscriptions(self._database, self.outbox.ring)
            await subscriptions.create(PROJECT, slow, events=["phone_call.no-answer"], at=self.now())
            await subscriptions.create(PROJECT, unwell, events=["phone_call.completed"], at=self.now())
            legacy = Legacy(self._database, self.outbox)
            kept = Recordings(self._database, self.outbox, Uploads(self._database), legacy, None)
            self.shelf = Shelf(kept, self.recordings, now=self.now, keeping=Keeping(max_mib=MOST_MIB))
            task_status.started()
            gateway = Gateway(allow_loopback=True)
            await run_courier(self.outbox, user_agent="Branchline/bench", gateway=gateway, now=self.now)

    async def live_an_hour(self, calls: Sequence[int]) -> None:
        """With what is told of these calls."""
        together: list[tuple[Event, bool]] = []
        for call in calls:
            facts = list(self._facts(call))
            if call % ALONE:
                together += facts
                continue
            for fact in facts:
                began = time.perf_counter()
                await self._database.write(Commit.CALL_ENDED, partial(self._put, [fact]))
                self.commits_ms.append(1000 * (time.perf_counter() - began))
                self.bare_ms.append(commit_bare_ms(self._bare))
                self.outbox.ring()
        await self._database.write(Commit.CALL_ENDED, partial(self._put, together))
        self.outbox.ring()
        # No attempt is under way whose time would be up.
        await trio.testing.wait_all_tasks_blocked()
        hours = await self._hours()
        self._clock.jump(3600)
        with trio.fail_after(LIMIT_S):
            while await self._hours() == hours:
                await trio.testing.wait_all_tasks_blocked()
        self.weigh()

    async def catch_up(self) -> float:
        """The network is back. How many seconds all takes that waits."""
        self.internet.is_there = True
        began = time.perf_counter()
        self._clock.jump(OFFLINE_PAUSE_S)
        with trio.fail_after(LIMIT_S):
            while await self.outbox.pending():
                self.weigh()
                await trio.sleep(LOOK_EVERY_S)
        return time.perf_counter() - began

    def weigh(self) -> None:
        resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident_bytes.append(resident_pages * os.sysconf("SC_PAGE_SIZE"))
        self.disk_bytes.append(sum(path.stat().st_size for path in self._file.parent.glob("week.db*")))

    def _facts(self, call: int) -> Iterator[tuple[Event, bool]]:
        """What is told of it, and whether that is its recording."""
        tell = partial(self._event, call)
        if call % 10 == 0:
            yield tell("no-answer"), False
            return
        yield tell("started"), False
        yield tell("completed"), False
        if call % 10 == 1:
            yield tell("completed", 2), True

    def _event(self, call: int, what: str, revision: int = 1) -> Event:
        data = {**DATA, "id": call, "status": what, "revision": revision}
        return Event(f"phone_call.{what}", self.now(), data, call, PROJECT)

    def _put(self, facts: Sequence[tuple[Event, bool]], connection: sqlite3.Connection) -> None:
        for event, is_recording in facts:
            if is_recording:
                self._record(connection, event.call)
            self.outbox.put(connection, event)

    def _record(self, connection: sqlite3.Connection, call: int | None) -> None:
        wav = self.recordings / f"{call}.wav"
        wav.with_suffix(".mp3").touch()
        self.recorded += 1
        connection.execute(
            """INSERT INTO calls
            (id, uuid, line, direction, from_, to_, state, started_at, ended_at, reason, cause, route)
            VALUES (?1, ?1, 'office', 'inbound', '', '', 'ended', '', '', 'hangup', 16, '')""",
            (call,),
        )
        connection.execute(
            """INSERT INTO recordings (wav, id, call_id, frames, size_bytes, sha256, born_h)
            VALUES (?, ?, ?, 8000, ?, '', (SELECT hours FROM uptime))""",
            (str(wav), str(call), call, RECORDING_MIB * MIB),
        )

    async def _hours(self) -> int:
        query = "SELECT hours FROM uptime"
        return int(await self._database.read(lambda connection: connection.execute(query).fetchone()[0]))


async def _week(directory: Path, calls: int, ports: Sequence[int], clock: trio.testing.MockClock) -> dict[str, float]:
    box = Box(directory, ports, clock)
    trio.socket.set_custom_hostname_resolver(box.internet)
    marks = [calls * hour // (DAYS * DAY_H) for hour in range(DAYS * DAY_H + 1)]
    async with trio.open_nursery() as nursery:
        await nursery.start(box.run)
        for hour, (first, end) in enumerate(itertools.pairwise(marks), 1):
            await box.live_an_hour(range(first, end))
            if hour % DAY_H == 0:
                await box.shelf.sweep()
        early = box.recorded - len(list(box.recordings.iterdir()))
        waiting = await box.outbox.pending()
        took_s = await box.catch_up()
        await box.shelf.sweep()
        nursery.cancel_scope.cancel()
    return {
        "enqueue_ms.p99": percentile(box.commits_ms, 0.99),
        BARE: percentile(box.bare_ms, 0.99),
        "catch_up_per_s": waiting / took_s,
        "rss_growth_mib": (max(box.resident_bytes) - box.resident_bytes[DAY_H - 1]) / MIB,
        "disk_mib": max(box.disk_bytes) / MIB,
        "deleted_early": early,
        "surplus_mib": box.shelf.report["surplus_bytes"] / MIB,
    }


def main() -> None:
    directory, calls = Path(sys.argv[1]), int(sys.argv[2])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    unanswered, recorded = len(range(0, calls, 10)), len(range(1, calls, 10))
    answered = calls - unanswered
    expected = [unanswered + 2 * answered + recorded, unanswered, answered + recorded]
    # Time goes on as it does elsewhere, but for the leaps of an hour.
    clock = trio.testing.MockClock(rate=1.0)
    with Apart("tests.bench.judges", cores=OTHERS) as judges:
        figures = trio.run(_week, directory, calls, judges.hear()["ports"], clock, clock=clock)
        told = judges.ask("told")
    lost = sum(count - each["told"] for count, each in zip(expected, told, strict=True))
    say({**figures, "lost": lost, **{name: sum(each[name] for each in told) for name in ("doubled", "disordered")}})


if __name__ == "__main__":
    main()
