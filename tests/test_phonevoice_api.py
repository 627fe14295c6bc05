"""PhoneVoice's REST over HTTP in this process; the number in a name is the section of spec/phonevoice.md."""

import logging
from datetime import timedelta

import httpx
import pytest

from appliance.call import Direction, Kind, State
from appliance.directory import AgentSettings
from appliance.phonevoice_api import CONFIRMS_PER_HOUR, Terms
from appliance.phonevoice_gate import REQUESTS_PER_S
from appliance.tenants import BOX, digest_of, new_token
from tests.phonevoice_box import PARIS, PHONE, SAN_FRANCISCO, TOLL_FREE, Asker, Desk, api_key, open_phonevoice
from tests.test_conductor import NOON, NUMBER

NUMBERS, WEBHOOKS = "/api/v1/relay_numbers", "/api/v1/webhooks"
HOOK = {"url": "https://93.184.216.34/hook"}
GUARDED = [
    ("GET", "/api/whoami"),
    ("GET", NUMBERS),
    ("POST", NUMBERS),
    ("GET", f"{NUMBERS}/available"),
    ("GET", f"{NUMBERS}/1"),
    ("PATCH", f"{NUMBERS}/1"),
    ("DELETE", f"{NUMBERS}/1"),
    ("GET", WEBHOOKS),
    ("POST", WEBHOOKS),
    ("PATCH", f"{WEBHOOKS}/1"),
    ("DELETE", f"{WEBHOOKS}/1"),
    ("GET", f"{WEBHOOKS}/1/calls"),
    ("POST", "/api/v1/calls/initiate"),
    ("POST", "/api/v1/calls/1/hangup"),
    ("POST", "/api/v1/calls/1/add_monitor"),
    ("POST", "/api/v1/calls/1/embed_session"),
    ("POST", "/api/v1/calls/1/player_session"),
    ("POST", "/v1/calls"),
    ("GET", "/api/v1/nothing"),
]


async def buy(asker: Asker, number: str = PARIS, forward_to: str = PHONE) -> int:
    relay = await asker.ask("POST", NUMBERS, {"phone_number": number, "forward_to": forward_to}, status=201)
    return int(relay["id"])


async def user_token(desk: Desk, email: str = "desk@example.com") -> str:
    """As a stranger gets one."""
    assert (await desk.http.post("/api/signup", json={"email": email, "name": "Desk"})).status_code == 201
    (waiting,) = await desk.store.tenants.signups(at=NOON)
    confirmed = await desk.http.post("/api/confirm", json={"email": email, "code": waiting.code})
    assert confirmed.status_code == 200
    assert confirmed.json()["status"] == "success"
    return str(confirmed.json()["user_token"])


# --- 2: authentication ---


