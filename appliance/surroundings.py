"""What the machine around the lines can tell: who else has their ttys, and whether its supply voltage is too low."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from appliance.diagnosis import Surroundings

PROC = Path("/proc")
SYSFS = Path("/sys")
# With these ModemManager keeps off our devices.
RULES = tuple(Path(each, "udev/rules.d/70-branchline.rules") for each in ("/etc", "/usr/lib", "/lib"))
MODEM_MANAGER = "ModemManager"


def look_around(ttys: Collection[str], *, sysfs: Path = SYSFS, proc: Path = PROC) -> Surroundings:
    """May block. Of other users' programs only root sees which files they have."""
    devices = {os.path.realpath(each): each for each in ttys}
    holders: dict[str, list[str]] = {}
    managed = False
    for process in _processes(proc):
        name = _text(process / "comm")
        managed |= name == MODEM_MANAGER
        for path in _open_files(process):
            if path in devices and int(process.name) != os.getpid():
                holder = f"{name} (process {process.name})"
                if holder not in (there := holders.setdefault(devices[path], [])):
                    there.append(holder)
    kept_off = any(rules.exists() for rules in RULES)
    return Surroundings(
        {path: " and ".join(there) for path, there in holders.items()}, managed and not kept_off, _is_starved(sysfs)
    )


def _processes(proc: Path) -> Iterator[Path]:
    return (each for each in proc.iterdir() if each.name.isdecimal())


def _open_files(process: Path) -> Iterator[str]:
    try:
        entries = list(os.scandir(process / "fd"))
    except OSError:
        # Gone, or somebody else's.
        return
    for entry in entries:
        try:
            yield os.readlink(entry.path)
        except OSError:
            continue


def _is_starved(sysfs: Path) -> bool:
    """A Raspberry Pi's firmware says so (raspberrypi-hwmon); other machines have no such sensor."""
    return any(
        _text(sensor / "name") == "rpi_volt" and _text(sensor / "in0_lcrit_alarm") == "1"
        for sensor in sysfs.glob("class/hwmon/hwmon*")
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
