"""A trunk's promises to a call, without a line that would keep them waiting."""

from contextlib import asynccontextmanager

import pytest

from appliance.trunk import KEYS_LIMIT, Lost, Seizure, Trunk
from drivers.line import Digit


@pytest.fixture
def seizure():
    def ring(*_: object) -> None:
        pass

    @asynccontextmanager
    async def open_line():
        raise AssertionError("no line here")
        yield

    trunk = Trunk("office", "+33700000002", open_line=open_line, ring=ring)
    return Seizure(trunk, None)


async def test_the_turns_of_a_call_find_room_behind_keys_without_end(seizure):
    for _ in range(2 * KEYS_LIMIT):
        seizure.tell(Digit("5"))
    seizure.tell(Lost())
    told = [await seizure.told.receive() for _ in range(KEYS_LIMIT + 1)]
    assert told[-1] == Lost()
