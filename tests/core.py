"""The middle of the service: a Control with its store, media and shelf, for lines and customers of a test's own."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import trio
import trio.testing

from appliance.control import Control
from appliance.customer import open_customer
from appliance.links import Links
from appliance.media import Media, open_media
from appliance.shelf import Shelf
from appliance.store import Store, open_store
from native import Trust

# For threads that the test itself holds up.
LONGEST_STILL = 100


async def still() -> None:
    """Until no task can go on and no thread is at the disk. The engine ticks on: so a moment of real time, too."""
    for _ in range(LONGEST_STILL):
        await trio.testing.wait_all_tasks_blocked(0.01)
        if not trio.testing.active_thread_count():
            return


@dataclass(frozen=True)
class Core:
    """Trunks are the test's to add, before it is at work."""

    store: Store
    media: Media
    shelf: Shelf
    control: Control

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as base, trio.open_nursery() as nursery:
            await nursery.start(self.shelf.run)
            await nursery.start(self.control.run)
            for trunk in self.control.trunks:
                base.start_soon(trunk.keep)
            await still()
            yield
            nursery.cancel_scope.cancel()
            base.cancel_scope.cancel()


@asynccontextmanager
async def open_core(
    directory: Path,
    *,
    now: Callable[[], datetime],
    recordings: Path | None,
    links: Links | None = None,
    **options: Any,
) -> AsyncIterator[Core]:
    """Without `recordings` none are made. With `options` of Control."""
    async with (
        open_store(directory / "box.db", links=links) as store,
        open_media() as media,
        open_customer("test", tls=ssl.create_default_context()) as customer,
    ):
        shelf = Shelf(store.recordings, recordings or directory, now=now)
        control = Control(
            store=store,
            media=media,
            customer=customer,
            shelf=shelf if recordings else None,
            country="FR",
            user_agent="test",
            trust=Trust(),
            now=now,
            announcements=directory,
            **options,
        )
        yield Core(store, media, shelf, control)
