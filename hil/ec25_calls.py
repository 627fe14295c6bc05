"""What a Quectel EC25 understands about calls and their sound, and the settings of Quectel's own about both."""

import re

from hil.board import Press
from hil.commandline import Command, Final, Kind, Refused
from hil.ec25_settings import Table, only
from hil.module import Leg, Module, Stat
from hil.network import KEYS

TABLE = Table()


# --- calls ---


@TABLE.command("D")
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


@TABLE.command("A")
def _answer(module: Module, asked: Command) -> list[str]:
    module.answer()
    return []


@TABLE.command("H")
def _hook(module: Module, asked: Command) -> list[str]:
    """27.007 6.20: with +CVHU=1 it says OK and does nothing."""
    return [] if module.setting("+CVHU", "0") == "1" else _hang_up(module, asked)


@TABLE.command("+CHUP")
def _hang_up(module: Module, asked: Command) -> list[str]:
    for leg in list(module.voice):
        _end(module, leg)
    return []


def _end(module: Module, leg: Leg) -> None:
    # Releasing what was not answered is rejecting it: the caller hears so.
    module.order_release(leg, 21 if leg.stat in (Stat.INCOMING, Stat.WAITING) else 16)


@TABLE.command("+QHUP")
def _hang_up_with_cause(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["+QHUP: (0-127),(0-7)"]
    only(asked, Kind.SET)
    cause, index = asked.number(0), asked.number(1, 0)
    for leg in list(module.voice):
        if index in (0, leg.index):
            module.order_release(leg, cause)
    return []


@TABLE.command("+CHLD")
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
        _end(module, module.calls[index])
    else:
        raise Refused(4)
    return []


@TABLE.command("+CLCC")
def _list_calls(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    only(asked, Kind.ACT)
    return [f"+CLCC: {leg.listed()}" for _, leg in sorted(module.calls.items())]


@TABLE.command("+CPAS")
def _activity(module: Module, asked: Command) -> list[str]:
    ringing, talking = module.legs(Stat.INCOMING), module.in_call
    return [f"+CPAS: {4 if talking else 3 if ringing else 0}"]


@TABLE.command("+CCWA")
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


@TABLE.command("+CEER")
def _last_cause(module: Module, asked: Command) -> list[str]:
    return [f"+CEER: {module.cause_text()}"]


@TABLE.command("+VTS")
def _press(module: Module, asked: Command) -> list[str]:
    """`5`, `"5"`, `"123#"`, `1,2,#` and, with a quoted string first, its duration behind it."""
    if asked.kind is Kind.TEST:
        return ["+VTS: (0-9,A-D,*,#),(0-255)"]
    only(asked, Kind.SET)
    keys = asked.argument(0) if asked.text.startswith('"') else "".join(asked.arguments)
    keys = keys.replace(",", "").upper()
    if not keys or not KEYS.issuperset(keys):
        raise Refused(50)
    active = module.legs(Stat.ACTIVE)
    if not active:
        raise Refused(3)
    module.orders.extend(Press(active[0].index, key) for key in keys)
    return []


@TABLE.command("+QLDTMF")
def _local_tone(module: Module, asked: Command) -> list[str]:
    return []


# --- audio and Quectel's own ---


@TABLE.command("+QPCMV")
def _pcm(module: Module, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return ["+QPCMV: (0,1),(0-2)"]
        case Kind.READ:
            return ["+QPCMV: 0" if module.pcm_mode is None else f"+QPCMV: 1,{module.pcm_mode}"]
    only(asked, Kind.SET)
    on, mode = asked.number(0), asked.number(1, 0)
    if on not in (0, 1) or mode not in (0, 1, 2):
        raise Refused
    module.set_pcm(bool(on), mode)
    return []


@TABLE.command("+QINDCFG")
def _indication(module: Module, asked: Command) -> list[str]:
    only(asked, Kind.SET)
    name = asked.argument(0)
    if name not in module.indications:
        raise Refused(50)
    if not asked.argument(1):
        return [f'+QINDCFG: "{name}",{module.indications[name]}']
    if (on := asked.number(1)) not in (0, 1):
        raise Refused(50)
    module.indications[name] = on
    return []


@TABLE.command("+QURCCFG")
def _urc_port(module: Module, asked: Command) -> list[str]:
    ports = ("usbat", "usbmodem", "uart1", "uart2", "all")
    if asked.kind is Kind.TEST:
        return ['+QURCCFG: "urcport",(' + ",".join(f'"{port}"' for port in ports) + ")"]
    only(asked, Kind.SET)
    if asked.argument(0) != "urcport" or asked.argument(1, "all") not in ports:
        raise Refused(50)
    if len(asked.arguments) == 1:
        return [f'+QURCCFG: "urcport","{module.urc_port}"']
    module.urc_port = asked.argument(1)
    return []


@TABLE.command("+QCFG")
def _configuration(module: Module, asked: Command) -> list[str]:
    """Kept by the module over a restart; of these only a restart would make a difference, so none is made here."""
    told = {
        "ims": f"{module.setting('ims', '0')},{module.profile.ims and module.registered:d}",
        "usbcfg": "0x2C7C,0x0125,1,1,1,1,1,0,0",
    }
    only(asked, Kind.SET)
    name = asked.argument(0)
    if name not in told:
        raise Refused
    if len(asked.arguments) == 1:
        return [f'+QCFG: "{name}",{told[name]}']
    if name == "ims":
        module.values["ims"] = str(asked.number(1))
    return []
