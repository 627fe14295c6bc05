"""Relay numbers and agents of projects, on a real file."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from appliance.actions import Protocol
from appliance.claims import NumberTaken, project_of
from appliance.database import open_database
from appliance.directory import AgentSettings, Directory, Loop, NowhereToForward, RelayNumber, SlugTaken, slug_of
from appliance.store import Store, open_store
from appliance.tenants import BOX
from native import Codec
from tests.test_store import APP, LINK, NUMBER

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
OTHER = "+33700000005"
PHONE = "+33612345678"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "box.db") as store:
        yield store


@pytest.fixture
async def directory(store: Store) -> Directory:
    return store.directory


async def buy(directory: Directory, number: str = NUMBER, forward_to: str | None = PHONE) -> RelayNumber:
    return await directory.buy(number, project=BOX, forward_to=forward_to, country="FR", type_="mobile", at=NOON)


async def test_5_a_number_that_is_bought_forwards_if_there_is_where_to(directory: Directory) -> None:
    relay = await buy(directory)
    assert (relay.enabled, relay.forward_to, relay.country, relay.type) == (True, PHONE, "FR", "mobile")
    assert await directory.relay_of(NUMBER) == await directory.relay_number(relay.id) == relay
    claimed = await buy(directory, OTHER, None)
    assert not claimed.enabled
    assert await directory.relay_numbers(BOX, offset=0, limit=1) == ([claimed], 2)
    assert await directory.relay_numbers(BOX, offset=1, limit=9) == ([relay], 2)
    assert await directory.relay_numbers(BOX + 1, offset=0, limit=9) == ([], 0)


async def test_5_a_number_is_bought_once_and_free_when_it_is_released(store: Store, directory: Directory) -> None:
    relay = await buy(directory)
    with pytest.raises(NumberTaken):
        await buy(directory)
    await store.save_app(APP)
    with pytest.raises(NumberTaken):
        await store.link(LINK)
    assert await directory.release(relay.id)
    assert not await directory.release(relay.id)
    assert await directory.relay_of(NUMBER) is None
    assert await store.link(LINK) == LINK
    with pytest.raises(NumberTaken, match="sfvopi"):
        await buy(directory)


async def test_5_a_change_is_of_what_it_names(directory: Directory) -> None:
    relay = await buy(directory)
    paused = await directory.change(relay.id, enabled=False)
    assert paused
    assert (paused.enabled, paused.forward_to) == (False, PHONE)
    moved = await directory.change(relay.id, forward_to="+33700000099", enabled=True)
    assert moved == await directory.relay_of(NUMBER)
    assert moved
    assert (moved.enabled, moved.forward_to) == (True, "+33700000099")
    assert await directory.change(relay.id + 1, enabled=True) is None


async def test_5_a_number_without_where_to_forward_can_t_be_on(directory: Directory) -> None:
    relay = await buy(directory, forward_to=None)
    with pytest.raises(NowhereToForward):
        await directory.change(relay.id, enabled=True)
    assert await directory.change(relay.id, forward_to=PHONE)


async def test_5_no_relay_forwards_to_itself_or_to_another(directory: Directory) -> None:
    with pytest.raises(Loop):
        await buy(directory, forward_to=NUMBER)
    relay = await buy(directory, forward_to=OTHER)
    with pytest.raises(Loop):
        await buy(directory, OTHER)
    assert await directory.relay_of(OTHER) is None
    await directory.change(relay.id, forward_to=PHONE)
    await buy(directory, OTHER)
    for forward_to in (NUMBER, OTHER):
        with pytest.raises(Loop):
            await directory.change(relay.id, forward_to=forward_to)
    # What was refused claims nothing.
    assert (await directory.relay_numbers(BOX, offset=0, limit=9))[1] == 2


async def test_5_a_message_to_a_number_is_its_project_s_while_the_relay_is_on(tmp_path: Path) -> None:
    async with open_store(tmp_path / "box.db") as store, open_database(tmp_path / "box.db") as database:

        async def told() -> int | None:
            return await database.read(lambda connection: project_of(connection, NUMBER))

        assert await told() is None
        relay = await buy(store.directory)
        assert await told() == BOX
        await store.directory.change(relay.id, enabled=False)
        assert await told() is None


async def test_an_agent_is_a_stream_with_a_name(directory: Directory) -> None:
    settings = AgentSettings(stream={"url": "wss://a.example/v", "codec": "PCMU", "protocol": "twilio"})
    agent = await directory.add_agent(BOX, "Désk 2", settings, at=NOON)
    assert await directory.agent_called(BOX, "desk-2") == await directory.agent(agent.id) == agent
    stream = agent.settings.stream_to
    assert stream
    assert (stream.url, stream.codec, stream.protocol) == ("wss://a.example/v", Codec.PCMU, Protocol.TWILIO)
    with pytest.raises(SlugTaken):
        await directory.add_agent(BOX, "desk_2", settings, at=NOON)
    changed = await directory.change_agent(agent.id, "Bar", AgentSettings())
    assert await directory.agents(BOX) == [changed]
    assert changed
    assert changed.settings.stream_to is None
    assert await directory.delete_agent(agent.id)
    assert await directory.agents(BOX) == []


@pytest.mark.parametrize(
    "stream", [{}, {"url": "https://a.example"}, {"url": "wss://a.example", "codec": "MP3"}, {"url": "ws://a b"}]
)
def test_an_agent_s_stream_is_one_that_sfvopi_would_take(stream: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"stream\."):
        AgentSettings(stream=stream)


def test_a_slug_is_a_name_in_small_ascii_or_else_its_own_letters() -> None:
    assert [slug_of(name) for name in ("Front_Desk", "  É!", "北京 1", "北 京", "?")] == [
        "front-desk",
        "e",
        "1",
        "北-京",
        "",
    ]
