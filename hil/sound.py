"""The speech paths of the simulated network: what is said at one end of a call is heard at the other.

All sound runs in the media engine; here ports are made and connected, at the answer, at each word's begin, at the end.
"""

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from hil.network import Call, Party, State
from native import TICK_S, Engine, Event, Finished, Player, Port, dtmf

# Engine's recorders keep 10 s: a phone's memory is fetched more often than that.
FETCH_EVERY_S = 1.0


@dataclass
class End:
    sources: list[Port] = field(default_factory=list)
    sinks: list[Port] = field(default_factory=list)


class Circuit:
    """One call's two ends, each with what speaks and what listens there; a party is whatever stands for an end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ends: dict[object, End] = {}

    def add_source(self, party: object, port: Port) -> None:
        self._end(party).sources.append(port)
        for other in self._others(party):
            for sink in other.sinks:
                self._engine.connect(port, sink)

    def add_sink(self, party: object, port: Port) -> None:
        self._end(party).sinks.append(port)
        for other in self._others(party):
            for source in other.sources:
                self._engine.connect(source, port)

    def remove(self, party: object, port: Port) -> None:
        """Neither heard nor hearing from now on."""
        end = self._end(party)
        for other in self._others(party):
            if port in end.sources:
                for sink in other.sinks:
                    self._engine.disconnect(port, sink)
            if port in end.sinks:
                for source in other.sources:
                    self._engine.disconnect(source, port)
        end.sources = [each for each in end.sources if each is not port]
        end.sinks = [each for each in end.sinks if each is not port]

    def _end(self, party: object) -> End:
        return self._ends.setdefault(party, End())

    def _others(self, party: object) -> list[End]:
        return [end for other, end in self._ends.items() if other is not party]


class Handset:
    """What a phone in a call says and hears, both remembered from the answer on."""

    def __init__(self, engine: Engine, circuit: Circuit, party: object) -> None:
        self._engine = engine
        self._circuit = circuit
        self._party = party
        self._speaking: dict[Player, trio.Event] = {}
        self._heard = bytearray()
        self._spoken = bytearray()
        self._recorder = engine.recorder()
        self.down = False
        circuit.add_sink(party, self._recorder.left)

    def say(self, samples: bytes) -> None:
        if self.down or not samples:
            return
        player = self._engine.player(samples)
        self._speaking[player] = trio.Event()
        self._circuit.add_source(self._party, player)
        self._engine.connect(player, self._recorder.right)

    def press(self, keys: str, on_s: float, off_s: float) -> None:
        self.say(dtmf(keys, on_ms=round(1000 * on_s), off_ms=round(1000 * off_s)))

    async def said(self) -> None:
        while self._speaking:
            await next(iter(self._speaking.values())).wait()

    def finished(self, player: Player) -> None:
        if (event := self._speaking.pop(player, None)) is not None:
            self._circuit.remove(self._party, player)
            player.close()
            event.set()

    def heard(self) -> bytes:
        self.fetch()
        return bytes(self._heard)

    def spoken(self) -> bytes:
        self.fetch()
        return bytes(self._spoken)

    def fetch(self) -> None:
        if not self.down:
            samples = array("h", self._recorder.read())
            self._heard += samples[0::2].tobytes()
            self._spoken += samples[1::2].tobytes()

    def put_down(self) -> None:
        """What was heard stays."""
        if self.down:
            return
        self.fetch()
        for player in list(self._speaking):
            self.finished(player)
        self._recorder.close()
        self.down = True


class Studio:
    """The engine, and the circuits of all calls. `run` brings its events; without it nobody learns of an end."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._circuits: dict[Call, Circuit] = {}
        self._handsets: list[Handset] = []
        self._listeners: dict[Port, Callable[[Event], None]] = {}

    def listen(self, port: Port, hear: Callable[[Event], None]) -> None:
        """`hear` is told the port's events, until `forget`."""
        self._listeners[port] = hear

    def forget(self, port: Port) -> None:
        self._listeners.pop(port, None)

    def circuit(self, call: Call) -> Circuit:
        return self._circuits.setdefault(call, Circuit(self.engine))

    def handset(self, call: Call, party: Party) -> Handset:
        handset = Handset(self.engine, self.circuit(call), party)
        self._handsets.append(handset)
        return handset

    @contextmanager
    def handset_in(self, circuit: Circuit, party: object) -> Iterator[Handset]:
        """At the end of a circuit that is no call of the network's."""
        handset = Handset(self.engine, circuit, party)
        self._handsets.append(handset)
        try:
            yield handset
        finally:
            handset.put_down()
            self._handsets.remove(handset)

    def call_moved(self, call: Call, state: State) -> None:
        """Observes the network."""
        if state is State.ENDED:
            self._circuits.pop(call, None)
            self._handsets = [handset for handset in self._handsets if not handset.down]

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fetch)
            while True:
                await trio.lowlevel.wait_readable(self.engine.fd)
                self._take_events()

    def _take_events(self) -> None:
        for event in self.engine.events():
            if isinstance(event, Finished) and isinstance(event.port, Player):
                for handset in self._handsets:
                    handset.finished(event.port)
            if (hear := self._listeners.get(event.port)) is not None:
                hear(event)

    async def settle(self) -> None:
        """The engine lets go of closed ports' descriptors: a tick, and the control call behind it."""
        await trio.sleep(2 * TICK_S)
        self._take_events()

    async def _fetch(self) -> None:
        while True:
            await trio.sleep(FETCH_EVERY_S)
            for handset in self._handsets:
                handset.fetch()
