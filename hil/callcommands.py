"""What any module understands about calls (3GPP TS 27.007 clauses 6 and 7)."""

import re

from hil.commandline import Command, Final, Kind, Refused
from hil.module import Leg, Module, Stat
from hil.network import KEYS
from hil.settings import Table, only

CALLS = Table()


@CALLS.command("D")
def _dial(module: Module, asked: Command) -> list[str]:
    """ATD<number>[I|i][;]: without the semicolon it is a data call, and nothing answers those here."""
    body = asked.text.upper().lstrip("TP").removesuffix(";")
    number = re.sub(r"[^0-9*#+ABC]", "", body)
    if not asked.text.endswith(";"):
        raise Final("NO CARRIER")
    if not number:
        raise Refused
    module.dial(number, withheld="I" in body or module.setting("+CLIR", "0") == "1")
    return []


@CALLS.command("A")
def _answer(module: Module, asked: Command) -> list[str]:
    module.answer()
    return []


@CALLS.command("H")
def _hook(module: Module, asked: Command) -> list[str]:
    """27.007 6.20: with +CVHU=1 it says OK and does nothing."""
    return [] if module.setting("+CVHU", "0") == "1" else _hang_up(module, asked)


@CALLS.command("+CHUP")
def _hang_up(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    only(asked, Kind.ACT)
    for leg in list(module.voice):
        end(module, leg)
    return []


def end(module: Module, leg: Leg) -> None:
    # Releasing what was not answered is rejecting it: the caller hears so.
    module.order_release(leg, 21 if leg.stat in (Stat.INCOMING, Stat.WAITING) else 16)


@CALLS.command("+CHLD")
def _hold(module: Module, asked: Command) -> list[str]:
    """22.030 6.5.5 as far as one voice path goes: nothing is put on hold."""
    if asked.kind is Kind.TEST:
        return ["+CHLD: (0,1,1x)"]
    only(asked, Kind.SET)
    waiting, active = module.legs(Stat.WAITING, Stat.INCOMING), module.legs(Stat.ACTIVE)
    if asked.text == "0":
        for leg in waiting:
            module.order_release(leg, 17)
    elif asked.text == "1":
        # Taken before the other is left: the voice path goes over to it.
        for leg in waiting[:1]:
            module.answer_leg(leg)
        for leg in active:
            module.order_release(leg, 16)
    elif re.fullmatch("1[1-7]", asked.text):
        index = int(asked.text[1])
        if index not in module.calls or module.calls[index].mode:
            raise Refused(3)
        end(module, module.calls[index])
    else:
        raise Refused(4)
    return []


@CALLS.command("+CLCC")
def _list_calls(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    only(asked, Kind.ACT)
    return [f"+CLCC: {module.listed(leg)}" for _, leg in sorted(module.calls.items())]


@CALLS.command("+CPAS")
def _activity(module: Module, asked: Command) -> list[str]:
    ringing, talking = module.legs(Stat.INCOMING), module.in_call
    return [f"+CPAS: {4 if talking else 3 if ringing else 0}"]


@CALLS.command("+CCWA")
def _call_waiting(module: Module, asked: Command) -> list[str]:
    """27.007 7.12: our own reporting, and the network's service by mode 0 off, 1 on, 2 query."""
    match asked.kind:
        case Kind.TEST:
            return ["+CCWA: (0,1)"]
        case Kind.READ:
            return [f"+CCWA: {module.setting('+CCWA', '0')}"]
    only(asked, Kind.SET)
    if asked.argument(1) and not module.registered:
        raise Refused(30)
    reporting, mode, kind = asked.number(0, 0), asked.number(1, -1), asked.number(2, 7)
    if reporting not in (0, 1) or mode not in (-1, 0, 1, 2):
        raise Refused(50)
    if mode == 2:
        return [f"+CCWA: {module.waits:d},{kind & 1}"]
    module.values["+CCWA"] = str(reporting)
    if mode in (0, 1) and kind & 1:
        module.values["waiting"] = str(mode)
    return []


@CALLS.command("+CEER")
def _last_cause(module: Module, asked: Command) -> list[str]:
    return [f"+CEER: {module.cause_text()}"]


@CALLS.command("+VTS")
def _press(module: Module, asked: Command) -> list[str]:
    """`5`, `"5"`, `"123#"`, `1,2,#` and, with a quoted string first, its duration behind it."""
    if asked.kind is Kind.TEST:
        return ["+VTS: (0-9,A-D,*,#),(0-255)"]
    only(asked, Kind.SET)
    keys = asked.argument(0) if asked.text.startswith('"') else "".join(asked.arguments)
    keys = keys.replace(",", "").upper()
    if not keys or not KEYS.issuperset(keys):
        raise Refused(50)
    module.press(keys)
    return []
