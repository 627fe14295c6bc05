"""Where deliveries go: webhooks that come, change and go while the courier runs, and addresses that came with calls."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import trio
import trio.testing

from appliance.database import Commit
from appliance.events import LegacyEvent
from appliance.subscriptions import Subscriptions
from appliance.webhook import PARALLEL
from tests.couriers import BROKEN, GONE, NOON, OK, Box, open_box, served

BUSY = b"HTTP/1.1 429 Slow down\r\nRetry-After: 1800\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def box(tmp_path) -> AsyncIterator[Box]:
    async with open_box(tmp_path) as box:
        yield box


@pytest.fixture
def made(box):
    return Subscriptions(box.database, box.outbox.ring)


async def test_6_a_webhook_that_is_made_while_the_courier_runs_is_told_at_once(box, made):
    receiver, url = await served(box)
    box.start()
    hook, secret = await made.create(1, url, at=NOON)
    await box.put(1, project=1)
    (request,) = await receiver.received(1)
    assert request.is_signed(secret)
    await made.delete(hook.id)
    await box.put(2, project=1)
    again, _ = await made.create(1, url, at=NOON)
    await box.put(3, project=1)
    await receiver.received(2)
    assert [json.loads(request.body)["data"]["id"] for request in receiver.requests] == [1, 3]
    assert again.id != hook.id


async def test_6_a_webhook_that_moves_is_told_at_its_new_address(box, made):
    old, old_url = await served(box)
    new, new_url = await served(box)
    box.start()
    hook, _ = await made.create(1, old_url, at=NOON)
    await box.put(1, project=1)
    await box.settled(1, hook)
    await trio.testing.wait_all_tasks_blocked(0.02)
    await made.change(hook.id, {"url": new_url})
    await box.put(2, project=1)
    await new.received(1)
    assert len(old.requests) == 1


async def test_6_a_webhook_off_and_on_again_is_told_what_happens_then(box, made):
    receiver, url = await served(box)
    receiver.held = trio.Event()
    box.start()
    hook, _ = await made.create(1, url, at=NOON)
    await box.put(1, project=1)
    await receiver.received(1)
    await made.change(hook.id, {"active": False})
    await box.put(2, project=1)
    await made.change(hook.id, {"active": True})
    await box.put(3, project=1)
    receiver.held.set()
    await box.settled(1, hook)
    await receiver.received(2)
    assert [json.loads(request.body)["data"]["id"] for request in receiver.requests] == [1, 3]


async def test_8_410_switches_off_what_was_made_over_the_api(box, made):
    receiver, url = await served(box, GONE)
    box.start()
    hook, _ = await made.create(1, url, at=NOON)
    await box.put(1, project=1)
    await box.settled(1, hook)
    assert not (await made.get(hook.id)).active
    await box.put(2, project=1)
    assert await box.outbox.pending() == 0
    assert len(receiver.requests) == 1


async def test_8_bad_receivers_delay_nobody(box, made):
    """Slow, refusing, redirecting, talking rubbish, gone: each has its own way."""
    answers = [
        OK,
        BUSY,
        BROKEN,
        GONE,
        b"HTTP/1.1 302 No\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0\r\n\r\n",
    ]
    bad = [await served(box, answer) for answer in answers]
    bad[0][0].held = trio.Event()
    good, url = await served(box)
    hooks = [(await made.create(1, each, at=NOON))[0] for _, each in bad]
    await made.create(1, url, at=NOON)
    box.start()
    await box.put(*range(30), project=1)
    with trio.fail_after(20):
        await good.received(30)
    for hook in hooks[1:]:
        await box.settled(1, hook)
    entry = (await box.outbox.log(hooks[1]))[-1]
    assert entry.code == 429
    assert datetime.fromisoformat(entry.next_at) >= NOON + timedelta(seconds=1800)


async def test_10_the_older_generation_is_signed_under_its_own_spelling(box):
    receiver, url = await served(box)
    box.start()
    event = LegacyEvent("call.started", "call_0123456789", NOON, {"note": "Ça va ?"}, url, 1)
    await box.database.write(Commit.CALL_ENDED, lambda connection: box.outbox.put_legacy(connection, event))
    box.outbox.ring()
    (request,) = await receiver.received(1)
    assert "Phonevoice-Signature" not in request.headers
    query = "SELECT legacy_secret FROM projects"
    (secret,) = await box.database.read(lambda connection: connection.execute(query).fetchone())
    assert request.is_signed(secret, "PhoneVoice-Signature")
    assert json.loads(request.body)["call_id"] == "call_0123456789"


@pytest.mark.parametrize("dead", [1, 12])
async def test_10_no_address_of_the_older_generation_delays_another(box, dead):
    hanging, bad = await served(box)
    hanging.held = trio.Event()
    good, url = await served(box)
    addresses = [f"{bad}/{number}" for number in range(dead)]

    def put(connection):
        for to in [each for each in addresses for _ in range(40)] + 30 * [url]:
            box.outbox.put_legacy(connection, LegacyEvent("call.started", "call_0123456789", NOON, {}, to, 1))

    await box.database.write(Commit.CALL_ENDED, put)
    box.start()
    with trio.fail_after(20):
        await good.received(30)
    assert len(hanging.requests) <= PARALLEL * dead
