"""A relay's call, on lines that the test speaks for. No sound but the box's own."""

import json
from datetime import datetime

import pytest
import soundfile
import trio

from appliance.call import Ended, Reason
from appliance.config import Relay
from appliance.exchange import NotDialed
from appliance.limits import Limits
from appliance.options import RelayRule, TakeMessage
from appliance.relay import message_for
from drivers.errors import CommandError
from drivers.line import Alerting, Answered, Incoming, LineState, Released
from drivers.radio import Radio
from hil.listening import align, sound
from native import FRAME_SAMPLES
from tests.core import still
from tests.line_box import NOON
from tests.relay_town import CALLER, HOME, OFFICE, OWNER, SPARE, open_town
from tests.rig import speech

# --- two who talk ---


async def test_a_caller_is_answered_at_once_and_joined_with_the_owner_on_another_line(tmp_path, mock_clock):
    async with open_town(tmp_path) as town:
        await town.joined()
        assert town.office.orders == ["answer"]
        assert town.home.orders == ["dial"]
        mock_clock.jump(7)
        town.office.release()
        assert await town.ended() == ("hangup", 16)
        assert town.home.orders == ["dial", "hang up"]
        assert town.legs == [("home", "owner", OWNER, 1, "hangup", 16)]
        assert town.events == ["phone_call.ringing", "phone_call.started", "phone_call.completed"]
        [started, completed] = [json.loads(data) for (data,) in town.rows("SELECT data FROM events WHERE seq > 1")]
        parties = {"from": CALLER, "to": OWNER, "relay_number": OFFICE, "direction": "inbound"}
        assert parties.items() <= started.items()
        assert (started["status"], completed["status"], completed["duration"]) == ("in-progress", "completed", 7)
        assert len(started["cable_token"]) >= 32
        assert "cable_token" not in completed


async def test_the_owner_hangs_up_and_the_caller_is_hung_up(tmp_path):
    async with open_town(tmp_path) as town:
        await town.joined()
        town.home.release()
        assert await town.ended() == ("hangup", 16)
        assert town.office.orders == ["answer", "hang up"]
        assert town.events[-1] == "phone_call.completed"


async def test_a_line_that_is_lost_ends_the_other_and_is_told_as_an_error(tmp_path):
    async with open_town(tmp_path) as town:
        await town.joined()
        town.home.lose()
        assert await town.ended() == ("line_lost", 27)
        assert town.office.orders == ["answer", "hang up"]
        assert town.events[-1] == "phone_call.error"


async def test_a_call_that_is_hung_up_by_order_leaves_both_lines_free(tmp_path):
    async with open_town(tmp_path) as town:
        await town.joined()
        [(uuid,)] = town.rows("SELECT uuid FROM calls")
        assert town.control.hang_up(uuid)
        assert await town.ended() == ("customer", 16)
        assert [line.orders[-1] for line in (town.office, town.home)] == ["hang up", "hang up"]
        assert town.events[-1] == "phone_call.completed"


async def test_a_call_is_cut_at_its_longest(tmp_path, mock_clock):
    async with open_town(tmp_path, choice=Relay(limit_s=60)) as town:
        await town.joined()
        mock_clock.jump(60)
        assert await town.ended() == ("time_limit", 16)


async def test_the_minutes_of_a_line_that_dials_for_a_relay_are_counted_and_limited(tmp_path, mock_clock):
    async with open_town(tmp_path, limits=Limits(minutes_per_day=1)) as town:
        await town.joined()
        mock_clock.jump(60)
        assert await town.ended() == ("time_limit", 16)
        assert await town.store.minutes_used("home", [NOON]) == [1]


async def test_the_recording_has_the_caller_on_the_left_and_the_owner_on_the_right_of_the_same_time(tmp_path):
    words = speech(0.8, seed=1)
    async with open_town(tmp_path, recordings=True) as town:
        await town.joined()
        for line in (town.office, town.home):
            assert line.port
            assert line.port.push(words)
        heard = b""
        with trio.fail_after(3600):
            while len(heard) < 2 * len(words):
                assert town.home.port
                while (frame := town.home.port.pull()) is not None:
                    heard += frame
                await still()
        assert align(sound(words), sound(heard)).correlation > 0.99
        town.office.release()
        await town.until("SELECT 1 FROM recordings WHERE sha256 IS NOT NULL")
        [mp3] = (tmp_path / "recordings").glob("*.mp3")
        samples, _ = soundfile.read(mp3, dtype="int16")
        left, right = (align(sound(words), samples[:, side]) for side in (0, 1))
        assert min(left.correlation, right.correlation) > 0.9
        # A tick may have come between the first frame of the one and that of the other.
        assert abs(left.delay_samples - right.delay_samples) in (0, FRAME_SAMPLES)


