"""A configured line as a trunk: which driver it has, and what that one must know of it."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from appliance.config import Lab, LineConfig
from appliance.jack import ModemJack
from appliance.pins import pin_of
from appliance.trunk import Seizure, Trunk
from drivers.bus import Bus
from drivers.countries import PROFILES, AnalogLine
from drivers.fxo import open_fxo
from drivers.gsm import Options, open_gsm
from drivers.line import Incoming, Line
from drivers.models import MODELS, Model
from drivers.sim import Pin
from drivers.usb import Ports
from drivers.voicemodels import VOICE_MODELS, VoiceModel

# Whatever there is a driver for.
DEVICES: Mapping[str, Model | VoiceModel] = {**MODELS, **VOICE_MODELS}


def make_bus(lines: Collection[LineConfig], lab: Lab) -> Bus:
    ttys = [path for line in lines for path in (line.at, line.pcm) if path is not None]
    return Bus(lab.sysfs, lab.dev, ports=[line.usb for line in lines if line.usb is not None], ttys=ttys)


def make_trunk(
    line: LineConfig, bus: Bus, *, data_dir: Path, ring: Callable[[Seizure, Incoming], None], in_use: Callable[[], bool]
) -> Trunk:
    """`in_use` says whether any line has a call."""
    jack = make_jack(line, bus, data_dir=data_dir, in_use=in_use)
    analog = isinstance(DEVICES[line.model], VoiceModel)
    return Trunk(line.name, line.number, jack=jack, ring=ring, limits=line.limits, analog=analog)


def make_jack(line: LineConfig, bus: Bus, *, data_dir: Path, in_use: Callable[[], bool]) -> ModemJack:
    device = DEVICES[line.model]
    open_ports: Callable[[Ports], AbstractAsyncContextManager[Line]]
    if isinstance(device, VoiceModel):
        open_ports = partial(_open_fxo, line.name, device, analog_line(line))
    else:
        pin = pin_of(line.pin, line.name, data_dir) if line.pin is not None else None
        open_ports = partial(_open_gsm, line, device, pin)
    return ModemJack(line, device, bus, open_ports=open_ports, in_use=in_use)


def analog_line(line: LineConfig) -> AnalogLine:
    usual = AnalogLine(PROFILES[line.region])
    return AnalogLine(
        usual.country,
        polarity=usual.polarity if line.polarity is None else line.polarity,
        silence_s=usual.silence_s if line.silence_s is None else line.silence_s,
    )


def _open_gsm(line: LineConfig, model: Model, pin: Pin | None, ports: Ports) -> AbstractAsyncContextManager[Line]:
    pcm = str(ports.pcm) if ports.pcm is not None else None
    return open_gsm(
        line.name,
        model,
        at_path=str(ports.at),
        pcm_path=pcm,
        card=ports.card,
        pin=pin,
        country=line.region,
        options=Options(call_waiting=bool(line.call_waiting), hide_number=bool(line.hide_number)),
    )


def _open_fxo(name: str, model: VoiceModel, line: AnalogLine, ports: Ports) -> AbstractAsyncContextManager[Line]:
    return open_fxo(name, model, line, at_path=str(ports.at))
