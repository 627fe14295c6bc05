"""What is plugged in, as sysfs tells it, and which of a device's ttys is what.

    /sys/bus/usb/devices/1-1.2              idVendor, idProduct, devnum: the device at port 2 of the hub at 1-1
                        /1-1.2:1.2          bInterfaceNumber, bInterfaceClass: an interface of it
                        /1-1.2:1.2/ttyUSB7  a USB serial driver's; or
                        /1-1.2:1.0/tty/ttyACM0  cdc_acm's; or
                        /1-1.2:1.6/sound/card1  snd-usb-audio's

A tty's number is another after each enumeration, and its order is not that of the interfaces; the port on the hub and
the interface's number stay.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivers.errors import LineAbsent, LineBlocked
from drivers.models import Sound, UsbId

# Root hubs are called usb1, interfaces 1-1.2:1.0.
PORT = re.compile(r"\d+-\d+(\.\d+)*")
MASS_STORAGE = 0x08


@dataclass(frozen=True)
class UsbDevice:
    """`port` is where it is plugged in, `devnum` is a new one with each enumeration."""

    port: str
    vendor: int
    product: int
    devnum: int
    title: str
    # What the interfaces are, by number: their classes, and the ttys of those that have one.
    interfaces: Mapping[int, int]
    ttys: Mapping[int, Path]
    # Of its own sound card, as names of cards end (native/cards.c).
    card: str | None

    @property
    def id(self) -> str:
        return f"{self.vendor:04x}:{self.product:04x}"

    @property
    def is_disc(self) -> bool:
        """Sticks begin as a CD-ROM with the software for another system on it."""
        return bool(self.interfaces) and set(self.interfaces.values()) == {MASS_STORAGE}

    def is_one_of(self, ids: Sequence[UsbId]) -> bool:
        return any((each.vendor, each.product) == (self.vendor, self.product) for each in ids)


@dataclass(frozen=True)
class Ports:
    """What a line's driver opens. `pcm` or `card` are there where the sound wanted is there."""

    at: Path
    pcm: Path | None = None
    card: str | None = None


def scan(sysfs: Path, dev: Path) -> dict[str, UsbDevice]:
    """By port. What comes or goes meanwhile may be missing."""
    devices = {}
    for place in _entries(sysfs / "bus/usb/devices"):
        if PORT.fullmatch(place.name):
            try:
                devices[place.name] = _device(place, dev)
            except (OSError, ValueError):
                continue
    return devices


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        # No USB at all, as in a container.
        return []


def _device(place: Path, dev: Path) -> UsbDevice:
    interfaces, ttys, card = {}, {}, None
    for each in place.parent.glob(f"{place.name}:*"):
        number = int(_text(each / "bInterfaceNumber"), 16)
        interfaces[number] = int(_text(each / "bInterfaceClass"), 16)
        for tty in (*each.glob("tty/tty*"), *each.glob("tty*/tty/tty*")):
            ttys[number] = dev / tty.name
        for sound in each.glob("sound/card*"):
            card = f"(hw:{sound.name.removeprefix('card')},0)"
    return UsbDevice(
        port=place.name,
        vendor=int(_text(place / "idVendor"), 16),
        product=int(_text(place / "idProduct"), 16),
        devnum=int(_text(place / "devnum")),
        title=" ".join(text for name in ("manufacturer", "product") if (text := _text(place / name, ""))),
        interfaces=interfaces,
        ttys=ttys,
        card=card,
    )


def _text(path: Path, default: str | None = None) -> str:
    """Without a `default`, what is not there is an error. Raises: OSError."""
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        if default is None:
            raise
        return default


def at_port(devices: Mapping[str, UsbDevice], port: str, title: str, ids: Sequence[UsbId]) -> UsbDevice:
    """The device of that model there. Raises: LineAbsent, LineBlocked, with a sentence for people."""
    device = devices.get(port)
    if device is None:
        raise LineAbsent(f"nothing is plugged in at USB port {port}")
    need_modem(device)
    if not device.is_one_of(ids):
        raise LineBlocked(f"at USB port {port} is {device.id} {device.title}".rstrip() + f", which is no {title}")
    return device


def need_modem(device: UsbDevice) -> None:
    """Raises: LineAbsent, as long as the stick is something else."""
    if device.is_disc:
        raise LineAbsent(
            f"the stick at USB port {device.port} ({device.id}) shows itself as a CD-ROM:"
            " the Debian package usb-modeswitch makes it a modem"
        )


def ports_of(device: UsbDevice, ids: Sequence[UsbId], sound: Sound) -> list[Ports]:
    """One for each composition of the model that the device fits, as some share their id: the right one answers AT.

    Raises: LineAbsent, with a sentence for people.
    """
    missing = []
    fitting = []
    for each in ids:
        if (each.vendor, each.product) != (device.vendor, device.product):
            continue
        problem = _missing(device, each, sound)
        if problem is not None:
            missing.append(problem)
        else:
            fitting.append(
                Ports(
                    at=device.ttys[each.at],
                    pcm=device.ttys[each.pcm] if sound is Sound.PCM and each.pcm is not None else None,
                    card=device.card if sound is Sound.CARD else None,
                )
            )
    if not fitting:
        raise LineAbsent(f"the modem at USB port {device.port} ({device.id}) {missing[0]}")
    return fitting


def _missing(device: UsbDevice, composition: UsbId, sound: Sound) -> str | None:
    wanted = [composition.at]
    if sound is Sound.PCM:
        if composition.pcm is None:
            return "has no tty for a call's sound: the line needs a card"
        wanted.append(composition.pcm)
    if not device.ttys:
        return "has no serial ports: is the kernel's driver there (modprobe option)?"
    for number in wanted:
        if number not in device.interfaces:
            there = ", ".join(str(each) for each in sorted(device.interfaces))
            return f"has no interface {number}, only {there}: its USB composition is not the usual one"
        if number not in device.ttys:
            return f"has no serial port on interface {number}: the kernel's driver did not take it"
    if sound is Sound.CARD and device.card is None:
        return "has no sound card: USB audio is switched off in it, or snd-usb-audio is missing"
    return None


def candidates(devices: Mapping[str, UsbDevice], ids: Sequence[UsbId]) -> Iterator[UsbDevice]:
    return (device for device in devices.values() if device.is_one_of(ids))
