"""The engine's news in Trio: to the right listener, in order, bounded, and one wake-up a tick."""

import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from appliance.media import EVENTS_BOUND, LOOK_AFTER_S, Media, open_media
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
        # No more than 128 marks of a stream are told in a tick.
        media.engine.tick(10)
        assert await received(others, 1) == [Played(awake, 0)]
        assert media.lost_events == 10
        assert await received(events, EVENTS_BOUND) == [Played(idle, mark) for mark in range(EVENTS_BOUND)]


async def test_all_lanes_have_a_turn_after_a_tick_and_one_between_two(
    media: Media, autojump_clock: trio.testing.MockClock
):
    pairs = [socket.socketpair() for _ in range(2)]
    lanes = [Lane(near.fileno()) for near, _ in pairs]
    told: list[tuple[int, float]] = []
    with ExitStack() as stack:
        for number, (lane, (near, far)) in enumerate(zip(lanes, pairs, strict=True)):
            stack.enter_context(near)
            stack.enter_context(far)
            lane.join(stream(media))
            stack.enter_context(media.turns(lane, lambda n=number: told.append((n, trio.current_time()))))  # type: ignore[misc]
        for tick in range(5):
            media.engine.tick()
            await trio.testing.wait_all_tasks_blocked()
            # Sent, and nobody was woken for it.
            assert [len(far.recv(1000)) for _, far in pairs] == [2 + 4 + 4 + 216] * 2
            await trio.sleep(LOOK_AFTER_S / 2)
            for _, far in pairs:
                far.send(b"HTTP")
            await trio.sleep(LOOK_AFTER_S / 2 + 0.001)
            assert [(n, round(at, 4)) for n, at in told] == [(n, round(0.016 * tick + 0.015, 4)) for n in range(2)]
            assert [lane.take() for lane in lanes] == [b"HTTP"] * 2
            told.clear()


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
