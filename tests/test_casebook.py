"""What is remembered of lines' health, and who is told of it."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from appliance.ailments import Finding, verdict
from appliance.config import Webhook
from appliance.diagnosis import Heard, Outcome, TestCall, Way
from appliance.store import open_store

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
WEBHOOK = Webhook(url="https://example.com/hook", secret="whsec_0123456789abcdef01234567", events=("line.*",))
WELL = Finding("office", "+33700000002", [], tested=True)
WORTH_KNOWING = Finding("office", "+33700000002", [verdict("weak-signal", signal_dbm=-107)], tested=True)
LOSSY = Finding("office", "+33700000002", [verdict("loss", speaker="office", listener="shop", value=9)], tested=True)
NO_SIM = Finding("office", "+33700000002", [verdict("no-sim")], tested=False)
UNTESTED = Finding("office", "+33700000002", [], tested=False)


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "box.db", [WEBHOOK]) as store:
        yield store


def call(delay_ms=60.0, talked_s=15.4, caller="office"):
    heard = Heard(delay_ms, 0, 0, 0, -70, 0)
    ways = (Way("office", "shop", heard, None), Way("shop", "office", None, None))
    return TestCall(caller, "shop", "+33700000003", Outcome.DONE, talked_s=talked_s, ways=ways)


async def told(store):
    """What waits for the webhook."""
    events, seen = [], set()
    while not isinstance(delivery := await store.outbox.next_due(WEBHOOK, NOON, besides=seen), float):
        seen.add(delivery.seq)
        event = json.loads(delivery.body)
        events.append((event["type"], [each["code"] for each in event["data"]["problems"]]))
    return events


@pytest.mark.parametrize(
    ("findings", "events"),
    [
        ([WELL, WORTH_KNOWING, UNTESTED], []),
        ([LOSSY, LOSSY], [("line.degraded", ["loss"])]),
        ([LOSSY, WELL], [("line.degraded", ["loss"]), ("line.recovered", [])]),
        # Nobody called it: nobody knows.
        ([LOSSY, UNTESTED], [("line.degraded", ["loss"])]),
        ([NO_SIM, UNTESTED], [("line.degraded", ["no-sim"]), ("line.recovered", [])]),
        ([NO_SIM, LOSSY, UNTESTED, WELL], [("line.degraded", ["no-sim"]), ("line.recovered", [])]),
        ([LOSSY, WELL, LOSSY], [("line.degraded", ["loss"]), ("line.recovered", []), ("line.degraded", ["loss"])]),
    ],
)
async def test_a_line_that_falls_ill_or_is_well_again_is_told_of_once(store, findings, events):
    for finding in findings:
        await store.casebook.write([finding], [], NOON)
    assert await told(store) == events


async def test_an_event_says_what_it_is_and_since_when(store):
    await store.casebook.write([LOSSY], [], NOON)
    await store.casebook.write([WELL], [], NOON + timedelta(days=1))
    first = await store.outbox.next_due(WEBHOOK, NOON)
    data = json.loads(first.body)["data"]
    assert (data["line"], data["number"], data["since"]) == ("office", "+33700000002", "2026-06-01T12:00:00Z")
    assert "9 % is lost" in data["problems"][0]["text"]
    second = await store.outbox.next_due(WEBHOOK, NOON, besides={first.seq})
    data = json.loads(second.body)["data"]
    assert (data["since"], data["problems"]) == ("2026-06-01T12:00:00Z", [])


async def test_figures_are_remembered_by_who_spoke_and_who_heard(store):
    for place in range(40):
        await store.casebook.write([], [call(delay_ms=place)], NOON)
    history = await store.casebook.history()
    assert set(history) == {("office", "shop")}
    assert [each["delay_ms"] for each in history["office", "shop"]] == list(range(39, 9, -1))


async def test_minutes_of_test_calls_are_counted_with_the_others(store):
    since = [NOON - timedelta(hours=1), NOON + timedelta(hours=1)]
    await store.casebook.write([], [call(), call(talked_s=61.0), call(talked_s=0), call(caller="shop")], NOON)
    assert await store.minutes_used("office", since) == [3, 0]


async def test_a_round_is_done_once_a_day(store):
    assert await store.casebook.last_round() is None
    await store.casebook.round_done(date(2026, 6, 1))
    await store.casebook.round_done(date(2026, 6, 2))
    assert await store.casebook.last_round() == date(2026, 6, 2)
