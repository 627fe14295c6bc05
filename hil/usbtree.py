"""A /sys and a /dev of simulated USB devices, in a directory: what a driver that finds its ports there would see.

    tree = UsbTree(tmp_path)
    tree.plug("1-1.2", EC25, {1: pcm_pty, 2: at_pty})       # dev/ttyUSB0 and so on, as links
    tree.unplug("1-1.2")

Numbers are not used twice, and the last interface gets the first: nothing may be concluded from them.
"""

import itertools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hil.board import Usb

# bInterfaceClass: vendor's own, as serial ports of modems are; communications and its data; audio; mass storage.
VENDOR, COMMUNICATIONS, DATA, AUDIO, STORAGE = 0xFF, 0x02, 0x0A, 0x01, 0x08
_CLASSES = {"storage": STORAGE, "audio": AUDIO, "net": COMMUNICATIONS}


@dataclass(frozen=True)
class Gadget:
    """A device as it describes itself. `classes` are of its interfaces, by number; those in `serial` have a tty."""

    vendor: int
    product: int
    classes: Mapping[int, int]
    serial: tuple[int, ...]
    title: tuple[str, str] = ("Android", "Android")
    # Its sound card is on the first interface of class audio.
    card: bool = False

    @property
    def tty(self) -> str:
        """As the kernel's driver calls them: option, or cdc_acm."""
        return "ttyACM" if all(self.classes[each] == COMMUNICATIONS for each in self.serial) else "ttyUSB"


def gadget(usb: Usb) -> Gadget:
    """A simulated device's: where commands are all that it has, it is a modem of the communications class."""
    maker, _, name = usb.title.partition(" ")
    title = (maker, name or maker)
    if set(usb.roles.values()) == {"at"}:
        (at,) = usb.roles
        return Gadget(usb.vendor, usb.product, {at: COMMUNICATIONS, at + 1: DATA}, (at,), title)
    classes = {number: _CLASSES.get(role, VENDOR) for number, role in usb.roles.items()}
    serial = tuple(number for number, kind in classes.items() if kind == VENDOR)
    return Gadget(usb.vendor, usb.product, classes, serial, title)


class UsbTree:
    def __init__(self, directory: Path) -> None:
        self.sysfs = directory / "sys"
        self.dev = directory / "dev"
        self._devices = self.sysfs / "bus/usb/devices"
        for each in (self._devices, self.dev):
            each.mkdir(parents=True, exist_ok=True)
        self._devnums = itertools.count(2)
        self._minors = {"ttyUSB": itertools.count(), "ttyACM": itertools.count()}
        self._cards = itertools.count(1)
        self._links: dict[str, list[Path]] = {}

    def plug(self, port: str, gadget: Gadget, ptys: Mapping[int, Path]) -> dict[int, Path]:
        """The names in `dev` by interface; an interface of `serial` without a pty has a name that leads nowhere."""
        place = self._devices / port
        _write(place, idVendor=f"{gadget.vendor:04x}", idProduct=f"{gadget.product:04x}", devnum=next(self._devnums))
        _write(place, **dict(zip(("manufacturer", "product"), gadget.title, strict=True)))
        audio = min((each for each, kind in gadget.classes.items() if kind == AUDIO), default=None)
        names = {}
        for number, kind in sorted(gadget.classes.items(), reverse=True):
            interface = self._devices / f"{port}:1.{number}"
            _write(interface, bInterfaceNumber=f"{number:02x}", bInterfaceClass=f"{kind:02x}")
            if gadget.card and number == audio:
                _write(interface / f"sound/card{next(self._cards)}", id=gadget.title[1])
            if number in gadget.serial:
                name = f"{gadget.tty}{next(self._minors[gadget.tty])}"
                # cdc_acm has no device of its own in between.
                (interface / ("" if gadget.tty == "ttyACM" else name) / "tty" / name).mkdir(parents=True)
                names[number] = self.dev / name
        self._links[port] = list(names.values())
        # The kernel's tree is complete when the nodes appear.
        for number, link in names.items():
            link.symlink_to(ptys.get(number, self.dev / "nowhere"))
        return names

    def unplug(self, port: str) -> None:
        for link in self._links.pop(port, []):
            link.unlink(missing_ok=True)
        for place in (*self._devices.glob(f"{port}:*"), self._devices / port):
            shutil.rmtree(place, ignore_errors=True)


def _write(directory: Path, **files: object) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(f"{text}\n")
