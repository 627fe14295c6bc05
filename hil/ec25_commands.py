"""What a Quectel EC25 understands: parameters with a range, and commands that do or tell something.

A command gets the module and itself, returns its info lines, and raises Refused or Final for any end but OK.
"""

import re
from collections.abc import Callable

from hil.commandline import Command, Final, Kind, Refused, Setting
from hil.module import Leg, Module, Pin, Press, Restart, Stat
from hil.network import KEYS

Act = Callable[[Module, Command], list[str]]

_GAIN = "(0-65535)"

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
    "^DSCI": Setting("(0,1)", "0"),
    "+QTONEDET": Setting("(0,1)", "0"),
    "+QAUDLOOP": Setting("(0,1)", "0"),
    "+QAUDMOD": Setting("(0-3)", "0"),
    "+QSIDET": Setting(_GAIN, "0"),
    "+QMIC": Setting(f"{_GAIN},{_GAIN}", "20577,16384"),
    "+QRXGAIN": Setting(_GAIN, "20577"),
    "+QEEC": Setting(f"(0-255),{_GAIN}", "0,0"),
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

COMMANDS: dict[str, Act] = {}


def command(*names: str) -> Callable[[Act], Act]:
    def enter(act: Act) -> Act:
        COMMANDS.update(dict.fromkeys(names, act))
        return act

    return enter


def perform(module: Module, asked: Command) -> list[str]:
    """The info lines of one command.

    Raises:
        Refused: it failed, or is not known.
        Final: the line ends here with another result than OK.
    """
    if asked.name in COMMANDS:
        return COMMANDS[asked.name](module, asked)
    if asked.name in SETTINGS:
        return _set(module, asked, SETTINGS[asked.name])
    if asked.name in BASIC:
        digit = asked.text.lstrip("0") or "0"
        if digit not in BASIC[asked.name]:
            raise Refused(50)
        module.values[asked.name] = digit
        return []
    raise Refused(58)


def _set(module: Module, asked: Command, setting: Setting) -> list[str]:
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
            raise Refused(58)
    return []


def _only(asked: Command, *kinds: Kind) -> None:
    if asked.kind not in kinds:
        raise Refused(58)


# --- who it is ---


def _tells(line: Callable[[Module], str], *, sim: bool = False) -> Act:
    def tell(module: Module, asked: Command) -> list[str]:
        if asked.kind is Kind.TEST:
            return []
        _only(asked, Kind.ACT)
        if sim:
            module.need_sim()
        return [line(module)]

    return tell


command("+CGMI", "+GMI")(_tells(lambda module: "Quectel"))
command("+CGMM", "+GMM")(_tells(lambda module: "EC25"))
command("+CGMR", "+GMR")(_tells(lambda module: module.profile.firmware))
command("+CGSN", "+GSN")(_tells(lambda module: module.profile.imei))
command("+CIMI")(_tells(lambda module: module.profile.imsi, sim=True))
command("+QCCID")(_tells(lambda module: f"+QCCID: {module.profile.iccid}", sim=True))
command("+CCID")(_tells(lambda module: f"+CCID: {module.profile.iccid}", sim=True))
command("+CNUM")(_tells(lambda module: f'+CNUM: ,"{module.profile.number}",145', sim=True))
command("+GCAP")(_tells(lambda module: "+GCAP: +CGSM"))


@command("I")
def _identify(module: Module, asked: Command) -> list[str]:
    return [f"Quectel\r\nEC25\r\nRevision: {module.profile.firmware}"]


@command("Z", "&F")
def _reset_settings(module: Module, asked: Command) -> list[str]:
    """Echo comes back with the rest."""
    for name in (*BASIC, *SETTINGS, "+CREG", "+CGREG", "+CEREG", "+CCWA"):
        module.values.pop(name, None)
    return []


# --- life, SIM, network ---


