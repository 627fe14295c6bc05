"""What is concluded from figures: absolute limits, what is usual for the way, and whose fault it is."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.ailments import AILMENTS, NEEDS_CALL
from appliance.diagnosis import (
    FIGURES,
    Echo,
    End,
    Heard,
    Outcome,
    Surroundings,
    TestCall,
    Way,
    of_calls,
    of_figures,
    of_line,
)

GOOD = Heard(delay_ms=120, jitter_ms=0, level_db=-1, loss_percent=0, noise_dbm0=-65, clipped_percent=0)
END = End(15, 15, 7000)
DOWN = {
    "state": "down",
    "problem": "",
    "losses": 1,
    "signal_dbm": None,
    "messages": None,
    "ims": None,
    "technology": None,
}


def said(heard, history=(), echo=None):
    return [each.code for each in of_figures(Way("a", "b", heard, echo), history)]


def usual(count=10, **figures):
    return [Way("a", "b", replace(GOOD, **figures), None).figures] * count


def test_what_is_good_is_not_told_of():
    assert said(GOOD) == said(GOOD, usual()) == []


@pytest.mark.parametrize(
    ("figures", "code"),
    [
        ({"loss_percent": 4}, "loss"),
        ({"delay_ms": 1000}, "delay"),
        ({"jitter_ms": 200}, "jitter"),
        ({"level_db": -25}, "quiet"),
        ({"level_db": 14}, "loud"),
        ({"noise_dbm0": -35}, "noise"),
        ({"clipped_percent": 5}, "clipped"),
    ],
)
def test_beyond_a_limit_it_is_bad_whatever_was_usual(figures, code):
    assert said(replace(GOOD, **figures)) == [code]
    assert said(replace(GOOD, **figures), usual(**figures)) == [code]


@pytest.mark.parametrize(
    ("figures", "code"),
    [
        ({"loss_percent": 2.5}, "loss"),
        ({"delay_ms": 300}, "delay"),
        ({"level_db": -9}, "quiet"),
        ({"level_db": 7}, "loud"),
        ({"noise_dbm0": -50}, "noise"),
    ],
)
def test_worse_than_usual_is_bad_once_there_is_something_usual(figures, code):
    assert said(replace(GOOD, **figures)) == []
    assert said(replace(GOOD, **figures), usual(4)) == []
    assert said(replace(GOOD, **figures), usual(5)) == [code]


def test_what_varies_much_anyway_may_vary():
    history = [Way("a", "b", replace(GOOD, delay_ms=ms), None).figures for ms in (100, 200, 300, 400, 500, 350, 150)]
    assert said(replace(GOOD, delay_ms=600), history) == []


def test_a_change_among_what_nobody_hears_is_none():
    assert said(replace(GOOD, noise_dbm0=-60), usual(noise_dbm0=-90)) == []
    assert said(GOOD, usual(), Echo(-40, 80)) == []


@given(st.floats(-60, 60), st.lists(st.floats(-60, 60), max_size=12))
def test_no_history_makes_what_is_beyond_the_limit_good(value, before):
    for figure in FIGURES:
        if figure.worse * (value - figure.limit) > 0 and figure.name != "echo_db":
            history = [{figure.name: each} for each in before]
            assert figure.ailment in said(replace(GOOD, **{figure.name: value}), history)


# --- whose fault ----------------------------------------------------------------------------------------------------


def call(caller, callee, *, there=GOOD, back=GOOD, outcome=Outcome.DONE, ends=None):
    ways = (Way(callee, caller, back, None), Way(caller, callee, there, None)) if outcome is Outcome.DONE else ()
    return TestCall(caller, callee, "+1", outcome, "why", ways=ways, ends=ends or {caller: END, callee: END})


def blamed(*calls):
    return {name: [each.code for each in verdicts] for name, verdicts in of_calls(calls).items() if verdicts}


LOSSY = replace(GOOD, loss_percent=20)


def test_between_two_lines_it_may_be_either():
    assert blamed(call("a", "b", there=LOSSY)) == {"a": ["loss"], "b": ["loss"]}


def test_who_does_it_well_with_a_third_has_an_alibi():
    # b hears badly, whoever speaks.
    assert blamed(call("a", "b", there=LOSSY), call("b", "c", back=LOSSY), call("c", "a")) == {"b": ["loss", "loss"]}


def test_a_call_that_does_not_arrive_is_the_fault_of_who_cannot():
    lost = call("a", "b", outcome=Outcome.NOT_ARRIVED)
    assert blamed(lost, call("b", "c"), call("c", "a")) == {"a": ["not-arrived"], "b": ["not-arrived"]}
    assert blamed(lost, call("a", "c"), call("b", "a")) == {"b": ["not-arrived"]}
    assert blamed(call("a", "b"), call("c", "b", outcome=Outcome.REFUSED)) == {"c": ["call-refused"]}


def test_a_modem_that_gives_nothing_is_the_one_and_its_partner_is_not_told_of():
    mute = {"a": End(0, 15, 0), "b": END}
    assert blamed(call("a", "b", back=None, ends=mute)) == {"a": ["no-downlink"]}
    deaf = {"a": End(15, 0.0, 7000), "b": END}
    assert blamed(call("a", "b", there=None, ends=deaf)) == {"a": ["no-uplink"]}


def test_digital_silence_is_told_from_words_that_are_not_there():
    silent = {"a": END, "b": End(15, 15, 0)}
    assert blamed(call("a", "b", there=None, ends=silent)) == {"a": ["digital-silence"], "b": ["digital-silence"]}
    assert blamed(call("a", "b", there=None)) == {"a": ["not-heard"], "b": ["not-heard"]}


# --- what lines say -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        ("/dev/ttyUSB2: in use by another program", "port-in-use"),
        ("/dev/ttyUSB2: permission denied", "no-permission"),
        ("this stick reports no voice: ^CVOICE:1", "no-voice"),
        ("this modem has no voice (class 8): AT+FCLASS=? says 0,1", "no-voice"),
        ("the SIM takes one more PIN before it is blocked: enter it in a phone", "pin-wrong"),
        ("the module's IMEI is 1, and not 2: another one is plugged in at usb 1-1.2", "another-device"),
        ('no such audio device "USB"; there are: none', "no-card"),
        ("the stick at USB port 1-1.2 (12d1:1446) shows itself as a CD-ROM: the Debian package ...", "cd-rom"),
        ("nothing is plugged in at USB port 1-1.2", "absent"),
        ("something that nobody has seen yet", "failed"),
    ],
)
def test_why_a_line_is_down_has_a_cure(problem, code):
    (first,) = of_line({**DOWN, "problem": problem}, Surroundings())
    assert first.code == code
    assert "{" not in str(first)


def test_who_has_the_port_is_named_and_modem_manager_has_a_cure_of_its_own():
    report = {**DOWN, "problem": "/dev/ttyUSB2: in use by another program"}
    (minicom,) = of_line(report, Surroundings({"/dev/ttyUSB2": "minicom (process 7)"}))
    assert "minicom (process 7)" in minicom.wrong
    (manager,) = of_line(report, Surroundings({"/dev/ttyUSB2": "ModemManager (process 8)"}))
    assert (manager.code, "systemctl" in manager.cure) == ("modem-manager", True)


def test_a_supply_that_is_too_weak_comes_before_what_it_causes():
    report = {**DOWN, "problem": "no answer to AT commands", "losses": 9}
    assert [each.code for each in of_line(report, Surroundings(low_voltage=True))] == [
        "low-voltage",
        "silent",
        "unstable",
    ]


def test_every_ailment_is_in_the_manual_and_the_manual_knows_no_other():
    manual = (Path(__file__).parents[1] / "docs/doctor.md").read_text()
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", manual, re.M)) == set(AILMENTS)


def test_what_needs_a_call_to_be_seen_is_what_only_a_call_shows():
    assert {figure.ailment for figure in FIGURES} < NEEDS_CALL
    assert not {"no-sim", "absent", "denied", "unstable", "sim-full"} & NEEDS_CALL