async def test_what_is_dialed_for_a_relay_is_among_the_calls_that_the_box_may_place_at_once(tmp_path):
    async with open_town(tmp_path, concurrent=1) as town:
        await town.joined()
        with pytest.raises(NotDialed, match="1 calls are under way"):
            await town.control.initiate(town.control.plans.bridge(1, "+33611111111", "+33622222222"))
        [(uuid,)] = town.rows("SELECT uuid FROM calls")
        with pytest.raises(NotDialed, match="1 calls are under way"):
            await town.control.add_monitor(uuid, "+33633333333")
        town.office.release()
        await town.ended()


# --- the owner who is not reached ---


async def test_an_owner_who_does_not_answer_in_his_time(tmp_path, mock_clock):
    async with open_town(tmp_path) as town:
        town.ring()
        await town.dialed(town.home)
        town.home.say(Alerting())
        await still()
        mock_clock.jump(30)
        assert await town.ended() == ("ring_timeout", 19)
        assert town.events == ["phone_call.ringing", "phone_call.no-answer"]
        assert [line.orders[-1] for line in (town.office, town.home)] == ["hang up", "hang up"]


@pytest.mark.parametrize(("cause", "event"), [(17, "busy"), (21, "busy"), (19, "no-answer"), (1, "failed")])
async def test_why_the_owner_was_not_reached_is_told_by_the_event(tmp_path, cause, event):
    async with open_town(tmp_path) as town:
        town.ring()
        await town.dialed(town.home)
        town.home.say(Released(cause), state=LineState.IDLE)
        assert await town.ended() == ("refused", cause)
        assert town.events == ["phone_call.ringing", f"phone_call.{event}"]
        assert town.lines["spare"].orders == []


async def test_a_caller_who_gives_up_leaves_no_line_dialing(tmp_path):
    async with open_town(tmp_path) as town:
        town.ring()
        await town.dialed(town.home)
        town.office.release()
        assert await town.ended() == ("hangup", 16)
        assert town.home.orders == ["dial", "hang up"]
        assert town.events == ["phone_call.ringing", "phone_call.canceled"]


async def test_a_line_that_refuses_to_dial_is_made_up_for_once(tmp_path):
    async with open_town(tmp_path) as town:

        def refuse() -> None:
            town.home.state = LineState.IDLE
            raise CommandError("ATD", "NO DIALTONE")

        town.home.when["dial"] = refuse
        town.ring()
        await town.dialed(town.lines["spare"])
        town.lines["spare"].say(Answered())
        await town.until("SELECT 1 FROM calls WHERE joined_at IS NOT NULL")
        town.office.release()
        assert await town.ended() == ("hangup", 16)
        assert [(line, answered, reason) for line, _, _, answered, reason, _ in town.legs] == [
            ("home", 0, "refused"),
            ("spare", 1, "hangup"),
        ]


async def test_without_a_free_line_the_call_fails_and_says_so(tmp_path):
    async with open_town(tmp_path) as town:
        for name in ("home", "spare"):
            town.lines[name].say(state=LineState.SEARCHING)
        await still()
        town.ring()
        assert await town.ended() == ("no_line", 34)
        assert town.events == ["phone_call.ringing", "phone_call.failed"]
        assert town.legs == []


async def test_lines_are_taken_in_the_order_that_is_configured(tmp_path):
    def radio(operator: str) -> Radio:
        return Radio(operator=operator)

    async with open_town(tmp_path, choice=Relay()) as town:
        exchange, trunks = town.control._exchange, town.trunks
        for name, operator in (("office", "Bouygues"), ("home", "Orange"), ("spare", "Bouygues")):
            town.lines[name].radio = radio(operator)

        def order() -> list[str]:
            return [trunk.name for trunk in exchange.in_order(trunks["office"])]

        assert order() == ["office", "spare", "home"]
        exchange._choice = Relay(order="kind")
        assert order() == ["office", "home", "spare"]
        trunks["home"].analog = True
        assert order() == ["office", "spare", "home"]
        exchange._choice = Relay(order="listed", lines=("home", "spare"))
        assert order() == ["home", "spare"]


# --- who is not forwarded ---


async def test_a_paused_relay_rejects_and_tells_busy_and_the_call_that_runs_goes_on(tmp_path):
    async with open_town(tmp_path) as town:
        await town.joined()
        await town.store.directory.change(town.relay.id, enabled=False)
        town.home.release()
        assert await town.ended() == ("hangup", 16)
        town.office.orders.clear()
        town.ring()
        await town.until("SELECT 1 FROM calls WHERE reason = 'paused'")
        assert town.office.orders == ["hang up"]
        assert town.events[-2:] == ["phone_call.ringing", "phone_call.busy"]


async def test_on_an_analog_line_a_caller_can_not_be_rejected_but_is_told(tmp_path):
    async with open_town(tmp_path) as town:
        await town.store.directory.change(town.relay.id, enabled=False)
        town.trunks["office"].analog = True
        town.ring()
        await town.until("SELECT 1 FROM calls WHERE reason = 'paused'")
        assert town.office.orders == []
        town.office.release()
        await still()
        assert town.trunks["office"].seize()


