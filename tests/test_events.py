import json
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.call import Call, Direction, Ended, Joined, Kind, Outcome, Reason, State
from appliance.events import TYPES, Event, body, canonical, event_id, of_call, status, wanted
from drivers.line import Alerting, Answered

NOON = datetime(2026, 6, 4, 12, 0, 0, 500_000, UTC)
RINGING = Call(
    id=17,
    uuid="6f2d1c0e-3f0b-4c63-9d55-0c1f6a2b7e11",
    line="office",
    direction=Direction.INBOUND,
    from_="+33700000001",
    to="+33700000002",
    started_at=NOON,
    state=State.INCOMING,
)
ACTIVE = RINGING.apply(Answered(), NOON + timedelta(seconds=4))
COMPLETED = ACTIVE.apply(Ended(Reason.HANGUP, 16), NOON + timedelta(seconds=35.9))
KEYS = [
    "id",
    "status",
    "duration",
    "cost",
    "direction",
    "from",
    "to",
    "relay_number",
    "recording_url",
    "transcription",
    "analysis",
    "revision",
    "ended_reason",
]


def test_an_answered_call_has_started():
    event = of_call(ACTIVE, NOON)
    assert event.type == "phone_call.started"
    assert (event.data["status"], event.data["duration"]) == ("in-progress", 0)


def test_an_ended_call_is_told_under_its_outcome():
    event = of_call(COMPLETED, NOON)
    assert event == Event(
        "phone_call.completed",
        NOON,
        {
            "id": 17,
            "status": "completed",
            "duration": 31,
            "cost": 0,
            "direction": "inbound",
            "from": "+33700000001",
            "to": "+33700000002",
            "relay_number": None,
            "recording_url": None,
            "transcription": None,
            "analysis": None,
            "revision": 1,
            "ended_reason": "hangup",
        },
        call=17,
    )


@pytest.mark.parametrize("call", [RINGING, ACTIVE, COMPLETED], ids=lambda call: call.state.value)
def test_no_key_is_ever_left_out(call):
    assert list(of_call(call, NOON).data) == KEYS


def test_every_state_and_outcome_has_a_type_of_its_own():
    ends = [
        (Reason.REFUSED, 17),
        (Reason.REFUSED, 19),
        (Reason.REFUSED, 1),
        (Reason.LINE_LOST, 27),
    ]
    outbound = Call(**{**vars(RINGING), "direction": Direction.OUTBOUND, "state": State.DIALING})
    calls = [outbound.apply(Alerting(), NOON).apply(Ended(*end), NOON) for end in ends]
    calls += [COMPLETED, RINGING.apply(Ended(Reason.HANGUP, 16), NOON)]
    assert {call.outcome for call in calls} == set(Outcome)
    assert {of_call(call, NOON).type for call in calls} == {f"phone_call.{o.value}" for o in Outcome}
    assert all(of_call(Call(**{**vars(RINGING), "state": s}), NOON).type in TYPES for s in State if s != State.ENDED)
    assert status(outbound) == "ringing"


def test_envelope_is_the_contracts():
    event = of_call(COMPLETED, NOON.astimezone(timezone(timedelta(hours=2))))
    written = body(event, "evt_01jx0000000000000000000000").decode()
    assert written == (
        '{"id":"evt_01jx0000000000000000000000","type":"phone_call.completed","created_at":"2026-06-04T12:00:00Z",'
        '"data":{"id":17,"status":"completed","duration":31,"cost":0,"direction":"inbound","from":"+33700000001",'
        '"to":"+33700000002","relay_number":null,"recording_url":null,"transcription":null,"analysis":null,'
        '"revision":1,"ended_reason":"hangup"}}'
    )


def test_ids_are_lower_case_and_sort_by_time():
    ids = [event_id(NOON + timedelta(milliseconds=n), bytes([255 - n] * 10)) for n in range(100)]
    assert ids == sorted(ids)
    assert all(len(id_) == 30 and id_.startswith("evt_01") and id_ == id_.lower() for id_ in ids)


@pytest.mark.parametrize(
    ("patterns", "event_type", "expected"),
    [
        (["*"], "phone_call.started", True),
        (["*"], "sms.received", True),
        (["*"], "phone_call.ringing", False),
        (["phone_call.*"], "phone_call.no-answer", True),
        (["phone_call.*"], "phone_call.queued", False),
        (["phone_call.*"], "sms.received", False),
        (["phone_call.*", "phone_call.queued"], "phone_call.queued", True),
        (["sms.received"], "sms.received", True),
        (["phone_call.completed"], "phone_call.started", False),
        ([], "phone_call.started", False),
    ],
)
def test_who_wants_which(patterns, event_type, expected):
    assert wanted(patterns, event_type) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (0.12, "0.12"),
        (0.1 + 0.2, "0.3"),
        (1e-6, "0.000001"),
        (4e-7, "0"),
        (1.5e15, "1500000000000000"),
        (2**53 - 1, "9007199254740991"),
        (True, "true"),
        ({"b": 1, "10": 2, "9": 3, "a": 4, "01": 5}, '{"9":3,"10":2,"b":1,"a":4,"01":5}'),
        ("/é\u2028\x7f\x1f\n", '"/é\u2028\x7f\\u001f\\n"'),
        ("a\ud800b", '"a\ufffdb"'),
        ("\ud83d\ude00", '"😀"'),
        ([], "[]"),
        ((1, None), "[1,null]"),
    ],
)
def test_canonical_json(value, expected):
    assert canonical(value) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**53), 1e300])
def test_a_number_that_javascript_can_not_hold_is_refused(value):
    with pytest.raises(ValueError, match=r"JSON number|JavaScript"):
        canonical(value)


TEXTS = st.text(st.characters()) | st.text(st.sampled_from("0123456789"), max_size=12) | st.just("__proto__")
NUMBERS = (
    st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
    | st.floats(-1, 1)
    | st.floats(-1e-5, 1e-5)
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=12,
)
REWRITE = """
const samples = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(samples.map((sample) => JSON.stringify(JSON.parse(sample)))));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@settings(max_examples=8, deadline=None)
@given(st.lists(JSON, min_size=60, max_size=300))
def test_javascript_gives_every_body_back_byte_for_byte(values):
    samples = [canonical(value) for value in values]
    node = subprocess.run(["node", "-e", REWRITE], input=json.dumps(samples).encode(), capture_output=True, check=True)
    assert json.loads(node.stdout) == samples


@given(JSON)
def test_canonical_json_is_json_in_utf_8(value):
    json.loads(canonical(value).encode())


@pytest.mark.parametrize("kind", [Kind.RELAY, Kind.BRIDGE])
def test_a_call_for_two_phones_rings_until_they_are_joined(kind):
    call = replace(ACTIVE, kind=kind, to="+33612345678", relay_number="+33700000002")
    assert status(call) == "ringing"
    event = of_call(call.apply(Joined(), NOON), NOON)
    facts = {"to": "+33612345678", "relay_number": "+33700000002", "status": "in-progress"}
    assert event.type == "phone_call.started"
    assert facts.items() <= event.data.items()
