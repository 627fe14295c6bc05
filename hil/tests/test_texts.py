"""Short messages to and from every line that has a SIM."""

import secrets

from hil.site import Place
from hil.telephone import is_same
from hil.tests.suite import soon, suite

# A real service centre has its time.
DELIVERED_S = 90.0
LONG = "Un très long message, en plusieurs parties : " + "0123456789 " * 15
WIDE = "Ça va ? 👍 Привет " + "…" * 70


def _sim(place: Place) -> str:
    return "" if place.near.has_texts else "an analog line has no messages"


def _sims(place: Place) -> str:
    return _sim(place) or ("" if place.far.has_texts else "the partner is an analog line")


def _once(text: str) -> str:
    """A message of this test alone: real networks may be late by days."""
    return f"{secrets.token_hex(3)} {text}"


@suite("SMS in", _sims)
async def test_a_message_comes_short_and_long_in_any_script(place: Place) -> None:
    for text in map(_once, ("Hello", LONG, WIDE)):
        await place.far.text(place.near.number, text)
        sender = await soon(f"a message of {len(text)} characters", place.near.texted(text), within_s=DELIVERED_S)
        assert is_same(sender, place.far.number)


@suite("SMS out", _sims)
async def test_a_message_goes_short_and_long_in_any_script(place: Place) -> None:
    for text in map(_once, ("Hello", LONG, WIDE)):
        await place.near.text(place.far.number, text)
        sender = await soon(f"a message of {len(text)} characters", place.far.texted(text), within_s=DELIVERED_S)
        assert is_same(sender, place.near.number)
