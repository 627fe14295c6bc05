"""A phone of the bench and the customer's voice server in one call: what is said at one, found at the other.

The phone's recorder keeps what it says and what it hears, aligned to the sample. Its clock is laid beside that of the
voice server, so that a delay can be told for each message.
"""

import math
import statistics
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

import trio

from hil.customer import Missing, Told, VoiceServer
from hil.listening import REACH_SAMPLES, Match, Sound, align, ms, sound
from hil.subscriber import CallEnded, PhoneCall
from hil.voice_server import LEAD_MS, SILENCE
from native import FRAME_SAMPLES, RATE_HZ

# Sound on its way there and back takes less than this.
ROUND_TRIP_S = 0.6 + LEAD_MS / 1000
# Enough looks at the phone's clock to meet the moment after a tick of 20 ms; no multiple of it lies between two.
LOOKS, BETWEEN_LOOKS_S = 20, 0.0071

T = TypeVar("T")


async def within(limit_s: float, what: str, waited: Awaitable[T]) -> T:
    """Raises: Missing: too late, or the call ended before."""
    with trio.move_on_after(limit_s):
        try:
            return await waited
        except CallEnded as exc:
            raise Missing(f"expected {what}; came: the call's end, cause {exc.cause}") from exc
    raise Missing(f"expected {what} within {limit_s:g} s")


async def first_sample_at(phone: PhoneCall) -> float:
    """When it was spoken, and what was heard first was heard, on the clock of time.monotonic().

    A look is late by as much as its tick is past: the earliest is the truest.
    """
    looks = []
    for _ in range(LOOKS):
        looks.append(time.monotonic() - len(sound(phone.spoken())) / RATE_HZ)
        await trio.sleep(BETWEEN_LOOKS_S)
    return min(looks)


@dataclass(frozen=True)
class Exchange:
    """Words that were said: found at the voice server, and found again at the phone, played back.

    `delays_ms` are from the mouth to each message's arrival, counted from its first sample. The voice server's lead is
    no part of `round_trip_ms`.
    """

    there: Match
    back: Match
    round_trip_ms: float
    delays_ms: list[float]

    @property
    def delay_ms(self) -> float:
        return statistics.median(self.delays_ms)

    @property
    def worst_delay_ms(self) -> float:
        return max(self.delays_ms)


class Conversation:
    """An answered call whose stream is up. `opened` and `start` are the voice server's, of the latest connection."""

    def __init__(self, phone: PhoneCall, voice: VoiceServer, opened: Told, start: Told) -> None:
        self.phone = phone
        self.opened = opened
        self.start = start
        # When the phone's first sample was spoken, on the clock of time.monotonic().
        self.zero = 0.0
        self._voice = voice

    @property
    def call_id(self) -> str:
        return str(self.start.message["callId"])

    @property
    def stream_id(self) -> str:
        return str(self.start.message["streamId"])

    async def set_clock(self) -> None:
        self.zero = await first_sample_at(self.phone)

    @property
    def spoken(self) -> Sound:
        return sound(self.phone.spoken())

    @property
    def heard(self) -> Sound:
        return sound(self.phone.heard())

    def heard_since(self, moment: float) -> Sound:
        """`moment` by time.monotonic(). What a tick brings to the ear is heard in the 20 ms that follow it."""
        return self.heard[max(0, round((moment - self.zero) * RATE_HZ) - FRAME_SAMPLES) :]

    async def exchange(self, words: Sound) -> Exchange:
        """The person at the phone speaks, and waits until all of it must have come back.

        Raises:
            Missing: the call ended meanwhile, or the speech never did.
        """
        self.phone.say(words.tobytes())
        await within(ms(len(words)) / 1000 + 5, "the words to be spoken", self.phone.said())
        await trio.sleep(ROUND_TRIP_S)
        spoken, back = align(words, self.spoken), align(words, self.heard)
        audio = self._voice.audio(self.opened)
        there = align(words, audio.samples)
        first = math.ceil(there.delay_samples / FRAME_SAMPLES)
        last = min((there.delay_samples + len(words)) // FRAME_SAMPLES, len(audio.came_at))
        ahead = spoken.delay_samples - there.delay_samples
        mouths = [self.zero + (FRAME_SAMPLES * k + ahead) / RATE_HZ for k in range(max(0, first), last)]
        return Exchange(
            there=there,
            back=back,
            round_trip_ms=ms(back.delay_samples - spoken.delay_samples) - LEAD_MS,
            delays_ms=[
                1000 * (came - mouth) for came, mouth in zip(audio.came_at[max(0, first) :], mouths, strict=False)
            ]
            or [math.inf],
        )

    def silent_before(self, there: Match) -> bool:
        """Whether the voice server got digital silence, and nothing else, until the words that it found there."""
        earliest = there.delay_samples - there.moved_samples - REACH_SAMPLES
        before = self._voice.audio(self.opened).alaw[: max(0, earliest)]
        return len(before) > 0 and not before.strip(SILENCE)
