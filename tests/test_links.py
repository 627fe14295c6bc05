"""Addresses of recordings: what they open, for whom, and for how long (phonevoice 7.4)."""

from datetime import UTC, datetime, timedelta
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from appliance.call import Call, Direction, Kind, State
from appliance.links import BadLink, Links, Opened, origin_of

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
KEY = b"k" * 32
LINKS = Links(KEY, "https://box.example/voice/")
CALL = Call(17, "uuid", "office", Direction.INBOUND, "+33700000001", "+33700000002", NOON, State.ACTIVE)


def taken_apart(address: str) -> tuple[str, str]:
    *front, token, name = address.split("/")
    assert "/".join(front) == "https://box.example/voice/rec"
    return token, name


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.APP, "call_17.mp3"),
        (Kind.AGENT, "call_17.mp3"),
        (Kind.RELAY, "bridge_17.mp3"),
        (Kind.BRIDGE, "bridge_17.mp3"),
    ],
)
def test_7_4_an_address_opens_one_recording_for_seven_days(kind, name):
    call = Call(**{**vars(CALL), "kind": kind})
    token, called = taken_apart(LINKS.recording(call, "a", NOON))
    assert called == name
    assert LINKS.opened(token, name) == Opened("a", NOON + timedelta(days=7))


@pytest.mark.parametrize(("told_days", "good_days"), [(None, 7), (0, 7), (6, 13), (9, 16)])
def test_an_address_that_was_told_late_is_good_for_seven_days_from_then(told_days, good_days):
    opened = Opened("a", NOON + timedelta(days=7))
    told_at = None if told_days is None else NOON + timedelta(days=told_days)
    end = NOON + timedelta(days=good_days)
    assert not opened.is_over(end - timedelta(seconds=1), told_at)
    assert opened.is_over(end, told_at)


@pytest.mark.parametrize("kind", Kind)
def test_an_address_made_anew_opens_the_same_recording_for_seven_days_from_then(kind):
    call, later = Call(**{**vars(CALL), "kind": kind}), NOON + timedelta(days=9)
    assert LINKS.renewed(LINKS.recording(call, "a", NOON), later) == LINKS.recording(call, "a", later)


@pytest.mark.parametrize(
    "address", ["https://box.example/rec/token/call_17.mp3", Links(b"other" * 7, "").recording(CALL, "a", NOON)]
)
def test_what_opens_nothing_is_not_made_anew(address):
    with pytest.raises(BadLink):
        LINKS.renewed(address, NOON)


@given(st.text(max_size=200))
def test_no_other_token_opens_anything(token):
    with pytest.raises(BadLink):
        LINKS.opened(token, "call_17.mp3")


@given(st.integers(min_value=0), st.sampled_from(ascii_letters + digits + "-_."))
def test_no_changed_token_opens_anything(place, character):
    token, name = taken_apart(LINKS.recording(CALL, "a", NOON))
    place %= len(token)
    changed = token[:place] + character + token[place + 1 :]
    # The last character of base64 has bits that stand for nothing.
    if changed != token and place != len(token) - 1:
        with pytest.raises(BadLink):
            LINKS.opened(changed, name)


@pytest.mark.parametrize("name", ["call_18.mp3", "bridge_17.mp3", "", "../call_17.mp3", "call_17.MP3"])
def test_the_name_is_the_one_that_was_given_out(name):
    token, _ = taken_apart(LINKS.recording(CALL, "a", NOON))
    with pytest.raises(BadLink, match="not one of this box's"):
        LINKS.opened(token, name)


def test_another_boxs_address_is_none_of_ours():
    token, name = taken_apart(Links(b"o" * 32, "https://box.example/voice").recording(CALL, "a", NOON))
    with pytest.raises(BadLink, match="not one of this box's"):
        LINKS.opened(token, name)


@pytest.mark.parametrize("payload", ["a", ["a"], [], {"a": 1}, 7, ["a", 1, 2], ["a", "b"], [1, 2]])
def test_a_signed_thing_of_another_shape_is_refused(payload):
    signer: URLSafeSerializer = LINKS._signer("call_17.mp3")
    with pytest.raises(BadLink, match="another version"):
        LINKS.opened(signer.dumps(payload), "call_17.mp3")


@pytest.mark.parametrize(
    ("listens", "origin"),
    [
        (("127.0.0.1", 8080), "http://127.0.0.1:8080"),
        (("192.168.1.7", 80), "http://192.168.1.7:80"),
        (("0.0.0.0", 8080), "http://office-box:8080"),
        (("::", 8080, 0, 0), "http://office-box:8080"),
        (("::1", 8080, 0, 0), "http://[::1]:8080"),
    ],
)
def test_where_a_box_is_found_that_nobody_gave_a_name(listens, origin):
    assert origin_of(listens, "office-box") == origin
