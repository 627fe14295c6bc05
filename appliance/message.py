"""A short message of the box, and how each of its parts fares: states, retries, what a whole comes to. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from appliance.call import Direction

# After each failure that may pass; the last one repeats until the message expires.
RETRY_AFTER_S = (5, 30, 120, 600, 1800)
# phonevoice 7.5: of an incoming message, what is there is told when the rest has not come in so long.
PATIENCE_S = 600
VALIDITY_S = 86400
# 23.040 9.2.3.12.1: what can be said to a service centre.
SHORTEST_VALIDITY_S, LONGEST_VALIDITY_S = 300, 63 * 7 * 86400


class PartState(StrEnum):
    QUEUED = "queued"
    # On its way to the network; after a crash perhaps there, and sent again.
    SENDING = "sending"
    # Taken by the service centre.
    SENT = "sent"
    # By the recipient's phone, as the service centre reports.
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    EXPIRED = "expired"
    RECEIVED = "received"
    # Of an incoming message: it did not come in time.
    MISSING = "missing"


# Of its parts' states, the first of these that there is, is the message's.
_PRECEDENCE = (
    PartState.FAILED,
    PartState.EXPIRED,
    PartState.UNDELIVERED,
    PartState.SENDING,
    PartState.QUEUED,
    PartState.SENT,
    PartState.DELIVERED,
    PartState.RECEIVED,
)
WAITING = (PartState.QUEUED, PartState.SENDING)


@dataclass(frozen=True)
class MessagePart:
    """`reference` is the network's for a sent one, `at` when it came into its state; `error` is for people."""

    number: int
    state: PartState
    attempts: int = 0
    reference: int | None = None
    error: str | None = None
    at: datetime | None = None
    # As it came or goes, in hexadecimal (3GPP TS 23.040); empty where it is missing.
    pdu: str = ""


@dataclass(frozen=True)
class Message:
    """`text` is empty for what is no text. `sent_at` is the sender's service centre's time, of an incoming message."""

    id: str
    seq: int
    line: str
    direction: Direction
    from_: str
    to: str
    text: str
    created_at: datetime
    sent_at: datetime | None
    expires_at: datetime | None
    report: bool
    parts: Sequence[MessagePart]

    @property
    def state(self) -> PartState:
        states = {part.state for part in self.parts}
        # One part is out, another still waits.
        if PartState.QUEUED in states and PartState.SENT in states:
            states.add(PartState.SENDING)
        return next(state for state in _PRECEDENCE if state in states)


def retry_after_s(attempts: int) -> float:
    """The wait after the `attempts`-th failure."""
    return RETRY_AFTER_S[min(attempts, len(RETRY_AFTER_S)) - 1]
