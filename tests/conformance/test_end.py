"""What ends a stream, and what becomes of its call then: SFVoPI, section 7.9, and 7.10 as far as a call is in it."""

from pathlib import Path

import pytest
import trio.testing

from drivers.line import Alerting, Answered
from tests.conformance.calls import Scene, open_scene
from tests.conftest import Connection
from tests.core import still
from tests.customer import Reply

TIMEOUT_S, TIME_LIMIT_S = 90, 14400


async def server_closes(scene: Scene, voice: Connection, clock: trio.testing.MockClock) -> None:
    voice.close(1000)


async def server_refuses(scene: Scene, voice: Connection, clock: trio.testing.MockClock) -> None:
    voice.close(1008)


async def server_is_asked_to_go_on_and_refuses(scene: Scene, voice: Connection, clock: trio.testing.MockClock) -> None:
    scene.voice.statuses += [403]
    voice.cut()
    await scene.tried(2, clock)


async def time_is_over(scene: Scene, voice: Connection, clock: trio.testing.MockClock) -> None:
    clock.jump(TIMEOUT_S)
    while await voice.receive() is not None:
        pass
    assert voice.close_code == 1000


async def server_is_gone(scene: Scene, voice: Connection, clock: trio.testing.MockClock) -> None:
    scene.voice.statuses += [500] * 3
    voice.cut()
    await scene.tried(4, clock)


# Each with why the call has ended then, in the box's own words, and how often the server was connected to.
CAUSES = {
    "7.9: the server closes with 1000": (server_closes, "customer", 1),
    "7.9: the server closes with 1008": (server_refuses, "customer", 1),
    "7.9: stream_timeout is reached": (time_is_over, "customer", 1),
    "7.9: reconnecting failed three times": (server_is_gone, "stream_lost", 4),
    "7.10: a handshake is answered 403 after a loss": (server_is_asked_to_go_on_and_refuses, "customer", 2),
}


@pytest.mark.parametrize("keep", [False, True], ids=["hang up", "keep_call_alive"])
@pytest.mark.parametrize("name", CAUSES)
async def test_end(tmp_path: Path, skipping_clock: trio.testing.MockClock, name: str, keep: bool) -> None:
    end, reason, attempts = CAUSES[name]
    async with open_scene(tmp_path) as scene:
        await scene.app()
        scene.customer.replies["/answer"] = scene.stream(keep_call_alive=keep, stream_timeout=TIMEOUT_S)
        scene.ring()
        voice = await scene.voice.connection()
        await voice.next("media")
        await end(scene, voice, skipping_clock)
        if keep:
            for _ in range(5):
                await still()
                skipping_clock.jump(100)
            assert (scene.line.orders, scene.paths) == (["answer"], ["/answer"])
            scene.line.release()
        ended = await scene.told("/hangup")
        assert ended["call_status"] == "COMPLETED"
        assert scene.line.orders == (["answer"] if keep else ["answer", "hang up"])
        assert scene.voice.handshakes == attempts
        assert scene.box.rows("SELECT reason FROM calls") == [("hangup" if keep else reason,)]


async def test_7_9_a_call_that_is_kept_alive_ends_at_its_time_limit(
    tmp_path: Path, skipping_clock: trio.testing.MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        scene.customer.replies["/answer"] = scene.stream(keep_call_alive=True)
        scene.ring()
        (await scene.voice.connection()).close(1000)
        await still()
        skipping_clock.jump(TIME_LIMIT_S)
        ended = await scene.told("/hangup")
        assert ended["call_status"] == "COMPLETED"
        assert ended["duration"] >= TIME_LIMIT_S
        assert scene.box.rows("SELECT reason FROM calls") == [("time_limit",)]


@pytest.mark.parametrize("direction", ["INBOUND", "OUTBOUND"])
async def test_7_9_when_a_party_hangs_up_the_socket_is_closed_with_1000_and_then_it_is_told(
    tmp_path: Path, direction: str
) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        codes: list[int | None] = []

        def hangup() -> Reply:
            codes.append(voice.close_code)
            return Reply()

        scene.customer.replies["/hangup"] = hangup
        await scene.talk(direction)
        voice = await scene.voice.connection()
        start = await voice.next("start")
        await voice.next("media")
        scene.line.release()
        ended = await scene.told("/hangup")
        assert codes == [1000]
        assert (ended["call_uuid"], ended["direction"]) == (start["callId"], direction)


async def test_7_9_a_party_hangs_up_while_the_server_is_away(
    tmp_path: Path, skipping_clock: trio.testing.MockClock
) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.app()
        scene.voice.statuses += [500] * 4
        await scene.place(Alerting(), Answered())
        await scene.tried(2, skipping_clock)
        scene.line.release()
        assert (await scene.told("/hangup"))["call_status"] == "COMPLETED"
        skipping_clock.jump(60)
        await still()
        assert scene.voice.handshakes <= 3
