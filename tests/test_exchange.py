"""The exchange's side of an analog line: ringing, caller id, tones, recall, and each country's way of clearing."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.exchange import (
    INTERDIGIT_S,
    NO_DIGIT_S,
    Answer,
    Current,
    Dial,
    Effect,
    ExchangeLine,
    Identify,
    LineFaults,
    LineState,
    Press,
    Release,
    Reverse,
    Ring,
    Ringing,
    Talk,
    Tone,
)
from hil.network import Cause
from hil.plans import PLANS, Plan
from native import COUNTRIES, Caller, CallerIdKind, ToneKind, tones
from native.callerid import sound

CALLER = Caller(number="0783484044", time="07211423")


class Rig:
    """A line, its clock, and what it did when."""

    def __init__(self, plan: Plan, faults: LineFaults | None = None, numbers: frozenset[str] = frozenset()) -> None:
        self.line = ExchangeLine(plan, complete=numbers.__contains__, faults=faults)
        self.now = 0.0
        self.log: list[tuple[float, Effect]] = []

    def do(self, act: Callable[..., list[Effect]], *arguments: object) -> list[Effect]:
        effects = act(*arguments, self.now)
        self.log += [(round(self.now, 3), effect) for effect in effects]
        return effects

    def wait(self, seconds: float) -> list[Effect]:
        begun, until = len(self.log), self.now + seconds
        while self.line.deadline <= until:
            self.now = max(self.now, self.line.deadline)
            self.do(self.line.elapse)
        self.now = until
        return [effect for _, effect in self.log[begun:]]

    def when(self, *kinds: type) -> list[tuple[float, Effect]]:
        return [(at, effect) for at, effect in self.log if isinstance(effect, kinds)]

    def dial(self, digits: str) -> list[Effect]:
        self.do(self.line.lifted)
        effects: list[Effect] = []
        for digit in digits:
            self.wait(0.2)
            effects += self.do(self.line.key, digit)
        return effects

    def talk(self) -> None:
        """A call that we made is answered."""
        self.dial("0783484044")
        self.wait(INTERDIGIT_S)
        self.do(self.line.alerting)
        self.wait(2)
        self.do(self.line.answered)
        assert self.line.state is LineState.TALKING


def plan_of(country: str, **ways: object) -> Plan:
    return Plan(**{**vars(PLANS[country]), **ways})  # type: ignore[arg-type]


def test_every_country_whose_tones_are_known_has_a_plan():
    assert set(PLANS) == set(COUNTRIES)


@pytest.mark.parametrize("country", COUNTRIES)
def test_a_line_rings_as_its_country_does_until_it_is_lifted(country):
    rig = Rig(PLANS[country], LineFaults(no_caller_id=True))
    assert rig.do(rig.line.offered, CALLER) == [Ring(True), Ringing()]
    rig.wait(30)
    edges = [at for at, _ in rig.when(Ring)]
    steps = [step.ms / 1000 for step in tones(country)[ToneKind.RINGBACK]]
    assert [effect.on for _, effect in rig.when(Ring)] == [at % 2 == 0 for at in range(len(edges))]
    for at in range(len(edges) - 1):
        assert edges[at + 1] - edges[at] == pytest.approx(steps[at % len(steps)])
    lifted = rig.do(rig.line.lifted)
    assert lifted[-2:] == [Answer(), Talk(True)]
    assert rig.wait(60) == []


@pytest.mark.parametrize("country", [country for country in COUNTRIES if PLANS[country].caller_id])
def test_a_caller_is_told_before_the_first_ring_or_in_the_first_long_pause(country):
    plan = PLANS[country]
    rig = Rig(plan)
    rig.do(rig.line.offered, CALLER)
    rig.wait(20)
    [(told_at, message)] = rig.when(Identify)
    assert message.kind is plan.caller_id
    assert message.caller.number == CALLER.number
    rings = [at for at, ring in rig.when(Ring) if ring.on]
    ends = [at for at, ring in rig.when(Ring) if not ring.on]
    over_at = told_at + message.lasts_s
    if plan.before_ring:
        assert rig.log[0] == (0.0, Reverse())
        assert over_at < rings[0]
    else:
        last_of_cycle = len(plan.ring_ms) // 2 - 1
        assert ends[last_of_cycle] + 0.5 <= told_at
        assert over_at < rings[last_of_cycle + 1]
        assert not rig.when(Reverse)


@pytest.mark.parametrize("caller", [CALLER, Caller(absence="P", time="07211423"), Caller(number="1234", name="A NAME")])
@pytest.mark.parametrize("country", ["US", "FR", "DK"])
def test_a_message_lasts_as_long_as_its_sound(country, caller):
    rig = Rig(PLANS[country])
    rig.do(rig.line.offered, caller)
    rig.wait(20)
    [(_, message)] = rig.when(Identify)
    assert message.lasts_s == pytest.approx(len(sound(message.kind, message.caller)) / 16000, abs=0.25)


def test_keys_tell_neither_time_nor_name():
    rig = Rig(PLANS["DK"])
    rig.do(rig.line.offered, Caller(number="12345678", name="A NAME", time="07211423"))
    rig.wait(5)
    [(_, message)] = rig.when(Identify)
    assert message.kind is CallerIdKind.KEYS
    assert message.caller == Caller(number="12345678")


def test_no_caller_is_told_where_the_exchange_does_not_or_fails_to():
    for rig in (Rig(PLANS["RU"]), Rig(PLANS["GB"], LineFaults(no_caller_id=True))):
        rig.do(rig.line.offered, CALLER)
        rig.wait(20)
        assert not rig.when(Identify, Reverse)
        assert rig.when(Ring)


def test_a_caller_who_gives_up_ends_the_ringing_and_nothing_else_tells_it():
    rig = Rig(PLANS["FR"])
    rig.do(rig.line.offered, CALLER)
    rig.wait(1)
    assert rig.do(rig.line.cleared, Cause.NORMAL) == [Ring(False)]
    assert rig.wait(60) == []
    assert rig.line.state is LineState.IDLE


# --- calling ---


def test_a_line_that_is_lifted_has_dial_tone_until_the_first_digit():
    rig = Rig(PLANS["FR"])
    assert rig.do(rig.line.lifted) == [Tone(ToneKind.DIAL)]
    rig.wait(3)
    assert rig.do(rig.line.key, "0") == [Tone(None)]


def test_a_number_that_somebody_has_is_dialed_at_once_and_another_when_no_digit_follows():
    known = Rig(PLANS["FR"], numbers=frozenset({"0612"}))
    assert known.dial("0612")[-1] == Dial("0612")
    other = Rig(PLANS["FR"], numbers=frozenset({"0612"}))
    assert Dial("0613") not in other.dial("0613")
    assert other.wait(INTERDIGIT_S) == [Dial("0613")]
    hurried = Rig(PLANS["FR"])
    assert hurried.dial("0613#")[-1] == Dial("0613")


def test_who_lifts_and_does_not_dial_hears_congestion_and_then_nothing():
    rig = Rig(PLANS["DE"])
    rig.do(rig.line.lifted)
    assert rig.wait(NO_DIGIT_S) == [Tone(ToneKind.CONGESTION)]
    assert rig.wait(300) == [Tone(None)]
    rig.do(rig.line.hung_up)
    assert rig.line.state is LineState.IDLE


@pytest.mark.parametrize(
    ("country", "cause", "tone"),
    [
        ("FR", Cause.BUSY, ToneKind.BUSY),
        ("FR", Cause.REJECTED, ToneKind.BUSY),
        ("FR", Cause.UNALLOCATED, ToneKind.CONGESTION),
        ("FR", Cause.ABSENT, ToneKind.CONGESTION),
        # Has one tone for both.
        ("AU", Cause.UNALLOCATED, ToneKind.BUSY),
    ],
)
def test_a_call_that_fails_ends_in_a_tone(country, cause, tone):
    rig = Rig(PLANS[country])
    rig.dial("0612")
    rig.wait(INTERDIGIT_S)
    assert rig.do(rig.line.cleared, cause) == [Tone(tone)]
    assert not rig.when(Talk)
    # Nobody to release any more.
    assert Release(Cause.NORMAL) not in rig.do(rig.line.hung_up)


def test_ringback_stops_at_the_answer_and_the_polarity_tells_it_where_it_was_ordered():
    plain, ordered = Rig(PLANS["FR"]), Rig(plan_of("FR", polarity=True))
    for rig in (plain, ordered):
        rig.talk()
        assert [tone.kind for _, tone in rig.when(Tone)] == [ToneKind.DIAL, None, ToneKind.RINGBACK, None]
        assert rig.when(Talk)[-1][1] == Talk(True)
    assert len(plain.when(Reverse)) == 0
    assert len(ordered.when(Reverse)) == 1
    ordered.do(ordered.line.cleared, Cause.NORMAL)
    ordered.wait(1)
    assert len(ordered.when(Reverse)) == 2


def test_keys_in_a_call_are_the_far_ends():
    rig = Rig(PLANS["FR"])
    rig.talk()
    assert rig.do(rig.line.key, "5") == [Press("5")]


# --- clearing ---


def cleared(plan: Plan, faults: LineFaults | None = None) -> list[tuple[float, Effect]]:
    """What the line is told after the far end has cleared, and when."""
    rig = Rig(plan, faults)
    rig.talk()
    begun, at = len(rig.log), rig.now
    rig.do(rig.line.cleared, Cause.NORMAL)
    rig.wait(200)
    return [(round(when - at, 3), effect) for when, effect in rig.log[begun:]]


def test_france_clears_by_its_busy_tone():
    assert cleared(PLANS["FR"]) == [(0, Talk(False)), (0.3, Tone(ToneKind.BUSY)), (30.3, Tone(None))]


def test_north_america_breaks_the_loop_and_gives_dial_tone():
    assert cleared(PLANS["US"])[:4] == [
        (0, Talk(False)),
        (0.3, Current(False)),
        (0.9, Current(True)),
        (0.9, Tone(ToneKind.DIAL)),
    ]


def test_britain_breaks_the_loop_too():
    assert (0.55, Current(True)) in cleared(PLANS["GB"])


def test_an_exchange_may_leave_out_all_but_the_busy_tone_or_even_that():
    ways = plan_of("US", polarity=True)
    assert cleared(ways, LineFaults(busy_only=True)) == [
        (0, Talk(False)), (0.3, Tone(ToneKind.BUSY)), (30.3, Tone(None))
    ]  # fmt: skip
    assert cleared(ways, LineFaults(silent_clear=True)) == [(0, Talk(False))]


def test_who_hangs_up_within_the_loop_break_finds_a_line_with_current():
    rig = Rig(PLANS["US"])
    rig.talk()
    rig.do(rig.line.cleared, Cause.NORMAL)
    rig.wait(0.5)
    rig.do(rig.line.hung_up)
    assert rig.when(Current)[-1][1] == Current(True)
    assert rig.wait(60) == []


# --- the hook in a call ---


@pytest.mark.parametrize("country", ["FR", "DE", "GB", "US"])
def test_a_loop_that_opens_shortly_is_nothing_longer_a_recall_and_still_longer_the_end(country):
    low, high = PLANS[country].flash_ms

    def opened(ms: float) -> list[Effect]:
        rig = Rig(PLANS[country])
        rig.talk()
        rig.do(rig.line.hung_up)
        effects = rig.wait(ms / 1000)
        return effects + rig.do(rig.line.lifted)

    assert opened(low - 10) == []
    assert opened(low + 10) == opened(high - 10) == [Talk(False), Tone(ToneKind.DIAL)]
    assert opened(high + 10) == [Talk(False), Release(Cause.NORMAL), Tone(ToneKind.DIAL)]


def test_a_second_recall_returns_to_the_call():
    rig = Rig(PLANS["FR"])
    rig.talk()
    for _ in range(2):
        rig.do(rig.line.hung_up)
        rig.wait(0.1)
        rig.do(rig.line.lifted)
    assert rig.line.state is LineState.TALKING
    assert rig.when(Talk)[-1][1] == Talk(True)
    assert rig.when(Tone)[-1][1] == Tone(None)


def test_a_call_that_is_hung_up_is_released_when_it_can_be_no_recall_any_more():
    rig = Rig(PLANS["FR"])
    rig.talk()
    assert rig.do(rig.line.hung_up) == []
    assert rig.wait(0.31) == []
    assert rig.wait(0.02) == [Talk(False), Release(Cause.NORMAL)]


def test_a_telephone_without_power_is_gone_at_once():
    rig = Rig(PLANS["FR"])
    rig.talk()
    assert rig.do(rig.line.cut_off) == [Talk(False), Release(Cause.NORMAL)]
    assert rig.line.state is LineState.IDLE


ACTS = ("lifted", "hung_up", "key", "offered", "alerting", "answered", "cleared", "cut_off")


@given(
    country=st.sampled_from(COUNTRIES),
    acts=st.lists(st.tuples(st.sampled_from(ACTS), st.floats(0, 8)), max_size=30),
)
def test_whatever_happened_a_line_that_was_hung_up_is_quiet_and_free(country, acts):
    rig = Rig(plan_of(country, polarity=True))
    for name, seconds in acts:
        # The network offers a call to an idle line only.
        if name != "offered" or rig.line.state is LineState.IDLE:
            arguments = {"key": ("5",), "offered": (CALLER,), "cleared": (Cause.NORMAL,)}.get(name, ())
            rig.do(getattr(rig.line, name), *arguments)
        rig.wait(seconds)
    rig.do(rig.line.lifted)
    rig.wait(1)
    rig.do(rig.line.hung_up)
    rig.wait(2)
    assert rig.line.state is LineState.IDLE
    last = {type(effect): effect for _, effect in rig.log}
    assert last.get(Ring, Ring(False)) == Ring(False)
    assert last.get(Tone, Tone(None)) == Tone(None)
    assert last.get(Talk, Talk(False)) == Talk(False)
    assert last.get(Current, Current(True)) == Current(True)
    assert len(rig.when(Reverse)) % 2 == 0
    assert rig.wait(300) == []
