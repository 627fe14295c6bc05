"""What goes wrong about a relay's call: no line stays up, no call stays open, and the next caller is served."""

import pytest
import trio
from structlog.testing import capture_logs

from appliance.actions import Protocol, StreamTo
from appliance.conductor import NoConversation
from appliance.exchange import NotDialed
from appliance.limits import Limits
from appliance.trunk import Seizure
from drivers.errors import CommandError, LineLost
from drivers.line import Alerting, Answered, Incoming, LineState, Released
from tests.conftest import _serve_voice
from tests.core import still
from tests.relay_town import CALLER, HOME, SPARE, Town, open_town

AGENT, RECIPIENT, SUPERVISOR = "+33611111111", "+33622222222", "+33633333333"


def all_idle(town: Town) -> bool:
    return all(line.state is LineState.IDLE for line in town.lines.values())


async def serves(town: Town) -> None:
    """The next caller is forwarded, and nothing is left of it."""
    for line in town.lines.values():
        line.orders.clear()
        line.when.pop("dial", None)
    (before,) = town.rows("SELECT count(*) FROM calls WHERE joined_at IS NOT NULL")
    town.ring()
    await town.dialed(town.home)
    town.home.say(Alerting(), Answered())
    with trio.fail_after(3600):
        while town.rows("SELECT count(*) FROM calls WHERE joined_at IS NOT NULL") == [before]:
            await still()
    town.office.release()
    await town.until("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM calls WHERE ended_at IS NULL)")
    with trio.fail_after(3600):
        while not all_idle(town):
            await still()


# --- the disk ---

# When each fails: at what is written of a call, in this order. JSON that is none is a fault of the file's, as a full
# disk is.
COMMITS = {
    "incoming": "BEFORE INSERT ON calls BEGIN SELECT json('{'); END",
    "answered": "BEFORE UPDATE ON calls BEGIN SELECT IIF(NEW.answered_at IS NULL, 0, json('{')); END",
    "leg dialed": "BEFORE INSERT ON legs BEGIN SELECT json('{'); END",
    "leg answered": "BEFORE UPDATE ON legs BEGIN SELECT IIF(NEW.answered_at IS NULL, 0, json('{')); END",
    "joined": "BEFORE UPDATE ON calls BEGIN SELECT IIF(NEW.joined_at IS NULL, 0, json('{')); END",
    "recording": "BEFORE INSERT ON recordings BEGIN SELECT json('{'); END",
    "leg ended": "BEFORE UPDATE ON legs BEGIN SELECT IIF(NEW.ended_at IS NULL, 0, json('{')); END",
    "ended": "BEFORE UPDATE ON calls BEGIN SELECT IIF(NEW.ended_at IS NULL, 0, json('{')); END",
}


@pytest.mark.parametrize("commit", COMMITS)
async def test_a_disk_that_is_full_at_any_moment_leaves_no_line_up_and_no_call_open(tmp_path, mock_clock, commit):
    async with open_town(tmp_path, recordings=True) as town:
        town.rows(f"CREATE TRIGGER full {COMMITS[commit]}")
        town.home.when["dial"] = lambda: town.home.say(Alerting(), Answered())
        town.ring()
        for _ in range(20):
            await still()
        if town.office.state is LineState.IN_USE:
            town.office.release()
        for _ in range(20):
            await still()
        assert all_idle(town)
        town.rows("DROP TRIGGER full")
        mock_clock.jump(60)
        await still()
        await serves(town)
        assert town.rows("SELECT 1 FROM legs WHERE ended_at IS NULL") == []
        ends = [type_ for type_ in town.events if type_ not in ("phone_call.ringing", "phone_call.started")]
        assert town.rows("SELECT count(*) FROM calls") == [(len(ends),)]


