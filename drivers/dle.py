r"""A voice modem's one tty (ITU-T V.253): AT words and the call's audio by turns, with codes in both.

    words     \r\nOK\r\n                       and, off-hook in class 8, <DLE>code between them
    begin     \r\nCONNECT\r\n                  only when it was asked for: what follows is the stream
    stream    audio, <DLE><DLE>, <DLE>code     here without the audio: that is the media engine's (native/voice.c)
    end       <DLE><ETX>\r\nOK\r\n             whoever ended it; some say VCON

A read may end anywhere, also between <DLE> and what it means.
"""

import re
from dataclasses import dataclass

DLE = 0x10
_ETX, _SUB = 0x03, 0x1A
_CONNECT = re.compile(rb"[\r\n]CONNECT[ -~]{0,48}\r\n")
_LINE_BEGINS = b"\n"
# Of words, as much is looked at again as can be the beginning of that, and no less: or it depended on how they are cut.
_TAIL_BYTES = 64
# What ends +VTR; anything else behind the end of a stream is news.
_FINAL = re.compile(rb"\s*(?:OK|VCON)\r\n")
_FINAL_BYTES = 10


@dataclass(frozen=True)
class Words:
    """Of the AT dialogue."""

    data: bytes


@dataclass(frozen=True)
class Code:
    """`<DLE>character`; of timing marks and reports (`<DLE>X ... <DLE>.`) nothing is told."""

    character: str


@dataclass(frozen=True)
class Begun:
    """The stream has begun."""


@dataclass(frozen=True)
class Ended:
    """What follows are words again. The stream's own result is not among them."""


Piece = Words | Code | Begun | Ended


class Splitter:
    """Takes what the modem sends apart. `wanted` says that the next CONNECT begins a stream."""

    def __init__(self) -> None:
        self.wanted = False
        self.in_stream = False
        self.heard_bytes = 0
        self._tail = _LINE_BEGINS
        self._escaped = False
        self._in_report = False
        # What came behind the end, while it may still be the stream's result.
        self._result: bytes | None = None

    @property
    def midway(self) -> bytes:
        """What was read of the stream and means nothing yet."""
        return bytes([DLE]) if self._escaped else b""

    @property
    def result_due(self) -> bool:
        """The stream has ended, and its result has not come."""
        return self._result is not None

    def waive_result(self) -> None:
        """It came too late, or never: what comes is of the next command."""
        self._result = None

    def receive(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        while data:
            take = self._take_stream if self.in_stream else self._take_words
            data = take(data, pieces)
        return pieces

    def end(self, beyond: bytes) -> list[Piece]:
        """Somebody else has read the stream to its end, and so much of what follows."""
        pieces: list[Piece] = []
        self._end(pieces)
        return pieces + self.receive(beyond)

    def _take_words(self, data: bytes, pieces: list[Piece]) -> bytes:
        """Returns what is not words any more."""
        words, data = self._without_codes(data, pieces)
        if self._result is not None:
            words = self._without_result(words)
        if not self.wanted:
            self._tail = _LINE_BEGINS
        elif begun := _CONNECT.search(self._tail + words):
            own = begun.end() - len(self._tail)
            words, data = words[:own], words[own:] + data
            self.wanted, self.in_stream = False, True
            self._tail, self._escaped, self.heard_bytes = _LINE_BEGINS, False, 0
            pieces += [Words(words), Begun()]
            return data
        else:
            self._tail = (self._tail + words)[-_TAIL_BYTES:]
        if words:
            pieces.append(Words(words))
        return data

    def _without_codes(self, data: bytes, pieces: list[Piece]) -> tuple[bytes, bytes]:
        """Up to the first code, which is told; and what comes after it."""
        if self._escaped:
            self._escaped = False
            self._tell(data[0], pieces)
            return b"", data[1:]
        words, escape, rest = data.partition(bytes([DLE]))
        if not escape:
            return words, b""
        if self.wanted and _CONNECT.search(self._tail + words):
            # No code: the stream's.
            return data, b""
        self._escaped = True
        return words, rest

    def _without_result(self, words: bytes) -> bytes:
        assert self._result is not None
        so_far = self._result + words
        if result := _FINAL.match(so_far):
            self._result = None
            return so_far[result.end() :]
        if len(so_far.lstrip()) < _FINAL_BYTES and b"\n" not in so_far.lstrip():
            self._result = so_far
            return b""
        self._result = None
        return so_far

    def _take_stream(self, data: bytes, pieces: list[Piece]) -> bytes:
        if self._escaped:
            self._escaped = False
            if data[0] == _ETX:
                self._end(pieces)
            elif data[0] in (DLE, _SUB):
                self.heard_bytes += 1
            else:
                self._tell(data[0], pieces)
            return data[1:]
        audio, escape, rest = data.partition(bytes([DLE]))
        self.heard_bytes += 0 if self._in_report else len(audio)
        self._escaped = bool(escape)
        return rest

    def _end(self, pieces: list[Piece]) -> None:
        self.in_stream = self._escaped = self._in_report = False
        self._result = b""
        pieces.append(Ended())

    def _tell(self, code: int, pieces: list[Piece]) -> None:
        character = chr(code)
        if character in "X.":
            self._in_report = character == "X"
        elif character != "T":
            pieces.append(Code(character))
