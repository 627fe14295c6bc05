"""An analog telephone line: a V.253 voice modem (FXO), with the call's audio in its AT port's own stream.

Orders are here, what happens by itself is in `drivers/fxowatch.py`, what it means in `drivers/analog.py`, what a modem
is asked in `drivers/voicemodem.py`, and what models and countries do their own way in `voicemodels.py`, `countries.py`.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from drivers.analog import ACTIVE
from drivers.countries import AnalogLine
from drivers.errors import CommandError, LineError
from drivers.fxowatch import FxoWatch
from drivers.line import Identity, LineEvent, LineState, Recoveries
from drivers.port import Port
from drivers.replies import CallStat
from drivers.voicemodels import VOICE_URCS, VoiceModel
from drivers.voicemodem import PROBES, VoiceModem
from drivers.voicetty import Device, VoiceTty, open_device
from native import Engine, Event, VoicePort, keys

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

    def __init__(self, modem: VoiceModem, watch: FxoWatch) -> None:
        self.name = modem.name
        self._modem = modem
        self._port = modem.port
        self._watch = watch
        self._call = watch.call
        self._order = trio.CancelScope()
        self._engine: Engine | None = None

    @property
    def state(self) -> LineState:
        return self._watch.state

    @property
    def identity(self) -> Identity:
        return self._watch.identity

    @property
    def recoveries(self) -> Recoveries:
        return self._modem.recoveries(repairs=self._modem.tty.escapes)

    async def next_event(self) -> LineEvent:
        return await self._watch.news.next()

    # --- orders ---

    async def dial(self, number: str) -> None:
        """Raises: ValueError for what is not a number; CommandError also while there is a call."""
        if not NUMBER.fullmatch(number):
            raise ValueError("not a number to dial")
        async with self._watch.turn:
            self._need(None, "ATD", "the line is in use")
            self._call.dialing(trio.current_time())
            self._watch.emit([])
            try:
                await self._obey(partial(self._modem.dial, number))
            except BaseException as exc:
                self._call.withdrawn()
                # Without a dial tone nothing is connected, or the relay has stuck in the last call, whatever was said.
                silent = isinstance(exc, CommandError) and exc.result.startswith("NO DIAL")
                await self._watch.put_on_hook(surely=silent)
                self._watch.emit([])
                raise

    async def answer(self) -> None:
        async with self._watch.turn:
            self._need(CallStat.INCOMING, "ATA", "nobody is calling")
            self._call.answering()
            try:
                await self._obey(self._modem.answer)
            except BaseException:
                await self._watch.put_on_hook()
                self._call.unanswered(trio.current_time())
                self._watch.look_soon()
                raise
            self._watch.emit(self._call.answered(trio.current_time()))

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
        async with self._watch.turn:
            if not self._call.decline():
                try:
                    await self._watch.end_call()
                finally:
                    # Cancelled half-way, it is gone on with by ourselves: a line left off-hook costs money.
                    self._watch.look_soon()

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
        self._watch.pressing_until = trio.current_time() + length_s + KEY_ECHO_S
        with contextlib.closing(
            engine.tone(keys(digits, on_ms=KEY_MS, off_ms=KEY_PAUSE_MS), level_dbm0=KEY_DBM0)
        ) as tones:
            engine.connect(tones, port)
            await trio.sleep(length_s)

    async def flash(self) -> None:
        """A recall (hook flash), for the exchange's or a PBX's services. Raises: CommandError, also without a call."""
        async with self._watch.turn:
            self._need(ACTIVE, "AT+VTS=!", "no call")
            try:
                await self._modem.flash()
            finally:
                self._call.disturbed(trio.current_time())
                self._watch.look_soon()

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
        self._watch.heard(event)


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
    tty = VoiceTty(device, lambda code: watch.coded(code))
    port = Port(tty, urcs=VOICE_URCS, probes=PROBES, name=name)
    modem = VoiceModem(name, model, line, port, tty)
    watch = FxoWatch(modem)
    # Also when all around is cancelled: the last commands' answers want to be heard.
    hearing, watching = trio.CancelScope(shield=True), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_within, hearing, port.listen)
        try:
            await watch.start()
            nursery.start_soon(_within, watching, watch.run)
            try:
                yield FxoLine(modem, watch)
            finally:
                # Its questions would be in the way.
                watching.cancel()
                await watch.leave_nothing()
        finally:
            hearing.cancel()
            nursery.cancel_scope.cancel()


async def _within(scope: trio.CancelScope, task: Callable[[], Awaitable[None]]) -> None:
    with scope:
        await task()
