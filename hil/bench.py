"""The bench put together: a network, modems on ptys, phones, and the sound between them.

    async with Bench([BenchLine("office", "+33700000002")], directory=tmp_path) as bench:
        line = bench.line("office")                        # line.at_path, line.pcm_path: for any program
        phone = bench.subscriber("+33783484044", behaviour="answer", answers_after_s=0.5)
        call = phone.dial(line.number, play=speech)
        await call.answered()
        ...
        assert await call.ended() == Cause.NORMAL

That is real time, with the engine on its own thread. With `realtime=False` there are no ptys and nothing ticks but
`bench.engine.tick(n)`: `host = bench.connect("office")` gives the AT side as an in-memory stream and the PCM side as a
socket, and on pytest-trio's autojump clock a call takes no time at all.
"""

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import trio
import trio.testing

from hil.board import Profile
from hil.ec25 import Ec25
from hil.faults import Faults
from hil.modem import Modem
from hil.network import Call, Network, NetworkError, State
from hil.sound import Studio
from hil.subscriber import PATIENCE_S, Behaviour, Subscriber
from hil.tty import Pty
from native import Engine, Pace, PcmPort

# A module that restarts is off the bus for seconds.
ENUMERATION_S = 2.0
# EC25: the uplink's backlog that makes it say +QPCMV: 0, and the one that makes it say +QPCMV: 1.
FULL_MS, ROOM_MS = 400, 100
DEPTH_EVERY_S = 0.05
# EC25: 640 bytes every 40 ms.
CHUNK_BYTES = 640

MODELS = {"ec25": Ec25}


@dataclass(frozen=True)
class BenchLine:
    """`profile` where the SIM or the firmware is a special one; its number counts then."""

    name: str
    number: str
    model: str = "ec25"
    profile: Profile | None = None


@dataclass(frozen=True)
class Host:
    """A line's ends without ptys. `pcm` is non-blocking, and its descriptor the host's to close."""

    at: trio.abc.Stream
    pcm: socket.socket


class Line:
    """One modem of the bench at its host's addresses."""

    def __init__(
        self, plan: BenchLine, network: Network, studio: Studio, directory: Path, *, enumeration_s: float
    ) -> None:
        self.name = plan.name
        self.model = plan.model
        self.at_path = directory / f"{plan.name}-at"
        self.pcm_path = directory / f"{plan.name}-pcm"
        self.modem = Modem(MODELS[plan.model](plan.profile or Profile(number=plan.number)), network)
        self.modem.on_nmea = self.say_pcm
        self._studio = studio
        self._enumeration_s = enumeration_s
        self._port: PcmPort | None = None
        # The device's end of the PCM interface.
        self._pcm: int | None = None
        self._plugged = trio.Event()
        self._plugged.set()
        self._there = trio.Event()
        self._gone = trio.Event()

    @property
    def number(self) -> str:
        return self.modem.number

    @property
    def faults(self) -> Faults:
        return self.modem.ec25.faults

    @property
    def plugged(self) -> bool:
        return self._pcm is not None

    # --- on the bus ---

    async def live(self) -> None:
        """Plugged and unplugged, over and over: new ptys each time, the same names."""
        while True:
            await (plugged := self._plugged).wait()
            with Pty(self.at_path) as at, Pty(self.pcm_path) as pcm:
                await self._attend(trio.lowlevel.FdStream(os.dup(at.master)), pcm.master, at.tend, pcm.tend)
                if self._plugged is plugged and not self.modem.restarts:
                    # It switched itself off.
                    self._plugged = trio.Event()
            await self._studio.settle()
            self._gone.set()
            if self.modem.restarts:
                await trio.sleep(self._enumeration_s)

    def connect(self, nursery: trio.Nursery) -> Host:
        """In-memory ends, in place of `live`; after an unplug or a restart, connected again is plugged again."""
        host, device = trio.testing.memory_stream_pair()
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)

        async def serve() -> None:
            with ours:
                await self._attend(device, ours.fileno())
            self._gone.set()

        nursery.start_soon(serve)
        return Host(host, theirs)

    async def _attend(self, at: trio.abc.Stream, pcm: int, *tend: Callable[[], Awaitable[None]]) -> None:
        """One life on the bus."""
        self._pcm, self._gone = pcm, trio.Event()
        self._there.set()
        self._there = trio.Event()
        async with trio.open_nursery() as nursery:
            for each in (self._watch_depth, *tend):
                nursery.start_soon(each)
            await self.modem.serve_at(at)
            nursery.cancel_scope.cancel()
        self.stop_pcm()
        self._pcm = None

    async def unplug(self) -> None:
        """Returns when the names are gone and the host's reads fail."""
        self._plugged = trio.Event()
        if self.plugged:
            self.modem.unplug()
            await self._gone.wait()

    async def plug(self) -> None:
        """Returns when the names are there; the module boots behind them."""
        self._plugged.set()
        while not self.plugged:
            await self._there.wait()

    # --- sound ---

    def call_moved(self, call: Call, state: State) -> None:
        """Observes the network: a call's audio is on the PCM interface while the module has it there."""
        if state is State.ACTIVE and call in self.modem.calls and self.modem.ec25.audible and self._pcm is not None:
            # One call at a time is heard: the one answered last.
            self.stop_pcm()
            self._port = self._studio.engine.pcm(self._pcm, pace=Pace.CLOCK, chunk_bytes=CHUNK_BYTES)
            circuit = self._studio.circuit(call)
            circuit.add_source(self.modem, self._port)
            circuit.add_sink(self.modem, self._port)
        elif not self.modem.ec25.audible:
            self.stop_pcm()

    def stop_pcm(self) -> None:
        """The PCM stream stops, whatever the call does: at its end, or as a fault."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def say_pcm(self, data: bytes) -> None:
        """Bytes on the PCM interface that are no call's audio: NMEA, or what a last call left there."""
        if self._pcm is not None:
            try:
                os.write(self._pcm, data)
            except BlockingIOError:
                return

    async def _watch_depth(self) -> None:
        """EC25 tells its host when it writes faster than the air takes it."""
        full = False
        while True:
            await trio.sleep(DEPTH_EVERY_S)
            depth_ms = self._port.stats().depth_ms if self._port else 0
            if full != (depth_ms > (ROOM_MS if full else FULL_MS)):
                full = not full
                self.modem.buffer_full(full)


