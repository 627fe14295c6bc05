"""The box's own API, each endpoint by what it answers: lines, calls, events, options of apps, tokens."""

import re
from importlib.metadata import version

from appliance.health import line_report
from tests.box_client import make_call, make_recording, open_client
from tests.core import still
from tests.line_box import APP, NOON, NUMBER, write_announcement

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
        assert isinstance(line["recoveries"]["timeouts"], int)


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
