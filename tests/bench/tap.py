"""Simulated EC25s whose PCM ports we hold ourselves: what goes in and out there is written down with its time.

The modem, its network and its ptys are the bench's own (hil). In place of the engine, a thread is the modems' PCM
clock: 640 bytes every 40 ms to the host, each modem at a phase of its own, and reading whenever there is something.
"""

import contextlib
import os
import queue
import selectors
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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
from hil.voicepath import VoicePath
from native import FRAME_SAMPLES, Engine, alaw_decode, alaw_encode
from tests.bench.voice import noise

CHUNK_SAMPLES = 2 * FRAME_SAMPLES
CHUNK_S = 0.04
# Above the engine's (native/clock.c).
PRIORITY = 30
# How soon the thread takes notice of a call.
LOOK_S = 0.005


@dataclass
class Take:
    """A call's audio at the modem's PCM port. Samples are numbered from its begin; times are of time.monotonic()."""

    codes: bytes
    # When each chunk of CHUNK_SAMPLES was written; None: the host did not take it.
    sent: list[float | None] = field(default_factory=list)
    # What was read, and when.
    came: list[tuple[float, bytes]] = field(default_factory=list)

    def heard(self) -> tuple[bytes, "np.ndarray[tuple[int], np.dtype[np.float64]]"]:
        """What the host has sent, in A-law, and when each sample of it came."""
        came = list(self.came)
        pcm = b"".join(data for _, data in came)
        at = np.repeat([moment for moment, _ in came], [len(data) for _, data in came])
        return alaw_encode(pcm[: len(pcm) // 2 * 2]), at[1::2]


class TappedLine(Line):
    def __init__(self, number: int, network: Network, studio: Studio, directory: Path, clock: "PcmClock") -> None:
        plan = BenchLine(f"line{number}", f"+3370000{number:04}")
        modem = Modem(Ec25(Profile(plan.number)), network, studio, model=plan.model)
        super().__init__(plan, modem, studio, directory, enumeration_s=ENUMERATION_S)
        self.phone_number = f"+3361200{number:04}"
        self.takes: list[Take] = []
        modem.voice = TappedPath(studio, modem, number + 1, self.takes, clock)


class TappedPath(VoicePath):
    def __init__(self, studio: Studio, modem: Modem, seed: int, takes: list[Take], clock: "PcmClock") -> None:
        super().__init__(studio, modem, modem.module)
        self._takes = takes
        self._seed = seed
        self._clock = clock
        self._sounding: int | None = None

    def _open(self, path: AudioPath) -> None:
        if self._ends is not None and self._ends.pcm_fd is not None:
            self._takes.append(Take(noise(self._seed)))
            self._sounding = self._ends.pcm_fd
            self._clock.start(self._sounding, self._takes[-1])

    def stop(self) -> None:
        sounding, self._sounding = self._sounding, None
        if sounding is not None:
            self._clock.stop(sounding)


class PcmClock:
    """The thread. `start` and `stop` may be called on any other one."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[int, Take | None]] = queue.SimpleQueue()
        self._playing: dict[int, Take] = {}
        self._due: dict[int, float] = {}
        self._selector = selectors.DefaultSelector()
        self._ended = threading.Event()

    def start(self, fd: int, take: Take) -> None:
        self._orders.put((fd, take))

    def stop(self, fd: int) -> None:
        self._orders.put((fd, None))

    def end(self) -> None:
        self._ended.set()

    def run(self) -> None:
        # A modem's clock waits for nobody.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        while not self._ended.is_set():
            while not self._orders.empty():
                self._obey(*self._orders.get())
            now = time.monotonic()
            for fd, due in self._due.items():
                if due <= now:
                    self._send(fd)
            next_due = min(self._due.values(), default=now + LOOK_S)
            for key, _ in self._selector.select(max(0.0, min(LOOK_S, next_due - time.monotonic()))):
                data = os.read(key.fd, 65536)
                self._playing[key.fd].came.append((time.monotonic(), data))

    def _obey(self, fd: int, take: Take | None) -> None:
        if take is not None:
            self._playing[fd] = take
            self._due[fd] = time.monotonic()
            self._selector.register(fd, selectors.EVENT_READ)
        elif fd in self._playing:
            del self._playing[fd], self._due[fd]
            self._selector.unregister(fd)

    def _send(self, fd: int) -> None:
        take = self._playing[fd]
        at = len(take.sent) * CHUNK_SAMPLES
        chunk = alaw_decode(take.codes[at : at + CHUNK_SAMPLES])
        moment: float | None = time.monotonic()
        try:
            os.write(fd, chunk)
        except BlockingIOError:
            moment = None
        take.sent.append(moment)
        self._due[fd] += CHUNK_S


@dataclass(frozen=True)
class Exchange:
    """The simulated network with its modems, and a phone for each."""

    lines: list[TappedLine]
    phones: list[Subscriber]


@asynccontextmanager
async def open_exchange(count: int, directory: Path) -> AsyncIterator[Exchange]:
    network, clock = Network(), PcmClock()
    with Engine() as engine:
        studio = Studio(engine)
        lines = [TappedLine(number, network, studio, directory, clock) for number in range(count)]
        thread = threading.Thread(target=clock.run, daemon=True)
        async with trio.open_nursery() as nursery:
            thread.start()
            try:
                for line in lines:
                    nursery.start_soon(line.live)
                    await line.plug()
                yield Exchange(lines, [Subscriber(line.phone_number, network, nursery) for line in lines])
            finally:
                clock.end()
                thread.join()
            nursery.cancel_scope.cancel()
