"""What is C's, and one process's: the child of a fork has none of it.

No thread goes along with a fork, and a lock that one of them holds at that moment is held in the child for ever. So
what a child inherits is neither used nor freed there: using it is a TypeError, as if it were closed, and what it has
open stays open until the child ends.
"""

import os
import weakref
from collections.abc import Callable
from typing import Any

from native._engine import ffi

_all: "weakref.WeakSet[Owned]" = weakref.WeakSet()


class Owned:
    """Freed with the last reference to it, or before."""

    def __init__(self, pointer: Any, destroy: Callable[[Any], None]) -> None:
        # None once freed.
        self._pointer: Any = ffi.gc(pointer, destroy)
        _all.add(self)

    def _free(self) -> None:
        if self._pointer is not None:
            ffi.release(self._pointer)
            self._pointer = None

    def _give_up(self) -> None:
        """In a fork's child."""
        if self._pointer is not None:
            ffi.gc(self._pointer, None)
            self._pointer = None


def _give_all_up() -> None:
    for each in list(_all):
        each._give_up()


os.register_at_fork(after_in_child=_give_all_up)
