"""A host with a modem's audio tty whose device is the test's.

A sample's value is its serial number, so that each one lost, doubled or torn is seen.
"""

import fcntl
import os
import pty
import select
import socket
import struct
import termios
import time
import tty
from typing import Self

import numpy

from native import FRAME_SAMPLES, Engine, Recorder

FRAME_BYTES = 2 * FRAME_SAMPLES
# Serial numbers are 1 to 30000, then 1 again: 0 is silence.
SERIALS = 30000
# Against a kernel that hangs; nothing is measured with it.
LIMIT_S = 60


def serials(start: int, count: int) -> bytes:
    return ((numpy.arange(start, start + count) % SERIALS) + 1).astype("<i2").tobytes()


def left_of(recorder: Recorder) -> numpy.ndarray:
    return numpy.frombuffer(recorder.read(), "<i2")[0::2]


class Host:
    """An engine with a port that follows `device`, a socket which the test writes and reads by hand."""

    def __init__(self, chunk_bytes: int = 640, *, conceal: bool = False) -> None:
        self.device, ours = socket.socketpair()
        self.device.setblocking(False)
        ours.setblocking(False)
        self.engine = Engine()
        with ours:
            self.port = self.engine.pcm(ours.fileno(), chunk_bytes=chunk_bytes)
        self.port.conceal(conceal)
        self.recorder = self.engine.recorder()
        self.engine.connect(self.port, self.recorder.left)
        self.engine.tick()
        self.recorder.read()

    def say(self, samples: bytes) -> None:
        """What the host sends from now on."""
        self.engine.connect(self.engine.player(samples), self.port)

    def step(self, received: bytes = b"") -> None:
        if received:
            self.device.sendall(received)
        self.engine.tick()

    def sent(self) -> bytes:
        try:
            return self.device.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.engine.close()
        self.device.close()


class Tty:
    """A pty, raw and non-blocking. A thread of the kernel's carries bytes between its ends, and is waited for."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        for end in (self.master, self.slave):
            os.set_blocking(end, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.slave)
        if self.master >= 0:
            self.unplug()

    def unplug(self) -> None:
        os.close(self.master)
        self.master = -1

    def give(self, data: bytes) -> None:
        """To the host, which has read what was given before."""
        os.write(self.master, data)
        deadline = time.monotonic() + LIMIT_S
        while self._unread() < len(data):
            assert time.monotonic() < deadline
            os.sched_yield()

    def take(self, size: int) -> bytes:
        """Of what the host sends, so much at most; there must be some."""
        assert select.select([self.master], [], [], LIMIT_S)[0]
        return os.read(self.master, size)

    def _unread(self) -> int:
        (count,) = struct.unpack("i", fcntl.ioctl(self.slave, termios.FIONREAD, bytes(4)))
        assert isinstance(count, int)
        return count
