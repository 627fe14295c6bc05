"""kill -9 of the whole service at each commit of a call, then a start and one more call: what is left of it all."""

import signal
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile
import trio

from hil.network import State
from hil.subscriber import PhoneCall
from tests.customer import Post, is_signed
from tests.rig import PATIENCE_S, Rig, open_rig, speech

COMMITS = ("call.incoming", "call.active", "recording.opened", "call.ended", "recording.encoded", "delivery.attempted")
POINTS = [f"{when}.{commit}" for commit in COMMITS for when in ("before", "after")]
# The first delivery tells that the call began, the second that it ended.
POINTS += ["before.delivery.attempted:2", "after.delivery.attempted:2"]
# Rigs at work at once: they wait more than they compute.
AT_ONCE = 3


@dataclass(frozen=True)
class Aftermath:
    """`frames` of each recording's file: as the crash left it, and in the end."""

    status: int
    frames_left: dict[str, int]
    frames: dict[str, int]
    # Id, uuid, answered, reason, how often its end was told; as far as there was one.
    calls: Sequence[tuple[int, str, bool, str, int]]
    posts: Sequence[Post]
    modem_calls: int
    said: Sequence[str]


async def crash(point: str, directory: Path) -> Aftermath:
    async with open_rig(directory) as rig:
        run = await rig.start(BRANCHLINE_CRASH_AT=point)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(converse, rig)
            status = await run.ended()
            nursery.cancel_scope.cancel()
        frames_left = {path.stem: frames(path) for path in rig.recordings if path.stat().st_size}

        run = await rig.start()
        # What was up is hung up by now. Who still rings is answered, as a call of its own.
        for call in rig.phone.calls:
            if call.state is not State.ENDED:
                await call.answered()
                await hang_up_in_stream(rig, call)
        call = rig.phone.dial(rig.number)
        await call.answered()
        await hang_up_in_stream(rig, call)
        await settle(rig)
        await run.logged(f"{rig.line.name}: idle")
        return Aftermath(
            status=status,
            frames_left=frames_left,
            frames={path.stem: frames(path) for path in rig.recordings},
            calls=rig.rows("SELECT id, uuid, answered_at IS NOT NULL, reason, revision FROM calls ORDER BY id"),
            posts=rig.customer.inbox.all,
            modem_calls=len(rig.line.modem.calls),
            said=run.faults,
        )


async def converse(rig: Rig) -> None:
    """As far as the box lives to see it."""
    call = rig.phone.dial(rig.number)
    await call.answered()
    call.say(speech(2, seed=1))
    await hang_up_in_stream(rig, call)


async def hang_up_in_stream(rig: Rig, call: PhoneCall) -> None:
    voice = await rig.voice.connection()
    # More than the half second after which what was recorded is on the disk.
    for _ in range(40):
        if await voice.receive() is None:
            # The box died.
            return
    call.hang_up()


async def settle(rig: Rig) -> None:
    """Returns when nothing is left to do. Nobody tells that; it can be seen."""
    queries = [
        "SELECT 1 FROM calls WHERE ended_at IS NULL",
        "SELECT 1 FROM deliveries WHERE state = 'pending'",
        "SELECT 1 FROM recordings WHERE sha256 IS NULL",
    ]
    with trio.fail_after(PATIENCE_S):
        # The WAV goes after the last commit.
        while any(map(rig.rows, queries)) or not all_encoded(rig.recordings):  # noqa: ASYNC110
            await trio.sleep(0.05)


def all_encoded(recordings: Sequence[Path]) -> bool:
    return all(path.suffix == ".mp3" for path in recordings)


def frames(recording: Path) -> int:
    """Raises for what is no recording."""
    return int(soundfile.info(recording).frames)


@pytest.fixture(scope="module")
def aftermaths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Aftermath | Exception]:
    """All points' worlds, some at a time."""
    aftermaths: dict[str, Aftermath | Exception] = {}

    async def live(point: str, turn: trio.CapacityLimiter) -> None:
        async with turn:
            try:
                aftermaths[point] = await crash(point, tmp_path_factory.mktemp("box"))
            except Exception as exc:
                aftermaths[point] = exc

    async def live_all() -> None:
        turn = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for point in POINTS:
                nursery.start_soon(live, point, turn)

    trio.run(live_all)
    return aftermaths


@pytest.fixture(params=POINTS)
def aftermath(request: pytest.FixtureRequest, aftermaths: dict[str, Aftermath | Exception]) -> Aftermath:
    found = aftermaths[request.param]
    if isinstance(found, Exception):
        raise found
    assert found.status == -signal.SIGKILL, "the point came by"
    return found


def test_no_event_is_lost_and_none_is_told_under_two_ids(aftermath):
    """What must be told stands in the rows; a restart is our own fault, a hang-up is a call that went well."""
    told = defaultdict(set)
    for post in aftermath.posts:
        if post.path == "/events":
            data = post.json["data"]
            told[data["id"], post.json["type"], data["revision"]].add(post.json["id"])
    expected = {(id_, "phone_call.started", 1) for id_, _, answered, _, _ in aftermath.calls if answered}
    for id_, _, _, reason, revision in aftermath.calls:
        end = "phone_call.error" if reason == "restart" else "phone_call.completed"
        expected |= {(id_, end, number) for number in range(1, revision + 1)}
    assert set(told) == expected
    assert [len(ids) for ids in told.values()] == [1] * len(told)
    assert all(is_signed(post) for post in aftermath.posts if post.path == "/events")


def test_who_was_recorded_is_told_where_that_is(aftermath):
    """In the last of what is told of the call's end; a recording with nothing in it is none."""
    heard = defaultdict(dict)
    for post in aftermath.posts:
        if post.path == "/events" and post.json["data"]["ended_reason"]:
            heard[post.json["data"]["id"]][post.json["data"]["revision"]] = post.json["data"]["recording_url"]
    for id_, uuid, *_, revision in aftermath.calls:
        assert (heard[id_][revision] is not None) == (uuid in aftermath.frames)


def test_no_call_is_left_open_and_the_modem_is_on_hook(aftermath):
    assert {reason for _, _, _, reason, _ in aftermath.calls} <= {"hangup", "restart"}
    assert aftermath.calls[-1][3] == "hangup", "the last call went well"
    assert aftermath.modem_calls == 0


def test_a_call_that_was_cut_has_its_hangup_webhook(aftermath):
    hangups = [post.json for post in aftermath.posts if post.path == "/hangup"]
    told = Counter((hangup["call_uuid"], hangup["call_status"]) for hangup in hangups)
    cut = {(uuid, "FAILED") for _, uuid, _, reason, _ in aftermath.calls if reason == "restart"}
    assert cut == {call for call in told if call[1] == "FAILED"}
    assert set(told.values()) == {1}


def test_a_recording_is_readable_after_the_crash_and_whole_after_the_start(aftermath):
    left = {uuid: frames for uuid, frames in aftermath.frames_left.items() if frames}
    assert all(aftermath.frames[uuid] >= frames for uuid, frames in left.items())
    assert aftermath.calls[-1][1] in aftermath.frames


def test_the_start_after_a_crash_finds_nothing_wrong(aftermath):
    assert aftermath.said == []
