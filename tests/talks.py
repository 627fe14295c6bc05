"""What the parties of a call through the whole service say, and whether it was heard.

A machine that stands still for a moment tears sound and keys, and leaves some whole: it is said anew where none was,
and one piece that is whole tells whose words they are. That nothing is torn is for tests which no load can disturb.
"""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from hil.analog import AnalogLine
from hil.listening import clearest, sound
from hil.subscriber import PhoneCall
from native import alaw_decode, alaw_encode
from tests.conftest import Connection
from tests.rig import PHONE, Rig, speech

# What is made by chance is like anything else by 0.2 at most; an MP3, an echo canceller, a torn moment take their part.
LIKE = 0.5
TRIES = 5
# Modems hold back less than this of what is on its way.
MOST_BUFFERED_FRAMES = 25
# A key is told by then, if it was heard.
TOLD_S = 2.0


def callers(rig: Rig) -> set[str]:
    """As whom the phone may be told that called the first line. An analog modem tells numbers beside its rings, and one
    that is simulated by a late machine too late for whoever waits for them.
    """
    return {PHONE, "anonymous"} if isinstance(rig.line.modem, AnalogLine) else {PHONE}


def is_in(said: bytes, heard: bytes) -> bool:
    return clearest(sound(said), sound(heard)) >= LIKE


async def both_speak(
    call: PhoneCall, said: bytes, voice: Connection, reply: bytes, *, is_heard: Callable[[bytes, bytes], bool] = is_in
) -> None:
    """The phone's words and the server's, at the same time."""
    spoken = base64.b64encode(alaw_encode(reply)).decode()
    heard = b""
    for _ in range(TRIES):
        call.say(said)
        await voice.send({"event": "playAudio", "media": {"payload": spoken}}, {"event": "checkpoint", "name": "said"})
        heard += await until(voice, "playedStream")
        await call.said()
        for _ in range(MOST_BUFFERED_FRAMES):
            heard += await until(voice, "media")
        if is_heard(said, heard) and is_heard(reply, call.heard()):
            return
    raise AssertionError(f"{TRIES} times they did not hear each other")


async def speaks(call: PhoneCall, said: bytes, voice: Connection) -> bytes:
    """The phone's words alone, and what the server heard until then."""
    heard = b""
    for _ in range(TRIES):
        call.say(said)
        await call.said()
        for _ in range(MOST_BUFFERED_FRAMES):
            heard += await until(voice, "media")
        if is_in(said, heard):
            return heard
    raise AssertionError(f"{TRIES} times it was not heard")


@asynccontextmanager
async def greeting(call: PhoneCall) -> AsyncIterator[None]:
    """Who has answered says a word, again and again; what was begun is spoken to its end."""

    async def greet() -> None:
        while True:
            call.say(speech(1, seed=100))
            await call.said()
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(greet)
        yield
        nursery.cancel_scope.cancel()
    await call.said()


async def pressed(call: PhoneCall, key: str, voice: Connection) -> str:
    """The key that is told."""

    async def press() -> None:
        while True:
            await call.press(key)
            await trio.sleep(TOLD_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(press)
        told: str = (await voice.next("dtmf"))["digit"]
        nursery.cancel_scope.cancel()
    return told


async def until(voice: Connection, event: str) -> bytes:
    """What is heard until then, and with it."""
    heard = b""
    while (message := await voice.receive()) is not None:
        if message["event"] == "media":
            heard += base64.b64decode(message["media"]["payload"])
        if message["event"] == event:
            return alaw_decode(heard)
    raise AssertionError(f"closed before {event}")
