"""Twilio's Media Streams on the socket, for bots that were made for them: mu-law at 8000 Hz, both ways.

    we send    connected  start  media  dtmf  mark  stop
    we read    media  mark  clear

Names, members and which of them are text are those of Twilio's page "Media Streams - WebSocket Messages". Its
<Parameter> elements are the Stream JSON's `extra_headers`. What ends a stream, and what becomes of a lost one, is as
in every other stream of this box.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

from appliance.actions import StreamTo
from appliance.dialect import (
    Clear,
    Command,
    Fault,
    Json,
    Play,
    around,
    audio,
    checkpoint,
    excerpt,
    read,
    template,
    text_or_none,
)
from native import CHUNK, SEQUENCE, TIME_MS, Codec

RATE_HZ = 8000
PROTOCOL, VERSION = "Call", "1.0.0"


def sid(prefix: str, seed: str) -> str:
    """An id of Twilio's shape, two letters and 32 hexadecimal digits; the same seed has the same."""
    return prefix + sha256(seed.encode()).hexdigest()[:32]


class Twilio:
    """appliance.dialect.Dialect. The order's codec is PCMU."""

    def __init__(self, order: StreamTo, stream_id: str, call_id: str) -> None:
        self.stream_id = sid("MZ", stream_id)
        # A UUID is 32 hexadecimal digits: who joins the stream and the webhooks finds one in the other.
        self.call_id = "CA" + call_id.replace("-", "")
        self._account = sid("AC", "branchline")
        self._parameters = dict(order.headers)

    def opening(self) -> list[Json]:
        start = {
            "accountSid": self._account,
            "streamSid": self.stream_id,
            "callSid": self.call_id,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE_HZ, "channels": 1},
            "customParameters": self._parameters,
        }
        connected = {"event": "connected", "protocol": PROTOCOL, "version": VERSION}
        return [connected, {"event": "start", "streamSid": self.stream_id, "start": start}]

    def media_frame(self) -> tuple[bytes, bytes]:
        media = {"track": "inbound", "chunk": CHUNK, "timestamp": TIME_MS, "payload": ""}
        frame = {"event": "media", "sequenceNumber": SEQUENCE, "media": media, "streamSid": self.stream_id}
        return around(template(frame))

    def dtmf(self, digit: str, time_ms: int) -> Json:
        return {"event": "dtmf", "streamSid": self.stream_id, "dtmf": {"track": "inbound_track", "digit": digit}}

    def played(self, name: str) -> Json:
        return {"event": "mark", "streamSid": self.stream_id, "mark": {"name": name}}

    def cleared(self, names: Sequence[str]) -> list[Json]:
        """A clear sends back the marks that it has overtaken."""
        return [self.played(name) for name in names]

    def closing(self) -> list[Json]:
        stop = {"accountSid": self._account, "callSid": self.call_id}
        return [{"event": "stop", "streamSid": self.stream_id, "stop": stop}]

    def numbered(self, message: Json, next_number: Callable[[], int]) -> Json:
        return message if message["event"] == "connected" else {**message, "sequenceNumber": str(next_number())}

    def parse(self, text: str) -> Command | Fault:
        message = read(text)
        if isinstance(message, Fault):
            return message
        stream_id = text_or_none(message.get("streamSid"))
        match message.get("event"):
            case "media":
                data = audio("media", _member(message, "media", "payload"), Codec.PCMU)
                return data if isinstance(data, Fault) else Play(data, Codec.PCMU, RATE_HZ, stream_id)
            case "mark":
                return checkpoint("mark", _member(message, "mark", "name"), stream_id)
            case "clear":
                return Clear(stream_id)
        return Fault("event", f"unknown event {excerpt(message.get('event'))}")


def _member(message: Json, outer: str, inner: str) -> object:
    found = message.get(outer)
    return found.get(inner) if isinstance(found, dict) else None
