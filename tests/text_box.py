"""A box with messages and lines whose far end is the test's: what it gives, takes and refuses."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio
import trio.testing

from appliance.config import Webhook
from appliance.message import Message
from appliance.numbers import ORDINARY_RULES, DialingRules
from appliance.store import Store, open_store
from appliance.texting import Postbox
from drivers import sms
from drivers.errors import CommandError, LineLost
from drivers.line import Received, Storage
from drivers.sms import Deliver, Submit
from drivers.userdata import split
from drivers.ussd import News

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
OURS, THEIRS = "+33700000002", "+33783484044"
LONG = "A text that is longer than one message holds, in three parts. " * 6
HOOK = Webhook.model_construct(url="http://127.0.0.1:1/", secret="whsec_" + "0" * 24, events=("*",), name="crm")
Clock = trio.testing.MockClock


class TestTexts:
    """drivers.line.Texts."""

    __test__ = False
    storage: dict[str, Storage] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.sim: list[Received] = []
        self.sent: list[tuple[float, Submit]] = []
        self.refusals: list[Exception] = []
        self.changed = trio.Event()
        # What is sent waits for it.
        self.network = trio.Event()
        self.network.set()
        # A text that the device does not survive.
        self.deadly = ""
        # The line was lost, and nobody attends to it any more.
        self.over = trio.Event()
        self._count = 0
        self._give, self._given = trio.open_memory_channel[Received](100)

    def _change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def give(self, *pdus: str) -> None:
        """To the SIM, and from there to whoever receives."""
        for pdu in pdus:
            self._count += 1
            received = Received(pdu, "SM", self._count)
            self.sim.append(received)
            self._give.send_nowait(received)

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            await self.changed.wait()

    async def emptied(self) -> None:
        await self.until(lambda: not self.sim)

    async def receive(self) -> Received:
        try:
            return await self._given.receive()
        except trio.EndOfChannel:
            raise LineLost("gone") from None

    async def forget(self, received: Received) -> None:
        await trio.lowlevel.checkpoint()
        self.sim.remove(received)
        self._change()

    async def send(self, pdu: str) -> int:
        await self.network.wait()
        message = sms.decode(pdu)
        assert isinstance(message, Submit)
        self._change()
        if self.refusals:
            raise self.refusals.pop(0)
        if self.deadly and message.data.text == self.deadly:
            self._give.close()
            raise CommandError("AT+CMGS", "the line was lost")
        self.sent.append((trio.current_time(), message))
        return len(self.sent) % 256

    async def ussd(self, text: str) -> News:
        raise AssertionError("nobody asks for a code")

    async def cancel_ussd(self) -> None:
        raise AssertionError("nobody leaves a menu")


class TestLine:
    """As much of a line as messages see."""

    __test__ = False

    def __init__(self) -> None:
        self.texts = TestTexts()


class Box:
    def __init__(self, path: Path, store: Store, postbox: Postbox, nursery: trio.Nursery) -> None:
        self.path = path
        self.mailbox = store.mailbox
        self.postbox = postbox
        self.nursery = nursery

    def attend(self) -> TestTexts:
        """A line comes up, with nothing on its SIM."""
        line = TestLine()

        async def attend() -> None:
            try:
                await self.postbox.attend(OURS, line)  # type: ignore[arg-type]
            except* LineLost:
                line.texts.over.set()

        self.nursery.start_soon(attend)
        return line.texts

    async def post(self, text: str = "hello", **rest: object) -> Message:
        return await self.postbox.post(OURS, THEIRS, text, **({"report": True, "validity_s": 86400} | rest))  # type: ignore[arg-type]

    async def messages(self) -> list[Message]:
        """Oldest first."""
        return (await self.mailbox.messages(line=None, direction=None, before=None, limit=100))[::-1]

    async def states(self) -> list[str]:
        return [message.state.value for message in await self.messages()]

    async def until(self, states: list[str]) -> list[Message]:
        while await self.states() != states:  # noqa: ASYNC110  # a database tells nobody
            await trio.sleep(0.1)
        return await self.messages()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(query).fetchall()


@asynccontextmanager
async def open_box(
    path: Path, *, rules: DialingRules = ORDINARY_RULES, now: Callable[[], datetime] | None = None
) -> AsyncIterator[Box]:
    began = trio.current_time()

    def later() -> datetime:
        return NOON + timedelta(seconds=trio.current_time() - began)

    async with open_store(path / "box.db", [HOOK]) as store, trio.open_nursery() as nursery:
        postbox = Postbox(store.mailbox, names={OURS: "office"}, country="FR", now=now or later, rules=rules)
        await nursery.start(postbox.run)
        yield Box(path / "box.db", store, postbox, nursery)
        nursery.cancel_scope.cancel()


def parts(text: str, *, reference: int = 1, at: datetime = NOON) -> list[str]:
    return [sms.encode(Deliver(THEIRS, data, at)) for data in split(text, reference=reference)]
