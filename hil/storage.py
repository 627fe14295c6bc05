"""Where a module keeps short messages: slots in memories, on the SIM and in the module; they outlive a restart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """27.005 3.1 <stat> in PDU mode."""

    UNREAD = 0
    READ = 1
    UNSENT = 2
    SENT = 3
    ALL = 4


@dataclass
class Slot:
    status: Status
    pdu: str


class Storage:
    """`capacities` by 27.005's names: "SM" is the SIM, "ME" the module, "SR" for status reports."""

    def __init__(self, capacities: Mapping[str, int]) -> None:
        self.capacities = dict(capacities)
        self._slots: dict[str, dict[int, Slot]] = {memory: {} for memory in capacities}

    def __getitem__(self, memory: str) -> dict[int, Slot]:
        return self._slots[memory]

    def __contains__(self, memory: str) -> bool:
        return memory in self._slots

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def is_full(self, memory: str) -> bool:
        return len(self._slots[memory]) >= self.capacities[memory]

    def put(self, memory: str, pdu: str, status: Status) -> int | None:
        """The lowest free slot, as SIMs do it; None when there is none."""
        if self.is_full(memory):
            return None
        slots = self._slots[memory]
        index = next(index for index in range(self.capacities[memory]) if index not in slots)
        slots[index] = Slot(status, pdu)
        return index

    def usage(self, memory: str) -> str:
        """As +CPMS has it."""
        return f"{len(self._slots[memory])},{self.capacities[memory]}"
