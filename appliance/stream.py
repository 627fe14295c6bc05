"""A stream: the call's audio to the customer's server over a WebSocket, and the server's audio to the caller.

The engine's port outlives connections: while one is lost and the next not yet there, queued audio plays on, and what
the caller said is forgotten. Facts are not: a checkpoint that was passed, a key that was pressed are told after the
next `start`. Audio passes by here only until its messages are known: then the engine's own lane carries it.
"""

import ssl
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum

import trio
from structlog.typing import FilteringBoundLogger

from appliance.actions import StreamTo
from appliance.contracts import sfvopi_stream as sfvopi
from appliance.media import Media
from appliance.wire import Closed, Rejected, Unreachable, Wire, open_wire
from native import Cleared, Event, Lane, Played, Port, StreamPort

# After the server's deliberate end the caller still hears what is queued, so that a farewell is heard (sfvopi 7.9).
FAREWELL_LIMIT_S = 10
# Commands of one stream that wait for their audio; more than a checkpoint at each word of a long speech.
MARKS_LIMIT = 1000
# Facts kept over a gap of at most a minute: handshakes that never end, and the waits between them.
HELD_LIMIT = 2 * MARKS_LIMIT
# A connection's: a server whose messages differ in more than their audio is not worth the trouble.
LESSONS_LIMIT = 32

FAREWELL = 0


class Ending(Enum):
    CUSTOMER = "customer"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    LOST = "lost"


@dataclass(frozen=True)
class StreamEnd:
    ending: Ending
    frames_sent: int
    frames_dropped: int
    messages: int
    reconnects: int
    faults: Mapping[str, int] = field(default_factory=dict)


async def run_stream(
    order: StreamTo,
    *,
    media: Media,
    line: Port,
    call_id: str,
    stream_id: str,
    digits: trio.MemoryReceiveChannel[str],
    user_agent: str,
    log: FilteringBoundLogger,
    ears: Sequence[Port] = (),
    tls: ssl.SSLContext | None = None,
    waits_s: Sequence[float] = sfvopi.RECONNECT_WAITS_S,
) -> StreamEnd:
    """Runs until the stream is over; cancelled, it first closes the socket with 1000, within two seconds.

    `ears` hear beside the line what the server plays. `tls` None: the system's certificates decide.
    """
    before, after = sfvopi.media_frame(stream_id, order.codec, order.rate_hz)
    uplink = order.direction.to_customer
    engine = media.engine
    with closing(engine.stream(order.codec, order.rate_hz, prefix=before, suffix=after, uplink=uplink)) as port:
        if uplink:
            engine.connect(line, port)
        if order.plays:
            for sink in (line, *ears):
                engine.connect(port, sink)
        session = _Session(order, port, media, call_id, stream_id, user_agent, log.bind(stream=stream_id))
        with media.events_of(port) as events:
            return await session.run(events, digits, tls, waits_s)


