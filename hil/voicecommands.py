"""The commands of a voice modem: ITU-T V.250 for the line and its registers, V.253 for +V, by the model's own ways.

What takes its time becomes the modem's script; the rest of the command line waits for its end.
"""

import re
from collections.abc import Callable, Mapping

from hil.commandline import Command, Final, Kind, Refused, Setting
from hil.daa import Daa, Script, Wait
from hil.network import KEYS
from hil.voiceboard import Key, Open, Sing
from hil.voicemodels import T35
from hil.voicestream import Mode
from native import Step, ToneKind

# V.250 6.3.1: how long a dial tone is waited for.
DIAL_TONE_S = 6.0
KEY_PAUSE_MS = 70
# Of a tone by +VTS, in 10 ms.
LONGEST = 1000
PROGRESS = frozenset({ToneKind.BUSY, ToneKind.CONGESTION, ToneKind.RINGBACK})

# With +VLS: what is connected; an odd one has the line off hook.
LINES = {
    0: "", 1: "T", 2: "L", 3: "LT", 4: "S", 5: "ST", 6: "M", 7: "MST", 8: "S", 9: "ST", 11: "M", 13: "MST",
    14: "H", 15: "HT",
}  # fmt: skip
ONTO_THE_LINE = frozenset(number for number, elements in LINES.items() if "T" in elements)

BASIC = {
    "E": "01", "V": "01", "Q": "01", "X": "01234", "L": "0123", "M": "0123", "B": "012", "T": "0", "P": "0", "W": "012",
    "&C": "01", "&D": "0123", "&K": "03456", "&S": "01", "&G": "012", "&W": "01", "&Q": "056",
}  # fmt: skip
BASIC_DEFAULTS = {"E": "1", "V": "1", "X": "4", "&D": "2", "&C": "1", "&K": "3"}


def _register(low: int, high: int, default: int) -> Setting:
    return Setting(f"({low}-{high})", str(default), read="{:0>3}")


_BYTE = "(0-255)"
# In any class.
SETTINGS: Mapping[str, Setting] = {
    "+VCID": Setting("(0-2)", "0"),
    "+VDR": Setting(f"(0,1),{_BYTE}", "0,0"),
    "+IFC": Setting("(0-2),(0-2)", "2,2"),
    "+FLO": Setting("(0-2)", "2"),
    "+IPR": Setting("(0,9600,19200,38400,57600,115200,230400,460800)", "0"),
    "S0": _register(0, 255, 0),
    "S3": Setting("(13)", "13", read="{:0>3}"),
    "S4": Setting("(10)", "10", read="{:0>3}"),
    "S5": Setting("(8)", "8", read="{:0>3}"),
    "S6": _register(2, 255, 2),
    "S7": _register(1, 255, 50),
    "S8": _register(0, 255, 2),
    "S10": _register(1, 255, 14),
    "S11": _register(50, 255, 85),
    "S12": _register(0, 255, 50),
    "S29": _register(0, 255, 50),
}
# In class 8 only.
VOICE_SETTINGS: Mapping[str, Setting] = {
    "+VSD": Setting(f"{_BYTE},{_BYTE}", "128,50"),
    "+VGR": Setting(_BYTE, "128"),
    "+VGT": Setting(_BYTE, "128"),
    "+VIT": Setting(_BYTE, "0"),
    "+VNH": Setting("(0-2)", "0"),
    "+VPR": Setting("(0,4,8,16,24,32,48,96)", "0"),
    "+VRA": Setting(_BYTE, "50"),
    "+VRN": Setting(_BYTE, "10"),
    "+VTD": Setting(_BYTE, "10"),
}
CONEXANT_SETTINGS: Mapping[str, Setting] = {
    "-SCID": Setting("(0,1)", "0"),
    "-STE": Setting("(0-7)", "0"),
}

# Gives the info lines of one command, or raises Refused or Final for any end but OK.
Act = Callable[[Daa, Command], list[str] | Script]
TABLE: dict[str, Act] = {}


def _command(*names: str) -> Callable[[Act], Act]:
    def enter(act: Act) -> Act:
        TABLE.update(dict.fromkeys(names, act))
        return act

    return enter


def perform(daa: Daa, asked: Command) -> list[str] | Script:
    """Raises: Refused, Final: as in hil.commandline."""
    if asked.name in TABLE:
        return TABLE[asked.name](daa, asked)
    if asked.name in SETTINGS:
        return _apply(daa, asked, SETTINGS[asked.name])
    if asked.name in CONEXANT_SETTINGS and daa.model.manufacturer == "CONEXANT":
        return _apply(daa, asked, CONEXANT_SETTINGS[asked.name])
    if asked.name in VOICE_SETTINGS:
        _need_voice(daa)
        return _apply(daa, asked, VOICE_SETTINGS[asked.name])
    if asked.name in BASIC:
        digit = asked.text.lstrip("0") or "0"
        if digit not in BASIC[asked.name]:
            raise Refused
        daa.values[asked.name] = digit
        return []
    raise Refused


