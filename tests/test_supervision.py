"""Answers that are none: what is concluded from what is heard, and by the drivers of all families on the bench."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from drivers.evidence import OneCall
from drivers.line import Alerting, Answered, Released
from drivers.replies import CallMoved, CallReport, CallStat
from drivers.supervision import HASTE_S, LOUD_PEAK, MARGIN_S, Doubt, ringback_of
from native import ToneKind
from tests.gsm_bench import IDLE, IN_USE, THEIRS, Rig, open_rig
from tests.speech import speech

Clock = trio.testing.MockClock
S = CallStat
# Serial PCM switched before the call, after the order, and in the call; a sound card; and who is told by lists alone.
FAMILIES = ("ec25", "e173", "sim7600", "a7672", "generic")
# France's pause between two rings is 3.5 s, and may be 15 % longer; its ring is 1.5 s.
PAUSE_S = 3.5 * 1.15 + MARGIN_S
CYCLES_S = 2 * 5 * 1.15 + MARGIN_S


def doubted(country: str = "FR") -> tuple[OneCall, Doubt]:
    """A call whose answer came with its ring, 100 s after the clock began."""
    call = OneCall()
    call.dialing(country)
    assert call.hear(report(S.ALERTING), 100) == [Alerting()]
    assert call.hear(report(S.ACTIVE), 100) == []
    assert call.doubt is not None
    return call, call.doubt


def report(stat: CallStat) -> CallReport:
    return CallReport(1, True, stat, True, THEIRS)


# --- what is doubted ---


@pytest.mark.parametrize("rings_s", [0, 0.9, HASTE_S, 20])
def test_an_answer_is_doubted_when_the_far_phone_has_hardly_rung(rings_s: float) -> None:
    call = OneCall()
    call.dialing("FR")
    call.hear(report(S.ALERTING), 10)
    told = call.hear(report(S.ACTIVE), 10 + rings_s)
    assert (told == [Answered()]) is (call.doubt is None) is (rings_s >= HASTE_S)


@pytest.mark.parametrize("tells_states", [True, False])
def test_an_answer_without_any_ring_is_doubted_and_a_ring_told_late_is_told(tells_states: bool) -> None:
    call = OneCall(tells_states=tells_states)
    call.dialing("FR")
    assert call.hear(report(S.ACTIVE), 10) == []
    assert call.listed([report(S.ALERTING), report(S.ACTIVE)], 10.1) == [Alerting()]
    assert call.stat is S.ACTIVE
    assert call.doubt is not None


def test_nobody_doubts_that_we_answer_a_caller_or_an_answer_that_cannot_be_heard() -> None:
    call = OneCall()
    caller = CallReport(1, False, S.INCOMING, True, THEIRS)
    call.hear(caller, 10)
    assert call.hear(CallMoved(1, S.ACTIVE), 10) == [Answered()]
    call = OneCall()
    call.dialing()
    assert call.hear(report(S.ACTIVE), 10) == [Answered()]


# --- what decides ---


def test_a_voice_is_an_answer() -> None:
    call, doubt = doubted()
    doubt.voice()
    assert call.tick(100.5) == [Answered()]
    assert call.doubt is None
    assert call.tick(200) == []


def test_silence_is_an_answer_when_it_is_longer_than_ringback_s() -> None:
    call, doubt = doubted()
    assert call.due == 100 + PAUSE_S
    doubt.level(LOUD_PEAK, 101)
    assert call.tick(100 + PAUSE_S) == []
    doubt.level(LOUD_PEAK - 1, 103)
    assert call.due == 101 + PAUSE_S
    assert call.tick(call.due) == [Answered()]


def test_what_is_loud_and_neither_ringback_nor_a_voice_is_no_ringback_in_two_cycles() -> None:
    call, doubt = doubted()
    for tenths in range(200):
        doubt.level(9999, 100 + tenths / 10)
    assert call.due == pytest.approx(100 + CYCLES_S)
    assert call.tick(100 + CYCLES_S) == [Answered()]


def test_while_ringback_is_heard_it_rings_and_its_end_is_the_answer() -> None:
    call, doubt = doubted()
    doubt.tone(ToneKind.RINGBACK)
    assert call.due == float("inf")
    assert call.tick(160) == []
    doubt.tone_ended(ToneKind.RINGBACK)
    assert call.tick(160) == [Answered()]


def test_ringback_tells_that_it_rings_where_the_module_did_not() -> None:
    call = OneCall(tells_states=False)
    call.dialing("FR")
    assert call.listed([report(S.ACTIVE)], 100) == []
    assert call.doubt is not None
    call.doubt.tone(ToneKind.RINGBACK)
    assert call.tick(102) == [Alerting()]
    assert call.tick(103) == []


@pytest.mark.parametrize(("tone", "cause"), [(ToneKind.BUSY, 17), (ToneKind.CONGESTION, 34)])
def test_a_busy_tone_is_no_answer_and_the_cause_of_the_end_that_comes(tone: ToneKind, cause: int) -> None:
    for by_us in (False, True):
        call, doubt = doubted()
        doubt.tone(ToneKind.RINGBACK)
        doubt.tone(tone)
        doubt.tone_ended(ToneKind.RINGBACK)
        doubt.voice()
        assert call.tick(1000) == []
        if by_us:
            call.hanging_up(1000)
        else:
            call.hear(report(S.RELEASED), 1000)
        call.listed([], 1000)
        assert call.released(16, 1000) == [Released(cause)]


def test_a_doubted_call_that_ends_was_not_answered() -> None:
    call, _ = doubted()
    call.hear(CallMoved(None, S.RELEASED), 101)
    assert call.tick(999) == []
    call.listed([], 999)
    assert call.released(None, 999) == [Released(127)]


def test_the_clock_begins_when_there_is_something_to_hear() -> None:
    call, doubt = doubted()
    doubt.begin(103)
    assert call.due == 103 + PAUSE_S
    doubt.tone(ToneKind.RINGBACK)
    doubt.begin(104)
    assert call.due == float("inf")


@pytest.mark.parametrize(
    ("number", "home", "country"),
    [
        ("+33783484044", "GB", "FR"),
        ("0783484044", "FR", "FR"),
        ("+12025550143", "FR", "US"),
        ("+442079460000", None, "GB"),
        # Tones that are not known, a number of no country, a service code.
        ("+351210000000", "FR", "DE"),
        ("3900", "FR", "FR"),
        ("*21#", "FR", "FR"),
        ("112", None, "DE"),
    ],
)
def test_ringback_is_the_far_end_s_country_s(number: str, home: str | None, country: str) -> None:
    assert ringback_of(number, home) == country


# --- on the bench, sample by sample ---


@pytest.fixture(params=FAMILIES)
async def rig(request: pytest.FixtureRequest, tmp_path: Path, autojump_clock: Clock) -> AsyncIterator[Rig]:
    async with open_rig(request.param, tmp_path) as rig:
        yield rig


async def test_an_answer_at_ringback_is_told_when_somebody_answers(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.faults.early_answer = True
    phone = rig.phone(answers_after_s=23, says=speech(5))
    await rig.line.dial(THEIRS)
    async with rig.sound():
        assert [await rig.next(), await rig.next(), await rig.next()] == [IN_USE, Alerting(), Answered()]
        answered_at = phone.calls[0].answered_at
        assert answered_at is not None
        assert 0 < trio.current_time() - answered_at < 1.5
        await rig.nothing(30)
    await rig.line.hang_up()
    assert [await rig.next(), await rig.next()] == [Released(16), IDLE]


async def test_who_answers_and_is_silent_is_answered_a_pause_later(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.faults.early_answer = True
    phone = rig.phone(answers_after_s=12)
    await rig.line.dial(THEIRS)
    async with rig.sound():
        assert [await rig.next(), await rig.next(), await rig.next()] == [IN_USE, Alerting(), Answered()]
        answered_at = phone.calls[0].answered_at
        assert answered_at is not None
        assert 0 < trio.current_time() - answered_at < PAUSE_S + 1


async def test_nobody_answers_what_is_up_by_the_module_s_word(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.faults.early_answer = True
    rig.phone("no-answer")
    await rig.line.dial(THEIRS)
    async with rig.sound():
        assert [await rig.next(), await rig.next()] == [IN_USE, Alerting()]
        await rig.nothing(50)
        await rig.line.hang_up()
    assert [await rig.next(), await rig.next()] == [Released(16), IDLE]


async def test_an_answer_after_a_ring_is_believed_and_not_listened_to(rig: Rig, autojump_clock: Clock) -> None:
    phone = rig.phone(answers_after_s=7)
    await rig.line.dial(THEIRS)
    async with rig.sound():
        assert [await rig.next(), await rig.next(), await rig.next()] == [IN_USE, Alerting(), Answered()]
        answered_at = phone.calls[0].answered_at
        assert answered_at is not None
        assert trio.current_time() - answered_at < 1
        await trio.sleep(10)
        assert not rig.heard
