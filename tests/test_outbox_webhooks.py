"""The outbox of webhooks that projects' customers made, and of the addresses that came with calls.

The number in a name is the section of spec/phonevoice.md.
"""

from datetime import timedelta
from functools import partial

import pytest

from appliance.database import Commit
from appliance.events import Event, LegacyEvent
from appliance.outbox import Target, legacy_key
from appliance.store import open_store
from appliance.webhook import FAILING_H
from tests.outboxes import CRM, GONE, NOON, OK, due, failed, first

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
