"""A modem's command line as ITU-T V.250 clause 5 has it: from a typed line to commands, from results to bytes.

line      "AT" command* CR            what stands before "AT" is noise; spaces count in quotes only
basic     E1  V1  &F  S0=0  S0?  D+33123;       run together without separators; D ends at ";" or the line's end
extended  +CLIP=1  +CLIP?  +CLIP=?  +CHUP       closed by ";" or the line's end
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    ACT = ""
    SET = "="
    READ = "?"
    TEST = "=?"


@dataclass(frozen=True)
class Command:
    """`text` is the argument as it was typed: the digits of a basic command, what follows "=" of an extended one."""

    name: str
    kind: Kind = Kind.ACT
    text: str = ""

    @property
    def arguments(self) -> list[str]:
        """Parts between commas outside quotes, unquoted."""
        return [part.strip('"') for part in re.findall(r'(?:^|,)((?:"[^"]*"|[^,"])*)', self.text)]

    def argument(self, index: int, default: str = "") -> str:
        arguments = self.arguments
        return arguments[index] if index < len(arguments) else default

    def number(self, index: int, default: int | None = None) -> int:
        """Raises: Refused when there is no number (50, incorrect parameters)."""
        text = self.argument(index)
        if not text and default is not None:
            return default
        if not text.isdecimal():
            raise Refused(50)
        return int(text)


class Refused(Exception):
    """The command fails with a +CME ERROR of this number (27.007 9.2), told as +CMEE says; None is ERROR always."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(code)
        self.code = code


class Unknown(Refused):
    """There is no such command, or no such form of it."""

    def __init__(self) -> None:
        super().__init__(58)


class TooMany(Refused):
    """More parameters than the command has."""

    def __init__(self) -> None:
        super().__init__(50)


class Prompted(Exception):
    """The command asks for text by a prompt; `take` has what is entered, and gives info lines or raises Refused."""

    def __init__(self, take: Callable[[str], list[str]]) -> None:
        super().__init__(take)
        self.take = take


class Final(Exception):
    """The command line ends with this result code in place of OK."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


_BASIC = re.compile(r"(D)([^;]*;?)|(S\d+)(=|\?)(\d*)|(&?[A-Z])(\d*)", re.IGNORECASE)
_EXTENDED = re.compile(r'([-+^$*%#][A-Z0-9]+)(=\?|=|\?)?((?:"[^"]*"|[^;"])*)(?:;|$)', re.IGNORECASE)
_SPACE_OUTSIDE_QUOTES = re.compile(r'("[^"]*")|\s+')


def body(line: str) -> str | None:
    """What follows "AT" in a typed line; None when it is not for us."""
    _, found, rest = re.sub("at", "AT", line, count=1, flags=re.IGNORECASE).partition("AT")
    return _SPACE_OUTSIDE_QUOTES.sub(r"\1", rest) if found else None


def next_command(text: str) -> tuple[Command, str]:
    """The first command of a body, and what is left to do after it.

    One at a time, as those before a malformed one are carried out.

    Raises:
        Refused: it is malformed.
    """
    if match := _EXTENDED.match(text):
        name, operator, argument = match.groups()
        kind = Kind(operator or "")
        if argument and kind is not Kind.SET:
            raise Refused(58)
        command = Command(name.upper(), kind, argument)
    elif match := _BASIC.match(text):
        dial, number, register, operator, value, letter, digits = match.groups()
        if dial:
            command = Command("D", Kind.ACT, number)
        elif register:
            command = Command(register.upper(), Kind(operator), value)
        else:
            command = Command(letter.upper(), Kind.ACT, digits)
    else:
        raise Refused(58)
    return command, text[match.end() :]


# V.250 table 1: the result codes of ATV0.
NUMERIC = {
    "OK": 0, "CONNECT": 1, "RING": 2, "NO CARRIER": 3, "ERROR": 4, "NO DIALTONE": 6, "BUSY": 7, "NO ANSWER": 8,
}  # fmt: skip

CME_TEXTS = {
    3: "operation not allowed",
    4: "operation not supported",
    10: "SIM not inserted",
    11: "SIM PIN required",
    12: "SIM PUK required",
    14: "SIM busy",
    16: "incorrect password",
    30: "no network service",
    50: "incorrect parameters",
    58: "invalid command line",
}


def error(code: int | None, cmee: int) -> str:
    """The final result of a refusal under AT+CMEE=`cmee`."""
    if code is None or cmee == 0:
        return "ERROR"
    return f"+CME ERROR: {code}" if cmee == 1 else f"+CME ERROR: {CME_TEXTS[code]}"


def framed_info(text: str, *, verbose: bool) -> bytes:
    return f"\r\n{text}\r\n".encode("latin-1") if verbose else f"{text}\r\n".encode("latin-1")


def framed_result(text: str, *, verbose: bool) -> bytes:
    """A result code; one with no number in V.250 is a line of text in ATV0 too."""
    if not verbose and text in NUMERIC:
        return f"{NUMERIC[text]}\r".encode()
    return framed_info(text, verbose=verbose)


class Setting:
    """A parameter with a range, kept by the module: `+CLIP: (0,1)`, where the test form is the rule.

    `read` shapes the answer to the read form: some tell what the network provides behind our own value.
    """

    def __init__(self, test: str, default: str, *, read: str = "{}") -> None:
        self.test = test
        self.default = default
        self._read = read
        self._ranges = [group.split(",") for group in re.findall(r"\(([^)]*)\)", test)]

    def read(self, value: str) -> str:
        return self._read.format(value)

    def changed(self, value: str, command: Command) -> str:
        """The value after a set command: parts not given keep what they were.

        Raises:
            Refused: a part is out of its range, or there are too many.
        """
        given, parts = command.arguments, value.split(",")
        if len(given) > len(self._ranges):
            raise TooMany
        for index, argument in enumerate(given):
            if argument:
                parts[index : index + 1] = [self._checked(argument, self._ranges[index])]
        return ",".join(parts)

    @staticmethod
    def _checked(argument: str, allowed: list[str]) -> str:
        for choice in allowed:
            low, dash, high = choice.partition("-")
            if choice == f'"{argument}"':
                return choice
            if argument.isdecimal() and low.isdecimal() and int(low) <= int(argument) <= int(high if dash else low):
                return str(int(argument))
        raise Refused(50)
