"""The media engine's news, told to Trio: which port heard, played or failed, and that a tick has passed.

One task waits for the engine's one file descriptor. It knows ports and nothing of calls.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from appliance.soundcheck import received_s, sent_s
from native import BufferStats, DeviceStats, Engine, Event, Lane, Lanes, PcmStats, Port

# Events of one port that may wait for their listener: above a stream's marks, the most that can come at once.
EVENTS_BOUND = 1024
# Between two ticks, once: late enough to find most of what the next one is to play, early enough to be through by then.
LOOK_AFTER_S = 0.015


class Media:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # Events that came for a listener which did not keep up.
        self.lost_events = 0
        self._listeners: dict[Port, list[trio.MemorySendChannel[Event]]] = {}
        self._lanes = Lanes()
        self._wait = trio.CancelScope()

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
    def turns(self, lane: Lane, attend: Callable[[], None]) -> Iterator[None]:
        """The lane takes part in each turn; when it has news `attend` is called, which must not wait.

        There is a turn after each tick that made something, and at the latest LOOK_AFTER_S after the last.
        """
        self._lanes.add(lane, attend)
        self._plan()
        try:
            yield
        finally:
            self._lanes.remove(lane)

    async def run(self) -> None:
        """An engine that is ticked by hand has the turns taken here; in `open_media` they have a thread."""
        while True:
            with self._wait:
                await trio.lowlevel.wait_readable(self.engine.fd)
            for event in self.engine.events():
                self._tell(event)
            self._lanes.turn()
            self._wait = trio.CancelScope()
            self._plan()

    def carry(self) -> None:
        """From now on streams are carried past Python, however busy it is: by a thread, until the engine's end."""
        self._lanes.start(self.engine, LOOK_AFTER_S)

    def _plan(self) -> None:
        if self._lanes and not self._lanes.running:
            self._wait.deadline = min(self._wait.deadline, trio.current_time() + LOOK_AFTER_S)

    def _tell(self, event: Event) -> None:
        for listener in self._listeners.get(event.port, ()):
            try:
                listener.send_nowait(event)
            except trio.WouldBlock:
                self.lost_events += 1


@asynccontextmanager
async def open_media() -> AsyncIterator[Media]:
    """The engine on its own threads, and its news told, as long as the context lasts."""
    with Engine() as engine:
        media = Media(engine)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(media.run)
            media.carry()
            engine.start()
            yield media
            nursery.cancel_scope.cancel()


def audio_report(port: Port) -> dict[str, float]:
    """How a line's sound has fared in this call, for logs and /healthz; a peak of 0 is digital silence."""
    stats = port.stats()
    buffer: PcmStats | BufferStats
    report = {
        "received_s": round(received_s(stats), 2),
        "received_peak": stats.most_yielded,
        "sent_peak": stats.most_given,
    }
    match stats:
        case PcmStats():
            buffer, dropped_received, dropped_sent = stats, stats.dropped_downlink, stats.dropped_uplink
            report["sent_s"] = round(sent_s(stats), 2)
        case DeviceStats():
            buffer, dropped_received, dropped_sent = stats.downlink, stats.dropped_downlink, stats.dropped_uplink
            report["xruns"] = stats.input_xruns + stats.output_xruns
        case _:
            return report
    return {
        **report,
        "depth_ms": buffer.depth_ms,
        "drift_ppm": round(buffer.drift_ppm, 1),
        "underruns": buffer.underruns,
        "concealed": buffer.concealed,
        "overruns": buffer.overruns,
        "slips": buffer.slips,
        "dropped_received": dropped_received,
        "dropped_sent": dropped_sent,
    }
