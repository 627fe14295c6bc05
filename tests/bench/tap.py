"""Simulated EC25s whose PCM ports we hold ourselves: what goes in and out there is written down with its time.

The modem, its network and its ptys are the bench's own (hil). In place of the engine, a thread of C for each modem
(pcm_clock.c) is its PCM clock: 640 bytes every 40 ms to the host, each modem at a phase of its own, and reading
whenever there is something. No Python has to be on time for that.
"""

import ctypes
import fcntl
import math
import os
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trio

from hil.bench import ENUMERATION_S, BenchLine, Line
from hil.board import AudioPath, Profile
from hil.modem import Modem
from hil.network import Network
from hil.quectel import Ec25
from hil.sound import Studio
from hil.subscriber import Subscriber
from hil.usbtree import UsbTree
from hil.voicepath import VoicePath
from native import FRAME_SAMPLES, RATE_HZ, Engine, alaw_decode, alaw_encode
from tests.bench.compiled import address, compiled
from tests.bench.voice import noise

CHUNK_SAMPLES = 2 * FRAME_SAMPLES
CHUNK_BYTES = 2 * CHUNK_SAMPLES
CHUNK_NS = 40_000_000
# From one modem to the next; eight of them are evenly spread over a tick, and half of their chunks over each.
PHASE_S = 0.0225
# As a machine that stands still (tests.bench.pauses).
HELD_UP_S = 0.003
# asm-generic/ioctls.h; Python has no name for it before 3.14.
TIOCGPTN = 0x80045430
# One call's.
MOST_HEARD_BYTES = 150 * 2 * RATE_HZ
MOST_READS = 30_000


