"""A configured line over time: opened, lost, opened again for ever; it carries at most one call."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog
import trio

from appliance.ladder import Ladder, Rung, Step
from appliance.limits import Limits
from appliance.media import Media
from appliance.soundcheck import Alarm
from drivers.errors import LineBlocked, LineError, LineLost
from drivers.line import Answered, Digit, Incoming, Line, LineEvent, LineState, Recoveries, Released, StateChanged
from native import Event, Port

# A module that answers some commands and leaves others would be asked them for minutes.
OPEN_LIMIT_S = 180
# Between two attempts, however often something is plugged in.
REST_S = 0.5
# For a test call of the box's own to be hung up, which takes a slow modem some seconds.
MAKE_WAY_LIMIT_S = 15
# Keys that may wait while a call's news is written down; and the room behind them for its few turns.
KEYS_LIMIT = 256
TURNS_ROOM = 16

NO_LIMITS = Limits()

_E = TypeVar("_E", bound=BaseException)

log = structlog.get_logger(__name__)


class TrunkBusy(Exception):
    """The line has a call already."""


class TrunkDown(Exception):
    """The line is not there, or has no network."""


@dataclass(frozen=True)
class Lost:
    """The line is gone, and the call with it."""


class Seizure:
    """One call's hold on a trunk, until it is closed; `told` is what the line says meanwhile."""

    def __init__(self, trunk: "Trunk", line: Line) -> None:
        self.trunk = trunk
        self.line = line
        # Whether the call may stay when we let go of it: it rings, and is nothing to us.
        self.leaves_call = False
        self._send, self.told = trio.open_memory_channel[LineEvent | Lost](KEYS_LIMIT + TURNS_ROOM)
        # The call's sound, while it has any.
        self.audio: Port | None = None
        # A test call of the box's own: who has it ends it when somebody else wants the line.
        self.gives_way = False
        # It is one more line of a call that has one already.
        self.forwards = False
        self.wanted = trio.Event()

    def tell(self, event: LineEvent | Lost) -> None:
        # A modem that goes mad may send keys without end; it must not take the service with it.
        if not isinstance(event, Digit) or self._send.statistics().current_buffer_used < KEYS_LIMIT:
            self._send.send_nowait(event)

    @asynccontextmanager
    async def sound(self, media: Media) -> AsyncIterator[Port]:
        """The line's audio in the engine, while there is a call; what the engine hears of it the line is told.

        Raises: LineError: there is none.
        """

        async def pass_on(events: trio.MemoryReceiveChannel[Event]) -> None:
            async for event in events:
                self.line.heard(event)

        async with self.line.attach(media.engine) as port:
            with media.events_of(port) as events:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pass_on, events)
                    self.audio = port
                    try:
                        yield port
                    finally:
                        self.audio = None
                    nursery.cancel_scope.cancel()

    async def over(self) -> None:
        """Leaves the call alone, and returns when it is gone; what is told meanwhile is of no interest."""
        self.leaves_call = True
        async for told in self.told:
            if isinstance(told, Released | Lost):
                return

    def close(self) -> None:
        self.trunk._free(self)


@dataclass(frozen=True)
class Whereabouts:
    """What a line is on, for people; what is not found yet is empty. `model` is the configuration's word for it."""

    model: str
    place: str
    at: str
    sound: str


class Jack(Protocol):
    """What a line is plugged into."""

    @property
    def whereabouts(self) -> Whereabouts: ...

    @property
    def possible(self) -> Collection[Rung]:
        """What can be done now for the device that `open` found last."""

    def open(self) -> AbstractAsyncContextManager[Line]:
        """Finds the device. Raises: LineError, alone or in a group."""

    async def changed(self) -> None:
        """Returns when what is plugged in is not what `open` found last."""

    async def climb(self, rung: Rung) -> None:
        """Resets the device, or its power. Raises: LineError, alone or in a group."""


@dataclass(frozen=True)
class Outages:
    """Times without a usable line that are over, since the service was started: from silence to readiness."""

    count: int = 0
    total_s: float = 0
    last_s: float = 0


