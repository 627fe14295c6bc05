r"""AT commands, their answers, and what the modem says unasked, on one byte stream; as values, without I/O.

ITU-T V.250 with 3GPP TS 27.007 on top:

    command    AT+CREG?\r
    echo       AT+CREG?\r                                         until ATE0
    answer     \r\n+CREG: 2,1,"1A2B","01C3D4E5",7\r\n             information, any number of lines
               \r\nOK\r\n                                         one final result
    news       \r\nRING\r\n                                       between any two lines, an answer's too
    prompt     \r\n>                                              then a space, and no line end
    menu       \r\n+CUSD: 1,"1. Balance\n2. Top up",15\r\n          line ends within its quotes

Devices frame more loosely than that (`\n` alone, `\r\r\n`, results glued to what follows), so any `\r` or `\n` ends a
line and empty lines are nothing.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Info:
    """A line of the answer to the pending command."""

    text: str


@dataclass(frozen=True)
class Final:
    """The pending command is over."""

    text: str


@dataclass(frozen=True)
class Urc:
    """News; also whatever belongs to no answer: leftovers of a command that was given up, noise on the wire."""

    text: str


@dataclass(frozen=True)
class Prompt:
    """The modem waits for text and will until it gets its end, `\\x1a` or `\\x1b`."""


Event = Info | Final | Urc | Prompt

# V.250 5.7.1 guarantees nothing; the longest honest line is a PDU of some 350 characters, or USSD text of 2 KiB.
LINE_LIMIT_BYTES = 8192

_LINE_END = re.compile(rb"[\r\n]")
# Stray NULs and flow control bytes around a line come with power-up and with other programs' open and close.
_CONTROL = "".join(map(chr, range(0x21))) + "\x7f"

_FINALS = {"OK", "ERROR", "ABORTED", "COMMAND NOT SUPPORT", "TOO MANY PARAMETERS"}
_ERRORS = ("+CME ERROR:", "+CMS ERROR:")
# Of ATD, ATA and ATO, and of what V.253 has off-hook, these are the result; at any other time they are news of a call.
_CALL_FINALS = ("NO CARRIER", "BUSY", "NO ANSWER", "NO DIALTONE", "NO DIAL TONE", "CONNECT", "VCON")
_CALL_ORDER = re.compile(r"AT(?:[DAO]|\+V(?:LS|RX|TR|TX)\b)|.*;D")
# 27.005 3.4.1: the header's next line is its PDU, whatever it looks like.
_TWO_LINES = ("+CMT:", "+CDS:", "+CBM:", "+CLASS0:")
# Answered by a bare line, without the command's name (27.007 5.1-5.4, 5.6; +CCID on SIM800).
_BARE = {"I", "+CGMI", "+CGMM", "+CGMR", "+CGSN", "+CIMI", "+GMI", "+GMM", "+GMR", "+GSN", "+CCID"}
# V.253 and V.250 6.2.7 leave the name away, too.
_BARE |= {"+FCLASS", "+FMI", "+FMM", "+FMR", "+GCI", "+VLS", "+VSM"}
# Answered by another name (SIM7600).
_ALSO = {"+CICCID": "+ICCID"}
# Each of their headers is followed by a PDU, a line of hexadecimal.
_LISTS = {"+CMGL", "+CMGR"}
_PDU = re.compile(r"(?:[0-9A-Fa-f]{2})+")
# A text in quotes that may have line ends in it, as far as it has come; it is whole with its quote and a number.
_MENU = re.compile(r'\+CUSD: *\d *, *"')
_MENU_END = re.compile(r'"(?: *, *\d+)?$')
# V.250 5.2.3: an extended command follows a basic one's digit, or a semicolon.
_NAMES = re.compile(r"(?:^AT|;|\d)([+^*#$%]?[A-Z]+)")
# An answer to +CREG? has <n> before <stat>; news has <stat>, and a quoted <lac> after it if anything (27.007 7.2).
_REGISTRATION = re.compile(r"\+C\w*REG: *\d, *\d\d? *(?:,|$)")
# Huawei glues a meaningless ERROR before +CNUM; others lose the line end between a result and news.
_GLUED = re.compile(r"(OK|ERROR)(?=[+^])")


class Dialogue:
    """One command at a time. `urcs` are the prefixes of what the device also says unasked."""

    def __init__(self, urcs: tuple[str, ...]) -> None:
        self.overlong = 0
        self._urcs = urcs
        self._rest = b""
        self._header: str | None = None
        self._menu: str | None = None
        self._pending: str | None = None
        self._names: frozenset[str] = frozenset()
        self._answered = False
        self._probing = False

    def send(self, text: str, *, probe: bool = False) -> bytes:
        """Of a `probe`, a result counts only after information: one without is of some command before it.

        Raises:
            ValueError: a second command, or a character that would end this one.
        """
        if self._pending is not None:
            raise ValueError(f"{text!r} while {self._pending!r} is pending")
        if not text.isascii() or not text.isprintable():
            raise ValueError(f"{text!r} is no command line")
        self._pending = text
        names = _NAMES.findall(text)
        self._names = frozenset(names + [_ALSO[name] for name in names if name in _ALSO])
        self._answered = False
        self._probing = probe
        return text.encode("ascii") + b"\r"

    def abandon(self) -> None:
        """Gives the pending command up: what still comes of it is told as Urc."""
        self._pending = None

    def receive(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        *ended, rest = _LINE_END.split(self._rest + data)
        for line in ended:
            self._end_line(_after_prompts(line, events), events)
        # Of a line that is too long already, enough is kept to know it by.
        self._rest = _after_prompts(rest, events)[: LINE_LIMIT_BYTES + 1]
        return events

    def _end_line(self, line: bytes, events: list[Event]) -> None:
        if len(line) > LINE_LIMIT_BYTES:
            self.overlong += 1
            return
        # latin-1 has a character for every byte: garbage stays visible, and raises nothing.
        text = line.decode("latin-1").strip(_CONTROL)
        if not text:
            return
        if self._header is not None:
            events.append(Urc(f"{self._header}\n{text}"))
            self._header = None
        elif text.startswith(_TWO_LINES):
            self._header = text
        elif self._menu is not None:
            self._go_on(self._menu, text, events)
        elif (begun := _MENU.match(text)) and not _MENU_END.search(text, begun.end()):
            self._menu = text
        else:
            events += self._classify(text)

    def _go_on(self, menu: str, text: str, events: list[Event]) -> None:
        self._menu = None
        # One that lost its end in noise must not swallow what follows.
        if text in _FINALS or text.startswith((*_ERRORS, *self._urcs)) or len(menu) > LINE_LIMIT_BYTES:
            events += self._classify(menu) + self._classify(text)
        elif _MENU_END.search(text):
            events += self._classify(f"{menu}\n{text}")
        else:
            self._menu = f"{menu}\n{text}"

    def _classify(self, text: str) -> list[Event]:
        if self._pending is None:
            return [Urc(text)]
        if text == self._pending:
            return []
        if glued := _GLUED.match(text):
            news = text[glued.end() :]
            if not self._is_answer(news):
                return [self._finish(glued[1]), Urc(news)]
            text = news
        if text in _FINALS or text.startswith(_ERRORS):
            return [self._finish(text)]
        if text.startswith(_CALL_FINALS) and _CALL_ORDER.match(self._pending):
            return [self._finish(text)]
        if self._is_answer(text):
            self._answered = True
            return [Info(text)]
        return [Urc(text)]

    def _finish(self, text: str) -> Final | Urc:
        if self._probing and not self._answered:
            return Urc(text)
        self._pending = None
        return Final(text)

    def _is_answer(self, text: str) -> bool:
        name, colon, _ = text.partition(":")
        if not colon or name not in self._names:
            if self._names & _LISTS:
                return bool(_PDU.fullmatch(text))
            plain = text.isascii() and text.isprintable()
            return plain and bool(self._names & _BARE) and not text.startswith(("+", "^", *self._urcs))
        if not text.startswith(self._urcs) or name == "+CLCC":
            return True
        # Told unasked as well: only a question has it for an answer, and has one line of it.
        assert self._pending is not None
        if self._answered or ("=" in self._pending and not self._pending.endswith("=?")):
            return False
        return not name.endswith("REG") or bool(_REGISTRATION.match(text))


def _after_prompts(line: bytes, events: list[Event]) -> bytes:
    while line.startswith(b"> "):
        events.append(Prompt())
        line = line[2:]
    return line
