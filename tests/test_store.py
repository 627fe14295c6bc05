from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from appliance.call import Direction, Ended, Kind, Reason, State
from appliance.claims import PHONEVOICE, NumberTaken, claim, release
from appliance.config import Webhook
from appliance.contracts.sfvopi import App, Link
from appliance.database import Commit, open_database
from appliance.links import Links
from appliance.options import Options, TakeMessage
from appliance.outbox import Delivery
from appliance.store import Key, open_store
from drivers.line import Answered

NOON = datetime(2026, 6, 4, 12, 0, 0, 123_000, UTC)
LATER = NOON + timedelta(seconds=9)
LINKS = Links(b"k" * 32, "https://box.example")
APP = App(
    app_id="sfv_app_a8k3m2x9p1z0",
    name="bot",
    answer_url="https://bot.example/answer",
    answer_method="POST",
    hangup_url=None,
    hangup_method="POST",
    fallback_answer_url="https://bot.example/fallback",
    fallback_answer_method="GET",
    status="ACTIVE",
    created_at="2026-06-04T12:00:00.000Z",
)
OTHER = replace(APP, app_id="sfv_app_b8k3m2x9p1z0", name="other")
NUMBER = "+33700000002"
LINK = Link(APP.app_id, NUMBER, "2026-06-04T12:00:01.000Z")
HOOK = Webhook.model_construct(url="https://crm.example/hook", secret="s" * 24, events=("*",), name=None)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "box.db"


@dataclass(frozen=True)
class Mp3:
    frames: int = 8000
    size_bytes: int = 4000
    sha256: str = "ab" * 32


async def opened(store, uuid="6f2d1c0e-3f0b-4c63-9d55-0c1f6a2b7e11", **facts):
    call = {
        "line": "office",
        "direction": Direction.INBOUND,
        "from_": "+33700000001",
        "to": NUMBER,
        "state": State.INCOMING,
        "started_at": NOON,
        "route": '{"app_id": "x"}',
    }
    return await store.open_call(uuid=uuid, **{**call, **facts})


async def test_an_app_is_kept_over_a_restart(path):
    async with open_store(path) as store:
        await store.save_app(APP)
    async with open_store(path) as store:
        assert await store.app(APP.app_id) == APP
        assert await store.app("sfv_app_unknown") is None


async def test_an_app_saved_again_is_changed_and_keeps_its_place_and_numbers(path):
    changed = replace(APP, name="new", hangup_url="https://bot.example/bye", updated_at="2026-06-05T00:00:00.000Z")
    async with open_store(path) as store:
        for app in (APP, OTHER):
            await store.save_app(app)
        await store.link(LINK)
        await store.save_app(changed)
        assert await store.apps() == [OTHER, changed]
        assert await store.app_of_number(NUMBER) == changed


async def test_an_app_is_changed_where_it_stands_and_one_that_is_gone_stays_gone(path):
    async with open_store(path) as store:
        await store.save_app(APP)
        changed = replace(APP, hangup_url=None, status="INACTIVE")
        assert await store.change_app(APP.app_id, {"hangup_url": None, "status": "INACTIVE"}) == changed
        assert await store.change_app(APP.app_id, {}) == changed
        await store.delete_app(APP.app_id)
        assert await store.change_app(APP.app_id, {"status": "ACTIVE"}) is None
        assert await store.apps() == []


async def test_a_number_has_at_most_one_app_and_the_first_link_stays(path):
    async with open_store(path) as store:
        assert await store.link(LINK) is None
        for app in (APP, OTHER):
            await store.save_app(app)
        assert await store.link(LINK) == LINK
        assert await store.link(replace(LINK, created_at="later")) == LINK
        assert await store.link(replace(LINK, app_id=OTHER.app_id)) == LINK
        assert await store.links(APP.app_id) == [LINK]
        assert await store.links(OTHER.app_id) == []


async def test_an_unlinked_number_is_free(path):
    async with open_store(path) as store:
        for app in (APP, OTHER):
            await store.save_app(app)
        await store.link(LINK)
        assert not await store.unlink(OTHER.app_id, NUMBER)
        assert await store.unlink(APP.app_id, NUMBER)
        assert not await store.unlink(APP.app_id, NUMBER)
        assert await store.app_of_number(NUMBER) is None
        assert (await store.link(replace(LINK, app_id=OTHER.app_id))).app_id == OTHER.app_id


async def test_a_deleted_app_frees_its_numbers_and_leaves_its_calls(path):
    async with open_store(path) as store:
        await store.save_app(APP)
        await store.link(LINK)
        call = await opened(store, app_id=APP.app_id)
        assert await store.delete_app(APP.app_id)
        assert not await store.delete_app(APP.app_id)
        assert await store.app_of_number(NUMBER) is None
        assert await store.call(call.id) == call


