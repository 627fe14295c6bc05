"""Against a place that answers as it is told; against examples/ingest.py in test_ingest_server."""

import hashlib
import hmac
import json
import sqlite3
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from appliance.depot import Brake, _Blocks
from appliance.ingest import PART_BYTES, digest_field
from tests.bare_http import next_request
from tests.certificates import certify
from tests.clouds import NOON, TOKEN, Box, open_box, settings

KIB = 1024


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    # That of a HEAD tells of the body that a GET would have.
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def spoken(value: object) -> str | None:
    """An answer's name in a test's; it says nothing for None, and other things speak for themselves."""
    if isinstance(value, bytes):
        return value.partition(b"\r")[0].decode().replace("HTTP/1.1 ", "")
    return "nothing" if value is None else None


@dataclass
class Place:
    """An HTTP server, bare. What it answers is `answers`' affair; None: it says nothing, and hangs up."""

    port: int = 0
    answers: Callable[[Request], bytes | None] = lambda _: answer(204)
    requests: list[Request] = field(default_factory=list)
    held: trio.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def seen(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]

    async def serve(self, stream: trio.abc.Stream) -> None:
        buffer = bytearray()
        try:
            while (came := await next_request(stream, buffer)) is not None:
                start, headers, body = came
                method, path, _ = start.split(" ")
                request = Request(method, path, {name.lower(): value for name, value in headers.items()}, body)
                self.requests.append(request)
                if self.held is not None:
                    await self.held.wait()
                said = self.answers(request)
                if said is None:
                    return
                await stream.send_all(said)
        except (trio.BrokenResourceError, ssl.SSLError):
            pass
        finally:
            await trio.aclose_forcefully(stream)


class Shelf:
    """Answers as an ingest address does: what came of each recording, by its path."""

    def __init__(self) -> None:
        self.there: dict[str, bytes] = {}

    def __call__(self, request: Request) -> bytes:
        there = self.there.get(request.path, b"")
        if request.method == "POST":
            return answer(204)
        if request.method == "PUT":
            first, size = 0, len(request.body)
            if asked := request.headers.get("content-range"):
                first, size = int(asked.split()[1].split("-")[0]), int(asked.split("/")[1])
            there = self.there[request.path] = there[:first] + request.body
            return answer(201) if len(there) == size else answer(308, Range=f"bytes=0-{len(there) - 1}")
        if not there:
            return answer(404)
        return answer(308, Range=f"bytes=0-{len(there) - 1}")


@asynccontextmanager
async def opened(tmp_path: Path, *, bucket: bool = False, **others: Any) -> AsyncIterator[tuple[Box, Place]]:
    place = Place(answers=Shelf())
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        place.port = listener.socket.getsockname()[1]
        # Whatever it is by then.
        nursery.start_soon(trio.serve_listeners, lambda stream: place.serve(stream), [listener])
        chosen = settings(None, presign=f"{place.url}/presign", **others) if bucket else settings(place.url, **others)
        async with open_box(tmp_path, chosen) as box:
            yield box, place
        nursery.cancel_scope.cancel()


async def test_a_file_that_can_not_be_read_stops_both_lanes_and_not_the_service(tmp_path, mock_clock):
    async with opened(tmp_path) as (box, place):
        await box.happen(1)
        await box.record("one", KIB)
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


# --- events ---------------------------------------------------------------------------------------------------------


async def test_events_are_posted_in_their_order_with_the_token(tmp_path):
    async with opened(tmp_path) as (box, place):
        await box.happen(*range(20))
        box.start()
        await box.until("events", waiting=0)
        requests = place.seen("POST")
        assert [json.loads(request.body)["data"]["id"] for request in requests] == list(range(20))
        first = requests[0]
        assert (first.path, first.headers["authorization"]) == ("/events", f"Bearer {TOKEN}")
        assert first.headers["webhook-id"] == json.loads(first.body)["id"]
        t, v1 = (part.partition("=")[2] for part in first.headers["phonevoice-signature"].split(","))
        assert v1 == hmac.new(TOKEN.encode(), f"{t}.".encode() + first.body, hashlib.sha256).hexdigest()


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
    async with opened(tmp_path) as (box, place):
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
    async with opened(tmp_path) as (box, place):
        place.answers = lambda _: None
        await box.happen(1)
        box.start()
        for again_s in (5, 10, 20, 40):
            assert (await box.until("events", again_s=again_s))["state"] == "unreachable"
            mock_clock.jump(again_s)


