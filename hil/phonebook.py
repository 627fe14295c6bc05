"""A module's phone books, by 27.007's names: entries in numbered places, and lists of the last calls.

Both are kept with the SIM or in the module: they outlive a restart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# The SIM's and the module's own entries, the SIM's own number, and calls: dialed, received, missed.
CAPACITIES: Mapping[str, int] = {"SM": 250, "ME": 100, "ON": 4, "DC": 10, "RC": 10, "MC": 10}
WRITABLE = ("SM", "ME", "ON")


@dataclass(frozen=True)
class Entry:
    number: str
    name: str = ""


class Book(dict[int, Entry]):
    """By index, from 1 on."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity

    def free_index(self) -> int | None:
        return next((index for index in range(1, self.capacity + 1) if index not in self), None)


class PhoneBooks(dict[str, Book]):
    def __init__(self, own_number: str) -> None:
        super().__init__({name: Book(capacity) for name, capacity in CAPACITIES.items()})
        self["ON"][1] = Entry(own_number)

    def note(self, name: str, number: str) -> None:
        """The last call is the first entry, and one over the capacity is forgotten."""
        book = self[name]
        entries = [Entry(number), *(entry for _, entry in sorted(book.items()))]
        book.update(enumerate(entries[: book.capacity], 1))
