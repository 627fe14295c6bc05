"""An analog telephone line: a V.253 voice modem (FXO), with the call's audio in its AT port's own stream.

Orders are here, and what happens by itself. What it means is in `drivers/analog.py`, what a modem is asked in
`drivers/voicemodem.py`, and what models and countries do their own way in `drivers/voicemodels.py`, `countries.py`.
"""

import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

import trio

from drivers.analog import ACTIVE, AUDIBLE_PEAK, INTERWORKING, TEMPORARY_FAILURE, AnalogCall, report
from drivers.countries import AnalogLine
from drivers.errors import CommandError, LineError, LineLost
from drivers.line import Digit, Identity, LineEvent, LineState, Recoveries, StateChanged
from drivers.parsers import parse
from drivers.port import GONE, Port
from drivers.replies import CallEnded, CallStat
from drivers.voicemodels import VOICE_URCS, VoiceModel
from drivers.voicemodem import PROBES, VoiceModem
from drivers.voicetty import Device, VoiceTty, open_device
from native import Dtmf, Engine, Event, PortFailed, StreamEnded, Tone, ToneEnded, Voice, VoiceCode, VoicePort, keys

log = logging.getLogger(__name__)

# A consumer that is so far behind is not there.
EVENT_QUEUE = 1000
# For leaving nothing behind when the line is closed: every way out of the stream, and the drop of DTR.
LEAVE_S = 12
# The engine keeps the peaks of a second.
LEVEL_S = 1.0
# Without a call: a modem that is dead is found before somebody needs it.
IDLE_CHECK_S = 60.0
# Each a bit louder than the speech around it: ETSI ES 201 235-2 has -11 and -9 dBV, at 600 ohm -8.8 and -6.8 dBm.
KEY_DBM0 = -8.0
KEY_MS, KEY_PAUSE_MS = 100, 100
# What we send comes back, and the modem hears keys in it.
KEY_ECHO_S = 0.2

NUMBER = re.compile(r"\+?[0-9*#]{1,40}")
KEYS = re.compile(r"[0-9*#A-D]*")


