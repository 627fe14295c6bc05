"""What any module understands about itself: identity, power, SIM, network (27.007 clauses 5, 7, 8)."""

from collections.abc import Callable

from hil.bookcommands import BOOKS
from hil.commandline import Command, Kind, Refused
from hil.messages import MESSAGES
from hil.module import Act, Module
from hil.settings import BASIC, Table, only

GENERAL = Table(MESSAGES | BOOKS)


# --- who it is ---


def _tells(line: Callable[[Module], str], *, sim: bool = False) -> Act:
    def tell(module: Module, asked: Command) -> list[str]:
        if asked.kind is Kind.TEST:
            return []
        only(asked, Kind.ACT)
        if sim:
            module.need_sim()
        return [line(module)]

    return tell


GENERAL.command("+CGMI", "+GMI")(_tells(lambda module: module.maker))
GENERAL.command("+CGMM", "+GMM")(_tells(lambda module: module.title))
GENERAL.command("+CGMR", "+GMR")(_tells(lambda module: module.version))
GENERAL.command("+CGSN", "+GSN")(_tells(lambda module: module.profile.imei))
GENERAL.command("+CIMI")(_tells(lambda module: module.profile.imsi, sim=True))
GENERAL.command("+CCID")(_tells(lambda module: f"+CCID: {module.profile.iccid}", sim=True))
GENERAL.command("+CNUM")(_tells(lambda module: f'+CNUM: ,"{module.profile.number}",145', sim=True))
GENERAL.command("+GCAP")(_tells(lambda module: "+GCAP: +CGSM"))


@GENERAL.command("I")
def _identify(module: Module, asked: Command) -> list[str]:
    return [f"{module.maker}\r\n{module.title}\r\nRevision: {module.version}"]


@GENERAL.command("Z", "&F")
def _reset_settings(module: Module, asked: Command) -> list[str]:
    """Echo comes back with the rest."""
    for name in (*BASIC, *module.settings, "+CREG", "+CGREG", "+CEREG", "+CIREG", "+CCWA"):
        module.values.pop(name, None)
    return []


# --- life, SIM, network ---


@GENERAL.command("+CFUN")
def _functionality(module: Module, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return ["+CFUN: (0,1,4),(0,1)"]
        case Kind.READ:
            return [f"+CFUN: {module.functionality}"]
    only(asked, Kind.SET)
    level, restart = asked.number(0), asked.number(1, 0)
    if level not in (0, 1, 4) or restart not in (0, 1) or (restart and level != 1):
        raise Refused(50)
    if restart:
        module.restart(again=True)
    else:
        module.set_functionality(level)
    return []


@GENERAL.command("+CPIN")
def _pin(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    if not module.profile.sim or module.booting:
        module.need_sim()
    if asked.kind is Kind.READ:
        return [f"+CPIN: {module.pin.value}"]
    only(asked, Kind.SET)
    module.unlock(asked.argument(0), asked.argument(1))
    return []


@GENERAL.command("+CPINR")
def _pin_retries(module: Module, asked: Command) -> list[str]:
    """27.007 8.65: what is left, and what there is at best."""
    only(asked, Kind.SET, Kind.ACT)
    left = {"SIM PIN": f"{module.pin_tries},3", "SIM PUK": "10,10"}
    if asked.text and asked.argument(0) not in left:
        raise Refused(50)
    return [f"+CPINR: {code},{tries}" for code, tries in left.items() if asked.argument(0, code) == code]


@GENERAL.command("+CREG", "+CGREG", "+CEREG")
def _registration(module: Module, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return [f"{asked.name}: (0-2)"]
        case Kind.READ:
            reporting = module.setting(asked.name, "0")
            return [f"{asked.name}: {reporting},{module.stat}{module.location() if reporting == '2' else ''}"]
    only(asked, Kind.SET)
    if asked.text not in ("0", "1", "2"):
        raise Refused(50)
    module.values[asked.name] = asked.text
    return []


@GENERAL.command("+CIREG")
def _ims_registration(module: Module, asked: Command) -> list[str]:
    """27.007 8.71: <n>,<registered>,<what for>: a sum, of which 1 is voice."""
    match asked.kind:
        case Kind.TEST:
            return ["+CIREG: (0-2)"]
        case Kind.READ:
            return [f"+CIREG: {module.setting('+CIREG', '0')},{module.over_ims:d}{',1' if module.over_ims else ''}"]
    only(asked, Kind.SET)
    if asked.text not in ("0", "1", "2"):
        raise Refused(50)
    module.values["+CIREG"] = asked.text
    return []


@GENERAL.command("+CSQ")
def _signal(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["+CSQ: (0-31,99),(0-7,99)"]
    only(asked, Kind.ACT)
    return [f"+CSQ: {module.rssi if module.functionality == 1 else 99},99"]


@GENERAL.command("+CESQ")
def _extended_signal(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)"]
    only(asked, Kind.ACT)
    # 27.007 8.69: RSRP 0..97 is -141..-44 dBm; put where the same signal's RSSI would have it.
    return [f"+CESQ: 99,99,255,255,20,{min(97, 2 * module.rssi)}"]


@GENERAL.command("+COPS")
def _operator(module: Module, asked: Command) -> list[str]:
    """`+COPS=3,f` is kept: every later read has the name in that form (27.007 7.3)."""
    names = module.profile.operator
    match asked.kind:
        case Kind.TEST:
            return [f'+COPS: (2,"{names[0]}","{names[1]}","{names[2]}",{module.technology}),,(0-4),(0-2)']
        case Kind.READ:
            if not module.registered:
                return ["+COPS: 0"]
            return [f'+COPS: 0,{module.operator_format},"{names[module.operator_format]}",{module.technology}']
    only(asked, Kind.SET)
    mode, form = asked.number(0), asked.number(1, module.operator_format)
    if mode not in range(5) or form not in range(3):
        raise Refused(50)
    if mode == 3 or asked.argument(1):
        module.operator_format = form
    return []


@GENERAL.command("+CGATT")
def _packet_service(module: Module, asked: Command) -> list[str]:
    return [f"+CGATT: {module.registered:d}"] if asked.kind is Kind.READ else []


@GENERAL.command("+CBC")
def _battery(module: Module, asked: Command) -> list[str]:
    return ["+CBC: 0,100,3800"]
