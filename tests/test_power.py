"""The power goes at any moment of relay calls, and of what follows them: what is asked of those who were told, of the
lines, and of the files in the end (tests/outage.py).

`./dev test tests/test_power.py --power-cuts 200 --power-seed 7` has other moments, and more of them.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
import soundfile
import trio

from tests.customer import is_signed
from tests.outage import Cut, Story, live
from tests.power import PAGE_BYTES, Disk, compiled
from tests.test_service_crash import frames

pytestmark = pytest.mark.waits

# Boxes at once: they wait more than they compute.
WORLDS = 3
# What may be missing of a recording before the cut; a busy machine may be late with the timer, the thread and the disk.
LOST_S = 1.0
LATE_TIMES = 3
NAMED = {"phone_call.ringing", "phone_call.queued"}
TRIES = 20


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return compiled(tmp_path_factory.mktemp("power"))


# --- a disk ---------------------------------------------------------------------------------------------------------

WRITES = """
import os
def write(name, data, at=0, sync=True):
    with open(name, "r+b" if os.path.exists(name) else "xb", 0) as file:
        file.seek(at)
        file.write(data)
        if sync:
            os.fdatasync(file.fileno())
def sync_names():
    descriptor = os.open(".", os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
"""
PAGE = bytes(PAGE_BYTES)
OLD, NEW = PAGE.replace(b"\0", b"o"), PAGE.replace(b"\0", b"n")


def left(directory: Path, library: Path, program: str, **before: bytes) -> list[dict[str, bytes]]:
    """What is on the disk after this program and a cut, each of so many times."""
    found = []
    for seed in range(TRIES):
        place = directory / str(seed)
        place.mkdir()
        for name, data in before.items():
            (place / name).write_bytes(data)
        disk = Disk(place, library, Random(seed))
        command = [sys.executable, "-S", "-c", WRITES + program]
        subprocess.run(command, cwd=place, env=os.environ | disk.environment, check=True)
        disk.cut()
        found.append({path.name: path.read_bytes() for path in place.iterdir()})
    return found


def kinds(found: Sequence[dict[str, bytes]]) -> set[tuple[tuple[str, bytes], ...]]:
    return {tuple(sorted(each.items())) for each in found}


def test_what_is_synced_stays_and_of_what_is_not_any_page_may(tmp_path, library):
    program = "write('a', b'n' * 8192, sync=False); write('b', b'n' * 4096)"
    found = left(tmp_path, library, program, a=OLD + OLD, b=OLD)
    assert {each["b"] for each in found} == {NEW}
    assert {each["a"] for each in found} == {OLD + OLD, OLD + NEW, NEW + OLD, NEW + NEW}


def test_a_file_grows_by_what_is_synced_and_perhaps_by_more(tmp_path, library):
    program = "write('a', b'n' * 4096, 4096); write('a', b'n' * 8192, 8192, sync=False)"
    found = left(tmp_path, library, program, a=OLD)
    assert {each["a"][:8192] for each in found} == {OLD + NEW}
    assert {each["a"][8192:] for each in found} > {b"", NEW + NEW}


def test_a_new_file_is_there_for_certain_when_its_directory_is_synced(tmp_path, library):
    for name in ("alone", "with"):
        (tmp_path / name).mkdir()
    assert kinds(left(tmp_path / "alone", library, "write('a', b'new')")) == {(), (("a", b"new"),)}
    assert kinds(left(tmp_path / "with", library, "write('a', b'new'); sync_names()")) == {(("a", b"new"),)}


def test_a_name_is_the_old_or_the_new_until_its_directory_is_synced(tmp_path, library):
    program = "write('a.part', b'new'); os.rename('a.part', 'a')"
    assert kinds(left(tmp_path, library, program, a=b"old")) == {(("a", b"old"),), (("a", b"new"),)}


COMMITS = """
import sqlite3
connection = sqlite3.connect("box.db", isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA synchronous = {synchronous}")
connection.execute("PRAGMA wal_autocheckpoint = 5")
connection.execute("CREATE TABLE facts (fact BLOB)")
for fact in range(20):
    connection.execute("INSERT INTO facts VALUES (zeroblob(3000))")
os.kill(os.getpid(), 9)
"""


def facts(directory: Path, library: Path, synchronous: str) -> set[object]:
    """How many are left, or why none can be read."""
    found: set[object] = set()
    for seed in range(TRIES):
        place = directory / f"{synchronous}{seed}"
        place.mkdir()
        disk = Disk(place, library, Random(seed))
        command = [sys.executable, "-S", "-c", WRITES + COMMITS.format(synchronous=synchronous)]
        subprocess.run(command, cwd=place, env=os.environ | disk.environment, check=False)
        disk.cut()
        with closing(sqlite3.connect(place / "box.db")) as connection:
            try:
                found.add(connection.execute("SELECT count(*) FROM facts").fetchone()[0])
            except sqlite3.DatabaseError as exc:
                found.add(type(exc))
    return found


def test_a_database_keeps_each_commit_and_one_that_does_not_sync_is_found_out(tmp_path, library):
    assert facts(tmp_path, library, "FULL") == {20}
    assert sqlite3.DatabaseError in facts(tmp_path, library, "OFF")


# --- a box ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stories(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, library: Path) -> Sequence[Story]:
    cuts, seed = (int(request.config.getoption(name)) for name in ("--power-cuts", "--power-seed"))
    stories = []

    async def tell(world: int) -> None:
        share = len(range(world, cuts, WORLDS))
        stories.append(await live(tmp_path_factory.mktemp("world"), library, f"{seed}/{world}", share))

    async def tell_all() -> None:
        async with trio.open_nursery() as nursery:
            for world in range(min(WORLDS, cuts)):
                nursery.start_soon(tell, world)

    print(f"seed {seed}: {cuts} cuts")
    trio.run(tell_all)
    calls, recordings = (sum(len(getattr(story, what)) for story in stories) for what in ("calls", "rows"))
    print(f"{calls} calls, {recordings} recordings")
    return stories


def firings(told: Sequence[dict[str, Any]]) -> dict[tuple[int, str, int], set[str]]:
    """Under which ids each was told."""
    found = defaultdict(set)
    for event in told:
        found[event["data"]["id"], event["type"], event["data"]["revision"]].add(event["id"])
    return found


def test_no_event_is_lost_and_none_is_told_under_two_ids(stories):
    for story in stories:
        happened = Counter((data["id"], type_, data["revision"]) for type_, data in story.events)
        assert set(happened.values()) == {1}
        others = {event for event in happened if event[1] not in NAMED}
        wanted = {"/events": others, "/named": set(happened) - others, "/crm": others, "cloud": set(happened)}
        for path, events in wanted.items():
            told = firings(story.told(path))
            assert set(told) == events
            assert {len(ids) for ids in told.values()} == {1}


def test_no_event_is_told_with_two_bodies_or_without_its_signature(stories):
    for story in stories:
        bodies = defaultdict(set)
        for post in story.posts:
            bodies[post.json["id"]].add(post.body)
            assert post.path == "/crm" or is_signed(post)
        assert {len(each) for each in bodies.values()} == {1}


def test_what_was_told_to_begin_is_told_to_end_once_in_each_revision(stories):
    for story in stories:
        began = {event["data"]["id"] for path in ("/events", "/named", "/crm", "cloud") for event in story.told(path)}
        assert began == {id_ for id_, *_ in story.calls}
        for path in ("/events", "/crm", "cloud"):
            ends = defaultdict(list)
            for id_, type_, revision in firings(story.told(path)):
                if type_ not in NAMED | {"phone_call.started"}:
                    ends[id_].append((revision, type_))
            for id_, *_, last in story.calls:
                assert [revision for revision, _ in sorted(ends[id_])] == list(range(1, last + 1))
                assert len({type_ for _, type_ in ends[id_]}) == 1


def test_what_the_box_said_of_itself_is_on_the_disk_in_the_next_life(stories):
    """A commit is told in the log after it is safe."""
    for story in stories:
        calls = {uuid: facts for _, uuid, *facts in story.calls}
        rows = {id_: facts for id_, *facts in story.rows}
        for line in (line for log in story.logs for line in log):
            match line:
                case {"event": "call", "call": uuid, "state": state}:
                    answered_at, joined_at, reason, _ = calls[uuid]
                    assert answered_at or state != "active"
                    assert joined_at or state != "joined"
                    assert reason == line.get("reason", reason)
                case {"event": "recorded", "call": uuid}:
                    assert rows[uuid][2] is not None
                case {"event": "recording uploaded", "recording": id_}:
                    assert rows[id_][3] == "uploaded"


def test_each_recording_can_be_read_and_is_what_its_row_says(stories):
    for story in stories:
        files = {path.stem: path for path in story.recordings.iterdir()}
        assert set(files) == {id_ for id_, *_ in story.rows}
        for id_, _, count, digest, _ in story.rows:
            assert frames(files[id_]) >= count > 0
            assert soundfile.read(files[id_])[0].shape[1] == 2
            assert sha256(files[id_].read_bytes()).hexdigest() == digest


def test_of_a_recording_the_last_second_is_missing_at_most_and_nothing_that_was_synced(stories):
    most_s = 0.0
    for story in stories:
        made = {id_: count for id_, _, count, *_ in story.rows}
        for cut, log in zip(story.cuts, story.logs, strict=False):
            assert all(made.get(uuid, 0) >= safe for uuid, safe in cut.safe.items())
            for uuid, lasted_s in talks(log, cut):
                lost_s = lasted_s - made.get(uuid, 0) / 8000
                assert lost_s <= LOST_S + LATE_TIMES * cut.late_s
                most_s = max(most_s, lost_s)
    print(f"{most_s:.2f} s are missing at most")


def talks(log: Sequence[dict[str, Any]], cut: Cut) -> Iterator[tuple[str, float]]:
    """For how many seconds who were joined in this life talked to each other."""
    at = defaultdict(dict)
    for line in log:
        if line["event"] == "call":
            at[line["call"]][line["state"]] = datetime.fromisoformat(line["timestamp"])
    for uuid, states in at.items():
        if "joined" in states:
            yield uuid, (states.get("ended", cut.at) - states["joined"]).total_seconds()


def test_each_recording_is_heard_at_its_address(stories):
    for story in stories:
        recorded = {call: digest for _, call, _, digest, _ in story.rows}
        assert {call: sha256(content).hexdigest() for call, content in story.heard.items()} == recorded


def test_each_recording_comes_to_the_cloud_once(stories):
    for story in stories:
        there = {file.stem: sha256(file.read_bytes()).hexdigest() for file in (story.cloud / "recordings").iterdir()}
        assert there == {id_: digest for id_, _, _, digest, _ in story.rows}
        assert {upload for *_, upload in story.rows} == {"uploaded"}
        brought = Counter(line for line in story.printed if line.startswith("recording "))
        assert brought == {f"recording {id_}.mp3": 1 for id_, *_ in story.rows}


def test_nothing_is_left_open_and_no_life_finds_anything_wrong(stories):
    for story in stories:
        assert all(reason for *_, reason, _ in story.calls)
        assert not story.open_legs
        for line in (line for log in story.logs for line in log):
            assert line["level"] not in ("error", "critical"), (
                f"{line['event']}: {line.get('exception') or line.get('error')}"
            )
