"""The lines of a bench as a TOML file tells them (docs/bench.md): which devices, where they are, who calls whom.

    [[lines]]
    name = "stick"
    model = "e173"
    number = "+33700000003"
    usb = "1-1.2"
    partner = "module"

The keys that say where a line is are those of the box's own configuration (docs/lines.md).
"""

import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

from drivers.bus import Bus
from drivers.countries import PROFILES, AnalogLine
from drivers.errors import LineAbsent
from drivers.fxo import open_fxo
from drivers.gsm import open_gsm
from drivers.line import Line
from drivers.models import MODELS, Model, Sound
from drivers.sim import Pin
from drivers.usb import Ports, UsbDevice, at_port, ports_of
from drivers.voicemodels import VOICE_MODELS, VoiceModel
from hil.analog import country_of

DEVICES: Mapping[str, Model | VoiceModel] = {**MODELS, **VOICE_MODELS}


class WiresError(Exception):
    """The file names no bench; each problem begins with its key."""


@dataclass(frozen=True)
class Wires:
    """One line. `partner` is the name of the line that it calls and that calls it."""

    name: str
    model: str
    number: str
    usb: str | None = None
    imei: str | None = None
    at: str | None = None
    pcm: str | None = None
    card: str | None = None
    pin: str | None = field(default=None, repr=False)
    country: str | None = None
    polarity: bool | None = None
    partner: str | None = None

    @property
    def device(self) -> Model | VoiceModel:
        return DEVICES[self.model]

    @property
    def analog(self) -> AnalogLine:
        usual = AnalogLine(PROFILES[self.country or country_of(self.number)])
        return AnalogLine(usual.country, polarity=usual.polarity if self.polarity is None else self.polarity)

    # --- where it is ---

    async def find(self, bus: Bus) -> tuple[Ports, UsbDevice | None]:
        """Raises: LineError, with a sentence for people."""
        devices, ids = await bus.devices(), self.device.usb
        sound = self.device.sound[0]
        if self.card is not None:
            sound = Sound.CARD if self.card == "usb" else Sound.AT
        if self.at is not None:
            device, choices = None, [Ports(Path(self.at), Path(self.pcm) if self.pcm else None)]
        elif self.usb is not None:
            device = at_port(devices, self.usb, self.device.title, ids)
            choices = ports_of(device, ids, sound)
        else:
            device, choices = await bus.ports_by_imei(self.imei or "", ids, sound)
        ports = choices[0]
        if self.card not in (None, "usb"):
            ports = Ports(ports.at, card=_card(devices, str(self.card)))
        return ports, device

    @asynccontextmanager
    async def open(self, bus: Bus, pin: Pin | None) -> AsyncIterator[Line]:
        """As the box opens it. Raises: LineError; in an exception group, like the body's errors."""
        ports, _ = await self.find(bus)
        device = self.device
        if isinstance(device, VoiceModel):
            async with open_fxo(self.name, device, self.analog, at_path=str(ports.at)) as fxo:
                yield fxo
        else:
            pcm = str(ports.pcm) if ports.pcm is not None else None
            async with open_gsm(
                self.name, device, at_path=str(ports.at), pcm_path=pcm, card=ports.card, pin=pin
            ) as gsm:
                yield gsm


def _card(devices: Mapping[str, UsbDevice], name: str) -> str:
    """By the name that ALSA gives it, where it is given by its USB port. Raises: LineAbsent."""
    if not name[:1].isdigit():
        return name
    device = devices.get(name)
    if device is None or device.card is None:
        raise LineAbsent(f"no sound card is plugged in at USB port {name}")
    return device.card


# --- the file ---

TEXTS = {each.name for each in fields(Wires)} - {"polarity"}


def read(text: str) -> list[Wires]:
    """Raises: WiresError, with all that is wrong."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise WiresError(str(exc)) from exc
    tables = raw.get("lines")
    problems = [f"{key}: unknown key, [[lines]] is known" for key in raw.keys() - {"lines"}]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise WiresError("\n".join([*problems, "lines: there must be sections that each begin with [[lines]]"]))
    for place, table in enumerate(tables, 1):
        problems += [f"lines.{place}.{problem}" for problem in _problems(table, tables)]
    if problems:
        raise WiresError("\n".join(problems))
    return [Wires(**table) for table in tables]


def _problems(table: Mapping[str, object], tables: Sequence[Mapping[str, object]]) -> list[str]:
    found = [f"{key}: unknown key" for key in table.keys() - TEXTS - {"polarity"}]
    found += [f"{key}: is missing" for key in ("name", "model", "number") if key not in table]
    found += [f"{key}: must be text in quotes" for key in TEXTS & table.keys() if not isinstance(table[key], str)]
    if not isinstance(table.get("polarity", False), bool):
        found.append("polarity: must be true or false, without quotes")
    if not table.keys() & {"usb", "imei", "at"}:
        found.append("usb: is missing (or imei, or at): where is the modem?")
    model, partner, name = (table.get(key) for key in ("model", "partner", "name"))
    if isinstance(model, str) and model not in DEVICES:
        found.append(f'model: unknown "{model}" (known: {", ".join(DEVICES)})')
    if partner is not None and (partner == name or partner not in [other.get("name") for other in tables]):
        found.append(f'partner: "{partner}" is no other line of this file')
    if [other.get("name") for other in tables].count(name) > 1:
        found.append(f'name: "{name}" is there twice')
    return found
