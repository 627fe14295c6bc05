"""Calls that the older generation of PhoneVoice orders, over HTTP in this process: section 10 of its contract."""

import re

from drivers.line import LineState, Released
from tests.line_box import NOON
from tests.switchboard import LEGACY, PREMIUM, RECIPIENT, open_switchboard

HOOK = "https://93.184.216.34/calls"


async def test_10_a_call_by_the_older_generation_is_an_agents_with_all_switches_on(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        agent = await desk.agent("Front Desk", enable_recording=False)
        order = {"phone_number": RECIPIENT, "assistant_id": "front-desk", "webhook_url": HOOK}
        said = await desk.ours.ask("POST", LEGACY, order, status=201)
        assert re.fullmatch("call_[0-9a-z]{10}", said["call_id"])
        assert said == {
            "call_id": said["call_id"],
            "status": "queued",
            "phone_number": RECIPIENT,
            "assistant_id": "front-desk",
            "phone_call_id": 1,
        }
        assert desk.switches == [True, True, True]
        assert (await desk.dialing()) is desk.town.office
        # The one record, by its other identity.
        assert (await desk.call())["to"] == RECIPIENT
        again = await desk.ours.ask("POST", LEGACY, order | {"assistant_id": str(agent)}, status=201)
        assert again["call_id"] != said["call_id"]


async def test_10_its_events_go_to_the_address_that_came_with_it_besides_the_project_s_webhooks(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        await desk.agent()
        order = {"phone_number": RECIPIENT, "assistant_id": "desk", "webhook_url": HOOK}
        said = await desk.ours.ask("POST", LEGACY, order, status=201)
        (await desk.dialing()).say(Released(17), state=LineState.IDLE)
        await desk.town.ended()
        envelope = {"event": "call.failed", "call_id": said["call_id"], "timestamp": int(NOON.timestamp())}
        assert desk.legacy == [(HOOK, envelope | {"data": {"status": "busy", "reason": "refused"}})]
        assert desk.town.events[-1] == "phone_call.busy"


async def test_10_without_an_address_nothing_is_told_to_any(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        await desk.agent()
        for extra in ({}, {"webhook_url": ""}):
            order = {"phone_number": RECIPIENT, "assistant_id": "desk", **extra}
            await desk.ours.ask("POST", LEGACY, order, status=201)
        (await desk.dialing()).say(Released(17), state=LineState.IDLE)
        await desk.town.until("SELECT 1 FROM calls WHERE ended_at IS NOT NULL")
        assert desk.legacy == []


async def test_10_what_can_t_be_called_is_said_so(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        await desk.agent()
        await desk.agent("Mute", stream=None)
        theirs = await desk.agent("Theirs", desk.theirs.project)
        good = {"phone_number": RECIPIENT, "assistant_id": "desk", "webhook_url": HOOK}
        for change, status in [
            ({"assistant_id": "nobody"}, 404),
            ({"assistant_id": "999"}, 404),
            ({"assistant_id": "9" * 40}, 404),
            ({"assistant_id": "theirs"}, 404),
            ({"assistant_id": str(theirs)}, 403),
            ({"assistant_id": "mute"}, 422),
            ({"assistant_id": 1}, 422),
            # As the documents' samples are printed.
            ({"phone_number": "", "assistant_id": "", "webhook_url": ""}, 422),
            ({"phone_number": PREMIUM}, 422),
            ({"webhook_url": "https://127.0.0.1/x"}, 422),
            ({"webhook_url": "http://93.184.216.34/x"}, 422),
            ({"webhook_url": "crm"}, 422),
        ]:
            await desk.ours.refused("POST", LEGACY, good | change, status=status)
        assert desk.town.rows("SELECT * FROM calls") == []
        for key in ("1", "1"):
            await desk.ours.ask("POST", LEGACY, good, status=201, Idempotency_Key=key)
        assert desk.town.rows("SELECT count(*) FROM calls") == [(1,)]


async def test_10_a_name_of_digits_is_an_id_first(tmp_path):
    async with open_switchboard(tmp_path) as desk:
        first, second = await desk.agent("2"), await desk.agent("Other", desk.theirs.project)
        assert (first, second) == (1, 2)
        order = {"phone_number": RECIPIENT, "assistant_id": "2"}
        # That agent is another project's, but the name is ours.
        await desk.ours.ask("POST", LEGACY, order, status=201)
