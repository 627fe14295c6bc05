"""A line that goes and comes: unplugged in a call, started anew."""

from hil.site import Place
from hil.tests.suite import soon, suite
from hil.tests.test_calls import both_hear, called

# LTE modules need 20 to 40 s from their order to restart until they are registered.
BACK_S = 90.0


def _can_be_unplugged(place: Place) -> str:
    return "" if place.unplug is not None else "nothing here can unplug it: no USB port is told, or no uhubctl"


def _can_be_reset(place: Place) -> str:
    return "" if place.has_reset else "voice modems have no order to start anew"


@suite("unplugged", _can_be_unplugged)
async def test_unplugged_in_a_call_it_is_lost_and_plugged_in_again_it_carries_the_next(place: Place) -> None:
    assert place.unplug is not None
    assert place.plug is not None
    near, _ = await called(place)
    await place.unplug()
    await soon("the line to be lost", place.near.lost())
    assert await near.ended() == 27
    await place.plug()
    await soon("the line to be back", place.near.ready(), within_s=BACK_S)
    for rest in place.rests:
        await rest()
    await both_hear(place, *await called(place))


@suite("reset", _can_be_reset)
async def test_started_anew_it_comes_back_and_carries_a_call(place: Place) -> None:
    async with place.near.closed():
        await place.reset()
    await soon("the line to be back", place.near.ready(), within_s=BACK_S)
    await both_hear(place, *await called(place))
