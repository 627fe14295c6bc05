import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.evidence import (
    AFTER_END_S,
    END_DOUBTED_AFTER_S,
    FALL_BACK_S,
    MISSING_S,
    NUMBER_WAIT_S,
    PROGRESS,
    RING_MISSING_S,
    STRAY_S,
    OneCall,
)
from drivers.line import Alerting, Answered, Incoming, LineEvent, Released
from drivers.replies import CallEnded, CallerId, CallMoved, CallReport, CallStat, CallWaiting, Reply, Ring

S = CallStat
ORDER = (S.DIALING, S.ALERTING, S.ACTIVE)


def theirs(stat: CallStat, number: str | None = "+33783484044", index: int = 1) -> CallReport:
    return CallReport(index, False, stat, True, number)


def ours(stat: CallStat) -> CallReport:
    return CallReport(1, True, stat, True, "+33783484044")


def call_in(stat: CallStat, *, outgoing: bool) -> OneCall:
    call = OneCall()
    if outgoing:
        call.dialing()
        call.hear(ours(stat), 0)
    else:
        call.hear(theirs(S.INCOMING), 0)
        call.hear(theirs(stat), 0)
    assert call.stat is stat
    return call


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


@pytest.mark.parametrize(
    "news",
    [CallEnded(None), CallEnded(17), theirs(S.RELEASED), CallMoved(1, S.RELEASED, 17), CallMoved(None, S.RELEASED)],
)
def test_an_end_is_believed_when_the_list_has_no_call_and_told_once(news: Reply) -> None:
    call = call_in(S.ACTIVE, outgoing=False)
    assert call.hear(news, 1) == []
    assert call.listed([theirs(S.ACTIVE)], 1.1) == []
    assert not call.over
    assert call.listed([], 1.4) == []
    assert call.over
    assert call.released(None, 99) == [Released(getattr(news, "cause", None) or 16)]
    assert call.released(None, 99) == []
    assert call.repairs == 0


def test_an_end_that_the_list_denies_is_forgotten() -> None:
    call = call_in(S.ALERTING, outgoing=True)
    call.hear(CallEnded(19), 1)
    call.listed([ours(S.ALERTING)], 1 + END_DOUBTED_AFTER_S / 2)
    assert call.is_ending
    call.listed([ours(S.ALERTING)], 1.1 + END_DOUBTED_AFTER_S)
    assert not call.is_ending
    assert call.cause is None


@pytest.mark.parametrize(
    ("stat", "outgoing", "ordered", "for_s"),
    [
        (S.DIALING, True, True, MISSING_S),
        (S.ALERTING, True, True, MISSING_S),
        (S.ACTIVE, True, True, MISSING_S),
        (S.ACTIVE, False, True, MISSING_S),
        (S.INCOMING, False, False, RING_MISSING_S),
        (S.INCOMING, False, True, MISSING_S),
    ],
)
def test_a_call_that_vanished_without_news_is_over_when_it_was_missing_for_so_long_and_counted(
    stat: CallStat, outgoing: bool, ordered: bool, for_s: float
) -> None:
    call = call_in(stat, outgoing=outgoing)
    if ordered:
        call.answering()
    report = ours(stat) if outgoing else theirs(stat)
    for_how_often = [0, 0.3, for_s - 0.1]
    for after_s in for_how_often:
        call.listed([], 1 + after_s)
        assert not call.over
        assert call.look_due(1 + after_s) < 1 + after_s + 0.5
    call.listed([report], 5)
    for after_s in for_how_often:
        call.listed([], 6 + after_s)
        assert not call.over
    call.listed([], 6 + for_s)
    assert call.over
    assert call.repairs == 1


def test_no_carrier_while_dialing_may_be_a_fall_back_and_a_report_or_a_cause_is_the_end() -> None:
    ends: list[tuple[Reply, bool]] = [(CallEnded(None), False), (CallEnded(17), True), (ours(S.RELEASED), True)]
    ends += [(CallMoved(None, S.RELEASED), False), (CallMoved(1, S.RELEASED), True)]
    for news, over in ends:
        call = call_in(S.DIALING, outgoing=True)
        call.hear(news, 1)
        call.listed([], 1)
        assert call.over is over
        call.listed([], 1 + FALL_BACK_S)
        assert call.over
        assert call.repairs == 0


def test_what_news_tells_of_a_call_counts_against_its_absence_from_the_list() -> None:
    call = call_in(S.DIALING, outgoing=True)
    call.listed([], 1)
    call.hear(ours(S.ALERTING), 1 + MISSING_S)
    call.listed([], 1.1 + MISSING_S)
    assert not call.over


def test_a_call_that_we_hang_up_stays_hung_up_however_long_it_is_listed() -> None:
    call = call_in(S.ACTIVE, outgoing=True)
    call.hanging_up(1)
    call.listed([ours(S.ACTIVE)], 2 + END_DOUBTED_AFTER_S)
    call.listed([], 8)
    assert call.over
    assert call.released(None, 8) == [Released(16)]


