import base64
from datetime import UTC, datetime

import pytest

from appliance.store import open_store
from appliance.subscriptions import MOST_PER_PROJECT, TooMany

NOON = datetime(2026, 6, 4, 12, 0, 0, 500_000, UTC)
URL = "https://crm.example/hook"
BOX, OTHER = 1, 2


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "box.db") as store:
        add = "INSERT INTO projects (name, owner, legacy_secret, created_at) VALUES ('other', 1, 'whsec_old', '')"
        store._database._writer.execute(add)
        yield store


@pytest.fixture
def hooks(store):
    return store.subscriptions


async def test_6_a_webhook_is_made_with_a_secret_that_nobody_is_told_again(hooks):
    made, secret = await hooks.create(BOX, URL, at=NOON)
    assert (made.url, made.name, made.events, made.active) == (URL, None, ("*",), True)
    assert made.created_at == "2026-06-04T12:00:00Z"
    assert secret.startswith("whsec_")
    assert "=" not in secret
    assert len(base64.urlsafe_b64decode(secret.removeprefix("whsec_") + "=")) == 32
    assert secret not in repr([made, await hooks.get(made.id), await hooks.page(BOX, offset=0, limit=9)])


async def test_6_no_two_secrets_are_the_same(hooks):
    assert len({(await hooks.create(BOX, URL, at=NOON))[1] for _ in range(5)}) == 5


async def test_6_a_page_is_newest_first_and_of_one_project(hooks):
    ids = [(await hooks.create(BOX, URL, at=NOON))[0].id for _ in range(5)]
    await hooks.create(OTHER, URL, at=NOON)
    page, total = await hooks.page(BOX, offset=1, limit=3)
    assert ([each.id for each in page], total) == (ids[::-1][1:4], 5)
    assert await hooks.page(BOX, offset=5, limit=3) == ([], 5)


async def test_6_a_project_has_twenty_and_another_has_its_own_twenty(hooks):
    for _ in range(MOST_PER_PROJECT):
        last, _ = await hooks.create(BOX, URL, at=NOON)
    with pytest.raises(TooMany, match="20"):
        await hooks.create(BOX, URL, at=NOON)
    await hooks.create(OTHER, URL, at=NOON)
    await hooks.delete(last.id)
    again, _ = await hooks.create(BOX, URL, at=NOON)
    assert again.id > last.id, "an id is never another's"


async def test_6_what_is_not_named_stays_as_it_is(hooks):
    made, _ = await hooks.create(BOX, URL, name="CRM", events=["sms.received"], at=NOON)
    changed = await hooks.change(made.id, {"name": None, "events": ("*", "phone_call.ringing")})
    assert changed == await hooks.get(made.id)
    assert (changed.url, changed.name, changed.events) == (URL, None, ("*", "phone_call.ringing"))
    assert await hooks.change(made.id, {}) == changed
    assert await hooks.change(made.id + 1, {"name": "x"}) is None


async def test_6_a_webhook_that_is_deleted_is_not_there(hooks):
    made, _ = await hooks.create(BOX, URL, at=NOON)
    assert await hooks.delete(made.id)
    assert await hooks.get(made.id) is None
    assert not await hooks.delete(made.id)


async def test_who_delivers_is_told_of_each_change(store, hooks):
    news = store.outbox.news
    made, _ = await hooks.create(BOX, URL, at=NOON)
    for change in (hooks.change(made.id, {"active": False}), hooks.delete(made.id)):
        assert news.is_set()
        news = store.outbox.news
        await change
    assert news.is_set()
