from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.call import (
    TRANSITIONS,
    Call,
    CallError,
    Dialed,
    Direction,
    Ended,
    Joined,
    Kind,
    Outcome,
    Reason,
    State,
    outcome,
)
from drivers.line import Alerting, Answered

T0 = datetime(2026, 2, 2, 10, 0, tzinfo=UTC)


def a_call(direction=Direction.INBOUND, state=State.INCOMING):
    return Call(1, "uuid", "office", direction, "+33783484044", "+33700000002", T0, state)


CHANGES = (Dialed(), Alerting(), Answered(), Joined(), Ended(Reason.HANGUP, 16))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
def test_each_change_in_each_state_is_in_the_table_or_an_error(state, change):
    call = a_call(Direction.OUTBOUND, state)
    if type(change) in TRANSITIONS[state]:
        assert call.apply(change, T0).state is TRANSITIONS[state][type(change)]
    else:
        with pytest.raises(CallError, match=f"{type(change).__name__} in state {state.name}"):
            call.apply(change, T0)


@pytest.mark.parametrize("state", State)
def test_every_state_but_the_last_can_end(state):
    assert (Ended in TRANSITIONS[state]) == (state is not State.ENDED)


def test_duration_is_whole_seconds_from_answer_to_end():
    call = a_call().apply(Answered(), T0 + timedelta(seconds=3))
    assert call.duration_s == 0
    call = call.apply(Ended(Reason.HANGUP, 16), T0 + timedelta(seconds=65, milliseconds=900))
    assert call.duration_s == 62
    assert call.outcome is Outcome.COMPLETED


def test_a_clock_set_back_in_mid_call_gives_no_negative_duration():
    call = a_call().apply(Answered(), T0)
    call = call.apply(Ended(Reason.HANGUP, 16), T0 - timedelta(hours=1))
    assert call.duration_s == 0


def test_an_outgoing_call_started_when_it_began_to_ring():
    call = a_call(Direction.OUTBOUND, State.QUEUED).apply(Dialed(), T0 + timedelta(seconds=1))
    assert call.started_at == T0
    call = call.apply(Alerting(), T0 + timedelta(seconds=4))
    assert call.started_at == T0 + timedelta(seconds=4)


@pytest.mark.parametrize(
    ("direction", "answered", "reason", "cause", "expected"),
    [
        (Direction.INBOUND, True, Reason.HANGUP, 16, Outcome.COMPLETED),
        (Direction.INBOUND, True, Reason.CUSTOMER, 16, Outcome.COMPLETED),
        (Direction.INBOUND, True, Reason.TIME_LIMIT, 16, Outcome.COMPLETED),
        (Direction.INBOUND, True, Reason.ANSWER_FAILED, 16, Outcome.FAILED),
        (Direction.INBOUND, True, Reason.LINE_LOST, 27, Outcome.ERROR),
        (Direction.INBOUND, True, Reason.RESTART, 41, Outcome.ERROR),
        (Direction.INBOUND, False, Reason.HANGUP, 16, Outcome.CANCELED),
        (Direction.OUTBOUND, False, Reason.REFUSED, 17, Outcome.BUSY),
        (Direction.OUTBOUND, False, Reason.REFUSED, 21, Outcome.BUSY),
        (Direction.OUTBOUND, False, Reason.REFUSED, 19, Outcome.NO_ANSWER),
        (Direction.OUTBOUND, False, Reason.RING_TIMEOUT, 19, Outcome.NO_ANSWER),
        (Direction.OUTBOUND, False, Reason.REFUSED, 1, Outcome.FAILED),
        (Direction.OUTBOUND, False, Reason.NO_LINE, 17, Outcome.BUSY),
        (Direction.OUTBOUND, False, Reason.NO_LINE, 38, Outcome.FAILED),
        # A relay's, whose owner was not reached.
        (Direction.INBOUND, False, Reason.REFUSED, 17, Outcome.BUSY),
        (Direction.INBOUND, False, Reason.REFUSED, 1, Outcome.FAILED),
        (Direction.INBOUND, False, Reason.RING_TIMEOUT, 19, Outcome.NO_ANSWER),
        (Direction.INBOUND, False, Reason.NO_LINE, 34, Outcome.FAILED),
        (Direction.INBOUND, False, Reason.PAUSED, 21, Outcome.BUSY),
        (Direction.INBOUND, False, Reason.OWNER, 17, Outcome.BUSY),
        (Direction.INBOUND, False, Reason.LOOP, 21, Outcome.FAILED),
        (Direction.INBOUND, False, Reason.NOT_PERMITTED, 21, Outcome.FAILED),
        (Direction.INBOUND, False, Reason.CUSTOMER, 16, Outcome.CANCELED),
    ],
)
def test_the_outcome_follows_from_answer_reason_and_cause(direction, answered, reason, cause, expected):
    assert outcome(direction, answered=answered, end=Ended(reason, cause)) is expected


@pytest.mark.parametrize("kind", [Kind.RELAY, Kind.BRIDGE])
def test_a_call_for_two_phones_lasts_from_their_join(kind):
    call = replace(a_call(), kind=kind).apply(Answered(), T0)
    alone = call.apply(Ended(Reason.HANGUP, 16), T0 + timedelta(seconds=9))
    assert (alone.duration_s, alone.outcome) == (0, Outcome.CANCELED)
    call = call.apply(Joined(), T0 + timedelta(seconds=5)).apply(Ended(Reason.HANGUP, 16), T0 + timedelta(seconds=9))
    assert (call.duration_s, call.outcome) == (4, Outcome.COMPLETED)


def test_our_own_side_of_a_relays_call_is_the_relay():
    assert replace(a_call(), to="+33612345678", relay_number="+33700000002").number == "+33700000002"
