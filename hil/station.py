"""A line with our driver, used as a telephone: what the box does with it, without the box.

The line is opened as often as it is lost. Its call's sound is in an engine of this side, beside whatever the bench's
own is; the far end's keys, words and messages are kept as they come.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import trio

from drivers import sms
from drivers.bus import Bus
from drivers.errors import CommandError, LineError, LineLost
from drivers.line import (
    Alerting,
    Answered,
    Digit,
    Incoming,
    Line,
    LineEvent,
    LineState,
    Released,
    StateChanged,
    Texting,
)
from drivers.models import Sound
from drivers.sim import Pin
from drivers.userdata import join, split
from hil.network import Cause
from hil.sound import Circuit, Handset, Studio
from hil.subscriber import CallEnded
from hil.telephone import Talk
from hil.wires import Wires
from native import Engine

log = logging.getLogger(__name__)

# Between two tries to open a line: a device that was plugged in is found at the next.
REOPEN_S = 0.5


class Station:
    """hil.telephone.Telephone. `run` has to; `reads` says whose messages are ours to take off the SIM."""

    def __init__(
        self, wires: Wires, bus: Bus, studio: Studio, *, reads: Callable[[str], bool] = lambda sender: True
    ) -> None:
        self.wires = wires
        self.line: Line | None = None
        # Why it is not there, or was not.
        self.loss = ""
        self.bus = bus
        self._studio = studio
        self._reads = reads
        # One for all openings: what the SIM has refused is not sent again.
        self._pin = Pin(wires.pin) if wires.pin is not None else None
        self._talk: LineTalk | None = None
        self._rang: LineTalk | None = None
        self._texts: list[tuple[str, str]] = []
        self._parts: dict[tuple[str, int, int], dict[int, sms.Deliver]] = {}
        self._references = 0
        self._moved = trio.Event()
        self._wanted = True
        # From before its ports are opened until behind their closing.
        self._is_open = False
        self._opening = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    @property
    def number(self) -> str:
        return self.wires.number

    @property
    def is_analog(self) -> bool:
        return Sound.AT in self.wires.device.sound

    @property
    def can_be_busy(self) -> bool:
        """An analog line cannot refuse a call, and while it has one of its own it is nobody's partner."""
        return not self.is_analog

    @property
    def has_texts(self) -> bool:
        return not self.is_analog

    # --- the line over time ---

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self._until(lambda: self._wanted)
            self._is_open = True
            try:
                with trio.CancelScope() as self._opening:
                    async with self.wires.open(self.bus, self._pin) as line, trio.open_nursery() as self._nursery:
                        self.line = line
                        self._stir()
                        if isinstance(line, Texting):
                            self._nursery.start_soon(self._read, line)
                        while True:
                            self._take(await line.next_event())
            except* LineError as group:
                self.loss = str(_first(group))
                log.info("%s: %s", self.wires.name, self.loss)
            finally:
                self._is_open, self.line = False, None
                if self._talk is not None:
                    self._end(self._talk, Cause.OUT_OF_ORDER)
                self._stir()
            await trio.sleep(REOPEN_S)

    async def ready(self) -> None:
        """For a call, whichever way."""
        await self._until(lambda: self.line is not None and self.line.state is LineState.IDLE and self._talk is None)

    async def lost(self) -> str:
        """Why."""
        await self._until(lambda: self.line is None)
        return self.loss

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """As long as somebody else wants the ports."""
        self._wanted = False
        self._opening.cancel()
        try:
            await self._until(lambda: not self._is_open)
            yield
        finally:
            self._wanted = True
            self._stir()

    async def rest(self) -> None:
        """Whatever a test left here."""
        if self.line is not None and self._talk is not None:
            with suppress(LineError):
                await self.line.hang_up()
        self._rang = None

    def _need(self) -> Line:
        if self.line is None:
            raise LineLost(self.loss)
        return self.line

    # --- what it tells ---

    def _take(self, event: LineEvent) -> None:
        talk = self._talk
        match event:
            case Incoming(number):
                self._talk = self._rang = LineTalk(self, number)
            case Alerting() if talk is not None:
                talk.tell_alerting()
            case Answered() if talk is not None:
                talk.tell_answered()
            case Digit(digit) if talk is not None:
                talk.keys += digit
            case Released(cause) if talk is not None:
                self._end(talk, cause)
            case StateChanged():
                pass
            case _:
                log.warning("%s: %s of no call", self.wires.name, event)
        self._stir()

    def _end(self, talk: "LineTalk", cause: int) -> None:
        talk.tell_ended(cause)
        self._talk = None
        if self._rang is talk:
            self._rang = None

    def _stir(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            await self._moved.wait()

    # --- calls ---

    async def dial(self, number: str) -> Talk:
        line = self._need()
        talk = self._talk = LineTalk(self, number)
        try:
            await line.dial(number)
        except BaseException:
            self._talk = None
            raise
        await self.attach(talk, line)
        return talk

    async def rings(self) -> Talk:
        await self._until(lambda: self._rang is not None)
        assert self._rang is not None
        talk, self._rang = self._rang, None
        return talk

    @asynccontextmanager
    async def engaged(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._refuse)
            yield
            nursery.cancel_scope.cancel()

    async def _refuse(self) -> None:
        while True:
            talk = await self.rings()
            with suppress(CommandError):
                await talk.hang_up()

    async def give_up(self, talk: Talk) -> None:
        """A real network has its time."""
        await trio.lowlevel.checkpoint()

    async def attach(self, talk: "LineTalk", line: Line) -> None:
        """The call's sound, from the order until its end."""
        assert self._nursery is not None
        await self._nursery.start(self._carry, talk, line)

    async def _carry(self, talk: "LineTalk", line: Line, *, task_status: trio.TaskStatus[None]) -> None:
        if talk.is_over:
            task_status.started()
            return
        async with AsyncExitStack() as stack:
            try:
                port = await stack.enter_async_context(line.attach(self.engine))
            except LineLost:
                raise
            except LineError:
                # The call is over, and its end is told.
                task_status.started()
                return
            self._studio.listen(port, line.heard)
            circuit = Circuit(self.engine)
            circuit.add_source(self, port)
            circuit.add_sink(self, port)
            with self._studio.handset_in(circuit, talk) as talk.handset:
                task_status.started()
                await talk.ended()
            self._studio.forget(port)
            log.debug("%s: %s", self.wires.name, port.stats())

    @property
    def engine(self) -> Engine:
        return self._studio.engine

    # --- messages ---

    async def text(self, number: str, body: str) -> None:
        line = self._need()
        assert isinstance(line, Texting)
        self._references += 1
        for data in split(body, reference=self._references):
            await line.texts.send(sms.encode(sms.Submit(number, data)))

    async def texted(self, body: str) -> str:
        await self._until(lambda: any(text == body for _, text in self._texts))
        found = next(each for each in self._texts if each[1] == body)
        self._texts.remove(found)
        return found[0]

    async def _read(self, line: Texting) -> None:
        with suppress(LineLost):
            while True:
                received = await line.texts.receive()
                message = sms.decode(received.pdu)
                if isinstance(message, sms.Deliver) and self._reads(message.sender):
                    self._keep(message)
                    await line.texts.forget(received)

    def _keep(self, message: sms.Deliver) -> None:
        parts = {1: message}
        if (part := message.data.part) is not None:
            parts = self._parts.setdefault((message.sender, part.reference, part.total), {})
            parts[part.number] = message
            if len(parts) < part.total:
                return
            del self._parts[message.sender, part.reference, part.total]
        self._texts.append((message.sender, join([parts[number].data for number in sorted(parts)])))
        self._stir()


class LineTalk:
    """hil.telephone.Talk."""

    def __init__(self, station: Station, number: str | None) -> None:
        self.keys = ""
        self.number = number
        self.handset: Handset | None = None
        self.is_answered = False
        self._station = station
        self._cause: int | None = None
        self._alerting = trio.Event()
        self._answered = trio.Event()
        self._ended = trio.Event()

    @property
    def is_over(self) -> bool:
        return self._cause is not None

    async def alerting(self) -> None:
        await self._alerting.wait()
        if self._cause is not None:
            raise CallEnded(self._cause)

    async def answered(self) -> None:
        await self._answered.wait()
        if not self.is_answered and self._cause is not None:
            raise CallEnded(self._cause)

    async def ended(self) -> int:
        await self._ended.wait()
        assert self._cause is not None
        return self._cause

    async def answer(self) -> None:
        line = self._station._need()
        await line.answer()
        await self._station.attach(self, line)

    async def hang_up(self) -> None:
        await self._station._need().hang_up()

    async def say(self, samples: bytes) -> None:
        handset = self._sound()
        handset.say(samples)
        await handset.said()

    async def press(self, keys: str) -> None:
        await self._station._need().send_dtmf(keys)

    def heard(self) -> bytes:
        return self._sound().heard()

    def _sound(self) -> Handset:
        if self.handset is None:
            raise RuntimeError("no sound: the call was not answered")
        return self.handset

    # --- what became of it ---

    def tell_alerting(self) -> None:
        self._alerting.set()

    def tell_answered(self) -> None:
        self.is_answered = True
        self._alerting.set()
        self._answered.set()

    def tell_ended(self, cause: int) -> None:
        self._cause = cause
        if self.handset is not None:
            self.handset.put_down()
        for each in (self._alerting, self._answered, self._ended):
            each.set()


def _first(group: BaseExceptionGroup[LineError]) -> BaseException:
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc
