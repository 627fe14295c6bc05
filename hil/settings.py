"""The parameters of any module that have a range and no effect but their own, or one that others look up."""

from collections.abc import Callable

from hil.commandline import Command, Kind, Refused, Setting, Unknown
from hil.module import Act, Module

SETTINGS = {
    "+CMEE": Setting("(0-2)", "1"),
    "+CRC": Setting("(0,1)", "0"),
    "+CLIP": Setting("(0,1)", "0", read="{},1"),
    "+CLIR": Setting("(0-2)", "0", read="{},4"),
    "+COLP": Setting("(0,1)", "0", read="{},1"),
    "+CSSN": Setting("(0,1),(0,1)", "0,0"),
    "+CVHU": Setting("(0,1)", "0"),
    "+CMUT": Setting("(0,1)", "0"),
    "+CLVL": Setting("(0-5)", "3"),
    "+VTD": Setting("(0-255)", "1"),
    "+CSCS": Setting('("GSM","IRA","UCS2")', '"GSM"'),
    "+CMGF": Setting("(0,1)", "0"),
    "+CNMI": Setting("(0-2),(0-3),(0,2),(0-2),(0,1)", "2,1,0,0,0"),
    "+CSDH": Setting("(0,1)", "0"),
    "+CGSMS": Setting("(0-3)", "1"),
    "+CTZU": Setting("(0,1,3)", "0"),
    "+CTZR": Setting("(0-2)", "0"),
    "+IPR": Setting("(9600,19200,38400,57600,115200,230400,460800,921600)", "115200"),
    "+IFC": Setting("(0-2),(0-2)", "0,0"),
    # V.250 6.2 and 6.3; a "?" answers with three digits.
    "S0": Setting("(0-255)", "0", read="{:0>3}"),
    "S3": Setting("(13)", "13", read="{:0>3}"),
    "S4": Setting("(10)", "10", read="{:0>3}"),
    "S5": Setting("(8)", "8", read="{:0>3}"),
    "S7": Setting("(1-255)", "60", read="{:0>3}"),
}

# Letter, the digits that it takes, the one meant by none (V.250: 0).
BASIC = {
    "E": "01", "V": "01", "Q": "01", "X": "01234", "L": "0123", "M": "0123",
    "&C": "01", "&D": "012", "&K": "03", "&S": "01", "&W": "0",
}  # fmt: skip
BASIC_DEFAULTS = {"E": "1", "V": "1", "X": "4"}


class Table(dict[str, Act]):
    """Commands by name; `@table.command("+CSQ")` enters one."""

    def command(self, *names: str) -> Callable[[Act], Act]:
        def enter(act: Act) -> Act:
            self.update(dict.fromkeys(names, act))
            return act

        return enter


def only(asked: Command, *kinds: Kind) -> None:
    """Raises: Refused for another form of the command."""
    if asked.kind not in kinds:
        raise Unknown


def absent(module: Module, asked: Command) -> list[str]:
    """Of a family that has not a command which others have."""
    raise Unknown


def set_basic(module: Module, asked: Command) -> list[str]:
    digit = asked.text.lstrip("0") or "0"
    if digit not in BASIC[asked.name]:
        raise Refused(50)
    module.values[asked.name] = digit
    return []


def apply(module: Module, asked: Command, setting: Setting) -> list[str]:
    value = module.setting(asked.name, setting.default)
    prefix = "" if asked.name.startswith("S") else f"{asked.name}: "
    match asked.kind:
        case Kind.TEST:
            return [prefix + setting.test]
        case Kind.READ:
            return [prefix + setting.read(value)]
        case Kind.SET:
            module.values[asked.name] = setting.changed(value, asked) if asked.text else setting.default
        case Kind.ACT:
            raise Unknown
    return []
