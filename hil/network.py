"""The telephone network: parties with numbers, and the calls that it switches between them.

Pure: who dials, rings, answers, presses a key or hangs up calls a method, and every party concerned is told by an
event, in the order in which things happened. What passes with time (a phone that rings for a while) is the parties'
affair, but for one: whoever runs the network ends a call that nobody answers by `give_up`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from functools import partial
from typing import Protocol

from hil.centre import Centre, Menus


class Cause(IntEnum):
    """ITU-T Q.850, as far as the bench's calls end by them."""

    UNALLOCATED = 1
    NORMAL = 16
    BUSY = 17
    NO_ANSWER = 19
    ABSENT = 20
    REJECTED = 21
    OUT_OF_ORDER = 27


class State(Enum):
    DIALING = "dialing"
    ALERTING = "alerting"
    ACTIVE = "active"
    ENDED = "ended"


# A phone may answer before it rings: a subscriber with 0 s patience, or a mailbox.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.DIALING: frozenset({State.ALERTING, State.ACTIVE, State.ENDED}),
    State.ALERTING: frozenset({State.ACTIVE, State.ENDED}),
    State.ACTIVE: frozenset({State.ENDED}),
    State.ENDED: frozenset(),
}

KEYS = frozenset("0123456789*#ABCD")


class NetworkError(Exception):
    """What was asked of the network makes no sense in the call's state, or of a number that nobody has."""


@dataclass(eq=False)
class Call:
    """One call. `caller` makes it and gives it to `Network.dial`; only the network changes it after that."""

    caller: "Party"
    dialed: str
    withheld: bool = False
    callee: "Party | None" = field(default=None, init=False)
    state: State = field(default=State.DIALING, init=False)
    # A number of ITU-T Q.850: of the Cause list, or whatever a modem's owner chose.
    cause: int | None = field(default=None, init=False)

    @property
    def presented(self) -> str | None:
        """The caller's number as the callee sees it."""
        return None if self.withheld else self.caller.number

    def other(self, party: "Party") -> "Party | None":
        return self.callee if party is self.caller else self.caller


@dataclass(frozen=True)
class Offered:
    """Somebody calls you: ring, or answer, or release it."""

    call: Call


@dataclass(frozen=True)
class Alerting:
    """The phone that you called rings."""

    call: Call


@dataclass(frozen=True)
class Answered:
    """Told to both ends."""

    call: Call


@dataclass(frozen=True)
class Released:
    """Told to both ends, whichever ended the call; the cause stands in the call."""

    call: Call


@dataclass(frozen=True)
class Pressed:
    """The other end pressed a key."""

    call: Call
    key: str


Event = Offered | Alerting | Answered | Released | Pressed


class Party(Protocol):
    """Whatever has a number."""

    @property
    def number(self) -> str: ...

    def refuses(self) -> Cause | None:
        """Why no call can be offered now; None when one can."""

    def told(self, event: Event) -> None: ...


class Network:
    """One operator's exchange. `country` is its calling code: national numbers (0...) are understood by it."""

    def __init__(self, country: str = "33") -> None:
        self._country = country
        self._parties: dict[str, Party] = {}
        # Whoever was there: a phone that is switched off is still a subscriber.
        self.subscribed: set[str] = set()
        self._news: deque[Callable[[], None]] = deque()
        self._telling = False
        self.calls: list[Call] = []
        self.centre = Centre(self)
        self.menus = Menus()
        # Told each change of a call's state, after its parties.
        self.observers: list[Callable[[Call, State], None]] = []

    def join(self, party: Party) -> None:
        if party.number in self._parties:
            raise NetworkError(f"{party.number} is taken")
        self._parties[party.number] = party
        self.subscribed.add(party.number)

    def leave(self, party: Party) -> None:
        """Its number stays unknown until it joins again; its calls end as those of a dead phone do."""
        self._parties.pop(party.number, None)
        for call in self.calls_of(party):
            self.release(call, Cause.OUT_OF_ORDER)

    def party(self, number: str) -> Party | None:
        return self._parties.get(self.international(number))

    def calls_of(self, party: Party) -> list[Call]:
        return [call for call in self.calls if party in (call.caller, call.callee)]

    def international(self, number: str) -> str:
        """E.164 with its plus, from whatever people of this country dial; short numbers stay as they are."""
        if number.startswith("00"):
            return "+" + number[2:]
        if number.startswith("0"):
            return f"+{self._country}{number[1:]}"
        return number

    def dial(self, call: Call) -> None:
        """The callee is offered the call, or the caller is told at once why not."""
        if call in self.calls or call.state is not State.DIALING:
            raise NetworkError("this call was dialed before")
        self.calls.append(call)
        self._observe(call)
        callee = self.party(call.dialed)
        if callee is None:
            self.release(call, Cause.UNALLOCATED)
        elif callee is call.caller:
            self.release(call, Cause.BUSY)
        elif refusal := callee.refuses():
            self.release(call, refusal)
        else:
            call.callee = callee
            self._tell(callee, Offered(call))
        self._deliver()

    def ring(self, call: Call) -> None:
        """The callee's phone rings."""
        self._enter(call, State.ALERTING)
        self._tell(call.caller, Alerting(call))
        self._observe(call)
        self._deliver()

    def answer(self, call: Call) -> None:
        self._enter(call, State.ACTIVE)
        for party in (call.caller, call.callee):
            self._tell(party, Answered(call))
        self._observe(call)
        self._deliver()

    def release(self, call: Call, cause: int) -> None:
        """Either end, or the network, ends the call. Twice is once: two releases may cross on the wire."""
        if call.state is State.ENDED:
            return
        self._enter(call, State.ENDED)
        call.cause = cause
        self.calls.remove(call)
        for party in (call.caller, call.callee):
            self._tell(party, Released(call))
        self._observe(call)
        self._deliver()

    def give_up(self, call: Call) -> None:
        """Nobody answered in the network's time."""
        if call.state in (State.DIALING, State.ALERTING):
            self.release(call, Cause.NO_ANSWER)

    def press(self, call: Call, party: Party, key: str) -> None:
        """Keys before the answer, or after the end, reach nobody."""
        if key not in KEYS:
            raise NetworkError(f"no key {key!r}")
        if call.state is State.ACTIVE:
            self._tell(call.other(party), Pressed(call, key))
        self._deliver()

    def _enter(self, call: Call, state: State) -> None:
        if state not in TRANSITIONS[call.state]:
            raise NetworkError(f"{state.value} from {call.state.value}")
        call.state = state

    def _tell(self, party: Party | None, event: Event) -> None:
        if party is not None:
            self._news.append(partial(party.told, event))

    def _observe(self, call: Call) -> None:
        for observer in self.observers:
            self._news.append(partial(observer, call, call.state))

    def _deliver(self) -> None:
        """A party that acts on what it is told does so while we tell: its news wait their turn behind ours."""
        if self._telling:
            return
        self._telling = True
        try:
            while self._news:
                self._news.popleft()()
        finally:
            self._telling = False
