"""USSD, the menus behind *123#: what +CUSD carries, in whatever charset and coding this module has it.

    AT+CUSD=1,"<text>",<dcs>          ours: a code, or an answer to a menu; AT+CUSD=2 leaves the menu
    +CUSD: <m>[,"<text>"[,<dcs>]]     the network's: <m> says whether it waits for an answer (27.007 7.15)

<text> is written as AT+CSCS says on most modules, in hexadecimal with UCS2; packed septets in hexadecimal on Huawei,
whatever was said; and some firmware mixes these. So it is read as what it can be.
"""

import re
from dataclasses import dataclass
from enum import Enum

from drivers import gsm7

# 23.038 5: "language unspecified, default alphabet", which all send.
CODING = 15

_CUSD = re.compile(r'\+CUSD: *(\d+)(?:, *"(.*?)"?(?:, *(\d+))? *)?$', re.DOTALL)
_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2})+")


class Outcome(Enum):
    """<m> of +CUSD."""

    DONE = 0
    # The network waits for an answer.
    MORE = 1
    # By the network; mostly with nothing to say.
    ENDED = 2
    # Somebody else answered.
    TAKEN = 3
    UNSUPPORTED = 4
    TIMEOUT = 5


@dataclass(frozen=True)
class News:
    """`raw` is the text as it was written, for whoever must find out what a firmware means."""

    outcome: Outcome
    text: str
    raw: str


def read(line: str, charset: str) -> News | None:
    """A +CUSD line; None when it makes no sense. `charset` is what AT+CSCS is set to."""
    match = _CUSD.match(line)
    if match is None or int(match[1]) not in range(6):
        return None
    raw = match[2] or ""
    return News(Outcome(int(match[1])), decode(raw, int(match[3] or CODING), charset), raw)


def decode(raw: str, coding: int, charset: str) -> str:
    """Never raises."""
    octets = bytes.fromhex(raw) if _HEXADECIMAL.fullmatch(raw) else b""
    if octets:
        if len(octets) % 2 == 0 and (charset == "UCS2" or is_ucs2(coding) or _looks_like_ucs2(octets)):
            return _ucs2(octets, coding)
        if is_data(coding):
            return octets.decode("ascii", "replace")
        # A short row of digits is more likely a balance than packed letters.
        packed = _packed(octets)
        if _is_readable(packed) and (len(octets) > 8 or not raw.isdecimal()):
            return packed
    return raw if charset != "GSM" else _gsm_text(raw)


def is_ucs2(coding: int) -> bool:
    """23.038 5: with a language in front (17), of a message class, or general."""
    return coding == 0x11 or (coding >> 6 == 1 and coding & 0x0C == 0x08)


def is_data(coding: int) -> bool:
    return (coding >> 6 == 1 and coding & 0x0C == 0x04) or coding & 0xF4 == 0xF4


def _looks_like_ucs2(octets: bytes) -> bool:
    """Whatever was said of it: every other octet is the Latin page, or one other of an alphabet."""
    pages = set(octets[::2]) - {0x00, 0x20}
    return len(octets) >= 4 and len(pages) <= 1 and all(page < 0x10 for page in pages)


def _ucs2(octets: bytes, coding: int) -> str:
    text = octets.decode("utf-16-be", "replace")
    # 0001 0001: two letters of a language, packed in two octets, stand before the text.
    if coding == 0x11 and len(octets) > 2 and gsm7.decode(gsm7.unpack(octets[:2], 2)).islower():
        return text[1:]
    return text


def _packed(octets: bytes) -> str:
    septets = gsm7.unpack(octets)
    # Seven spare bits are filled with CR (23.038 6.1.2.3.1), or with nothing by who does not know that.
    if len(septets) % 8 == 0 and septets[-1:] in (b"\r", b"\0"):
        septets = septets[:-1]
    return gsm7.decode(septets)


def _is_readable(text: str) -> bool:
    """As people write: what is no text, unpacked, is full of Greek and controls."""
    plain = sum(character.isascii() and (character.isprintable() or character in "\r\n") for character in text)
    return plain >= 0.8 * len(text)


def _gsm_text(raw: str) -> str:
    """AT+CSCS="GSM" means the alphabet's own codes, and many a firmware writes ASCII all the same.

    The two differ in a dozen signs; a control code can only be the former's.
    """
    controls = any(ord(character) < 0x20 and character not in "\r\n" for character in raw)
    if not controls or not raw.isascii():
        return raw
    return gsm7.decode(raw.encode("ascii"))


def encode(text: str, charset: str, *, packed: bool) -> str:
    """What goes between the quotes; `packed` is the model's way. Raises: ValueError for what can't be sent."""
    if not gsm7.fits(text) or '"' in text or not text.isprintable():
        raise ValueError("not a USSD code")
    if packed:
        septets = b"".join(gsm7.encode(text))
        if len(septets) % 8 == 7:
            septets += bytes([gsm7.FILL])
        return gsm7.pack(septets).hex().upper()
    return text.encode("utf-16-be").hex().upper() if charset == "UCS2" else text
