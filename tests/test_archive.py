"""What is found again of calls, recordings and events, page by page."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.archive import RecordingState
from appliance.call import Direction, Ended, Reason, State
from appliance.recordings import Why
from appliance.store import Store, open_store
from appliance.webhook import KEEP_H

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
WAV = Path("/recordings/call-2.wav")


@dataclass(frozen=True)
class Mp3:
    frames: int = 8000
    size_bytes: int = 4000
    sha256: str = "ab" * 32


async def opened(store, number):
    """Calls with odd numbers are of line `one`, and of each second hour."""
    outbound = number % 2
    return await store.open_call(
        uuid=f"call-{number}",
        line="one" if outbound else "two",
        direction=Direction.OUTBOUND if outbound else Direction.INBOUND,
        from_="+33700000001",
        to="+33700000002",
        state=State.QUEUED if outbound else State.INCOMING,
        started_at=NOON + timedelta(hours=number),
        route="{}",
        request_uuid=f"asked-{number}" if outbound else None,
    )


async def end(store, call):
    ended = replace(call, state=State.ENDED, ended_at=NOON, end=Ended(Reason.HANGUP, 16))
    await store.save(ended, told_at=NOON)
    return ended


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "box.db") as store:
        for number in range(1, 6):
            await opened(store, number)
        yield store


async def test_calls_are_found_newest_first_by_what_is_asked_for(store):
    async def found(**facts: object) -> list[int]:
        return [record.call.id for record in await store.archive.calls(**{"limit": 10, **facts})]

    await end(store, (await store.archive.call("call-5")).call)
    assert await found() == [5, 4, 3, 2, 1]
    assert await found(limit=2) == [5, 4]
    assert await found(limit=2, before=4) == [3, 2]
    assert await found(line="one") == [5, 3, 1]
    assert await found(direction=Direction.INBOUND) == [4, 2]
    assert await found(state=State.QUEUED) == [3, 1]
    assert await found(state=State.ENDED) == [5]
    assert await found(since=NOON + timedelta(hours=2), until=NOON + timedelta(hours=4)) == [3, 2]
    assert await found(line="none") == []


async def test_a_call_is_found_by_either_of_its_names_with_all_that_is_known(store):
    assert (await store.archive.call("asked-1")) == (await store.archive.call("call-1"))
    record = await store.archive.call("call-2")
    assert (record.receipt, record.recordings) == (None, [])
    await store.recordings.open(record.call.id, WAV)
    await store.measured(record.call.id, '{"answer_webhook_ms": 12}')
    record = await store.archive.call("call-2")
    assert (record.receipt, record.recordings) == ({"answer_webhook_ms": 12}, [("call-2", RecordingState.RECORDING)])
    assert await store.archive.call("asked-2") is None


async def test_recordings_are_found_and_after_that_what_became_of_them(store):
    for number in (2, 3):
        call = await store.call(number)
        await store.recordings.open(call.id, WAV.with_name(f"call-{number}.wav"))
    await store.recordings.encoded(WAV, Mp3(), NOON)
    newer, older = await store.archive.recordings(limit=10)
    assert (older.id, older.call.uuid, older.frames, older.sha256) == ("call-2", "call-2", 8000, "ab" * 32)
    assert older.mp3 == WAV.with_suffix(".mp3")
    assert (newer.id, newer.frames, newer.sha256) == ("call-3", None, None)
    assert await store.archive.recordings(limit=10, before=newer.seq) == [older]
    assert await store.archive.recordings(limit=10, line="one") == [newer]
    assert await store.archive.recording("call-2") == older
    await store.recordings.deleted(["call-2"], Why.ORDERED, NOON, by="abc")
    gone = await store.archive.recording("call-2")
    assert gone == replace(older, deleted_at=NOON, deleted_why="ordered", deleted_by="abc")
    assert (older.state, gone.state) == (RecordingState.READY, RecordingState.DELETED)


async def test_events_are_there_once_without_any_webhook_and_after_a_place(store):
    events = await store.archive.events(after=0, limit=10)
    assert [event.data["id"] for event in events] == [1, 2, 3, 4, 5]
    assert [event.type for event in events[:2]] == ["phone_call.queued", "phone_call.ringing"]
    await end(store, await store.call(1))
    (last,) = await store.archive.events(after=events[-1].seq, limit=10)
    assert (last.type, last.at, last.data["ended_reason"]) == ("phone_call.failed", NOON, "hangup")
    assert await store.archive.events(after=0, type_="phone_call.failed", limit=10) == [last]
    assert await store.archive.events(after=0, limit=2) == events[:2]


async def test_events_go_after_their_time_of_the_box_being_up_and_their_places_are_not_taken_again(store):
    old = await store.archive.events(after=0, limit=10)
    for _ in range(KEEP_H):
        await store.outbox.grow_older()
    assert await store.archive.events(after=0, limit=10) == []
    await end(store, await store.call(1))
    (event,) = await store.archive.events(after=old[-1].seq, limit=10)
    assert event.seq == old[-1].seq + 1