@command("+CFUN")
def _functionality(module: Module, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return ["+CFUN: (0,1,4),(0,1)"]
        case Kind.READ:
            return [f"+CFUN: {module.functionality}"]
    _only(asked, Kind.SET)
    level, restart = asked.number(0), asked.number(1, 0)
    if level not in (0, 1, 4) or restart not in (0, 1) or (restart and level != 1):
        raise Refused(50)
    if restart:
        module.orders.append(Restart(again=True))
    else:
        module.set_functionality(level)
    return []


@command("+QPOWD")
def _switch_off(module: Module, asked: Command) -> list[str]:
    module.tell("POWERED DOWN")
    module.orders.append(Restart(again=False))
    return []


@command("+CPIN")
def _pin(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    if not module.profile.sim or module.booting:
        module.need_sim()
    if asked.kind is Kind.READ:
        return [f"+CPIN: {module.pin.value}"]
    _only(asked, Kind.SET)
    module.unlock(asked.argument(0), asked.argument(1))
    return []


@command("+QPINC")
def _pin_tries(module: Module, asked: Command) -> list[str]:
    return [f'+QPINC: "SC",{module.pin_tries},10']


@command("+QINISTAT")
def _init_state(module: Module, asked: Command) -> list[str]:
    return [f"+QINISTAT: {0 if module.booting else 7 if module.pin is Pin.READY else 1}"]


@command("+QSIMSTAT")
def _sim_state(module: Module, asked: Command) -> list[str]:
    return [f"+QSIMSTAT: 0,{module.profile.sim:d}"]


@command("+CREG", "+CGREG", "+CEREG")
def _registration(module: Module, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return [f"{asked.name}: (0-2)"]
        case Kind.READ:
            reporting = module.setting(asked.name, "0")
            return [f"{asked.name}: {reporting},{module.stat}{module.location() if reporting == '2' else ''}"]
    _only(asked, Kind.SET)
    if asked.text not in ("0", "1", "2"):
        raise Refused(50)
    module.values[asked.name] = asked.text
    return []


@command("+CSQ")
def _signal(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["+CSQ: (0-31,99),(0-7,99)"]
    _only(asked, Kind.ACT)
    return [f"+CSQ: {module.rssi if module.functionality == 1 else 99},99"]


@command("+CESQ")
def _extended_signal(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)"]
    _only(asked, Kind.ACT)
    # 27.007 8.69: RSRP 0..97 is -141..-44 dBm; put where the same signal's RSSI would have it.
    return [f"+CESQ: 99,99,255,255,20,{min(97, 2 * module.rssi)}"]


@command("+COPS")
def _operator(module: Module, asked: Command) -> list[str]:
    """`+COPS=3,f` is kept: every later read has the name in that form (27.007 7.3)."""
    names = module.profile.operator
    match asked.kind:
        case Kind.TEST:
            return [f'+COPS: (2,"{names[0]}","{names[1]}","{names[2]}",7),,(0-4),(0-2)']
        case Kind.READ:
            if not module.registered:
                return ["+COPS: 0"]
            return [f'+COPS: 0,{module.cop_format},"{names[module.cop_format]}",7']
    _only(asked, Kind.SET)
    mode, form = asked.number(0), asked.number(1, module.cop_format)
    if mode not in range(5) or form not in range(3):
        raise Refused(50)
    if mode == 3 or asked.argument(1):
        module.cop_format = form
    return []


@command("+QNWINFO")
def _network_info(module: Module, asked: Command) -> list[str]:
    if not module.registered:
        return ["+QNWINFO: No Service"]
    return [f'+QNWINFO: "FDD LTE","{module.profile.operator[2]}","LTE BAND 3",1300']


# --- calls ---


@command("D")
def _dial(module: Module, asked: Command) -> list[str]:
    """ATD<number>[I|i][;]: without the semicolon it is a data call, and nothing answers those here."""
    body = asked.text.upper().lstrip("TP").removesuffix(";")
    number = re.sub(r"[^0-9*#+ABC]", "", body)
    if not asked.text.endswith(";"):
        raise Final("NO CARRIER")
    if not number:
        raise Refused
    module.dial(number, withheld="I" in asked.text or module.setting("+CLIR", "0") == "1")
    return []


@command("A")
def _answer(module: Module, asked: Command) -> list[str]:
    module.answer()
    return []


@command("H")
def _hook(module: Module, asked: Command) -> list[str]:
    """27.007 6.20: with +CVHU=1 it says OK and does nothing."""
    return [] if module.setting("+CVHU", "0") == "1" else _hang_up(module, asked)


@command("+CHUP")
def _hang_up(module: Module, asked: Command) -> list[str]:
    for leg in list(module.voice):
        _end(module, leg)
    return []


def _end(module: Module, leg: Leg) -> None:
    # Releasing what was not answered is rejecting it: the caller hears so.
    module.order_release(leg, 21 if leg.stat in (Stat.INCOMING, Stat.WAITING) else 16)


@command("+QHUP")
def _hang_up_with_cause(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["+QHUP: (0-127),(0-7)"]
    _only(asked, Kind.SET)
    cause, index = asked.number(0), asked.number(1, 0)
    for leg in list(module.voice):
        if index in (0, leg.index):
            module.order_release(leg, cause)
    return []


@command("+CHLD")
def _hold(module: Module, asked: Command) -> list[str]:
    """22.030 6.5.5 as far as one voice path goes: nothing is put on hold."""
    if asked.kind is Kind.TEST:
        return ["+CHLD: (0,1,1x)"]
    _only(asked, Kind.SET)
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


@command("+CLCC")
def _list_calls(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    _only(asked, Kind.ACT)
    return [f"+CLCC: {leg.listed()}" for _, leg in sorted(module.calls.items())]


@command("+CPAS")
def _activity(module: Module, asked: Command) -> list[str]:
    ringing, talking = module.legs(Stat.INCOMING), module.in_call
    return [f"+CPAS: {4 if talking else 3 if ringing else 0}"]


@command("+CCWA")
def _call_waiting(module: Module, asked: Command) -> list[str]:
    """27.007 7.12: our own reporting, and the network's service by mode 0 off, 1 on, 2 query."""
    match asked.kind:
        case Kind.TEST:
            return ["+CCWA: (0,1)"]
        case Kind.READ:
            return [f"+CCWA: {module.setting('+CCWA', '0')}"]
    _only(asked, Kind.SET)
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


@command("+CEER")
def _last_cause(module: Module, asked: Command) -> list[str]:
    return [f"+CEER: {module.cause_text()}"]


@command("+VTS")
def _press(module: Module, asked: Command) -> list[str]:
    """`5`, `"5"`, `"123#"`, `1,2,#` and, with a quoted string first, its duration behind it."""
    if asked.kind is Kind.TEST:
        return ["+VTS: (0-9,A-D,*,#),(0-255)"]
    _only(asked, Kind.SET)
    keys = asked.argument(0) if asked.text.startswith('"') else "".join(asked.arguments)
    keys = keys.replace(",", "").upper()
    if not keys or not KEYS.issuperset(keys):
        raise Refused(50)
    active = module.legs(Stat.ACTIVE)
    if not active:
        raise Refused(3)
    module.orders.extend(Press(active[0].index, key) for key in keys)
    return []


@command("+QLDTMF")
def _local_tone(module: Module, asked: Command) -> list[str]:
    return []


# --- audio and Quectel's own ---


@command("+QPCMV")
def _pcm(module: Module, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return ["+QPCMV: (0,1),(0-2)"]
        case Kind.READ:
            return ["+QPCMV: 0" if module.pcm_mode is None else f"+QPCMV: 1,{module.pcm_mode}"]
    _only(asked, Kind.SET)
    on, mode = asked.number(0), asked.number(1, 0)
    if on not in (0, 1) or mode not in (0, 1, 2):
        raise Refused
    module.set_pcm(bool(on), mode)
    return []


@command("+QGPS")
def _gnss_on(module: Module, asked: Command) -> list[str]:
    if asked.kind is Kind.READ:
        return [f"+QGPS: {module.gnss:d}"]
    _only(asked, Kind.SET)
    if asked.number(0) not in range(1, 5):
        raise Refused(50)
    module.set_gnss(True)
    return []


@command("+QGPSEND")
def _gnss_off(module: Module, asked: Command) -> list[str]:
    if not module.gnss:
        # EC25 GNSS: 505, session not active; a number of its own, so ERROR does for +CMEE=2.
        raise Refused
    module.set_gnss(False)
    return []


@command("+QGPSCFG")
def _gnss_setting(module: Module, asked: Command) -> list[str]:
    _only(asked, Kind.SET)
    if asked.argument(0) != "outport":
        raise Refused
    port = asked.argument(1)
    if not port:
        return [f'+QGPSCFG: "outport","{module.gnss_port}"']
    if port not in ("none", "usbnmea", "uartdebug"):
        raise Refused(50)
    module.gnss_port = port
    return []


@command("+QINDCFG")
def _indication(module: Module, asked: Command) -> list[str]:
    _only(asked, Kind.SET)
    name = asked.argument(0)
    if name not in module.indications:
        raise Refused(50)
    if not asked.argument(1):
        return [f'+QINDCFG: "{name}",{module.indications[name]}']
    if (on := asked.number(1)) not in (0, 1):
        raise Refused(50)
    module.indications[name] = on
    return []


@command("+QURCCFG")
def _urc_port(module: Module, asked: Command) -> list[str]:
    ports = ("usbat", "usbmodem", "uart1", "uart2", "all")
    if asked.kind is Kind.TEST:
        return ['+QURCCFG: "urcport",(' + ",".join(f'"{port}"' for port in ports) + ")"]
    _only(asked, Kind.SET)
    if asked.argument(0) != "urcport" or asked.argument(1, "all") not in ports:
        raise Refused(50)
    if len(asked.arguments) == 1:
        return [f'+QURCCFG: "urcport","{module.urc_port}"']
    module.urc_port = asked.argument(1)
    return []


@command("+QCFG")
def _configuration(module: Module, asked: Command) -> list[str]:
    """Kept by the module over a restart; of these only a restart would make a difference, so none is made here."""
    told = {
        "ims": f"{module.setting('ims', '0')},{module.profile.ims and module.registered:d}",
        "usbcfg": "0x2C7C,0x0125,1,1,1,1,1,0,0",
    }
    _only(asked, Kind.SET)
    name = asked.argument(0)
    if name not in told:
        raise Refused
    if len(asked.arguments) == 1:
        return [f'+QCFG: "{name}",{told[name]}']
    if name == "ims":
        module.values["ims"] = str(asked.number(1))
    return []


# --- text messages: the bench has none, so the store is empty ---


@command("+CPMS")
def _message_store(module: Module, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return ['+CPMS: ("SM","ME","MT"),("SM","ME","MT"),("SM","ME","MT")']
        case Kind.READ:
            return ['+CPMS: "ME",0,255,"ME",0,255,"ME",0,255']
    return ["+CPMS: 0,255,0,255,0,255"]


@command("+CSMS")
def _message_service(module: Module, asked: Command) -> list[str]:
    return ["+CSMS: 0,1,1,1"] if asked.kind is Kind.READ else ["+CSMS: 1,1,1"]


@command("+CMGL", "+CMGD")
def _no_messages(module: Module, asked: Command) -> list[str]:
    return []
