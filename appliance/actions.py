"""Orders of the customer, whichever contract they came by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from native import Codec


class Direction(Enum):
    """Which way a stream's audio flows, as seen from the phone line."""

    BOTH = "both"
    INBOUND = "inbound"
    OUTBOUND = "outbound"

    @property
    def to_customer(self) -> bool:
        return self is not Direction.OUTBOUND

    @property
    def to_caller(self) -> bool:
        return self is not Direction.INBOUND


class Protocol(Enum):
    """Whose words a stream's messages have."""

    SFVOPI = "sfvopi"
    PLIVO = "plivo"
    TWILIO = "twilio"


# G.711 is defined at 8000 Hz; at another rate it would be played at the wrong speed (sfvopi 6.3, 11).
RATES_HZ: Mapping[Codec, Sequence[int]] = {
    Codec.PCMA: (8000,),
    Codec.PCMU: (8000,),
    Codec.L16: (8000, 16000, 24000, 32000, 44100, 48000),
}


@dataclass(frozen=True)
class StreamTo:
    """Join the call to a WebSocket media session at the customer's server."""

    url: str
    codec: Codec = Codec.PCMA
    rate_hz: int = 8000
    direction: Direction = Direction.BOTH
    # False: the customer's audio is not played, whatever the direction says.
    bidirectional: bool = True
    timeout_s: int = 86400
    # What becomes of the call when the stream has ended by itself.
    keep_call_alive: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    protocol: Protocol = Protocol.SFVOPI
    # So much of what the caller says while there is no connection is sent when there is one.
    keep_audio_s: int = 0

    @property
    def plays(self) -> bool:
        return self.bidirectional and self.direction.to_caller
