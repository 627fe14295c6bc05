"""What drivers of GSM modules and of voice modems share: commands that are asked again, news that is told.

Nothing of either's words is here.
"""

import logging
from collections.abc import Callable, Iterable

import trio

from drivers.errors import CommandError, CommandTimeout
from drivers.line import LineEvent, LineState, Recoveries, StateChanged
from drivers.port import Port, public

log = logging.getLogger(__name__)

# A consumer that is so far behind is not there.
EVENT_QUEUE = 1000


class Asking:
    """A device at a port. A command that stays silent is asked again, where asking twice does no harm."""

    def __init__(self, name: str, port: Port, limit_s: Callable[[str], float]) -> None:
        self.name = name
        self.port = port
        self.retries = 0
        self._limit_s = limit_s

    async def ask(self, text: str, *, tries: int = 2) -> list[str]:
        """Raises: CommandError, also for silence; LineLost."""
        while True:
            tries -= 1
            try:
                return await self._command(text)
            except CommandTimeout as exc:
                log.debug("%s: %s", self.name, exc)
                if not tries:
                    raise CommandError(public(text), "no answer") from exc
                self.retries += 1

    async def attempt(self, *texts: str, tries: int = 2) -> list[str] | None:
        """The answer to the first that is not refused; None when all are: one can live without it. Raises: LineLost."""
        for text in texts:
            try:
                return await self.ask(text, tries=tries)
            except CommandError as exc:
                log.debug("%s: %s", self.name, exc)
        return None

    async def _command(self, text: str) -> list[str]:
        return await self.port.command(text, limit_s=self._limit_s(text))

    def recoveries(self, *, repairs: int) -> Recoveries:
        counters = self.port.counters
        return Recoveries(
            timeouts=counters.timeouts,
            retries=self.retries,
            # The one at the start mended nothing.
            resyncs=max(0, counters.resyncs - 1),
            repairs=repairs,
            noise=counters.noise,
            urcs_lost=counters.urcs_lost,
            silent_s=counters.silent_s,
        )


class News:
    """A line's events, in order, until the line is lost. `state` says what it is in now."""

    def __init__(self, name: str, port: Port, state: Callable[[], LineState]) -> None:
        self._name = name
        self._port = port
        self._state = state
        self._told_state = LineState.STARTING
        self._tell, self._events = trio.open_memory_channel[LineEvent](EVENT_QUEUE)

    def tell(self, events: Iterable[LineEvent]) -> None:
        """Also a change of state, if there is one. Of a lost line nothing is told but that."""
        if self._port.lost is not None:
            return
        for event in events:
            log.debug("%s: %s", self._name, event)
            self._send(event)
        if (state := self._state()) is not self._told_state:
            self._told_state = state
            log.info("%s: %s", self._name, state.value)
            self._send(StateChanged(state))

    def _send(self, event: LineEvent) -> None:
        try:
            self._tell.send_nowait(event)
        except trio.WouldBlock:
            # Found by whoever waits at the port.
            self._port.lose("nobody takes the line's events")

    def close(self) -> None:
        """The line is lost: `next` raises when all was taken."""
        self._tell.close()

    async def next(self) -> LineEvent:
        """Raises: LineLost."""
        try:
            return await self._events.receive()
        except trio.EndOfChannel:
            raise self._port.loss() from None
