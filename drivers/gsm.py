"""A SIM as a line: a GSM or LTE module on an AT port, with its call's audio on a second tty.

Two tasks: one takes news and never waits for the module, the other asks - for the list of calls above all, which has
the last word (`drivers/evidence.py`). What a device does its own way is in `drivers/models.py`.
"""

import contextlib
import dataclasses
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

import trio

from drivers import replies
from drivers.errors import CommandError, CommandTimeout, LineLost
from drivers.evidence import OneCall
from drivers.line import AudioFlow, Digit, Identity, LineEvent, LineState, PcmAudio, StateChanged
from drivers.models import Model
from drivers.module import UNLISTED_LIMIT, AudioPath, Module
from drivers.port import Port, close_tty, open_tty
from drivers.replies import CallStat, Reply, parse

log = logging.getLogger(__name__)

# A consumer that is so far behind is not there.
EVENT_QUEUE = 1000
# Without a call: finds a ring that nobody told of, and a module that is dead.
IDLE_LOOK_S = 10
# When the list did not come, or came in pieces.
LOOK_AGAIN_S = 0.5
SURVEY_S = 60
SEARCHING_SURVEY_S = 10
# For leaving nothing behind: an order that failed, a line that is closed in a call.
LEAVE_S = 5

NUMBER = re.compile(r"\+?[0-9*#]{1,40}")
KEYS = re.compile(r"[0-9*#A-D]*")


@dataclasses.dataclass(frozen=True)
class Recoveries:
    """What went wrong on a line and was mended, since it was opened; each rung of the ladder has its count."""

    timeouts: int
    retries: int
    resyncs: int
    # Calls, answers and ends that only the list knew of, and calls that were nobody's.
    repairs: int
    noise: int
    urcs_lost: int