async def test_a_key_is_known_until_it_is_revoked(path):
    async with open_store(path) as store:
        await store.add_key("ab" * 32, name="crm", at=NOON)
        await store.add_key("cd" * 32, name="crm", at=NOON)
        await store.add_key("ef" * 32, name="other", at=NOON)
        assert await store.key_known("ab" * 32)
        assert not await store.key_known("00" * 32)
        assert await store.revoke_keys("crm", at=NOON) == 2
        assert await store.revoke_keys("crm", at=NOON) == 0
        assert [await store.key_known(key * 32) for key in ("ab", "cd", "ef")] == [False, False, True]
        noon = "2026-06-04T12:00:00.123Z"
        assert await store.keys() == [
            Key("ab" * 6, "crm", noon, noon),
            Key("cd" * 6, "crm", noon, noon),
            Key("ef" * 6, "other", noon, None),
        ]


async def test_one_key_is_revoked_by_its_id_unless_it_is_the_last(path):
    async with open_store(path) as store:
        await store.add_key("ab" * 32, name="crm", at=NOON)
        assert not await store.revoke_key("ab" * 6, at=NOON)
        await store.add_key("cd" * 32, name="crm", at=NOON)
        assert await store.revoke_key("ab" * 6, at=NOON)
        assert await store.revoke_key("ab" * 6, at=NOON)
        assert [await store.key_known(key * 32) for key in ("ab", "cd")] == [False, True]
        assert not await store.revoke_key("ef" * 6, at=NOON)


async def test_options_of_an_app_go_with_it(path):
    options = Options(no_answer=TakeMessage(announcement="closed.wav", limit_s=30))
    async with open_store(path) as store:
        assert not await store.set_options(APP.app_id, options)
        assert await store.options(APP.app_id) is None
        await store.save_app(APP)
        assert await store.options(APP.app_id) == Options()
        assert await store.set_options(APP.app_id, options)
        assert await store.options(APP.app_id) == options
        await store.save_app(replace(APP, name="new"))
        assert await store.options(APP.app_id) == options
        await store.delete_app(APP.app_id)
        await store.save_app(APP)
        assert await store.options(APP.app_id) == Options()


async def test_a_call_is_kept_as_it_is_in_every_state(path):
    async with open_store(path) as store:
        call = await opened(store, request_uuid="sfv_ob_req_a8k3m2x9p1z0", app_id=APP.app_id)
        assert await store.call(call.id) == call
        for change, after_s in ((Answered(), 3), (Ended(Reason.HANGUP, 16), 9)):
            call = call.apply(change, NOON + timedelta(seconds=after_s))
            await store.save(call)
            assert await store.call(call.id) == call


async def test_a_crash_leaves_open_what_was_open_and_its_route(path):
    async with open_store(path) as store:
        ended = await opened(store, "1")
        await store.save(ended.apply(Ended(Reason.HANGUP, 16), NOON))
        first, second = await opened(store, "2"), await opened(store, "3", route="{}")
        active = second.apply(Answered(), NOON)
        await store.save(active)
    async with open_store(path) as store:
        assert await store.open_calls() == [(first, '{"app_id": "x"}'), (active, "{}")]


async def test_ids_are_never_used_again(path):
    async with open_store(path) as store:
        ids = [(await opened(store, str(n))).id for n in range(3)]
    async with open_store(path) as store:
        ids.append((await opened(store, "later")).id)
    assert ids == [1, 2, 3, 4]


async def test_a_change_and_the_events_that_tell_it_are_one_commit(path):
    async with open_store(path, [HOOK]) as store:
        call = await opened(store)
        active = call.apply(Answered(), NOON)
        unspeakable = replace(active, revision=2**53)
        with pytest.raises(ValueError, match="JavaScript"):
            await store.save(unspeakable, told_at=NOON)
        assert await store.call(call.id) == call
        assert await store.outbox.pending() == 0
        await store.save(active, told_at=NOON)
        assert await store.call(call.id) == active
        assert await store.outbox.pending() == 1


async def test_the_end_of_a_call_is_told_once(path):
    async with open_store(path, [HOOK]) as store:
        call = await opened(store)
        ended = call.apply(Ended(Reason.HANGUP, 16), NOON)
        await store.save(ended, told_at=NOON)
        with pytest.raises(ValueError, match="is not open"):
            await store.save(ended, told_at=NOON)
        assert await store.outbox.pending() == 1


