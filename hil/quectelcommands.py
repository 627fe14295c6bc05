"""What Quectel's modules understand beside 27.007, and the settings of their own."""

from hil.commandline import Command, Kind, Refused, Setting
from hil.quectelboard import QuectelBoard
from hil.radio import LTE, Pin
from hil.settings import Table, only

_GAIN = "(0-65535)"
SETTINGS = {
    "^DSCI": Setting("(0,1)", "0"),
    "+QTONEDET": Setting("(0,1)", "0"),
    "+QAUDLOOP": Setting("(0,1)", "0"),
    "+QAUDMOD": Setting("(0-3)", "0"),
    "+QSIDET": Setting(_GAIN, "0"),
    "+QMIC": Setting(f"{_GAIN},{_GAIN}", "20577,16384"),
    "+QRXGAIN": Setting(_GAIN, "20577"),
    "+QEEC": Setting(f"(0-255),{_GAIN}", "0,0"),
}

QUECTEL = Table()


@QUECTEL.command("+QCCID")
def _card_number(module: QuectelBoard, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    only(asked, Kind.ACT)
    module.need_sim()
    return [f"+QCCID: {module.profile.iccid}"]


@QUECTEL.command("+QHUP")
def _hang_up_with_cause(module: QuectelBoard, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return ["+QHUP: (0-127),(0-7)"]
    only(asked, Kind.SET)
    cause, index = asked.number(0), asked.number(1, 0)
    module.dead = not module.takes_qhup
    for leg in list(module.voice):
        if index in (0, leg.index):
            module.order_release(leg, cause)
    return []


@QUECTEL.command("+QLDTMF")
def _local_tone(module: QuectelBoard, asked: Command) -> list[str]:
    return []


@QUECTEL.command("+QPCMV")
def _pcm(module: QuectelBoard, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return [f"+QPCMV: {module.tests_pcm}"]
        case Kind.READ:
            return ["+QPCMV: 0" if module.pcm_mode is None else f"+QPCMV: 1,{module.pcm_mode}"]
    only(asked, Kind.SET)
    on, mode = asked.number(0), asked.number(1, 0)
    if on not in (0, 1) or mode not in (0, 1, 2):
        raise Refused
    module.set_pcm(bool(on), mode)
    return []


@QUECTEL.command("+QINDCFG")
def _indication(module: QuectelBoard, asked: Command) -> list[str]:
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


@QUECTEL.command("+QURCCFG")
def _urc_port(module: QuectelBoard, asked: Command) -> list[str]:
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


@QUECTEL.command("+QCFG")
def _configuration(module: QuectelBoard, asked: Command) -> list[str]:
    """What is set is kept, and what USB looks like changes with a restart."""
    told = {"usbcfg": module.usb_configuration()}
    if module.technology == LTE:
        told["ims"] = f"{module.setting('ims', '0')},{module.over_ims:d}"
    only(asked, Kind.SET)
    name = asked.argument(0)
    if name not in told:
        raise Refused
    if len(asked.arguments) == 1:
        return [f'+QCFG: "{name}",{told[name]}']
    if name == "ims":
        module.values["ims"] = str(asked.number(1))
    else:
        module.interfaces_wanted = _flags(asked)
    return []


def _flags(asked: Command) -> tuple[int, int, int, int, int, int, int]:
    """Raises: Refused: not name, two ids and seven flags."""
    diag, nmea, at, modem, net, adb, uac = (asked.number(place) for place in range(3, 10))
    flags = (diag, nmea, at, modem, net, adb, uac)
    if len(asked.arguments) != 10 or not {0, 1}.issuperset(flags):
        raise Refused(50)
    return flags


@QUECTEL.command("+QPOWD")
def _switch_off(module: QuectelBoard, asked: Command) -> list[str]:
    module.tell("POWERED DOWN")
    module.restart(again=False)
    return []


@QUECTEL.command("+QPINC")
def _pin_tries(module: QuectelBoard, asked: Command) -> list[str]:
    return [f'+QPINC: "SC",{module.pin_tries},10']


@QUECTEL.command("+QINISTAT")
def _init_state(module: QuectelBoard, asked: Command) -> list[str]:
    return [f"+QINISTAT: {0 if module.booting else 7 if module.pin is Pin.READY else 1}"]


@QUECTEL.command("+QSIMSTAT")
def _sim_state(module: QuectelBoard, asked: Command) -> list[str]:
    return [f"+QSIMSTAT: 0,{module.profile.sim:d}"]


@QUECTEL.command("+QNWINFO")
def _network_info(module: QuectelBoard, asked: Command) -> list[str]:
    if not module.registered:
        return ["+QNWINFO: No Service"]
    return [f'+QNWINFO: "FDD LTE","{module.profile.operator[2]}","LTE BAND 3",1300']


@QUECTEL.command("+QGPS")
def _gnss_on(module: QuectelBoard, asked: Command) -> list[str]:
    if asked.kind is Kind.READ:
        return [f"+QGPS: {module.gnss:d}"]
    only(asked, Kind.SET)
    if asked.number(0) not in range(1, 5):
        raise Refused(50)
    module.set_gnss(True)
    return []


@QUECTEL.command("+QGPSEND")
def _gnss_off(module: QuectelBoard, asked: Command) -> list[str]:
    if not module.gnss:
        # EC25 GNSS: 505, session not active; a number of its own, so ERROR does for +CMEE=2.
        raise Refused
    module.set_gnss(False)
    return []


@QUECTEL.command("+QGPSCFG")
def _gnss_setting(module: QuectelBoard, asked: Command) -> list[str]:
    only(asked, Kind.SET)
    if asked.argument(0) != "outport":
        raise Refused
    port = asked.argument(1)
    if not port:
        return [f'+QGPSCFG: "outport","{module.gnss_port}"']
    if port not in ("none", "usbnmea", "uartdebug"):
        raise Refused(50)
    module.gnss_port = port
    return []
