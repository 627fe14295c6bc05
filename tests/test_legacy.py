"""What the older generation is told of a call, and when; the number in a name is the section of spec/phonevoice.md."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.call import Call, Direction, Ended, Kind, Reason, State
from appliance.events import canonical
from appliance.legacy import WAIT_S
from appliance.links import Links
from appliance.outbox import legacy_key
from appliance.store import Store, open_store
from drivers.line import Alerting, Answered
from tests.core import still

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=142)
LINKS = Links(b"k" * 32, "https://box.example")
URL = "https://crm.example/calls"
ORDERED = {"call_id": "call_873912bsd8", "webhook_url": URL}
HUNG_UP = Ended(Reason.HANGUP, 16)


@dataclass(frozen=True)
class Mp3:
    frames: int = 8000
    size_bytes: int = 4000
    sha256: str = "ab" * 32


class Told:
    """What is told, in its order."""

    def __init__(self, path: Path, store: Store) -> None:
        self._path = path
        self.store = store

    @property
    def all(self) -> list[tuple[str, str]]:
        with sqlite3.connect(self._path) as connection:
            query = "SELECT type, body FROM deliveries WHERE webhook = ? AND url = ? ORDER BY seq"
            return [(type_, body.decode()) for type_, body in connection.execute(query, (legacy_key(1), URL))]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.all]

    async def until_told(self, count: int) -> None:
        with trio.fail_after(3600):
            while len(self.all) < count:
                await still()

    async def call(self, uuid: str = "uuid-1", **facts: Any) -> Call:
        ordered: dict[str, Any] = {"kind": Kind.AGENT, "project": 1, "details": ORDERED, **facts}
        return await self.store.open_call(
            uuid=uuid,
            line="office",
            direction=Direction.OUTBOUND,
            from_="+33159133354",
            to="+33612345678",
            state=State.DIALING,
            started_at=NOON,
            route="{}",
            **ordered,
        )

    async def move(self, call: Call, *changes: Any, at: datetime = NOON) -> Call:
        for change in changes:
            call = call.apply(change, at)
            await self.store.save(call, told_at=at)
        return call

    async def talked(self, recorded: bool = True) -> tuple[Call, Path]:
        """A call that has ended, of which a recording may be on its way."""
        wav = Path("/data/uuid-1.wav")
        call = await self.move(await self.call(), Alerting(), Answered())
        if recorded:
            await self.store.recordings.open(call.id, wav)
        return await self.move(call, HUNG_UP, at=LATER), wav


@asynccontextmanager
async def opened(directory: Path, links: Links | None = LINKS) -> AsyncIterator[Told]:
    path = directory / "box.db"
    async with open_store(path, links=links) as store, trio.open_nursery() as nursery:
        nursery.start_soon(partial(store.legacy.run, now=lambda: LATER))
        yield Told(path, store)
        nursery.cancel_scope.cancel()


def envelope(event: str, at: datetime, **data: Any) -> tuple[str, str]:
    timestamp = int(at.timestamp())
    return event, canonical({"event": event, "call_id": "call_873912bsd8", "timestamp": timestamp, "data": data})


STARTED = envelope(
    "call.started", NOON, direction="outbound", **{"from": "+33159133354"}, to="+33612345678", status="in-progress"
)


def completed(recording_url: str | None) -> tuple[str, str]:
    return envelope("call.completed", LATER, duration_seconds=142, cost=0, recording_url=recording_url, analysis=None)


async def test_10_a_call_is_told_when_it_connects_and_once_more_when_its_recording_is_there(tmp_path):
    async with opened(tmp_path) as told:
        call, wav = await told.talked()
        assert told.all == [STARTED]
        await told.store.recordings.encoded(wav, Mp3(), LATER)
        url = LINKS.recording(call, wav.stem, LATER)
        assert "/rec/" in url
        assert told.all == [STARTED, completed(url)]


async def test_10_a_recording_that_is_there_before_the_end_is_told_with_it(tmp_path):
    async with opened(tmp_path) as told:
        call = await told.move(await told.call(), Answered())
        wav = Path("/data/uuid-1.wav")
        await told.store.recordings.open(call.id, wav)
        await told.store.recordings.encoded(wav, Mp3(), NOON)
        await told.move(call, HUNG_UP, at=LATER)
        assert told.all == [STARTED, completed(LINKS.recording(call, wav.stem, LATER))]


async def test_10_a_call_that_is_not_recorded_is_told_at_once(tmp_path):
    async with opened(tmp_path) as told:
        await told.talked(recorded=False)
        assert told.all == [STARTED, completed(None)]


async def test_10_what_turns_out_to_be_empty_is_waited_for_no_more(tmp_path):
    async with opened(tmp_path) as told:
        _, wav = await told.talked()
        await told.store.recordings.dropped(wav, LATER)
        assert told.all == [STARTED, completed(None)]


async def test_10_where_recordings_have_no_address_there_is_none(tmp_path):
    async with opened(tmp_path, links=None) as told:
        _, wav = await told.talked()
        await told.store.recordings.encoded(wav, Mp3(), LATER)
        assert told.all == [STARTED, completed(None)]


async def test_10_after_two_minutes_it_is_told_without_and_never_again(tmp_path, mock_clock):
    async with opened(tmp_path) as told:
        call, wav = await told.talked()
        await still()
        mock_clock.jump(WAIT_S - 1)
        await still()
        assert told.all == [STARTED]
        mock_clock.jump(1)
        await told.until_told(2)
        await told.store.recordings.encoded(wav, Mp3(), LATER)
        assert told.all == [STARTED, completed(None)]
        # The current generation is told again, as ever.
        kept = await told.store.call(call.id)
        assert kept
        assert kept.revision == 2


@pytest.mark.parametrize("recorded", [True, False])
async def test_10_the_end_that_was_not_told_before_a_crash_is_told_after_it(tmp_path, mock_clock, recorded):
    async with opened(tmp_path) as told:
        call, wav = await told.talked()
    async with opened(tmp_path) as told:
        if recorded:
            await told.store.recordings.encoded(wav, Mp3(), LATER)
        await still()
        mock_clock.jump(WAIT_S)
        await told.until_told(2)
        assert told.all == [STARTED, completed(LINKS.recording(call, wav.stem, LATER) if recorded else None)]


@pytest.mark.parametrize(
    ("end", "answered", "status"),
    [
        (Ended(Reason.REFUSED, 17), False, "busy"),
        (Ended(Reason.RING_TIMEOUT, 19), False, "no-answer"),
        (Ended(Reason.NO_LINE, 34), False, "failed"),
        (Ended(Reason.CUSTOMER, 16), False, "canceled"),
        (Ended(Reason.LINE_LOST, 27), True, "error"),
        (Ended(Reason.RESTART, 41), True, "error"),
    ],
)
async def test_10_every_other_end_is_a_failure_with_its_status_and_reason(tmp_path, end, answered, status):
    async with opened(tmp_path) as told:
        call = await told.call()
        await told.move(call, *([Answered()] if answered else []), end)
        failed = envelope("call.failed", NOON, status=status, reason=end.reason.value)
        assert told.all == ([STARTED, failed] if answered else [failed])


async def test_10_without_an_address_or_by_the_current_generation_nothing_is_told(tmp_path):
    async with opened(tmp_path) as told:
        for uuid, details in (("uuid-1", {}), ("uuid-2", ORDERED | {"webhook_url": ""})):
            await told.move(await told.call(uuid, details=details), Answered(), HUNG_UP)
        assert told.names == []
