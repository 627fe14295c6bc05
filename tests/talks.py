"""What the parties of a call through the whole service say, and whether it was heard.

A machine that stands still for a moment tears sound and keys, and leaves some whole: it is said anew where none was,
and one piece that is whole tells whose words they are. That nothing is torn is for tests which no load can disturb.
"""

import base64
from collections.abc import Callable

import numpy
import trio

from hil.listening import sound
from hil.subscriber import PhoneCall
from native import RATE_HZ, alaw_decode, alaw_encode
from tests.conftest import Connection

PIECE_SAMPLES = round(0.4 * RATE_HZ)
# A piece with less than this part of the mean energy says nothing.
PAUSE = 0.1
LIKE = 0.8
TRIES = 5
# Modems hold back less than this of what is on its way.
MOST_BUFFERED_FRAMES = 25
# A key is told by then, if it was heard.
TOLD_S = 2.0


def likeness(said: bytes, heard: bytes) -> float:
    """1: the clearest 400 ms of what was said are in what was heard. What nobody said is like it by 0.2, other words of
    one voice by 0.6.
    """
    mouth, ear = sound(said).astype(float), sound(heard).astype(float)
    if len(ear) < PIECE_SAMPLES:
        return 0.0
    size = 1 << (len(ear) + PIECE_SAMPLES).bit_length()
    spectrum = numpy.fft.rfft(ear, size)
    sums = numpy.concatenate(([0.0], numpy.cumsum(ear**2)))
    # Pauses are like any silence.
    least = PAUSE * float(mouth @ mouth) * PIECE_SAMPLES / len(mouth)
    energies = numpy.maximum(sums[PIECE_SAMPLES:] - sums[:-PIECE_SAMPLES], least)
    best = 0.0
    for start in range(0, len(mouth) - PIECE_SAMPLES + 1, PIECE_SAMPLES // 2):
        piece = mouth[start : start + PIECE_SAMPLES]
        if (energy := float(piece @ piece)) > least:
            products = numpy.fft.irfft(spectrum * numpy.fft.rfft(piece, size).conj(), size)[: len(energies)]
            best = max(best, float(numpy.max(products / numpy.sqrt(energies * energy))))
    return best


def is_in(said: bytes, heard: bytes) -> bool:
    return likeness(said, heard) >= LIKE


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
