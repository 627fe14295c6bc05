"""A stream: the call's audio to the customer's server over a WebSocket, and the server's audio to the caller.

The engine's port outlives connections: while there is none, queued audio plays on, and what the caller says is
forgotten, or kept where the app wants it. Facts are told after the next `start`: a checkpoint that was passed, a key
that was pressed. Audio passes by here only until its messages are known: then the engine's own lane carries it.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum

import trio
from structlog.typing import FilteringBoundLogger

from appliance.actions import Protocol, StreamTo
from appliance.contracts.sfvopi_stream import (
    FINAL_STATUSES,
    RECONNECT_WAITS_S,
    REFUSED_CLOSE_CODE,
    Plivo,
    Reconnection,
    Sfvopi,
    final_close,
)
from appliance.contracts.twilio_stream import Twilio
from appliance.dialect import Checkpoint, Clear, Dialect, Fault, Json, Play, Press, around_payload, text_of
from appliance.media import Media
from appliance.wire import Closed, Rejected, Unreachable, Wire, open_wire
from native import Cleared, Event, HopStats, Lane, Played, Port, StreamPort, Trust

# After the server's deliberate end the caller still hears what is queued, so that a farewell is heard (sfvopi 7.9).
FAREWELL_LIMIT_S = 10
# Commands of one stream that wait for their audio; more than a checkpoint at each word of a long speech.
MARKS_LIMIT = 1000
# Facts kept over a gap of at most a minute: handshakes that never end, and the waits between them.
HELD_LIMIT = 2 * MARKS_LIMIT
# A connection's: a server whose messages differ in more than their audio is not worth the trouble.
LESSONS_LIMIT = 32

FAREWELL = 0

DIALECTS: Mapping[Protocol, Callable[[StreamTo, str, str], Dialect]] = {
    Protocol.SFVOPI: Sfvopi,
    Protocol.PLIVO: Plivo,
    Protocol.TWILIO: Twilio,
}


class Ending(Enum):
    CUSTOMER = "customer"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    LOST = "lost"
    CALL_OVER = "call over"


@dataclass(frozen=True)
class StreamEnd:
    ending: Ending
    frames_sent: int
    # Of these: heard while there was no connection.
    frames_kept: int
    frames_dropped: int
    messages: int
    reconnects: int
    to_socket: HopStats
    to_engine: HopStats
    faults: Mapping[str, int] = field(default_factory=dict)


async def run_stream(
    order: StreamTo,
    *,
    media: Media,
    line: Port,
    call_id: str,
    fared: Callable[[StreamEnd], None] = lambda _: None,
    stream_id: str,
    digits: trio.MemoryReceiveChannel[str],
    press: Callable[[str], None],
    user_agent: str,
    log: FilteringBoundLogger,
    ears: Sequence[Port] = (),
    trust: Trust | None = None,
    waits_s: Sequence[float] = RECONNECT_WAITS_S,
) -> StreamEnd:
    """Runs until the stream is over; cancelled, it first closes the socket with 1000, within two seconds. Either way
    `fared` is told how it went.

    `digits` are keys that were heard, `press` is given those that are to be heard, and does not wait. `ears` hear
    beside the line what the server plays. `trust` None: the system's authorities.
    """
    dialect = DIALECTS[order.protocol](order, stream_id, call_id)
    before, after = dialect.media_frame()
    uplink = order.direction.to_customer
    engine = media.engine
    keep_s = order.keep_audio_s
    with closing(
        engine.stream(order.codec, order.rate_hz, prefix=before, suffix=after, uplink=uplink, keep_s=keep_s)
    ) as port:
        if uplink:
            engine.connect(line, port)
        if order.plays:
            for sink in (line, *ears):
                engine.connect(port, sink)
        session = _Session(order, dialect, port, media, press, user_agent, log.bind(stream=stream_id))
        with media.events_of(port) as events:
            try:
                return await session.run(events, digits, trust, waits_s)
            finally:
                fared(session.end)


class _Session:
    def __init__(
        self,
        order: StreamTo,
        dialect: Dialect,
        port: StreamPort,
        media: Media,
        press: Callable[[str], None],
        user_agent: str,
        log: FilteringBoundLogger,
    ) -> None:
        self._order = order
        self._dialect = dialect
        self._port = port
        self._media = media
        self._press = press
        self._began = trio.current_time()
        self._headers = {"User-Agent": user_agent, **order.headers}
        self._log = log
        # The connection, from its `start` until its end.
        self._wire: Wire | None = None
        # Facts to be told after the next `start`.
        self._held: deque[Json] = deque(maxlen=HELD_LIMIT)
        # Commands given to the engine and not yet done: number and name, which a clear has none of.
        self._marks: deque[tuple[int, str]] = deque()
        self._last_mark = FAREWELL
        self._silent = trio.Event()
        self._messages = self._starts = self._lessons = 0
        self._faults: Counter[str] = Counter()
        self.end = self._end(Ending.CALL_OVER)

    async def run(
        self,
        events: trio.MemoryReceiveChannel[Event],
        digits: trio.MemoryReceiveChannel[str],
        trust: Trust | None,
        waits_s: Sequence[float],
    ) -> StreamEnd:
        ending = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_marks, events)
                nursery.start_soon(self._tell_digits, digits)
                with trio.move_on_after(self._order.timeout_s):
                    ending = await self._stay_connected(trust, Reconnection(waits_s))
                if ending is None:
                    ending = Ending.TIMEOUT
                else:
                    await self._let_finish()
                nursery.cancel_scope.cancel()
        finally:
            end = self.end = self._end(ending or Ending.CALL_OVER)
            self._log.info(
                "stream ended",
                ending=end.ending.value,
                frames=end.frames_sent,
                kept=end.frames_kept,
                dropped=end.frames_dropped,
                messages=end.messages,
                reconnects=end.reconnects,
                faults=dict(end.faults),
            )
        return end

    def _end(self, ending: Ending) -> StreamEnd:
        stats = self._port.stats()
        return StreamEnd(
            ending=ending,
            frames_sent=stats.taken_frames,
            frames_kept=stats.kept_frames,
            # What was kept and is not sent by now never will be.
            frames_dropped=stats.dropped_frames + (stats.waiting_frames if self._order.keep_audio_s else 0),
            messages=self._messages + stats.lane_messages,
            reconnects=max(0, self._starts - 1),
            to_socket=stats.to_socket,
            to_engine=stats.to_engine,
            faults=dict(self._faults),
        )

    # -- connections -------------------------------------------------------------------------------------------------

    async def _stay_connected(self, trust: Trust | None, again: Reconnection) -> Ending:
        while True:
            ending: Ending | None = None
            reason = ""
            try:
                async with open_wire(self._order.url, headers=self._headers, trust=trust) as wire:
                    again.connected(trio.current_time())
                    closed = await self._converse(wire)
                    reason = str(closed)
                    if final_close(closed.code):
                        refused = closed.code == REFUSED_CLOSE_CODE
                        ending = Ending.REFUSED if refused else Ending.CUSTOMER
            except Unreachable as exc:
                reason = str(exc)
            except Rejected as exc:
                reason = str(exc)
                if exc.status in FINAL_STATUSES:
                    ending = Ending.REFUSED
            if ending is not None:
                self._log.info("stream closed by the server", reason=reason)
                return ending
            wait_s = again.lost(trio.current_time())
            self._log.warning("stream lost", reason=reason, wait_s=wait_s)
            if wait_s is None:
                return Ending.LOST
            await trio.sleep(wait_s)

    async def _converse(self, wire: Wire) -> Closed:
        for message in self._dialect.opening():
            self._say(wire, message)
        self._starts += 1
        self._log.info("stream started", reconnects=self._starts - 1)
        while self._held:
            self._say(wire, self._held.popleft())
        self._wire = wire
        self._lessons = 0
        try:
            with wire.shared(self._port, self._media):
                while True:
                    self._obey(await wire.receive())
        except Closed as closed:
            return closed
        except trio.Cancelled:
            for message in self._dialect.closing():
                self._say(wire, message)
            raise
        finally:
            self._wire = None

    async def _let_finish(self) -> None:
        self._port.checkpoint(FAREWELL)
        with trio.move_on_after(FAREWELL_LIMIT_S):
            await self._silent.wait()

    # -- to the server -----------------------------------------------------------------------------------------------

    async def _tell_marks(self, events: trio.MemoryReceiveChannel[Event]) -> None:
        async for event in events:
            match event:
                case Played(mark=mark) if mark == FAREWELL:
                    self._silent.set()
                case Played(mark=mark):
                    for name in self._pass(mark)[-1:]:
                        self._tell(self._dialect.played(name))
                case Cleared(mark=mark):
                    # With it go the checkpoints that were queued before it; the last of these is its own.
                    for message in self._dialect.cleared([name for name in self._pass(mark) if name]):
                        self._tell(message)

    def _pass(self, mark: int) -> list[str]:
        """Forgets the marks up to this one, and gives their names."""
        names = []
        while self._marks and self._marks[0][0] <= mark:
            names.append(self._marks.popleft()[1])
        return names

    async def _tell_digits(self, digits: trio.MemoryReceiveChannel[str]) -> None:
        async for digit in digits:
            self._tell(self._dialect.dtmf(digit, round(1000 * (trio.current_time() - self._began))))

    def _tell(self, message: Json) -> None:
        if self._wire is not None:
            self._say(self._wire, message)
        else:
            self._held.append(message)

    def _say(self, wire: Wire, message: Json) -> None:
        wire.pause()
        wire.send(text_of(self._dialect.numbered(message, self._port.next_number)).encode())

    # -- from the server ---------------------------------------------------------------------------------------------

    def _obey(self, message: str | bytes) -> None:
        self._messages += 1
        if isinstance(message, bytes):
            # Some servers send raw audio so, on a guess (sfvopi 7.1).
            self._fault("binary", "a binary frame is not part of the protocol")
            return
        command = self._dialect.parse(message)
        if isinstance(command, Fault):
            self._fault(command.kind, command.reason)
            return
        if command.stream_id not in (None, self._dialect.stream_id):
            self._fault("stream id", "a message names another stream; obeyed all the same")
        match command:
            case Play() if not self._order.plays:
                self._fault("one way", "audio for the caller on a stream that plays none")
            case Play(data=data, codec=codec, rate_hz=rate_hz):
                if data and not self._port.play(data, codec, rate_hz):
                    self._fault("full", "more than ten minutes of audio, or 128 MiB, would wait")
                elif command.stream_id in (None, self._dialect.stream_id):
                    self._teach(message, command)
            case Clear() | Checkpoint() if len(self._marks) == MARKS_LIMIT:
                self._fault("marks", f"more than {MARKS_LIMIT} commands would wait")
            case Clear():
                self._port.clear(self._mark(""))
            case Checkpoint(name=name):
                self._port.checkpoint(self._mark(name))
            case Press(digits=digits):
                self._press(digits)

    def _teach(self, text: str, play: Play) -> None:
        """Audio messages are much alike: the next ones of this kind need not come by here."""
        if self._wire is None or self._lessons == LESSONS_LIMIT or len(text) > Lane.MOST_BYTES:
            return
        self._lessons += 1
        around = around_payload(text, play, self._dialect.parse)
        if around is not None:
            self._wire.learn(*around, play.codec, play.rate_hz)

    def _mark(self, name: str) -> int:
        self._last_mark += 1
        self._marks.append((self._last_mark, name))
        return self._last_mark

    def _fault(self, kind: str, reason: str) -> None:
        """Each kind is logged once a stream; the count stands in its last line."""
        self._faults[kind] += 1
        if self._faults[kind] == 1:
            self._log.warning("message dropped" if kind != "stream id" else "message odd", kind=kind, reason=reason)
