"""What a short message says: a text, or one part of it with a header, in one of three alphabets (23.040 9.2.3.24).

UD        [UDHL (IEI length data)*] text          UDL, before it, counts septets in GSM7, else octets
part      00 03 reference total number            one of a text that is too long for one message
          08 04 reference(2) total number
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import groupby

from drivers import gsm7

# What a message holds, with a header of concatenation and without.
SEPTETS, SEPTETS_IN_PART = 160, 153
UCS2_OCTETS, UCS2_OCTETS_IN_PART = 140, 134
# A part's number is an octet.
PARTS_LIMIT = 255


class Alphabet(Enum):
    """As bits 2 and 3 of a data coding scheme (23.038 4)."""

    GSM7 = 0
    DATA = 1
    UCS2 = 2


@dataclass(frozen=True)
class Part:
    """One of the `total` that a message was sent in; `number` counts from 1."""

    reference: int
    total: int
    number: int


@dataclass(frozen=True)
class UserData:
    """`content` is one septet a byte in GSM7, else octets; languages are of 23.038 6.2.1.2.4, 0 for none."""

    alphabet: Alphabet
    content: bytes
    part: Part | None = None
    # Destination and source: what is for a program, not for a reader.
    ports: tuple[int, int] | None = None
    locking: int = 0
    single: int = 0

    @property
    def text(self) -> str:
        """Empty for data that is no text."""
        match self.alphabet:
            case Alphabet.GSM7:
                return gsm7.decode(self.content, locking=self.locking, single=self.single)
            case Alphabet.UCS2:
                # The standard says UCS-2; what is sent is UTF-16, with emoji as surrogates.
                return self.content.decode("utf-16-be", "replace")
        readable = all(octet in b"\r\n\t" or 0x20 <= octet < 0x7F for octet in self.content)
        return self.content.decode("ascii") if readable and self.ports is None else ""


def split(text: str, *, reference: int) -> list[UserData]:
    """In as few parts as it takes, never within a character. Raises: ValueError when PARTS_LIMIT do not suffice."""
    if gsm7.fits(text):
        alphabet, units = Alphabet.GSM7, gsm7.encode(text)
        alone, in_part = SEPTETS, SEPTETS_IN_PART
    else:
        # What has no encoding at all, half a surrogate pair, becomes a question mark.
        alphabet, units = Alphabet.UCS2, [character.encode("utf-16-be", "replace") for character in text]
        alone, in_part = UCS2_OCTETS, UCS2_OCTETS_IN_PART
    if sum(map(len, units)) <= alone:
        return [UserData(alphabet, b"".join(units))]
    contents = list(_filled(units, in_part))
    if len(contents) > PARTS_LIMIT:
        raise ValueError(f"{len(contents)} parts, of {PARTS_LIMIT} at most")
    parts = [Part(reference % 256, len(contents), number) for number in range(1, len(contents) + 1)]
    return [UserData(alphabet, content, part) for content, part in zip(contents, parts, strict=True)]


def _filled(units: Iterable[bytes], limit: int) -> Iterator[bytes]:
    content = b""
    for unit in units:
        if len(content) + len(unit) > limit:
            yield content
            content = b""
        content += unit
    yield content


def join(parts: Sequence[UserData]) -> str:
    """The text of parts in order; also when their sender tore a character apart."""
    alike = groupby(parts, key=lambda data: (data.alphabet, data.locking, data.single, data.ports))
    runs = (list(run) for _, run in alike)
    return "".join(replace(run[0], content=b"".join(data.content for data in run)).text for run in runs)


def decode(octets: bytes, length: int, alphabet: Alphabet, *, headed: bool) -> UserData:
    """`length` is UDL. Never raises: of a text that ends too early, what is there is shown: nobody sends it again."""
    octets = octets if alphabet is Alphabet.GSM7 else octets[:length]
    header = octets[: octets[0] + 1] if headed and octets else b""
    data = _from_header(header, alphabet)
    if alphabet is not Alphabet.GSM7:
        return replace(data, content=octets[len(header) :])
    in_header, fill = _edge(header)
    return replace(data, content=gsm7.unpack(octets[len(header) :], max(0, length - in_header), fill=fill))


def encode(data: UserData) -> bytes:
    """UDL and UD."""
    header = header_of(data)
    if data.alphabet is not Alphabet.GSM7:
        return bytes([len(header) + len(data.content)]) + header + data.content
    in_header, fill = _edge(header)
    return bytes([in_header + len(data.content)]) + header + gsm7.pack(data.content, fill=fill)


def _edge(header: bytes) -> tuple[int, int]:
    """The septets that a header takes, as the text begins at a septet's edge; and the bits left over in the last."""
    septets = (8 * len(header) + 6) // 7
    return septets, 7 * septets - 8 * len(header)


def header_of(data: UserData) -> bytes:
    """With its own length; empty when there is nothing to say in it."""
    elements = b""
    if (part := data.part) is not None:
        wide = part.reference > 0xFF
        reference = part.reference.to_bytes(2 if wide else 1, "big")
        elements += bytes([0x08 if wide else 0x00, len(reference) + 2, *reference, part.total, part.number])
    if data.ports is not None:
        elements += bytes([0x05, 4]) + b"".join(port.to_bytes(2, "big") for port in data.ports)
    for kind, language in ((0x24, data.single), (0x25, data.locking)):
        elements += bytes([kind, 1, language]) if language else b""
    return bytes([len(elements)]) + elements if elements else b""


def _from_header(header: bytes, alphabet: Alphabet) -> UserData:
    data = UserData(alphabet, b"")
    rest = header[1:]
    while len(rest) >= 2 and len(rest) >= 2 + rest[1]:
        element, rest = rest[: 2 + rest[1]], rest[2 + rest[1] :]
        match list(element):
            case [0x00, 3, reference, total, number] if 0 < number <= total:
                data = replace(data, part=Part(reference, total, number))
            case [0x08, 4, high, low, total, number] if 0 < number <= total:
                data = replace(data, part=Part(high << 8 | low, total, number))
            case [0x04, 2, destination, source]:
                data = replace(data, ports=(destination, source))
            case [0x05, 4, a, b, c, d]:
                data = replace(data, ports=(a << 8 | b, c << 8 | d))
            # A language whose table we do not have is read as the default one (23.038 6.2.1.2.4).
            case [0x24, 1, language]:
                data = replace(data, single=language if language in gsm7.LANGUAGES else 0)
            case [0x25, 1, language]:
                data = replace(data, locking=language if language in gsm7.LANGUAGES else 0)
    return data
