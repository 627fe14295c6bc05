"""The outbox: who gets an event, in which order and when again, and what goes by itself."""

import itertools
from datetime import datetime, timedelta

import pytest
import trio
import trio.testing

from appliance.database import Commit, open_database
from appliance.events import Event
from appliance.outbox import Attempt, Outbox
from appliance.webhook import KEEP_H, LONGEST_WAIT_S, Verdict
from tests.outboxes import CRM, GONE, LOG, NOON, OK, due, failed, first


def event(number: int = 1, kind: str = "phone_call.completed", at: datetime = NOON) -> Event:
    return Event(kind, at, {"id": number})


@pytest.fixture
async def database(tmp_path):
    async with open_database(tmp_path / "box.db") as database:
        yield database


@pytest.fixture
def outbox(database):
    return Outbox(database, [CRM, LOG])


async def put(database, outbox: Outbox, *events: Event) -> None:
    for one in events:
        await database.write(Commit.CALL_ENDED, lambda connection, one=one: outbox.put(connection, one))


async def test_each_webhook_that_wants_an_event_gets_it_under_an_id_of_its_own(database, outbox):
    await put(database, outbox, event(1, "phone_call.started"), event(2))
    assert await due(outbox, CRM) == ['{"id":1}}', '{"id":2}}']
    assert await due(outbox, LOG) == ['{"id":2}}']
    deliveries = [await first(outbox, CRM), await first(outbox, LOG)]
    assert len({delivery.id for delivery in deliveries}) == 2
    assert all(f'{{"id":"{d.id}","type":"{d.type}",'.encode() in d.body for d in deliveries)


async def test_id_and_body_never_change_from_try_to_try_or_over_a_restart(tmp_path, database, outbox):
    await put(database, outbox, event())
    before = await first(outbox)
    await outbox.attempted(CRM, before, failed(NOON))
    after = await first(Outbox(database, [CRM]))
    assert (after.id, after.body, after.attempts) == (before.id, before.body, 1)


async def test_deliveries_come_in_the_order_of_their_facts(database, outbox):
    # The clock runs backwards here: order is by sequence, not by time.
    await put(database, outbox, *(event(n, at=NOON - timedelta(seconds=n)) for n in range(5)))
    assert await due(outbox) == [f'{{"id":{n}}}}}' for n in range(5)]


async def test_a_retry_does_not_hold_back_what_comes_later(database, outbox):
    await put(database, outbox, event(1), event(2))
    await outbox.attempted(CRM, await first(outbox), failed(NOON + timedelta(seconds=5)))
    assert await due(outbox) == ['{"id":2}}']
    assert await due(outbox, now=NOON + timedelta(seconds=5)) == ['{"id":2}}', '{"id":1}}']


async def test_a_clock_that_is_set_back_delays_no_first_try(database, outbox):
    await put(database, outbox, event(1), event(2))
    await outbox.attempted(CRM, await first(outbox), failed(NOON + timedelta(seconds=5)))
    an_hour_ago = NOON - timedelta(hours=1)
    assert await due(outbox, now=an_hour_ago) == ['{"id":2}}']
    assert await due(outbox, now=an_hour_ago - timedelta(seconds=LONGEST_WAIT_S)) == ['{"id":2}}', '{"id":1}}']


async def test_the_wait_is_told_when_nothing_is_due(database, outbox):
    assert await outbox.next_due(CRM, NOON) == float("inf")
    await put(database, outbox, event(1), event(2))
    await outbox.attempted(CRM, await first(outbox), failed(NOON + timedelta(seconds=300)))
    await outbox.attempted(CRM, await first(outbox), failed(NOON + timedelta(seconds=5)))
    assert await outbox.next_due(CRM, NOON) == pytest.approx(5)


async def test_what_is_delivered_goes_and_its_body_with_it(database, outbox):
    await put(database, outbox, event())
    await outbox.attempted(CRM, await first(outbox), OK)
    await outbox.attempted(LOG, await first(outbox, LOG), OK)
    assert await outbox.pending() == 0
    rows = await database.read(lambda c: c.execute("SELECT state, attempts, body FROM deliveries").fetchall())
    assert rows == [("delivered", 1, b"")] * 2


async def test_what_is_given_up_is_no_longer_due(database, outbox):
    await put(database, outbox, event())
    await outbox.attempted(CRM, await first(outbox), failed(None))
    assert await due(outbox) == []
    assert await due(outbox, LOG) != []


async def test_gone_ends_what_waits_and_what_would_come_for_that_webhook_alone(database, outbox):
    await put(database, outbox, event(1), event(2))
    await outbox.attempted(CRM, await first(outbox), GONE)
    await put(database, outbox, event(3))
    assert await due(outbox, CRM) == []
    assert await due(outbox, LOG) == [f'{{"id":{n}}}}}' for n in (1, 2, 3)]
    restarted = Outbox(database, [CRM, LOG])
    await put(database, restarted, event(4))
    assert await due(restarted, CRM) == []


