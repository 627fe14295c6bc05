"""SFVoPI on the socket: its eight messages and its rules for the end of a stream (contract, sections 7.2 to 7.10).

Every message is one JSON object in one text frame.

    we send    start  media  dtmf  clearedAudio  playedStream
    we read    playAudio  clearAudio  checkpoint

What we read was written by anybody: `parse` never raises, a message that breaks a rule is a Fault.
"""

import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from appliance.actions import RATES_HZ, Direction
from native import Codec

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
# A long message is long for its audio, which has none of these. Of 15 MB of `[],[],` json makes five million objects,
# and for a second nothing else runs: a thread would not help, as it does not let go of the interpreter.
LONG_CHARACTERS = 256 * 1024
SEPARATORS = ",[{"
SEPARATORS_LIMIT = 1000
CHECKPOINT_NAME_LENGTH = 1024

# A whole JSON string of base64, with "/" and "+" as some serialisers write them.
_BASE64_STRING = re.compile(r'"([A-Za-z0-9+/=]*(?:(?:\\/|\\u002[Bb])[A-Za-z0-9+/=]*)*)"')
# Audio of any codec, as it is whole samples.
_PROBE = b"probed"


@dataclass(frozen=True)
class Play:
    """Audio for the caller. `data` is in `codec` and whole samples; it may be empty."""

    data: bytes
    codec: Codec
    rate_hz: int
    # Whom the message says it is for: a wrong one is honoured and logged (7.6).
    stream_id: str | None = None


@dataclass(frozen=True)
class Clear:
    stream_id: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    name: str
    stream_id: str | None = None


@dataclass(frozen=True)
class Fault:
    """A message to drop. `kind` is one of a few fixed words, to count by; `reason` a sentence for the log."""

    kind: str
    reason: str


Command = Play | Clear | Checkpoint


def new_stream_id(direction: Direction, ulid: str) -> str:
    part = {Direction.BOTH: "BI", Direction.INBOUND: "IN", Direction.OUTBOUND: "OUT"}[direction]
    return f"SFV_STRM_{part}_{ulid}"


def start(stream_id: str, call_id: str) -> str:
    return _text(event="start", streamId=stream_id, callId=call_id)


def media_frame(stream_id: str, codec: Codec, rate_hz: int) -> tuple[bytes, bytes]:
    """What stands before and after a frame's base64: the text is the same for every frame of a stream."""
    media = {"contentType": CONTENT_TYPES[codec], "sampleRate": rate_hz, "payload": ""}
    head, quotes, tail = _text(event="media", streamId=stream_id, media=media).rpartition('""')
    return (head + quotes[0]).encode(), (quotes[1] + tail).encode()


def dtmf(stream_id: str, digit: str) -> str:
    """The digit is there twice: nested as in the protocol's relatives, and flat as this one's `start` is (7.5)."""
    return _text(event="dtmf", streamId=stream_id, dtmf={"digit": digit}, digit=digit)


def cleared(stream_id: str) -> str:
    return _text(event="clearedAudio", streamId=stream_id)


def played(stream_id: str, name: str) -> str:
    return _text(event="playedStream", streamId=stream_id, name=name)


def parse(text: str, *, codec: Codec, rate_hz: int) -> Command | Fault:
    """`codec` and `rate_hz` are the stream's own, for a message that does not state its own."""
    if len(text) > LONG_CHARACTERS and sum(map(text.count, SEPARATORS)) > SEPARATORS_LIMIT:
        return Fault("parts", f"more than {SEPARATORS_LIMIT} parts in {len(text)} characters")
    try:
        message = json.loads(text)
    # RecursionError: "[[[[..." a hundred thousand deep.
    except (ValueError, RecursionError) as exc:
        return Fault("json", f"not JSON: {exc}")
    if not isinstance(message, dict):
        return Fault("json", "not a JSON object")
    stream_id = message.get("streamId")
    stream_id = stream_id if isinstance(stream_id, str) else None
    match message.get("event"):
        case "playAudio":
            return _play(message.get("media"), stream_id, codec, rate_hz)
        case "clearAudio":
            return Clear(stream_id)
        case "checkpoint":
            name = message.get("name")
            if not isinstance(name, str) or not 1 <= len(name) <= CHECKPOINT_NAME_LENGTH:
                return Fault("name", f"checkpoint: name is no string of 1 to {CHECKPOINT_NAME_LENGTH} characters")
            return Checkpoint(name, stream_id)
        case unknown:
            return Fault("event", f"unknown event {_excerpt(unknown)}")


def around_payload(text: str, play: Play, *, codec: Codec, rate_hz: int) -> tuple[bytes, bytes] | None:
    """What stands before and after the payload of the message that `play` was read from. Every message that has other
    base64 between them means the same with other audio, as the parser itself has proved. None: it cannot tell.
    """
    found = max(_BASE64_STRING.finditer(text), key=lambda found: found.end() - found.start(), default=None)
    if found is None or play.data == _PROBE:
        return None
    before, after = text[: found.start(1)], text[found.end(1) :]
    probe = parse(before + binascii.b2a_base64(_PROBE, newline=False).decode() + after, codec=codec, rate_hz=rate_hz)
    # It is the payload that was changed, if the audio has changed with it.
    return (before.encode(), after.encode()) if probe == replace(play, data=_PROBE) else None


def _play(media: object, stream_id: str | None, codec: Codec, rate_hz: int) -> Play | Fault:
    if not isinstance(media, dict) or not isinstance(media.get("payload"), str):
        return Fault("payload", "playAudio: no media.payload")
    content_type, stated_rate = media.get("contentType"), media.get("sampleRate")
    if content_type is not None:
        name, _, parameters = content_type.lower().partition(";") if isinstance(content_type, str) else ("", "", "")
        if name.strip() not in _CODECS:
            return Fault("content type", f"playAudio: unknown contentType {_excerpt(content_type)}")
        codec = _CODECS[name.strip()]
        # RFC 4856 gives L16 its rate as a parameter; the member beside it is the contract's own and wins.
        stated_rate = _rate_parameter(parameters) if stated_rate is None else stated_rate
    if stated_rate is None and rate_hz not in RATES_HZ[codec]:
        # G.711 in a stream of L16 at 16 kHz: there is but one rate it can mean.
        stated_rate = RATES_HZ[codec][0]
    rate = rate_hz if stated_rate is None else _whole_number(stated_rate)
    if rate is None or rate not in RATES_HZ[codec]:
        return Fault("rate", f"playAudio: {CONTENT_TYPES[codec]} at {_excerpt(stated_rate)} Hz")
    payload = media["payload"]
    try:
        data = binascii.a2b_base64(payload, strict_mode=True)
    except ValueError as exc:
        return Fault("base64", f"playAudio: {exc}")
    # binascii's strict mode lets one "=" too many pass.
    if len(payload) % 4:
        return Fault("base64", "playAudio: Incorrect padding")
    if codec is Codec.L16 and len(data) % 2:
        return Fault("odd", f"playAudio: {len(data)} bytes are no whole number of 16-bit samples")
    return Play(data, codec, rate, stream_id)


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


def _text(**members: object) -> str:
    return json.dumps(members, separators=(",", ":"))


def _excerpt(value: object) -> str:
    """For a log: short, printable. A list may be too deep to be written out."""
    if isinstance(value, list | dict):
        return type(value).__name__
    text = ascii(value[:40] if isinstance(value, str) else value)
    return text if len(text) <= 40 else text[:37] + "..."


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
