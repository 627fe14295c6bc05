"""How a lost line is brought back: rung by rung, and for ever; what comes after what is a table.

The lower rungs are the driver's: a command asked again, and the port brought in step by ESC and AT. Here are those that
need the line closed, which has no call then.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from drivers.errors import LineAbsent, LineBlocked, LineError, LineLost


class Rung(Enum):
    REOPEN = "reopen"
    # The module's own order to start anew.
    RESET = "reset"
    # The power of its USB port, off and on.
    POWER = "power"


@dataclass(frozen=True)
class Step:
    """The line is opened again after so long, and after the rung; where something is plugged in meanwhile, at once."""

    wait_s: float
    rung: Rung = Rung.REOPEN


# Most are back after the first: a port that was out of step. A deaf module costs ten seconds each time that it is
# opened, so that it is started anew within a minute.
CLIMB = (Step(1), Step(2), Step(5, Rung.RESET), Step(10), Step(10, Rung.POWER))
# For ever: who was helped by neither is left in peace in between, and is told by the log.
AGAIN = (*(Step(30),) * 10, Step(30, Rung.RESET), *(Step(60),) * 20, Step(60, Rung.POWER))
# Where there is nothing to be reset, or only a person can help.
PATIENT = (Step(1), Step(2), Step(5), Step(10), Step(30))

# A line that held this long begins at the foot again.
STEADY_S = 60
# What was started anew is back on the bus by then (a module's own boot takes up to 40 s); after that, more is done.
BACK_S = 60


class Ladder:
    """One line's. Times are the caller's clock."""

    def __init__(self) -> None:
        self.climbed = dict.fromkeys(Rung, 0)
        self._sick = 0
        self._waited = 0
        self._opened_at: float | None = None
        self._ordered_at: float | None = None
        self._silent_since: float | None = None

    def lost(self, fault: LineError, now: float, *, possible: Collection[Rung]) -> Step:
        """What to do next. A rung that is not `possible` now is passed over."""
        if self._opened_at is not None and now - self._opened_at > STEADY_S:
            self._sick = self._waited = 0
        self._opened_at = None
        if self._silent_since is None:
            since = fault.silent_since if isinstance(fault, LineLost) else None
            self._silent_since = now if since is None else since
        if self._is_sick(fault, now):
            self._sick += 1
            past = self._sick - len(CLIMB)
            step = CLIMB[self._sick - 1] if past <= 0 else AGAIN[(past - 1) % len(AGAIN)]
        else:
            self._waited += 1
            step = PATIENT[min(self._waited, len(PATIENT)) - 1]
        return step if step.rung in possible else Step(step.wait_s)

    def _is_sick(self, fault: LineError, now: float) -> bool:
        if isinstance(fault, LineAbsent):
            # It was there, and did not come back.
            return self._ordered_at is not None and now - self._ordered_at > BACK_S
        return not isinstance(fault, LineBlocked)

    def took(self, rung: Rung, now: float) -> None:
        self.climbed[rung] += 1
        if rung is not Rung.REOPEN:
            self._ordered_at = now

    def opened(self, now: float) -> None:
        self._opened_at = now
        self._ordered_at = None

    def ready(self, now: float) -> float | None:
        """For how long there was no line to be used; None: it was there all the time."""
        since, self._silent_since = self._silent_since, None
        return None if since is None else now - since
