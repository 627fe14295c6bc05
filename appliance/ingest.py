"""What passes between the box and a cloud that takes its recordings: headers, what an answer means, when it may pass.

HEAD /recordings/<id>.mp3    how much of it is there?
    404                          nothing
    308  Range: bytes=0-41       so much of it
    200  Repr-Digest: ...        all of it
PUT  /recordings/<id>.mp3    the next part of it, with Content-Range unless that is all
    308                          go on
    201                          it is all there, and what its digest says
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from datetime import datetime, time
from enum import Enum, StrEnum


class Verdict(Enum):
    """On one thing that was sent."""

    TAKEN = "taken"
    MORE = "more"  # this part, and the rest is waited for
    AGAIN = "again"  # what came is not what was sent, or not the part that was waited for
    REFUSED = "refused"  # it is never taken


class Trouble(StrEnum):
    """What keeps all that is on its way to a cloud from going there."""

    OFFLINE = "offline"  # this box has no network
    UNREACHABLE = "unreachable"
    DENIED = "denied"
    MISSING = "missing"  # the address is not that of a cloud
    BUSY = "busy"
    FULL = "full"
    FAILING = "failing"


# RFC 9110 15, RFC 4918 11. What is not here is FAILING: who answers so may be mended.
MEANING: dict[int, Verdict | Trouble] = {
    # "Permanent Redirect", and "Resume Incomplete" where resumable uploads are known.
    308: Verdict.MORE,
    # Not what the server has room for between what it has and what is waited for; a digest that does not fit.
    **dict.fromkeys((409, 416, 422), Verdict.AGAIN),
    # Of a recording: not there any more, nor wanted.
    **dict.fromkeys((410, 413, 415), Verdict.REFUSED),
    **dict.fromkeys((401, 403, 407), Trouble.DENIED),
    # Redirects are not followed: who is sent away has the wrong address.
    **dict.fromkeys((301, 302, 303, 307, 404, 405), Trouble.MISSING),
    **dict.fromkeys((429, 503), Trouble.BUSY),
    507: Trouble.FULL,
}


def meaning(status: int) -> Verdict | Trouble:
    return Verdict.TAKEN if 200 <= status < 300 else MEANING.get(status, Trouble.FAILING)


# The first wait; each next one is twice as long. Where people must do something, nothing is gained by haste.
FIRST_PAUSE_S = {
    Trouble.OFFLINE: 30,
    Trouble.UNREACHABLE: 5,
    Trouble.DENIED: 300,
    Trouble.MISSING: 300,
    Trouble.BUSY: 30,
    Trouble.FULL: 300,
    Trouble.FAILING: 5,
}
LONGEST_PAUSE_S = 3600
# An uplink that comes back is used at once: to ask for it costs nothing.
LONGEST_OFFLINE_S = 60
JITTER = 0.1


def pause_s(trouble: Trouble, failures: int, jitter: float, asked_s: float = 0) -> float:
    """After so many failures in a row; `jitter` is chance in 0..1, `asked_s` what the cloud asks for."""
    longest_s = LONGEST_OFFLINE_S if trouble is Trouble.OFFLINE else LONGEST_PAUSE_S
    wait_s = min(FIRST_PAUSE_S[trouble] * 2.0 ** min(failures - 1, 20), longest_s)
    return max(wait_s, min(asked_s, LONGEST_PAUSE_S)) * (1 + JITTER * jitter)


# Each part is acknowledged: where a proxy keeps what comes until it has all of it, a cut costs one part.
PART_BYTES = 2**20


def content_range(part: range, size: int) -> str:
    """RFC 9110 14.4, 14.5."""
    return f"bytes {part.start}-{part.stop - 1}/{size}"


def arrived(header: str | None) -> int:
    """How many bytes the Range of a 308 says are there; without one, or with one that says otherwise, none."""
    match = re.fullmatch(r"bytes=0-(\d{1,15})", (header or "").strip())
    return int(match[1]) + 1 if match else 0


def digest_field(sha256: str) -> str:
    """RFC 9530 2 and 3, of a digest in hexadecimal."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:"


def digest_of(field: str | None) -> str | None:
    """In hexadecimal; None: there is no SHA-256 among the digests."""
    match = re.search(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/=]*):", field or "")
    try:
        return b64decode(match[1], validate=True).hex() if match else None
    except NotBase64:
        return None


DAY_S = 24 * 3600


@dataclass(frozen=True)
class Window:
    """Hours of each day, by the clock on the wall; over midnight, if it ends before it begins."""

    begins: time
    ends: time

    def open_s(self, now: datetime) -> float:
        """For how long it is open yet; 0: it is not."""
        into_s = (_second(now.time()) - _second(self.begins)) % DAY_S
        return max(0.0, self._length_s - into_s)

    def opens_in_s(self, now: datetime) -> float:
        return 0.0 if self.open_s(now) else (_second(self.begins) - _second(now.time())) % DAY_S

    @property
    def _length_s(self) -> float:
        return (_second(self.ends) - _second(self.begins)) % DAY_S


def _second(at: time) -> float:
    return at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1e6


def window(text: str) -> Window:
    """
    Raises:
        ValueError: the text says why, and reads on from the key's name.
    """
    hour = r"(?:[01]\d|2[0-3]):[0-5]\d"
    match = re.fullmatch(f"({hour})-({hour})", text)
    if match is None or match[1] == match[2]:
        raise ValueError('must be two times of day, like "22:00-06:00"')
    return Window(time.fromisoformat(match[1]), time.fromisoformat(match[2]))
