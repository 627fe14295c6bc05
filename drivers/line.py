"""What every kind of line offers - a SIM, an analog jack - and the events that it tells.

A line carries at most one call. It never decides: it reports what the device said, reconciled with what the
device lists, and does what it is told.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import astuple, dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from drivers.radio import Radio
from drivers.ussd import News
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
    # From commands that were not answered to the next answer.
    silent_s: float = 0

    def __add__(self, other: "Recoveries") -> "Recoveries":
        return Recoveries(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))


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
    def radio(self) -> Radio | None:
        """Registration, operator, technology, cell, signal, as last told; None of a line on a wire."""

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


@dataclass(frozen=True)
class Received:
    """A short message as the device has it (`drivers/sms.py` reads the PDU), by its place there; without a `memory`, it
    was only told, and whoever sent it waits to hear that it was taken.
    """

    pdu: str
    memory: str
    index: int


@dataclass(frozen=True)
class Storage:
    used: int
    total: int


class Texts(Protocol):
    """Short messages and USSD. Nothing of it is done while there is a call: it waits.

    Errors: CommandError when the device or its network refuses, LineLost when it is gone; no other.
    """

    @property
    def storage(self) -> Mapping[str, Storage]:
        """As last seen, by memory."""

    async def receive(self) -> Received:
        """The next that is there; again after each opening of the line, as long as it is not forgotten."""

    async def forget(self, received: Received) -> None:
        """It is safe elsewhere: the device may delete it."""

    async def send(self, pdu: str) -> int:
        """A SUBMIT. Waits for the network's word, and before that for the network; gives the message's reference.

        That the line was lost while the device had the message is a CommandError: it may be the message's doing.
        """

    async def ussd(self, text: str) -> News:
        """A code, or an answer to a menu. Waits for the network's answer.

        Raises:
            ValueError: nothing that USSD can carry.
        """

    async def cancel_ussd(self) -> None:
        """Leaves the menu."""


@runtime_checkable
class Texting(Protocol):
    """A line that has short messages: a SIM's."""

    @property
    def texts(self) -> Texts: ...