class _Session:
    def __init__(
        self,
        order: StreamTo,
        port: StreamPort,
        media: Media,
        call_id: str,
        stream_id: str,
        user_agent: str,
        log: FilteringBoundLogger,
    ) -> None:
        self._order = order
        self._port = port
        self._media = media
        self._call_id = call_id
        self._stream_id = stream_id
        self._headers = {"User-Agent": user_agent, **order.headers}
        self._log = log
        # The connection, from its `start` until its end.
        self._wire: Wire | None = None
        # Facts to be told after the next `start`.
        self._held: deque[str] = deque(maxlen=HELD_LIMIT)
        # Commands given to the engine and not yet done: number and name, which a clear has none of.
        self._marks: deque[tuple[int, str]] = deque()
        self._last_mark = FAREWELL
        self._silent = trio.Event()
        self._messages = self._starts = self._lessons = 0
        self._faults: Counter[str] = Counter()

    async def run(
        self,
        events: trio.MemoryReceiveChannel[Event],
        digits: trio.MemoryReceiveChannel[str],
        tls: ssl.SSLContext | None,
        waits_s: Sequence[float],
    ) -> StreamEnd:
        ending = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_marks, events)
                nursery.start_soon(self._tell_digits, digits)
                with trio.move_on_after(self._order.timeout_s):
                    ending = await self._stay_connected(tls, sfvopi.Reconnection(waits_s))
                if ending is None:
                    ending = Ending.TIMEOUT
                else:
                    await self._let_finish()
                nursery.cancel_scope.cancel()
        finally:
            end = self._end(ending or Ending.TIMEOUT)
            self._log.info(
                "stream ended",
                ending=ending.value if ending else "call over",
                frames=end.frames_sent,
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
            frames_dropped=stats.dropped_frames,
            messages=self._messages + stats.lane_messages,
            reconnects=max(0, self._starts - 1),
            faults=dict(self._faults),
        )

    # -- connections -------------------------------------------------------------------------------------------------

    async def _stay_connected(self, tls: ssl.SSLContext | None, again: sfvopi.Reconnection) -> Ending:
        while True:
            ending: Ending | None = None
            reason = ""
            try:
                async with open_wire(self._order.url, headers=self._headers, tls=tls) as wire:
                    again.connected(trio.current_time())
                    closed = await self._converse(wire)
                    reason = str(closed)
                    if sfvopi.final_close(closed.code):
                        refused = closed.code == sfvopi.REFUSED_CLOSE_CODE
                        ending = Ending.REFUSED if refused else Ending.CUSTOMER
            except Unreachable as exc:
                reason = str(exc)
            except Rejected as exc:
                reason = str(exc)
                if exc.status in sfvopi.FINAL_STATUSES:
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
        wire.send(sfvopi.start(self._stream_id, self._call_id).encode())
        self._starts += 1
        self._log.info("stream started", reconnects=self._starts - 1)
        while self._held:
            wire.send(self._held.popleft().encode())
        self._wire = wire
        self._lessons = 0
        try:
            with wire.shared(self._port, self._media):
                while True:
                    self._obey(await wire.receive())
        except Closed as closed:
            return closed
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
                    self._tell(sfvopi.played(self._stream_id, self._pass(mark)))
                case Cleared(mark=mark):
                    # With it go the checkpoints that were queued before it, unanswered (sfvopi 7.7).
                    self._pass(mark)
                    self._tell(sfvopi.cleared(self._stream_id))

    def _pass(self, mark: int) -> str:
        """Forgets the marks up to this one, and gives its name."""
        name = ""
        while self._marks and self._marks[0][0] <= mark:
            name = self._marks.popleft()[1]
        return name

    async def _tell_digits(self, digits: trio.MemoryReceiveChannel[str]) -> None:
        async for digit in digits:
            self._tell(sfvopi.dtmf(self._stream_id, digit))

    def _tell(self, text: str) -> None:
        if self._wire is not None:
            self._wire.send(text.encode())
        else:
            self._held.append(text)

    # -- from the server ---------------------------------------------------------------------------------------------

    def _obey(self, message: str | bytes) -> None:
        self._messages += 1
        if isinstance(message, bytes):
            # Some servers send raw audio so, on a guess (sfvopi 7.1).
            self._fault("binary", "a binary frame is not part of the protocol")
            return
        command = sfvopi.parse(message, codec=self._order.codec, rate_hz=self._order.rate_hz)
        if isinstance(command, sfvopi.Fault):
            self._fault(command.kind, command.reason)
            return
        if command.stream_id not in (None, self._stream_id):
            self._fault("stream id", "a message names another stream; obeyed all the same")
        match command:
            case sfvopi.Play() if not self._order.plays:
                self._fault("one way", "audio for the caller on a stream that plays none")
            case sfvopi.Play(data=data, codec=codec, rate_hz=rate_hz):
                if data and not self._port.play(data, codec, rate_hz):
                    self._fault("full", "more than ten minutes of audio would wait")
                elif command.stream_id in (None, self._stream_id):
                    self._teach(message, command)
            case sfvopi.Clear() | sfvopi.Checkpoint() if len(self._marks) == MARKS_LIMIT:
                self._fault("marks", f"more than {MARKS_LIMIT} commands would wait")
            case sfvopi.Clear():
                self._port.clear(self._mark(""))
            case sfvopi.Checkpoint(name=name):
                self._port.checkpoint(self._mark(name))

    def _teach(self, text: str, play: sfvopi.Play) -> None:
        """Audio messages are much alike: the next ones of this kind need not come by here."""
        if self._wire is None or self._lessons == LESSONS_LIMIT or len(text) > Lane.MOST_BYTES:
            return
        self._lessons += 1
        around = sfvopi.around_payload(text, play, codec=self._order.codec, rate_hz=self._order.rate_hz)
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
