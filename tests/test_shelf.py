"""The shelf: what waits to be made small, what fails, and which recordings go when."""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import structlog
import trio
import trio.testing
from structlog.testing import capture_logs

from appliance import shelf as shelf_module
from appliance.archive import RecordingState
from appliance.call import Ended, Reason, State
from appliance.config import Keeping, Webhook
from appliance.ingest import Verdict as Taken
from appliance.links import Links
from appliance.outbox import Attempt, Delivery
from appliance.recording import Wav
from appliance.shelf import ENCODE_AGAIN_S, Shelf
from appliance.store import Store, open_store
from appliance.webhook import Verdict
from native import Engine
from tests.test_store import opened

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
MIB = 2**20
HOOK = Webhook.model_construct(url="https://crm.example/hook", secret="s" * 24, events=("*",), name=None)
LINKS = Links(b"k" * 32, "https://box.example")


@dataclass(frozen=True)
class Mp3:
    frames: int = 8000
    size_bytes: int = MIB
    sha256: str = "ab" * 32


@dataclass
class Room:
    """A store and its directory. MP3s are of a MiB, as far as anybody knows."""

    store: Store
    directory: Path
    free_bytes: int = 10**12

    def shelf(self, **keeping: int) -> Shelf:
        return Shelf(
            self.store.recordings,
            self.directory,
            now=lambda: NOON,
            keeping=Keeping(**keeping),
            disk_free=lambda _: self.free_bytes,
        )

    async def begin(self, name: str) -> Path:
        call = await opened(self.store, name, started_at=NOON)
        wav = self.directory / f"{name}.wav"
        await self.store.recordings.open(call.id, wav)
        return wav

    async def end(self, name: str) -> None:
        record = await self.store.archive.call(name)
        assert record
        await self.store.save(
            replace(record.call, state=State.ENDED, ended_at=NOON, end=Ended(Reason.HANGUP, 16)), told_at=NOON
        )

    async def keep(self, *names: str) -> None:
        for name in names:
            wav = await self.begin(name)
            wav.with_suffix(".mp3").write_bytes(b"an MP3")
            await self.store.recordings.encoded(wav, Mp3(), NOON)
            await self.end(name)

    async def deliver(self) -> None:
        done = Attempt(Verdict.DELIVERED, NOON, 1, 200)
        while isinstance(delivery := await self.store.outbox.next_due(HOOK, NOON), Delivery):
            await self.store.outbox.attempted(HOOK, delivery, done)

    async def grow_older(self, hours: int) -> None:
        with closing(sqlite3.connect(self.directory / "box.db", isolation_level=None)) as database:
            database.execute("UPDATE uptime SET hours = hours + ?", (hours,))

    async def kept(self) -> list[str]:
        """Those that are there, oldest first; each of them has its file, and no other has."""
        found = [each for each in await self.store.archive.recordings(limit=500) if each.state is RecordingState.READY]
        names = sorted(each.id for each in found)
        assert sorted(path.stem for path in self.directory.glob("*.mp3")) == names
        return names

    async def fates(self) -> set[tuple[str, str | None, str | None]]:
        found = await self.store.archive.recordings(limit=500)
        return {(each.id, each.deleted_why, each.deleted_by) for each in found if each.deleted_at == NOON}


@asynccontextmanager
async def open_room(directory: Path, *, uploads: bool = False) -> AsyncIterator[Room]:
    async with open_store(directory / "box.db", [HOOK], uploads=uploads, links=LINKS) as store:
        yield Room(store, directory)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as room:
        yield room


# --- let go ---


async def test_without_a_rule_nothing_goes(room):
    await room.keep("a", "b")
    await room.deliver()
    await room.grow_older(10**6)
    room.free_bytes = 0
    await room.shelf().sweep()
    assert await room.kept() == ["a", "b"]


async def test_what_was_kept_for_its_days_goes_and_what_is_younger_stays(room):
    await room.keep("a")
    await room.grow_older(24)
    await room.keep("b")
    await room.deliver()
    await room.grow_older(47)
    await room.shelf(keep_days=3).sweep()
    assert await room.kept() == ["a", "b"]
    await room.grow_older(1)
    await room.shelf(keep_days=3).sweep()
    assert await room.kept() == ["b"]
    assert await room.fates() == {("a", "expired", None)}


