"""SFVoPI on the socket: its eight messages and its rules for the end of a stream (contract, sections 7.2 to 7.10).

Every message is one JSON object in one text frame.

    we send    start  media  dtmf  clearedAudio  playedStream
    we read    playAudio  clearAudio  checkpoint

Clients that were made for Plivo's near-identical streams find theirs in a superset of these (7.11).
"""

from collections.abc import Callable, Sequence

from appliance.actions import RATES_HZ, Direction, StreamTo
from appliance.dialect import (
    Clear,
    Command,
    Fault,
    Json,
    Play,
    Press,
    around,
    audio,
    checkpoint,
    excerpt,
    number,
    read,
    template,
    text_of,
    text_or_none,
)
from native import CHUNK, SEQUENCE, TIME_MS, Codec

CONTENT_TYPES = {Codec.PCMA: "audio/PCMA", Codec.PCMU: "audio/PCMU", Codec.L16: "audio/x-l16"}
# Clients written for similar protocols really send these; compared in lower case, without parameters (7.6).
_CODECS = {
    "audio/pcma": Codec.PCMA,
    "audio/x-alaw": Codec.PCMA,
    "audio/alaw": Codec.PCMA,
    "audio/pcmu": Codec.PCMU,
    "audio/x-mulaw": Codec.PCMU,
    "audio/mulaw": Codec.PCMU,
    "audio/basic": Codec.PCMU,
    "audio/x-l16": Codec.L16,
    "audio/l16": Codec.L16,
    "audio/pcm": Codec.L16,
}

# Plivo's words for what it has, and this box has not or but one of.
ACCOUNT, TRACK = "branchline", "inbound"
KEYS, KEYS_LIMIT = set("0123456789*#ABCD"), 64


def new_stream_id(direction: Direction, ulid: str) -> str:
    part = {Direction.BOTH: "BI", Direction.INBOUND: "IN", Direction.OUTBOUND: "OUT"}[direction]
    return f"SFV_STRM_{part}_{ulid}"


class Sfvopi:
    """appliance.dialect.Dialect."""

    def __init__(self, order: StreamTo, stream_id: str, call_id: str) -> None:
        self.order = order
        self.stream_id = stream_id
        self.call_id = call_id

    def opening(self) -> list[Json]:
        return [{"event": "start", "streamId": self.stream_id, "callId": self.call_id}]

    def media_frame(self) -> tuple[bytes, bytes]:
        return around(text_of({"event": "media", "streamId": self.stream_id, "media": self._media()}))

    def _media(self) -> Json:
        return {"contentType": CONTENT_TYPES[self.order.codec], "sampleRate": self.order.rate_hz, "payload": ""}

    def dtmf(self, digit: str, time_ms: int) -> Json:
        """The digit is there twice: nested as in the protocol's relatives, and flat as this one's `start` is (7.5)."""
        return {"event": "dtmf", "streamId": self.stream_id, "dtmf": {"digit": digit}, "digit": digit}

    def played(self, name: str) -> Json:
        return {"event": "playedStream", "streamId": self.stream_id, "name": name}

    def cleared(self, names: Sequence[str]) -> list[Json]:
        """The checkpoints go unanswered, as they were not played (7.7)."""
        return [{"event": "clearedAudio", "streamId": self.stream_id}]

    def closing(self) -> list[Json]:
        """There is no `stop` (7.2)."""
        return []

    def numbered(self, message: Json, next_number: Callable[[], int]) -> Json:
        return message

    def parse(self, text: str) -> Command | Fault:
        message = read(text)
        if isinstance(message, Fault):
            return message
        stream_id = text_or_none(message.get("streamId"))
        match message.get("event"):
            case "playAudio":
                return _play(message.get("media"), stream_id, self.order.codec, self.order.rate_hz)
            case "clearAudio":
                return Clear(stream_id)
            case "checkpoint":
                return checkpoint("checkpoint", message.get("name"), stream_id)
        return self._parse_more(message, stream_id)

    def _parse_more(self, message: Json, stream_id: str | None) -> Command | Fault:
        return Fault("event", f"unknown event {excerpt(message.get('event'))}")


