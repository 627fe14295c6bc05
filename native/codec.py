"""Sound in blocks, apart from any engine: G.711, and the tones of a telephone's keys."""

import math
from array import array
from collections.abc import Callable
from typing import Any

from native._engine import ffi, lib

# ITU-T Q.23: a key sounds its row's and its column's frequency.
ROWS_HZ = (697, 770, 852, 941)
COLUMNS_HZ = (1209, 1336, 1477, 1633)
KEYS = "123A456B789C*0#D"
# Each tone alone is 13 dB below full scale: -10 dBm0, a telephone's usual level.
TONE_AMPLITUDE = 7300


def alaw_encode(pcm: bytes) -> bytes:
    return _encode(lib.alaw_encode, pcm)


def alaw_decode(coded: bytes) -> bytes:
    return _decode(lib.alaw_decode, coded)


def ulaw_encode(pcm: bytes) -> bytes:
    return _encode(lib.ulaw_encode, pcm)


def ulaw_decode(coded: bytes) -> bytes:
    return _decode(lib.ulaw_decode, coded)


def dtmf(digits: str, on_ms: int = 100, off_ms: int = 100) -> bytes:
    """Samples at 8000 Hz, a pause after each digit.

    Raises:
        ValueError: a character that is no key.
    """
    samples = array("h")
    for digit in digits:
        row, column = divmod(KEYS.index(digit), 4)
        steps = [2 * math.pi * hz / lib.RATE_HZ for hz in (ROWS_HZ[row], COLUMNS_HZ[column])]
        count = on_ms * lib.RATE_HZ // 1000
        samples.extend(round(TONE_AMPLITUDE * sum(math.sin(step * i) for step in steps)) for i in range(count))
        samples.extend([0] * (off_ms * lib.RATE_HZ // 1000))
    return samples.tobytes()


def whole_samples(pcm: bytes) -> Any:
    """They stay the caller's. Raises: ValueError: the last one is not whole."""
    size_bytes = len(ffi.from_buffer(pcm))
    if size_bytes % 2:
        raise ValueError(f"{size_bytes} bytes are not whole samples")
    return ffi.from_buffer("int16_t[]", pcm)


def _encode(encode: Callable[[Any, Any, int], None], pcm: bytes) -> bytes:
    samples = whole_samples(pcm)
    out = bytearray(len(samples))
    encode(ffi.from_buffer("uint8_t[]", out), samples, len(samples))
    return bytes(out)


def _decode(decode: Callable[[Any, Any, int], None], coded: bytes) -> bytes:
    codes = ffi.from_buffer("uint8_t[]", coded)
    out = bytearray(2 * len(codes))
    decode(ffi.from_buffer("int16_t[]", out), codes, len(codes))
    return bytes(out)