@pytest.mark.parametrize(
    ("rule", "free_mib", "left"),
    [
        ({"max_mib": 5}, 10**6, "abcde"),
        ({"max_mib": 3}, 10**6, "cde"),
        ({"keep_free_mib": 256}, 256, "abcde"),
        ({"keep_free_mib": 256}, 255, "bcde"),
        ({"keep_free_mib": 256}, 254, "cde"),
        ({"keep_free_mib": 256}, 0, ""),
        # The stricter one counts.
        ({"max_mib": 4, "keep_free_mib": 256}, 253, "de"),
    ],
)
async def test_what_there_is_no_room_for_goes_oldest_first_and_no_more_than_that(room, rule, free_mib, left):
    await room.keep(*"abcde")
    await room.deliver()
    room.free_bytes = free_mib * MIB
    await room.shelf(**rule).sweep()
    assert await room.kept() == list(left)
    assert await room.fates() == {(name, "room", None) for name in set("abcde") - set(left)}


@pytest.mark.parametrize("rule", [{"max_mib": 1}, {"keep_days": 1}])
async def test_what_is_not_delivered_stays_and_is_told_of_once(room, rule):
    await room.keep("a", "b")
    await room.grow_older(24)
    shelf = room.shelf(**rule)
    with capture_logs() as lines:
        await shelf.sweep()
        await shelf.sweep()
    assert await room.kept() == ["a", "b"]
    warnings = [line["surplus_bytes"] for line in lines if line["log_level"] == "warning"]
    assert (warnings, shelf.report["surplus_bytes"]) == (([MIB], MIB) if "max_mib" in rule else ([], 0))
    await room.deliver()
    await shelf.sweep()
    assert (await room.kept(), shelf.report["surplus_bytes"]) == (["b"] if "max_mib" in rule else [], 0)


