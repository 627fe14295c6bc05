"""The box's own API, each endpoint by what it answers: lines, calls, recordings, events, options of apps, tokens."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from appliance.api import make_api
from appliance.call import Direction, Ended, Reason, State
from appliance.filepart import part_of
from appliance.health import Health, Notifier, line_report
from appliance.metrics import Metrics
from appliance.store import Store, new_key
from appliance.texting import Postbox
from tests.test_conductor import APP, LINKS, NOON, NUMBER, Box, open_box, still, write_announcement

SOUND = bytes(range(256)) * 300
SHA256 = "ab" * 32


@dataclass(frozen=True)
class Mp3:
    frames: int = 20000
    size_bytes: int = len(SOUND)
    sha256: str = SHA256


class Client:
    def __init__(self, http: httpx.AsyncClient, box: Box, directory: Path) -> None:
        self.http = http
        self.box = box
        self.directory = directory

    async def get(self, path: str, status: int = 200) -> Any:
        return await self.ask("GET", path, status)

    async def ask(self, method: str, path: str, status: int, body: object = None) -> Any:
        answer = await self.http.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


@asynccontextmanager
async def open_api(directory: Path, *, recordings: Path | None = None) -> AsyncIterator[tuple[ASGIApp, Box, str]]:
    """All that the box serves over HTTP, in this process, and a key to it."""
    async with open_box(directory, recordings=recordings) as box:
        key, digest = new_key()
        await box.store.add_key(digest, name="test", at=NOON)
        control, store = box.control, box.store
        health = Health(box.media, control.trunks, store.outbox, Notifier({}))
        metrics = Metrics(health, control.trunks, store.outbox)
        postbox = Postbox(store.mailbox, names={NUMBER: "test"}, country="FR", now=lambda: box.now)
        api = make_api(
            control, store, box.shelf, LINKS, health, metrics, postbox, org_id=1, country="FR", now=lambda: box.now
        )
        yield api, box, key


@asynccontextmanager
async def open_client(directory: Path, *, recordings: Path | None = None) -> AsyncIterator[Client]:
    async with (
        open_api(directory, recordings=recordings) as (api, box, key),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(api), base_url="http://box/box/v1", headers={"X-API-Key": key}
        ) as http,
    ):
        yield Client(http, box, directory)


async def make_call(store: Store, uuid: str = "call-1", **changes: object) -> None:
    """One that was answered, and has ended."""
    call = await store.open_call(
        uuid=uuid,
        line="test",
        direction=Direction.OUTBOUND,
        from_=NUMBER,
        to="+33783484044",
        state=State.QUEUED,
        started_at=NOON,
        route="",
        request_uuid=f"sfv_ob_req_{uuid}",
        app_id=APP.app_id,
    )
    ended = {"state": State.ENDED, "answered_at": NOON, "ended_at": NOON, "end": Ended(Reason.HANGUP, 16)}
    await store.save(replace(call, **ended, **changes))


async def make_recording(client: Client, uuid: str = "call-1") -> Path:
    await make_call(client.box.store, uuid)
    wav = client.directory / f"{uuid}.wav"
    record = await client.box.store.archive.call(uuid)
    assert record
    await client.box.store.recordings.open(record.call.id, wav)
    wav.with_suffix(".mp3").write_bytes(SOUND)
    await client.box.store.recordings.encoded(wav, Mp3(), NOON)
    return wav.with_suffix(".mp3")


# --- in general ---


BAD_PARAMETERS = [
    ("/calls?limit=0", "limit"),
    ("/calls?limit=501", "limit"),
    ("/calls?limit=many", "limit"),
    ("/calls?before=0", "before"),
    ("/calls?before=99999999999999999999", "before"),
    ("/calls?state=ringing", "state"),
    ("/calls?direction=up", "direction"),
    ("/calls?since=yesterday", "since"),
    ("/calls?until=2026-06-04T12:00:00", "until"),
    ("/recordings?limit=0", "limit"),
    ("/recordings?before=x", "before"),
    ("/events?after=-1", "after"),
    ("/events?limit=1001", "limit"),
    ("/events?type=phone_call.*", "type"),
]


async def test_a_bad_parameter_is_refused_by_its_name(tmp_path):
    async with open_client(tmp_path) as client:
        for path, parameter in BAD_PARAMETERS:
            problem = await client.get(path, 422)
            assert problem.keys() == {"message"}
            assert problem["message"].startswith(f"{parameter}: ")


MISSING = [
    ("GET", "/lines/other", "line"),
    ("GET", "/calls/other", "call"),
    ("POST", "/calls/other/hangup", "call"),
    ("GET", "/recordings/other", "recording"),
    ("GET", "/recordings/other/audio", "recording"),
    ("DELETE", "/recordings/other", "recording"),
    ("GET", "/apps/other", "app"),
    ("DELETE", "/tokens/other", "token"),
]


async def test_what_is_not_there_is_said_in_a_sentence(tmp_path):
    async with open_client(tmp_path) as client:
        for method, path, what in MISSING:
            assert await client.ask(method, path, 404) == {"message": f"no such {what}"}


async def test_nothing_is_told_without_a_key(tmp_path):
    async with open_client(tmp_path) as client:
        del client.http.headers["X-API-Key"]
        for path in ("/lines", "/calls", "/recordings", "/events", "/tokens", f"/apps/{APP.app_id}"):
            assert "message" in await client.get(path, 401)


async def test_a_body_that_is_no_json_is_said_to_be_none(tmp_path):
    async with open_client(tmp_path) as client:
        answer = await client.http.post("/sms", content=b'{"to": ')
        assert (answer.status_code, answer.json()) == (422, {"message": "the body is not JSON"})


async def test_who_opens_the_boxs_address_is_told_where_to_go_on(tmp_path):
    async with open_client(tmp_path) as client:
        answer = await client.http.get("http://box/", headers={"X-API-Key": ""})
        assert answer.headers["content-type"].startswith("text/plain")
        pages = [line.split()[0] for line in answer.text.splitlines() if line.startswith("/")]
        assert pages == ["/docs", "/openapi.json", "/healthz", "/metrics"]
        for page in pages[:3]:
            assert (await client.http.get(f"http://box{page}")).status_code != 404


async def test_all_of_it_is_described(tmp_path):
    async with open_client(tmp_path) as client:
        description = (await client.http.get("http://box/openapi.json")).json()
        assert description["info"] == {"title": "Branchline", "version": version("branchline")}
        paths = description["paths"]
        described = {(method, path.removeprefix("/box/v1")) for path, methods in paths.items() for method in methods}
        assert described == {
            ("post", "/sms"),
            ("get", "/sms"),
            ("get", "/sms/{id}"),
            ("post", "/ussd"),
            ("delete", "/ussd"),
            ("get", "/lines"),
            ("get", "/lines/{name}"),
            ("get", "/calls"),
            ("get", "/calls/{id}"),
            ("post", "/calls/{id}/hangup"),
            ("get", "/events"),
            ("get", "/recordings"),
            ("get", "/recordings/{id}"),
            ("get", "/recordings/{id}/audio"),
            ("delete", "/recordings/{id}"),
            ("get", "/apps/{app_id}"),
            ("put", "/apps/{app_id}"),
            ("get", "/tokens"),
            ("post", "/tokens"),
            ("delete", "/tokens/{id}"),
            ("get", "/projects"),
            ("post", "/projects"),
            ("get", "/projects/{project}"),
            ("get", "/projects/{project}/tokens"),
            ("post", "/projects/{project}/tokens"),
            ("delete", "/projects/{project}/tokens/{token}"),
            ("get", "/projects/{project}/relay_numbers/{id}/rule"),
            ("put", "/projects/{project}/relay_numbers/{id}/rule"),
            ("get", "/projects/{project}/agents"),
            ("post", "/projects/{project}/agents"),
            ("get", "/projects/{project}/agents/{id}"),
            ("put", "/projects/{project}/agents/{id}"),
            ("delete", "/projects/{project}/agents/{id}"),
        }


# --- lines ---


async def test_lines_are_told_as_the_box_sees_them(tmp_path):
    async with open_client(tmp_path) as client:
        (line,) = (await client.get("/lines"))["lines"]
        assert line == line_report(client.box.control.trunks[0]) | {"audio": None}
        assert await client.get("/lines/test") == line


# --- calls ---


async def test_a_call_is_told_with_all_that_is_known_under_both_its_names(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)
        await client.box.store.measured(1, '{"answer_webhook_ms": 12}')
        call = await client.get("/calls/call-1")
        noon = "2026-06-04T12:00:00Z"
        assert call == {
            "id": "call-1",
            "event_id": 1,
            "request_uuid": "sfv_ob_req_call-1",
            "kind": "app",
            "project": None,
            "relay_number": None,
            "line": "test",
            "direction": "outbound",
            "from": NUMBER,
            "to": "+33783484044",
            "app_id": APP.app_id,
            "state": "ended",
            "started_at": noon,
            "answered_at": noon,
            "joined_at": None,
            "ended_at": noon,
            "duration_s": 0,
            "outcome": "completed",
            "reason": "hangup",
            "cause": 16,
            "recordings": [{"id": "call-1", "state": "ready"}],
            "consent": None,
            "receipt": {"answer_webhook_ms": 12},
        }
        assert await client.get("/calls/sfv_ob_req_call-1") == call


async def test_a_call_has_the_proof_of_what_both_heard_before_it_was_recorded(tmp_path):
    async with open_client(tmp_path) as client:
        proof = {"country": "FR", "what": "beep", "played": True, "at": "2026-06-04T12:00:00.000+00:00"}
        await make_call(client.box.store, joined_at=NOON, details={"consent": proof, "cable_token": "secret"})
        call = await client.get("/calls/call-1")
        assert (call["joined_at"], call["consent"]) == ("2026-06-04T12:00:00Z", proof)
        assert "secret" not in str(call)


async def test_calls_are_listed_page_by_page_newest_first(tmp_path):
    async with open_client(tmp_path) as client:
        for number in range(1, 6):
            await make_call(client.box.store, f"call-{number}")
        page = await client.get("/calls?limit=2")
        pages = [page]
        while (before := pages[-1]["next"]) is not None:
            pages.append(await client.get(f"/calls?limit=2&before={before}"))
        assert [[call["id"][-1] for call in page["calls"]] for page in pages] == [["5", "4"], ["3", "2"], ["1"]]
        assert await client.get("/calls?line=other") == {"calls": [], "next": None}
        assert len((await client.get("/calls?state=ended&since=2026-06-04T12:00:00Z"))["calls"]) == 5
        assert (await client.get("/calls?until=2026-06-04T14:00:00%2B02:00"))["calls"] == []


async def test_a_call_is_hung_up_once(tmp_path):
    async with open_client(tmp_path) as client:
        await client.box.place()
        await client.box.state("dialing")
        (call,) = (await client.get("/calls?state=dialing"))["calls"]
        path = f"/calls/{call['request_uuid']}/hangup"
        assert (await client.ask("POST", path, 202))["id"] == call["id"]
        await client.box.state("ended")
        call = await client.get(f"/calls/{call['id']}")
        assert (call["reason"], call["outcome"], call["receipt"]) == ("customer", "canceled", None)
        assert await client.ask("POST", path, 409) == {"message": "the call is over"}


# --- recordings ---


async def test_a_recording_is_told_heard_and_deleted(tmp_path):
    async with open_client(tmp_path) as client:
        mp3 = await make_recording(client)
        call = await client.box.store.call(1)
        (facts,) = (await client.get("/recordings"))["recordings"]
        assert facts == {
            "id": "call-1",
            "call": "call-1",
            "line": "test",
            "direction": "outbound",
            "from": NUMBER,
            "to": "+33783484044",
            "started_at": "2026-06-04T12:00:00Z",
            "state": "ready",
            "duration_s": 2.5,
            "size_bytes": len(SOUND),
            "sha256": SHA256,
            "media_type": "audio/mpeg",
            "url": LINKS.recording(call, "call-1", NOON),
            "deleted_at": None,
            "deleted_why": None,
            "deleted_by": None,
            "upload": None,
        }
        assert await client.get("/recordings/call-1") == facts
        audio = await client.http.get("/recordings/call-1/audio")
        assert (audio.status_code, audio.content) == (200, SOUND)
        assert await client.ask("DELETE", "/recordings/call-1", 204) is None
        assert not mp3.exists()
        assert (await client.get("/calls/call-1"))["recordings"] == [{"id": "call-1", "state": "deleted"}]
        gone = await client.get("/recordings/call-1")
        key = (await client.get("/tokens"))["tokens"][0]["id"]
        deletion = {"deleted_at": "2026-06-04T12:00:00Z", "deleted_why": "ordered", "deleted_by": key}
        assert gone == {**facts, "state": "deleted", "url": None, **deletion}
        for method, path in (("GET", "/recordings/call-1/audio"), ("DELETE", "/recordings/call-1")):
            assert await client.ask(method, path, 410) == {"message": "the recording was deleted"}


async def test_until_there_is_an_mp3_the_wav_is_heard(tmp_path):
    async with open_client(tmp_path) as client:
        await make_call(client.box.store)
        wav = tmp_path / "call-1.wav"
        wav.write_bytes(SOUND)
        await client.box.store.recordings.open(1, wav)
        facts = await client.get("/recordings/call-1")
        assert (facts["state"], facts["media_type"], facts["url"]) == ("encoding", "audio/wav", None)
        audio = await client.http.get("/recordings/call-1/audio", headers={"Range": "bytes=0-9"})
        assert (audio.content, audio.headers["content-type"]) == (SOUND[:10], "audio/wav")
        await client.ask("DELETE", "/recordings/call-1", 409)


async def test_a_recording_in_the_making_is_left_alone(tmp_path):
    async with open_client(tmp_path) as client:
        await client.box.place()
        await client.box.state("dialing")
        await client.box.store.recordings.open(1, tmp_path / "one.wav")
        assert (await client.get("/recordings/one"))["state"] == "recording"
        for method, path in (("GET", "/recordings/one/audio"), ("DELETE", "/recordings/one")):
            assert await client.ask(method, path, 409) == {"message": "the recording is still being made"}


async def test_a_recording_whose_file_is_lost_says_so_and_can_be_deleted(tmp_path):
    async with open_client(tmp_path) as client:
        (await make_recording(client)).unlink()
        lost = {"message": "the recording's file is not there"}
        assert await client.get("/recordings/call-1/audio", 404) == lost
        await client.ask("DELETE", "/recordings/call-1", 204)


SIZE = len(SOUND)


PARTS = [
    ("bytes=0-", (0, SIZE)),
    ("bytes=0-0", (0, 1)),
    ("bytes=100-199", (100, 200)),
    (f"bytes=70000-{SIZE + 5}", (70000, SIZE)),
    ("bytes=-100", (SIZE - 100, SIZE)),
    (f"bytes=-{SIZE + 1}", (0, SIZE)),
    ("Bytes=5-6", (5, 7)),
]


async def test_part_of_a_recording_is_sent(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)
        for wanted, part in PARTS:
            audio = await client.http.get("/recordings/call-1/audio", headers={"Range": wanted})
            first, last = part
            assert (audio.status_code, audio.content) == (206, SOUND[first:last])
            assert audio.headers["content-range"] == f"bytes {first}-{last - 1}/{SIZE}"
            assert audio.headers["content-length"] == str(last - first)


async def test_a_part_that_is_not_there_is_refused(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)
        for wanted in (f"bytes={SIZE}-", f"bytes={SIZE + 9}-{SIZE + 10}", "bytes=-0"):
            audio = await client.http.get("/recordings/call-1/audio", headers={"Range": wanted})
            assert (audio.status_code, audio.headers["content-range"]) == (416, f"bytes */{SIZE}")
            assert audio.json() == {"message": f"the file has {SIZE} bytes"}


@pytest.mark.parametrize("wanted", ["bytes=9-3", "bytes=0-1,5-6", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b"])
def test_of_a_range_that_is_none_here_the_whole_is_sent(wanted):
    assert part_of(SIZE, wanted) is None


async def test_a_recording_is_sent_once_to_who_keeps_it(tmp_path):
    async with open_client(tmp_path) as client:
        await make_recording(client)

        async def ask(method: str = "GET", **headers: str) -> httpx.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.http.request(method, "/recordings/call-1/audio", headers=named)

        head = await ask("HEAD")
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(SIZE))
        assert (head.headers["content-type"], head.headers["accept-ranges"]) == ("audio/mpeg", "bytes")
        etag = head.headers["etag"]
        assert etag == f'"{SHA256}"'
        for known in (etag, f'"other", W/{etag}', "*"):
            assert (await ask(If_None_Match=known)).status_code == 304
        assert (await ask(If_None_Match='"other"')).status_code == 200
        assert (await ask(Range="bytes=0-1", If_Range=etag)).status_code == 206
        assert (await ask(Range="bytes=0-1", If_Range='"other"')).status_code == 200
        part = await ask("HEAD", Range="bytes=0-1")
        assert (part.content, part.headers["content-length"]) == (b"", "2")


# --- events ---


async def test_events_are_read_on_from_where_one_was(tmp_path):
    async with open_client(tmp_path) as client:
        assert await client.get("/events") == {"events": [], "next": 0}
        await make_call(client.box.store)
        page = await client.get("/events")
        (event,) = page["events"]
        assert (event["type"], event["at"], event["data"]["id"]) == ("phone_call.queued", "2026-06-04T12:00:00Z", 1)
        assert page["next"] == event["cursor"]
        assert await client.get(f"/events?after={page['next']}") == {"events": [], "next": page["next"]}
        await make_call(client.box.store, "call-2")
        await make_call(client.box.store, "call-3")
        first = await client.get(f"/events?after={page['next']}&limit=1")
        (second,) = (await client.get(f"/events?after={first['next']}&type=phone_call.queued"))["events"]
        assert (first["events"][0]["data"]["id"], second["data"]["id"]) == (2, 3)


# --- options of apps ---


async def test_what_an_app_wants_beyond_its_contract_is_set_and_off_at_first(tmp_path):
    write_announcement(tmp_path / "closed.wav")
    async with open_client(tmp_path, recordings=tmp_path) as client:
        path = f"/apps/{APP.app_id}"
        nothing = {"no_answer": None, "protocol": "sfvopi", "keep_audio_s": 0}
        assert await client.get(path) == nothing
        rule = {"announcement": "closed.wav", "record": True, "limit_s": 60}
        await client.ask("PUT", path, 200, {"no_answer": rule})
        assert await client.get(path) == nothing | {"no_answer": rule}
        assert await client.ask("PUT", path, 200, {}) == nothing
        assert await client.ask("PUT", "/apps/other", 404, {}) == {"message": "no such app"}


BAD_RULES = [
    ({"announcement": "none.wav"}, "no_answer.announcement: .*/none.wav: No such file or directory"),
    ({"announcement": "text.wav"}, "no_answer.announcement: .*/text.wav is no WAV of plain samples: .*"),
    ({"announcement": "../closed.wav"}, "no_answer.announcement: String should match pattern .*"),
    ({"announcement": "stereo.wav"}, "no_answer.announcement: .* has 2 channels of 16 bits at 16000 Hz; make it.*"),
    ({"announcement": "odd.wav"}, "no_answer.announcement: .* has 1 channels of 16 bits at 11025 Hz; make it.*"),
    ({"limit_s": 0}, "no_answer.limit_s: .*"),
    ({"says": "hello"}, "no_answer.says: Extra inputs are not permitted"),
]


async def test_a_rule_that_could_not_be_kept_is_refused(tmp_path):
    # Longer than what a power cut leaves of a recording that has just begun, which goes at the start.
    (tmp_path / "text.wav").write_text("hello, " * 20)
    write_announcement(tmp_path / "stereo.wav", channels=2)
    write_announcement(tmp_path / "odd.wav", rate_hz=11025)
    async with open_client(tmp_path, recordings=tmp_path) as client:
        for rule, problem in BAD_RULES:
            answer = await client.ask("PUT", f"/apps/{APP.app_id}", 422, {"no_answer": rule})
            assert re.fullmatch(problem, answer["message"])


async def test_a_box_that_records_nothing_takes_no_messages(tmp_path):
    async with open_client(tmp_path) as client:
        answer = await client.ask("PUT", f"/apps/{APP.app_id}", 422, {"no_answer": {}})
        assert answer == {"message": "no_answer.record: this box records nothing (service.recordings)"}
        await client.ask("PUT", f"/apps/{APP.app_id}", 200, {"no_answer": {"record": False}})


# --- tokens ---


async def test_a_token_is_made_shown_once_used_and_revoked(tmp_path):
    async with open_client(tmp_path) as client:
        made = await client.ask("POST", "/tokens", 201, {"name": "crm"})
        client.http.headers["X-API-Key"] = made.pop("token")
        first, second = (await client.get("/tokens"))["tokens"]
        assert (first["name"], second) == ("test", made)
        assert made["revoked_at"] is None
        await client.ask("DELETE", f"/tokens/{first['id']}", 204)
        refused = await client.ask("DELETE", f"/tokens/{made['id']}", 409)
        assert refused == {"message": "the last valid token; make another one first"}
        tokens = (await client.get("/tokens"))["tokens"]
        assert [token["revoked_at"] for token in tokens] == ["2026-06-04T12:00:00Z", None]
        await client.ask("POST", "/tokens", 422, {"name": ""})


async def test_a_revoked_token_is_refused_at_once(tmp_path):
    async with open_client(tmp_path) as client:
        mine = (await client.get("/tokens"))["tokens"][0]["id"]
        await client.ask("POST", "/tokens", 201, {"name": "other"})
        await client.ask("DELETE", f"/tokens/{mine}", 204)
        assert await client.get("/calls", 401) == {"message": "UnAuthorized, Please Provide Valid API Key"}
        await still()
