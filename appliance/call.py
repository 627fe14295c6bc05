"""One call: its states, its times, and how it came out. No audio here, and no device."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any

from drivers.line import Alerting, Answered


class Direction(Enum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Kind(Enum):
    """Who is at our end: a customer's app (SFVoPI), the relay's owner, an AI agent, a person who was called first."""

    APP = "app"
    RELAY = "relay"
    AGENT = "agent"
    BRIDGE = "bridge"

    @property
    def joins(self) -> bool:
        """The call is for two phones, and nothing to either before they are joined."""
        return self in (Kind.RELAY, Kind.BRIDGE)


class State(Enum):
    """As `+CLCC` counts them (3GPP TS 27.007 7.18), and QUEUED before there is a call on a line."""

    QUEUED = "queued"
    INCOMING = "incoming"
    DIALING = "dialing"
    ALERTING = "alerting"
    ACTIVE = "active"
    ENDED = "ended"


class Reason(Enum):
    """Why a call ended, as events tell it in `ended_reason`."""

    HANGUP = "hangup"  # by a party on the phone
    CUSTOMER = "customer"  # by the customer: his server closed the stream, or he said so over HTTP
    STREAM_LOST = "stream_lost"  # the customer's server went away and did not come back
    REFUSED = "refused"  # the network or the far phone did not take the call
    RING_TIMEOUT = "ring_timeout"
    TIME_LIMIT = "time_limit"
    ANSWER_FAILED = "answer_failed"  # the customer's server gave no instructions
    NO_LINE = "no_line"  # our own line was busy or had no network
    LINE_LOST = "line_lost"
    PAUSED = "paused"  # the relay, by its owner
    OWNER = "owner"  # the relay was called from the phone that it forwards to
    LOOP = "loop"  # the call would come back to this box
    NOT_PERMITTED = "not_permitted"  # the box's own rules, or the line's limits, forbid to dial
    FAULT = "fault"  # of this program, or what happened could not be written down
    SHUTDOWN = "shutdown"
    RESTART = "restart"  # found open after a crash or a power cut


class Outcome(Enum):
    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    CANCELED = "canceled"
    FAILED = "failed"
    ERROR = "error"


@dataclass(frozen=True)
class Dialed:
    """The device took our order to dial."""


@dataclass(frozen=True)
class Ended:
    reason: Reason
    cause: int  # ITU-T Q.850


@dataclass(frozen=True)
class Joined:
    """Both phones hear each other."""


Change = Dialed | Alerting | Answered | Joined | Ended

TRANSITIONS: dict[State, dict[type[Change], State]] = {
    State.QUEUED: {Dialed: State.DIALING, Ended: State.ENDED},
    State.INCOMING: {Answered: State.ACTIVE, Ended: State.ENDED},
    State.DIALING: {Alerting: State.ALERTING, Answered: State.ACTIVE, Ended: State.ENDED},
    State.ALERTING: {Answered: State.ACTIVE, Ended: State.ENDED},
    State.ACTIVE: {Joined: State.ACTIVE, Ended: State.ENDED},
    State.ENDED: {},
}

# ITU-T Q.850: what the far end's cause means to a caller who was not answered.
OUTCOME_OF_CAUSE = {17: Outcome.BUSY, 18: Outcome.NO_ANSWER, 19: Outcome.NO_ANSWER, 21: Outcome.BUSY}

# Our own reasons decide alone; HANGUP and REFUSED ask further.
OUTCOME_OF_REASON = {
    Reason.RING_TIMEOUT: Outcome.NO_ANSWER,
    Reason.ANSWER_FAILED: Outcome.FAILED,
    Reason.LINE_LOST: Outcome.ERROR,
    Reason.PAUSED: Outcome.BUSY,
    Reason.OWNER: Outcome.BUSY,
    Reason.LOOP: Outcome.FAILED,
    Reason.NOT_PERMITTED: Outcome.FAILED,
    Reason.FAULT: Outcome.ERROR,
    Reason.SHUTDOWN: Outcome.ERROR,
    Reason.RESTART: Outcome.ERROR,
}


class CallError(Exception):
    """Something was told of a call that its state does not know: a fault of ours."""


def outcome(direction: Direction, *, answered: bool, end: Ended) -> Outcome:
    """`answered` is whether there was a conversation."""
    if end.reason in OUTCOME_OF_REASON:
        return OUTCOME_OF_REASON[end.reason]
    if answered:
        return Outcome.COMPLETED
    if end.reason is Reason.CUSTOMER or (direction is Direction.INBOUND and end.reason is Reason.HANGUP):
        return Outcome.CANCELED
    return OUTCOME_OF_CAUSE.get(end.cause, Outcome.FAILED)


@dataclass(frozen=True)
class Call:
    """All that is known of a call, as the store keeps it. Each change gives a new value.

    Times are wall clock (UTC), for people and customers; nothing is computed from them but `duration_s`. `from_` and
    `to` are E.164, a short code, or `anonymous`. `request_uuid` is the customer's handle for a call that he asked for.
    Of a relay's call `to` is the owner's phone. `details` are what its kind knows beside, as JSON has it.
    """

    id: int
    uuid: str
    line: str
    direction: Direction
    from_: str
    to: str
    started_at: datetime
    state: State
    request_uuid: str | None = None
    app_id: str | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    end: Ended | None = None
    project: int | None = None
    kind: Kind = Kind.APP
    relay_number: str | None = None
    joined_at: datetime | None = None
    revision: int = 1
    details: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, change: Change, at: datetime) -> "Call":
        """Raises CallError for what the table does not know."""
        try:
            state = TRANSITIONS[self.state][type(change)]
        except KeyError:
            raise CallError(f"{type(change).__name__} in state {self.state.name}") from None
        match change:
            case Alerting():
                return replace(self, state=state, started_at=at)
            case Answered():
                return replace(self, state=state, answered_at=at)
            case Joined():
                return replace(self, state=state, joined_at=at)
            case Ended():
                return replace(self, state=state, ended_at=at, end=change)
        return replace(self, state=state)

    @property
    def number(self) -> str:
        """Our own side of the call."""
        return self.relay_number or (self.to if self.direction is Direction.INBOUND else self.from_)

    @property
    def talked_at(self) -> datetime | None:
        """Since when those talk whom the call is for."""
        return self.joined_at if self.kind.joins else self.answered_at

    @property
    def outcome(self) -> Outcome | None:
        """None until the end."""
        if self.end is None:
            return None
        return outcome(self.direction, answered=self.talked_at is not None, end=self.end)

    @property
    def duration_s(self) -> int:
        """From answer or join to end, whole seconds rounded down; 0 if there was none (sfvopi 6.7, phonevoice 7.3)."""
        if self.talked_at is None or self.ended_at is None:
            return 0
        # A restart ends a call by the clock, which may have been set back: no negative bill.
        return max(0, int((self.ended_at - self.talked_at).total_seconds()))
