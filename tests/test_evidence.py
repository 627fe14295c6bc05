"""How a call begins and moves by the evidence: news that a modem tells, and its list of calls."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.evidence import MISSING_S, NUMBER_WAIT_S, PROGRESS, RING_MISSING_S, OneCall
from drivers.line import Alerting, Answered, Incoming, LineEvent, Released
from drivers.replies import CallEnded, CallerId, CallMoved, CallReport, CallStat, CallWaiting, Reply, Ring
from tests.one_call import S, call_in, ours, theirs


@pytest.mark.parametrize(
    ("first", "known"),
    [
        (Ring(voice=True), False),
        (CallerId("+33783484044"), True),
        (CallerId(None), True),
        (CallWaiting("+33783484044"), True),
        (theirs(S.INCOMING), True),
        (theirs(S.INCOMING, None), False),
    ],
)
def test_any_evidence_opens_one_call_at_once_if_the_number_is_known_or_withheld(first: Reply, known: bool) -> None:
    call = OneCall()
    told = call.hear(first, 10)
    assert len(told) == known
    for more in (Ring(voice=True), CallerId("+33783484044"), theirs(S.INCOMING), theirs(S.INCOMING, None)):
        told += call.hear(more, 10)
    told += call.listed([theirs(S.INCOMING)], 10)
    told += call.tick(11)
    assert len(told) == 1
    assert isinstance(told[0], Incoming)
    assert call.repairs == 0


def test_a_number_that_does_not_come_is_waited_for_so_long_and_no_longer() -> None:
    call = OneCall()
    assert call.hear(Ring(voice=True), 10) == []
    assert call.number_due == 10 + NUMBER_WAIT_S
    assert call.look_due(10) == call.number_due
    assert call.tick(10.1) == []
    assert call.tick(call.number_due) == [Incoming(None)]
    assert call.hear(CallerId("+33783484044"), 11) == []


def test_a_number_that_only_the_list_has_is_told() -> None:
    call = OneCall()
    call.hear(Ring(voice=True), 10)
    assert call.listed([theirs(S.INCOMING)], 10.1) == [Incoming("+33783484044")]
    assert call.repairs == 0


def test_a_ring_that_was_over_before_anybody_looked_was_no_call() -> None:
    call = OneCall()
    call.hear(Ring(voice=True), 10)
    assert call.listed([], 10.1) == []
    assert call.tick(10.1 + NUMBER_WAIT_S) == []
    assert call.listed([], 10.1 + RING_MISSING_S) == []
    assert call.stat is None
    assert call.tick(20) == []


def test_a_ring_that_a_late_list_has_not_yet_is_told_as_soon_as_it_has() -> None:
    call = OneCall()
    call.hear(Ring(voice=True), 10)
    assert call.listed([], 10.1) == []
    assert call.look_due(10.1) < 10.5
    assert call.listed([theirs(S.INCOMING)], 10.7) == [Incoming("+33783484044")]


def test_a_call_that_nobody_told_of_is_opened_by_the_list_and_counted() -> None:
    call = OneCall()
    assert call.listed([theirs(S.INCOMING)], 0) == [Incoming("+33783484044")]
    assert call.repairs == 1


@pytest.mark.parametrize("stat", PROGRESS)
@pytest.mark.parametrize("seen", CallStat)
def test_every_state_seen_as_every_other_tells_what_the_table_says_and_nothing_else(
    stat: CallStat, seen: CallStat
) -> None:
    for outgoing in (True, False):
        if (outgoing and stat is S.INCOMING) or (not outgoing and stat in (S.DIALING, S.ALERTING)):
            continue
        report = ours(seen) if outgoing else theirs(seen)
        expected = PROGRESS[stat].get(S.ACTIVE if seen is S.HELD else seen)
        assert call_in(stat, outgoing=outgoing).hear(report, 1) == ([expected] if expected else [])


def test_a_call_moves_by_news_of_its_index_alone() -> None:
    """Huawei."""
    call = OneCall()
    call.dialing()
    assert call.hear(CallMoved(1, S.DIALING), 0) == []
    assert call.index == 1
    assert call.hear(CallMoved(2, S.ACTIVE), 1) == []
    assert call.hear(CallMoved(1, S.ALERTING), 1) == [Alerting()]
    assert call.hear(CallMoved(1, S.ACTIVE), 2) == [Answered()]
    assert call.hear(CallMoved(1, S.ALERTING), 2) == []
    call.hear(CallMoved(2, S.RELEASED, 17), 3)
    assert not call.is_ending
    call.hear(CallMoved(1, S.RELEASED, 16), 3)
    assert call.is_ending
    assert call.cause == 16


def test_a_call_moves_by_news_of_whichever_call_there_is() -> None:
    """SIM7600; and no news of it opens a call, or makes an incoming one ring at the far end."""
    call = OneCall()
    for stat in CallStat:
        assert call.hear(CallMoved(None, stat), 0) == []
    assert call.stat is None
    call.hear(theirs(S.INCOMING), 0)
    assert call.hear(CallMoved(None, S.ALERTING), 0) == []
    assert call.hear(CallMoved(None, S.ACTIVE), 1) == [Answered()]
    call.hear(CallMoved(None, S.RELEASED), 2)
    assert call.is_ending


def test_an_answer_by_news_before_the_number_came_tells_the_call_first() -> None:
    call = OneCall()
    call.hear(Ring(voice=True), 0)
    assert call.hear(CallMoved(1, S.ACTIVE), 0.1) == [Incoming(None), Answered()]


def test_a_second_caller_is_no_news_of_the_first() -> None:
    call = call_in(S.ACTIVE, outgoing=False)
    assert call.hear(CallWaiting("+33612345678"), 1) == []
    call.listed([theirs(S.ACTIVE)], 1)
    assert call.stat is S.ACTIVE


def test_an_end_among_the_list_is_an_end_and_a_state_told_twice_is_one() -> None:
    """SIM7600 sends +CLCC unasked, between the lines of the list, too."""
    call = call_in(S.ACTIVE, outgoing=False)
    call.listed([theirs(S.ACTIVE), theirs(S.ACTIVE)], 1)
    assert call.strays == ()
    call.listed([theirs(S.ACTIVE), theirs(S.RELEASED)], 2)
    assert call.over
    assert call.released(None, 2) == [Released(16)]
    call = call_in(S.DIALING, outgoing=True)
    states = [ours(S.DIALING), ours(S.ALERTING), ours(S.ACTIVE), ours(S.ACTIVE)]
    assert call.listed(states, 1) == [Alerting(), Answered()]
    assert call.repairs == 0


def test_what_a_device_never_tells_is_no_repair_when_the_list_has_it() -> None:
    call = OneCall(tells_states=False)
    call.dialing()
    assert call.listed([ours(S.ACTIVE)], 1) == [Answered()]
    assert call.repairs == 0
    call = OneCall(tells_states=False)
    assert call.listed([theirs(S.INCOMING)], 1) == [Incoming("+33783484044")]
    assert call.repairs == 1


REPORTS = st.builds(
    CallReport,
    st.integers(1, 2),
    st.booleans(),
    st.sampled_from(CallStat),
    st.booleans(),
    st.sampled_from([None, "+33783484044"]),
)
STEPS = st.one_of(
    st.builds(Ring, st.booleans()),
    st.builds(CallerId, st.sampled_from([None, "+33783484044"])),
    REPORTS,
    st.builds(CallEnded, st.sampled_from([None, 17, 19])),
    st.builds(CallMoved, st.sampled_from([None, 1, 2]), st.sampled_from(CallStat), st.sampled_from([None, 17])),
    st.builds(CallWaiting, st.sampled_from([None, "+33783484044", "+33612345678"])),
    st.lists(REPORTS, max_size=3),
    st.sampled_from(["dial", "refused", "hang up", "time"]),
)
LETTERS = {Incoming: "I", Alerting: "L", Answered: "A", Released: "R"}


@settings(max_examples=400)
@given(st.lists(STEPS, max_size=30))
def test_whatever_the_evidence_events_make_sense_and_every_call_ends_once(steps: list[object]) -> None:
    call, now, story = OneCall(), 0.0, ""

    def tell(events: list[LineEvent]) -> None:
        nonlocal story
        story += "".join(LETTERS[type(event)] for event in events)

    def listed(reports: list[CallReport]) -> None:
        tell(call.listed(reports, now))
        if call.over:
            tell(call.released(None, now))

    for step in steps:
        now += 0.2
        match step:
            case "dial" if call.stat is None:
                call.dialing()
                story += "D"
            case "refused" if story.endswith("D"):
                call.withdrawn(now)
                story += "X"
            case "hang up":
                call.hanging_up(now)
            case "time":
                now += 4
                tell(call.tick(now))
            case list():
                listed(step)
            case str():
                pass
            case _:
                tell(call.hear(step, now))  # type: ignore[arg-type]
    for _ in range(2):
        listed([])
        now += 2 * MISSING_S
    assert call.stat is None
    assert re.fullmatch(r"(IA?R|DL?A?R|DX)*", story), story
