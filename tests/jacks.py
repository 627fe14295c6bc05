"""A jack for lines that are no devices: what is plugged in stays, until the test says otherwise."""

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from appliance.ladder import Rung
from appliance.trunk import Whereabouts


class TestJack:
    __test__ = False
    whereabouts = Whereabouts("test", "nowhere", "", "")

    def __init__(
        self,
        open_line: Callable[[], AbstractAsyncContextManager[Any]],
        *,
        climb: Callable[[Rung], None] = lambda _: None,
        possible: Collection[Rung] = frozenset(Rung),
    ) -> None:
        self.open = open_line
        self.possible = possible
        self.plugged = trio.Event()
        self._climb = climb

    async def changed(self) -> None:
        await self.plugged.wait()
        self.plugged = trio.Event()

    async def climb(self, rung: Rung) -> None:
        self._climb(rung)
