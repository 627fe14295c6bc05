"""PhoneVoice's REST over HTTP in this process: relay numbers, webhooks, calls.

The number in a name is the section of spec/phonevoice.md.
"""

import pytest

from appliance.directory import AgentSettings
from appliance.tenants import BOX
from tests.line_box import NOON, NUMBER
from tests.phonevoice_box import (
    HOOK,
    NUMBERS,
    PARIS,
    PHONE,
    SAN_FRANCISCO,
    TOLL_FREE,
    WEBHOOKS,
    api_key,
    buy,
    open_call,
    open_phonevoice,
)

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
