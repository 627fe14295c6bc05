"""Where a SIM is on the air: put together from what its module says, as one value."""

import dataclasses
from dataclasses import dataclass

from drivers.replies import Ims, Operator, Registration, Reply, Signal

# 27.007 7.3 <AcT>, by what people call it.
_TECHNOLOGIES = {
    **dict.fromkeys((0, 1, 3, 8), "GSM"),
    **dict.fromkeys((2, 4, 5, 6), "UMTS"),
    **dict.fromkeys((7, 9), "LTE"),
    **dict.fromkeys((10, 11, 12, 13), "5G"),
}
# 27.007 7.2 <stat>.
_STATS = {
    0: "off",
    1: "home",
    2: "searching",
    3: "denied",
    5: "roaming",
    6: "home",
    7: "roaming",
    8: "emergency calls only",
    9: "home",
    10: "roaming",
}


@dataclass(frozen=True)
class Radio:
    """`circuit` and `packet` are the registrations +CREG and +CEREG, `ims` whether voice over LTE is registered; each
    is None as long as the module has not said. `area` and `cell` are in hexadecimal, as the network has them.
    """

    circuit: Registration | None = None
    packet: Registration | None = None
    ims: bool | None = None
    operator: str = ""
    signal_dbm: int | None = None
    act: int | None = None

    @property
    def bearers(self) -> tuple[bool, bool, bool]:
        """What is there: circuit switched, packet switched (LTE), IMS."""
        circuit, packet = (each is not None and each.registered for each in (self.circuit, self.packet))
        return circuit, packet, bool(self.ims)

    @property
    def callable(self) -> bool:
        """Calls are possible: circuit switched, or in LTE with IMS; without IMS, LTE alone carries none."""
        circuit, packet, ims = self.bearers
        return circuit or (packet and ims)

    @property
    def registration(self) -> str:
        """In a word or two; empty when it is not known."""
        best = self._best
        return _STATS.get(best.stat, "") if best is not None else ""

    @property
    def technology(self) -> str:
        """GSM, UMTS, LTE or 5G; empty when it is not known."""
        best = self._best
        act = best.act if best is not None and best.act is not None else self.act
        return _TECHNOLOGIES.get(act, "") if act is not None and self.registration else ""

    @property
    def area(self) -> str | None:
        return self._best.area if self._best else None

    @property
    def cell(self) -> str | None:
        return self._best.cell if self._best else None

    @property
    def _best(self) -> Registration | None:
        """The one that calls would go by, or else the one there is."""
        known = [each for each in (self.circuit, self.packet) if each is not None]
        return next((each for each in known if each.registered), known[0] if known else None)

    def after(self, reply: Reply) -> "Radio":
        match reply:
            case Registration("+CREG"):
                return dataclasses.replace(self, circuit=reply)
            case Registration("+CEREG"):
                return dataclasses.replace(self, packet=reply)
            case Ims(registered):
                return dataclasses.replace(self, ims=registered)
            case Signal(dbm):
                return dataclasses.replace(self, signal_dbm=dbm)
            case Operator(name, act):
                return dataclasses.replace(self, operator=name, act=act)
            case _:
                return self