async def test_2_nothing_is_seen_without_a_token(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        for method, path in GUARDED:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
                answer = await desk.http.request(method, path, content=b"{", headers=headers)
                assert answer.status_code == 401, path
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
                assert isinstance(answer.json()["error"], str)


async def test_2_a_token_is_taken_from_the_header_or_the_query_each_kind_by_its_name(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        project, user = desk.ours.token, await user_token(desk)
        header = [{"Authorization": f"Bearer {token}"} for token in (project, user, "wrong")]
        cases = [
            (200, "", header[0]),
            (200, "", header[1]),
            (200, "", {"Authorization": f"bearer  {project}"}),
            (200, f"?api_token={project}", {}),
            (200, f"?user_token={user}", {}),
            (401, f"?api_token={user}", {}),
            (401, f"?user_token={project}", {}),
            (401, f"?api_token={project}", header[2]),
            (200, "?api_token=wrong", header[0]),
            (401, "?api_token=", {}),
            (401, f"?token={project}", {}),
        ]
        for status, query, headers in cases:
            answer = await desk.http.get(f"/api/whoami{query}", headers=headers)
            assert answer.status_code == status, (query, headers)


async def test_2_a_revoked_token_is_void_at_once(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        await desk.ours.ask("GET", "/api/whoami")
        await desk.store.tenants.revoke(project=BOX, name="test", at=NOON)
        await desk.ours.refused("GET", "/api/whoami", status=401)


async def test_2_a_user_acts_on_his_default_project_or_on_another_that_he_belongs_to(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        mine = Asker(desk.http, desk.store, 0, await user_token(desk))
        said = await mine.ask("GET", "/api/whoami")
        own = said["project"]["id"]
        assert (said["token_type"], said["email"]) == ("user", "desk@example.com")
        assert (await mine.ask("GET", f"/api/whoami?project_id={own}"))["project"]["id"] == own
        for other in (BOX, 99, "x", "-1", 10**30):
            await mine.refused("GET", f"/api/whoami?project_id={other}", status=403)
        await desk.ours.refused("GET", f"/api/whoami?project_id={own}", status=403)


async def test_2_the_older_generation_takes_project_tokens_in_the_header_only(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        user = await user_token(desk)
        for path, headers in (
            (f"/v1/calls?api_token={desk.ours.token}", {}),
            ("/v1/calls", {"Authorization": f"Bearer {user}"}),
        ):
            assert (await desk.http.post(path, json={}, headers=headers)).status_code == 401
        assert (await desk.ours.send("POST", "/v1/calls", {})).status_code != 401


async def test_2_a_token_in_a_query_is_seen_by_nobody(tmp_path, caplog, capfd):
    async with open_phonevoice(tmp_path) as desk:
        caplog.set_level(logging.DEBUG)
        token = desk.ours.token
        for number in (PARIS, TOLL_FREE):
            await buy(desk.ours, number)
        answer = await desk.http.get(f"{NUMBERS}?per_page=1&api_token={token}")
        assert answer.headers["Link"] == f'<http://box{NUMBERS}?page=2&per_page=1>; rel="next"'
        assert (await desk.http.get(f"/api/v1/nothing?api_token={token}")).status_code == 404
        # What httpx itself writes down of its own requests is not the box's.
        ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
        out = capfd.readouterr()
        assert token not in "".join((*ours, out.out, out.err))


async def test_2_1_whoami(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        assert await desk.ours.ask("GET", "/api/whoami") == {
            "status": "ok",
            "id": 1,
            "name": "box",
            "email": "box@localhost",
            "project": {"id": 1, "name": "box"},
            "token_type": "project",
        }


async def test_2_2_a_signup_does_not_tell_whether_the_address_is_known(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        await user_token(desk)
        for email in ("desk@example.com", "stranger@example.com"):
            answer = await desk.http.post("/api/signup", json={"email": email})
            assert (answer.status_code, answer.json()) == (201, {"status": "success"})


async def test_2_2_a_wrong_or_old_code_is_422_and_guessing_ends(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        email = "desk@example.com"
        await desk.http.post("/api/signup", json={"email": email})
        (waiting,) = await desk.store.tenants.signups(at=NOON)
        desk.box.now = NOON + timedelta(minutes=15)
        guess = {"email": email, "code": waiting.code}
        answers = [await desk.http.post("/api/confirm", json=guess) for _ in range(CONFIRMS_PER_HOUR + 1)]
        assert [answer.status_code for answer in answers] == [422] * CONFIRMS_PER_HOUR + [429]
        assert answers[0].json() == {"error": "code is wrong or too old", "errors": {"code": ["is wrong or too old"]}}
        assert int(answers[-1].headers["Retry-After"]) > 0


async def test_2_2_bad_fields_are_422_and_sign_up_can_be_off(tmp_path):
    async with open_phonevoice(tmp_path, Terms(signup=False)) as desk:
        for body in ({}, {"email": "x"}, {"email": 1}, {"email": "a@b", "name": 1}):
            assert (await desk.http.post("/api/signup", json=body)).status_code == 422
        for path, body in (("signup", {"email": "a@b"}), ("confirm", {"email": "a@b", "code": "123456"})):
            answer = await desk.http.post(f"/api/{path}", json=body)
            assert answer.status_code == 403
            assert answer.json() == {"error": "sign-up is switched off on this box"}


# --- 3: errors, paging, repeats ---


async def test_3_every_error_is_json(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        asker = desk.ours
        for status, method, path, body, headers in [
            (400, "POST", NUMBERS, b"{", {}),
            (400, "POST", NUMBERS, b"[]", {}),
            (400, "POST", NUMBERS, b'"\xff"', {}),
            (400, "POST", NUMBERS, b"[" * 100_000, {}),
            (404, "GET", "/api/v1/nothing", None, {}),
            (404, "GET", "/v1/nothing", None, {}),
            (404, "GET", "/api", None, {}),
            (405, "PUT", NUMBERS, b"{}", {}),
            (404, "GET", f"{NUMBERS}/9", None, {}),
            (404, "GET", f"{NUMBERS}/x", None, {}),
            (404, "DELETE", f"{WEBHOOKS}/99999999999999999999", None, {}),
            (413, "POST", NUMBERS, b" " * (256 * 1024 + 1), {}),
            (415, "POST", NUMBERS, b"{}", {"Content-Type": "text/plain"}),
            (415, "POST", NUMBERS, b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}),
            (422, "POST", NUMBERS, b"{}", {"Content-Type": "application/vnd.api+json; charset=utf-8"}),
        ]:
            answer = await asker.send(method, path, body, headers)
            assert answer.status_code == status, (method, path, headers)
            assert answer.headers["Content-Type"] == "application/json"
            assert isinstance(answer.json()["error"], str)


async def test_3_json_that_a_client_calls_a_form_or_nothing_is_taken(tmp_path):
    """Net::HTTP of Ruby says so of every body whose type it is not told; two published samples tell it none."""
    async with open_phonevoice(tmp_path) as desk:
        for number, kind in ((PARIS, "application/x-www-form-urlencoded"), (TOLL_FREE, "")):
            await desk.ours.ask("POST", NUMBERS, {"phone_number": number}, status=201, Content_Type=kind)


async def test_3_a_422_tells_the_fields(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        said = await desk.ours.ask("POST", NUMBERS, {"phone_number": "0612", "forward_to": 1}, status=422)
        assert said == {
            "error": "phone_number is not a valid E.164 number",
            "errors": {"phone_number": ["is not a valid E.164 number"], "forward_to": ["is not a string"]},
        }


async def test_3_what_can_t_be_written_down_is_503_with_retry_after(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        desk.box.rows("DROP TABLE claims")
        answer = await desk.ours.send("GET", f"{NUMBERS}/available")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0


async def test_3_too_fast_is_429_by_the_token(tmp_path, mock_clock):
    async with open_phonevoice(tmp_path) as desk:
        headers = {"Authorization": f"Bearer {desk.ours.token}"}

        async def answers(count: int) -> list[httpx.Response]:
            return [await desk.http.get("/api/whoami", headers=headers) for _ in range(count)]

        *good, bad = await answers(REQUESTS_PER_S + 1)
        assert {answer.status_code for answer in good} == {200}
        assert (bad.status_code, bad.headers["Retry-After"]) == (429, "1")
        await desk.theirs.ask("GET", "/api/whoami")
        mock_clock.jump(0.1)
        assert [answer.status_code for answer in await answers(3)] == [200, 200, 429]


async def test_3_lists_come_by_the_page_newest_first(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        ids = [await buy(desk.ours, number) for number in (PARIS, TOLL_FREE, SAN_FRANCISCO)]
        seen = []
        for page, links in ((1, ["next"]), (2, ["next", "prev"]), (3, ["prev"]), (4, ["prev"])):
            answer = await desk.ours.send("GET", f"{NUMBERS}?page={page}&per_page=1")
            said = answer.json()
            assert (said["page"], said["per_page"], said["total"]) == (page, 1, 3)
            assert said["has_more"] == ("next" in links)
            assert list(httpx.Response(200, headers={"Link": answer.headers["Link"]}).links) == links
            seen += [relay["id"] for relay in said["relay_numbers"]]
        assert seen == ids[::-1]
        assert "Link" not in (await desk.ours.send("GET", NUMBERS)).headers
        for query in ("page=0", "page=x", "page=", "per_page=0", "per_page=101", "page=-1", "page=1e3", "page=%D9%A1"):
            for path in (NUMBERS, WEBHOOKS):
                await desk.ours.refused("GET", f"{path}?{query}", status=422)


async def test_3_a_repeat_with_its_key_is_answered_as_the_first(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        key = {"Idempotency-Key": "k" * 255}
        first, again = [await desk.ours.send("POST", WEBHOOKS, HOOK, key) for _ in range(2)]
        assert first.status_code == again.status_code == 201
        assert first.content == again.content
        assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
        assert (await desk.ours.ask("GET", WEBHOOKS))["total"] == 1
        # Another body, another path, another token, no key.
        await desk.ours.refused("POST", WEBHOOKS, {**HOOK, "name": "x"}, status=422, **key)
        await desk.ours.ask("POST", NUMBERS, {"phone_number": PARIS}, status=201, **key)
        await (await desk.asker()).ask("POST", WEBHOOKS, HOOK, status=201, **key)
        await desk.ours.ask("POST", WEBHOOKS, HOOK, status=201)
        assert (await desk.ours.ask("GET", WEBHOOKS))["total"] == 3
        for bad in ("", "k" * 256):
            await desk.ours.refused("POST", WEBHOOKS, HOOK, status=422, Idempotency_Key=bad)


async def test_3_what_was_refused_is_tried_again(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        relay = await buy(desk.theirs)
        body = {"phone_number": PARIS}
        await desk.ours.refused("POST", NUMBERS, body, status=409, Idempotency_Key="k")
        await desk.theirs.ask("DELETE", f"{NUMBERS}/{relay}")
        await desk.ours.ask("POST", NUMBERS, body, status=201, Idempotency_Key="k")


async def test_3_a_key_is_free_after_a_day_of_the_box_being_up(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        for age_h, total in ((23, 1), (1, 2)):
            await desk.ours.ask("POST", WEBHOOKS, HOOK, status=201, Idempotency_Key="k")
            for _ in range(age_h):
                await desk.store.outbox.grow_older()
            await desk.ours.ask("POST", WEBHOOKS, HOOK, status=201, Idempotency_Key="k")
            assert (await desk.ours.ask("GET", WEBHOOKS))["total"] == total
        assert len(desk.box.rows("SELECT * FROM repeats")) == 1


# --- 5: relay numbers ---


async def test_5_numbers_that_nobody_has_are_on_offer(tmp_path):
    async with open_phonevoice(tmp_path) as desk:

        async def found(query: str = "") -> list[str]:
            said = await desk.ours.ask("GET", f"{NUMBERS}/available{query}")
            return [number["phone_number"] for number in said["available_numbers"]]

        # NUMBER is linked to an SFVoPI app.
        assert await found() == [PARIS, TOLL_FREE, SAN_FRANCISCO]
        assert await found("?country=US&type=local&area_code=415") == [SAN_FRANCISCO]
        assert await found("?country=FR") == [PARIS, TOLL_FREE]
        assert await found("?type=toll_free") == [TOLL_FREE]
        assert await found("?type=mobile") == []
        assert await found("?area_code=01") == await found("?area_code=1591") == [PARIS]
        assert await found("?contains=50123") == [SAN_FRANCISCO]
        for query in ("country=fr", "country=FRA", "type=fax", "area_code=x", "area_code=123456789", "contains=%2B33"):
            await desk.ours.refused("GET", f"{NUMBERS}/available?{query}", status=422)
        offered = await desk.ours.ask("GET", f"{NUMBERS}/available?country=US")
        assert offered["available_numbers"] == [
            {
                "phone_number": SAN_FRANCISCO,
                "country": "US",
                "type": "local",
                "area_code": "415",
                "capabilities": {"voice": True, "sms": False},
                "monthly_cost": 0,
            }
        ]
        await buy(desk.theirs)
        assert PARIS not in await found()


async def test_5_a_number_is_bought_changed_paused_read_and_released(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        bought = await desk.ours.ask(
            "POST", NUMBERS, {"phone_number": PARIS, "forward_to": PHONE, "country": "FR"}, status=201
        )
        assert bought == {
            "id": 1,
            "phone_number": PARIS,
            "forward_to": PHONE,
            "relay_enabled": True,
            "country": "FR",
            "type": "local",
            "created_at": "2026-06-04T12:00:00Z",
        }
        path = f"{NUMBERS}/1"
        assert await desk.ours.ask("GET", path) == bought
        moved = bought | {"forward_to": "+33700000099"}
        assert await desk.ours.ask("PATCH", path, {"forward_to": "+33700000099", "relay_enabled": True}) == moved
        assert await desk.ours.ask("PATCH", path, {"relay_enabled": False}) == moved | {"relay_enabled": False}
        for body in ({}, {"colour": 1}, {"forward_to": None}, {"relay_enabled": "yes"}, {"forward_to": "x"}):
            await desk.ours.refused("PATCH", path, body, status=422)
        assert await desk.ours.ask("DELETE", path) == {"status": "success"}
        await desk.ours.refused("GET", path, status=404)
        await buy(desk.theirs)


async def test_5_a_number_without_forward_to_is_claimed_and_off(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        bought = await desk.ours.ask("POST", NUMBERS, {"phone_number": PARIS}, status=201)
        assert (bought["forward_to"], bought["relay_enabled"]) == (None, False)
        path = f"{NUMBERS}/{bought['id']}"
        await desk.ours.refused("PATCH", path, {"relay_enabled": True}, status=422)
        await desk.ours.ask("PATCH", path, {"forward_to": PHONE, "relay_enabled": True})


async def test_5_what_can_t_be_bought_is_said_so(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        await buy(desk.ours, TOLL_FREE)
        for status, changes in [
            (404, {"phone_number": "+33700000009"}),
            (409, {"phone_number": TOLL_FREE}),
            (409, {"phone_number": NUMBER}),
            (422, {"country": "US"}),
            (422, {"country": "fr"}),
            (422, {"forward_to": PARIS}),
            (422, {"forward_to": TOLL_FREE}),
            (422, {"forward_to": "+33899123456"}),
            (422, {"forward_to": "112"}),
            (422, {"forward_to": None}),
            (422, {"phone_number": 33159133354}),
        ]:
            await desk.ours.refused("POST", NUMBERS, {"phone_number": PARIS, **changes}, status=status)
        assert (await desk.ours.ask("GET", NUMBERS))["total"] == 1


async def test_5_one_route_per_number_whichever_contract_it_goes_by(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        key = {"X-API-Key": await api_key(desk)}
        relay = await buy(desk.ours)
        sfvopi = "/superfone/sfvopi"
        link = {"voip_number": PARIS}
        (app,) = (await desk.http.get(f"{sfvopi}/apps", headers=key)).json()["data"]
        numbers = f"{sfvopi}/apps/{app['app_id']}/numbers"
        refused = await desk.http.post(numbers, json=link, headers=key)
        assert refused.status_code == 409
        assert refused.json() == {"message": "VoIP number is already linked to another service of this box"}
        free = (await desk.http.get(f"{sfvopi}/available-numbers", headers=key)).json()["data"]
        assert PARIS not in [number["voip_number"] for number in free]
        await desk.ours.ask("DELETE", f"{NUMBERS}/{relay}")
        assert (await desk.http.post(numbers, json=link, headers=key)).status_code == 200
        await desk.ours.refused("POST", NUMBERS, {"phone_number": PARIS}, status=409)


# --- 6: webhooks ---


async def test_6_a_webhook_from_first_to_last(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        made = await desk.ours.ask(
            "POST", WEBHOOKS, {**HOOK, "events": ["phone_call.completed", "sms.received"], "name": "CRM"}, status=201
        )
        secret = made.pop("secret")
        assert secret.startswith("whsec_")
        assert made == {
            "id": 1,
            "url": HOOK["url"],
            "name": "CRM",
            "events": ["phone_call.completed", "sms.received"],
            "active": True,
            "created_at": "2026-06-04T12:00:00Z",
            "off_reason": None,
            "failing_since": None,
        }
        assert (await desk.ours.ask("GET", WEBHOOKS))["webhooks"] == [made]
        path = f"{WEBHOOKS}/1"
        changed = await desk.ours.ask("PATCH", path, {"active": False, "name": "ERP"})
        assert changed == made | {"active": False, "name": "ERP"}
        for body in ({}, {"url": None}, {"active": 1}, {"events": []}, {"url": "http://93.184.216.34/"}):
            await desk.ours.refused("PATCH", path, body, status=422)
        assert await desk.ours.ask("GET", f"{path}/calls") == {"calls": []}
        assert await desk.ours.ask("DELETE", path) == {"status": "success"}
        await desk.ours.refused("GET", f"{path}/calls", status=404)


async def test_6_events_are_those_of_the_contract_and_all_when_left_out(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        assert (await desk.ours.ask("POST", WEBHOOKS, HOOK, status=201))["events"] == ["*"]
        for events in (["*"], ["phone_call.*"], ["phone_call.no-answer", "phone_call.queued"]):
            assert (await desk.ours.ask("POST", WEBHOOKS, {**HOOK, "events": events}, status=201))["events"] == events
        for bad in ([], "*", [1], ["phone_call"], ["line.degraded"], ["phone_call.in-progress"], None):
            await desk.ours.refused("POST", WEBHOOKS, {**HOOK, "events": bad}, status=422)


@pytest.mark.parametrize(
    "url",
    [
        None,
        1,
        "",
        "/relative",
        "ftp://a.example/",
        "https://",
        "https://user:password@a.example/",
        "https://a.example/" + "x" * 2048,
        "http://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/",
        "https://[fe80::1]/",
        "http://93.184.216.34/",
    ],
)
async def test_8_a_target_that_no_event_may_go_to_is_refused_at_creation(tmp_path, url):
    async with open_phonevoice(tmp_path) as desk:
        said = await desk.ours.ask("POST", WEBHOOKS, {"url": url}, status=422)
        assert list(said["errors"]) == ["url"]


async def test_8_a_name_is_judged_by_where_it_leads(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        for status, url, addresses in [
            (201, "https://crm.example/", ["93.184.216.34"]),
            (201, "http://crm.lan/", ["192.168.1.2"]),
            (201, "https://not-yet.example/", []),
            (422, "https://crm.example/", ["93.184.216.34", "127.0.0.1"]),
            (422, "https://crm.example/", ["169.254.169.254"]),
            (422, "http://crm.example/", ["93.184.216.34"]),
        ]:
            desk.names.addresses = addresses
            await desk.ours.ask("POST", WEBHOOKS, {"url": url}, status=status)
        desk.names.addresses = ["127.0.0.1"]
        await desk.ours.refused("PATCH", f"{WEBHOOKS}/1", {"url": "https://crm.example/2"}, status=422)


async def test_6_a_project_has_twenty_webhooks_at_most(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        for _ in range(20):
            await desk.ours.ask("POST", WEBHOOKS, HOOK, status=201)
        await desk.ours.refused("POST", WEBHOOKS, HOOK, status=422)
        await desk.theirs.ask("POST", WEBHOOKS, HOOK, status=201)


# --- 2, 3: what is another project's ---


async def test_2_another_project_s_things_are_not_to_be_seen_nor_touched(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        relay = await buy(desk.theirs)
        hook = (await desk.theirs.ask("POST", WEBHOOKS, HOOK, status=201))["id"]
        call = await open_call(desk, desk.theirs.project)
        assert (await desk.ours.ask("GET", NUMBERS))["total"] == 0
        assert (await desk.ours.ask("GET", WEBHOOKS))["total"] == 0
        for method, path, body in [
            ("GET", f"{NUMBERS}/{relay}", None),
            ("PATCH", f"{NUMBERS}/{relay}", {"relay_enabled": False}),
            ("DELETE", f"{NUMBERS}/{relay}", None),
            ("PATCH", f"{WEBHOOKS}/{hook}", {"active": False}),
            ("DELETE", f"{WEBHOOKS}/{hook}", None),
            ("GET", f"{WEBHOOKS}/{hook}/calls", None),
            ("POST", f"/api/v1/calls/{call}/embed_session", {"role": "agent"}),
            ("POST", f"/api/v1/calls/{call}/player_session", None),
        ]:
            await desk.ours.refused(method, path, body, status=403)
        assert (await desk.theirs.ask("GET", f"{NUMBERS}/{relay}"))["relay_enabled"]


# --- 4: calls ---


async def open_call(desk: Desk, project: int | None, uuid: str = "call-1") -> int:
    call = await desk.store.open_call(
        uuid=uuid,
        line="paris",
        direction=Direction.INBOUND,
        from_="+33783484044",
        to=PHONE,
        state=State.INCOMING,
        started_at=NOON,
        route="{}",
        kind=Kind.RELAY,
        project=project,
        relay_number=PARIS,
    )
    return call.id


async def test_4_3_the_list_of_calls_has_the_agents_too(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        settings = AgentSettings(first_message="Hello")
        agent = await desk.store.directory.add_agent(BOX, "Desk", settings, at=NOON)
        ids = [await open_call(desk, project, f"call-{project}") for project in (BOX, desk.theirs.project, None)]
        said = await desk.ours.ask("GET", "/api/v1/calls")
        assert said["agents"] == [
            {
                "id": agent.id,
                "name": "Desk",
                "system_message": None,
                "first_message": "Hello",
                "realtime_voice": None,
            }
        ]
        (call,) = said["calls"]
        assert (said["total"], call["id"], call["status"]) == (1, ids[0], "ringing")
        assert (call["from"], call["to"], call["relay_number"]) == ("+33783484044", PHONE, PARIS)
        assert await desk.ours.ask("GET", f"/api/v1/calls/{ids[0]}") == call
        await desk.ours.refused("GET", f"/api/v1/calls/{ids[1]}", status=403)
        await desk.ours.refused("GET", "/api/v1/calls?page=0", status=422)
        assert (await desk.theirs.ask("GET", "/api/v1/calls"))["agents"] == []


async def test_4_5_and_4_6_the_browser_s_sessions_are_refused_in_words(tmp_path):
    async with open_phonevoice(tmp_path) as desk:
        call = await open_call(desk, BOX)
        for role in ("agent", "talk", "listen"):
            path = f"/api/v1/calls/{call}/embed_session"
            assert "softphone" in await desk.ours.refused("POST", path, {"role": role}, status=422)
        for body in ({}, {"role": "boss"}, {"role": 1}):
            said = await desk.ours.ask("POST", f"/api/v1/calls/{call}/embed_session", body, status=422)
            assert list(said["errors"]) == ["role"]
        assert "player" in await desk.ours.refused("POST", f"/api/v1/calls/{call}/player_session", status=422)
        for name in ("embed_session", "player_session"):
            await desk.ours.refused("POST", f"/api/v1/calls/{call + 1}/{name}", {"role": "talk"}, status=404)
        # A call of SFVoPI's is no project's.
        app_call = await open_call(desk, None, "call-2")
        await desk.ours.refused("POST", f"/api/v1/calls/{app_call}/player_session", status=403)


def test_a_digest_is_of_any_text():
    assert digest_of(new_token("user")[0]) != digest_of("\udcff")
