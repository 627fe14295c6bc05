"""A bridge, and a third party, on lines that the test speaks for. No sound but the box's own."""

from base64 import b64encode

import pytest
import trio

from appliance.actions import StreamTo
from appliance.conductor import NoConversation
from appliance.exchange import NotDialed
from drivers.line import Alerting, Answered, LineState
from hil.listening import align, sound
from native import alaw_encode
from tests.conftest import _serve_voice
from tests.core import still
from tests.relay_town import CALLER, HOME, OFFICE, SPARE, open_town
from tests.rig import speech


async def test_a_bridge_calls_its_agent_first_and_then_the_recipient(tmp_path, mock_clock):
    async with open_town(tmp_path) as town:
        plan = town.control.plans.bridge(1, "+33611111111", "+33622222222", relay_number=OFFICE)
        call = await town.control.initiate(plan, {"enable_analysis": False})
        assert (call.from_, call.to, call.details["enable_analysis"]) == (OFFICE, "+33622222222", False)
        assert call.details["telephony_ref"].startswith("CA")
        await town.dialed(town.home)
        assert town.office.orders == []
        town.home.say(Alerting(), Answered())
        await town.dialed(town.office)
        assert town.events == ["phone_call.queued", "phone_call.ringing"]
        town.office.say(Alerting(), Answered())
        await town.until("SELECT 1 FROM calls WHERE joined_at IS NOT NULL")
        mock_clock.jump(3)
        town.office.release()
        assert await town.ended() == ("hangup", 16)
        assert town.events[2:] == ["phone_call.started", "phone_call.completed"]
        assert town.rows("SELECT line, line IN (SELECT line FROM legs) FROM calls") == [("home", 0)]


async def test_a_bridge_s_recipient_is_called_by_another_line_when_the_one_meant_is_taken_and_that_is_told(tmp_path):
    async with open_town(tmp_path) as town:
        call = await town.control.initiate(town.control.plans.bridge(1, "+33611111111", "+33622222222", rather=SPARE))
        assert call.from_ == SPARE
        line = None
        while line is None:
            await still()
            line = next((each for each in (town.office, town.home) if each.orders), None)
        town.lines["spare"].say(state=LineState.SEARCHING)
        await still()
        line.say(Alerting(), Answered())
        other = town.home if line is town.office else town.office
        await town.dialed(other)
        other.say(Answered())
        await town.until("SELECT 1 FROM calls WHERE joined_at IS NOT NULL")
        [(from_,)] = town.rows("SELECT data ->> 'from' FROM events WHERE type = 'phone_call.started'")
        assert from_ == (HOME if other is town.home else OFFICE)
        line.release()
        assert await town.ended() == ("hangup", 16)


@pytest.mark.parametrize("picked", [None, HOME])
async def test_nobody_is_called_for_a_bridge_that_has_no_line_for_the_other(tmp_path, picked):
    async with open_town(tmp_path) as town:
        for name in ("home",) if picked else ("home", "spare"):
            town.lines[name].say(state=LineState.SEARCHING)
        await still()
        plan = town.control.plans.bridge(1, "+33611111111", "+33622222222", relay_number=picked)
        call = await town.control.initiate(plan)
        await still()
        assert [line.orders for line in town.lines.values()] == [[], [], []]
        assert town.control.hang_up(call.uuid)
        assert await town.ended() == ("customer", 16)


async def test_a_bridge_whose_agent_does_not_answer_never_dials_the_recipient(tmp_path, mock_clock):
    async with open_town(tmp_path) as town:
        await town.control.initiate(town.control.plans.bridge(1, "+33611111111", "+33622222222"))
        await town.until("SELECT 1 FROM calls WHERE state = 'dialing'")
        line = next(line for line in town.lines.values() if line.orders)
        line.say(Alerting())
        await still()
        mock_clock.jump(30)
        assert await town.ended() == ("ring_timeout", 19)
        assert town.events[-1] == "phone_call.no-answer"
        assert town.legs == []


