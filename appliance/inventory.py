"""What is plugged in: for the lines of a configuration, and what could be made a line."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import trio

from appliance.config import Config
from appliance.jack import ModemJack
from appliance.lines import DEVICES, make_bus, make_jack
from drivers.errors import LineError
from drivers.models import Model, Sound
from drivers.usb import UsbDevice, need_modem, ports_of

# More than a silent module is asked for.
ASK_LIMIT_S = 15

NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class Spare:
    """A device on USB that no line has. `models` are the configuration's words for what it can be, none for a sound
    card alone; `problem` is what hinders it.
    """

    usb: str
    id: str
    title: str
    models: tuple[str, ...]
    card: bool
    imei: str | None
    problem: str | None


async def look(config: Config) -> dict[str, Any]:
    """Without a service at work: modules are asked for their IMEI. The shape is that of what a service tells."""
    bus = make_bus(config.lines, config.lab)
    jacks = [
        # Nothing is opened: the PIN, and whether it is doubted, matter not.
        make_jack(line.model_copy(update={"pin": None}), bus, data_dir=config.service.data_dir, in_use=lambda: False)
        for line in config.lines
    ]
    problems: dict[int, str] = {}
    imeis: dict[str, str] = {}

    async def find(place: int, jack: ModemJack) -> None:
        try:
            await jack.find()
        except LineError as exc:
            problems[place] = str(exc)

    async def ask(device: UsbDevice, model: Model) -> None:
        if imei := await bus.imei_of(device, model.usb):
            imeis[device.port] = imei

    async with trio.open_nursery() as watching:
        await watching.start(bus.watch)
        async with trio.open_nursery() as nursery:
            for place, jack in enumerate(jacks):
                nursery.start_soon(find, place, jack)
        devices = await bus.devices()
        with trio.move_on_after(ASK_LIMIT_S):
            async with trio.open_nursery() as nursery:
                for device in devices.values():
                    for model in (DEVICES[name] for name in fitting(device)[:1]):
                        if isinstance(model, Model):
                            nursery.start_soon(ask, device, model)
        watching.cancel_scope.cancel()
    lines = [
        {
            "name": line.name,
            "number": line.number,
            **asdict(jack.whereabouts),
            "state": None,
            "problem": problems.get(place) or (bus.unasked.get(jack.device.port) if jack.device else None),
            "imei": imeis.get(jack.device.port) if jack.device else None,
        }
        for place, (line, jack) in enumerate(zip(config.lines, jacks, strict=True))
    ]
    taken = {jack.device.port for jack in jacks if jack.device}
    return {
        "running": False,
        "lines": lines,
        "spare": [asdict(each) for each in spares(devices, taken, imeis, bus.unasked)],
    }


def spares(
    devices: Mapping[str, UsbDevice],
    taken: Collection[str],
    imeis: Mapping[str, str] = NONE,
    unasked: Mapping[str, str] = NONE,
) -> Iterator[Spare]:
    """Modems, what may become one, and sound cards; what is known of them by USB port."""
    for port, device in devices.items():
        models = fitting(device)
        is_stick = device.is_disc and device.vendor in {each.vendor for row in DEVICES.values() for each in row.usb}
        if port not in taken and (models or is_stick or device.card):
            title, problem = device.title or "without a name", _problem(device, models) or unasked.get(port)
            yield Spare(port, device.id, title, models, device.card is not None, imeis.get(port), problem)


def fitting(device: UsbDevice) -> tuple[str, ...]:
    return tuple(name for name, row in DEVICES.items() if device.is_one_of(row.usb))


def _problem(device: UsbDevice, models: Collection[str]) -> str | None:
    try:
        need_modem(device)
        for name in models:
            row = DEVICES[name]
            # A sound card elsewhere will do, where its own tty is missing.
            ports_of(device, row.usb, Sound.PCM if row.sound == (Sound.PCM,) else Sound.AT)
    except LineError as exc:
        return str(exc)
    return None