def test_after_an_end_the_list_is_watched_for_a_while() -> None:
    call = call_in(S.ACTIVE, outgoing=True)
    assert OneCall().look_due(8) == float("inf")
    call.hear(ours(S.RELEASED), 8)
    call.listed([], 8)
    call.released(None, 8)
    assert call.look_due(8) < 9
    assert call.look_due(8 + AFTER_END_S) == float("inf")
    order = call_in(S.DIALING, outgoing=True)
    order.withdrawn(8)
    assert order.look_due(8) < 9


@pytest.mark.parametrize(
    ("stat", "outgoing", "cause"),
    [(S.INCOMING, False, 21), (S.ACTIVE, False, 16), (S.DIALING, True, 16), (S.ACTIVE, True, 16)],
)
def test_what_we_hang_up_has_our_cause(stat: CallStat, outgoing: bool, cause: int) -> None:
    call = call_in(stat, outgoing=outgoing)
    call.hanging_up(1)
    call.hear(CallEnded(None), 1.1)
    call.listed([], 1.2)
    assert call.released(31, 99) == [Released(cause)]


def test_the_device_s_own_reason_counts_when_news_gave_none() -> None:
    for stat, reported, cause in [(S.ACTIVE, 41, 41), (S.ACTIVE, None, 16), (S.ALERTING, None, 127)]:
        call = call_in(stat, outgoing=True)
        call.hear(CallEnded(None), 1)
        call.listed([], 1.1)
        assert call.released(reported, 99) == [Released(cause)]


def test_a_new_call_after_one_whose_end_was_lost_is_told_apart() -> None:
    call = call_in(S.ACTIVE, outgoing=False)
    assert call.hear(theirs(S.INCOMING, "+33612345678"), 1) == []
    call.listed([theirs(S.INCOMING, "+33612345678")], 1)
    call.listed([theirs(S.INCOMING, "+33612345678")], 1 + MISSING_S)
    assert call.strays == ()
    assert call.over
    assert call.released(None, 99) == [Released(16)]
    assert call.listed([theirs(S.INCOMING, "+33612345678")], 1.5) == [Incoming("+33612345678")]


def test_a_second_caller_is_not_the_first_one() -> None:
    call, second = OneCall(), theirs(S.INCOMING, "+33612345678")
    assert call.hear(theirs(S.INCOMING), 0) == [Incoming("+33783484044")]
    call.hear(theirs(S.RELEASED), 1)
    assert call.hear(second, 1) == []
    call.listed([second], 1.1)
    assert call.over
    assert call.released(None, 1.1) == [Released(127)]
    assert call.listed([second], 1.2) == [Incoming("+33612345678")]
    # The end of the first, which is late.
    call.hear(theirs(S.RELEASED), 1.3)
    assert not call.is_ending


def test_a_number_with_and_without_its_country_is_one_caller() -> None:
    call = OneCall()
    call.hear(CallerId("0783484044"), 0)
    assert call.listed([theirs(S.ACTIVE)], 1) == [Answered()]


def test_the_end_of_another_call_than_ours_is_nothing_to_it() -> None:
    call = call_in(S.ACTIVE, outgoing=False)
    call.hear(theirs(S.RELEASED, None, index=2), 1)
    assert not call.is_ending
    call.hear(theirs(S.RELEASED, None, index=1), 1)
    assert call.is_ending


def test_second_calls_and_calls_of_others_are_strays_when_seen_twice_and_data_is_not() -> None:
    call = call_in(S.ACTIVE, outgoing=False)
    waiting = theirs(S.WAITING, "+33612345678", 2)
    data = CallReport(3, True, S.ACTIVE, False, None)
    idle = OneCall()
    for at, strays in [(1, False), (1 + STRAY_S, True)]:
        call.listed([theirs(S.ACTIVE), waiting, data], at)
        assert call.strays == ((waiting,) if strays else ())
        idle.listed([ours(S.ALERTING), data], at)
        assert idle.strays == ((ours(S.ALERTING),) if strays else ())
        assert idle.look_due(at) < at + 0.5
    assert idle.stat is None
    idle.listed([data], 2)
    assert idle.strays == ()


def test_nobody_is_a_stray_by_a_list_that_may_be_older_than_the_news() -> None:
    ringing, late = theirs(S.INCOMING), theirs(S.INCOMING, None)
    answered = call_in(S.ACTIVE, outgoing=False)
    rung = call_in(S.INCOMING, outgoing=False)
    for at in (1, 2, 3):
        answered.listed([late], at)
        assert answered.strays == ()
        answered.listed([theirs(S.ACTIVE), ringing], at)
        assert answered.strays == ()
        rung.listed([ringing, theirs(S.WAITING, "+33612345678", 2)], at)
        assert rung.strays == ()


def test_an_order_that_was_refused_leaves_no_call_and_takes_none_away() -> None:
    call = OneCall()
    call.dialing()
    call.withdrawn(0)
    assert call.stat is None
    call.hear(theirs(S.INCOMING), 0)
    call.withdrawn(0)
    assert call.stat is S.INCOMING


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
