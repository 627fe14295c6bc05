"""Relay calls through the whole service, on each pair of kinds of line: who dials the office talks with its owner."""

import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import soundfile
import trio

from appliance.store import open_store
from hil.bench import Bench, BenchLine
from hil.subscriber import PhoneCall, Subscriber
from tests.customer import Post, is_signed, open_customer
from tests.rig import BORN, PATIENCE_S, Rig, serve_voice, together
from tests.talks import TRIES, callers, greeting, is_in
from tests.test_service_analog import words
from tests.test_service_crash import frames, settle

OWNER = "+33612345678"
NUMBERS = {"ec25": "+3370000000{}", "usr5637": "+3315913335{}"}


@asynccontextmanager
async def open_office(directory: Path, *models: str) -> AsyncIterator[Rig]:
    """A rig with a line of each model; the first is a relay to the owner's phone."""
    plans = [BenchLine(f"line{at}", NUMBERS[model].format(at), model) for at, model in enumerate(models, 1)]
    async with (
        Bench(plans, directory=directory) as bench,
        open_customer() as customer,
        serve_voice() as voice,
        trio.open_nursery() as nursery,
    ):
        rig = Rig(directory, bench, customer, voice, nursery)
        await rig.furnish(linked=False)
        async with open_store(rig.data / "branchline.db") as store:
            await store.directory.buy(rig.number, project=1, forward_to=OWNER, country="FR", type_="mobile", at=BORN)
        yield rig
        assert rig.leaked() == []
        nursery.cancel_scope.cancel()


async def converse(one: PhoneCall, other: PhoneCall) -> Mapping[PhoneCall, bytes]:
    """In turn: an echo canceller that has just begun wants that. What they said and heard of each other."""
    said: dict[PhoneCall, bytes] = {}
    for seed in range(0, 2 * TRIES, 2):
        said = {one: words(seed), other: words(seed + 1)}
        for party in said:
            party.say(said[party])
            await party.said()
            await trio.sleep(0.3)
        # What a machine that is late has torn is said anew.
        if is_in(said[one], other.heard()) and is_in(said[other], one.heard()):
            return said
    raise AssertionError(f"{TRIES} times they did not hear each other")


async def relay(directory: Path, came_by: str, dialed_by: str) -> None:
    async with open_office(directory, came_by, dialed_by) as rig:
        run = await rig.start()
        owner = rig.bench.subscriber(OWNER)
        owner.answers_after_s = 3
        call = rig.phone.dial(rig.number)
        theirs = await owner.called()
        await call.answered()
        assert theirs.number == rig.bench.lines[1].number
        await theirs.answered()
        # On an analog line nothing else tells that he has answered.
        async with greeting(theirs):
            started = (await rig.customer.event("phone_call.started"))["data"]
        said = await converse(call, theirs)
        theirs.hang_up()
        await call.ended()
        assert started["from"] in callers(rig)
        parties = {"from": started["from"], "to": OWNER, "relay_number": rig.number, "direction": "inbound"}
        assert parties.items() <= started.items()
        completed = await rig.customer.event("phone_call.completed")
        assert parties.items() <= completed["data"].items()
        assert completed["data"]["ended_reason"] == "hangup"
        assert rig.customer.events[:2] == ["phone_call.started", "phone_call.completed"]

        await run.logged("recorded")
        [mp3] = rig.recordings
        samples, _ = soundfile.read(mp3, dtype="int16")
        for side, party in enumerate((call, theirs)):
            assert [is_in(said[party], samples[:, channel].tobytes()) for channel in (side, 1 - side)] == [True, False]
        again = await rig.customer.event("phone_call.completed", revision=2)
        assert again["data"]["recording_url"].startswith(f"{run.url}/rec/")
        assert rig.rows("SELECT line, role, to_, answered_at IS NOT NULL, reason FROM legs") == [
            ("line2", "owner", OWNER, 1, "hangup")
        ]
        assert run.faults == []


@together
async def test_5_a_sim_is_forwarded_by_another_sim(tmp_path: Path) -> None:
    await relay(tmp_path, "ec25", "ec25")


@together
async def test_5_a_sim_is_forwarded_by_an_analog_line(tmp_path: Path) -> None:
    await relay(tmp_path, "ec25", "usr5637")


@together
async def test_5_an_analog_line_is_forwarded_by_a_sim(tmp_path: Path) -> None:
    await relay(tmp_path, "usr5637", "ec25")


@together
async def test_5_an_analog_line_is_forwarded_by_another_analog_line(tmp_path: Path) -> None:
    await relay(tmp_path, "usr5637", "usr5637")


# --- the power goes ---


async def crash(point: str, directory: Path) -> None:
    """What is left of a call that was cut there, when the box is back; and that the next one goes well."""
    await trio.Path(directory).mkdir()
    async with open_office(directory, "ec25", "ec25") as rig:
        owner = rig.bench.subscriber(OWNER)
        run = await rig.start(BRANCHLINE_CRASH_AT=point)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, rig, owner)
            assert await run.ended() == -signal.SIGKILL
            nursery.cancel_scope.cancel()
        left = [frames(path) for path in rig.recordings if path.stat().st_size]
        run = await rig.start()
        assert [line.modem.calls for line in rig.bench.lines] == [[], []]
        assert rig.rows("SELECT reason FROM calls") == [("restart",)]
        assert rig.rows("SELECT * FROM legs WHERE ended_at IS NULL") == []
        for phone in (rig.phone, owner):
            for call in phone.calls:
                await call.ended()
        await talk(rig, owner)
        await settle(rig)
        calls = rig.rows("SELECT id, joined_at IS NOT NULL, reason FROM calls")
        ends = {"restart": "phone_call.error", "hangup": "phone_call.completed"}
        assert [reason for _, _, reason in calls] == ["restart", "hangup"]
        told = Counter((post.json["data"]["id"], post.json["type"]) for post in set_of_events(rig))
        expected = {(id_, "phone_call.started") for id_, joined, _ in calls if joined}
        assert set(told) == expected | {(id_, ends[reason]) for id_, _, reason in calls}
        assert sum(map(frames, rig.recordings)) >= sum(left)
        assert run.faults == []


def set_of_events(rig: Rig) -> list[Post]:
    posts = rig.customer.posts("/events")
    assert all(map(is_signed, posts))
    return list({post.json["id"]: post for post in posts}.values())


async def talk(rig: Rig, owner: Subscriber) -> None:
    """As far as the box lives to see it."""
    before = len(rig.customer.posts("/events"))
    call = rig.phone.dial(rig.number)
    await call.answered()
    await rig.customer.inbox.get(
        "that they talk",
        lambda post: post.json["type"] == "phone_call.started" and post in rig.customer.posts("/events")[before:],
        within_s=PATIENCE_S,
    )
    # More than the half second after which what was recorded is on the disk.
    await trio.sleep(0.8)
    owner.calls[-1].hang_up()
    await call.ended()


@together
async def test_the_power_goes_at_the_commits_of_a_relays_call(tmp_path: Path) -> None:
    turn = trio.CapacityLimiter(2)

    async def live(point: str) -> None:
        async with turn:
            await crash(point, tmp_path / point)

    async with trio.open_nursery() as nursery:
        for point in ("after.leg.dialed", "before.call.joined", "after.call.joined", "before.call.ended"):
            nursery.start_soon(live, point)
