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
        self._watch = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        path = os.ttyname(self._slave)
        if self._watch < 0 or _libc.inotify_add_watch(self._watch, path.encode(), _IN_OPEN | _IN_CLOSE) < 0:
            raise OSError(ctypes.get_errno(), "inotify on a pty")
        if link.is_symlink():
            link.unlink()
        link.symlink_to(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The name goes first: who sees the device gone does not find it again."""
        if self.link.is_symlink():
            self.link.unlink()
        for fd in (self._watch, self.master, self._slave):
            os.close(fd)

    async def tend(self) -> None:
        """After the host's last close the port is as new.

        A serial driver forgets TIOCEXCL then, and Linux would not as long as we hold the slave: who is not root would
        never get the port again.
        """
        while True:
            await trio.lowlevel.wait_readable(self._watch)
            events, at = os.read(self._watch, 4096), 0
            while at < len(events):
                _, mask, _, name_bytes = _EVENT.unpack_from(events, at)
                at += _EVENT.size + name_bytes
                self._opened += 1 if mask & _IN_OPEN else -1
            if not self._opened:
                fcntl.ioctl(self._slave, termios.TIOCNXCL)
                tty.setraw(self._slave)
                self.on_hang_up()