class FxoLine:
    """drivers.line.Line. Made by `open_fxo`."""

    signal_dbm = None
    radio = None

    def __init__(self, modem: VoiceModem) -> None:
        self.name = modem.name
        self.identity = Identity("", "", "", "", "")
        self._modem = modem
        self._port = modem.port
        self._call = AnalogCall(
            modem.line, loop_codes=modem.model.loop_codes, number_after_rings=modem.model.number_after_rings
        )
        self._turn = trio.Lock()
        self._order = trio.CancelScope()
        self._hint = trio.Event()
        self._started = False
        self._told_state = LineState.STARTING
        self._check_due = 0.0
        self._engine: Engine | None = None
        self._pressing_until = 0.0
        self._tell, self._events = trio.open_memory_channel[LineEvent](EVENT_QUEUE)

    @property
    def state(self) -> LineState:
        if self._port.lost is not None:
            return LineState.DOWN
        if not self._started:
            return LineState.STARTING
        return LineState.IN_USE if self._call.told else LineState.IDLE

    @property
    def recoveries(self) -> Recoveries:
        port = self._port.counters
        return Recoveries(
            timeouts=port.timeouts,
            retries=self._modem.retries,
            # The one at the start mended nothing.
            resyncs=max(0, port.resyncs - 1),
            repairs=self._modem.tty.escapes,
            noise=port.noise,
            urcs_lost=port.urcs_lost,
            silent_s=port.silent_s,
        )

    async def next_event(self) -> LineEvent:
        try:
            return await self._events.receive()
        except trio.EndOfChannel:
            raise self._port.loss() from None

    # --- orders ---

    async def dial(self, number: str) -> None:
        """Raises: ValueError for what is not a number; CommandError also while there is a call."""
        if not NUMBER.fullmatch(number):
            raise ValueError("not a number to dial")
        async with self._turn:
            self._need(None, "ATD", "the line is in use")
            self._call.dialing(trio.current_time())
            self._emit([])
            try:
                await self._obey(partial(self._modem.dial, number))
            except BaseException as exc:
                self._call.withdrawn()
                # Without a dial tone nothing is connected, or the relay has stuck in the last call, whatever was said.
                silent = isinstance(exc, CommandError) and exc.result.startswith("NO DIAL")
                await self._put_on_hook(surely=silent)
                self._emit([])
                raise

    async def answer(self) -> None:
        async with self._turn:
            self._need(CallStat.INCOMING, "ATA", "nobody is calling")
            self._call.answering()
            try:
                await self._obey(self._modem.answer)
            except BaseException:
                await self._put_on_hook()
                self._call.unanswered(trio.current_time())
                self._hint.set()
                raise
            self._emit(self._call.answered(trio.current_time()))

    async def _obey(self, order: Callable[[], Awaitable[None]]) -> None:
        """Unless somebody hangs up meanwhile."""
        with trio.CancelScope() as self._order:
            try:
                await order()
            except CommandError:
                # What was cut short has no result, and is not to be told as a refusal.
                await trio.lowlevel.checkpoint_if_cancelled()
                raise
        if self._order.cancelled_caught:
            raise CommandError("AT", "not sent: hung up")

    async def hang_up(self) -> None:
        """A call that rings can't be refused, only answered: it is left to ring, and Released when it does not."""
        self._order.cancel()
        async with self._turn:
            if not self._call.decline():
                try:
                    await self._end_call()
                finally:
                    # Cancelled half-way, it is gone on with by ourselves: a line left off-hook costs money.
                    self._hint.set()

    async def send_dtmf(self, digits: str) -> None:
        """Into the stream, by the engine: +VTS would want it left, and both ends would hear nothing meanwhile.

        Returns when they are sent. Raises: ValueError for what is no key; CommandError without a call.
        """
        if not KEYS.fullmatch(digits):
            raise ValueError("not keys of a telephone")
        self._need(ACTIVE, "AT+VTS", "no call")
        engine, port = self._engine, self._modem.lent
        if engine is None or port is None:
            raise CommandError("AT+VTS", "nobody has the call's sound")
        if not digits:
            return
        length_s = len(digits) * (KEY_MS + KEY_PAUSE_MS) / 1000
        self._pressing_until = trio.current_time() + length_s + KEY_ECHO_S
        with contextlib.closing(
            engine.tone(keys(digits, on_ms=KEY_MS, off_ms=KEY_PAUSE_MS), level_dbm0=KEY_DBM0)
        ) as tones:
            engine.connect(tones, port)
            await trio.sleep(length_s)

    async def flash(self) -> None:
        """A recall (hook flash), for the exchange's or a PBX's services. Raises: CommandError, also without a call."""
        async with self._turn:
            self._need(ACTIVE, "AT+VTS=!", "no call")
            try:
                await self._modem.flash()
            finally:
                self._call.disturbed(trio.current_time())
                self._hint.set()

    def _need(self, stat: CallStat | None, order: str, otherwise: str) -> None:
        if self._port.lost is not None:
            raise self._port.loss()
        if self._call.stat is not stat or self._call.over:
            raise CommandError(order, otherwise)

    # --- sound ---

    @asynccontextmanager
    async def attach(self, engine: Engine) -> AsyncIterator[VoicePort]:
        await trio.lowlevel.checkpoint()
        if self._port.lost is not None:
            raise self._port.loss()
        if not self._modem.tty.in_stream or self._modem.lent is not None:
            raise LineError("no call")
        with contextlib.closing(self._modem.lend(engine)) as port:
            self._engine = engine
            try:
                yield port
            finally:
                self._engine = None
                if self._modem.lent is port:
                    self._modem.take_back()

    def heard(self, event: Event) -> None:
        now = trio.current_time()
        match event:
            case Dtmf(digit=digit):
                if self._call.stat is ACTIVE and now >= self._pressing_until:
                    self._emit([Digit(digit)])
            case Tone(kind=kind):
                self._emit(self._call.tone(kind, now))
            case ToneEnded(kind=kind):
                self._call.tone_ended(kind, now)
            case Voice():
                self._emit(self._call.voice(now))
            case VoiceCode(port, code):
                self._emit(self._call.code(code, now, speaking=port.stats().peak_given >= AUDIBLE_PEAK))
            case StreamEnded(port) if isinstance(port, VoicePort):
                self._modem.ended(port)
            case PortFailed():
                self._port.lose(GONE)
        self._hint.set()

    def coded(self, character: str) -> None:
        """A code that came while the engine had not the stream."""
        now = trio.current_time()
        self._modem.rings += character == "R"
        self._emit(self._call.code(character, now))
        self._hint.set()

    # --- what happens by itself ---

    async def start(self) -> None:
        self.identity = await self._modem.start()
        self._started = True
        log.info("%s: %s %s, %s", self.name, self.identity.model, self.identity.firmware, self._modem.format.name)
        self._check_due = trio.current_time() + IDLE_CHECK_S
        self._emit([])

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear)
                nursery.start_soon(self._watch)
        except* LineLost:
            # Told by whoever takes the events.
            self._tell.close()

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
            self._emit(self._call.ring(now))
        elif text.startswith("RINGING"):
            self._emit(self._call.code("r", now))
        elif (told := report(text)) is not None:
            self._emit(self._call.hear(told, now))
        elif isinstance(ended := parse(text), CallEnded) and self._call.stat is not CallStat.INCOMING:
            # The modem has left the line of its own accord.
            self._call.end(ended.cause or INTERWORKING)

    async def _watch(self) -> None:
        while True:
            with trio.move_on_at(self._due()):
                await self._hint.wait()
            self._hint = trio.Event()
            if (port := self._modem.lent) is not None:
                stats = port.stats()
                self._call.level(stats.peak_yielded, stats.peak_given, trio.current_time())
            self._emit(self._call.tick(trio.current_time()))
            if self._call.over:
                async with self._turn:
                    if self._call.over:
                        await self._end_call()
            elif self._is_stranded and not self._turn.locked():
                async with self._turn:
                    await self._rejoin()
            elif self._call.stat is None and trio.current_time() >= self._check_due:
                await self._check()

    def _due(self) -> float:
        now = trio.current_time()
        if self._call.stat is None:
            return self._check_due
        return min(self._call.due, now + LEVEL_S) if self._modem.lent is not None else self._call.due

    @property
    def _is_stranded(self) -> bool:
        """The modem has left a call's stream by itself: nobody hears anything any more."""
        off_hook = self._call.stat in (CallStat.DIALING, CallStat.ALERTING, ACTIVE)
        return off_hook and not self._call.over and not self._modem.tty.in_stream

    async def _rejoin(self) -> None:
        """Raises: LineLost."""
        if not self._is_stranded:
            return
        log.warning("%s: the modem left its stream", self.name)
        try:
            await self._modem.rejoin()
        except CommandError:
            self._call.end(TEMPORARY_FAILURE)
            self._hint.set()

    async def _check(self) -> None:
        """It answers, and is on-hook. Raises: LineLost."""
        async with self._turn:
            if self._call.stat is None and await self._modem.attempt("AT+FCLASS?") is None:
                await self._modem.hang_up()
        self._check_due = trio.current_time() + IDLE_CHECK_S

    async def _end_call(self) -> None:
        """Raises: LineLost."""
        self._call.end()
        if self._call.stat is not None or self._modem.tty.in_stream:
            await self._modem.hang_up()
        self._check_due = trio.current_time() + IDLE_CHECK_S
        self._emit(self._call.released())

    async def _put_on_hook(self, *, surely: bool = False) -> None:
        """After an order that was not carried out; also when all around is cancelled."""
        with trio.move_on_after(LEAVE_S, shield=True), contextlib.suppress(LineLost):
            await self._modem.hang_up(surely=surely)

    async def leave_nothing(self) -> None:
        if self._port.lost is None and (self._call.stat not in (None, CallStat.INCOMING) or self._modem.tty.in_stream):
            await self._put_on_hook()

    def _emit(self, events: Iterable[LineEvent]) -> None:
        """Also a change of state, if there is one. Of a lost line nothing is told but that."""
        if self._port.lost is not None:
            return
        for event in events:
            log.debug("%s: %s", self.name, event)
            self._send(event)
        if self.state is not self._told_state:
            self._told_state = self.state
            log.info("%s: %s", self.name, self.state.value)
            self._send(StateChanged(self.state))

    def _send(self, event: LineEvent) -> None:
        try:
            self._tell.send_nowait(event)
        except trio.WouldBlock:
            self._port.lose("nobody takes the line's events")


