"""The media engine's news, told to Trio: which port heard, played or failed, and that a tick has passed.

One task waits for the engine's one file descriptor. It knows ports and nothing of calls.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from native import Engine, Event, Port

# Events of one port that may wait for their listener: above a stream's marks, the most that can come at once.
EVENTS_BOUND = 1024


class Media:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # Events that came for a listener which did not keep up.
        self.lost_events = 0
        self._listeners: dict[Port, list[trio.MemorySendChannel[Event]]] = {}
        self._ticks: dict[object, Callable[[], None]] = {}

    @contextmanager
    def events_of(self, port: Port) -> Iterator[trio.MemoryReceiveChannel[Event]]:
        """In order, from now on. Who is a thousand events behind loses the newest, and nobody else waits."""
        send, receive = trio.open_memory_channel[Event](EVENTS_BOUND)
        self._listeners.setdefault(port, []).append(send)
        try:
            with send, receive:
                yield receive
        finally:
            self._listeners[port].remove(send)
            if not self._listeners[port]:
                del self._listeners[port]

    @contextmanager
    def each_tick(self, wake: Callable[[], None]) -> Iterator[None]:
        """Calls `wake` after each tick that made frames, for all listeners in one wake-up; it must not wait."""
        key = object()
        self._ticks[key] = wake
        try:
            yield
        finally:
            del self._ticks[key]

    async def run(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.engine.fd)
            for event in self.engine.events():
                self._tell(event)
            for wake in list(self._ticks.values()):
                wake()

    def _tell(self, event: Event) -> None:
        for listener in self._listeners.get(event.port, ()):
            try:
                listener.send_nowait(event)
            except trio.WouldBlock:
                self.lost_events += 1


@asynccontextmanager
async def open_media() -> AsyncIterator[Media]:
    """The engine on its own thread, and its news told, as long as the context lasts."""
    with Engine() as engine:
        media = Media(engine)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(media.run)
            engine.start()
            yield media
            nursery.cancel_scope.cancel()
