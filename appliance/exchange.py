"""Which line dials, and whether it may: the rules of the box, the limits of each line, and the order of choice."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import structlog
import trio

from appliance.call import Ended, Reason
from appliance.config import ORDINARY_RELAY, Relay
from appliance.database import StoreError
from appliance.leg import ours
from appliance.limits import Used, day_and_month, exhausted, minutes_left
from appliance.numbers import ORDINARY_RULES, DialingRules, country_of, forbidden
from appliance.store import Store
from appliance.trunk import Seizure, Trunk, TrunkBusy, TrunkDown
from drivers.line import LineState

# phonevoice 4.1: how long an order waits for a line; a line is found soon enough after it has become free.
FREE_LINE_LIMIT_S = 30
LOOK_AGAIN_S = 0.5

# `Exchange.seize`, for one number.
Seek = Callable[..., Awaitable[tuple[Seizure, float]]]

log = structlog.get_logger(__name__)


class NotDialed(Exception):
    """The order is against the rules of this box; the message says which, for whoever gave it."""


class NoLine(Exception):
    """Those that may dial are in use, or have no network."""


class LinesDown(Exception):
    """None of the box's lines is up, nor is it known when one will be."""


class Exchange:
    """`trunks` may still be added to. `most_placed`: how many calls that we placed there may be at once."""

    def __init__(
        self,
        trunks: Sequence[Trunk],
        store: Store,
        *,
        country: str,
        now: Callable[[], datetime],
        rules: DialingRules = ORDINARY_RULES,
        most_placed: int | None = None,
        choice: Relay = ORDINARY_RELAY,
    ) -> None:
        self._trunks = trunks
        self._store = store
        self._country = country
        self._now = now
        self._rules = rules
        self._most_placed = most_placed
        self._placed = 0
        self._choice = choice

    @contextmanager
    def placing(self) -> Iterator[None]:
        """A call that we place is under way. Raises NotDialed."""
        self._need_room()
        self._placed += 1
        try:
            yield
        finally:
            self._placed -= 1

    def _need_room(self) -> None:
        placed = self._placed + sum(trunk.forwards for trunk in self._trunks)
        if self._most_placed is not None and placed >= self._most_placed:
            raise NotDialed(f"Not dialed: {placed} calls are under way, as many as the box may place at once")

    def need_lines(self) -> None:
        """Raises LinesDown."""
        if not any(map(is_up, self._trunks)):
            raise LinesDown

    def check(self, to: str, trunk: Trunk | None = None) -> None:
        """By the rules alone, on that line, or whichever. Raises NotDialed."""
        country = (country_of(trunk.number) if trunk else None) or self._country
        if (why := forbidden(to, self._rules, country)) is not None:
            raise NotDialed(f"Not dialed: {why}")

    async def permit(self, trunk: Trunk, to: str) -> int | None:
        """How many seconds a call may last, None: as many as it likes. Raises NotDialed."""
        self.check(to, trunk)
        used = Used(*await self._store.minutes_used(trunk.name, day_and_month(self._now().astimezone())))
        if (limit := exhausted(trunk.limits, used)) is not None:
            raise NotDialed(f"Not dialed: line {trunk.name} has used up its {limit}")
        minutes = minutes_left(trunk.limits, used)
        return None if minutes is None else 60 * minutes

    async def seize(
        self,
        to: str,
        *,
        project: int | None,
        like: Trunk | None = None,
        only: Trunk | None = None,
        first: Trunk | None = None,
        besides: Collection[Trunk] = (),
        limit_s: float,
        further: bool = False,
    ) -> tuple[Seizure, float]:
        """The best line that is free to dial `to`, and how long it may. What belongs to another project is not taken.

        `first` is asked before all others, `only` alone. `further`: for a call that has a line already.

        Raises:
            NoLine
            NotDialed: there are lines, and none of them may.
        """
        if further:
            self._need_room()
        refused: NotDialed | None = None
        trunks = [only] if only else sorted(self.in_order(like), key=lambda trunk: trunk is not first)
        for trunk in trunks:
            if trunk in besides or trunk.number == to or not is_free(trunk):
                continue
            owner = await self._store.directory.relay_of(trunk.number)
            if owner is not None and owner.project != project:
                continue
            try:
                allowed_s = await self.permit(trunk, to)
                await trunk.make_way()
                if further:
                    # Others were looking meanwhile.
                    self._need_room()
                seizure = trunk.seize()
                seizure.forwards = further
                return seizure, limit_s if allowed_s is None else min(limit_s, allowed_s)
            except NotDialed as exc:
                log.warning("line not taken", line=trunk.name, reason=str(exc))
                refused = exc
            except (TrunkBusy, TrunkDown):
                # Somebody was faster.
                continue
        raise refused or NoLine

    async def wait(self, seek: Seek) -> tuple[Seizure, float] | Ended:
        """As soon as it finds one; or why it does not."""
        with trio.move_on_after(FREE_LINE_LIMIT_S):
            while True:
                try:
                    return await seek()
                except NotDialed as exc:
                    log.warning("not dialed", error=str(exc))
                    return ours(Reason.NOT_PERMITTED)
                except StoreError as exc:
                    log.error("not dialed: what the lines may do can't be read", error=str(exc))
                    return ours(Reason.FAULT)
                except NoLine:
                    await trio.sleep(LOOK_AGAIN_S)
        return ours(Reason.NO_LINE)

    def in_order(self, like: Trunk | None) -> list[Trunk]:
        """Who is to be asked first. A line with a test call is asked last, since that takes its time to end."""
        names = self._choice.lines
        trunks = [trunk for trunk in self._trunks if not names or trunk.name in names]
        if names:
            trunks.sort(key=lambda trunk: names.index(trunk.name))
        if like is not None and self._choice.order != "listed":
            trunks.sort(key=lambda trunk: trunk.analog != like.analog)
        if like is not None and self._choice.order == "operator" and (wanted := operator_of(like)):
            trunks.sort(key=lambda trunk: operator_of(trunk) != wanted)
        return sorted(trunks, key=lambda trunk: trunk.gives_way)


def is_free(trunk: Trunk) -> bool:
    return trunk.state is LineState.IDLE or trunk.gives_way


def is_up(trunk: Trunk) -> bool:
    """It may be free soon: it has its device, which is at work."""
    return trunk.state not in (LineState.DOWN, LineState.STARTING)


def operator_of(trunk: Trunk) -> str:
    """Empty while it is not known, and of lines on a wire."""
    radio = trunk.line.radio if trunk.line else None
    return radio.operator if radio else ""
