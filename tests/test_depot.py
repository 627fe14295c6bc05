"""What a cloud is sent: an ingest address in one piece, in parts or the rest of them, and a bucket by its presigner."""

import hashlib
import hmac
import json
import ssl
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from appliance.depot import Brake, _Blocks
from appliance.ingest import PART_BYTES, digest_field
from tests.certificates import certify
from tests.clouds import TOKEN, Place, Request, Shelf, answer, open_box, open_place, settings, spoken

KIB = 1024


async def test_events_are_posted_in_their_order_with_the_token(tmp_path):
    async with open_place(tmp_path) as (box, place):
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


async def test_an_answer_that_never_ends_is_none(tmp_path, mock_clock):
    async with open_place(tmp_path) as (box, place):
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


async def test_a_short_recording_is_one_put_with_its_digest(tmp_path, mock_clock):
    async with open_place(tmp_path) as (box, place):
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
    async with open_place(tmp_path) as (box, place):
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
    async with open_place(tmp_path) as (box, place):
        content = await box.record("a", 5000)
        place.answers.there["/recordings/a.mp3"] = content[:2000]
        box.start()
        await box.until("recordings", waiting=0)
        (put,) = place.seen("PUT")
        assert put.headers["content-range"] == "bytes 2000-4999/5000"
        assert put.body == content[2000:]


async def test_what_is_all_there_but_not_acknowledged_has_its_end_sent_again(tmp_path):
    async with open_place(tmp_path) as (box, place):
        content = await box.record("a", 5000)
        place.answers.there["/recordings/a.mp3"] = content
        box.start()
        await box.until("recordings", waiting=0)
        (put,) = place.seen("PUT")
        assert put.headers["content-range"] == "bytes 4999-4999/5000"


@pytest.mark.parametrize("told", ["digest", "length"])
async def test_what_is_there_already_is_not_sent(tmp_path, told):
    async with open_place(tmp_path) as (box, place):
        content = await box.record("a", 3000)
        headers = {"Content_Length": "3000"}
        if told == "digest":
            headers = {"Repr_Digest": digest_field(hashlib.sha256(content).hexdigest())}
        place.answers = lambda _: answer(200, **headers)
        box.start()
        await box.until("recordings", waiting=0)
        assert [request.method for request in place.requests] == ["HEAD"]


async def test_a_server_that_takes_a_part_for_the_whole_is_found_out(tmp_path):
    async with open_place(tmp_path) as (box, place):
        place.answers = lambda request: answer(404 if request.method == "HEAD" else 201)
        await box.record("a", PART_BYTES + 1)
        box.start()
        report = await box.until("recordings", state="missing", waiting=1)
        assert "Content-Range" in report["reason"]


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
    async with open_place(tmp_path, bandwidth_kib_s=1) as (box, place):
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


async def test_nothing_goes_to_the_box_itself_but_in_a_lab(tmp_path):
    async with open_place(tmp_path) as (box, place):
        await box.happen(1)
        box.start(allow_loopback=False)
        report = await box.until("events", state="unreachable")
        assert "only lab.allow_loopback permits" in report["reason"]
        assert place.requests == []


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
    async with open_place(tmp_path, bucket=True) as (box, place):
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
    async with open_place(tmp_path, bucket=True) as (box, place):
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
    async with open_place(tmp_path, bucket=True) as (box, place):
        place.answers = lambda _: said
        await box.record("a", 1000)
        box.start()
        await box.until("recordings", **facts)


async def test_no_secret_is_in_a_log_or_a_report(tmp_path, mock_clock):
    async with open_place(tmp_path, bucket=True) as (box, place):
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
