"""Long texts put together of their parts, which come in any order, twice, late, or not at all.

A reference says little: phones count it to 255 and begin again, and some always begin with the same. So parts belong
together when sender, reference and total agree, their times are near one another (23.040 9.2.3.24.1 knows no better),
and none of them is there twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from drivers.userdata import Part

# A phone hands its parts to the service centre one after the other, within a minute or two in a bad network; the same
# reference comes round after 256 long texts.
NEAR = timedelta(minutes=10)


@dataclass(frozen=True)
class Piece:
    """One part that came; `id` is whatever its keeper knows it by, `sent_at` the service centre's time."""

    id: str
    sender: str
    part: Part
    sent_at: datetime | None


@dataclass
class _Set:
    pieces: dict[int, Piece] = field(default_factory=dict)
    changed_at: float = 0.0


class Reassembly:
    """What is not complete yet. Times are of any clock that does not jump."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, int, int], list[_Set]] = {}

    def add(self, piece: Piece, now: float) -> list[Piece]:
        """All parts in order when this one was the last, else none. It must be new: duplicates are its keeper's."""
        sets = self._sets.setdefault((piece.sender, piece.part.reference, piece.part.total), [])
        fitting = [each for each in sets if piece.part.number not in each.pieces and _apart(each, piece) <= NEAR]
        if not fitting:
            sets.append(_Set())
            fitting = sets[-1:]
        # Of several, the nearest in time; of those, the one that grew last.
        place = min(fitting, key=lambda each: (_apart(each, piece), -each.changed_at))
        place.pieces[piece.part.number] = piece
        place.changed_at = now
        return self._taken(place) if len(place.pieces) == piece.part.total else []

    def deadline(self, patience_s: float) -> float:
        """When the first set has waited so long for its next part; infinite when none waits."""
        return min(
            (each.changed_at + patience_s for sets in self._sets.values() for each in sets), default=float("inf")
        )

    def expired(self, now: float, patience_s: float) -> list[list[Piece]]:
        """Takes out what has waited that long: what came of each message, in order."""
        old = [each for sets in self._sets.values() for each in sets if each.changed_at + patience_s <= now]
        return [self._taken(each) for each in old]

    def _taken(self, place: _Set) -> list[Piece]:
        pieces = [place.pieces[number] for number in sorted(place.pieces)]
        key = (pieces[0].sender, pieces[0].part.reference, pieces[0].part.total)
        self._sets[key].remove(place)
        if not self._sets[key]:
            del self._sets[key]
        return pieces


def _apart(place: _Set, piece: Piece) -> timedelta:
    """Nothing where either has no time."""
    return min((_between(each, piece) for each in place.pieces.values()), default=timedelta())


def _between(one: Piece, other: Piece) -> timedelta:
    if one.sent_at is None or other.sent_at is None:
        return timedelta()
    return abs(one.sent_at - other.sent_at)


def missing(pieces: Sequence[Piece]) -> list[int]:
    """The numbers of parts that are not there."""
    there = {piece.part.number for piece in pieces}
    return [number for number in range(1, pieces[0].part.total + 1) if number not in there]