def _apply(daa: Daa, asked: Command, setting: Setting) -> list[str]:
    default = str(daa.model.flash) if asked.name == "S29" else setting.default
    value = daa.setting(asked.name, default)
    match asked.kind:
        case Kind.TEST:
            return [_named(daa, asked, setting.test)]
        case Kind.READ:
            return [_named(daa, asked, setting.read(value))]
        case Kind.SET:
            daa.values[asked.name] = setting.changed(value, asked) if asked.text else default
            return []
    raise Refused


def _named(daa: Daa, asked: Command, text: str) -> str:
    return f"{asked.name}: {text}" if daa.model.prefixed and asked.name.startswith("+V") else text


def _need_voice(daa: Daa) -> None:
    if not daa.voice:
        raise Refused


def _need_line(daa: Daa) -> None:
    _need_voice(daa)
    if not daa.off_hook:
        raise Refused


def register(daa: Daa, name: str) -> int:
    default = str(daa.model.flash) if name == "S29" else SETTINGS[name].default
    return int(daa.setting(name, default))


# --- who it is ---


@_command("I")
def _identity(daa: Daa, asked: Command) -> list[str]:
    text = daa.model.identity.get(int(asked.text or 0))
    return [text] if text else []


@_command("+GMI", "+FMI", "+GMM", "+FMM", "+GMR", "+FMR")
def _maker(daa: Daa, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return []
    return [{"I": daa.model.manufacturer, "M": daa.model.model, "R": daa.model.revision}[asked.name[-1]]]


@_command("+GCI")
def _country(daa: Daa, asked: Command) -> list[str]:
    match asked.kind:
        case Kind.TEST:
            return [f"+GCI: ({','.join(sorted(T35.values()))})"]
        case Kind.READ:
            return [f"+GCI: {daa.setting('+GCI', 'B5')}"]
        case Kind.SET if asked.text.upper() in T35.values():
            daa.values["+GCI"] = asked.text.upper()
            return []
    raise Refused


@_command("Z")
def _reset(daa: Daa, asked: Command) -> list[str]:
    daa.hang_up()
    daa.reset()
    return []


@_command("&F")
def _factory(daa: Daa, asked: Command) -> list[str]:
    daa.values.clear()
    return []


# --- classes ---


@_command("+FCLASS")
def _class(daa: Daa, asked: Command) -> list[str]:
    classes = daa.model.data_classes if daa.faults.no_voice else daa.model.classes
    match asked.kind:
        case Kind.TEST:
            return [classes]
        case Kind.READ:
            return [daa.service_class]
        case Kind.SET if asked.text in classes.strip("()").split(","):
            daa.service_class = asked.text
            return []
    raise Refused


@_command("+VIP")
def _voice_defaults(daa: Daa, asked: Command) -> list[str]:
    _need_voice(daa)
    for name in [name for name in daa.values if name.startswith("+V")]:
        del daa.values[name]
    return []


@_command("+VSM")
def _sampling(daa: Daa, asked: Command) -> list[str]:
    _need_voice(daa)
    samplings = daa.model.samplings
    match asked.kind:
        case Kind.TEST:
            prefix = "+VSM: " if daa.model.prefixed else ""
            return [f"{prefix}{number},{each.listed}" for number, each in samplings.items()]
        case Kind.READ:
            return [_named(daa, asked, daa.setting("+VSM", f"{daa.model.sampling},8000"))]
        case Kind.SET:
            number = asked.number(0)
            # Two of three modems take the number alone; where there is a choice of rates, it has to be made.
            rate = asked.number(
                1, 8000 if len(samplings.get(number, samplings[daa.model.sampling]).rates_hz) == 1 else 0
            )
            if number not in samplings or rate not in samplings[number].rates_hz or len(asked.arguments) > 4:
                raise Refused
            daa.values["+VSM"] = f"{number},{rate}"
            return []
    raise Refused


@_command("+VRID")
def _again(daa: Daa, asked: Command) -> list[str]:
    if asked.kind is Kind.TEST:
        return [_named(daa, asked, "(0,1)")]
    return daa.caller_lines(raw=asked.text == "1")


# --- the hook ---


@_command("H")
def _hook(daa: Daa, asked: Command) -> list[str] | Script:
    if asked.text.lstrip("0"):
        return daa.lifting()
    daa.hang_up()
    return []


@_command("+VLS")
def _lines(daa: Daa, asked: Command) -> list[str] | Script:
    _need_voice(daa)
    match asked.kind:
        case Kind.TEST:
            events = "0BC01800"
            return [
                _named(daa, asked, f'{number},"{elements}",{events},{events},{events}')
                for number, elements in LINES.items()
            ]
        case Kind.READ:
            # Of the relay, whatever was ordered last.
            ordered = int(daa.setting("+VLS", "0"))
            number = ordered if daa.off_hook == (ordered in ONTO_THE_LINE) else int(daa.off_hook)
            return [_named(daa, asked, str(number))]
        case Kind.SET:
            number = asked.number(0)
            if number not in LINES:
                raise Refused
            daa.values["+VLS"] = str(number)
            if number in ONTO_THE_LINE:
                return daa.lifting()
            daa.hang_up()
            return []
    raise Refused


@_command("A")
def _answer(daa: Daa, asked: Command) -> Script:
    return answering(daa)


def answering(daa: Daa) -> Script:
    yield from daa.lifting()
    if daa.voice:
        return daa.model.connected
    # In class 0 it waits for the other modem's carrier, of which there is none here.
    yield Wait(register(daa, "S7"))
    daa.hang_up()
    return "NO CARRIER"


# --- dialing ---


@_command("D")
def _dial(daa: Daa, asked: Command) -> Script:
    return dialing(daa, asked.text)


def dialing(daa: Daa, text: str) -> Script:
    """Tones, whatever the T or P; `,` `W` `@` `!` as in V.250 6.3.1. With `;` it ends behind the last digit."""
    deaf = text.endswith(";")
    if not daa.off_hook:
        yield from daa.lifting()
        if daa.setting("X", "4") in ("2", "4"):
            if daa.detected is not ToneKind.DIAL and not (yield Wait(DIAL_TONE_S, frozenset({ToneKind.DIAL}))):
                daa.hang_up()
                return daa.model.no_dial_tone
        else:
            yield Wait(register(daa, "S6"))
    on_ms = register(daa, "S11")
    for character in text.upper().rstrip(";"):
        if character in KEYS:
            daa.effects.append(Key(character, on_ms))
            yield Wait((on_ms + KEY_PAUSE_MS) / 1000)
        elif character in ",@":
            yield Wait(register(daa, "S8"))
        elif character == "W":
            if not (yield Wait(DIAL_TONE_S, frozenset({ToneKind.DIAL}))):
                daa.hang_up()
                return daa.model.no_dial_tone
        elif character == "!":
            yield from flashing(daa)
    if deaf:
        return "OK"
    if not daa.voice:
        yield Wait(register(daa, "S7"))
        daa.hang_up()
        return "NO CARRIER"
    return (yield from progressing(daa))


def progressing(daa: Daa) -> Script:
    """+VRA and +VRN: connected is what no tone speaks against."""
    gone_s, never_s = int(daa.setting("+VRA", "50")) / 10, int(daa.setting("+VRN", "10"))
    ends_at = daa.now + register(daa, "S7")
    heard = yield Wait(never_s, PROGRESS)
    while heard is ToneKind.RINGBACK:
        daa.say_result("RINGING")
        if daa.now > ends_at:
            daa.hang_up()
            return "NO ANSWER"
        # From the end of one ring, at which it is heard, past the next one.
        heard = yield Wait(gone_s + daa.burst_s, PROGRESS)
    if heard is None:
        return daa.model.connected
    daa.hang_up()
    return "BUSY"


# --- tones ---

_TONE = re.compile(r"\[(\d*),(\d*),(\d*)\]|\{([0-9A-D*#]),(\d*)\}|([0-9A-D*#!])", re.IGNORECASE)


@_command("+VTS")
def _tones(daa: Daa, asked: Command) -> list[str] | Script:
    if asked.kind is Kind.TEST:
        _need_voice(daa)
        return [_named(daa, asked, "(200-3200),(200-3200),(0-255)")]
    _need_line(daa)
    if asked.kind is not Kind.SET or _TONE.sub("", asked.text).strip(","):
        raise Refused
    return singing(daa, [match.groups() for match in _TONE.finditer(asked.text)])


def singing(daa: Daa, each: list[tuple[str | None, ...]]) -> Script:
    default = int(daa.setting("+VTD", VOICE_SETTINGS["+VTD"].default))
    for first, second, duration, held, held_for, key in each:
        if key == "!":
            yield from flashing(daa)
            continue
        ms = 10 * min(LONGEST, int(duration or held_for or default))
        pressed = held or key
        if pressed:
            daa.effects.append(Key(pressed.upper(), ms))
        else:
            hz = tuple(float(each) for each in (first, second) if each and float(each))
            daa.effects.append(Sing((Step(hz, ms),)))
        yield Wait((ms + (KEY_PAUSE_MS if pressed else 0)) / 1000)
    return "OK"


def flashing(daa: Daa) -> Script:
    """+VTS=! and ATD!: the loop is open for S29."""
    daa.hang_up()
    yield Wait(register(daa, "S29") / 100)
    daa.lift()
    return "OK"


# --- streams ---


@_command("+VTX", "+VRX", "+VTR")
def _stream(daa: Daa, asked: Command) -> list[str]:
    if asked.kind is not Kind.ACT:
        # Conexant has no test form for what acts; that says nothing of the command.
        raise Refused
    _need_line(daa)
    number, rate = (int(part) for part in daa.setting("+VSM", f"{daa.model.sampling},8000").split(","))
    sampling = daa.model.samplings[number]
    if sampling.format is None or rate != 8000:
        raise Refused
    daa.wanted = Open(Mode(asked.name), sampling.format, sampling.signed)
    raise Final("CONNECT")
