"""The way back of a lost line: which rung comes when, whatever the fault is."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.ladder import AGAIN, BACK_S, CLIMB, PATIENT, STEADY_S, Ladder, Rung, Step
from drivers.errors import CommandError, LineAbsent, LineBlocked, LineLost

DEAF = LineLost("no answer to AT commands")
GONE = LineAbsent("nothing is plugged in at USB port 1-1.2")
NO_SIM = LineBlocked("no SIM in the module")


def climb(ladder: Ladder, fault: LineLost, count: int, *, each_s: float = 10, possible=frozenset(Rung)) -> list[Step]:
    """Steps of a line that does not come back, and is opened in vain for `each_s` after each."""
    now, steps = 0.0, []
    for _ in range(count):
        steps.append(ladder.lost(fault, now, possible=possible))
        now += steps[-1].wait_s
        ladder.took(steps[-1].rung, now)
        now += each_s
    return steps


def test_a_deaf_module_is_reopened_then_reset_then_switched_off_and_on():
    rungs = [step.rung for step in climb(Ladder(), DEAF, len(CLIMB))]
    assert rungs == [Rung.REOPEN, Rung.REOPEN, Rung.RESET, Rung.REOPEN, Rung.POWER]


def test_a_deaf_module_is_reset_within_a_minute():
    before = [step.wait_s + 10 for step in CLIMB[: [step.rung for step in CLIMB].index(Rung.RESET)]]
    assert sum(before) + CLIMB[len(before)].wait_s < 60


def test_it_goes_on_for_ever_with_all_rungs_and_is_never_hasty_again():
    steps = climb(Ladder(), DEAF, len(CLIMB) + 3 * len(AGAIN))[len(CLIMB) :]
    assert steps == [*AGAIN] * 3
    assert {step.rung for step in AGAIN} == set(Rung)
    assert all(step.wait_s >= 30 for step in AGAIN)


def test_what_is_not_there_and_what_only_a_person_can_mend_is_waited_for_and_never_reset():
    for fault in (GONE, NO_SIM):
        steps = climb(Ladder(), fault, 100)
        assert steps == [*PATIENT, *[PATIENT[-1]] * (100 - len(PATIENT))]
        assert {step.rung for step in steps} == {Rung.REOPEN}


def test_a_rung_that_is_not_possible_is_passed_over_and_its_wait_kept():
    steps = climb(Ladder(), DEAF, len(CLIMB), possible={Rung.REOPEN, Rung.RESET})
    assert [step.rung for step in steps].count(Rung.POWER) == 0
    assert [step.wait_s for step in steps] == [step.wait_s for step in CLIMB]


def test_a_module_that_does_not_come_back_from_its_reset_has_its_power_cut():
    ladder = Ladder()
    climb(ladder, DEAF, 2)
    ladder.took(ladder.lost(DEAF, 30, possible=Rung).rung, 35)
    assert ladder.lost(GONE, 35 + BACK_S / 2, possible=Rung) == PATIENT[0]
    assert ladder.lost(GONE, 36 + BACK_S, possible=Rung) == CLIMB[3]
    assert ladder.lost(GONE, 46 + BACK_S, possible=Rung) == CLIMB[4]


def test_a_line_that_held_begins_at_the_foot_and_one_that_did_not_climbs_on():
    ladder = Ladder()
    climb(ladder, DEAF, 2)
    ladder.opened(100)
    assert ladder.lost(DEAF, 100 + STEADY_S / 2, possible=Rung) == CLIMB[2]
    ladder.opened(200)
    assert ladder.lost(DEAF, 201 + STEADY_S, possible=Rung) == CLIMB[0]


def test_the_time_without_a_line_counts_from_silence_to_readiness():
    ladder = Ladder()
    assert ladder.ready(5) is None
    ladder.lost(LineLost("no answer", silent_since=85), 100, possible=Rung)
    ladder.opened(110)
    ladder.lost(DEAF, 120, possible=Rung)
    ladder.opened(130)
    assert ladder.ready(135) == 50
    assert ladder.ready(140) is None


def test_the_time_without_a_line_that_was_pulled_out_counts_from_the_loss():
    ladder = Ladder()
    ladder.lost(GONE, 100, possible=Rung)
    assert ladder.ready(105) == 5


def test_what_was_done_is_counted():
    ladder = Ladder()
    climb(ladder, DEAF, len(CLIMB))
    assert ladder.climbed == {Rung.REOPEN: 3, Rung.RESET: 1, Rung.POWER: 1}


@given(
    st.lists(
        st.tuples(st.sampled_from([DEAF, GONE, NO_SIM, CommandError("AT", "ERROR")]), st.floats(0, 1000)), max_size=60
    )
)
def test_every_wait_is_bounded_whatever_happens(faults):
    ladder, now = Ladder(), 0.0
    for fault, held_s in faults:
        step = ladder.lost(fault, now, possible=Rung)
        assert 1 <= step.wait_s <= 60
        ladder.took(step.rung, now)
        ladder.opened(now)
        now += held_s
