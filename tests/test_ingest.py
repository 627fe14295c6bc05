from datetime import UTC, datetime, time, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.ingest import (
    DAY_S,
    LONGEST_PAUSE_S,
    Trouble,
    Verdict,
    Window,
    arrived,
    content_range,
    digest_field,
    digest_of,
    meaning,
    pause_s,
    window,
)

MIDNIGHT = datetime(2026, 6, 4, tzinfo=UTC)
TIMES = st.times().map(lambda at: at.replace(microsecond=0))


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (200, Verdict.TAKEN),
        (201, Verdict.TAKEN),
        (204, Verdict.TAKEN),
        (308, Verdict.MORE),
        (409, Verdict.AGAIN),
        (416, Verdict.AGAIN),
        (422, Verdict.AGAIN),
        (410, Verdict.REFUSED),
        (413, Verdict.REFUSED),
        (401, Trouble.DENIED),
        (403, Trouble.DENIED),
        (302, Trouble.MISSING),
        (404, Trouble.MISSING),
        (429, Trouble.BUSY),
        (503, Trouble.BUSY),
        (507, Trouble.FULL),
        (400, Trouble.FAILING),
        (500, Trouble.FAILING),
        (502, Trouble.FAILING),
    ],
)
def test_an_answer_is_of_the_thing_sent_or_of_the_cloud(status, means):
    assert meaning(status) is means


@given(st.sampled_from(Trouble), st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 1e9))
def test_a_pause_grows_and_has_an_end(trouble, failures, jitter, asked_s):
    wait_s = pause_s(trouble, failures, jitter, asked_s)
    assert wait_s >= min(asked_s, LONGEST_PAUSE_S)
    assert 0 < wait_s <= 1.1 * LONGEST_PAUSE_S
    assert pause_s(trouble, failures + 1, jitter, asked_s) >= wait_s


def test_a_box_that_was_offline_for_a_week_asks_every_minute():
    assert pause_s(Trouble.OFFLINE, 10_000, 0) == 60


@pytest.mark.parametrize(
    ("header", "there"),
    [
        ("bytes=0-0", 1),
        ("bytes=0-1048575", 2**20),
        (" bytes=0-41 ", 42),
        (None, 0),
        ("", 0),
        ("bytes=5-9", 0),
        ("?", 0),
    ],
)
def test_how_much_is_there_is_what_a_range_says(header, there):
    assert arrived(header) == there


def test_a_part_is_named_by_its_first_and_last_byte():
    assert content_range(range(100, 200), 1000) == "bytes 100-199/1000"


@given(st.binary())
def test_a_digest_field_is_read_as_it_was_written(content):
    digest = sha256(content).hexdigest()
    assert digest_of(digest_field(digest)) == digest
    assert digest_of(f"md5=:AAAA:, {digest_field(digest)}") == digest


def test_the_digest_of_rfc_9530():
    # Appendix B.1, of {"hello": "world"} and a line feed.
    field = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    digest = sha256(b'{"hello": "world"}\n').hexdigest()
    assert digest_field(digest) == field
    assert digest_of(field) == digest


@pytest.mark.parametrize("field", [None, "", "md5=:AAAA:", "sha-256=AAAA", "sha-256=:A:", "xsha-256=:AAAA:"])
def test_what_is_no_digest_of_ours_is_none(field):
    assert digest_of(field) is None


@pytest.mark.parametrize(
    ("at", "open_s", "opens_in_s"),
    [
        ("21:59:30", 0, 30),
        ("22:00:00", 8 * 3600, 0),
        ("23:59:59", 6 * 3600 + 1, 0),
        ("00:00:00", 6 * 3600, 0),
        ("05:59:59", 1, 0),
        ("06:00:00", 0, 16 * 3600),
    ],
)
def test_a_window_over_midnight(at, open_s, opens_in_s):
    now = datetime.combine(MIDNIGHT, time.fromisoformat(at))
    assert window("22:00-06:00").open_s(now) == open_s
    assert window("22:00-06:00").opens_in_s(now) == opens_in_s


@given(TIMES, TIMES, st.integers(0, DAY_S - 1))
def test_a_window_is_open_from_its_beginning_to_its_end(begins, ends, second):
    now = MIDNIGHT + timedelta(seconds=second)
    within = begins <= now.time() < ends if begins <= ends else not ends <= now.time() < begins
    hours = Window(begins, ends)
    assert (hours.open_s(now) > 0) is within
    edge = now + timedelta(seconds=hours.open_s(now) or hours.opens_in_s(now))
    assert edge.time() == (ends if within else begins)


@pytest.mark.parametrize("text", ["", "22:00", "22:00-22:00", "24:00-06:00", "22:00 - 06:00", "2200-0600"])
def test_what_is_no_window_is_refused(text):
    with pytest.raises(ValueError, match="two times of day"):
        window(text)
