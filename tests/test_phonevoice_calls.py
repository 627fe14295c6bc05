"""PhoneVoice's calls: how they are ordered, ended, listened to and listed, and what became of them.

The number in a name is the section of spec/phonevoice.md.
"""

import re

import pytest
import trio

from appliance.call import Direction, Kind, State
from appliance.contracts.sfvopi import Link
from appliance.tenants import BOX
from drivers.line import Alerting, Answered, LineState, Released
from tests.core import still
from tests.line_box import APP, NOON
from tests.relay_town import HOME, OFFICE, SPARE
from tests.switchboard import DESK, INITIATE, LEGACY, PREMIUM, RECIPIENT, SUPERVISOR, Switchboard, open_switchboard

# --- 4.1: initiate ---


async def test_4_1_an_agents_call_goes_by_the_line_that_the_order_names(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        said = await desk.initiate(agent_id=await desk.agent(), inbound_phone_number=HOME)
        assert list(said) == ["status", "phone_call_id", "telephony_ref", "cable_token"]
        assert (said["status"], said["phone_call_id"]) == ("success", 1)
        assert re.fullmatch("CA[0-9a-f]{32}", said["telephony_ref"])
        assert len(said["cable_token"]) >= 32
        assert await desk.dialing() is desk.town.home
        call = await desk.call()
        parties = {"from": HOME, "to": RECIPIENT, "direction": "outbound", "relay_number": None}
        assert call.items() >= parties.items()
        assert call["status"] == "ringing"
        assert (desk.kept("kind"), desk.kept("project")) == ("agent", BOX)


async def test_4_1_without_a_number_it_is_the_project_s_own_line_or_else_another(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        agent = await desk.agent()
        await desk.initiate(agent_id=agent)
        assert await desk.dialing() is desk.town.office
        await desk.initiate(agent_id=agent)
        await desk.town.dialed(desk.town.home)
        assert desk.town.rows("SELECT from_ FROM calls ORDER BY id") == [(OFFICE,), (HOME,)]


async def test_4_1_the_switches_are_the_agent_s_unless_the_order_says_otherwise(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        agent = await desk.agent(enable_recording=False, enable_transcription=False, enable_analysis=False)
        await desk.initiate(agent_id=agent, enable_analysis=True)
        assert desk.switches == [False, True, True]


async def test_4_1_an_agent_that_can_t_be_called_is_said_so(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        mute = await desk.agent("Mute", stream=None)
        theirs = await desk.agent("Theirs", desk.theirs.project)
        assert (await desk.refused(422, agent_id=mute))["error"] == "agent has no runtime"
        await desk.refused(403, agent_id=theirs)
        await desk.refused(404, agent_id=theirs + 1)
        assert list((await desk.refused(422, agent_id="1"))["errors"]) == ["agent_id"]


async def test_4_1_a_phone_bridge_rings_the_agent_first_then_the_recipient_by_the_line_that_is_picked(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        said = await desk.initiate(call_type="bridge", inbound_phone_number=DESK, relay_number=HOME)
        assert list(said) == ["status", "phone_call_id", "telephony_ref", "cable_token"]
        first = await desk.dialing()
        assert first is desk.town.office
        assert desk.town.home.orders == []
        first.say(Answered())
        await desk.town.dialed(desk.town.home)
        assert (await desk.call())["status"] == "ringing"
        desk.town.home.say(Answered())
        await desk.town.until("SELECT 1 FROM calls WHERE joined_at IS NOT NULL")
        call = await desk.call()
        assert (call["status"], call["from"], call["to"]) == ("in-progress", HOME, RECIPIENT)
        assert desk.switches == [True, True, True]


async def test_4_1_a_bridge_without_a_number_shows_the_project_s_own_line(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        await desk.initiate(call_type="bridge", inbound_phone_number=DESK)
        first = await desk.dialing()
        first.say(Answered())
        await desk.town.dialed(desk.town.office)
        assert first is not desk.town.office
        assert (await desk.call())["from"] == OFFICE


async def test_4_1_a_browser_bridge_is_refused_in_words(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        said = await desk.refused(422, call_type="bridge", vendeur_mode="browser")
        assert "no browser softphone yet" in said["error"]
        assert list(said["errors"]) == ["vendeur_mode"]


@pytest.mark.parametrize("field", ["inbound_phone_number", "relay_number"])
async def test_4_1_a_line_that_is_not_the_box_s_is_422_and_another_project_s_403(tmp_path, field):
    async with open_switchboard(tmp_path) as desk:
        await desk.theirs.ask("POST", "/api/v1/relay_numbers", {"phone_number": SPARE}, status=201)
        is_bridge = field == "relay_number"
        order = {"call_type": "bridge", "inbound_phone_number": DESK} if is_bridge else {"agent_id": await desk.agent()}
        said = await desk.refused(422, **{**order, field: "+33799999999"})
        assert said["errors"] == {field: ["is not a number of this box"]}
        await desk.refused(403, **{**order, field: SPARE})


async def test_4_1_a_line_that_an_app_of_sfvopi_has_is_403(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        await desk.town.store.save_app(APP)
        assert await desk.town.store.link(Link(APP.app_id, SPARE, APP.created_at))
        await desk.refused(403, agent_id=await desk.agent(), inbound_phone_number=SPARE)


async def test_4_1_what_the_box_does_not_dial_is_422(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        agent = await desk.agent()
        said = await desk.refused(422, agent_id=agent, recipient_phone_number=PREMIUM)
        assert said["error"] == f"Not dialed: {PREMIUM} is a premium-rate number"
        bridge = {"call_type": "bridge", "inbound_phone_number": DESK, "recipient_phone_number": RECIPIENT}
        for field in ("inbound_phone_number", "recipient_phone_number"):
            for number in (PREMIUM, "+33112", "112"):
                await desk.refused(422, **{**bridge, field: number})


async def test_4_1_what_finds_no_free_line_is_queued_for_half_a_minute_and_fails(tmp_path, mock_clock):
    async with open_switchboard(tmp_path) as desk:
        for line in desk.town.lines.values():
            line.say(state=LineState.SEARCHING)
        await still()
        await desk.initiate(agent_id=await desk.agent())
        for _ in range(59):
            await still()
            mock_clock.jump(0.5)
        await still()
        assert (await desk.call())["status"] == "queued"
        for _ in range(2):
            mock_clock.jump(0.5)
            await still()
        assert await desk.town.ended() == ("no_line", 34)
        call = await desk.call()
        assert (call["status"], call["ended_reason"]) == ("failed", "no_line")


async def test_3_an_order_while_no_line_of_the_box_is_up_is_refused_and_may_come_again(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        agent, town = await desk.agent(), desk.town
        orders: list[tuple[str, dict[str, object]]] = [
            (INITIATE, {"agent_id": agent, "recipient_phone_number": RECIPIENT}),
            (INITIATE, {"call_type": "bridge", "inbound_phone_number": DESK, "recipient_phone_number": RECIPIENT}),
            (LEGACY, {"phone_number": RECIPIENT, "assistant_id": str(agent)}),
        ]
        town.office.lose()
        town.home.lose()
        town.spare.say(state=LineState.STARTING)
        await still()
        for path, order in orders:
            said = await desk.ours.send("POST", path, order, {"Idempotency-Key": path})
            assert (said.status_code, said.headers["Retry-After"]) == (503, "30")
            assert said.json() == {"error": "no line of this box is up just now"}
            # What a repeat would not help is told as ever.
            await desk.ours.refused(
                "POST", path, order | {"recipient_phone_number": "1", "phone_number": "1"}, status=422
            )
        assert town.rows("SELECT * FROM calls") == []
        town.spare.say(state=LineState.SEARCHING)
        await still()
        for path, order in orders[1:]:
            await desk.ours.ask("POST", path, order, status=201, Idempotency_Key=path)
        assert (await desk.call())["status"] == "queued"


async def test_4_1_a_repeat_with_its_key_dials_once_and_without_it_twice(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        order = {"agent_id": await desk.agent(), "recipient_phone_number": RECIPIENT}
        said = [await desk.ours.ask("POST", INITIATE, order, status=201, Idempotency_Key="1") for _ in range(2)]
        assert said[0] == said[1]
        assert (await desk.ours.ask("POST", INITIATE, order, status=201))["phone_call_id"] == 2
        assert desk.town.rows("SELECT count(*) FROM calls") == [(2,)]


# --- 4.4: hangup, add_monitor ---


async def hung_up(desk: Switchboard) -> str:
    said = await desk.ours.ask("POST", "/api/v1/calls/1/hangup")
    assert said == {"status": "success", "phone_call_id": 1, "call_status": said["call_status"]}
    return str(said["call_status"])


async def test_4_4_a_call_that_waits_or_rings_is_canceled(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        for line in desk.town.lines.values():
            line.say(state=LineState.SEARCHING)
        await still()
        await desk.initiate(agent_id=await desk.agent())
        assert await hung_up(desk) == "canceled"
    (tmp_path / "again").mkdir()
    async with open_switchboard(tmp_path / "again") as desk:
        await desk.initiate(agent_id=await desk.agent())
        (await desk.dialing()).say(Alerting())
        assert await hung_up(desk) == "canceled"
        assert (await desk.call())["ended_reason"] == "customer"


async def test_4_4_a_hang_up_ends_both_phones_and_is_safe_to_repeat(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        await desk.talking()
        assert await hung_up(desk) == "completed"
        assert await desk.town.ended() == ("customer", 16)
        assert [desk.town.home.orders[-1], desk.town.office.orders[-1]] == ["hang up", "hang up"]
        assert await hung_up(desk) == "completed"
        events = ["queued", "ringing", "started", "completed"]
        assert desk.town.events == [f"phone_call.{name}" for name in events]


async def test_4_4_a_line_that_is_slow_to_hang_up_holds_no_request(tmp_path, mock_clock):
    async with open_switchboard(tmp_path) as desk:
        await desk.talking()
        desk.town.home.when["hang up"] = bool
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hung_up, desk)
            await still()
            mock_clock.jump(6)


async def test_4_4_a_supervisor_is_called_and_his_end_is_not_the_call_s(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        await desk.talking()
        path = "/api/v1/calls/1/add_monitor"
        said = await desk.ours.ask("POST", path, {"supervisor_phone": SUPERVISOR})
        monitor = {"id": said["monitor"]["id"], "supervisor_phone": SUPERVISOR, "status": "ringing", "muted": True}
        assert said == {"status": "success", "phone_call_id": 1, "monitor": monitor}
        spare = desk.town.lines["spare"]
        await desk.town.dialed(spare)
        assert desk.town.rows("SELECT id, role, to_ FROM legs WHERE role = 'monitor'") == [
            (monitor["id"], "monitor", SUPERVISOR)
        ]
        spare.say(Answered())
        await desk.town.until("SELECT 1 FROM legs WHERE role = 'monitor' AND answered_at IS NOT NULL")
        assert "no line is free" in await desk.ours.refused("POST", path, {"supervisor_phone": DESK}, status=422)
        spare.release()
        await desk.town.until("SELECT 1 FROM legs WHERE role = 'monitor' AND ended_at IS NOT NULL")
        assert (await desk.call())["status"] == "in-progress"


async def test_4_4_who_can_t_be_called_or_hear_anything_is_422(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        path = "/api/v1/calls/1/add_monitor"
        await desk.initiate(call_type="bridge", inbound_phone_number=DESK, relay_number=OFFICE)
        await desk.town.dialed(desk.town.home)
        asked = {"supervisor_phone": SUPERVISOR}
        assert await desk.ours.refused("POST", path, asked, status=422) == "call is not in progress"
        desk.town.home.say(Answered())
        await desk.town.dialed(desk.town.office)
        assert await desk.ours.refused("POST", path, asked, status=422) == "call is not in progress"
        desk.town.office.say(Answered())
        await desk.town.until("SELECT 1 FROM calls WHERE joined_at IS NOT NULL")
        for phone in ("0612345678", "", None, PREMIUM):
            await desk.ours.refused("POST", path, {"supervisor_phone": phone}, status=422)
        await desk.ours.refused("POST", path, {}, status=422)
        assert await hung_up(desk) == "completed"
        assert await desk.ours.refused("POST", path, asked, status=422) == "call is not in progress"


async def test_2_another_project_s_calls_are_neither_hung_up_nor_listened_to(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        await desk.talking()
        for path, body in (("hangup", None), ("add_monitor", {"supervisor_phone": SUPERVISOR})):
            await desk.theirs.refused("POST", f"/api/v1/calls/1/{path}", body, status=403)
            await desk.ours.refused("POST", f"/api/v1/calls/2/{path}", body, status=404)
            await desk.ours.refused("POST", f"/api/v1/calls/nobody/{path}", body, status=404)
        assert (await desk.call())["status"] == "in-progress"


# --- 4.2: statuses ---


@pytest.mark.parametrize(
    ("cause", "status"), [(17, "busy"), (21, "busy"), (19, "no-answer"), (1, "failed"), (28, "failed")]
)
async def test_4_2_what_became_of_a_call_that_nobody_took(tmp_path, cause, status):
    async with open_switchboard(tmp_path) as desk:
        await desk.initiate(agent_id=await desk.agent())
        (await desk.dialing()).say(Released(cause), state=LineState.IDLE)
        await desk.town.ended()
        assert (await desk.call())["status"] == status
        assert desk.town.events == ["phone_call.queued", "phone_call.ringing", f"phone_call.{status}"]


async def test_4_2_a_line_that_is_lost_in_conversation_is_an_error(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        await desk.talking()
        desk.town.office.lose()
        await desk.town.ended()
        assert (await desk.call())["status"] == "error"


async def test_4_3_calls_of_every_kind_are_listed_and_an_app_s_are_not(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        await desk.initiate(agent_id=await desk.agent())
        await desk.initiate(call_type="bridge", inbound_phone_number=DESK)
        for kind, project in ((Kind.RELAY, BOX), (Kind.APP, None)):
            await desk.town.store.open_call(
                uuid=kind.value,
                line="office",
                direction=Direction.INBOUND,
                from_=DESK,
                to=OFFICE,
                state=State.INCOMING,
                started_at=NOON,
                route="{}",
                kind=kind,
                project=project,
            )
        said = await desk.ours.ask("GET", "/api/v1/calls")
        assert [call["id"] for call in said["calls"]] == [3, 2, 1]