class GsmLine:
    """drivers.line.Line. Made by `open_gsm`."""

    def __init__(self, module: Module, open_pcm: Callable[[], Awaitable[int]]) -> None:
        self.name = module.name
        self._module = module
        self._port = module.port
        self._audio = AudioPath(module, open_pcm)
        self._call = OneCall()
        self._identity = Identity("", "", "", "", "")
        self._signal_dbm: int | None = None
        self._networks: dict[str, bool] = {}
        self._started = False
        self._settled = False
        self._strays = 0
        self._survey_due = 0.0
        self._told_state = LineState.STARTING
        # Orders (dial, answer, hang up) take turns, and so do looks at the list with what follows from them.
        self._order = trio.Lock()
        self._looking = trio.Lock()
        self._hint = trio.Event()
        self._tell, self._events = trio.open_memory_channel[LineEvent](EVENT_QUEUE)

    # --- what it is ---

    @property
    def state(self) -> LineState:
        if self._port.lost is not None:
            return LineState.DOWN
        if not self._started:
            return LineState.STARTING
        if self._call.told:
            return LineState.IN_USE
        return LineState.IDLE if self._registered else LineState.SEARCHING

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def signal_dbm(self) -> int | None:
        return self._signal_dbm

    @property
    def audio(self) -> PcmAudio | None:
        fd = self._audio.fd
        return PcmAudio(fd, self._module.model.chunk_bytes) if fd is not None else None

    @property
    def repairs(self) -> int:
        return self._call.repairs + self._strays

    @property
    def recoveries(self) -> Recoveries:
        port = self._port.counters
        return Recoveries(
            timeouts=port.timeouts,
            retries=self._module.retries,
            # The one at the start mended nothing.
            resyncs=max(0, port.resyncs - 1),
            repairs=self.repairs,
            noise=port.noise,
            urcs_lost=port.urcs_lost,
        )

    @property
    def _talking(self) -> bool:
        return self._call.stat is CallStat.ACTIVE

    @property
    def _registered(self) -> bool:
        """Calls are possible: circuit switched, or in LTE with IMS; without IMS, LTE alone carries none."""
        has = self._networks.get
        return bool(has("+CREG") or (has("+CEREG") and has("ims")))

    # --- orders ---

    async def next_event(self) -> LineEvent:
        try:
            return await self._events.receive()
        except trio.EndOfChannel:
            raise LineLost(self._port.lost or "closed") from None

    async def dial(self, number: str) -> None:
        """Raises: ValueError for what is not a number; CommandError also while there is a call."""
        if not NUMBER.fullmatch(number):
            raise ValueError("not a number to dial")
        async with self._order:
            self._need(None, "ATD", "the line is in use")
            try:
                await self._audio.on()
                # Somebody may have rung meanwhile.
                self._need(None, "ATD", "the line is in use")
                self._call.dialing()
                self._emit([])
                await self._place(f"ATD{number};")
            except BaseException:
                self._call.withdrawn()
                with trio.move_on_after(LEAVE_S, shield=True), contextlib.suppress(LineLost):
                    await self._leave_nothing()
                self._emit([])
                raise

    async def answer(self) -> None:
        async with self._order:
            self._need(CallStat.INCOMING, "ATA", "nobody is calling")
            await self._audio.on()
            try:
                await self._module.ask("ATA", tries=1)
            except CommandError as exc:
                self._take(parse(exc.result))
                await self._look()
                # Silence is no refusal: it may have been heard all the same.
                if not self._talking:
                    await self._audio.off()
                    raise
            self._hint.set()

    async def hang_up(self) -> None:
        async with self._order:
            self._call.hanging_up(trio.current_time())
            await self._module.drop_calls(ringing=True)
            await self._look()

    async def send_dtmf(self, digits: str) -> None:
        """As fast as the module takes them. Raises: ValueError for what is no key; CommandError without a call."""
        if not KEYS.fullmatch(digits):
            raise ValueError("not keys of a telephone")
        for digit in digits:
            self._need(CallStat.ACTIVE, "AT+VTS", "no call")
            # Not again after silence: it may have been heard.
            await self._module.ask(self._module.model.dtmf.format(digit), tries=1)

    def _need(self, stat: CallStat | None, order: str, otherwise: str) -> None:
        if self._port.lost is not None:
            raise LineLost(self._port.lost)
        if self._call.stat is not stat:
            raise CommandError(order, otherwise)

    async def _place(self, order: str) -> None:
        try:
            await self._module.ask(order, tries=1)
        except CommandError as exc:
            reply = parse(exc.result)
            # NO CARRIER is also what LTE says when it falls back for the call, and goes on with it. So this, and
            # silence, is news like any other: if there is no call, its end is told.
            if not isinstance(reply, replies.CallEnded) and not isinstance(exc.__cause__, CommandTimeout):
                raise
            self._take(reply)
        self._hint.set()

    # --- news ---

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
            raise self._port.lose("nobody takes the line's events") from None

    async def _hear(self) -> None:
        while True:
            with trio.move_on_at(self._call.number_due):
                try:
                    self._take(parse(await self._port.urcs.receive()))
                except trio.EndOfChannel:
                    raise LineLost(self._port.lost or "closed") from None
                self._hear_queued()
            self._emit(self._call.tick(trio.current_time()))

    def _hear_queued(self) -> None:
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._take(parse(self._port.urcs.receive_nowait()))

    def _take(self, reply: Reply) -> None:
        match reply:
            case replies.Ring() | replies.CallerId() | replies.CallReport() | replies.CallEnded():
                self._emit(self._call.hear(reply, trio.current_time()))
                self._hint.set()
            case replies.Tone(digit) if self._talking:
                self._emit([Digit(digit)])
            case replies.Flow(ready) if self._audio.fd is not None:
                self._emit([AudioFlow(ready)])
            case replies.Signal(dbm):
                self._signal_dbm = dbm
            case replies.Operator(name):
                self._identity = dataclasses.replace(self._identity, operator=name)
            case replies.Registration(network):
                self._note(network, reply.registered)
            case replies.Ims(registered):
                self._note("ims", registered)
            case replies.Restarted():
                raise self._port.lose("the module restarted")
            case replies.SimState(code) if code != "READY":
                raise self._port.lose(f"the SIM is gone: {code}")
            case replies.Unreadable():
                # Half of what could have been a call's news.
                self._hint.set()
            case _:
                pass

    def _note(self, network: str, registered: bool) -> None:
        if self._networks.get(network) is not registered:
            self._networks[network] = registered
            self._survey_due = 0
            self._hint.set()
            if self._started:
                self._emit([])

    # --- questions ---

    async def _watch(self) -> None:
        while True:
            with trio.move_on_at(self._look_due()):
                await self._hint.wait()
            self._hint = trio.Event()
            self._emit(self._call.tick(trio.current_time()))
            await self._look()
            if self._call.stat is None:
                if trio.current_time() >= self._survey_due:
                    await self._survey()
                await self._settle()

    def _look_due(self) -> float:
        now = trio.current_time()
        if self._module.unlisted:
            return now + LOOK_AGAIN_S
        if self._call.stat is not None:
            return self._call.look_due(now)
        return min(now + IDLE_LOOK_S, self._survey_due)

    async def _look(self) -> None:
        """Asks for the calls, and acts on them. Raises: LineLost."""
        async with self._looking:
            reports = await self._module.calls()
            # What was told before the list is older than the list.
            self._hear_queued()
            if reports is None:
                # A call with sound goes on without a list, as long as nothing says that it is over.
                goes_on = self._talking and not self._call.is_ending
                if self._module.unlisted >= UNLISTED_LIMIT and not goes_on:
                    raise self._port.lose("the module does not list its calls")
                return
            self._emit(self._call.listed(reports, trio.current_time()))
            if self._call.over:
                await self._release()
            elif self._call.strays:
                self._strays += 1
                await self._drop_strays()

    async def _release(self) -> None:
        """The next call finds the audio as this one found it; only then is the line free."""
        self._audio.let_go()
        reported = None
        if self._call.cause is None:
            for line in await self._module.attempt("AT+CEER") or ():
                if isinstance(reply := parse(line), replies.EndReport):
                    reported = reply.cause
        await self._audio.off()
        self._emit(self._call.released(reported))

    async def _drop_strays(self) -> None:
        log.warning("%s: dropping a call that is not ours", self.name)
        if self._call.stat is None:
            await self._module.drop_calls(ringing=False)
        else:
            # 22.030 6.5.5.1: a waiting caller hears busy, a call on hold is released.
            await self._module.attempt("AT+CHLD=0")

    async def _survey(self) -> None:
        for question in self._module.model.survey:
            for line in await self._module.attempt(question) or ():
                self._take(parse(line))
            if self._call.stat is not None:
                # Orders are waiting for their turn: the rest after the call.
                return
        self._survey_due = trio.current_time() + (SURVEY_S if self._registered else SEARCHING_SURVEY_S)

    async def _settle(self) -> None:
        """What the network is asked for, once in each registration."""
        if not self._registered or self._settled:
            self._settled = self._registered
            return
        self._settled = True
        for command in self._module.model.after_registration:
            await self._module.attempt(command, tries=1)

    # --- life ---

    async def _leave_nothing(self) -> None:
        had_sound = self._audio.fd is not None
        self._audio.let_go()
        await self._module.drop_calls(ringing=False)
        if had_sound:
            await self._audio.off()

    async def _start(self) -> None:
        self._identity = await self._module.start()
        await self._audio.check()
        # News of before we were there: what still matters is asked for.
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._port.urcs.receive_nowait()
        await self._survey()
        self._started = True
        log.info("%s: %s %s", self.name, self._identity.model, self._identity.firmware)
        self._emit([])
        self._hint.set()

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear)
                nursery.start_soon(self._watch)
        except* LineLost:
            # Told by whoever takes the events.
            self._tell.close()


