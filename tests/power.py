"""A disk, and what is on it when the power comes back.

A program with `environment` has its syncs written down (tests/power.c). When all such programs are dead, `cut` leaves
of the directory what a disk may have then: what was synced, and of all else anything from nothing to everything. A file
is as it was at its last sync, or any of its pages are as they were written later, and its length is; the names in a
directory are those of its last sync, or those of the end, as a journal has them.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

SOURCE = Path(__file__).with_name("power.c")
FLAGS = "-std=gnu11 -O1 -Wall -Wextra -Werror -shared -fPIC -pthread"
PAGE_BYTES = 4096


def compiled(directory: Path) -> Path:
    """Raises: OSError, subprocess.CalledProcessError: there is no C compiler, or it refused."""
    library = directory / "power.so"
    subprocess.run(["cc", *FLAGS.split(), "-o", library, SOURCE], check=True)
    return library


class Disk:
    """All below `directory`; beside it is kept what is safe there. `sync_ms` is what a sync takes."""

    def __init__(self, directory: Path, library: Path, chance: Random, *, sync_ms: int = 0) -> None:
        self.directory = directory.resolve()
        self._kept = self.directory.with_name(f"{directory.name}.kept")
        self._library = library
        self._chance = chance
        self._sync_ms = sync_ms
        self._lives = 0
        self._begin()

    @property
    def environment(self) -> Mapping[str, str]:
        # Sanitizers are preloaded, too, and want to be first.
        preloaded = [os.environ.get("LD_PRELOAD", ""), str(self._library)]
        return {
            "LD_PRELOAD": ":".join(filter(None, preloaded)),
            "POWER_DISK": str(self.directory),
            "POWER_KEPT": str(self._kept),
            "POWER_LIFE": str(self._lives),
            "POWER_SYNC_MS": str(self._sync_ms),
        }

    def _begin(self) -> None:
        """What is there now is safe."""
        if self._kept.exists():
            shutil.rmtree(self._kept)
        self._kept.mkdir()
        self._lives += 1
        self._life.touch()
        for path in (self.directory, *self.directory.rglob("*")):
            if path.is_dir():
                names = (f"{each.stat().st_ino} {each.name}\0" for each in _things(path))
                self._of("names", path.stat().st_ino).write_text("".join(names))
            elif path.is_file():
                self._of("file", inode := path.stat().st_ino).hardlink_to(path)
                shutil.copyfile(path, self._of("copy", inode))

    @property
    def _life(self) -> Path:
        return self._kept / f"life-{self._lives}"

    def _of(self, kind: str, inode: int) -> Path:
        return self._kept / f"{kind}-{inode}"

    def kill(self) -> None:
        """Whoever has `environment`, children included."""
        # Of a program that is just being started nothing is to be seen yet.
        self._life.unlink(missing_ok=True)
        while users := list(self._users()):
            for process in users:
                os.kill(process, signal.SIGKILL)

    def _users(self) -> Iterator[int]:
        mark = f"POWER_KEPT={self._kept}".encode()
        for entry in Path("/proc").iterdir():
            try:
                # Of one that is dead, and not yet waited for, this is empty.
                if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)
            except OSError:
                continue

    def synced(self, path: Path) -> bytes:
        """What is safe of this file; nothing is, of one that was never synced."""
        copy = self._of("copy", path.stat().st_ino)
        return copy.read_bytes() if copy.exists() else b""

    def cut(self) -> None:
        after = self.directory.with_name(f"{self.directory.name}.after")
        self._restore(self.directory, self.directory.stat().st_ino, after)
        shutil.rmtree(self.directory)
        after.rename(self.directory)
        self._begin()

    def _restore(self, directory: Path, inode: int, after: Path) -> None:
        after.mkdir(mode=0o700)
        safe = self._names(inode)
        last = {path.name: path.stat().st_ino for path in _things(directory)} if directory.exists() else safe
        for name, thing in self._chance.choice((safe, last)).items():
            if self._names_kept(thing) or (directory / name).is_dir():
                self._restore(directory / name, thing, after / name)
            else:
                self._restore_file(directory / name, thing, after / name)

    def _names_kept(self, inode: int) -> bool:
        return self._of("names", inode).exists()

    def _names(self, inode: int) -> dict[str, int]:
        if not self._names_kept(inode):
            return {}
        entries = self._of("names", inode).read_text().split("\0")[:-1]
        return {name: int(number) for number, _, name in (entry.partition(" ") for entry in entries)}

    def _restore_file(self, path: Path, inode: int, after: Path) -> None:
        copy, file = self._of("copy", inode), self._of("file", inode)
        # Of a file that was in no directory when that was synced there is only its name.
        last = file if file.exists() else path
        after.write_bytes(self._mixed(copy.read_bytes() if copy.exists() else b"", last.read_bytes()))
        after.chmod(last.stat().st_mode)

    def _mixed(self, safe: bytes, last: bytes) -> bytes:
        """Any of what the disk may have when `last` was to be written over `safe`."""
        if safe == last or self._chance.random() < 0.5:
            return safe
        shorter, longer = sorted((len(safe), len(last)))
        pages = range(shorter, longer + 1, PAGE_BYTES)
        size = self._chance.choice((shorter, longer, self._chance.choice(pages)))
        mixed = bytearray(size)
        for start in range(0, size, PAGE_BYTES):
            page = self._chance.choice((safe, last))[start : min(start + PAGE_BYTES, size)]
            mixed[start : start + len(page)] = page
        return bytes(mixed)


def _things(directory: Path) -> list[Path]:
    """No sockets and the like, which are nothing without who made them."""
    return [path for path in directory.iterdir() if path.is_dir() or path.is_file()]
