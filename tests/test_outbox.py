import itertools
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import trio
import trio.testing

from appliance.config import Webhook
from appliance.database import Commit, open_database
from appliance.events import Event, LegacyEvent
from appliance.outbox import Attempt, Delivery, Outbox, Target, legacy_key
from appliance.store import open_store
from appliance.webhook import FAILING_H, KEEP_H, LONGEST_WAIT_S, Verdict

NOON = datetime(2026, 6, 4, 12, 0, 0, 0, UTC)
SECRET = "whsec_0123456789abcdef01234567"
CRM = Webhook.model_construct(url="https://crm.example/hook", secret=SECRET, events=("*",), name="crm")
LOG = Webhook.model_construct(url="https://log.example/", secret=SECRET, events=("phone_call.completed",), name=None)
OK = Attempt(Verdict.DELIVERED, NOON, 12, code=200, response=b"ok")
GONE = Attempt(Verdict.GONE, NOON, 12, code=410)


def failed(next_at: datetime | None) -> Attempt:
    return Attempt(Verdict.RETRY, NOON, 12, error="refused", next_at=next_at)


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


async def due(outbox: Outbox, webhook: Webhook = CRM, now: datetime = NOON) -> list[str]:
    """All that are due now, as the workers would take them; bodies tell them apart."""
    taken: list[Delivery] = []
    while isinstance(found := await outbox.next_due(webhook, now, besides=[each.seq for each in taken]), Delivery):
        taken.append(found)
    return [delivery.body.decode().partition('"data":')[2] for delivery in taken]


async def first(outbox: Outbox, webhook: Webhook = CRM, now: datetime = NOON) -> Delivery:
    found = await outbox.next_due(webhook, now)
    assert isinstance(found, Delivery)
    return found


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


# --- webhooks that a project's customers made -----------------------------------------------------------------------

BOX, OTHER = 1, 2


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "store.db", [CRM]) as store:
        add = "INSERT INTO projects (name, owner, legacy_secret, created_at) VALUES ('other', 1, 'whsec_old', '')"
        store._database._writer.execute(add)
        yield store


async def tell(store, *events) -> None:
    for each in events:
        put = store.outbox.put_legacy if isinstance(each, LegacyEvent) else store.outbox.put
        await store._database.write(Commit.CALL_ENDED, partial(put, event=each))


def of(project: int | None, number: int = 1, kind: str = "phone_call.completed", call: int | None = None) -> Event:
    return Event(kind, NOON, {"id": number}, call, project)


async def states(store) -> list[tuple[str, str]]:
    query = "SELECT webhook, state FROM deliveries ORDER BY seq"
    return await store._database.read(lambda connection: connection.execute(query).fetchall())


async def target_of(store, key: str) -> Target:
    return next(target for target in await store.outbox.targets() if target.key == key)


async def test_6_a_project_is_told_of_its_own_events_and_the_configuration_of_all(store):
    mine, _ = await store.subscriptions.create(BOX, "https://mine.example/", at=NOON)
    other, _ = await store.subscriptions.create(OTHER, "https://other.example/", at=NOON)
    await tell(store, of(BOX, 1), of(OTHER, 2), of(None, 3))
    assert await due(store.outbox, CRM) == [f'{{"id":{n}}}}}' for n in (1, 2, 3)]
    assert await due(store.outbox, mine) == ['{"id":1}}']
    assert await due(store.outbox, other) == ['{"id":2}}']


async def test_7_1_what_is_to_be_named_goes_to_who_names_it(store):
    wild, _ = await store.subscriptions.create(BOX, "https://a.example/", at=NOON)
    named, _ = await store.subscriptions.create(BOX, "https://b.example/", events=["phone_call.ringing"], at=NOON)
    await tell(store, of(BOX, 1, "phone_call.ringing"), of(BOX, 2, "line.degraded"))
    assert await due(store.outbox, wild) == []
    assert await due(store.outbox, named) == ['{"id":1}}']


