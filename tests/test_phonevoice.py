"""PhoneVoice's words, bounds and errors without a box; the number in a name is the section of spec/phonevoice.md."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.contracts import phonevoice
from appliance.contracts.phonevoice import Credential, Page, Refused
from appliance.contracts.phonevoice_answers import Kind, links, listed, timestamp

ANY_JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text() | st.integers())
MODELS = [
    phonevoice.SignUp,
    phonevoice.Confirm,
    phonevoice.BuyNumber,
    phonevoice.ChangeNumber,
    phonevoice.CreateWebhook,
    phonevoice.ChangeWebhook,
    phonevoice.EmbedRole,
    phonevoice.AgentOrder,
    phonevoice.PhoneBridgeOrder,
    phonevoice.LegacyOrder,
    phonevoice.AddMonitor,
]


def refusal(work, *args, **more):
    with pytest.raises(Refused) as caught:
        work(*args, **more)
    return caught.value.refusal


def status_of(header, query=""):
    try:
        return phonevoice.credential(header, query)
    except Refused as exc:
        return exc.refusal.status


@pytest.mark.parametrize(
    ("header", "query", "found"),
    [
        ("Bearer abc", "", Credential("abc")),
        ("bearer   abc ", "", Credential("abc")),
        ("Bearer abc", "api_token=x", Credential("abc")),
        (None, "api_token=x", Credential("x", by_user=False)),
        (None, "user_token=x", Credential("x", by_user=True)),
        (None, "user_token=u&api_token=p", Credential("p", by_user=False)),
        (None, "api_token=first&api_token=second", Credential("first", by_user=False)),
        (None, "api_token=", Credential("", by_user=False)),
        (None, "token=x", None),
        ("", "api_token=x", 401),
        ("Bearer", "api_token=x", 401),
        ("Basic abc", "api_token=x", 401),
        ("abc", "", 401),
    ],
)
def test_2_the_header_decides_alone_when_it_is_there(header, query, found):
    assert status_of(header, query) == found


@given(st.lists(st.tuples(st.sampled_from(["api_token", "user_token", "page", "a"]), st.text(min_size=1))))
def test_2_no_token_is_left_in_a_query(pairs):
    query = "&".join(f"{name}={phonevoice.urlencode({'': value})[1:]}" for name, value in pairs)
    left = phonevoice.parse_qsl(phonevoice.without_tokens(query), keep_blank_values=True)
    assert left == [pair for pair in pairs if not pair[0].endswith("token")]


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'"a"', b"1", b"\xff", b"[" * 100_000])
def test_3_what_is_no_json_object_is_400(body):
    assert refusal(phonevoice.read, phonevoice.EmbedRole, body).status == 400


@pytest.mark.parametrize(
    ("content_type", "sure"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/vnd.api+json", True),
        ("application/x-www-form-urlencoded", None),
        ("", None),
        (None, None),
        ("text/plain", False),
        ("multipart/form-data; boundary=x", False),
        ("image/svg+json", False),
    ],
)
def test_3_which_types_are_json(content_type, sure):
    assert phonevoice.is_json(content_type) is sure


@settings(max_examples=40)
@given(st.sampled_from(MODELS), st.dictionaries(st.sampled_from(["url", "email", "code", "role", "events"]), ANY_JSON))
def test_3_whatever_is_wrong_is_told_by_its_field_and_never_with_what_was_sent(model, fields):
    secret = "do-not-repeat-this"
    body = json.dumps(fields | {"phone_number": secret, "relay_enabled": secret, "name": 1}).encode()
    with suppress(Refused):
        phonevoice.read(model, body, context={"allow_loopback": False})
        return
    refused = refusal(phonevoice.read, model, body, context={"allow_loopback": False})
    assert refused.status == 422
    assert refused.errors
    field, messages = next(iter(refused.errors.items()))
    assert refused.error == f"{field} {messages[0]}"
    assert secret not in json.dumps(refused.body)


@pytest.mark.parametrize("field", ["email", "name", "code", "url", "role", "phone_number"])
def test_3_text_that_has_no_utf_8_is_422(field):
    """JSON can say half of a surrogate pair; no disk can keep it."""
    fields = {"email": "a@b", "code": "1", "url": "https://a.example", field: "a\ud800@b"}
    (model,) = [model for model in MODELS if field in model.model_fields][:1]
    assert (
        field in refusal(phonevoice.read, model, json.dumps(fields).encode(), context={"allow_loopback": False}).errors
    )


def test_6_the_events_are_the_contract_s():
    assert {"*", "phone_call.*", "sms.*", "phone_call.no-answer"} <= phonevoice.SELECTORS
    assert not [name for name in phonevoice.SELECTORS if name.startswith(("line", "webhook"))]


def test_3_a_page_is_from_one_and_has_at_most_a_hundred():
    assert phonevoice.page_asked("") == Page(1, 25)
    assert phonevoice.page_asked("page=3&per_page=100&other=x") == Page(3, 100)
    assert Page(3, 100).offset == 200
    for query in ("page=0", "page=-1", "page=1.5", "page=", "per_page=101", "per_page=0", "page=" + "9" * 20):
        assert refusal(phonevoice.page_asked, query).status == 422


@pytest.mark.parametrize(
    ("page", "total", "relations"),
    [(1, 0, []), (1, 25, []), (1, 26, ["next"]), (2, 26, ["prev"]), (2, 51, ["next", "prev"]), (9, 26, ["prev"])],
)
def test_3_links_lead_to_the_pages_that_there_are(page, total, relations):
    content = listed("webhooks", [], page=page, per_page=25, total=total)
    link = links("http://box/api/v1/webhooks", "project_id=2&page=9", content)
    assert [part.partition('rel="')[2].rstrip('"') for part in (link or "").split(", ") if part] == relations
    assert content["has_more"] == ("next" in relations)
    assert link is None or link.count("project_id=2&page=") == len(relations)


@pytest.mark.parametrize(
    ("number", "sim", "country", "type_", "area"),
    [
        ("+14155550123", False, "US", "local", "415"),
        ("+33159133354", False, "FR", "local", "1"),
        ("+442071234567", False, "GB", "local", "20"),
        ("+33612345678", True, "FR", "mobile", None),
        ("+33800123456", False, "FR", "toll_free", None),
        ("+33899123456", False, "FR", "national", None),
        # Of no plan that is known.
        ("+33700000002", True, "FR", "mobile", None),
        ("+99912345678", False, "FR", "local", None),
    ],
)
def test_5_of_which_kind_a_number_is(number, sim, country, type_, area):
    kind = Kind(number, sim=sim, country="FR")
    assert (kind.country, kind.type, kind.area_code) == (country, type_, area)


def test_5_each_filter_of_a_search():
    kind = Kind("+14155550123", sim=False, country="FR")
    anything = {"country": None, "type_": None, "area_code": None, "contains": None}
    assert kind.fits(**anything)
    for name, fitting, other in (
        ("country", ["US"], ["FR"]),
        ("type_", ["local"], ["mobile"]),
        ("area_code", ["415", "41", "0415", "4155"], ["55", "0"]),
        ("contains", ["1415", "0123", "5"], ["999"]),
    ):
        assert all(kind.fits(**{**anything, name: value}) for value in fitting)
        assert not any(kind.fits(**{**anything, name: value}) for value in other)


def test_7_2_times_are_utc_in_whole_seconds():
    assert timestamp("2026-06-04T14:00:00.999+02:00") == "2026-06-04T12:00:00Z"


def test_4_ids_are_numbers():
    assert phonevoice.identifier("90210") == 90210
    for text in ("", "x", "-1", "1.0", "٣", "9" * 16, "1e3"):
        assert refusal(phonevoice.identifier, text).status == 404


RECIPIENT, DESK = "+33612345678", "+33159133354"


def order_of(**fields):
    return phonevoice.call_order(json.dumps({"recipient_phone_number": RECIPIENT, **fields}).encode())


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({"agent_id": 7}, phonevoice.AgentOrder),
        ({"agent_id": 7, "call_type": "agent", "vendeur_mode": "phone"}, phonevoice.AgentOrder),
        ({"agent_id": 7, "inbound_phone_number": DESK}, phonevoice.AgentOrder),
        ({"call_type": "bridge", "inbound_phone_number": DESK}, phonevoice.PhoneBridgeOrder),
        ({"call_type": "bridge", "vendeur_mode": "phone", "inbound_phone_number": DESK}, phonevoice.PhoneBridgeOrder),
    ],
)
def test_4_1_the_type_of_a_call_decides_what_its_fields_are(fields, model):
    assert type(order_of(**fields)) is model


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "agent_id"),
        ({"agent_id": "7"}, "agent_id"),
        ({"agent_id": True}, "agent_id"),
        ({"agent_id": 2**63}, "agent_id"),
        ({"agent_id": 7, "call_type": "assistant"}, "call_type"),
        ({"agent_id": 7, "call_type": None}, "call_type"),
        ({"agent_id": 7, "vendeur_mode": "browser"}, "vendeur_mode"),
        ({"agent_id": 7, "inbound_phone_number": "0159133354"}, "inbound_phone_number"),
        ({"agent_id": 7, "recipient_phone_number": "0612345678"}, "recipient_phone_number"),
        ({"agent_id": 7, "recipient_phone_number": None}, "recipient_phone_number"),
        ({"agent_id": 7, "enable_recording": "yes"}, "enable_recording"),
        ({"call_type": "bridge"}, "inbound_phone_number"),
        ({"call_type": "bridge", "vendeur_mode": "car"}, "vendeur_mode"),
        ({"call_type": "bridge", "vendeur_mode": "browser"}, "vendeur_mode"),
        ({"call_type": "bridge", "vendeur_mode": "browser", "recipient_phone_number": "1"}, "recipient_phone_number"),
        ({"call_type": "bridge", "inbound_phone_number": DESK, "relay_number": ""}, "relay_number"),
    ],
)
def test_4_1_what_an_order_lacks_is_said_by_its_field(fields, wrong):
    refused = refusal(order_of, **fields)
    assert (refused.status, list(refused.errors)) == (422, [wrong])
    assert refused.error.startswith(wrong)


@pytest.mark.parametrize(
    ("asked", "otherwise", "meant"),
    [
        ({}, {}, (True, True, True)),
        ({"enable_recording": False}, {}, (False, True, True)),
        ({}, {"enable_recording": False, "enable_transcription": False, "enable_analysis": False}, (False,) * 3),
        ({"enable_recording": True}, {"enable_recording": False}, (True, True, True)),
        ({"enable_transcription": False, "enable_analysis": False}, {}, (True, False, False)),
        ({"enable_transcription": False}, {}, (True, True, True)),
    ],
)
def test_4_1_switches_are_the_order_s_or_else_the_agent_s_or_else_on_and_analysis_wants_a_transcript(
    asked, otherwise, meant
):
    assert tuple(order_of(agent_id=7, **asked).switches(otherwise)[name] for name in phonevoice.SWITCHES) == meant


def test_10_an_address_that_is_left_empty_is_none():
    body = {"phone_number": RECIPIENT, "assistant_id": "desk", "webhook_url": ""}
    assert phonevoice.read(phonevoice.LegacyOrder, json.dumps(body).encode()).webhook_url == ""
    refused = refusal(phonevoice.read, phonevoice.LegacyOrder, json.dumps(body | {"webhook_url": "ftp://a"}).encode())
    assert list(refused.errors) == ["webhook_url"]
