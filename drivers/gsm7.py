"""The GSM 7 bit alphabet (3GPP TS 23.038): characters, septets, and septets in octets.

Septets are bytes of 0 to 127, one each; what is in no table of the default alphabet goes as UCS-2 instead.
"""

from collections.abc import Iterator
from functools import cache

import gsmcodecs

# The package registers the tables as Python codecs of this name, by its being imported.
CODEC = "gsm23.038"
assert gsmcodecs.findCodec(CODEC)

ESCAPE = 0x1B
# 6.2.1.2.4: Turkish to Urdu, and 0 for the default.
LANGUAGES = range(14)
# 6.1.2.3: what seven spare bits at the end of a USSD text are filled with, lest they be read as an "@".
FILL = 0x0D
# 6.2.1.1: stands for a second escape, or for one with nothing behind it.
_LONE_ESCAPE = " "


@cache
def _locking(language: int) -> tuple[str, ...]:
    return tuple(bytes([code]).decode(f"{CODEC}-{language}-0", "ignore") for code in range(128))


@cache
def _single(language: int) -> tuple[str, ...]:
    return tuple(bytes([ESCAPE, code]).decode(f"{CODEC}-0-{language}", "ignore") for code in range(128))


@cache
def _septets() -> dict[str, bytes]:
    shifted = {character: bytes([ESCAPE, code]) for code, character in enumerate(_single(0)) if character}
    plain = {character: bytes([code]) for code, character in enumerate(_locking(0)) if code != ESCAPE}
    return shifted | plain


def fits(text: str) -> bool:
    return all(character in _septets() for character in text)


def encode(text: str) -> list[bytes]:
    """One or two septets for each character, which must not be torn apart. Raises: KeyError, unless it `fits`."""
    return [_septets()[character] for character in text]


def decode(septets: bytes, *, locking: int = 0, single: int = 0) -> str:
    """The languages are those of 6.2.1.2.4, and 0 for none. Never raises: a code with no character is its locking
    table's, as a display shows it (6.2.1.1), or nothing.
    """
    return "".join(_characters(septets, _locking(locking), _single(single)))


def _characters(septets: bytes, locking: tuple[str, ...], single: tuple[str, ...]) -> Iterator[str]:
    escaped = False
    for code in septets:
        if code == ESCAPE:
            if escaped:
                yield _LONE_ESCAPE
            escaped = not escaped
        else:
            yield (escaped and single[code]) or locking[code]
            escaped = False
    if escaped:
        yield _LONE_ESCAPE


def pack(septets: bytes, *, fill: int = 0) -> bytes:
    """Eight septets in seven octets, the first in the lowest bits (6.1.2.1), behind `fill` bits of nothing."""
    bits = sum(code << (7 * place) for place, code in enumerate(septets)) << fill
    return bits.to_bytes((7 * len(septets) + fill + 7) // 8, "little")


def unpack(octets: bytes, count: int | None = None, *, fill: int = 0) -> bytes:
    """`count` septets; as many as there are when it is None, or when there are fewer."""
    bits = int.from_bytes(octets, "little") >> fill
    there = max(0, 8 * len(octets) - fill) // 7
    return bytes(bits >> (7 * place) & 0x7F for place in range(there if count is None else min(count, there)))