async def test_an_answer_that_never_ends_is_none(tmp_path, mock_clock):
    async with opened(tmp_path) as (box, place):
        # The next byte always comes within the time that one has.
        async def drip(stream: trio.abc.Stream) -> None:
            await stream.send_all(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n")
            while True:
                await trio.sleep(1)
                await stream.send_all(b"x")

        place.serve = drip
        await box.happen(1)
        box.start()
        with trio.fail_after(200):
            while (await box.lane("events"))["state"] == "ok":
                mock_clock.jump(1)
                await trio.testing.wait_all_tasks_blocked(0.002)
        assert (await box.lane("events"))["reason"] == "no answer in 60 s"


@pytest.mark.parametrize("status", [409, 413, 415, 422])
async def test_an_event_that_is_refused_delays_no_other(tmp_path, status):
    async with opened(tmp_path) as (box, place):
        place.answers = lambda request: answer(status if json.loads(request.body)["data"]["id"] == 1 else 204)
        await box.happen(1, 2)
        box.start()
        await box.until("events", waiting=0, state="ok")
        assert len(place.requests) == 2


async def test_an_event_that_the_cloud_fails_over_lets_others_go_first(tmp_path, mock_clock):
    async with opened(tmp_path) as (box, place):
        place.answers = lambda request: answer(500 if json.loads(request.body)["data"]["id"] == 1 else 204)
        await box.happen(1, 2, 3)
        box.start()
        await box.until("events", state="failing")
        mock_clock.jump(5)
        await box.until("events", state="ok", waiting=1)
        mock_clock.jump(3600)
        await box.until("events", state="failing", waiting=1)
        assert [json.loads(request.body)["data"]["id"] for request in place.requests] == [1, 2, 3, 1]


async def test_before_the_clock_is_set_nothing_goes(tmp_path, mock_clock):
    async with opened(tmp_path) as (box, _):
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


async def test_nothing_goes_to_the_box_itself_but_in_a_lab(tmp_path):
    async with opened(tmp_path) as (box, place):
        await box.happen(1)
        box.start(allow_loopback=False)
        report = await box.until("events", state="unreachable")
        assert "only lab.allow_loopback permits" in report["reason"]
        assert place.requests == []


# --- recordings -----------------------------------------------------------------------------------------------------


async def test_a_short_recording_is_one_put_with_its_digest(tmp_path, mock_clock):
    async with opened(tmp_path) as (box, place):
        content = await box.record("a", 3000)
        box.start()
        await box.until("recordings", waiting=0, state="ok")
        head, put = (request for request in place.requests if request.path == "/recordings/a.mp3")
        assert (head.method, put.method, put.body) == ("HEAD", "PUT", content)
        assert put.headers["authorization"] == head.headers["authorization"] == f"Bearer {TOKEN}"
        digest = digest_field(hashlib.sha256(content).hexdigest())
        assert (put.headers["content-digest"], put.headers["repr-digest"]) == (digest, digest)
        assert put.headers["branchline-recording"] == 'call=1, frames=8000, answered="2026-06-04T12:00:00.000Z"'
        assert put.headers["content-type"] == "audio/mpeg"
        assert "content-range" not in put.headers


async def test_a_long_recording_goes_in_parts(tmp_path):
    async with opened(tmp_path) as (box, place):
        size = 2 * PART_BYTES + 5
        content = await box.record("a", size)
        box.start()
        await box.until("recordings", waiting=0)
        puts = place.seen("PUT")
        assert [put.headers["content-range"] for put in puts] == [
            f"bytes 0-{PART_BYTES - 1}/{size}",
            f"bytes {PART_BYTES}-{2 * PART_BYTES - 1}/{size}",
            f"bytes {2 * PART_BYTES}-{size - 1}/{size}",
        ]
        assert b"".join(put.body for put in puts) == content
        for put in puts:
            assert put.headers["content-digest"] == digest_field(hashlib.sha256(put.body).hexdigest())


async def test_only_the_rest_goes_of_what_is_there_in_part(tmp_path):
    async with opened(tmp_path) as (box, place):
        content = await box.record("a", 5000)
        place.answers.there["/recordings/a.mp3"] = content[:2000]
        box.start()
        await box.until("recordings", waiting=0)
        (put,) = place.seen("PUT")
        assert put.headers["content-range"] == "bytes 2000-4999/5000"
        assert put.body == content[2000:]


async def test_what_is_all_there_but_not_acknowledged_has_its_end_sent_again(tmp_path):
    async with opened(tmp_path) as (box, place):
        content = await box.record("a", 5000)
        place.answers.there["/recordings/a.mp3"] = content
        box.start()
        await box.until("recordings", waiting=0)
        (put,) = place.seen("PUT")
        assert put.headers["content-range"] == "bytes 4999-4999/5000"


@pytest.mark.parametrize("told", ["digest", "length"])
async def test_what_is_there_already_is_not_sent(tmp_path, told):
    async with opened(tmp_path) as (box, place):
        content = await box.record("a", 3000)
        headers = {"Content_Length": "3000"}
        if told == "digest":
            headers = {"Repr_Digest": digest_field(hashlib.sha256(content).hexdigest())}
        place.answers = lambda _: answer(200, **headers)
        box.start()
        await box.until("recordings", waiting=0)
        assert [request.method for request in place.requests] == ["HEAD"]


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
    async with opened(tmp_path) as (box, place):
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
    async with opened(tmp_path) as (box, place):
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
    async with opened(tmp_path) as (box, place):
        await box.record("a", 3000)
        place.answers = lambda request: answer(404 if request.method == "HEAD" else 422)
        box.start()
        for again_s in (5, 10, 20, 40):
            await box.until("recordings", state="failing", again_s=again_s)
            mock_clock.jump(again_s)
        await box.until("recordings", waiting=0, refused=1)
        assert len(place.seen("PUT")) == 5


async def test_a_recording_that_the_cloud_fails_over_lets_others_go_first(tmp_path, mock_clock):
    async with opened(tmp_path) as (box, place):
        shelf = Shelf()
        place.answers = lambda request: answer(500) if request.path == "/recordings/a.mp3" else shelf(request)
        await box.record("a", 3000)
        await box.record("b", 3000)
        box.start()
        await box.until("recordings", state="failing", waiting=2)
        mock_clock.jump(5)
        await box.until("recordings", state="failing", waiting=1)
        assert list(shelf.there) == ["/recordings/b.mp3"]


async def test_a_server_that_takes_a_part_for_the_whole_is_found_out(tmp_path):
    async with opened(tmp_path) as (box, place):
        place.answers = lambda request: answer(404 if request.method == "HEAD" else 201)
        await box.record("a", PART_BYTES + 1)
        box.start()
        report = await box.until("recordings", state="missing", waiting=1)
        assert "Content-Range" in report["reason"]


@pytest.mark.parametrize("left", [None, 100])
async def test_a_recording_that_vanished_or_is_cut_short_delays_no_other(tmp_path, left):
    async with opened(tmp_path) as (box, place):
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
    async with opened(tmp_path, events=()) as (box, place):
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
    async with opened(tmp_path, hours=hours) as (box, _):
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
    async with opened(tmp_path, hours=hours) as (box, place):
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
    async with opened(tmp_path, hours=hours) as (box, place):
        await box.record("a", 10)
        place.held = trio.Event()
        box.start()
        while not place.requests:
            await trio.testing.wait_all_tasks_blocked(0.002)
        mock_clock.jump(30)
        assert (await box.lane("recordings"))["state"] == "ok"
        mock_clock.jump(30)
        await box.until("recordings", state="outside its hours", waiting=1)


async def test_blocks_leave_as_fast_as_they_may(autojump_clock):
    # 100 kB at 10 kB a second: the last block leaves when those before it have had their time.
    brake = Brake(10_000)

    async def block(place: range) -> bytes:
        return bytes(len(place))

    began_at = trio.current_time()
    blocks = [block async for block in _Blocks(100_000, block, brake)]
    assert sum(map(len, blocks)) == 100_000
    assert max(map(len, blocks)) <= 2_500
    assert trio.current_time() - began_at == pytest.approx(10, abs=0.3)
    # What comes next waits its turn.
    blocks = [block async for block in _Blocks(10_000, block, brake)]
    assert trio.current_time() - began_at == pytest.approx(11, abs=0.3)


async def test_a_recording_takes_the_time_that_the_limit_gives_it(tmp_path, mock_clock):
    async with opened(tmp_path, bandwidth_kib_s=1) as (box, place):
        content = await box.record("a", 4 * KIB)
        box.start()
        seconds = 0
        while (await box.lane("recordings"))["waiting"]:
            await trio.testing.wait_all_tasks_blocked(0.02)
            if (await box.lane("recordings"))["waiting"]:
                mock_clock.jump(0.5)
                seconds += 0.5
        assert 3.5 <= seconds <= 6
        assert place.answers.there["/recordings/a.mp3"] == content


# --- a bucket -------------------------------------------------------------------------------------------------------


class Store:
    """Presigns, and is the bucket."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.objects: dict[str, bytes] = {}
        self.order: dict[str, Any] = {}
        self.bucket = 200

    def __call__(self, request: Request) -> bytes:
        if request.path == "/presign":
            self.order = json.loads(request.body)
            url = f"{self.place.url}/bucket/{self.order['name']}?X-Amz-Signature=abcdef"
            headers = {"x-amz-checksum-sha256": "checksum"}
            return answer(200, json.dumps({"url": url, "headers": headers}).encode())
        if self.bucket == 200:
            self.objects[request.path.partition("?")[0]] = request.body
        return answer(self.bucket)


async def test_events_and_recordings_are_objects_of_a_bucket(tmp_path):
    async with opened(tmp_path, bucket=True) as (box, place):
        place.answers = bucket = Store(place)
        await box.happen(1)
        box.start()
        await box.until("events", waiting=0)
        name = f"events/{json.loads(place.seen('PUT')[0].body)['id']}.json"
        assert bucket.order["name"] == name
        content = await box.record("a", 200_000)
        await box.until("recordings", waiting=0)
        digest = hashlib.sha256(content).hexdigest()
        recording = {"name": "recordings/a.mp3", "type": "audio/mpeg", "size": 200_000, "sha256": digest}
        while len(bucket.objects) < 2:
            await trio.testing.wait_all_tasks_blocked(0.002)
        assert bucket.order == recording
        assert bucket.objects["/bucket/recordings/a.mp3"] == content
        assert list(bucket.objects) == [f"/bucket/{name}", "/bucket/recordings/a.mp3"]
        for request in place.requests:
            presigned = request.method == "PUT"
            assert request.headers.get("authorization") == (None if presigned else f"Bearer {TOKEN}")
            assert request.headers.get("x-amz-checksum-sha256") == ("checksum" if presigned else None)


async def test_an_address_that_is_too_old_is_asked_for_anew(tmp_path, mock_clock):
    async with opened(tmp_path, bucket=True) as (box, place):
        place.answers = bucket = Store(place)
        bucket.bucket = 403
        await box.record("a", 1000)
        box.start()
        await box.until("recordings", state="failing", waiting=1)
        bucket.bucket = 200
        mock_clock.jump(5)
        await box.until("recordings", state="ok", waiting=0)
        assert len(place.seen("POST")) == 2


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        (answer(204), {"waiting": 0, "refused": 0}),
        (answer(413), {"waiting": 0, "refused": 1}),
        (answer(401), {"state": "denied", "waiting": 1}),
        (answer(308), {"state": "missing", "waiting": 1}),
        (answer(200, b"?"), {"state": "failing", "waiting": 1}),
        (answer(200, b"[]"), {"state": "failing", "waiting": 1}),
        (answer(200, b'{"url": "ftp://x/"}'), {"state": "failing", "waiting": 1}),
        (answer(200, b'{"url": "http://x/", "headers": {"a": "b\\r\\nc"}}'), {"state": "failing", "waiting": 1}),
        (answer(200, b'{"url": "http://127.0.0.1:1/", "headers": {"a": 1}}'), {"state": "failing", "waiting": 1}),
    ],
    ids=spoken,
)
async def test_what_a_presigner_answers(tmp_path, said, facts):
    async with opened(tmp_path, bucket=True) as (box, place):
        place.answers = lambda _: said
        await box.record("a", 1000)
        box.start()
        await box.until("recordings", **facts)


async def test_no_secret_is_in_a_log_or_a_report(tmp_path, mock_clock):
    async with opened(tmp_path, bucket=True) as (box, place):
        place.answers = bucket = Store(place)
        with capture_logs() as logs:
            await box.record("a", 1000)
            await box.happen(1)
            bucket.bucket = 500
            box.start()
            said = [await box.until("events", state="failing"), await box.until("recordings", state="failing")]
            place.answers = lambda request: None if request.method == "PUT" else bucket(request)
            mock_clock.jump(3600)
            said += [await box.until("events", state="unreachable"), await box.until("recordings", state="unreachable")]
        for text in (str(logs), str(said)):
            assert TOKEN not in text
            assert "X-Amz" not in text


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_certificate_is_good_by_an_authority_that_the_box_trusts(tmp_path, trusted):
    tls, ca, _ = certify(tmp_path, "127.0.0.1")
    place = Place(answers=Shelf())
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_ssl_over_tcp_listeners(0, tls, host="127.0.0.1")
        port = listener.transport_listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, place.serve, [listener])
        async with open_box(tmp_path, settings(f"https://127.0.0.1:{port}")) as box:
            await box.happen(1)
            box.start(tls=ssl.create_default_context(cafile=ca if trusted else None))
            report = await box.until("events", state="ok" if trusted else "unreachable", waiting=1 - trusted)
            assert trusted or "certificate verify failed" in report["reason"]
        nursery.cancel_scope.cancel()
    assert len(place.requests) == trusted
