"""How a call ends by the evidence, and what is none of its business: other calls, strays, orders refused."""

import pytest

from drivers.evidence import AFTER_END_S, END_DOUBTED_AFTER_S, FALL_BACK_S, MISSING_S, RING_MISSING_S, STRAY_S, OneCall
from drivers.line import Answered, Incoming, Released
from drivers.replies import CallEnded, CallerId, CallMoved, CallReport, CallStat, Reply
from tests.one_call import S, call_in, ours, theirs


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
