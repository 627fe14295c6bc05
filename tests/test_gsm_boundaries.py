"""News at the byte boundaries of a bring-up, as the port reads it: each family with what it says unasked.

A sample of the boundaries, another for each family; all of them with BRANCHLINE_BOUNDARIES=all.
"""

import os
from collections.abc import Iterator

import pytest
import trio

from drivers.errors import LineLost
from drivers.gsm import GsmLine
from drivers.line import Incoming, LineState, StateChanged
from hil.bench import OTHERS, QUECTEL
from tests.gsm_rig import IDLE, IN_USE, OURS, THEIRS, Clock, Rig, Wire, events, make_rig, quiet

FAMILIES = [*(QUECTEL | OTHERS)]
SAMPLE = 12
# Of calls that are none, of the network, of nothing; the rest of what a family says is in its row.
NEWS = ("NO CARRIER", "+CREG: 1", "+CPIN: READY", "^CEND:1,0,29", "VOICE CALL: END", '+CMTI: "SM",9')


class Interrupted(Wire):
    """Before this byte of all that the host reads, there is news."""

    def __init__(self, wire: Wire, place: int, news: bytes) -> None:
        super().__init__(wire)
        self.read_bytes = 0
        self.between_lines = False
        self.news = news
        self.place, self._last = place, b"\n"

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await super().receive_some(max_bytes)
        cut = self.place - self.read_bytes
        if 0 <= cut < len(data):
            self.between_lines = (self._last + data[:cut]).endswith(b"\n")
            data = data[:cut] + self.news + data[cut:]
        self.read_bytes += len(data)
        self._last = data[-1:]
        return data


def news_of(rig: Rig) -> list[bytes]:
    known = [news for news in NEWS if news.startswith(rig.model.urcs)]
    return [f"\r\n{line}\r\n".encode() for line in (*known, *(f"{noise} 0" for noise in rig.model.noise))]


def boundaries(name: str, total: int) -> Iterator[int]:
    if os.environ.get("BRANCHLINE_BOUNDARIES") == "all":
        yield from range(total)
    else:
        # Odd steps: neither always within lines nor always between them.
        step = total // SAMPLE | 1
        yield from range(FAMILIES.index(name) * 7 % step, total, step)


@pytest.mark.parametrize("name", FAMILIES)
async def test_news_at_any_byte_of_a_bring_up_leaves_the_line_at_work(
    name: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, name)
    wire = rig.wire
    # The same module is opened again on the same port.
    wire.aclose = trio.lowlevel.checkpoint  # type: ignore[method-assign]
    rig.wire = whole = Interrupted(wire, -1, b"")
    async with rig.line() as line:
        assert await events(line, 1) == [IDLE]
        # What is asked behind the bring-up, too.
        await quiet(line, 5)
        known = line.identity
    news = news_of(rig)
    for place in boundaries(name, whole.read_bytes):
        rig.wire = interrupted = Interrupted(wire, place, news[place % len(news)])
        try:
            async with rig.line() as line:
                if interrupted.between_lines:
                    assert await events(line, 1) == [IDLE], (place, interrupted.news)
                    await quiet(line, 5)
                    assert line.identity == known, (place, interrupted.news)
                await at_work(rig, line)
        except* LineLost:
            # AT+CPIN's result, torn in two, is none: that costs an opening, and is told.
            assert not interrupted.between_lines
            rig.wire = Interrupted(wire, -1, b"")
            async with rig.line() as line:
                await at_work(rig, line)


async def at_work(rig: Rig, line: GsmLine) -> None:
    """An answer torn in two is none: what it would have said is asked again."""
    while line.state is not LineState.IDLE:
        await events(line, 1)
    with trio.move_on_after(5):
        while True:
            assert isinstance(await line.next_event(), StateChanged)
    assert isinstance(rig.wire, Interrupted)
    # A bring-up without echo may be shorter than the first.
    rig.wire.place = -1
    call = rig.phone().dial(OURS)
    assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
    call.hang_up()
    await events(line, 2)