@asynccontextmanager
async def open_gsm(name: str, model: Model, *, at_path: str, pcm_path: str) -> AsyncIterator[GsmLine]:
    """A line that is up; registered or not, as a SIM may have to wait for its network.

    Leaves no call behind, whichever way it is left.

    Raises:
        LineLost: it did not come up, with a sentence for people; in an exception group, like the body's errors.
    """
    fd = await open_tty(at_path)
    try:
        stream = trio.lowlevel.FdStream(os.dup(fd))
        async with stream, open_gsm_on(stream, name, model, open_pcm=partial(open_tty, pcm_path)) as line:
            yield line
    finally:
        close_tty(fd)


@asynccontextmanager
async def open_gsm_on(
    stream: trio.abc.Stream, name: str, model: Model, *, open_pcm: Callable[[], Awaitable[int]]
) -> AsyncIterator[GsmLine]:
    """On any stream; `open_pcm` gives a descriptor which the line closes by `close_tty`."""
    port = Port(stream, urcs=model.urcs)
    line = GsmLine(Module(name, model, port), open_pcm)
    # Also when all around is cancelled: the last commands' answers want to be heard.
    hearing = trio.CancelScope(shield=True)

    async def listen() -> None:
        with hearing:
            await port.listen()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        try:
            await line._start()
            nursery.start_soon(line._run)
            try:
                yield line
            finally:
                with trio.move_on_after(LEAVE_S, shield=True), contextlib.suppress(LineLost):
                    await line._leave_nothing()
        finally:
            hearing.cancel()
            nursery.cancel_scope.cancel()
