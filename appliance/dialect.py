"""What a stream says on its socket and understands of it, whichever protocol's words it uses.

A message is a JSON object in one text frame. What servers send was written by anybody: nothing here raises for it, a
message that breaks a rule is a Fault.
"""

import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from native import CHUNK, SEQUENCE, TIME_MS, Codec

Json = dict[str, Any]

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
    # Whom the message says it is for: a wrong one is honoured and logged.
    stream_id: str | None = None


@dataclass(frozen=True)
class Clear:
    stream_id: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    name: str
    stream_id: str | None = None


@dataclass(frozen=True)
class Press:
    """Keys to be heard by the far end of the call."""

    digits: str
    stream_id: str | None = None


@dataclass(frozen=True)
class Fault:
    """A message to drop. `kind` is one of a few fixed words, to count by; `reason` a sentence for the log."""

    kind: str
    reason: str


Command = Play | Clear | Checkpoint | Press


class Dialect(Protocol):
    """One stream's; what it says are messages without a number. `stream_id` is what servers name it by."""

    @property
    def stream_id(self) -> str: ...

    def opening(self) -> list[Json]:
        """On each connection, before all else."""

    def media_frame(self) -> tuple[bytes, bytes]:
        """What stands before and after a frame's base64, with SEQUENCE, CHUNK and TIME_MS where numbers belong."""

    def dtmf(self, digit: str, time_ms: int) -> Json: ...

    def played(self, name: str) -> Json:
        """A checkpoint was passed."""

    def cleared(self, names: Sequence[str]) -> list[Json]:
        """The queue was emptied, and these checkpoints with it."""

    def closing(self) -> list[Json]:
        """When we end the stream, before the close."""

    def numbered(self, message: Json, next_number: Callable[[], int]) -> Json:
        """As it goes out; a message that counts takes its number among all of the stream, frames included."""

    def parse(self, text: str) -> Command | Fault: ...


def text_of(message: Json) -> str:
    return json.dumps(message, separators=(",", ":"))


def around(text: str) -> tuple[bytes, bytes]:
    """What stands before and after the payload of a message that has an empty one, and no other text that is empty."""
    head, quotes, tail = text.rpartition('""')
    return (head + quotes[0]).encode(), (quotes[1] + tail).encode()


def number(mark: str) -> str:
    """A value that is a number in `template`, where the mark alone is a text."""
    return f"#{mark}"


def template(message: Json) -> str:
    """With SEQUENCE, CHUNK and TIME_MS as the engine wants them, which JSON would escape. All texts must be ours."""
    text = text_of(message)
    for mark in (SEQUENCE, CHUNK, TIME_MS):
        escaped = json.dumps(mark).strip('"')
        text = text.replace(f'"#{escaped}"', mark).replace(escaped, mark)
    return text


def read(text: str) -> Json | Fault:
    if len(text) > LONG_CHARACTERS and sum(map(text.count, SEPARATORS)) > SEPARATORS_LIMIT:
        return Fault("parts", f"more than {SEPARATORS_LIMIT} parts in {len(text)} characters")
    try:
        message = json.loads(text)
    # RecursionError: "[[[[..." a hundred thousand deep.
    except (ValueError, RecursionError) as exc:
        return Fault("json", f"not JSON: {exc}")
    return message if isinstance(message, dict) else Fault("json", "not a JSON object")


def checkpoint(event: str, name: object, stream_id: str | None) -> Checkpoint | Fault:
    if not isinstance(name, str) or not 1 <= len(name) <= CHECKPOINT_NAME_LENGTH:
        return Fault("name", f"{event}: name is no string of 1 to {CHECKPOINT_NAME_LENGTH} characters")
    return Checkpoint(name, stream_id)


def audio(event: str, payload: object, codec: Codec) -> bytes | Fault:
    """Of a payload in base64, which must be whole samples of the codec."""
    if not isinstance(payload, str):
        return Fault("payload", f"{event}: no media.payload")
    try:
        data = binascii.a2b_base64(payload, strict_mode=True)
    except ValueError as exc:
        return Fault("base64", f"{event}: {exc}")
    # binascii's strict mode lets one "=" too many pass.
    if len(payload) % 4:
        return Fault("base64", f"{event}: Incorrect padding")
    if codec is Codec.L16 and len(data) % 2:
        return Fault("odd", f"{event}: {len(data)} bytes are no whole number of 16-bit samples")
    return data


def text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def excerpt(value: object) -> str:
    """For a log: short, printable. A list may be too deep to be written out."""
    if isinstance(value, list | dict):
        return type(value).__name__
    text = ascii(value[:40] if isinstance(value, str) else value)
    return text if len(text) <= 40 else text[:37] + "..."


def around_payload(text: str, play: Play, parse: Callable[[str], Command | Fault]) -> tuple[bytes, bytes] | None:
    """What stands before and after the payload of the message that `play` was read from. Every message that has other
    base64 between them means the same with other audio, as the parser itself has proved. None: it cannot tell.
    """
    found = max(_BASE64_STRING.finditer(text), key=lambda found: found.end() - found.start(), default=None)
    if found is None or play.data == _PROBE:
        return None
    before, after = text[: found.start(1)], text[found.end(1) :]
    probe = parse(before + binascii.b2a_base64(_PROBE, newline=False).decode() + after)
    # It is the payload that was changed, if the audio has changed with it.
    return (before.encode(), after.encode()) if probe == replace(play, data=_PROBE) else None