async def test_a_gone_webhook_is_told_and_can_be_resumed(database, outbox):
    await put(database, outbox, event(1))
    await outbox.attempted(CRM, await first(outbox), GONE)
    assert await outbox.gone() == {CRM.url: f"status 410 at {NOON.isoformat()}"}
    assert await Outbox(database, [LOG]).gone() == {}
    assert await outbox.resume(CRM)
    assert not await outbox.resume(LOG)
    await put(database, outbox, event(2))
    assert await due(outbox) == ['{"id":2}}']
    assert await outbox.gone() == {}


async def test_a_gone_webhook_with_a_new_address_is_a_new_one(database, outbox):
    await put(database, outbox, event(1))
    await outbox.attempted(CRM, await first(outbox), GONE)
    moved = CRM.model_copy(update={"url": "https://new.example/"})
    restarted = Outbox(database, [moved])
    await put(database, restarted, event(2))
    assert await due(restarted, moved) == ['{"id":2}}']


async def test_a_named_webhook_that_moves_takes_along_what_waits(database, outbox):
    await put(database, outbox, event(1))
    assert await due(Outbox(database, [CRM]), CRM.model_copy(update={"url": "https://new.example/"})) == ['{"id":1}}']


@pytest.mark.parametrize("years", [-56, -1, 1, 56])
async def test_no_setting_of_the_clock_delays_or_drops_a_delivery(database, outbox, years):
    await put(database, outbox, event(1))
    await outbox.attempted(CRM, await first(outbox), failed(NOON + timedelta(hours=10)))
    then = NOON + timedelta(days=365 * years)
    await outbox.grow_older()
    assert await due(outbox, now=then) == ['{"id":1}}']


async def test_the_longest_wait_is_no_clock_that_was_set_back(database, outbox):
    await put(database, outbox, event(1))
    await outbox.attempted(CRM, await first(outbox), failed(NOON + timedelta(seconds=LONGEST_WAIT_S)))
    assert await due(outbox) == []


async def test_after_nine_days_of_being_up_what_was_not_delivered_goes(database, outbox):
    await put(database, outbox, event(1))
    await outbox.grow_older()
    await put(database, outbox, event(2))
    for _ in range(KEEP_H - 2):
        await outbox.grow_older()
    assert await due(outbox) == ['{"id":1}}', '{"id":2}}']
    await outbox.grow_older()
    assert await due(outbox) == ['{"id":2}}']
    await outbox.grow_older()
    assert await due(outbox) == []
    rows = await database.read(lambda connection: connection.execute("SELECT count(*) FROM deliveries").fetchone())
    assert rows == (0,)


async def test_parts_of_an_hour_add_up_whatever_comes_between_them(database, outbox):
    await put(database, outbox, event(1))
    await outbox.grow_older(60 * KEEP_H - 60)
    for minutes in (25, 30):
        # It is started anew.
        await Outbox(database, [CRM]).grow_older(minutes)
    assert await outbox.pending(CRM) == 1
    await outbox.grow_older(5)
    assert await outbox.pending(CRM) == 0


async def test_the_last_fifty_attempts_of_each_webhook_are_kept_newest_first(database, outbox):
    await put(database, outbox, event())
    await outbox.attempted(LOG, await first(outbox, LOG), OK)
    for number in range(60):
        answer = Attempt(Verdict.RETRY, NOON, number, code=500, response=b"x" * 5000, next_at=NOON)
        await outbox.attempted(CRM, await first(outbox), answer)
    entries = await outbox.log(CRM)
    assert [entry.attempt for entry in entries] == list(range(60, 10, -1))
    assert entries[0].url == CRM.url
    assert (entries[0].code, entries[0].response, entries[0].duration_ms) == (500, b"x" * 1024, 59)
    assert len(await outbox.log(LOG)) == 1


async def test_a_doorbell_rings_for_everyone_who_waits_and_for_each_wait_once(outbox):
    rings = []

    async def wait() -> None:
        for _ in range(2):
            await outbox.news.wait()
            rings.append(1)

    async with trio.open_nursery() as nursery:
        for expected in (0, 3, 6):
            if not expected:
                for _ in range(3):
                    nursery.start_soon(wait)
            else:
                outbox.ring()
            await trio.testing.wait_all_tasks_blocked()
            assert len(rings) == expected


async def test_an_id_is_made_of_the_facts_time_and_of_chance(database):
    dice = itertools.count()
    outbox = Outbox(database, [CRM, LOG], chance=lambda size: next(dice).to_bytes(size, "big"))
    await put(database, outbox, event())
    first_id, second_id = (await first(outbox, CRM)).id, (await first(outbox, LOG)).id
    assert (first_id[-16:], second_id[-16:]) == ("0" * 16, "0" * 15 + "1")
    assert first_id[:-16] == second_id[:-16]


async def test_what_a_hundred_thousand_wait_for_is_found_by_an_index(database, outbox):
    plans = []

    def explain(connection):
        connection.set_trace_callback(plans.append)

    await database.read(explain)
    await outbox.next_due(CRM, NOON, besides=[1, 2], calls=[3], busy=["https://a.example/"])
    await outbox.pending()
    await database.read(lambda connection: connection.set_trace_callback(None))
    for query in plans:
        rows = await database.read(lambda c, query=query: c.execute("EXPLAIN QUERY PLAN " + query).fetchall())
        for detail in (row[3] for row in rows):
            assert "TEMP B-TREE" not in detail, query
            assert not detail.startswith("SCAN deliveries") or "USING" in detail, query