async def test_that_a_call_rings_is_told_to_who_named_it(path):
    named = HOOK.model_copy(update={"events": ("phone_call.ringing",)})
    async with open_store(path, [HOOK, named]) as store:
        await opened(store)
        delivery = await store.outbox.next_due(named, NOON)
        assert isinstance(delivery, Delivery)
        assert delivery.type == "phone_call.ringing"
        assert await store.outbox.pending() == 1


async def test_news_comes_after_its_commit(path):
    async with open_store(path, [HOOK]) as store:
        call = await opened(store)
        ended = call.apply(Ended(Reason.HANGUP, 16), NOON)
        news = store.outbox.news
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: store.save(ended, told_at=NOON))
            await news.wait()
            assert isinstance(await store.outbox.next_due(HOOK, NOON), Delivery)


async def test_a_recording_is_open_until_it_is_encoded(path):
    wavs = [Path("/data/a.wav"), Path("/data/b.wav")]
    async with open_store(path) as store:
        call = await opened(store)
        for wav in wavs:
            await store.recordings.open(call.id, wav)
        await store.recordings.encoded(wavs[0], Mp3(), NOON)
    async with open_store(path) as store:
        assert await store.recordings.unfinished() == wavs[1:]


@pytest.mark.parametrize("kind", [Kind.APP, Kind.RELAY])
async def test_an_end_is_told_again_with_the_address_when_there_is_one(path, kind):
    """phonevoice 7.4"""
    wav = Path("/data/a.wav")
    async with open_store(path, links=LINKS) as store:
        call = await opened(store, kind=kind)
        await store.recordings.open(call.id, wav)
        await store.save(call.apply(Ended(Reason.HANGUP, 16), NOON), told_at=NOON)
        await store.recordings.encoded(wav, Mp3(), LATER)
        _, first, second = await store.archive.events(after=0, limit=9)
        assert (first.data["revision"], first.data["recording_url"]) == (1, None)
        address = second.data["recording_url"]
        assert second.data == {**first.data, "revision": 2, "recording_url": address}
        assert (second.type, second.at) == (first.type, LATER)
        name = f"{'call' if kind is Kind.APP else 'bridge'}_{call.id}.mp3"
        assert address.startswith("https://box.example/rec/")
        assert address.endswith("/" + name)
        assert LINKS.opened(address.split("/")[-2], name).id == "a"
        ended = await store.call(call.id)
        assert ended
        assert ended.revision == 2


async def test_an_end_that_comes_after_the_recording_is_told_once_with_its_address(path):
    async with open_store(path, links=LINKS) as store:
        call = await opened(store)
        for name in "ab":
            await store.recordings.open(call.id, Path(f"/data/{name}.wav"))
            await store.recordings.encoded(Path(f"/data/{name}.wav"), Mp3(), NOON)
        ended = call.apply(Ended(Reason.HANGUP, 16), NOON)
        await store.save(ended, told_at=NOON)
        _, told = await store.archive.events(after=0, limit=9)
        assert told.data["revision"] == 1
        assert told.data["recording_url"] == (await store.recordings.urls([ended], NOON))[0]
        # Of two it is the newer one's.
        assert (
            "/".join(told.data["recording_url"].split("/")[-2:]) == LINKS.recording(call, "b", NOON).split("/rec/")[1]
        )


async def test_where_there_are_no_addresses_nothing_is_told_again(path):
    async with open_store(path) as store:
        call = await opened(store)
        await store.recordings.open(call.id, Path("/data/a.wav"))
        await store.save(call.apply(Ended(Reason.HANGUP, 16), NOON), told_at=NOON)
        await store.recordings.encoded(Path("/data/a.wav"), Mp3(), NOON)
        assert len(await store.archive.events(after=0, limit=9)) == 2


def test_every_state_of_a_call_has_a_commit():
    assert {Commit(f"call.{state.value}") for state in State} <= set(Commit)


async def test_a_number_that_another_contract_holds_is_not_linked_and_is_free_again_with_its_link(path):
    async with open_store(path) as store, open_database(path) as database:
        await store.save_app(APP)
        assert await database.write(Commit.NUMBER_BOUGHT, lambda c: claim(c, NUMBER, PHONEVOICE)) is None
        with pytest.raises(NumberTaken, match=PHONEVOICE):
            await store.link(LINK)
        assert await store.links(APP.app_id) == []
        await database.write(Commit.NUMBER_RELEASED, lambda c: release(c, NUMBER))
        for undo in (lambda: store.unlink(APP.app_id, NUMBER), lambda: store.delete_app(APP.app_id)):
            assert await store.link(LINK) == LINK
            assert await store.claimed_numbers() == {NUMBER}
            assert await undo()
            assert await store.claimed_numbers() == set()
