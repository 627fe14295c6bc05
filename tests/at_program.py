"""A program at the AT port of a simulated module, with the time and the network in its own hand."""

from collections.abc import Iterable

from hil.atport import AtPort, Effect, Say
from hil.board import Dial, Order, Profile
from hil.module import Module, Stat
from hil.quectel import Ec25

OWN, ANNA = "+33700000002", "+33783484044"


class Program:
    """Writes a line and reads what came, at a time of its own; what the module asks of the world is in `orders`."""

    def __init__(self, module: Module, *, echo: bool = False) -> None:
        self.module = module
        self.port = AtPort(module)
        self.faults = self.port.faults
        self.now = 0.0
        self.orders: list[Order] = []
        if not echo:
            self.write("ATE0")

    def take(self, effects: Iterable[Effect]) -> str:
        said = b""
        for effect in effects:
            if isinstance(effect, Say):
                said += effect.data
            else:
                self.orders.append(effect)
        return said.decode("latin-1")

    def write(self, line: str) -> str:
        return self.take(self.port.receive(line.encode("latin-1") + b"\r", self.now))

    def ask(self, line: str) -> list[str]:
        """Lines without their frames."""
        return self.write(line).replace("\r", "").split("\n")[1::2] if line else []

    def lines(self, effects: Iterable[Effect]) -> list[str]:
        return [line for line in self.take(effects).split("\r\n") if line]

    def wait(self, seconds: float) -> list[str]:
        """All that comes by itself meanwhile, each thing at its time."""
        until, said = self.now + seconds, []
        while self.port.deadline <= until:
            self.now = self.port.deadline
            said += self.lines(self.port.elapse(self.now))
        self.now = until
        return said

    def offered(self, number: str | None = ANNA) -> tuple[int, list[str]]:
        """The index of the call, and what was said of it."""
        index, effects = self.port.offered(number, self.now)
        return index, self.lines(effects)

    def called(self, number: str | None = ANNA) -> int:
        return self.offered(number)[0]

    def moved(self, index: int, stat: Stat) -> list[str]:
        return self.lines(self.port.moved(index, stat, self.now))

    def released(self, index: int, cause: int, *, locally: bool = False) -> list[str]:
        return self.lines(self.port.released(index, cause, self.now, locally=locally))

    def pressed(self, key: str) -> str:
        return self.take(self.port.pressed(key, self.now))

    def dialed(self) -> int:
        """An outgoing call is on its way."""
        self.ask(f"ATD{ANNA};")
        order = self.orders.pop()
        assert isinstance(order, Dial)
        return order.index

    def talking(self) -> int:
        """It is up."""
        index = self.dialed()
        self.moved(index, Stat.ACTIVE)
        return index


class Host(Program):
    """Whose module is an EC25."""

    def __init__(self, profile: Profile | None = None, *, echo: bool = False) -> None:
        super().__init__(Ec25(profile or Profile(number=OWN)), echo=echo)