async def test_the_owner_who_calls_his_relay_is_busy_and_not_called(tmp_path):
    async with open_town(tmp_path) as town:
        town.ring(OWNER)
        assert await town.ended() == ("owner", 17)
        assert town.office.orders == ["hang up"]
        assert town.events[-1] == "phone_call.busy"


async def test_a_relay_to_a_line_of_the_box_is_a_loop(tmp_path):
    async with open_town(tmp_path, forward_to=HOME) as town:
        town.ring()
        assert await town.ended() == ("loop", 21)
        assert town.events[-1] == "phone_call.failed"


async def test_a_phone_that_forwards_to_the_relay_does_not_make_the_box_call_itself_for_ever(tmp_path):
    async with open_town(tmp_path) as town:
        await town.store.directory.buy(
            SPARE, project=1, forward_to="+33655555555", country="FR", type_="mobile", at=NOON
        )
        town.ring()
        await town.dialed(town.home)
        spare = town.lines["spare"]
        spare.say(Incoming(HOME), state=LineState.IN_USE)
        await town.until("SELECT 1 FROM calls WHERE reason = 'loop'")
        assert spare.orders == ["hang up"]
        town.office.release()
        await still()


# --- messages ---


def test_each_reason_has_its_message():
    rule = RelayRule(
        **{name: TakeMessage(announcement=f"{name}.wav") for name in ("no_answer", "busy", "no_line", "paused")}
    )
    ends = {
        Ended(Reason.RING_TIMEOUT, 19): rule.no_answer,
        Ended(Reason.REFUSED, 19): rule.no_answer,
        Ended(Reason.REFUSED, 17): rule.busy,
        Ended(Reason.OWNER, 17): rule.busy,
        Ended(Reason.REFUSED, 38): rule.no_line,
        Ended(Reason.NO_LINE, 34): rule.no_line,
        Ended(Reason.LINE_LOST, 27): rule.no_line,
        Ended(Reason.PAUSED, 21): rule.paused,
        Ended(Reason.LOOP, 21): None,
        Ended(Reason.HANGUP, 16): None,
    }
    assert {end: message_for(rule, end) for end in ends} == ends


def test_a_relays_own_rule_is_over_what_is_configured():
    configured = Relay(ring_s=20, busy=TakeMessage(limit_s=5))
    rule = configured.over('{"busy": null, "no_answer": {"limit_s": 7}}')
    assert (rule.ring_s, rule.busy, rule.no_answer) == (20, None, TakeMessage(limit_s=7))
    assert configured.over(None) is configured


async def test_a_caller_whom_the_owner_does_not_answer_leaves_a_message(tmp_path, mock_clock):
    choice = Relay(no_answer=TakeMessage(limit_s=10))
    async with open_town(tmp_path, choice=choice, recordings=True) as town:
        town.ring()
        await town.dialed(town.home)
        town.home.say(Alerting())
        await still()
        mock_clock.jump(30)
        await town.until("SELECT 1 FROM recordings")
        assert town.home.orders == ["dial", "hang up"]
        assert town.office.orders == ["answer"]
        town.office.release()
        assert await town.ended() == ("ring_timeout", 19)
        assert town.events == ["phone_call.ringing", "phone_call.no-answer"]


async def test_who_calls_a_paused_relay_with_a_message_is_answered(tmp_path):
    async with open_town(tmp_path, choice=Relay(paused=TakeMessage(limit_s=10))) as town:
        await town.store.directory.change(town.relay.id, enabled=False)
        town.ring()
        await town.until("SELECT 1 FROM calls WHERE answered_at IS NOT NULL")
        assert town.office.orders == ["answer"]
        town.office.release()
        assert await town.ended() == ("paused", 21)


# --- before it is recorded ---


async def test_what_both_heard_before_the_recording_is_in_the_calls_row(tmp_path):
    async with open_town(tmp_path, choice=Relay(consents={"FR": "beep"}), recordings=True) as town:
        await town.joined()
        [(details,)] = town.rows("SELECT details FROM calls")
        consent = json.loads(details)["consent"]
        assert (consent["country"], consent["what"], consent["played"]) == ("FR", "beep", True)
        assert datetime.fromisoformat(consent["at"]).tzinfo
        assert len(town.rows("SELECT * FROM recordings")) == 1


async def test_without_what_is_to_be_said_before_it_nothing_is_recorded_and_they_talk(tmp_path):
    async with open_town(tmp_path, choice=Relay(consent="recorded.wav"), recordings=True) as town:
        await town.joined()
        [(details,)] = town.rows("SELECT details FROM calls")
        assert json.loads(details)["consent"]["played"] is False
        assert town.rows("SELECT * FROM recordings") == []
