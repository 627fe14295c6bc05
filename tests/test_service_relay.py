"""Relay calls through the whole service, on each pair of kinds of line: who dials the office talks with its owner."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import soundfile
import trio

from appliance.store import open_store
from hil.bench import Bench, BenchLine
from hil.listening import align, sound
from tests.rig import BORN, PHONE, Rig, likeness, open_customer, serve_voice, together
from tests.test_service_analog import words

OWNER = "+33612345678"
NUMBERS = {"ec25": "+3370000000{}", "usr5637": "+3315913335{}"}
# Far from any other words.
LEAST = 0.9
# Two devices hold what they hear back by so much more or less than each other.
APART_SAMPLES = 8000 * 0.15


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
        nursery.cancel_scope.cancel()


async def relay(directory: Path, came_by: str, dialed_by: str) -> None:
    asked, answered = words(1), words(2)
    async with open_office(directory, came_by, dialed_by) as rig:
        run = await rig.start()
        owner = rig.bench.subscriber(OWNER)
        owner.answers_after_s = 3
        # Who answers says a word: on an analog line nothing else tells that he has.
        owner.says = words(3)
        call = rig.phone.dial(rig.number)
        theirs = await owner.called()
        await call.answered()
        assert theirs.number == rig.bench.lines[1].number
        started = (await rig.customer.event("phone_call.started"))["data"]
        await theirs.said()
        call.say(asked)
        theirs.say(answered)
        await call.said()
        await theirs.said()
        await trio.sleep(0.5)
        theirs.hang_up()
        await call.ended()
        parties = {"from": PHONE, "to": OWNER, "relay_number": rig.number, "direction": "inbound"}
        assert parties.items() <= started.items()
        completed = await rig.customer.event("phone_call.completed")
        assert parties.items() <= completed["data"].items()
        assert completed["data"]["ended_reason"] == "hangup"
        assert rig.customer.events[:2] == ["phone_call.started", "phone_call.completed"]
        assert likeness(asked, theirs.heard()) >= LEAST
        assert likeness(answered, call.heard()) >= LEAST

        await run.logged("recorded")
        [mp3] = rig.recordings
        samples, _ = soundfile.read(mp3, dtype="int16")
        caller, callee = (align(sound(said), samples[:, side]) for side, said in ((0, asked), (1, answered)))
        assert min(caller.correlation, callee.correlation) >= LEAST
        assert abs(caller.delay_samples - callee.delay_samples) <= APART_SAMPLES
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