async def test_an_order_that_waits_for_a_line_while_the_file_can_not_be_read_fails_alone(tmp_path):
    async with open_town(tmp_path) as town:
        town.rows("ALTER TABLE relay_numbers RENAME TO lost")
        await town.control.initiate(town.control.plans.bridge(1, AGENT, RECIPIENT))
        assert await town.ended() == ("fault", 41)
        town.rows("ALTER TABLE lost RENAME TO relay_numbers")
        await serves(town)


# --- the service stops ---


async def test_when_the_service_stops_both_lines_are_hung_up_and_the_end_is_told(tmp_path):
    async with open_town(tmp_path) as town:
        await town.joined()
    assert [line.orders[-1] for line in (town.office, town.home)] == ["hang up", "hang up"]
    assert town.rows("SELECT reason FROM calls") == [("shutdown",)]
    assert town.rows("SELECT 1 FROM legs WHERE ended_at IS NULL") == []
    assert town.events[-1] == "phone_call.error"


async def test_an_order_that_waits_for_a_line_when_the_service_stops_ends_with_it(tmp_path):
    async with open_town(tmp_path) as town:
        for line in town.lines.values():
            line.say(state=LineState.SEARCHING)
        await still()
        await town.control.initiate(town.control.plans.bridge(1, AGENT, RECIPIENT))
        await still()
    assert town.rows("SELECT reason, cause FROM calls") == [("shutdown", 41)]
    assert town.events == ["phone_call.queued", "phone_call.error"]


async def test_who_calls_while_the_service_stops_is_left_to_ring(tmp_path):
    async with open_town(tmp_path) as town:
        pass
    # The line is still there: it is the last to go.
    trunk = town.trunks["office"]
    trunk.line = town.office
    trunk._offer(Incoming(CALLER))
    assert trunk._seizure is None
    assert town.office.orders == []


# --- lines ---


async def test_who_calls_on_the_line_that_is_about_to_dial_is_served_and_another_line_dials(tmp_path):
    async with open_town(tmp_path) as town:

        def glare() -> None:
            town.home.say(Incoming("+33655555555"), state=LineState.IN_USE)
            raise CommandError("ATD", "BUSY")

        town.home.when["dial"] = glare
        town.ring()
        await town.dialed(town.lines["spare"])
        # No app has that number: it rings until its caller has enough.
        assert town.home.orders == ["dial"]
        town.home.release()
        town.lines["spare"].say(Answered())
        await town.until("SELECT 1 FROM calls WHERE joined_at IS NOT NULL")
        town.office.release()
        assert await town.ended() == ("hangup", 16)
        await serves(town)


async def test_both_lines_lost_at_once_are_one_end(tmp_path):
    async with open_town(tmp_path) as town:
        await town.joined()
        town.office.lose()
        town.home.lose()
        await town.until("SELECT 1 FROM calls WHERE ended_at IS NOT NULL")
        assert town.rows("SELECT reason FROM calls") == [("line_lost",)]
        assert town.rows("SELECT 1 FROM legs WHERE ended_at IS NULL") == []
        assert town.events.count("phone_call.error") == 1


async def test_a_line_that_is_lost_as_it_is_to_send_keys_is_lost_and_no_fault_of_ours(tmp_path):
    async with _serve_voice() as voice, open_town(tmp_path) as town:

        def lost() -> None:
            # Who waits at the port may be told before who waits for the line's events.
            town.home.lose()
            raise LineLost("unplugged")

        town.home.when["keys"] = lost
        town.home.when["dial"] = lambda: town.home.say(Answered())
        stream = StreamTo(voice.url, protocol=Protocol.PLIVO)
        await town.control.initiate(town.control.plans.agent(1, CALLER, stream, from_=HOME))
        server = await voice.connection()
        await server.send({"event": "sendDTMF", "dtmf": "1"})
        with capture_logs() as logs:
            assert await town.ended() == ("line_lost", 27)
        assert [line for line in logs if line["log_level"] == "error"] == []