class Bench:
    """Open it by `async with`; the directory must exist. `enumeration_s`: how long a restarting module is away."""

    def __init__(
        self,
        lines: list[BenchLine],
        *,
        directory: Path,
        realtime: bool = True,
        enumeration_s: float = ENUMERATION_S,
    ) -> None:
        self._plans = lines
        self._directory = directory
        self._realtime = realtime
        self._enumeration_s = enumeration_s
        self._stack = AsyncExitStack()
        self._subscribers: dict[str, Subscriber] = {}
        self.lines: list[Line] = []
        self.network = Network()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.engine = stack.enter_context(Engine())
            self.studio = Studio(self.engine)
            self.lines = [
                Line(plan, self.network, self.studio, self._directory, enumeration_s=self._enumeration_s)
                for plan in self._plans
            ]
            self._nursery = await stack.enter_async_context(trio.open_nursery())
            self.network.observers += [line.call_moved for line in self.lines]
            self.network.observers += [self.studio.call_moved, self._lose_patience]
            self._nursery.start_soon(self.studio.run)
            if self._realtime:
                self.engine.start()
                for line in self.lines:
                    self._nursery.start_soon(line.live)
                    await line.plug()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._nursery.cancel_scope.cancel()
        return await self._stack.__aexit__(kind, exc, trace)

    def line(self, name: str) -> Line:
        for line in self.lines:
            if line.name == name:
                return line
        raise NetworkError(f"no line {name!r}")

    def connect(self, name: str) -> Host:
        """A line's in-memory ends (`realtime=False`)."""
        return self.line(name).connect(self._nursery)

    def subscriber(
        self,
        number: str,
        *,
        behaviour: Behaviour | str = Behaviour.ANSWER,
        answers_after_s: float = 0.0,
        says: bytes = b"",
    ) -> Subscriber:
        """A new phone."""
        phone = Subscriber(
            number,
            self.network,
            self._nursery,
            behaviour=behaviour,
            answers_after_s=answers_after_s,
            says=says,
            studio=self.studio,
        )
        self._subscribers[number] = phone
        return phone

    def phone(self, number: str) -> Subscriber:
        """The one with this number, as people write it; a new one, with nobody at home, when there is none."""
        number = self.network.international(number)
        if number in self._subscribers:
            return self._subscribers[number]
        return self.subscriber(number, behaviour=Behaviour.NO_ANSWER)

    @property
    def subscribers(self) -> list[Subscriber]:
        return list(self._subscribers.values())

    def _lose_patience(self, call: Call, state: State) -> None:
        """With modems too, which as callees have no patience of their own."""

        async def wait() -> None:
            await trio.sleep(PATIENCE_S)
            self.network.give_up(call)

        if state is State.DIALING:
            self._nursery.start_soon(wait)