@asynccontextmanager
async def open_fxo(name: str, model: VoiceModel, line: AnalogLine, *, at_path: str) -> AsyncIterator[FxoLine]:
    """A line that is up; whether it is connected to an exchange is not known until it is used.

    Leaves no call behind, whichever way it is left.

    Raises:
        LineLost: it did not come up, with a sentence for people; in an exception group, like the body's errors.
    """
    device = await open_device(at_path)
    try:
        async with open_fxo_on(device, name, model, line) as fxo:
            yield fxo
    finally:
        with trio.CancelScope(shield=True):
            await device.aclose()


@asynccontextmanager
async def open_fxo_on(device: Device, name: str, model: VoiceModel, line: AnalogLine) -> AsyncIterator[FxoLine]:
    """On any device, which stays the caller's."""
    tty = VoiceTty(device, lambda code: fxo.coded(code))
    port = Port(tty, urcs=VOICE_URCS, probes=PROBES)
    fxo = FxoLine(VoiceModem(name, model, line, port, tty))
    # Also when all around is cancelled: the last commands' answers want to be heard.
    hearing, watching = trio.CancelScope(shield=True), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_within, hearing, port.listen)
        try:
            await fxo.start()
            nursery.start_soon(_within, watching, fxo.run)
            try:
                yield fxo
            finally:
                # Its questions would be in the way.
                watching.cancel()
                await fxo.leave_nothing()
        finally:
            hearing.cancel()
            nursery.cancel_scope.cancel()


async def _within(scope: trio.CancelScope, task: Callable[[], Awaitable[None]]) -> None:
    with scope:
        await task()
