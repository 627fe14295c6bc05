"""What every kind of line offers - a SIM, an analog jack - and the events that it tells.

A line carries at most one call. It never decides: it reports what the device said, reconciled with what the
device lists, and does what it is told.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from native import Engine, Event, Port


class LineState(Enum):
    DOWN = "down"
    STARTING = "starting"
    SEARCHING = "searching"
    IDLE = "idle"
    IN_USE = "in use"


@dataclass(frozen=True)
class Incoming:
    """Somebody calls. `number` is as the network gave it, None when withheld."""

    number: str | None


@dataclass(frozen=True)
class Alerting:
    """The far phone rings (outgoing calls only)."""


@dataclass(frozen=True)
class Answered:
    """Both ends talk."""


@dataclass(frozen=True)
class Released:
    """The call is over, whoever ended it. `cause` is an ITU-T Q.850 number: 16 normal, 17 busy, 19 no answer."""

    cause: int


@dataclass(frozen=True)
class Digit:
    """The far side pressed a key, one of `0-9*#A-D`: one event a press."""

    digit: str


@dataclass(frozen=True)
class StateChanged:
    """Registration was lost or found, or the line went in or out of use."""

    state: LineState


LineEvent = Incoming | Alerting | Answered | Released | Digit | StateChanged


@dataclass(frozen=True)
class Identity:
    """Who the line is: what stays when its tty changes its name. Empty where the device does not say."""

    model: str
    firmware: str
    imei: str
    iccid: str
    operator: str


@dataclass(frozen=True)
class Recoveries:
    """What went wrong on a line and was mended, since it was opened; each rung of the ladder has its count."""

    timeouts: int
    retries: int
    resyncs: int
    # Calls, answers and ends that only the list knew of, and calls that were nobody's.
    repairs: int
    noise: int
    urcs_lost: int


class Line(Protocol):
    """Errors: CommandError when the device refuses, LineLost when it is gone; no other."""

    name: str

    @property
    def state(self) -> LineState: ...

    @property
    def identity(self) -> Identity: ...

    @property
    def signal_dbm(self) -> int | None: ...

    @property
    def recoveries(self) -> Recoveries: ...

    def attach(self, engine: Engine) -> AbstractAsyncContextManager[Port]:
        """The call's audio as a port of the engine's, for as long as the context lasts: on a tty, or a sound card.

        It can be had from the return of `answer` or `dial` until the call's end. The line sets the port's detectors as
        it needs them, and whoever takes the engine's events gives it those of this port, by `heard`.

        Raises:
            LineError: there is no call, or no sound.
        """

    def heard(self, event: Event) -> None:
        """Does not wait."""

    async def next_event(self) -> LineEvent:
        """In the order in which they happened.

        Raises:
            LineLost: the device is gone or out of step; nothing more will come.
        """

    async def dial(self, number: str) -> None:
        """E.164. Returns when the device took the order; Alerting, Answered and Released follow as events."""

    async def answer(self) -> None:
        """Returns when the device took the order; Answered follows as an event."""

    async def hang_up(self) -> None:
        """Ends whatever call there is, and verifies it; Released follows as an event if there was one."""

    async def send_dtmf(self, digits: str) -> None: ...
