"""Phone books at the AT port (27.007 8.11 to 8.14): AT+CPBS chooses one, +CPBR reads, +CPBF finds, +CPBW writes."""

import re

from drivers import gsm7
from hil.commandline import Command, Kind, Refused
from hil.module import Module
from hil.phonebook import WRITABLE, Book, Entry
from hil.settings import Table, only

# 27.007 9.2.
_NOT_ALLOWED, _FULL, _BAD_INDEX, _NOT_FOUND, _NAME_TOO_LONG, _BAD_NAME, _NUMBER_TOO_LONG = 3, 20, 21, 22, 24, 25, 26
# What a SIM's record has room for (31.102 4.4.2.3, as most are written).
NUMBER_DIGITS, NAME_SEPTETS, NAME_UCS2 = 40, 14, 6

BOOKS = Table()


@BOOKS.command("+CPBS")
def _choose(module: Module, asked: Command) -> list[str]:
    module.need_sim()
    match asked.kind:
        case Kind.TEST:
            names = ",".join(f'"{name}"' for name in module.books)
            return [f"+CPBS: ({names})"]
        case Kind.READ:
            book = _chosen(module)
            return [f'+CPBS: "{module.setting("+CPBS", "SM")}",{len(book)},{book.capacity}']
    only(asked, Kind.SET)
    if asked.argument(0) not in module.books:
        raise Refused(_NOT_ALLOWED)
    module.values["+CPBS"] = asked.argument(0)
    return []


@BOOKS.command("+CPBR")
def _read(module: Module, asked: Command) -> list[str]:
    """A range with nothing in it is no error, one place with nothing in it is."""
    module.need_sim()
    book = _chosen(module)
    if asked.kind is Kind.TEST:
        return [f"+CPBR: (1-{book.capacity}),{NUMBER_DIGITS},{NAME_SEPTETS}"]
    only(asked, Kind.SET)
    first = asked.number(0)
    last = asked.number(1, first)
    if not 1 <= first <= last <= book.capacity:
        raise Refused(_BAD_INDEX)
    found = [index for index in range(first, last + 1) if index in book]
    if not found and first == last:
        raise Refused(_NOT_FOUND)
    return [_listed(module, "+CPBR", index) for index in found]


@BOOKS.command("+CPBF")
def _find(module: Module, asked: Command) -> list[str]:
    module.need_sim()
    if asked.kind is Kind.TEST:
        return [f"+CPBF: {NUMBER_DIGITS},{NAME_SEPTETS}"]
    only(asked, Kind.SET)
    begins = _name_read(module, asked.argument(0)).casefold()
    book = _chosen(module)
    found = [index for index, entry in sorted(book.items()) if entry.name.casefold().startswith(begins)]
    if not found:
        raise Refused(_NOT_FOUND)
    return [_listed(module, "+CPBF", index) for index in found]


@BOOKS.command("+CPBW")
def _write(module: Module, asked: Command) -> list[str]:
    """`<index>` alone deletes; `,<number>,<type>,<name>` takes the first free place."""
    module.need_sim()
    book = _chosen(module)
    if asked.kind is Kind.TEST:
        return [f"+CPBW: (1-{book.capacity}),{NUMBER_DIGITS},(129,145,161,255),{NAME_SEPTETS}"]
    only(asked, Kind.SET)
    if module.setting("+CPBS", "SM") not in WRITABLE:
        raise Refused(_NOT_ALLOWED)
    index = asked.number(0) if asked.argument(0) else book.free_index()
    if index is None:
        raise Refused(_FULL)
    if not 1 <= index <= book.capacity:
        raise Refused(_BAD_INDEX)
    if len(asked.arguments) == 1:
        book.pop(index, None)
        return []
    book[index] = _entry(module, asked.argument(1), asked.number(2, 129), asked.argument(3))
    return []


def _entry(module: Module, number: str, kind: int, name: str) -> Entry:
    if not re.fullmatch(r"\+?[0-9*#pwPW]*", number):
        raise Refused(50)
    if len(number) > NUMBER_DIGITS:
        raise Refused(_NUMBER_TOO_LONG)
    text = _name_read(module, name)
    if len(text) > (NAME_SEPTETS if gsm7.fits(text) else NAME_UCS2):
        raise Refused(_NAME_TOO_LONG)
    return Entry(f"+{number.removeprefix('+')}" if kind == 145 else number, text)


def _chosen(module: Module) -> Book:
    return module.books[module.setting("+CPBS", "SM")]


def _listed(module: Module, command: str, index: int) -> str:
    entry = _chosen(module)[index]
    kind = 145 if entry.number.startswith("+") else 129
    return f'{command}: {index},"{entry.number}",{kind},"{_name_written(module, entry.name)}"'


# --- names, as AT+CSCS says ---


def _name_read(module: Module, written: str) -> str:
    try:
        match module.parameter("+CSCS").strip('"'):
            case "UCS2":
                return bytes.fromhex(written).decode("utf-16-be")
            case "GSM":
                return gsm7.decode(written.encode("ascii"))
            case _:
                return written
    except ValueError:
        raise Refused(_BAD_NAME) from None


def _name_written(module: Module, name: str) -> str:
    match module.parameter("+CSCS").strip('"'):
        case "UCS2":
            return name.encode("utf-16-be").hex().upper()
        case "GSM":
            shown = "".join(character if gsm7.fits(character) else "?" for character in name)
            return b"".join(gsm7.encode(shown)).decode("latin-1")
        case _:
            return name.encode("ascii", "replace").decode()
