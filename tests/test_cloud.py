"""A cloud's two lanes: what troubles them and for how long, what they set aside, and the hours of recordings.

Against a place that answers as it is told; against examples/ingest.py in test_ingest_server.
"""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
import trio
from structlog.testing import capture_logs

from tests.clouds import NOON, Shelf, answer, open_place, spoken


async def test_a_file_that_can_not_be_read_stops_both_lanes_and_not_the_service(tmp_path, mock_clock):
    async with open_place(tmp_path) as (box, place):
        await box.happen(1)
        await box.record("one", 1024)
        with closing(sqlite3.connect(tmp_path / "box.db")) as connection:
            for table in ("deliveries", "recordings"):
                connection.execute(f"ALTER TABLE {table} RENAME TO lost_{table}")
            box.start()
            await trio.testing.wait_all_tasks_blocked(0.05)
            for table in ("deliveries", "recordings"):
                connection.execute(f"ALTER TABLE lost_{table} RENAME TO {table}")
        mock_clock.jump(30)
        await box.until("events", waiting=0)
        await box.until("recordings", waiting=0)
        assert {request.method for request in place.requests} == {"POST", "HEAD", "PUT"}


async def test_before_the_clock_is_set_nothing_goes(tmp_path, mock_clock):
    async with open_place(tmp_path) as (box, _):
        box.epoch = NOON.replace(year=1970)
        await box.record("a", 10)
        await box.happen(1)
        box.start()
        await box.until("events", state="offline", waiting=1)
        await box.until("recordings", state="offline", waiting=1)
        box.epoch = NOON
        mock_clock.jump(30)
        await box.until("events", state="ok")
        await box.until("recordings", waiting=0)


@pytest.mark.parametrize(
    ("said", "state", "again_s"),
    [
        (answer(401), "denied", 300),
        (answer(403), "denied", 300),
        (answer(404), "missing", 300),
        (answer(410), "missing", 300),
        (answer(301, Location="/elsewhere"), "missing", 300),
        (answer(308, Location="/elsewhere"), "missing", 300),
        (answer(429), "busy", 30),
        (answer(503, Retry_After="600"), "busy", 600),
        (answer(507), "full", 300),
        (answer(500), "failing", 5),
        (None, "unreachable", 5),
        (b"garbage\r\n\r\n", "unreachable", 5),
    ],
    ids=spoken,
)
async def test_what_troubles_the_cloud_costs_no_event(tmp_path, mock_clock, said, state, again_s):
    async with open_place(tmp_path) as (box, place):
        place.answers = lambda _: said
        await box.happen(1)
        box.start()
        report = await box.until("events", state=state)
        assert (report["again_s"], report["waiting"]) == (again_s, 1)
        place.answers = Shelf()
        mock_clock.jump(again_s)
        # The one that a cloud failed over lets others go first.
        mock_clock.jump(3600 if state == "failing" else 0)
        await box.until("events", state="ok", waiting=0)
        assert {request.path for request in place.requests} == {"/events"}


async def test_a_pause_is_longer_each_time(tmp_path, mock_clock):
    async with open_place(tmp_path) as (box, place):
        place.answers = lambda _: None
        await box.happen(1)
        box.start()
        for again_s in (5, 10, 20, 40):
            assert (await box.until("events", again_s=again_s))["state"] == "unreachable"
            mock_clock.jump(again_s)


@pytest.mark.parametrize("status", [409, 413, 415, 422])
async def test_an_event_that_is_refused_delays_no_other(tmp_path, status):
    async with open_place(tmp_path) as (box, place):
        place.answers = lambda request: answer(status if json.loads(request.body)["data"]["id"] == 1 else 204)
        await box.happen(1, 2)
        box.start()
        await box.until("events", waiting=0, state="ok")
        assert len(place.requests) == 2


async def test_an_event_that_the_cloud_fails_over_lets_others_go_first(tmp_path, mock_clock):
    async with open_place(tmp_path) as (box, place):
        place.answers = lambda request: answer(500 if json.loads(request.body)["data"]["id"] == 1 else 204)
        await box.happen(1, 2, 3)
        box.start()
        await box.until("events", state="failing")
        mock_clock.jump(5)
        await box.until("events", state="ok", waiting=1)
        mock_clock.jump(3600)
        await box.until("events", state="failing", waiting=1)
        assert [json.loads(request.body)["data"]["id"] for request in place.requests] == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("said", "state", "again_s"),
    [
        (answer(401), "denied", 300),
        (answer(403), "denied", 300),
        (answer(404), "missing", 300),
        (answer(307, Location="/elsewhere"), "missing", 300),
        (answer(308, Location="/elsewhere"), "missing", 300),
        (answer(429, Retry_After="90"), "busy", 90),
        (answer(507), "full", 300),
        (answer(500), "failing", 5),
        (answer(422), "failing", 5),
        (answer(409), "failing", 5),
        (answer(308), "failing", 5),
        (None, "unreachable", 5),
    ],
    ids=spoken,
)
async def test_what_troubles_the_cloud_costs_no_recording(tmp_path, mock_clock, said, state, again_s):
    async with open_place(tmp_path) as (box, place):
        content = await box.record("a", 3000)
        shelf = Shelf()
        place.answers = lambda request: shelf(request) if request.method == "HEAD" else said
        box.start()
        report = await box.until("recordings", state=state)
        assert (report["again_s"], report["waiting"], report["waiting_bytes"]) == (again_s, 1, 3000)
        place.answers = shelf
        mock_clock.jump(again_s)
        await box.until("recordings", state="ok", waiting=0, refused=0)
        assert shelf.there == {"/recordings/a.mp3": content}