async def test_7_2_one_firing_has_an_id_for_each_webhook(store):
    hooks = [(await store.subscriptions.create(BOX, f"https://{n}.example/", at=NOON))[0] for n in range(3)]
    await tell(store, of(BOX))
    assert len({(await first(store.outbox, hook)).id for hook in (CRM, *hooks)}) == 4


async def test_6_switching_off_stops_what_waits_and_on_again_makes_up_for_nothing(store):
    hook, secret = await store.subscriptions.create(BOX, "https://mine.example/", at=NOON)
    await tell(store, of(BOX, 1), of(BOX, 2))
    await store.outbox.attempted(hook, await first(store.outbox, hook), failed(NOON + timedelta(seconds=5)))
    await store.subscriptions.change(hook.id, {"active": False})
    assert hook.key not in {target.key for target in await store.outbox.targets()}
    await tell(store, of(BOX, 3))
    await store.subscriptions.change(hook.id, {"active": True})
    await tell(store, of(BOX, 4))
    assert await due(store.outbox, hook, NOON + timedelta(days=1)) == ['{"id":4}}']
    target = await target_of(store, hook.key)
    assert (target.url, target.secret) == (hook.url, secret)
    assert secret not in repr(target)


async def test_6_a_webhook_that_is_deleted_leaves_nothing(store):
    hook, _ = await store.subscriptions.create(BOX, "https://mine.example/", at=NOON)
    await tell(store, of(BOX, 1), of(BOX, 2))
    sent = await first(store.outbox, hook)
    await store.outbox.attempted(hook, sent, failed(NOON))
    await store.subscriptions.delete(hook.id)
    await store.outbox.attempted(hook, sent, OK)
    assert await due(store.outbox, hook) == []
    assert await store.outbox.log(hook) == []


async def test_8_410_switches_a_webhook_off_once_and_that_is_an_event(store):
    hook, _ = await store.subscriptions.create(BOX, "https://mine.example/?key=s3cret", name="CRM", at=NOON)
    await tell(store, of(BOX, 1), of(BOX, 2))
    both = [await first(store.outbox, hook)]
    both.append(await store.outbox.next_due(hook, NOON, besides=[both[0].seq]))
    assert [await store.outbox.attempted(hook, each, GONE) for each in both] == ["status 410", None]
    off = await store.subscriptions.get(hook.id)
    assert (off.active, off.off_reason) == (False, "status 410")
    (told,) = await store.archive.events(after=0, type_="webhook.disabled", limit=9)
    assert told.data == {"url": "https://mine.example/", "name": "CRM", "project": BOX, "reason": "status 410"}
    on = await store.subscriptions.change(hook.id, {"active": True})
    assert (on.active, on.off_reason) == (True, None)


async def fail_for(store, hook, hours: int, *, offline: bool = False) -> str | None:
    await tell(store, of(BOX))
    await store.outbox.grow_older(60 * hours, offline=offline)
    return await store.outbox.attempted(hook, await first(store.outbox, hook), failed(None))


@pytest.mark.parametrize("configured", [True, False])
async def test_8_five_days_of_nothing_but_failures_switch_a_webhook_off(store, configured):
    hook = CRM if configured else (await store.subscriptions.create(BOX, "https://mine.example/", at=NOON))[0]
    assert await fail_for(store, hook, 0) is None
    assert await fail_for(store, hook, FAILING_H) is None
    assert await fail_for(store, hook, 1) == "no delivery in 5 days"
    assert hook.key not in {target.key for target in await store.outbox.targets()}
    if configured:
        assert await store.outbox.gone() == {CRM.url: f"no delivery in 5 days at {NOON.isoformat()}"}
        assert await store.outbox.resume(CRM)
    else:
        assert (await store.subscriptions.get(hook.id)).off_reason == "no delivery in 5 days"
        await store.subscriptions.change(hook.id, {"active": True})
    assert await fail_for(store, hook, 1) is None, "it is given five days anew"


