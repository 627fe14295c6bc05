"""PhoneVoice's REST before a request is anybody's: who may ask, how often, in what form, and what is asked twice.

The number in a name is the section of spec/phonevoice.md.
"""

import logging
from datetime import timedelta

import httpx

from appliance.phonevoice_api import CONFIRMS_PER_HOUR, Terms
from appliance.phonevoice_gate import REQUESTS_PER_S
from appliance.tenants import BOX, digest_of, new_token
from tests.line_box import NOON
from tests.phonevoice_box import (
    HOOK,
    NUMBERS,
    PARIS,
    SAN_FRANCISCO,
    TOLL_FREE,
    WEBHOOKS,
    Asker,
    Desk,
    buy,
    open_phonevoice,
)

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


def test_a_digest_is_of_any_text():
    assert digest_of(new_token("user")[0]) != digest_of("\udcff")