async def test_a_disk_full_of_what_is_not_delivered_has_room_for_calls_and_no_recording(room, monkeypatch):
    await room.keep("a", "b")
    room.free_bytes = 199 * MIB
    block = os.statvfs(room.directory).f_frsize
    full = SimpleNamespace(f_frsize=block, f_bavail=room.free_bytes // block)
    monkeypatch.setattr("appliance.recording.os.statvfs", lambda _: full)
    shelf, ended = room.shelf(keep_free_mib=256), trio.Event()
    with Engine() as engine, capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            await nursery.start(shelf.run)
            wav = await room.begin("c")
            shelf.record(engine.recorder(), wav, ended, structlog.get_logger())
            await until(lambda: any(line["event"] == "nothing recorded" for line in lines))
            await room.end("c")
            ended.set()
            nursery.cancel_scope.cancel()
    assert "less than 200 MiB are free" in next(line["error"] for line in lines if "error" in line)
    assert (await room.kept(), shelf.report["surplus_bytes"]) == (["a", "b"], 57 * MIB)
    last = (await room.store.archive.events(after=0, type_="phone_call.canceled", limit=9))[-1].data
    assert (last["recording_url"], last["revision"]) == (None, 1)
    await room.deliver()
    await shelf.sweep()
    assert await room.kept() == []
    assert await room.fates() == {("a", "room", None), ("b", "room", None)}


async def test_what_the_cloud_has_not_got_stays(tmp_path):
    async with open_room(tmp_path, uploads=True) as room:
        await room.keep("a", "b")
        await room.deliver()
        upload = await room.store.uploads.next()
        assert upload
        await room.store.uploads.tried(upload, Taken.TAKEN)
        await room.shelf(keep_days=1, max_mib=1).sweep()
        assert await room.kept() == ["b"]
        assert await room.fates() == {("a", "room", None)}


async def test_what_belongs_to_a_call_that_goes_on_stays(room):
    wav = await room.begin("a")
    wav.with_suffix(".mp3").write_bytes(b"an MP3")
    await room.store.recordings.encoded(wav, Mp3(), NOON)
    await room.deliver()
    await room.grow_older(24)
    await room.shelf(keep_days=1).sweep()
    assert await room.kept() == ["a"]


async def test_more_than_a_batch_goes_in_one_sweep(room, monkeypatch):
    monkeypatch.setattr(shelf_module, "BATCH", 2)
    await room.keep(*"abcdefgh")
    await room.deliver()
    await room.shelf(max_mib=3).sweep()
    assert await room.kept() == ["f", "g", "h"]


async def test_a_file_that_is_gone_already_holds_nothing_up(room):
    await room.keep("a", "b")
    await room.deliver()
    (room.directory / "a.mp3").unlink()
    await room.shelf(max_mib=1).sweep()
    assert await room.kept() == ["b"]


# --- made small ---


def finished(path: Path, frames: int = 8000) -> None:
    wav = Wav(path, reserve_bytes=0)
    wav.open()
    wav.append(np.random.default_rng(1).integers(-9000, 9000, (frames, 2)).astype("<i2").tobytes())
    wav.close()


async def test_what_the_last_run_left_is_made_small_one_at_a_time_and_told(room):
    names = [f"{number:03}" for number in range(5)]
    for name in names:
        finished(await room.begin(name))
        await room.end(name)
    shelf = room.shelf()
    async with trio.open_nursery() as nursery:
        await nursery.start(shelf.run)
        with trio.fail_after(60):
            while await room.store.recordings.unfinished() or list(room.directory.glob("*.wav")):
                assert len(list(room.directory.glob("*.part"))) <= 1
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert await room.kept() == names
    told = [event.data for event in await room.store.archive.events(after=0, type_="phone_call.canceled", limit=20)]
    assert [data["revision"] for data in told] == [1] * 5 + [2] * 5
    assert [data["recording_url"] is None for data in told] == [True] * 5 + [False] * 5
    assert list(room.directory.glob("*.wav")) == []


@pytest.mark.parametrize("left", [b"", b"RIFF", bytes(44)], ids=["name", "part", "zeros"])
async def test_a_recording_of_which_a_power_cut_left_less_than_its_beginning_is_none(room, left):
    wav = await room.begin("a")
    wav.write_bytes(left)
    await room.end("a")
    shelf = room.shelf()
    async with trio.open_nursery() as nursery:
        await nursery.start(shelf.run)
        await until(lambda: not wav.exists())
        nursery.cancel_scope.cancel()
    assert (await room.store.recordings.unfinished(), shelf.report["failing"]) == ([], 0)


async def test_what_was_unlinked_and_is_back_after_a_power_cut_goes_again_and_sound_stays(room):
    nothing, encoded, unknown = (room.directory / f"{name}.wav" for name in ("nothing", "encoded", "unknown"))
    finished(nothing, frames=0)
    for wav in (encoded, unknown):
        finished(wav)
    encoded.with_suffix(".mp3").touch()
    async with trio.open_nursery() as nursery:
        await nursery.start(room.shelf().run)
        nursery.cancel_scope.cancel()
    assert list(room.directory.glob("*.wav")) == [unknown]


async def test_what_can_not_be_made_small_is_tried_again_and_holds_up_nobody(room, mock_clock):
    broken = await room.begin("a")
    broken.write_bytes(b"no recording" * 10)
    empty = await room.begin("b")
    finished(empty, frames=0)
    shelf = room.shelf()
    with capture_logs() as lines:

        def waits() -> list[float]:
            return [line["again_s"] for line in lines if line["event"] == "recording not encoded"]

        async with trio.open_nursery() as nursery:
            await nursery.start(shelf.run)
            await until(lambda: not empty.exists())
            for tries, again_s in enumerate([*ENCODE_AGAIN_S, ENCODE_AGAIN_S[-1]], 1):
                await until(lambda tries=tries: len(waits()) == tries)
                assert (shelf.report["waiting"], shelf.report["failing"], broken.exists()) == (1, 1, True)
                mock_clock.jump(again_s - 1)
                await trio.testing.wait_all_tasks_blocked(0.002)
                assert (waits()[-1], len(waits())) == (again_s, tries)
                if tries == len(ENCODE_AGAIN_S) + 1:
                    broken.unlink()
                mock_clock.jump(2)
            await until(lambda: shelf.report["waiting"] == 0)
            nursery.cancel_scope.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Threads and processes are at work beside us, whatever the test's clock says."""
    for _ in range(20_000):
        if holds():
            return
        await trio.testing.wait_all_tasks_blocked(0.002)
    raise AssertionError("it never came to be")


async def test_two_hundred_that_wait_cost_a_path_each(room):
    names = [f"{number:03}" for number in range(200)]
    for name in names:
        await room.begin(name)
    shelf = room.shelf()
    for wav in await room.store.recordings.unfinished():
        shelf._wait(wav)
    assert (shelf.report["waiting"], shelf.report["failing"]) == (200, 0)
    # In the order in which they were made.
    async with trio.open_nursery() as nursery:
        with capture_logs() as lines:
            nursery.start_soon(shelf._encode_all)
            await until(lambda: len(lines) == 200)
        nursery.cancel_scope.cancel()
    assert [line["call"] for line in lines if line["event"] == "nothing recorded"] == names


async def test_a_recorder_is_taken_down_and_made_small(room):
    shelf, ended = room.shelf(), trio.Event()
    with Engine() as engine:
        recorder = engine.recorder()
        engine.connect(engine.player(bytes(2 * 8000)), recorder.left)
        async with trio.open_nursery() as nursery:
            await nursery.start(shelf.run)
            wav = await room.begin("a")
            shelf.record(recorder, wav, ended, structlog.get_logger())
            engine.tick(50)
            ended.set()
            await until(lambda: wav.with_suffix(".mp3").exists() and not wav.exists())
            nursery.cancel_scope.cancel()
    assert (await room.kept()) == ["a"]