class Trunk:
    """`ring` is told of each incoming call, with its seizure, and must not wait. `analog`: on a wire, without a SIM."""

    def __init__(
        self,
        name: str,
        number: str,
        *,
        jack: Jack,
        ring: Callable[[Seizure, Incoming], None],
        limits: Limits = NO_LIMITS,
        analog: bool = False,
    ) -> None:
        self.name = name
        self.number = number
        self.limits = limits
        self.analog = analog
        self.line: Line | None = None
        self.losses = 0
        # Of those, by faults of our own.
        self.faults = 0
        # What else is done with the line, as long as it is up.
        self.attend: Callable[[str, Line], Awaitable[None]] = _nothing_else
        # Why there is no line, for people; None while there is one.
        self.problem: str | None = None
        self.outages = Outages()
        # Since the service was started.
        self.calls = {"incoming": 0, "outgoing": 0}
        self.answered = 0
        self.alarms = dict.fromkeys(Alarm, 0)
        self._recoveries = Recoveries(0, 0, 0, 0, 0, 0)
        self._ladder = Ladder()
        self._jack = jack
        self._ring = ring
        self._seizure: Seizure | None = None
        self._freed = trio.Event()
        self._news = trio.Event()
        # In step with the line's other events, which its own state may be ahead of.
        self._told_state = LineState.DOWN
        self._unserved: Incoming | None = None

    @property
    def audio(self) -> Port | None:
        return self._seizure.audio if self._seizure else None

    @property
    def state(self) -> LineState:
        return self.line.state if self.line else LineState.DOWN

    async def until(self, it_is: Callable[["Trunk"], bool]) -> None:
        """Looks again whenever its state or its problem is another."""
        while not it_is(self):
            await self._news.wait()

    def _stir(self) -> None:
        self._news.set()
        self._news = trio.Event()

    @property
    def whereabouts(self) -> Whereabouts:
        return self._jack.whereabouts

    @property
    def recoveries(self) -> Recoveries:
        """Of the line now and all before it."""
        return self._recoveries + self.line.recoveries if self.line else self._recoveries

    @property
    def climbed(self) -> dict[str, int]:
        """How often each rung above the driver's own was taken."""
        return {rung.value: count for rung, count in self._ladder.climbed.items()}

    @property
    def gives_way(self) -> bool:
        """It has a test call."""
        return self._seizure is not None and self._seizure.gives_way

    @property
    def forwards(self) -> bool:
        return self._seizure is not None and self._seizure.forwards

    async def make_way(self) -> None:
        """Returns when no test call has the line, or none will give way."""
        if self._seizure is not None and self._seizure.gives_way:
            self._seizure.wanted.set()
            with trio.move_on_after(MAKE_WAY_LIMIT_S):
                await self._freed.wait()

    def seize(self) -> Seizure:
        """Raises TrunkDown or TrunkBusy."""
        if self._seizure is not None or self.state is LineState.IN_USE:
            raise TrunkBusy(self.name)
        if self.line is None or self.state is not LineState.IDLE:
            raise TrunkDown(self.name)
        self.calls["outgoing"] += 1
        self._seizure = Seizure(self, self.line)
        return self._seizure

    def _free(self, seizure: Seizure) -> None:
        assert seizure is self._seizure
        if self._is_up and not seizure.leaves_call:
            self._nursery.start_soon(self._put_away, seizure)
            return
        self._seizure = None
        self._freed.set()
        self._freed = trio.Event()
        if self._unserved is not None:
            self._offer(self._unserved)

    @property
    def _is_up(self) -> bool:
        """There is a call, and not the next one already."""
        return self.state is self._told_state is LineState.IN_USE and self._unserved is None

    async def _put_away(self, seizure: Seizure) -> None:
        """A call that nobody has any more is billed until it ends, however long the modem takes for that.

        Raises:
            LineError: it can't; closing the line and opening it anew will.
        """
        log.warning("call still up: hanging up", line=self.name)
        seizure.leaves_call = True
        try:
            await seizure.line.hang_up()
            await seizure.over()
        finally:
            self._free(seizure)

    async def keep(self) -> None:
        """Never returns. A fault of the line is logged, and mended or waited out.

        So is one of ours in its tasks: the line is closed, which leaves no call behind, and opened anew, and the calls
        of others go on, which the end of the process would cut.
        """
        while True:
            fault = await self._hold()
            # A modem that is gone for a week is no news every half minute.
            if self.problem != (problem := str(fault)):
                self.problem = problem
                log.warning("line lost", line=self.name, error=problem)
                self._stir()
            possible = self._jack.possible
            await self._recover(self._ladder.lost(fault, trio.current_time(), possible=possible))

    async def _hold(self) -> LineError:
        """Has the line as long as it holds, and returns why it does not."""
        fault: LineError = LineLost(f"did not come up in {OPEN_LIMIT_S} s")
        try:
            with trio.move_on_after(OPEN_LIMIT_S) as opening:
                async with self._jack.open() as line:
                    opening.deadline = float("inf")
                    self.problem = None
                    await self._use(line)
        except* LineError as group:
            fault = _first(group)
        except* Exception as bugs:
            self.faults += 1
            log.error("line failed by a fault of this program", line=self.name, exc_info=bugs)
            # No reset of the device mends that.
            fault = LineBlocked(f"a fault of this program: {_first(bugs)!r}")
        return fault

    async def _recover(self, step: Step) -> None:
        await trio.sleep(REST_S)
        rung = step.rung
        with trio.move_on_after(step.wait_s - REST_S) as waiting:
            await self._jack.changed()
        if not waiting.cancelled_caught:
            rung = Rung.REOPEN
        if rung is not Rung.REOPEN:
            log.warning("line recovery", line=self.name, rung=rung.value)
            try:
                await self._jack.climb(rung)
            except* LineError as group:
                log.warning("line recovery failed", line=self.name, rung=rung.value, error=str(_first(group)))
        self._ladder.took(rung, trio.current_time())

    async def _use(self, line: Line) -> None:
        self._ladder.opened(trio.current_time())
        async with trio.open_nursery() as self._nursery:
            self.line = line
            try:
                self._note_ready(line.state)
                self._nursery.start_soon(self.attend, self.number, line)
                await self._listen(line)
            finally:
                # Before the nursery is closed: whose call ends from now on leaves nothing to be put away in it.
                self._let_go(line)

    def _let_go(self, line: Line) -> None:
        self._recoveries += line.recoveries
        self.line = self._unserved = None
        self._told_state = LineState.DOWN
        self.losses += 1
        if self._seizure is not None:
            self._seizure.tell(Lost())

    def _note_ready(self, state: LineState) -> None:
        self._stir()
        if state is LineState.IDLE and (silent_s := self._ladder.ready(trio.current_time())) is not None:
            self.outages = Outages(self.outages.count + 1, self.outages.total_s + silent_s, silent_s)
            log.info("line ready", line=self.name, silent_s=round(silent_s, 1))

    async def _listen(self, line: Line) -> None:
        while True:
            event = await line.next_event()
            match event:
                case StateChanged(state):
                    self._told_state = state
                    self._note_ready(state)
                case Incoming() if self._seizure is None:
                    self._offer(event)
                case Incoming():
                    # Glare: somebody calls while our last call is being put away, or our next about to be dialed.
                    # Served as soon as that has given up the line.
                    self._unserved = event
                    if self._seizure is not None:
                        self._seizure.wanted.set()
                case Released() if self._unserved is not None:
                    # A line carries one call: this was theirs.
                    self._unserved = None
                case _ if self._seizure is not None:
                    self.answered += isinstance(event, Answered)
                    self._seizure.tell(event)

    def _offer(self, incoming: Incoming) -> None:
        self._unserved = None
        if self.line is not None:
            self.calls["incoming"] += 1
            self._seizure = Seizure(self, self.line)
            self._ring(self._seizure, incoming)


async def _nothing_else(number: str, line: Line) -> None:
    await trio.lowlevel.checkpoint()


def _first(group: BaseExceptionGroup[_E]) -> _E:
    exc = group.exceptions[0]
    return _first(exc) if isinstance(exc, BaseExceptionGroup) else exc
