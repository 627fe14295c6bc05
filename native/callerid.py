"""What a caller-id message says, and how one is said: Telcordia GR-30 (North America) and ETSI EN 300 659.

A message in FSK is its type, its length and its content; a "multiple data message" has parameters in it, each again a
type, a length and a value. The keys of the other kind are `A number [D redirected] [B reason] C`, `A number #`,
`D reason #`, `D number C` or `number #`: EN 300 659-1 and its national variants.
"""

import re
from dataclasses import dataclass
from enum import Enum

from native._engine import ffi, lib
from native.codec import dtmf

SINGLE_DATA, MULTIPLE_DATA = 0x04, 0x80
TIME, NUMBER, NO_NUMBER, NAME, NO_NAME = 0x01, 0x02, 0x04, 0x07, 0x08
# MMDDhhmm.
TIME_BYTES = 8
# GR-30 and EN 300 659-3: private, or out of area (not available).
PRIVATE, OUT_OF_AREA = "P", "O"
# An FSK message of the largest size, with its preamble, is 2.6 s long at 1200 bits a second.
MOST_SAMPLES = 3 * lib.RATE_HZ

_KEYS = re.compile(r"(?:A(\d*)(?:D(\d*))?(?:B(\d*))?[C#]|D([123])#|D(\d+)C|(\d+)#)")
_KEYS_REASONS = {"00": OUT_OF_AREA, "10": PRIVATE, "1": PRIVATE, "2": OUT_OF_AREA, "3": OUT_OF_AREA}


class CallerIdKind(Enum):
    """BELL202: North America, Australia, China; V23: most of Europe; KEYS: Brazil, Denmark, India, Sweden and more."""

    BELL202 = lib.CALLER_ID_BELL202
    V23 = lib.CALLER_ID_V23
    KEYS = lib.CALLER_ID_KEYS


@dataclass(frozen=True)
class Caller:
    """`number` and `name` as sent; `absence` is why there is none: "P" private, "O" not available. `time`: MMDDhhmm."""

    number: str | None = None
    name: str | None = None
    absence: str | None = None
    time: str | None = None


def read(message: bytes, kind: CallerIdKind) -> Caller | None:
    """None: it is of something else (a message waits), or damaged."""
    if kind is CallerIdKind.KEYS:
        return _read_keys(message.decode("ascii", "replace"))
    if len(message) < 2 or len(message) < 2 + message[1]:
        return None
    content = message[2 : 2 + message[1]]
    if message[0] == SINGLE_DATA:
        return _read_single(content)
    return _read_multiple(content) if message[0] == MULTIPLE_DATA else None


def _read_single(content: bytes) -> Caller | None:
    text = content.decode("latin-1")
    time, number = text[:TIME_BYTES], text[TIME_BYTES:]
    if len(time) < TIME_BYTES:
        return None
    if number in (PRIVATE, OUT_OF_AREA):
        return Caller(absence=number, time=time)
    return Caller(number=number or None, time=time)


def _read_multiple(content: bytes) -> Caller | None:
    values: dict[int, str] = {}
    while len(content) >= 2:
        kind, size = content[0], content[1]
        if len(content) < 2 + size:
            return None
        values[kind] = content[2 : 2 + size].decode("latin-1").strip()
        content = content[2 + size :]
    absence = values.get(NO_NUMBER) or values.get(NO_NAME)
    return Caller(values.get(NUMBER), values.get(NAME), absence, values.get(TIME))


def _read_keys(keys: str) -> Caller | None:
    found = _KEYS.fullmatch(keys)
    if found is None:
        return None
    first, _, reason, other_reason, second, third = found.groups()
    number = first or second or third
    return Caller(number=number, absence=None if number else _KEYS_REASONS.get(reason or other_reason or ""))


def sound(kind: CallerIdKind, caller: Caller) -> bytes:
    """Samples at 8000 Hz of what an exchange sends.

    Raises:
        ValueError: it does not fit into a message.
    """
    if kind is CallerIdKind.KEYS:
        return dtmf(f"A{caller.number}C" if caller.number else "AB10C" if caller.absence == PRIVATE else "AB00C")
    parameters = {TIME: caller.time, NUMBER: caller.number, NAME: caller.name, NO_NUMBER: caller.absence}
    present = {type_: value.encode("latin-1") for type_, value in parameters.items() if value}
    content = b"".join(bytes((type_, len(value) % 256)) + value for type_, value in present.items())
    # libspandsp refuses what is too long, and puts the length right.
    message = bytes((MULTIPLE_DATA, len(content) % 256)) + content
    out = ffi.new("int16_t[]", MOST_SAMPLES)
    made = lib.caller_id_make(kind.value, message, len(message), out, MOST_SAMPLES)
    if not made:
        raise ValueError(f"{len(content)} bytes of caller id do not fit into a message")
    samples: bytes = ffi.buffer(out)[: 2 * made]
    return samples
