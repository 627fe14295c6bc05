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

import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import trio
import trio.testing

from hil.analog import AnalogLine
from hil.card import SoundServer
from hil.device import BenchLine, Device, Ends
from hil.faults import Faults
from hil.models import MODELS, OTHERS, QUECTEL
from hil.modem import Modem
from hil.network import Call, Network, NetworkError, State
from hil.sound import Studio
from hil.subscriber import PATIENCE_S, Behaviour, Subscriber
from hil.tty import Pty
from hil.usbtree import UsbTree, gadget
from native import Engine, FramesPort, Port

__all__ = ["ENUMERATION_S", "MODELS", "OTHERS", "QUECTEL", "Bench", "BenchLine", "Host", "Line"]

# A module that restarts is off the bus for seconds.
ENUMERATION_S = 2.0
# It leaves the bus some time after its last word: what a pty has not brought to the host when it is closed is lost.
LEAVES_AFTER_S = 0.05


@dataclass(frozen=True)
class Host:
    """A line's ends without ptys. `pcm` is non-blocking, and its descriptor the host's to close; `card` is the sound
    card of a line that has one: what is pushed is played, what is pulled was captured.
    """

    at: trio.abc.Stream
    pcm: socket.socket
    card: FramesPort | None


class Line:
    """One device of the bench at its host's addresses."""

    def __init__(
        self,
        plan: BenchLine,
        device: Device,
        studio: Studio,
        directory: Path,
        *,
        enumeration_s: float,
        bus: UsbTree | None = None,
        usb_port: str = "",
        cards: SoundServer | None = None,
    ) -> None:
        self.name = plan.name
        self.model = device.model
        self.modem = device
        self.at_path = directory / f"{plan.name}-at"
        # There only if the device has a tty for its calls.
        self.pcm_path = directory / f"{plan.name}-pcm"
        # Where it is plugged in, unless it stands on a UART.
        self.usb_port = usb_port if device.usb is not None else None
        self.card_name = f"{plan.name}-card"
        self._bus = bus
        self._cards = cards
        self._studio = studio
        self._enumeration_s = enumeration_s
        self._plugged = trio.Event()
        self._plugged.set()
        self._there = trio.Event()
        self._gone = trio.Event()
        self.plugged = False

    @property
    def number(self) -> str:
        return self.modem.number

    @property
    def addresses(self) -> dict[str, str]:
        """Under the keys of a box's configuration: `at`, and `pcm` or `card` where calls have one or the other."""
        found = {"at": str(self.at_path)}
        if self.modem.has_card:
            return found | {"card": self.card_name}
        return found | ({"pcm": str(self.pcm_path)} if "pcm" in self.modem.ttys else {})

    @property
    def configuration(self) -> str:
        """Its table in a box's configuration."""
        return self.configured(**self.addresses)

    def configured(self, **addresses: str) -> str:
        """The same by other addresses: `usb`, `imei`. TOML's basic strings are JSON's."""
        facts: dict[str, object] = {"name": self.name, "model": self.model, "number": self.number, **addresses}
        if isinstance(self.modem, AnalogLine):
            facts |= self.modem.configured
        return "\n[[lines]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in facts.items())

    @property
    def faults(self) -> Faults:
        return self.modem.faults

    @property
    def gsm(self) -> Modem:
        """The device as one with a SIM. Raises: TypeError: it is none."""
        if not isinstance(self.modem, Modem):
            raise TypeError(f"{self.name} is no GSM line")
        return self.modem

    # --- on the bus ---

    async def live(self) -> None:
        """Plugged and unplugged, over and over: new ptys each time, the same names, and new ones on the USB."""
        while True:
            await (plugged := self._plugged).wait()
            async with AsyncExitStack() as stack:
                at = stack.enter_context(Pty(self.at_path))
                at.on_hang_up = self.modem.hung_up
                pcm = stack.enter_context(Pty(self.pcm_path)) if "pcm" in self.modem.ttys else None
                self._enumerate(stack, {"at": self.at_path} | ({"pcm": self.pcm_path} if pcm else {}))
                stream = trio.lowlevel.FdStream(os.dup(at.master))
                card = await self._plug_card(stack)
                ends = Ends(stream, at.master, pcm.master if pcm else None, card)
                await self._attend(ends, *(tty.tend for tty in (at, pcm) if tty))
                if self._plugged is plugged:
                    if not self.modem.restarts:
                        # It switched itself off.
                        self._plugged = trio.Event()
                    await trio.sleep(LEAVES_AFTER_S)
            await self._studio.settle()
            self._gone.set()
            if self.modem.restarts:
                await trio.sleep(self._enumeration_s)

    async def _plug_card(self, stack: AsyncExitStack) -> Port | None:
        """A device that has come by one while the bench is up has it in vain: the sound server is started with it."""
        if not self.modem.has_card or self._cards is None or not self._cards.running:
            return None
        return await stack.enter_async_context(self._cards.card(self._studio.engine, self.card_name))

    def _enumerate(self, stack: AsyncExitStack, ttys: Mapping[str, Path]) -> None:
        usb, port = self.modem.usb, self.usb_port
        if usb is not None and port is not None and self._bus is not None:
            self._bus.plug(port, gadget(usb), {n: ttys[role] for n, role in usb.roles.items() if role in ttys})
            # Before the ptys: who looks for the device does not find one that is going.
            stack.callback(self._bus.unplug, port)

    def connect(self, nursery: trio.Nursery) -> Host:
        """In-memory ends, in place of `live`; after an unplug or a restart, connected again is plugged again."""
        ours, theirs = _socketpair()
        card = self._studio.engine.frames() if self.modem.has_card else None
        host: trio.abc.Stream
        device: trio.abc.Stream
        at_fd = None
        if self.modem.shared_tty:
            host, device, at_fd = _fd_streams()
        else:
            host, device = trio.testing.memory_stream_pair()

        async def serve() -> None:
            with ours:
                await self._attend(Ends(device, at_fd, ours.fileno(), card))
            if card is not None:
                card.close()
            self._gone.set()

        nursery.start_soon(serve)
        return Host(host, theirs, card)

    async def _attend(self, ends: Ends, *tend: Callable[[], Awaitable[None]]) -> None:
        """One life on the bus."""
        self.plugged, self._gone = True, trio.Event()
        self._there.set()
        self._there = trio.Event()
        async with trio.open_nursery() as nursery:
            for each in tend:
                nursery.start_soon(each)
            await self.modem.serve(ends)
            nursery.cancel_scope.cancel()
        self.plugged = False

    async def gone(self) -> None:
        """Returns when it is off the bus, of its own accord or not."""
        while self.plugged:
            await self._gone.wait()

    async def unplug(self) -> None:
        """Returns when the names are gone and the host's reads fail."""
        self._plugged = trio.Event()
        if self.plugged:
            self.modem.unplug()
            await self._gone.wait()

    async def plug(self) -> None:
        """Returns when the names are there; the device boots behind them."""
        self._plugged.set()
        while not self.plugged:
            await self._there.wait()