class Take:
    """A call's audio at the modem's PCM port. Samples are numbered from its begin; times are of time.monotonic()."""

    def __init__(self, codes: bytes) -> None:
        self.codes = codes
        self._sound = alaw_decode(codes)
        self._chunks = len(codes) // CHUNK_SAMPLES
        self._sent_ns, self._landed_ns = np.zeros((2, self._chunks), np.int64)
        self._heard = np.zeros(MOST_HEARD_BYTES, np.uint8)
        self._read_ns, self._read_bytes = np.zeros(MOST_READS, np.int64), np.zeros(MOST_READS, np.int64)
        self._c = _CTake(sound=self._sound, chunk_bytes=CHUNK_BYTES, chunk_ns=CHUNK_NS, chunks=self._chunks)
        self._c.sent_ns, self._c.landed_ns = address(self._sent_ns), address(self._landed_ns)
        self._c.read_ns, self._c.read_bytes = address(self._read_ns), address(self._read_bytes)
        self._c.heard = address(self._heard)
        self._c.most_heard, self._c.most_reads = MOST_HEARD_BYTES, MOST_READS

    @property
    def sent(self) -> list[float | None]:
        """When each chunk of CHUNK_SAMPLES came to the PCM port; None: the host did not take it."""
        written = self._sent_ns[: self._c.sent]
        # What the host read at once did not land, as far as it could be seen.
        landed = np.where(self._landed_ns[: self._c.sent] > 0, self._landed_ns[: self._c.sent], written)
        return [float(at) / 1e9 if on >= 0 else None for on, at in zip(written, landed, strict=True)]

    @property
    def begun(self) -> float:
        return float(self._sent_ns[0]) / 1e9

    def held_up(self, since: float, least_s: float = HELD_UP_S) -> float:
        """When the kernel first kept a chunk that was not written before that from the PCM port; infinity: never."""
        written, landed = self._sent_ns[: self._c.sent] / 1e9, self._landed_ns[: self._c.sent] / 1e9
        held_up = written[(written >= since) & (landed - written > least_s)]
        return float(held_up.min()) if len(held_up) else math.inf

    def heard(self) -> tuple[bytes, "np.ndarray[tuple[int], np.dtype[np.float64]]"]:
        """What the host has sent, in A-law, and when each sample of it came."""
        reads = self._c.reads
        sizes = self._read_bytes[:reads]
        pcm = self._heard[: sizes.sum() // 2 * 2].tobytes()
        return alaw_encode(pcm), np.repeat(self._read_ns[:reads] / 1e9, sizes)[1::2]


class _CTake(ctypes.Structure):
    """`take` of pcm_clock.c."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("fd", "tty")),
        ("sound", ctypes.c_char_p),
        *((name, ctypes.c_int64) for name in ("chunk_bytes", "chunk_ns", "chunks")),
        *((name, ctypes.c_void_p) for name in ("sent_ns", "landed_ns")),
        *((name, ctypes.c_int64) for name in ("sent", "landed")),
        ("heard", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("most_heard", "heard_bytes", "most_reads", "reads")),
        *((name, ctypes.c_void_p) for name in ("read_ns", "read_bytes")),
        ("due_ns", ctypes.c_int64),
        ("thread", ctypes.c_ulong),
        ("stop", ctypes.c_bool),
    )


class PcmClock:
    """The threads, compiled."""

    def __init__(self) -> None:
        self._library = compiled("pcm_clock")
        self._playing: dict[int, Take] = {}

    def start(self, fd: int, take: Take, *, phase_s: float) -> None:
        """The modem's 40 ms begin so long after every 40 ms of the machine's clock."""
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY
        take._c.tty = os.open(f"/dev/pts/{_number(fd)}", flags)
        now_ns, phase_ns = time.monotonic_ns(), round(1e9 * phase_s)
        take._c.fd, take._c.due_ns = fd, now_ns + (phase_ns - now_ns) % CHUNK_NS
        if error := self._library.take_start(ctypes.byref(take._c)):
            raise OSError(error, "no thread for a modem's clock")
        self._playing[fd] = take

    def stop(self, fd: int) -> None:
        """Once more does no harm."""
        take = self._playing.pop(fd, None)
        if take is not None:
            self._library.take_stop(ctypes.byref(take._c))
            os.close(take._c.tty)

    def end(self) -> None:
        for fd in list(self._playing):
            self.stop(fd)


def _number(master: int) -> int:
    """Of its pty."""
    (number,) = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, bytes(4)))
    return int(number)


class TappedLine(Line):
    def __init__(
        self,
        number: int,
        network: Network,
        studio: Studio,
        directory: Path,
        bus: UsbTree,
        clock: PcmClock,
        says: Callable[[int], bytes],
    ) -> None:
        plan = BenchLine(f"line{number}", f"+3370000{number:04}")
        modem = Modem(Ec25(Profile(plan.number)), network, studio, model=plan.model)
        super().__init__(
            plan, modem, studio, directory, bus=bus, usb_port=f"1-1.{number + 1}", enumeration_s=ENUMERATION_S
        )
        self.phone_number = f"+3361200{number:04}"
        self.takes: list[Take] = []
        modem.voice = TappedPath(studio, modem, number, self.takes, clock, says)


class TappedPath(VoicePath):
    def __init__(
        self,
        studio: Studio,
        modem: Modem,
        number: int,
        takes: list[Take],
        clock: PcmClock,
        says: Callable[[int], bytes],
    ) -> None:
        super().__init__(studio, modem, modem.module)
        self._says = says
        self._takes = takes
        self._number = number
        self._clock = clock
        self._sounding: int | None = None

    def _open(self, path: AudioPath) -> None:
        if self._ends is not None and self._ends.pcm_fd is not None:
            self._takes.append(Take(self._says(self._number + 1)))
            self._sounding = self._ends.pcm_fd
            self._clock.start(self._sounding, self._takes[-1], phase_s=self._number * PHASE_S)

    def stop(self) -> None:
        sounding, self._sounding = self._sounding, None
        if sounding is not None:
            self._clock.stop(sounding)


@dataclass(frozen=True)
class Exchange:
    """The simulated network with its modems, and a phone for each."""

    lines: list[TappedLine]
    phones: list[Subscriber]


@asynccontextmanager
async def open_exchange(
    count: int, directory: Path, *, says: Callable[[int], bytes] = noise
) -> AsyncIterator[Exchange]:
    """`says` gives what is said on a line, in A-law, by the line's number counted from 1."""
    network, clock = Network(), PcmClock()
    with Engine() as engine:
        studio = Studio(engine)
        bus = UsbTree(directory / "usb")
        lines = [TappedLine(number, network, studio, directory, bus, clock, says) for number in range(count)]
        async with trio.open_nursery() as nursery:
            try:
                for line in lines:
                    nursery.start_soon(line.live)
                    await line.plug()
                yield Exchange(lines, [Subscriber(line.phone_number, network, nursery) for line in lines])
            finally:
                clock.end()
            nursery.cancel_scope.cancel()