async def test_when_all_lines_ring_at_once_nobody_is_left_without_an_answer(tmp_path):
    async with open_town(tmp_path) as town:
        for number in (HOME, SPARE):
            await town.store.directory.buy(
                number, project=1, forward_to="+33655555555", country="FR", type_="mobile", at=town.now
            )
        for line in town.lines.values():
            line.when["answer"] = lambda line=line: line.say(Answered())
            # The first of them may be gone before the last one looks for a line.
            line.when["dial"] = lambda line=line: line.say(Released(17), state=LineState.IDLE)
        for line in (town.home, town.lines["spare"]):
            line.say(Incoming("+33644444444"), state=LineState.IN_USE)
        town.ring()
        await town.until("SELECT 1 WHERE (SELECT count(ended_at) FROM calls) = 3")
        assert {reason for (reason,) in town.rows("SELECT reason FROM calls")} <= {"no_line", "refused"}
        with trio.fail_after(3600):
            while not all_idle(town):
                await still()


async def test_a_test_call_makes_way_for_a_relay(tmp_path):
    async with open_town(tmp_path) as town:
        town.lines["spare"].say(state=LineState.SEARCHING)
        await still()
        test = town.trunks["home"].seize()
        test.gives_way = True

        async def end(test: Seizure) -> None:
            await test.wanted.wait()
            test.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end, test)
            await town.joined()
        town.office.release()
        assert await town.ended() == ("hangup", 16)


# --- at the same moment ---


async def test_the_caller_hangs_up_as_the_owner_answers(tmp_path):
    async with open_town(tmp_path) as town:
        town.ring()
        await town.dialed(town.home)
        town.home.say(Alerting(), Answered())
        town.office.release()
        assert (await town.ended())[0] == "hangup"
        assert town.home.orders == ["dial", "hang up"]
        assert town.events[-1] in ("phone_call.canceled", "phone_call.completed")
        await serves(town)


async def test_a_number_that_is_given_up_while_it_rings_is_forwarded_this_once(tmp_path):
    async with open_town(tmp_path) as town:
        town.ring()
        await town.dialed(town.home)
        assert await town.store.directory.release(town.relay.id)
        town.home.say(Answered())
        await town.until("SELECT 1 FROM calls WHERE joined_at IS NOT NULL")
        town.home.release()
        assert await town.ended() == ("hangup", 16)
        town.office.orders.clear()
        town.ring()
        await still()
        assert town.office.orders == []
        town.office.release()
        await still()
        assert len(town.rows("SELECT * FROM calls")) == 1


async def test_lines_that_are_looked_for_at_once_are_no_more_than_the_box_may_place(tmp_path):
    async with open_town(tmp_path, concurrent=1) as town:
        refused = 0

        async def dial() -> None:
            nonlocal refused
            try:
                await town.control._exchange.seize(CALLER, project=1, limit_s=1, further=True)
            except NotDialed:
                refused += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial)
            nursery.start_soon(dial)
        assert refused == 1


async def test_nobody_is_called_to_listen_to_a_line_that_is_being_hung_up(tmp_path, mock_clock):
    async with open_town(tmp_path, limits=Limits(minutes_per_day=1)) as town:
        await town.joined()
        [(uuid,)] = town.rows("SELECT uuid FROM calls")
        del town.home.when["hang up"]
        mock_clock.jump(60)
        await still()
        with pytest.raises(NoConversation):
            await town.control.add_monitor(uuid, SUPERVISOR)
        town.home.release()
        assert await town.ended() == ("time_limit", 16)


async def test_a_third_party_who_answers_as_the_call_ends_is_hung_up(tmp_path):
    async with open_town(tmp_path) as town:
        await town.joined()
        [(uuid,)] = town.rows("SELECT uuid FROM calls")
        spare = town.lines["spare"]
        await town.control.add_monitor(uuid, SUPERVISOR)
        await town.dialed(spare)
        town.home.release()
        spare.say(Answered())
        assert await town.ended() == ("hangup", 16)
        assert spare.orders == ["dial", "hang up"]
        assert town.rows("SELECT reason FROM legs ORDER BY id") == [("hangup",), ("hangup",)]
