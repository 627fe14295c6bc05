"""A configured line over time: opened, lost, opened again for ever; it carries at most one call."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog
import trio

from appliance.limits import Limits
from drivers.errors import LineError
from drivers.line import Digit, Incoming, Line, LineEvent, LineState, Released, StateChanged
from native import Port

# Seconds before a line that failed is opened again; the last one repeats.
BACKOFF_S = (1, 2, 5, 10, 30)
# A line that held this long begins again at the first step.
STEADY_S = 60
# Keys that may wait while a call's news is written down; and the room behind them for its few turns.
KEYS_LIMIT = 256
TURNS_ROOM = 16

NO_LIMITS = Limits()

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

    def tell(self, event: LineEvent | Lost) -> None:
        # A modem that goes mad may send keys without end; it must not take the service with it.
        if not isinstance(event, Digit) or self._send.statistics().current_buffer_used < KEYS_LIMIT:
            self._send.send_nowait(event)

    async def over(self) -> None:
        """Leaves the call alone, and returns when it is gone; what is told meanwhile is of no interest."""
        self.leaves_call = True
        async for told in self.told:
            if isinstance(told, Released | Lost):
                return

    def close(self) -> None:
        self.trunk._free(self)


class Trunk:
    """`open_line` opens the device. `ring` is told of each incoming call, with its seizure, and must not wait."""

    def __init__(
        self,
        name: str,
        number: str,
        *,
        open_line: Callable[[], AbstractAsyncContextManager[Line]],
        ring: Callable[[Seizure, Incoming], None],
        limits: Limits = NO_LIMITS,
    ) -> None:
        self.name = name
        self.number = number
        self.limits = limits
        self.line: Line | None = None
        self.losses = 0
        self._open_line = open_line
        self._ring = ring
        self._seizure: Seizure | None = None
        # In step with the line's other events, which its own state may be ahead of.
        self._told_state = LineState.DOWN
        self._unserved: Incoming | None = None

    @property
    def audio(self) -> Port | None:
        return self._seizure.audio if self._seizure else None

    @property
    def state(self) -> LineState:
        return self.line.state if self.line else LineState.DOWN

    def seize(self) -> Seizure:
        """Raises TrunkDown or TrunkBusy."""
        if self._seizure is not None or self.state is LineState.IN_USE:
            raise TrunkBusy(self.name)
        if self.line is None or self.state is not LineState.IDLE:
            raise TrunkDown(self.name)
        self._seizure = Seizure(self, self.line)
        return self._seizure

    def _free(self, seizure: Seizure) -> None:
        assert seizure is self._seizure
        if self._is_up and not seizure.leaves_call:
            self._nursery.start_soon(self._put_away, seizure)
            return
        self._seizure = None
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
        """Never returns; a fault of the line is logged and waited out, any other ends the process."""
        step, said = 0, ""
        while True:
            since = trio.current_time()
            try:
                async with self._open_line() as line:
                    said = ""
                    await self._use(line)
            except* LineError as group:
                # A modem that is gone for a week is no news every half minute.
                if said != (said := _first(group)):
                    log.warning("line lost", line=self.name, error=said)
            if trio.current_time() - since > STEADY_S:
                step = 0
            await trio.sleep(BACKOFF_S[min(step, len(BACKOFF_S) - 1)])
            step += 1

    async def _use(self, line: Line) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                self.line = line
                await self._listen(line)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self.line = self._unserved = None
        self._told_state = LineState.DOWN
        self.losses += 1
        if self._seizure is not None:
            self._seizure.tell(Lost())

    async def _listen(self, line: Line) -> None:
        while True:
            event = await line.next_event()
            match event:
                case StateChanged(state):
                    self._told_state = state
                case Incoming() if self._seizure is None:
                    self._offer(event)
                case Incoming():
                    # Glare: somebody calls while our last call is being put away, or our next about to be dialed.
                    # Served as soon as that has given up the line.
                    self._unserved = event
                case Released() if self._unserved is not None:
                    # A line carries one call: this was theirs.
                    self._unserved = None
                case _ if self._seizure is not None:
                    self._seizure.tell(event)

    def _offer(self, incoming: Incoming) -> None:
        self._unserved = None
        if self.line is not None:
            self._seizure = Seizure(self, self.line)
            self._ring(self._seizure, incoming)


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return str(exc)
