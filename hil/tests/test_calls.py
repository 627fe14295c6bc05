"""Calls in and out on every line of the bench: who calls, what is heard, which keys, how it ends."""

from collections.abc import Callable

import trio

from hil.listening import align, clearest, sound
from hil.site import Place
from hil.telephone import Talk, is_same
from hil.tests.suite import soon, suite
from hil.words import words

WORDS_S = 1.2
HELLO = words(0.8, seed=3)
# An analog line is sure of it by two cycles of ringback, as long as the machine does not tear them.
RINGS_WITHIN_S = 50.0
# Between two hellos.
PAUSE_S = 1.0
# Until what was said is at the other end, through whatever buffers there are.
ARRIVES_S = 3.0
TRIES = 5
# Other words (hil/words.py) are like them by 0.5 at most, and what a GSM codec makes of them more.
LIKE = 0.6
LOOK_S, LOOKS = 0.25, 4
# A call that nobody answers is left to ring for so long; whoever takes it for answered does so at once, or at the end
# of a ring.
RINGS_S = 6.0
# ITU-T Q.850: who refuses a call because he is busy may be told as either (24.008 has user busy for UDUB).
BUSY = {17, 21}


async def called(place: Place) -> tuple[Talk, Talk]:
    """The far end has called, and we have answered."""
    far = await place.far.dial(place.near.number)
    near = await soon("a call to come in", place.near.rings())
    await taken(near, far)
    return near, far


async def calling(place: Place) -> tuple[Talk, Talk]:
    """We have called, and the far end has answered."""
    near, far = await ringing(place)
    await taken(far, near)
    return near, far


async def ringing(place: Place) -> tuple[Talk, Talk]:
    near = await place.near.dial(place.far.number)
    far = await soon("the far end to ring", place.far.rings())
    return near, far


async def taken(callee: Talk, caller: Talk) -> None:
    """Answered, with a word: of an analog line's answer nothing else may tell."""
    assert not caller.is_answered
    await callee.answer()
    await soon("to be told that it is answered, who answered", callee.answered())
    await soon("to be told that it is answered, who called", greeted(caller, callee))


async def greeted(caller: Talk, callee: Talk) -> None:
    """Who answers says hello until he is heard."""
    while not caller.is_answered:
        await callee.say(HELLO)
        with trio.move_on_after(PAUSE_S):
            await caller.answered()


async def comes(there: Callable[[], bool]) -> None:
    """Or does not."""
    with trio.move_on_after(ARRIVES_S):
        while not there():  # noqa: ASYNC110
            await trio.sleep(LOOK_S)


async def both_hear(place: Place, near: Talk, far: Talk) -> None:
    await crosses(place, near, far, words(WORDS_S, seed=1), "our words at the far end")
    await crosses(place, far, near, words(WORDS_S, seed=2), "the far end's words here")


async def crosses(place: Place, mouth: Talk, ear: Talk, said: bytes, what: str) -> None:
    """Said again where they are not like themselves: a machine that is busy elsewhere may tear some."""
    best = 0.0
    for _ in range(TRIES):
        before = len(ear.heard())
        await soon("the words to be said", mouth.say(said))
        for _ in range(LOOKS):
            await trio.sleep(ARRIVES_S / LOOKS)
            heard = sound(ear.heard()[before:])
            best = max(best, clearest(sound(said), heard))
            if best >= LIKE:
                place.figures.append(f"{align(sound(said), heard).correlation:.2f}")
                return
    raise AssertionError(f"{what}: {best:.3f} like what was said, of {LIKE}")


async def told(place: Place, mouth: Talk, ear: Talk, keys: str) -> None:
    """Each once, in their order; each alone, and again, where a machine that is busy elsewhere has torn some."""
    if await is_told(place, mouth, ear, keys):
        return
    for key in keys:
        for _ in range(TRIES):
            if await is_told(place, mouth, ear, key):
                break
        else:
            raise AssertionError(f"{key} was torn {TRIES} times")


async def is_told(place: Place, mouth: Talk, ear: Talk, keys: str) -> bool:
    began, before = trio.current_time(), len(ear.keys)
    await soon("the keys to be pressed", mouth.press(keys))
    await comes(lambda: ear.keys[before:] == keys)
    came = ear.keys[before:]
    assert came == keys or place.was_late(since=began)
    return came == keys


@suite("in")
async def test_a_call_in_tells_who_calls_and_both_hear_each_other(place: Place) -> None:
    near, far = await called(place)
    assert is_same(near.number, place.far.number)
    await both_hear(place, near, far)
    await near.hang_up()
    await soon("the end", near.ended())


@suite("out")
async def test_a_call_out_rings_is_answered_and_both_hear_each_other(place: Place) -> None:
    near, far = await ringing(place)
    await soon("to be told that the far end rings", near.alerting(), within_s=RINGS_WITHIN_S)
    await taken(far, near)
    await both_hear(place, near, far)


@suite("keys in")
async def test_keys_of_the_far_end_are_told_each_once(place: Place) -> None:
    near, far = await called(place)
    await told(place, far, near, "1590*#")


@suite("keys out")
async def test_keys_that_we_press_are_heard_by_the_far_end_each_once(place: Place) -> None:
    near, far = await called(place)
    await told(place, near, far, "2486*#")


@suite("busy", lambda place: "" if place.far.can_be_busy else "an analog partner cannot refuse a call")
async def test_who_is_busy_is_told_as_busy(place: Place) -> None:
    async with place.far.engaged():
        near = await place.near.dial(place.far.number)
        assert await soon("the end", near.ended()) in BUSY
    assert not near.is_answered


@suite("unanswered")
async def test_what_only_rings_is_not_answered_and_rings_no_more_when_we_hang_up(place: Place) -> None:
    near, far = await ringing(place)
    await soon("to be told that the far end rings", near.alerting(), within_s=RINGS_WITHIN_S)
    await trio.sleep(RINGS_S)
    assert not near.is_answered
    await near.hang_up()
    await soon("the end", near.ended())
    await soon("the far end to ring no more", far.ended())


@suite("no answer")
async def test_the_end_of_the_networks_patience_is_the_end_of_the_call(place: Place) -> None:
    near, far = await ringing(place)
    await soon("to be told that the far end rings", near.alerting(), within_s=RINGS_WITHIN_S)
    await place.far.give_up(far)
    # 24.008 gives a network some three minutes.
    await soon("the end", near.ended(), within_s=100)
    assert not near.is_answered


@suite("missed")
async def test_a_caller_who_gives_up_has_ended_his_call(place: Place) -> None:
    far = await place.far.dial(place.near.number)
    near = await soon("a call to come in", place.near.rings())
    await far.hang_up()
    await soon("the end", near.ended())
    assert not near.is_answered


@suite("remote end")
async def test_a_call_is_over_when_the_far_end_hangs_up(place: Place) -> None:
    near, far = await calling(place)
    await far.hang_up()
    assert await soon("the end", near.ended()) == 16


@suite("local end")
async def test_a_call_is_over_when_we_hang_up(place: Place) -> None:
    near, far = await called(place)
    await near.hang_up()
    assert await soon("the end", near.ended()) == 16
    await soon("the far end to be told", far.ended())