@pytest.mark.parametrize("status", [410, 413, 415])
async def test_a_recording_that_is_refused_is_told_and_delays_no_other(tmp_path, status):
    async with open_place(tmp_path) as (box, place):
        shelf = Shelf()
        place.answers = lambda request: answer(status) if request.path == "/recordings/a.mp3" else shelf(request)
        await box.record("a", 3000)
        await box.record("b", 3000)
        with capture_logs() as logs:
            box.start()
            await box.until("recordings", waiting=0, refused=1, state="ok")
        (said,) = [entry for entry in logs if "refused" in entry["event"]]
        assert (said["recording"], said["reason"]) == ("a", f"status {status}")


async def test_a_recording_that_never_arrives_as_it_is_is_refused_in_the_end(tmp_path, mock_clock):
    async with open_place(tmp_path) as (box, place):
        await box.record("a", 3000)
        place.answers = lambda request: answer(404 if request.method == "HEAD" else 422)
        box.start()
        for again_s in (5, 10, 20, 40):
            await box.until("recordings", state="failing", again_s=again_s)
            mock_clock.jump(again_s)
        await box.until("recordings", waiting=0, refused=1)
        assert len(place.seen("PUT")) == 5


async def test_a_recording_that_the_cloud_fails_over_lets_others_go_first(tmp_path, mock_clock):
    async with open_place(tmp_path) as (box, place):
        shelf = Shelf()
        place.answers = lambda request: answer(500) if request.path == "/recordings/a.mp3" else shelf(request)
        await box.record("a", 3000)
        await box.record("b", 3000)
        box.start()
        await box.until("recordings", state="failing", waiting=2)
        mock_clock.jump(5)
        await box.until("recordings", state="failing", waiting=1)
        assert list(shelf.there) == ["/recordings/b.mp3"]


@pytest.mark.parametrize("left", [None, 100])
async def test_a_recording_that_vanished_or_is_cut_short_delays_no_other(tmp_path, left):
    async with open_place(tmp_path) as (box, place):
        await box.record("a", 3000)
        content = await box.record("b", 3000)
        file = box.directory / "a.mp3"
        if left is None:
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:left])
        box.start()
        await box.until("recordings", waiting=0, refused=1)
        assert place.answers.there == {"/recordings/b.mp3": content}


async def test_recordings_that_are_made_while_it_runs_go_too(tmp_path):
    async with open_place(tmp_path, events=()) as (box, place):
        box.start()
        await box.until("recordings", waiting=0)
        await box.record("a", 10)
        await box.until("recordings", waiting=0, state="ok")
        while not place.seen("PUT"):
            await trio.testing.wait_all_tasks_blocked(0.002)
        assert "events" not in await box.cloud.report()


async def test_outside_their_hours_recordings_wait_and_events_go(tmp_path, mock_clock):
    local = NOON.astimezone()
    hours = f"{local + timedelta(hours=2):%H:%M}-{local + timedelta(hours=3):%H:%M}"
    async with open_place(tmp_path, hours=hours) as (box, _):
        await box.record("a", 10)
        await box.happen(1)
        box.start()
        await box.until("events", waiting=0)
        await box.until("recordings", state="outside its hours", waiting=1)
        # It looks at the clock each minute.
        for _ in range(119):
            mock_clock.jump(60)
            await trio.testing.wait_all_tasks_blocked()
        await box.until("recordings", state="outside its hours", waiting=1)
        mock_clock.jump(60)
        await box.until("recordings", state="ok", waiting=0)


async def test_before_the_clock_is_set_no_hour_is_theirs(tmp_path, mock_clock):
    local = NOON.astimezone()
    hours = f"{local - timedelta(hours=1):%H:%M}-{local + timedelta(hours=1):%H:%M}"
    async with open_place(tmp_path, hours=hours) as (box, place):
        box.epoch = NOON.replace(year=1970)
        await box.record("a", 10)
        box.start()
        await box.until("recordings", state="outside its hours", waiting=1)
        box.epoch = NOON
        mock_clock.jump(60)
        await box.until("recordings", state="ok", waiting=0)
        assert len(place.seen("PUT")) == 1


async def test_the_end_of_their_hours_cuts_what_is_on_its_way(tmp_path, mock_clock):
    local = NOON.astimezone()
    hours = f"{local - timedelta(hours=1):%H:%M}-{local + timedelta(seconds=60):%H:%M}"
    async with open_place(tmp_path, hours=hours) as (box, place):
        await box.record("a", 10)
        place.held = trio.Event()
        box.start()
        while not place.requests:
            await trio.testing.wait_all_tasks_blocked(0.002)
        mock_clock.jump(30)
        assert (await box.lane("recordings"))["state"] == "ok"
        mock_clock.jump(30)
        await box.until("recordings", state="outside its hours", waiting=1)
