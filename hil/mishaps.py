"""What can go wrong with a line of the bench, by name: for who switches it on and off from another program.

    begin(modem, "hung", "+CLCC")    begin(modem, "drift-ppm", "150")    begin(modem, "sim-removed")    end(modem)

All that its `faults` have (hil.faults, hil.voiceboard) is there under its own name; beside them what happens to a SIM,
to the radio and to the sound.
"""

import random
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import trio

from hil.board import Profile
from hil.device import Device
from hil.faults import Faults
from hil.modem import Modem
from hil.network import NetworkError

# Which only a program can make use of, and which mishaps of another name stand for.
HIDDEN = {"no_list_until", "stalls"}
# 27.007 8.5 <rssi> of a simulated antenna that all is well with.
USUAL_RSSI = 24
BYTES_PER_MS = 16
# 27.007 7.2 <stat>.
COVERAGE = {"": 2, "none": 0, "searching": 2, "denied": 3}


@dataclass(frozen=True)
class Mishap:
    """`begin` takes its value as it was typed. `shown`: its value; None: it is not on, or was over at once."""

    begin: Callable[[str], None]
    end: Callable[[], None] = lambda: None
    shown: Callable[[], object] = lambda: None


def names(device: Device) -> list[str]:
    hidden = HIDDEN | device.faults.void
    return [*(_dashed(each.name) for each in fields(device.faults) if each.name not in hidden), *_others(device)]


def begin(device: Device, name: str, value: str = "") -> None:
    """Raises: NetworkError: no such mishap, or no value for it."""
    try:
        if (other := _others(device).get(name)) is not None:
            other.begin(value)
        elif name in names(device):
            _set(device.faults, name.replace("-", "_"), value)
        else:
            raise NetworkError(f"no fault {name!r}; there are: {', '.join(names(device))}")
    except ValueError as exc:
        raise NetworkError(f"{name} wants another value than {value!r}: {exc}") from exc
    _take_effect(device)


def end(device: Device) -> None:
    """All of them."""
    for each in fields(device.faults):
        setattr(device.faults, each.name, _usual(each))
    for other in _others(device).values():
        if other.shown() is not None:
            other.end()
    _take_effect(device)


def active(device: Device) -> dict[str, object]:
    found: dict[str, object] = {}
    for each in fields(device.faults):
        value = getattr(device.faults, each.name)
        if each.name not in HIDDEN and value != _usual(each):
            found[_dashed(each.name)] = _plain(value)
    shown = {name: other.shown() for name, other in _others(device).items()}
    return found | {name: value for name, value in shown.items() if value is not None}


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _usual(field: Any) -> Any:
    return field.default_factory() if field.default is MISSING else field.default


def _plain(value: object) -> object:
    """For JSON."""
    match value:
        case set():
            return sorted(value)
        case bytes():
            return value.decode("latin-1")
        case tuple():
            return [_plain(each) for each in value]
    return value


def _take_effect(device: Device) -> None:
    if isinstance(device, Modem):
        device.faults_changed()


def _set(faults: Faults, name: str, text: str) -> None:
    """A flag, a number, a text; one more of a set; KEY=VALUE of a table; OFFSET:TEXT. Raises: ValueError."""
    hint = get_type_hints(type(faults))[name]
    old = getattr(faults, name)
    if get_origin(hint) is set:
        if not text:
            raise ValueError("the name of a command, or a text")
        old.add(text)
    elif get_origin(hint) is dict:
        key, found, value = text.partition("=")
        if not found:
            raise ValueError("NAME=NUMBER")
        old[key] = _number(get_args(hint)[1], value)
    else:
        setattr(faults, name, _parsed(next(iter(get_args(hint)), hint), text))


def _parsed(kind: Any, text: str) -> object:
    if kind is bool:
        return _flag(text)
    if kind is bytes:
        return text.encode().decode("unicode_escape").encode("latin-1")
    if get_origin(kind) is tuple:
        offset, found, rest = text.partition(":")
        if not found:
            raise ValueError("OFFSET:TEXT")
        return _number(int, offset), _parsed(bytes, rest)
    return text if kind is str else _number(kind, text)


Numeric = TypeVar("Numeric", int, float)


def _number(kind: type[Numeric], text: str) -> Numeric:
    try:
        return kind(text)
    except ValueError:
        raise ValueError("a whole number" if kind is int else "a number") from None


def _flag(text: str) -> bool:
    if text not in ("", "on", "off"):
        raise ValueError("on or off, or nothing")
    return text != "off"


def _others(device: Device) -> dict[str, Mishap]:
    found = {
        "no-sound": Mishap(lambda _: device.stop_sound()),
        "stall-s": Mishap(lambda value: device.stall(_number(float, value or "0.5"))),
    }
    return found | _of_modem(device) if isinstance(device, Modem) else found


def _of_modem(modem: Modem) -> dict[str, Mishap]:
    module = modem.module

    def set_coverage(value: str) -> None:
        if value not in COVERAGE:
            raise ValueError(", ".join(filter(None, COVERAGE)))
        modem.set_coverage(COVERAGE[value])

    def set_profile(profile: Profile) -> None:
        module.profile = profile
        modem.set_coverage(module.coverage)

    def hide_calls(value: str) -> None:
        modem.faults.no_list_until = trio.current_time() + _number(float, value or "1")

    def leave_over(value: str) -> None:
        if modem.voice:
            modem.voice.say(random.Random(0).randbytes(_number(int, value or "300") * BYTES_PER_MS))

    def pin(value: str) -> None:
        if not value.isdecimal():
            raise ValueError("a PIN")
        modem.lock(value)

    return {
        "sim-removed": Mishap(
            lambda _: modem.set_sim(False), lambda: modem.set_sim(True), lambda: None if module.profile.sim else True
        ),
        "pin": Mishap(pin, lambda: modem.lock(None), lambda: module.profile.pin),
        "network-lost": Mishap(
            set_coverage, lambda: modem.set_coverage(1), lambda: None if module.coverage in (1, 5) else module.coverage
        ),
        "signal": Mishap(
            lambda value: modem.set_signal(_number(int, value)),
            lambda: modem.set_signal(USUAL_RSSI),
            lambda: None if module.rssi == USUAL_RSSI else module.rssi,
        ),
        "no-voice": Mishap(
            lambda _: set_profile(replace(module.profile, voice=False)),
            lambda: set_profile(replace(module.profile, voice=True)),
            lambda: None if module.profile.voice else True,
        ),
        "no-ims": Mishap(
            lambda _: set_profile(replace(module.profile, ims=False)),
            lambda: set_profile(replace(module.profile, ims=True)),
            lambda: None if module.profile.ims else True,
        ),
        "no-list-s": Mishap(hide_calls),
        "leftover-ms": Mishap(leave_over),
    }
