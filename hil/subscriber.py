"""A phone in the simulated network, and the person who holds it.

    phone = Subscriber("+33783484044", network, nursery, behaviour="answer", answers_after_s=2)
    call = phone.dial("+33700000002")
    await call.answered()
    await call.press("12#")
    call.hang_up()
    assert await call.ended() == Cause.NORMAL

It speaks and listens when its network has a studio (hil.sound); without one it does all but that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

import trio

from drivers.sms import Deliver, Report, Submit, decode
from drivers.userdata import join, split
from hil.network import Alerting, Answered, Call, Cause, Event, Network, Offered, Pressed, Released, State

if TYPE_CHECKING:
    from hil.sound import Handset, Studio

# ITU-T Q.24 has receivers take 40 ms on and off; fingers take longer.
KEY_ON_S = 0.1
KEY_OFF_S = 0.1
# How long the network lets a phone ring.
PATIENCE_S = 60.0


class Behaviour(Enum):
    """What the person does when the phone rings."""

    ANSWER = "answer"
    NO_ANSWER = "no-answer"
    REJECT = "reject"
    # Talking to somebody else: it never rings.
    BUSY = "busy"


class CallEnded(Exception):
    """The call ended before it was answered."""

    def __init__(self, cause: int) -> None:
        super().__init__(f"ended by cause {cause}")
        self.cause = cause


class PhoneCall:
    """One call, as the person with this phone has it."""

    def __init__(self, call: Call, phone: Subscriber) -> None:
        self.call = call
        self.began_at = trio.current_time()
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        # Keys that the far end pressed.
        self.keys = ""
        self._phone = phone
        self._alerting = trio.Event()
        self._answered = trio.Event()
        self._ended = trio.Event()
        self._handset: Handset | None = None

    @property
    def state(self) -> State:
        return self.call.state

    @property
    def number(self) -> str | None:
        """The far end's; None when it was withheld."""
        return self.call.dialed if self.call.caller is self._phone else self.call.presented

    async def alerting(self) -> None:
        """The far phone rings.

        Raises:
            CallEnded: it never will.
        """
        await self._alerting.wait()
        self._raise_unless(State.ALERTING, State.ACTIVE)

    async def answered(self) -> None:
        """Raises: CallEnded when nobody will."""
        await self._answered.wait()
        if self.answered_at is None:
            raise CallEnded(self.call.cause or Cause.NORMAL)

    async def ended(self) -> int:
        """The Q.850 cause, whoever ended it."""
        await self._ended.wait()
        return self.call.cause or Cause.NORMAL

    def _raise_unless(self, *states: State) -> None:
        if self.call.state not in states and self.answered_at is None:
            raise CallEnded(self.call.cause or Cause.NORMAL)

    def answer(self) -> None:
        self._phone.network.answer(self.call)

    def reject(self) -> None:
        self._phone.network.release(self.call, Cause.REJECTED)

    def hang_up(self) -> None:
        """At any time: a call that is over stays so."""
        self._phone.network.release(self.call, Cause.NORMAL)

    async def press(self, keys: str) -> None:
        """Heard as tones and told by the network, key by key; returns when the last one is let go."""
        if self._handset:
            self._handset.press(keys, KEY_ON_S, KEY_OFF_S)
        for key in keys:
            self._phone.network.press(self.call, self._phone, key)
            await trio.sleep(KEY_ON_S + KEY_OFF_S)

    def say(self, samples: bytes) -> None:
        """Begins to speak: 16-bit little-endian at 8000 Hz. What is said together is heard together."""
        self._sound().say(samples)

    async def said(self) -> None:
        """All that was begun is spoken to its end, or cut off by the call's."""
        await self._sound().said()

    def heard(self) -> bytes:
        """All that this phone heard since the answer, like `spoken` sample for sample."""
        return self._sound().heard()

    def spoken(self) -> bytes:
        """All that this phone said since the answer, silence between the words included."""
        return self._sound().spoken()

    def _sound(self) -> Handset:
        if self._handset is None:
            raise RuntimeError("no sound: the call was not answered, or its network has no studio")
        return self._handset

    def told(self, event: Event) -> None:
        match event:
            case Alerting():
                self._alerting.set()
            case Answered():
                self.answered_at = trio.current_time()
                if self._phone.studio:
                    self._handset = self._phone.studio.handset(self.call, self._phone)
                self._alerting.set()
                self._answered.set()
            case Pressed(key=key):
                self.keys += key
            case Released():
                self.ended_at = trio.current_time()
                if self._handset:
                    self._handset.put_down()
                for each in (self._alerting, self._answered, self._ended):
                    each.set()


