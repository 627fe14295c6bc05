"""What goes on on a line by itself - news, calls, the network - and the events that come of it.

Two tasks: one takes news and never waits for the module, the other asks; for the list of calls above all, which has
the last word (`drivers/evidence.py`).
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

import trio

from drivers import replies
from drivers.asking import News
from drivers.audio import Audio
from drivers.errors import LineLost
from drivers.evidence import OneCall
from drivers.line import Digit, Identity, LineEvent, LineState
from drivers.module import UNLISTED_LIMIT_S, Module, is_there, is_up
from drivers.parsers import parse
from drivers.radio import Radio
from drivers.replies import CallEnded, CallerId, CallMoved, CallReport, CallStat, CallWaiting, Reply, Ring
from drivers.sim import Sim
from native import Dtmf, Event, Port, Tone, ToneEnded, Voice

log = logging.getLogger(__name__)

# Without a call: finds a ring that nobody told of, and a module that is dead.
IDLE_LOOK_S = 10
# When the list did not come, or came in pieces.
LOOK_AGAIN_S = 0.5
SURVEY_S = 60
SEARCHING_SURVEY_S = 10
# Calls that waited for the registration, or for the end of another, ring in the first seconds, and must not wait for
# the network's answers.
SETTLE_S = 5
# A full uplink buffer is empty by then (EC25 takes 100 ms at once): if it has not said so, that was lost, and the far
# side would hear nothing for the rest of the call.
FULL_S = 2
# How long ATD and ATA are waited for when a report shows their call in this state. At work they must not be disturbed,
# as a byte typed may abort them (V.250 5.6.1); done, their result is late or lost.
ORDER_LIMITS_S: Mapping[CallStat, float] = {
    CallStat.DIALING: float("inf"),
    CallStat.ALERTING: float("inf"),
    CallStat.ACTIVE: 0,
}
# For our call to end alone; after that AT+CHUP ends all of them.
SPARE_S = 4
# A key is pressed for 40 ms at least, and as long not (Q.24): sooner it is the same again, told twice.
KEY_S = 0.08
# A module that restarts is off the bus by then, or will not go.
LEAVES_BUS_S = 15


class Watch:
    """`news` ends when the line is lost. `call` is the call there is, if any."""

    def __init__(self, module: Module, sim: Sim, audio: Audio, call: OneCall) -> None:
        self.call = call
        self.identity = Identity("", "", "", "", "")
        self.radio = Radio()
        self.strays = 0
        # Of the wait for ATD or ATA, while there is one.
        self.order = trio.CancelScope()
        # Told whatever the module says that is nothing to calls.
        self.on_other: Callable[[str], None] = lambda line: None
        self._name = module.name
        self._module = module
        self._port = module.port
        self._sim = sim
        self._audio = audio
        self._started = False
        self._survey_due = 0.0
        self._settle_due = float("inf")
        self._sim_doubted = False
        # There was more than one call in the last list.
        self._several = False
        # The uplink buffer is full, and asked about no later than that.
        self._full_until = float("inf")
        self._hold: Callable[[bool], None] | None = None
        # The call's sound, while somebody has it, and the country whose tones are looked for in it.
        self._ear: Port | None = None
        self._country: str | None = None
        self._key, self._key_at = "", float("-inf")
        self._looking = trio.Lock()
        self._hint = trio.Event()
        self.news = News(module.name, module.port, lambda: self.state)

    @property
    def state(self) -> LineState:
        if self._port.lost is not None:
            return LineState.DOWN
        if not self._started:
            return LineState.STARTING
        if self.call.told:
            return LineState.IN_USE
        return LineState.IDLE if self.radio.callable else LineState.SEARCHING

    async def start(self) -> None:
        await self._module.wake()
        await self._sim.need()
        await self._audio.check()
        for command in list(self._module.unset):
            await self._module.set_up(command)
        self.identity = await self._module.identify()
        # News of before we were there: what still matters is asked for.
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._port.urcs.receive_nowait()
        await self._survey()
        self._started = True
        log.info("%s: %s %s", self._name, self.identity.model, self.identity.firmware)
        self.emit([])
        self._hint.set()

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear)
                nursery.start_soon(self._watch)
                nursery.start_soon(self._audio.run)
        except* LineLost:
            # Told by whoever takes the events.
            self.news.close()

    def look_soon(self) -> None:
        self._hint.set()

    # --- news ---

    def emit(self, events: Iterable[LineEvent]) -> None:
        if self._port.lost is None:
            self._audio.moved()
            self._listen_for(self.call.doubt.country if self.call.doubt else None)
        self.news.tell(events)

    async def _hear(self) -> None:
        while True:
            with trio.move_on_at(min(self.call.due, self._full_until)):
                try:
                    self.take(parse(await self._port.urcs.receive()))
                except trio.EndOfChannel:
                    raise self._port.loss() from None
                self._hear_queued()
            self._pass_time()
            if trio.current_time() >= self._full_until:
                self._flow(True)

    def _hear_queued(self) -> None:
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self.take(parse(self._port.urcs.receive_nowait()))

    def take(self, reply: Reply) -> None:
        match reply:
            case Ring() | CallerId() | CallReport() | CallMoved() | CallWaiting() | CallEnded():
                self.emit(self.call.hear(reply, trio.current_time()))
                self._hint.set()
                if isinstance(reply, CallReport | CallMoved) and (stat := self.call.stat) and stat in ORDER_LIMITS_S:
                    self.order.deadline = trio.current_time() + ORDER_LIMITS_S[stat]
            case replies.Tone(digit) if self._module.hears_keys:
                self.key(digit)
            case replies.Flow(ready) if self.call.stat is not None:
                self._flow(ready)
            case replies.Signal():
                self.radio = self.radio.after(reply)
            case replies.Operator(name):
                self.radio = self.radio.after(reply)
                self.identity = dataclasses.replace(self.identity, operator=name)
            case replies.Registration() | replies.Ims():
                self._note(reply)
            case replies.Restarted():
                raise self._port.lose("the module restarted")
            case replies.SimState(code):
                # A bad contact, often enough for a moment only: asked for when no call suffers by it.
                self._sim_doubted = code != "READY"
                self._hint.set()
            case replies.Unreadable():
                # Half of what could have been a call's news.
                self._hint.set()
            case replies.Unknown(text):
                self.on_other(text)
            case _:
                pass

    def _flow(self, ready: bool) -> None:
        self._full_until = float("inf") if ready else trio.current_time() + FULL_S
        if self._hold is not None:
            self._hold(not ready)

    @contextlib.contextmanager
    def flow_to(self, hold: Callable[[bool], None]) -> Iterator[None]:
        """Meanwhile `hold` is told when the module's uplink buffer is full, and when there is room again."""
        self._hold = hold
        hold(self._full_until < float("inf"))
        try:
            yield
        finally:
            self._hold = None

    # --- sound, where an answer is doubted ---

    @contextlib.contextmanager
    def ear(self, port: Port) -> Iterator[None]:
        """Meanwhile this is the call's sound."""
        self._ear, self._country = port, None
        if self.call.doubt is not None:
            self.call.doubt.begin(trio.current_time())
        self.emit([])
        try:
            yield
        finally:
            self._ear = None

    def _listen_for(self, country: str | None) -> None:
        if self._ear is not None and country != self._country:
            self._country = country
            self._ear.detect_tones(country)
            if country is not None:
                log.info("%s: an answer that may be ringback: listening", self._name)

    def hear_sound(self, event: Event) -> None:
        """Of the detectors. Does not wait."""
        doubt = self.call.doubt
        match event:
            case Tone(kind=kind) if doubt is not None:
                doubt.tone(kind)
            case ToneEnded(kind=kind) if doubt is not None:
                doubt.tone_ended(kind)
            case Voice() if doubt is not None:
                doubt.voice()
            case Dtmf(digit=digit) if not self._module.hears_keys:
                self.key(digit)
        self._pass_time()

    def _pass_time(self) -> None:
        now, doubt = trio.current_time(), self.call.doubt
        if doubt is not None and self._ear is not None:
            doubt.level(self._ear.stats().peak_yielded, now)
        self.emit(self.call.tick(now))

    def _note(self, reply: replies.Registration | replies.Ims) -> None:
        before, self.radio = self.radio, self.radio.after(reply)
        if self.radio.callable is not before.callable:
            self._settle_due = trio.current_time() + SETTLE_S if self.radio.callable else float("inf")
        if self.radio.bearers != before.bearers:
            self._survey_due = 0
            self._hint.set()
            if self._started:
                self.emit([])

    def key(self, digit: str) -> None:
        """The far side pressed it, as the module or the engine says."""
        now, before = trio.current_time(), self._key_at
        again, self._key, self._key_at = digit == self._key and now - before < KEY_S, digit, now
        if self.call.stat is CallStat.ACTIVE and not again:
            if self.call.doubt is not None:
                self.call.doubt.voice()
            self.emit([*self.call.tick(now), Digit(digit)])

    # --- questions ---

    async def _watch(self) -> None:
        while True:
            with trio.move_on_at(self._look_due()):
                await self._hint.wait()
            self._hint = trio.Event()
            self._pass_time()
            await self.look()
            await self._tend()

    def _look_due(self) -> float:
        now = trio.current_time()
        if self._module.unlisted_since is not None:
            return now + LOOK_AGAIN_S
        if self.call.stat is not None:
            return self.call.look_due(now)
        return min(self.call.look_due(now), now + IDLE_LOOK_S, self._survey_due, self._settle_due)

    async def look(self) -> None:
        """Asks for the calls, and acts on them. Raises: LineLost."""
        async with self._looking:
            reports = await self._module.calls()
            # What was told before the list is older than the list. What came right behind it, in the same read, is not:
            # the evidence allows for that.
            self._hear_queued()
            if reports is None:
                unlisted_since = self._module.unlisted_since or trio.current_time()
                # A call with sound goes on without a list, as long as nothing says that it is over.
                goes_on = self.call.stat is CallStat.ACTIVE and not self.call.is_ending
                if trio.current_time() - unlisted_since >= UNLISTED_LIMIT_S and not goes_on:
                    raise self._port.lose("the module does not list its calls")
                return
            self.emit(self.call.listed(reports, trio.current_time()))
            several, self._several = self._several, sum(map(is_there, reports)) > 1
            if several and not self._several and self.call.stat is CallStat.ACTIVE and not self.call.is_ending:
                await self._audio.alone_again()
            if self.call.over:
                await self._release()
            elif self.call.strays:
                self.strays += 1
                await self._drop_strays()

    async def _release(self) -> None:
        """The next call finds the audio as this one found it; only then is the line free."""
        self._audio.let_go()
        self._full_until = float("inf")
        reported = None
        if self.call.cause is None:
            for line in await self._module.attempt("AT+CEER") or ():
                if isinstance(reply := parse(line), replies.EndReport):
                    reported = reply.cause
        await self._audio.off()
        self.emit(self.call.released(reported, trio.current_time()))
        self._settle_due = max(self._settle_due, trio.current_time() + SETTLE_S)
        # Who calls the moment that the line is free rang while it was not; the next ring is seconds away.
        self._hint.set()

    async def spare_waiting(self) -> None:
        """Ends our call alone where somebody waits for its end: AT+CHUP would end his, too."""
        if self.call.call_waiting and self.call.stat is CallStat.ACTIVE:
            await self.look()
            if self.call.somebody_waits and self.call.index is not None:
                # 22.030 6.5.5.1. Not before ^CONF, at which E1550 dies of it.
                await self._module.attempt(f"AT+CHLD=1{self.call.index}", tries=1)
                until = trio.current_time() + SPARE_S
                # The end may be told to nobody.
                while trio.current_time() < until and any(map(is_up, await self._module.calls() or ())):  # noqa: ASYNC110
                    await trio.sleep(LOOK_AGAIN_S)

    async def _drop_strays(self) -> None:
        log.warning("%s: dropping a call that is not ours", self._name)
        if self.call.stat is None:
            await self._module.drop_calls(ringing=False, unseen=True)
        else:
            # 22.030 6.5.5.1: a waiting caller hears busy, a call on hold is released.
            await self._module.attempt("AT+CHLD=0")

    async def _tend(self) -> None:
        """What an order or a caller would have to wait for: only while there is no call."""
        if self._sim_doubted and self.call.stat is None:
            await self._sim.need()
            self._sim_doubted = False
        if self.call.stat is None and self._audio.degraded:
            await self._restart()
        if self.call.stat is None and trio.current_time() >= self._survey_due:
            await self._survey()
        if self.call.stat is None and trio.current_time() >= self._settle_due:
            await self._settle()

    async def _survey(self) -> None:
        for question in self._module.model.survey:
            for line in await self._module.attempt(question) or ():
                self.take(parse(line))
            if self.call.stat is not None:
                return
        for command in list(self._module.unset):
            await self._module.set_up(command)
            if self.call.stat is not None:
                return
        self._survey_due = trio.current_time() + (SURVEY_S if self.radio.callable else SEARCHING_SURVEY_S)

    async def _restart(self) -> None:
        """Raises: LineLost: the line is to be opened anew."""
        self._started = False
        self.emit([])
        await self._module.attempt(self._module.model.reset, tries=1)
        # Mostly it is gone before that, and found to be.
        await trio.sleep(LEAVES_BUS_S)
        raise self._port.lose("the module is restarted, as its audio suffered from the last call")

    async def _settle(self) -> None:
        """What the network is asked for, once in each registration."""
        self._settle_due = float("inf")
        for command in self._module.model.after_registration:
            await self._module.attempt(command, tries=1)
