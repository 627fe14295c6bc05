"""The SFVoPI contract, section by section (spec/sfvopi.md)."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from appliance.call import Call, Dialed, Direction, Ended, Reason, State
from appliance.contracts import sfvopi
from appliance.contracts.sfvopi import Hook, Refused
from drivers.line import Alerting, Answered

NOW = datetime(2026, 2, 2, 10, 0, tzinfo=UTC)
URL = "https://customer.example/answer"


def body(**fields):
    return json.dumps(fields).encode()


def app(**changes):
    return sfvopi.new_app(body(name="Desk", answer_url=URL, **changes), app_id="sfv_app_a8k3m2x9p1z0", now=NOW)


def order_body(**changes):
    fields = {"from": "+33700000002", "to": "+33783484044", "answer_url": URL} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def refusal(function, *args, **kwargs):
    with pytest.raises(Refused) as caught:
        function(*args, **kwargs)
    return caught.value.refusal


def test_2_1_a_new_app_has_the_defaults_of_the_contract():
    assert sfvopi.app_json(app(), 7) == {
        "app_id": "sfv_app_a8k3m2x9p1z0",
        "org_id": 7,
        "name": "Desk",
        "answer_url": URL,
        "answer_method": "POST",
        "hangup_url": None,
        "hangup_method": "POST",
        "fallback_answer_url": None,
        "fallback_answer_method": "POST",
        "status": "ACTIVE",
        "created_by": None,
        "created_at": "2026-02-02T10:00:00.000Z",
        "updated_at": None,
    }


def test_2_1_methods_may_be_lower_case_and_unknown_fields_are_ignored():
    assert app(answer_method="get", colour="red").answer_method == "GET"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "x"},
        {"answer_url": URL},
        {"name": "", "answer_url": URL},
        {"name": "x" * 101, "answer_url": URL},
        {"name": 5, "answer_url": URL},
        {"name": "x", "answer_url": "ftp://customer.example"},
        {"name": "x", "answer_url": "customer.example/answer"},
        {"name": "x", "answer_url": "https://"},
        {"name": "x", "answer_url": "https://a b"},
        {"name": "x", "answer_url": "https://a:99999/"},
        {"name": "x", "answer_url": "https://a/" + "b" * 2048},
        {"name": "x", "answer_url": URL, "answer_method": "PUT"},
        {"name": "x", "answer_url": URL, "hangup_url": "nowhere"},
        {"name": "x", "answer_url": URL, "hangup_method": None},
        {"name": "x", "answer_url": URL, "fallback_answer_url": 3},
    ],
)
def test_2_1_a_bad_app_is_400(fields):
    assert refusal(sfvopi.new_app, body(**fields), app_id="a", now=NOW) == sfvopi.BAD_BODY


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_1_what_is_no_json_object_is_400(raw):
    assert refusal(sfvopi.new_app, raw, app_id="a", now=NOW) == sfvopi.BAD_BODY
    assert refusal(sfvopi.order, raw, country="FR") == sfvopi.BAD_BODY


def test_2_4_only_what_is_there_changes():
    assert sfvopi.app_changes(b"{}", now=NOW) == {}
    assert sfvopi.app_changes(body(colour="red"), now=NOW) == {}
    at = {"updated_at": "2026-02-02T10:00:00.000Z"}
    for changes in ({"name": "Bar"}, {"status": "INACTIVE"}, {"hangup_url": None, "fallback_answer_url": URL}):
        assert sfvopi.app_changes(body(**changes), now=NOW) == changes | at
    assert sfvopi.app_changes(body(answer_method="get"), now=NOW) == {"answer_method": "GET"} | at


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": None},
        {"answer_url": None},
        {"answer_url": "x"},
        {"hangup_method": None},
        {"status": "ON"},
    ],
    ids=str,
)
def test_2_4_a_bad_change_is_400(changes):
    assert refusal(sfvopi.app_changes, body(**changes), now=NOW) == sfvopi.BAD_BODY


def test_3_2_a_number_is_normalised_and_a_useless_one_is_400():
    assert sfvopi.number_to_link(body(voip_number="07 00 00 00 02"), country="FR") == "+33700000002"
    for bad in ({"voip_number": "office"}, {"voip_number": 33700000002}, {}):
        assert refusal(sfvopi.number_to_link, body(**bad), country="FR") == sfvopi.BAD_BODY


def test_4_1_an_order_has_the_defaults_of_the_contract():
    order = sfvopi.order(order_body(), country="FR")
    assert order.answer == Hook(URL, "POST")
    assert (order.ring, order.hangup) == (None, None)
    assert (order.time_limit_s, order.ring_timeout_s) == (14400, 60)


def test_4_1_a_hangup_url_left_out_falls_back_to_the_app_s_and_fallback_is_always_the_app_s():
    theirs = app(
        hangup_url="https://a.example/bye", hangup_method="GET", fallback_answer_url="https://a.example/plan-b"
    )
    route = sfvopi.order(order_body(answer_method="GET"), country="FR").route(theirs)
    assert route.answer == Hook(URL, "GET")
    assert route.hangup == Hook("https://a.example/bye", "GET")
    assert route.fallback == Hook("https://a.example/plan-b", "POST")
    own = sfvopi.order(order_body(hangup_url="https://b.example/bye"), country="FR").route(theirs)
    assert own.hangup == Hook("https://b.example/bye", "POST")


@pytest.mark.parametrize(
    "changes",
    [
        {"from": ...},
        {"to": ...},
        {"answer_url": ...},
        {"from": 33700000002},
        {"to": None},
        {"answer_url": "mailto:x@y.example"},
        {"answer_method": "DELETE"},
        {"ring_url": "x"},
        {"ring_url": 1},
        {"ring_method": "HEAD"},
        {"hangup_url": ""},
        {"hangup_method": ["POST"]},
        {"call_time_limit": 0},
        {"call_time_limit": 86401},
        {"call_time_limit": "60"},
        {"call_time_limit": True},
        {"call_time_limit": None},
        {"ring_timeout": 0.5},
        {"ring_timeout": 601},
        {"ring_timeout": "soon"},
    ],
    ids=str,
)
def test_4_1_each_bad_field_of_a_call_is_400(changes):
    assert refusal(sfvopi.order, order_body(**changes), country="FR") == sfvopi.BAD_BODY


@pytest.mark.parametrize("changes", [{"from": "office"}, {"to": "+0"}, {"to": ""}, {"to": "+33783484044;rm"}], ids=str)
def test_1_a_number_that_can_t_be_normalised_is_said_so(changes):
    assert refusal(sfvopi.order, order_body(**changes), country="FR") == sfvopi.BAD_NUMBER


@pytest.mark.parametrize(("limit", "ring"), [(1, 1), (86400, 600), (90.5, 30.5)])
def test_4_1_limits_hold_at_their_bounds(limit, ring):
    order = sfvopi.order(order_body(call_time_limit=limit, ring_timeout=ring), country="FR")
    assert (order.time_limit_s, order.ring_timeout_s) == (limit, ring)


def outbound(*changes):
    call = Call(
        id=5,
        uuid="6f2d1c0e-3f0b-4c63-9d55-0c1f6a2b7e11",
        line="office",
        direction=Direction.OUTBOUND,
        from_="+33700000002",
        to="+33783484044",
        started_at=NOW,
        state=State.QUEUED,
        request_uuid="sfv_ob_req_a8k3m2x9p1z0",
    )
    for number, change in enumerate(changes, 1):
        call = call.apply(change, NOW + timedelta(seconds=number))
    return call


def test_6_2_the_answer_payload_is_flat_and_complete():
    request = sfvopi.answer_request(Hook(URL), outbound(Dialed(), Alerting(), Answered()))
    assert (request.method, request.url) == ("POST", URL)
    assert request.headers == {"Content-Type": "application/json"}
    assert json.loads(request.body) == {
        "call_uuid": "6f2d1c0e-3f0b-4c63-9d55-0c1f6a2b7e11",
        "request_uuid": "sfv_ob_req_a8k3m2x9p1z0",
        "from": "+33700000002",
        "to": "+33783484044",
        "direction": "OUTBOUND",
        "call_status": "IN_PROGRESS",
        "answered_at": "2026-02-02T10:00:03.000Z",
    }


def test_5_a_get_webhook_keeps_the_query_that_the_address_has():
    request = sfvopi.ring_request(Hook("https://c.example/r?token=a%2Fb&x", "GET"), outbound(Dialed(), Alerting()))
    assert request.body == b""
    assert request.url.startswith("https://c.example/r?token=a%2Fb&x&call_uuid=")
    query = parse_qs(urlsplit(request.url).query)
    assert query["from"] == ["+33700000002"]
    assert "from=%2B33700000002" in request.url
    assert query["call_status"] == ["RINGING"]
    assert query["started_at"] == ["2026-02-02T10:00:02.000Z"]
    assert "answered_at" not in query


def test_6_7_the_hangup_payload_of_an_answered_call():
    call = outbound(Dialed(), Alerting(), Answered(), Ended(Reason.HANGUP, 16))
    assert json.loads(sfvopi.hangup_request(Hook(URL), call).body) == {
        "call_uuid": "6f2d1c0e-3f0b-4c63-9d55-0c1f6a2b7e11",
        "request_uuid": "sfv_ob_req_a8k3m2x9p1z0",
        "from": "+33700000002",
        "to": "+33783484044",
        "direction": "OUTBOUND",
        "call_status": "COMPLETED",
        "duration": 1,
        "started_at": "2026-02-02T10:00:02.000Z",
        "answer_at": "2026-02-02T10:00:03.000Z",
        "ended_at": "2026-02-02T10:00:04.000Z",
        "hangup_cause": "16",
    }


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (Ended(Reason.REFUSED, 17), "BUSY"),
        (Ended(Reason.RING_TIMEOUT, 19), "NO_ANSWER"),
        (Ended(Reason.REFUSED, 1), "FAILED"),
        (Ended(Reason.LINE_LOST, 27), "FAILED"),
    ],
)
def test_6_7_a_call_never_answered_has_no_answer_time_and_no_duration(end, status):
    payload = json.loads(sfvopi.hangup_request(Hook(URL), outbound(Dialed(), Alerting(), end)).body)
    assert "answer_at" not in payload
    assert (payload["call_status"], payload["duration"], payload["hangup_cause"]) == (status, 0, str(end.cause))


def test_6_7_an_inbound_call_that_the_caller_gave_up_is_canceled_with_one_l():
    call = Call(6, "u", "office", Direction.INBOUND, "anonymous", "+33700000002", NOW, State.INCOMING)
    call = call.apply(Ended(Reason.HANGUP, 16), NOW)
    payload = json.loads(sfvopi.hangup_request(Hook(URL), call).body)
    assert (payload["call_status"], payload["from"]) == ("CANCELED", "anonymous")
    assert "request_uuid" not in payload
