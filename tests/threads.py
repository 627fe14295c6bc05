"""Threads of a test's own servers, which go on as long as it does: Trio counts none of them as at work."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def beside(work: Callable[..., object], *args: object) -> AsyncIterator[None]:
    """It must have been told to end when the block does."""
    thread = threading.Thread(target=work, args=args, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)
