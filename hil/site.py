"""The bench that a suite of tests runs on: lines under test, each with somebody to call.

`open_simulated` has the models of the bench, each on a line of its own, and a phone of the simulated network for each.
`open_real` has the lines of a TOML file, and calls each from another of them.
"""

import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from drivers.bus import Bus, start_anew
from drivers.errors import LineBlocked
from hil.bench import MODELS, Bench, BenchLine
from hil.bench import Line as SimulatedLine
from hil.sound import Studio
from hil.station import Station
from hil.telephone import Phone, Telephone, is_same
from hil.wires import Wires, read
from native import Engine

# Each in another country, whose exchanges ring, tell who calls and clear in another way.
ANALOG_NUMBERS = {
    "usr5637": "+12025550143",
    "cx93010": "+33159133354",
    "zoom3095": "+493023125000",
    "v253": "+442079460000",
}
ANALOG_LINES = 3
# A module that restarts: seconds, and nobody learns more by waiting longer.
ENUMERATION_S = 1.0
# A module says OK and is gone a second or two later.
LEAVES_S = 4.0
# Above what an elastic buffer makes good.
LOOK_S, LATE_S = 0.05, 0.08


@dataclass
class Place:
    """A line under test, `near`, and somebody to call, `far`. What the hardware of a bench cannot do is None."""

    near: Station
    far: Telephone
    unplug: Callable[[], Awaitable[None]] | None = None
    plug: Callable[[], Awaitable[None]] | None = None
    # Lines that a test of this one uses, one test at a time.
    turns: tuple[trio.Lock, ...] = ()
    figures: list[str] = field(default_factory=list)
    rests: Sequence[Callable[[], Awaitable[None]]] = ()
    # None: its devices are real, and keep their own time.
    late: "Late | None" = None

    @property
    def has_reset(self) -> bool:
        return bool(self.near.wires.device.reset)

    def was_late(self, *, since: float) -> bool:
        """What simulates its devices was: their sound is torn, and nothing is proved by that."""
        return self.late is not None and self.late.last_at >= since

    async def reset(self) -> None:
        """The order to start anew, written to a port that nobody else has; until it is obeyed. Raises: LineError."""
        bus, wires = self.near.bus, self.near.wires
        ports, _ = await wires.find(bus)
        sight = partial(bus.sight, [ports.at])
        before = await trio.to_thread.run_sync(sight)
        give_up_at = trio.current_time() + LEAVES_S
        while True:
            try:
                await start_anew(ports.at, wires.device.reset)
                break
            except LineBlocked:
                # A child process that is just being made has our locks, too, until it is itself.
                if trio.current_time() >= give_up_at:
                    raise
                await trio.sleep(LOOK_S)
        # On a UART nothing is to be seen of it.
        with trio.move_on_after(LEAVES_S):
            await bus.changed(sight, before)


@asynccontextmanager
async def open_simulated(models: Iterable[str], directory: Path) -> AsyncIterator[dict[str, list[Place]]]:
    """By model, as the bench calls them."""
    plans = [plan for model in models for plan in _plans(model)]
    async with Bench(plans, directory=directory, enumeration_s=ENUMERATION_S) as bench, trio.open_nursery() as nursery:
        late = Late()
        nursery.start_soon(late.run)
        with _environment(bench.cards.environment):
            wires, bus = [_wires(line) for line in bench.lines], Bus(bench.usb.sysfs, bench.usb.dev)
            async with _stations(wires, bus) as stations:
                places: dict[str, list[Place]] = {}
                for plan, line in zip(plans, bench.lines, strict=True):
                    places.setdefault(plan.model, []).append(_simulated(bench, line, stations[line.name], late))
                yield places
        nursery.cancel_scope.cancel()


def _plans(model: str) -> Iterator[BenchLine]:
    if model in ANALOG_NUMBERS:
        # Rings and tones take their time, so there are some.
        for place in range(ANALOG_LINES):
            yield BenchLine(f"{model}-{place + 1}", f"{ANALOG_NUMBERS[model][:-1]}{place}", model)
    else:
        yield BenchLine(model, f"+337000{list(MODELS).index(model):05}", model)


def _wires(line: SimulatedLine) -> Wires:
    """By USB port where it has one, so that another name after each enumeration is no news."""
    addresses = line.addresses
    if line.usb_port is not None:
        addresses = {"usb": line.usb_port, **{key: addresses[key] for key in ("card",) if key in addresses}}
    return read(line.configured(**addresses))[0]


def _simulated(bench: Bench, line: SimulatedLine, station: Station, late: "Late") -> Place:
    phone = Phone(bench.subscriber(f"+337834{bench.lines.index(line):05}"), bench.network)
    return Place(
        station,
        phone,
        unplug=line.unplug,
        plug=line.plug,
        turns=(trio.Lock(),),
        rests=(phone.rest, station.rest),
        late=late,
    )


class Late:
    """Whether this process is woken in time: what simulates a device in it is late, too, and its sound is torn."""

    def __init__(self) -> None:
        # Too late, for the last time.
        self.last_at = -math.inf

    async def run(self) -> None:
        while True:
            due = trio.current_time() + LOOK_S
            await trio.sleep_until(due)
            if trio.current_time() - due > LATE_S:
                self.last_at = trio.current_time()


@asynccontextmanager
async def open_real(wires: Sequence[Wires]) -> AsyncIterator[dict[str, list[Place]]]:
    """By name; lines without a partner are only called by others."""
    bus = Bus(ttys=[Path(path) for each in wires for path in (each.at, each.pcm) if path])
    # A SIM may hold messages that are not ours to delete.
    reads = partial(_is_one_of, [each.number for each in wires])
    async with _stations(wires, bus, reads=reads) as stations:
        turns = {each.name: trio.Lock() for each in wires}
        yield {
            each.name: [_real(stations[each.name], stations[each.partner], bus, turns)]
            for each in wires
            if each.partner is not None
        }


def _real(station: Station, partner: Station, bus: Bus, turns: dict[str, trio.Lock]) -> Place:
    port = station.wires.usb
    place = Place(
        station,
        partner,
        turns=tuple(turns[name] for name in sorted((station.wires.name, partner.wires.name))),
        rests=(partner.rest, station.rest),
    )
    if port is not None and bus.has_power_switch:
        place.unplug, place.plug = partial(bus.power_cycle, port), trio.lowlevel.checkpoint
    return place


@asynccontextmanager
async def _stations(
    wires: Sequence[Wires], bus: Bus, *, reads: Callable[[str], bool] = lambda sender: True
) -> AsyncIterator[dict[str, Station]]:
    with Engine() as engine:
        studio = Studio(engine)
        stations = {each.name: Station(each, bus, studio, reads=reads) for each in wires}
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.watch)
            nursery.start_soon(studio.run)
            engine.start()
            for station in stations.values():
                nursery.start_soon(station.run)
            yield stations
            for station in stations.values():
                async with station.closed():
                    pass
            nursery.cancel_scope.cancel()


def _is_one_of(numbers: Sequence[str], sender: str) -> bool:
    return any(is_same(sender, number) for number in numbers)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