async def test_an_order_waits_for_a_line_half_a_minute(tmp_path, mock_clock):
    async with open_town(tmp_path) as town:
        for line in town.lines.values():
            line.say(state=LineState.SEARCHING)
        await still()
        await town.control.initiate(town.control.plans.bridge(1, "+33611111111", "+33622222222"))
        await still()
        for _ in range(61):
            mock_clock.jump(0.5)
            await still()
        assert await town.ended() == ("no_line", 34)
        assert town.events == ["phone_call.queued", "phone_call.failed"]


async def test_a_third_party_comes_and_goes_and_the_call_goes_on(tmp_path):
    async with open_town(tmp_path) as town:
        await town.joined()
        [(uuid,)] = town.rows("SELECT uuid FROM calls")
        leg = await town.control.add_monitor(uuid, "+33633333333")
        spare = town.lines["spare"]
        await town.dialed(spare)
        spare.say(Answered())
        await town.until(f"SELECT 1 FROM legs WHERE id = {leg} AND answered_at IS NOT NULL AND role = 'monitor'")
        spare.release()
        await town.until(f"SELECT 1 FROM legs WHERE id = {leg} AND ended_at IS NOT NULL")
        assert town.rows("SELECT state FROM calls") == [("active",)]
        spare.orders.clear()
        await town.control.add_monitor(uuid, "+33633333333")
        await town.dialed(spare)
        town.office.release()
        assert await town.ended() == ("hangup", 16)
        assert spare.orders == ["dial", "hang up"]
        with pytest.raises(NoConversation):
            await town.control.add_monitor(uuid, "+33633333333")


async def test_an_order_to_an_emergency_number_is_refused(tmp_path):
    async with open_town(tmp_path) as town:
        with pytest.raises(NotDialed, match="emergency"):
            await town.control.initiate(town.control.plans.bridge(1, "+33611111111", "+33112"))
        assert town.rows("SELECT * FROM calls") == []


async def test_an_agent_speaks_by_its_stream_and_is_listened_to(tmp_path, mock_clock):
    async with _serve_voice() as voice, open_town(tmp_path) as town:
        plan = town.control.plans.agent(1, CALLER, StreamTo(voice.url), from_=HOME)
        await town.control.initiate(plan)
        await town.dialed(town.home)
        town.home.say(Alerting(), Answered())
        server = await voice.connection()
        assert (await server.receive())["event"] == "start"
        assert town.events == ["phone_call.queued", "phone_call.ringing", "phone_call.started"]
        [(uuid, line, from_)] = town.rows("SELECT uuid, line, from_ FROM calls")
        assert (line, from_) == ("home", HOME)
        await town.control.add_monitor(uuid, "+33633333333")
        await town.dialed(town.office)
        town.office.say(Answered())
        await town.until("SELECT 1 FROM legs WHERE answered_at IS NOT NULL")
        words = speech(0.5, seed=3)
        await server.send({"event": "playAudio", "media": {"payload": b64encode(alaw_encode(words)).decode()}})
        heard = b""
        with trio.fail_after(3600):
            while align(sound(words), sound(heard)).correlation < 0.95:
                assert town.office.port
                while (frame := town.office.port.pull()) is not None:
                    heard += frame
                await still()
        server.close(1000)
        assert await town.ended() == ("customer", 16)
        assert town.office.orders == ["dial", "hang up"]
        assert town.events[-1] == "phone_call.completed"


async def test_an_order_that_waits_for_a_line_is_taken_back(tmp_path):
    async with open_town(tmp_path) as town:
        for line in town.lines.values():
            line.say(state=LineState.SEARCHING)
        await still()
        call = await town.control.initiate(town.control.plans.bridge(1, "+33611111111", "+33622222222"))
        await still()
        assert town.control.hang_up(call.uuid)
        assert await town.ended() == ("customer", 16)
        assert town.events == ["phone_call.queued", "phone_call.canceled"]
