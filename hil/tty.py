"""A device's tty, as its host finds it: a pty with a stable name, which comes and goes with the device.

We are the device, on the master side. The slave stays open on our side as well: a driver of USB serial lines keeps
what the host set while nobody has the port open, and the master of a pty whose slave nobody holds reads EIO for ever.
"""

import ctypes
import fcntl
import os
import struct
import termios
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Self

import trio

_libc = ctypes.CDLL(None, use_errno=True)
# inotify(7)
_IN_OPEN, _IN_CLOSE = 0x20, 0x18
_EVENT = struct.Struct("iIII")


class _Openings:
    """Who opens and closes the ptys of a run. There is one for all: a user has 128 of them (max_user_instances), and a
    bench of 64 lines as many ptys.
    """

    def __init__(self) -> None:
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        # By the watch's number, which is never used again.
        self._masks: dict[int, list[int]] = {}
        self._reading = False
        self._read = trio.lowlevel.ParkingLot()

    def watch(self, path: str, masks: list[int]) -> int:
        """What happens there is appended."""
        number: int = _libc.inotify_add_watch(self._fd, path.encode(), _IN_OPEN | _IN_CLOSE)
        if number < 0:
            raise OSError(ctypes.get_errno(), f"inotify on {path}")
        self._masks[number] = masks
        return number

    def forget(self, number: int) -> bool:
        """True: it was the last, and this is of no use any more."""
        _libc.inotify_rm_watch(self._fd, number)
        del self._masks[number]
        if not self._masks:
            os.close(self._fd)
        return not self._masks

    async def news(self) -> None:
        """Returns when something has happened anywhere; one of those who wait reads for all."""
        if self._reading:
            await self._read.park()
            return
        self._reading = True
        try:
            await trio.lowlevel.wait_readable(self._fd)
            events, at = os.read(self._fd, 4096), 0
            while at < len(events):
                number, mask, _, name_bytes = _EVENT.unpack_from(events, at)
                at += _EVENT.size + name_bytes
                if number in self._masks:
                    self._masks[number].append(mask)
        finally:
            self._reading = False
            self._read.unpark_all()


_openings = trio.lowlevel.RunVar[_Openings | None]("openings", default=None)


class Pty:
    """`link` names the slave; what stood there before, left by a bench that was killed, is replaced if it is a link."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self._opened = 0
        # DTR falls with the last close; a pty has no other way to show it.
        self.on_hang_up: Callable[[], None] = lambda: None
        path = os.ttyname(self._slave)
        self._happened: list[int] = []
        self._openings = _openings.get() or _Openings()
        _openings.set(self._openings)
        self._watch = self._openings.watch(path, self._happened)
        if link.is_symlink():
            link.unlink()
        link.symlink_to(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The name goes first: who sees the device gone does not find it again."""
        if self.link.is_symlink():
            self.link.unlink()
        if self._openings.forget(self._watch):
            _openings.set(None)
        for fd in (self.master, self._slave):
            os.close(fd)

    async def tend(self) -> None:
        """After the host's last close the port is as new.

        A serial driver forgets TIOCEXCL then, and Linux would not as long as we hold the slave: who is not root would
        never get the port again.
        """
        while True:
            while not self._happened:
                await self._openings.news()
            for mask in self._happened:
                self._opened += 1 if mask & _IN_OPEN else -1
            self._happened.clear()
            if not self._opened:
                fcntl.ioctl(self._slave, termios.TIOCNXCL)
                tty.setraw(self._slave)
                self.on_hang_up()
