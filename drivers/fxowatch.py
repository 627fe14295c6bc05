"""What goes on on an analog line by itself - rings, tones, codes, ends - and the events that come of it.

Two tasks: one takes the modem's news and never waits for it, the other does what has to be done about a call that is
over, a stream that the modem left, a modem that is silent. What it means is in `drivers/analog.py`.
"""

import contextlib
import logging
from collections.abc import Iterable

import trio

from drivers.analog import ACTIVE, AUDIBLE_PEAK, INTERWORKING, TEMPORARY_FAILURE, AnalogCall, report
from drivers.asking import News
from drivers.errors import CommandError, LineAbsent, LineLost
from drivers.line import Digit, Identity, LineEvent, LineState
from drivers.parsers import parse
from drivers.port import GONE
from drivers.replies import CallEnded, CallStat
from drivers.voicemodem import VoiceModem
from native import Dtmf, Event, PortFailed, StreamEnded, Tone, ToneEnded, Voice, VoiceCode, VoicePort

log = logging.getLogger(__name__)

# For leaving nothing behind when the line is closed: every way out of the stream, and the drop of DTR.
LEAVE_S = 12
# The engine keeps the peaks of a second.
LEVEL_S = 1.0
# Without a call: a modem that is dead is found before somebody needs it.
IDLE_CHECK_S = 60.0


class FxoWatch:
    """`news` ends when the line is lost. `call` is the call there is, if any; `turn` is held by who gives the modem
    orders.
    """

    def __init__(self, modem: VoiceModem) -> None:
        self.call = AnalogCall(
            modem.line, loop_codes=modem.model.loop_codes, number_after_rings=modem.model.number_after_rings
        )
        self.identity = Identity("", "", "", "", "")
        self.turn = trio.Lock()
        # Until then keys that are heard are our own.
        self.pressing_until = 0.0
        self._name = modem.name
        self._modem = modem
        self._port = modem.port
        self._hint = trio.Event()
        self._started = False
        self._check_due = 0.0
        self.news = News(modem.name, modem.port, lambda: self.state)

    @property
    def state(self) -> LineState:
        if self._port.lost is not None:
            return LineState.DOWN
        if not self._started:
            return LineState.STARTING
        return LineState.IN_USE if self.call.told else LineState.IDLE

    async def start(self) -> None:
        self.identity = await self._modem.start()
        self._started = True
        log.info("%s: %s %s, %s", self._name, self.identity.model, self.identity.firmware, self._modem.format.name)
        self._check_due = trio.current_time() + IDLE_CHECK_S
        self.emit([])

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear)
                nursery.start_soon(self._watch)
        except* LineLost:
            # Told by whoever takes the events.
            self.news.close()

    def look_soon(self) -> None:
        """Something may have to be done."""
        self._hint.set()

    # --- news ---

    async def _hear(self) -> None:
        while True:
            try:
                text = await self._port.urcs.receive()
            except trio.EndOfChannel:
                raise self._port.loss() from None
            self._take(text)
            self._hint.set()

    def _take(self, text: str) -> None:
        now = trio.current_time()
        if text == "RING":
            self._modem.rings += 1
            self.emit(self.call.ring(now))
        elif text.startswith("RINGING"):
            self.emit(self.call.code("r", now))
        elif (told := report(text)) is not None:
            self.emit(self.call.hear(told, now))
        elif isinstance(ended := parse(text), CallEnded) and self.call.stat is not CallStat.INCOMING:
            # The modem has left the line of its own accord.
            self.call.end(ended.cause or INTERWORKING)

    def heard(self, event: Event) -> None:
        now = trio.current_time()
        match event:
            case Dtmf(digit=digit):
                if self.call.stat is ACTIVE and now >= self.pressing_until:
                    self.emit([Digit(digit)])
            case Tone(kind=kind):
                self.emit(self.call.tone(kind, now))
            case ToneEnded(kind=kind):
                self.call.tone_ended(kind, now)
            case Voice():
                self.emit(self.call.voice(now))
            case VoiceCode(port, code):
                self.emit(self.call.code(code, now, speaking=port.stats().peak_given >= AUDIBLE_PEAK))
            case StreamEnded(port) if isinstance(port, VoicePort):
                self._modem.ended(port)
            case PortFailed():
                self._port.lose(GONE, LineAbsent)
        self._hint.set()

    def coded(self, character: str) -> None:
        """A code that came while the engine had not the stream."""
        now = trio.current_time()
        self._modem.rings += character == "R"
        self.emit(self.call.code(character, now))
        self._hint.set()

    def emit(self, events: Iterable[LineEvent]) -> None:
        self.news.tell(events)

    # --- what is to be done ---

    async def _watch(self) -> None:
        while True:
            with trio.move_on_at(self._due()):
                await self._hint.wait()
            self._hint = trio.Event()
            if (port := self._modem.lent) is not None:
                stats = port.stats()
                self.call.level(stats.peak_yielded, stats.peak_given, trio.current_time())
            self.emit(self.call.tick(trio.current_time()))
            if self.call.over:
                async with self.turn:
                    if self.call.over:
                        await self.end_call()
            elif self._is_stranded and not self.turn.locked():
                async with self.turn:
                    await self._rejoin()
            elif self._is_unwatched and not self.turn.locked():
                async with self.turn:
                    if self._is_unwatched:
                        await self._modem.hang_up()
            elif self.call.stat is None and trio.current_time() >= self._check_due:
                await self._check()

    def _due(self) -> float:
        now = trio.current_time()
        if self.call.stat is None:
            return self._check_due
        return min(self.call.due, now + LEVEL_S) if self._modem.lent is not None else self.call.due

    @property
    def _is_stranded(self) -> bool:
        """The modem has left a call's stream by itself: nobody hears anything any more."""
        off_hook = self.call.stat in (CallStat.DIALING, CallStat.ALERTING, ACTIVE)
        return off_hook and not self.call.over and not self._modem.tty.in_stream

    @property
    def _is_unwatched(self) -> bool:
        """No call is up, and the modem may be off-hook: an order was given up, and its undoing took too long."""
        return self.call.stat in (None, CallStat.INCOMING) and not self._modem.at_rest

    async def _rejoin(self) -> None:
        """Raises: LineLost."""
        if not self._is_stranded:
            return
        log.warning("%s: the modem left its stream", self._name)
        try:
            await self._modem.rejoin()
        except CommandError:
            self.call.end(TEMPORARY_FAILURE)
            self._hint.set()

    async def _check(self) -> None:
        """It answers, and is on-hook. Raises: LineLost."""
        async with self.turn:
            if self.call.stat is None and await self._modem.attempt("AT+FCLASS?") is None:
                await self._modem.hang_up()
        self._check_due = trio.current_time() + IDLE_CHECK_S

    async def end_call(self) -> None:
        """Raises: LineLost."""
        self.call.end()
        if not self._modem.at_rest:
            await self._modem.hang_up()
        self._check_due = trio.current_time() + IDLE_CHECK_S
        self.emit(self.call.released())

    async def put_on_hook(self, *, surely: bool = False) -> None:
        """After an order that was not carried out; also when all around is cancelled."""
        with trio.move_on_after(LEAVE_S, shield=True), contextlib.suppress(LineLost):
            await self._modem.hang_up(surely=surely)
        self._hint.set()

    async def leave_nothing(self) -> None:
        if self._port.lost is None and not self._modem.at_rest:
            await self.put_on_hook()