@dataclass(frozen=True)
class Text:
    """A short message that came, whole."""

    sender: str
    body: str
    sent_at: datetime | None


class Subscriber:
    """A party of the network. `says` is what it says by itself once an incoming call is answered."""

    def __init__(
        self,
        number: str,
        network: Network,
        nursery: trio.Nursery,
        *,
        behaviour: Behaviour | str = Behaviour.ANSWER,
        answers_after_s: float = 0.0,
        says: bytes = b"",
        studio: Studio | None = None,
    ) -> None:
        self.network = network
        self.studio = studio
        self.behaviour = Behaviour(behaviour)
        self.answers_after_s = answers_after_s
        self.says = says
        # All calls from and to this phone, the oldest first.
        self.calls: list[PhoneCall] = []
        # All messages that came, and the reports on ours; of long ones, parts that are not complete are kept apart.
        self.texts: list[Text] = []
        self.reports: list[Report] = []
        # Switched on, with room for messages.
        self.takes_texts = True
        self._parts: dict[tuple[str, int, int], dict[int, Deliver]] = {}
        self._texted = trio.Event()
        self._references = 0
        self._number = number
        self._nursery = nursery
        self._rang, self._rings = trio.open_memory_channel[PhoneCall](math.inf)
        network.join(self)

    @property
    def number(self) -> str:
        return self._number

    def dial(self, number: str, *, play: bytes = b"", withheld: bool = False) -> PhoneCall:
        """`play` is spoken from the answer on."""
        phone_call = PhoneCall(Call(self, number, withheld), self)
        self.calls.append(phone_call)
        self.network.dial(phone_call.call)
        if play:
            self._nursery.start_soon(self._speak, phone_call, play)
        return phone_call

    # --- messages ---

    def text(
        self, number: str, body: str, *, report: bool = False, validity_s: float | None = None, flash: bool = False
    ) -> int:
        """In as many parts as it takes; the reference of the last."""
        parts = split(body, reference=self._references % 256)
        self._references += len(parts)
        for place, data in enumerate(parts):
            reference = (self._references - len(parts) + place) % 256
            message = Submit(number, data, reference, report, validity_s, 0 if flash else None)
            self.network.centre.submit(self.number, message, reference, trio.current_time())
        return reference

    def take_message(self, pdu: str) -> bool:
        """hil.centre.Recipient."""
        if not self.takes_texts:
            return False
        message = decode(pdu)
        if isinstance(message, Report):
            self.reports.append(message)
        elif isinstance(message, Deliver):
            self._take_part(message)
        self._texted.set()
        self._texted = trio.Event()
        return True

    def _take_part(self, message: Deliver) -> None:
        parts = {1: message}
        if (part := message.data.part) is not None:
            key = (message.sender, part.reference, part.total)
            parts = self._parts.setdefault(key, {})
            parts[part.number] = message
            if len(parts) < part.total:
                return
            del self._parts[key]
        body = join([parts[number].data for number in sorted(parts)])
        self.texts.append(Text(message.sender, body, message.sent_at))

    async def texted(self, count: int = 1) -> Text:
        """The one with this number, counted from 1, whether it came already or comes."""
        while len(self.texts) < count:
            await self._texted.wait()
        return self.texts[count - 1]

    # --- calls ---

    async def called(self) -> PhoneCall:
        """The calls that come in, one after another, whether they came already or come."""
        return await self._rings.receive()

    def refuses(self) -> Cause | None:
        talking = any(call.state is not State.ENDED for call in self.calls)
        return Cause.BUSY if talking or self.behaviour is Behaviour.BUSY else None

    def told(self, event: Event) -> None:
        if isinstance(event, Offered):
            phone_call = PhoneCall(event.call, self)
            self.calls.append(phone_call)
            self.network.ring(event.call)
            self._nursery.start_soon(self._be_called, phone_call)
            self._rang.send_nowait(phone_call)
            return
        for phone_call in self.calls:
            if phone_call.call is event.call:
                phone_call.told(event)

    async def _be_called(self, phone_call: PhoneCall) -> None:
        if self.behaviour is Behaviour.NO_ANSWER:
            await trio.sleep(PATIENCE_S)
            self.network.give_up(phone_call.call)
            return
        await trio.sleep(self.answers_after_s)
        if phone_call.state is not State.ALERTING:
            return
        if self.behaviour is Behaviour.REJECT:
            phone_call.reject()
        else:
            phone_call.answer()
            if self.says:
                await self._speak(phone_call, self.says)

    async def _speak(self, phone_call: PhoneCall, samples: bytes) -> None:
        try:
            await phone_call.answered()
        except CallEnded:
            return
        phone_call.say(samples)
