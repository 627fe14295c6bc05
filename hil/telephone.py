"""What a person does with a telephone, whatever it is: a phone of the simulated network, or a line with our driver.

    call = await telephone.dial("+33700000002")             call = await telephone.rings()
    await call.answered()                                    await call.answer()
    await call.say(words)
    await call.hang_up()
    assert await call.ended() == 16

Tests of a line hold one of these in each hand, so that the same test runs on simulated lines and on a real bench, where
two lines call one another. Nothing here has a limit: who waits says for how long.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from hil.network import Network, State
from hil.subscriber import Behaviour, PhoneCall, Subscriber


class Talk(Protocol):
    """One call, as one end has it."""

    @property
    def number(self) -> str | None:
        """The far end's, as the network told it; None when it was withheld."""

    @property
    def keys(self) -> str:
        """That the far end pressed."""

    @property
    def is_answered(self) -> bool: ...

    async def alerting(self) -> None:
        """The far phone rings, or was answered. Raises: CallEnded."""

    async def answered(self) -> None:
        """Raises: CallEnded."""

    async def ended(self) -> int:
        """The Q.850 cause."""

    async def answer(self) -> None: ...

    async def hang_up(self) -> None: ...

    async def say(self, samples: bytes) -> None:
        """16 bits at 8000 Hz. Returns when all is spoken, or the call is over."""

    async def press(self, keys: str) -> None:
        """Returns when the last one is let go."""

    def heard(self) -> bytes:
        """All since the answer; from an order to dial on where this end has sound before."""


class Telephone(Protocol):
    @property
    def number(self) -> str: ...

    @property
    def can_be_busy(self) -> bool: ...

    @property
    def has_texts(self) -> bool: ...

    async def ready(self) -> None:
        """For a call, whichever way."""

    async def dial(self, number: str) -> Talk:
        """Returns when it is dialed."""

    async def rings(self) -> Talk:
        """The next call that comes, or the last that came and has not been asked for."""

    def engaged(self) -> AbstractAsyncContextManager[None]:
        """Whoever calls now hears that it is busy."""

    async def give_up(self, talk: Talk) -> None:
        """The network's patience with a call that rings here is over; where it cannot be hurried, it has its time."""

    async def text(self, number: str, body: str) -> None:
        """A short message, in as many parts as it takes."""

    async def texted(self, body: str) -> str:
        """When a message of these words has come: who sent it."""


def is_same(one: str | None, another: str | None) -> bool:
    """One number in two countries' ways to write it."""
    return bool(one and another) and str(one)[-8:] == str(another)[-8:]


# --- a phone of the simulated network ---


class Phone:
    """Nobody answers it but the test."""

    can_be_busy = has_texts = True

    def __init__(self, subscriber: Subscriber, network: Network) -> None:
        subscriber.behaviour = Behaviour.NO_ANSWER
        self._subscriber = subscriber
        self._network = network
        # Of its calls, those that were asked for.
        self._known = 0
        self._read: set[int] = set()

    @property
    def number(self) -> str:
        return self._subscriber.number

    async def ready(self) -> None:
        await trio.lowlevel.checkpoint()

    async def dial(self, number: str) -> "PhoneTalk":
        call = self._subscriber.dial(number)
        self._known = len(self._subscriber.calls)
        return PhoneTalk(call)

    async def rings(self) -> "PhoneTalk":
        while len(self._subscriber.calls) == self._known:
            await self._subscriber.called()
        self._known = len(self._subscriber.calls)
        return PhoneTalk(self._subscriber.calls[-1])

    @asynccontextmanager
    async def engaged(self) -> AsyncIterator[None]:
        self._subscriber.behaviour = Behaviour.BUSY
        try:
            yield
        finally:
            self._subscriber.behaviour = Behaviour.NO_ANSWER

    async def give_up(self, talk: Talk) -> None:
        assert isinstance(talk, PhoneTalk)
        self._network.give_up(talk.call.call)

    async def text(self, number: str, body: str) -> None:
        self._subscriber.text(number, body)

    async def texted(self, body: str) -> str:
        count = 0
        while True:
            count += 1
            text = await self._subscriber.texted(count)
            if text.body == body and count not in self._read:
                self._read.add(count)
                return text.sender

    async def rest(self) -> None:
        """Whatever a test left here."""
        await trio.lowlevel.checkpoint()
        for call in self._subscriber.calls:
            if call.state is not State.ENDED:
                call.hang_up()
        self._known = len(self._subscriber.calls)


class PhoneTalk:
    def __init__(self, call: PhoneCall) -> None:
        self.call = call

    @property
    def number(self) -> str | None:
        return self.call.number

    @property
    def keys(self) -> str:
        return self.call.keys

    @property
    def is_answered(self) -> bool:
        return self.call.answered_at is not None

    async def alerting(self) -> None:
        await self.call.alerting()

    async def answered(self) -> None:
        await self.call.answered()

    async def ended(self) -> int:
        return await self.call.ended()

    async def answer(self) -> None:
        self.call.answer()

    async def hang_up(self) -> None:
        self.call.hang_up()

    async def say(self, samples: bytes) -> None:
        self.call.say(samples)
        await self.call.said()

    async def press(self, keys: str) -> None:
        await self.call.press(keys)

    def heard(self) -> bytes:
        return self.call.heard()
