"""The whole way back, over a simulated EC25: what a trunk, its ladder and the driver make of a module that fails."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing

from appliance.ladder import Rung
from appliance.trunk import Seizure, Trunk, Whereabouts
from drivers.audio import PcmTty
from drivers.bus import order_anew
from drivers.errors import LineAbsent
from drivers.gsm import GsmLine, open_gsm_on
from drivers.line import Answered, Incoming, LineState
from drivers.models import MODELS, Sound
from hil.board import Profile
from hil.modem import Modem
from hil.network import Network, State
from hil.quectel import Ec25
from hil.subscriber import Subscriber

EC25 = MODELS["ec25"]
OURS, THEIRS = "+33700000002", "+33783484044"
# What the project promises of any failure that a reset or a new start of the module cures.
BOUND_S = 120


class Socket:
    """appliance.trunk.Jack, with a module in it. A new start, by order or by its power, cures the module."""

    whereabouts = Whereabouts("ec25", "usb 1-1.2", "", "")
    possible = frozenset(Rung)

    def __init__(self) -> None:
        self.network = Network()
        self.modem = Modem(Ec25(Profile(number=OURS)), self.network)
        self.plugs = 0
        self._wire: trio.abc.Stream | None = None
        self._moved = trio.Event()
        self._sounds: list[socket.socket] = []

    async def live(self, task_status: trio.TaskStatus[None]) -> None:
        while True:
            self._wire, device = trio.testing.memory_stream_pair()
            self.plugs += 1
            self._move()
            if self.plugs == 1:
                task_status.started()
            await self.modem.serve_at(device)
            self._wire = None
            self._move()
            self.modem.faults.deaf, self.modem.faults.lost_finals = False, 0
            await trio.sleep(2)

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def changed(self) -> None:
        await self._moved.wait()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[GsmLine]:
        if self._wire is None:
            raise LineAbsent("nothing is plugged in at USB port 1-1.2")
        place = PcmTty(self._open_pcm, 640)
        async with open_gsm_on(self._wire, "office", EC25, sound=Sound.PCM, place=place) as line:
            yield line

    async def _open_pcm(self) -> int:
        await trio.lowlevel.checkpoint()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._sounds.append(theirs)
        return ours.detach()

    async def climb(self, rung: Rung) -> None:
        if rung is Rung.RESET:
            assert self._wire is not None
            await order_anew(self._wire, EC25.reset)
        else:
            self.modem.unplug()

    def close(self) -> None:
        for sound in self._sounds:
            sound.close()


class Box:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.jack = Socket()
        self.rung: list[Seizure] = []
        self.trunk = Trunk("office", OURS, jack=self.jack, ring=self._ring)
        self.phone = Subscriber(THEIRS, self.jack.network, nursery, behaviour="answer")

    def _ring(self, seizure: Seizure, _: Incoming) -> None:
        self.rung.append(seizure)

    async def until(self, is_so: Callable[[], bool]) -> None:
        with trio.fail_after(BOUND_S):
            while not is_so():  # noqa: ASYNC110 - on a clock that jumps
                await trio.sleep(0.1)

    async def idle(self) -> None:
        await self.until(lambda: self.trunk.state is LineState.IDLE)

    async def down(self) -> None:
        await self.until(lambda: self.trunk.problem is not None)


@asynccontextmanager
async def open_box() -> AsyncIterator[Box]:
    async with trio.open_nursery() as nursery:
        box = Box(nursery)
        await nursery.start(box.jack.live)
        nursery.start_soon(box.trunk.keep)
        await box.idle()
        yield box
        nursery.cancel_scope.cancel()
    box.jack.close()


async def test_a_module_that_obeys_but_answers_nothing_is_reset(autojump_clock):
    async with open_box() as box:
        box.jack.modem.faults.lost_finals = 10**9
        silent_from = trio.current_time()
        await box.down()
        assert box.trunk.problem == "no answer to AT commands"
        await box.idle()
        assert box.jack.plugs == 2
        assert (box.trunk.climbed["reset"], box.trunk.climbed["power"]) == (1, 0)
        assert box.trunk.outages.count == 1
        # It is asked something each ten seconds, and silence begins there.
        assert box.trunk.outages.last_s <= trio.current_time() - silent_from < BOUND_S


async def test_a_module_that_hears_nothing_has_its_power_cut(autojump_clock):
    async with open_box() as box:
        box.jack.modem.faults.deaf = True
        await box.down()
        await box.idle()
        assert box.jack.plugs == 2
        assert (box.trunk.climbed["reset"], box.trunk.climbed["power"]) == (1, 1)
        assert box.trunk.outages.last_s < BOUND_S


async def test_a_port_that_is_out_of_step_is_put_right_by_the_driver_alone(autojump_clock):
    async with open_box() as box:
        box.jack.modem.faults.lost_finals = 2
        await trio.sleep(BOUND_S)
        assert box.trunk.state is LineState.IDLE
        assert box.trunk.losses == 0
        recoveries = box.trunk.recoveries
        assert recoveries.timeouts >= 1
        assert recoveries.resyncs >= 1
        assert 0 < recoveries.silent_s < 30


async def test_a_module_that_restarts_by_itself_is_back_without_being_touched(autojump_clock):
    async with open_box() as box:
        box.jack.modem.unplug()
        await box.down()
        await box.idle()
        assert (box.trunk.climbed["reset"], box.trunk.climbed["power"]) == (0, 0)
        assert box.trunk.outages.last_s < 20


async def test_commands_that_time_out_end_no_call_and_take_no_rung(autojump_clock):
    async with open_box() as box:
        call = box.phone.dial(OURS)
        with trio.fail_after(BOUND_S):
            await box.until(lambda: bool(box.rung))
            (seizure,) = box.rung
            await seizure.line.answer()
            assert await seizure.told.receive() == Answered()
            for lost in (1, 2, 3):
                box.jack.modem.faults.lost_finals = lost
                await trio.sleep(30)
        assert call.state is State.ACTIVE
        assert box.trunk.recoveries.timeouts >= 3
        assert (box.trunk.losses, sum(box.trunk.climbed.values())) == (0, 0)