async def test_8_one_success_begins_the_five_days_anew(store):
    hook, _ = await store.subscriptions.create(BOX, "https://mine.example/", at=NOON)
    await fail_for(store, hook, 0)
    assert (await store.subscriptions.get(hook.id)).failing_since == NOON.isoformat()
    await tell(store, of(BOX))
    await store.outbox.attempted(hook, await first(store.outbox, hook), OK)
    assert (await store.subscriptions.get(hook.id)).failing_since is None
    assert await fail_for(store, hook, FAILING_H + 1) is None


async def test_8_hours_without_network_are_no_hours_of_failing(store):
    await fail_for(store, CRM, 0)
    assert await fail_for(store, CRM, FAILING_H + 9, offline=True) is None


async def test_8_of_one_call_one_is_tried_first_at_a_time_and_a_retry_holds_back_none(store):
    await tell(store, of(None, 1, call=7), of(None, 2, call=7), of(None, 3, call=8))
    one = await first(store.outbox)
    two = await store.outbox.next_due(CRM, NOON, besides=[one.seq], calls=[7])
    assert (one.call, two.call) == (7, 8)
    await store.outbox.attempted(CRM, one, failed(NOON + timedelta(seconds=5)))
    assert b'"id":2' in (await store.outbox.next_due(CRM, NOON, besides=[two.seq], calls=[8])).body


async def test_10_the_older_generation_has_an_envelope_and_an_address_of_its_own(store):
    url = "https://old.example/call"
    await tell(store, LegacyEvent("call.started", "call_0123456789", NOON, {"direction": "inbound"}, url, OTHER, 7))
    target = await target_of(store, legacy_key(OTHER))
    assert (target.header, target.secret) == ("PhoneVoice-Signature", "whsec_old")
    delivery = await first(store.outbox, target)
    assert (delivery.url, delivery.id[:4]) == (url, "evt_")
    assert delivery.body == (
        b'{"event":"call.started","call_id":"call_0123456789","timestamp":1780574400,"data":{"direction":"inbound"}}'
    )
    await store.outbox.attempted(target, delivery, OK)
    (entry,) = await store.outbox.log(target)
    assert (entry.url, entry.ok) == (url, True)
    assert legacy_key(OTHER) not in {each.key for each in await store.outbox.targets()}


async def test_10_an_older_address_that_is_gone_is_given_up_and_no_other(store):
    urls = ["https://a.example/", "https://b.example/", "https://a.example/"]
    await tell(store, *(LegacyEvent("call.started", "call_0", NOON, {}, url, BOX) for url in urls))
    target = await target_of(store, legacy_key(BOX))
    await store.outbox.attempted(target, await first(store.outbox, target), GONE)
    assert [state for _, state in await states(store)] == ["dead", "pending", "dead"]


async def test_10_what_waits_for_an_address_that_is_busy_is_passed_over(store):
    one, two = "https://a.example/", "https://b.example/"
    await tell(store, *(LegacyEvent("call.started", "call_0", NOON, {}, url, BOX) for url in (one, one, two)))
    target = await target_of(store, legacy_key(BOX))
    delivery = await store.outbox.next_due(target, NOON, busy=[one])
    assert delivery.url == two
    # Neither when it is due again: it is no use to look before one of its own is done.
    await store.outbox.attempted(target, await first(store.outbox, target), failed(NOON))
    assert await store.outbox.next_due(target, NOON, besides=[delivery.seq], busy=[one]) == float("inf")


async def test_what_a_hundred_thousand_wait_for_is_found_by_an_index(store):
    plans = []

    def explain(connection):
        connection.set_trace_callback(plans.append)

    await store._database.read(explain)
    await store.outbox.next_due(CRM, NOON, besides=[1, 2], calls=[3], busy=["https://a.example/"])
    await store.outbox.pending()
    await store._database.read(lambda connection: connection.set_trace_callback(None))
    for query in plans:
        rows = await store._database.read(lambda c, query=query: c.execute("EXPLAIN QUERY PLAN " + query).fetchall())
        for detail in (row[3] for row in rows):
            assert "TEMP B-TREE" not in detail, query
            assert not detail.startswith("SCAN deliveries") or "USING" in detail, query