def _socketpair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    return ours, theirs


def _fd_streams() -> tuple[trio.abc.Stream, trio.abc.Stream, int]:
    """The host's end, the device's, and the latter's descriptor."""
    ours, theirs = _socketpair()
    fd = ours.detach()
    return trio.lowlevel.FdStream(theirs.detach()), trio.lowlevel.FdStream(fd), fd


class Bench:
    """Open it by `async with`; the directory must exist. `enumeration_s`: how long a restarting module is away.

    A program that is to find the sound cards of such lines needs `cards.environment`.

    `usb` has the lines on its /sys and /dev (hil/usbtree.py), where `line.usb_port` says, beside their own names.
    """

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
            self.usb = UsbTree(self._directory / "usb")
            self.cards = SoundServer(self._directory / "sound")
            self.lines = [self._line(place, plan) for place, plan in enumerate(self._plans, 1)]
            if self._realtime and any(line.modem.has_card for line in self.lines):
                await stack.enter_async_context(self.cards)
            self._nursery = await stack.enter_async_context(trio.open_nursery())
            self.network.observers += [line.modem.call_moved for line in self.lines]
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

    def _line(self, place: int, plan: BenchLine) -> Line:
        device = MODELS[plan.model](plan, self.network, self.studio)
        return Line(
            plan,
            device,
            self.studio,
            self._directory,
            bus=self.usb,
            usb_port=f"1-1.{place}",
            cards=self.cards,
            enumeration_s=self._enumeration_s,
        )

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