class Plivo(Sfvopi):
    """The superset of 7.11, for clients that were made for Plivo's streams."""

    def opening(self) -> list[Json]:
        [start] = super().opening()
        media = {"encoding": CONTENT_TYPES[self.order.codec], "sampleRate": self.order.rate_hz}
        stream = {"callId": self.call_id, "streamId": self.stream_id, "accountId": ACCOUNT}
        nested = {**stream, "tracks": [TRACK], "mediaFormat": media}
        headers = ";".join(f"{name}={value}" for name, value in self.order.headers.items())
        return [{**start, "start": nested, "extra_headers": headers}]

    def media_frame(self) -> tuple[bytes, bytes]:
        media = {"track": TRACK, "chunk": number(CHUNK), "timestamp": TIME_MS, **self._media()}
        frame = {"event": "media", "streamId": self.stream_id, "sequenceNumber": number(SEQUENCE), "media": media}
        return around(template(frame))

    def dtmf(self, digit: str, time_ms: int) -> Json:
        pressed = {"track": TRACK, "digit": digit, "timestamp": str(time_ms)}
        return {**super().dtmf(digit, time_ms), "dtmf": pressed}

    def numbered(self, message: Json, next_number: Callable[[], int]) -> Json:
        return {**message, "sequenceNumber": next_number()}

    def _parse_more(self, message: Json, stream_id: str | None) -> Command | Fault:
        if message.get("event") != "sendDTMF":
            return super()._parse_more(message, stream_id)
        digits = text_or_none(message.get("dtmf")) or ""
        if not 1 <= len(digits) <= KEYS_LIMIT or set(digits) - KEYS:
            return Fault("keys", f"sendDTMF: {excerpt(message.get('dtmf'))} are not 1 to {KEYS_LIMIT} keys")
        return Press(digits, stream_id)


def _play(media: object, stream_id: str | None, codec: Codec, rate_hz: int) -> Play | Fault:
    if not isinstance(media, dict):
        return Fault("payload", "playAudio: no media.payload")
    content_type, stated_rate = media.get("contentType"), media.get("sampleRate")
    if content_type is not None:
        name, _, parameters = content_type.lower().partition(";") if isinstance(content_type, str) else ("", "", "")
        if name.strip() not in _CODECS:
            return Fault("content type", f"playAudio: unknown contentType {excerpt(content_type)}")
        codec = _CODECS[name.strip()]
        # RFC 4856 gives L16 its rate as a parameter; the member beside it is the contract's own and wins.
        stated_rate = _rate_parameter(parameters) if stated_rate is None else stated_rate
    if stated_rate is None and rate_hz not in RATES_HZ[codec]:
        # G.711 in a stream of L16 at 16 kHz: there is but one rate it can mean.
        stated_rate = RATES_HZ[codec][0]
    rate = rate_hz if stated_rate is None else _whole_number(stated_rate)
    if rate is None or rate not in RATES_HZ[codec]:
        return Fault("rate", f"playAudio: {CONTENT_TYPES[codec]} at {excerpt(stated_rate)} Hz")
    data = audio("playAudio", media.get("payload"), codec)
    return data if isinstance(data, Fault) else Play(data, codec, rate, stream_id)


def _rate_parameter(parameters: str) -> str | None:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "rate":
            return value.strip()
    return None


def _whole_number(value: object) -> int | None:
    """Of 8000, 8000.0 and "8000"; some serialisers know no other form."""
    match value:
        case bool():
            return None
        case float() if value.is_integer():
            return int(value)
        case str() if value.isascii() and value.isdigit() and len(value) <= 6:
            return int(value)
        case int():
            return value
    return None


# -- the end of a stream ------------------------------------------------------------------------------------------

# 1000: the server is done. 1005: so it is as well when its close frame names no code, as `ws.close()` in JavaScript
# sends it. 1008: the server refuses us. Everything else is a loss (7.9).
FINAL_CLOSE_CODES = {1000, 1005, 1008}
REFUSED_CLOSE_CODE = 1008
# A handshake answered so will be answered so again (7.10).
FINAL_STATUSES = {401, 403, 404}
RECONNECT_WAITS_S = (1.0, 2.0, 4.0)
STABLE_AFTER_S = 30.0


def final_close(code: int | None) -> bool:
    """Whether the server's close is an end. None: the connection went without a close frame."""
    return code in FINAL_CLOSE_CODES


class Reconnection:
    """How long to wait before the next attempt (7.10). The first connection counts as any other."""

    def __init__(self, waits_s: Sequence[float] = RECONNECT_WAITS_S) -> None:
        self._waits_s = waits_s
        self._failures = 0
        self._connected_at: float | None = None

    def connected(self, now: float) -> None:
        self._connected_at = now

    def lost(self, now: float) -> float | None:
        """The wait before the next attempt, None when there is none left."""
        if self._connected_at is not None and now - self._connected_at >= STABLE_AFTER_S:
            self._failures = 0
        self._connected_at = None
        if self._failures == len(self._waits_s):
            return None
        self._failures += 1
        return self._waits_s[self._failures - 1]
