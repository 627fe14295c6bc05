"""The engine's news in Trio: to the right listener, in order, bounded, and one wake-up a tick."""

import socket
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from appliance.media import EVENTS_BOUND, Media, open_media
from native import Cleared, Codec, Engine, Event, Finished, Lane, Played, PortFailed, StreamPort


@pytest.fixture
async def media() -> AsyncIterator[Media]:
    with Engine() as engine:
        media = Media(engine)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(media.run)
            yield media
            nursery.cancel_scope.cancel()


def stream(media: Media) -> StreamPort:
    return media.engine.stream(Codec.PCMA, 8000, prefix=b"<", suffix=b">")


async def received(events: trio.MemoryReceiveChannel[Event], count: int) -> list[Event]:
    with trio.fail_after(20):
        return [await events.receive() for _ in range(count)]


async def test_events_go_to_the_listener_of_their_port_in_order(media: Media):
    one, other = stream(media), stream(media)
    with media.events_of(one) as ones, media.events_of(other) as others:
        one.checkpoint(1)
        other.checkpoint(7)
        one.clear(2)
        one.checkpoint(3)
        media.engine.tick()
        assert await received(ones, 2) == [Cleared(one, 2), Played(one, 3)]
        assert await received(others, 1) == [Played(other, 7)]


async def test_two_may_listen_to_one_port(media: Media):
    port = media.engine.player(bytes(320))
    with media.events_of(port) as first, media.events_of(port) as second:
        media.engine.tick(2)
        assert await received(first, 1) == await received(second, 1) == [Finished(port)]


async def test_who_stops_listening_is_told_nothing_and_harms_nobody(media: Media):
    port = stream(media)
    with media.events_of(port):
        pass
    with media.events_of(port) as events:
        port.checkpoint(1)
        media.engine.tick()
        assert await received(events, 1) == [Played(port, 1)]


async def test_a_listener_that_sleeps_loses_the_newest_and_it_is_counted(media: Media):
    idle, awake = stream(media), stream(media)
    with media.events_of(idle) as events, media.events_of(awake) as others:
        for mark in range(EVENTS_BOUND + 10):
            idle.checkpoint(mark)
        awake.checkpoint(0)
        media.engine.tick()
        assert await received(others, 1) == [Played(awake, 0)]
        assert media.lost_events == 10
        assert await received(events, EVENTS_BOUND) == [Played(idle, mark) for mark in range(EVENTS_BOUND)]


async def test_all_lanes_have_a_turn_after_a_tick_and_one_between_two(
    media: Media, autojump_clock: trio.testing.MockClock
):
    lanes, turns = [Lane(), Lane()], [0, 0]

    def taker(n: int) -> Callable[[], None]:
        def take() -> None:
            turns[n] += 1
            while lanes[n].frame():
                frames[n] += 1

        return take

    frames = [0, 0]
    for lane in lanes:
        lane.join(stream(media))
    with media.turns(lanes[0], taker(0)), media.turns(lanes[1], taker(1)):
        for tick in range(1, 6):
            media.engine.tick()
            await trio.testing.wait_all_tasks_blocked()
            assert frames == [tick, tick]
            await trio.sleep(0.02)
            assert turns == [2 * tick, 2 * tick]
    await trio.sleep(1)
    assert turns == [10, 10]


async def test_the_open_engine_ticks_by_itself_and_is_closed_behind():
    async with open_media() as media:
        port = stream(media)
        with media.events_of(port) as events:
            port.checkpoint(1)
            assert await received(events, 1) == [Played(port, 1)]
        engine = media.engine
        assert engine.stats().ticks > 0
    assert engine.fd == -1


async def test_a_line_whose_device_is_gone_is_told(media: Media):
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        port = media.engine.pcm(near.fileno())
        with media.events_of(port) as events:
            far.close()
            media.engine.tick(2)
            assert await received(events, 1) == [PortFailed(port, 0)]
