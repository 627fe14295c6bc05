"""Calls through the whole service on an analog line: in and out, with sound, keys, and an end that is only heard."""

from pathlib import Path

import numpy

from hil.voiceboard import VoiceFaults
from tests.rig import PHONE, Client, open_rig, together
from tests.talks import both_speak, callers, greeting, pressed


def words(seed: int) -> bytes:
    """A second, without the low notes that an echo canceller takes away."""
    steps = numpy.random.default_rng(seed).normal(0, 3000, 8002)
    return numpy.convolve(steps, [1, 0, -1], "valid").clip(-30000, 30000).astype("<i2").tobytes()


@together
async def test_an_analog_line_is_called_and_calls(tmp_path: Path) -> None:
    async with open_rig(tmp_path, model="usr5637") as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        await call.answered()
        voice = await rig.voice.connection()
        asked = (await rig.customer.post("/answer")).json
        assert asked["from"] in callers(rig)
        assert (asked["to"], asked["direction"]) == (rig.number, "INBOUND")
        await voice.next("start")
        await voice.next("media")
        await both_speak(call, words(1), voice, words(2))
        assert await pressed(call, "5", voice) == "5"
        # The exchange says so by its busy tone, and by nothing else.
        call.hang_up()
        ended = (await rig.customer.post("/hangup")).json
        assert (ended["call_status"], ended["hangup_cause"]) == ("COMPLETED", "16")

        rig.phone.answers_after_s = 3
        async with Client(run) as client:
            await client.place(rig, PHONE)
            theirs = await rig.phone.called()
            await theirs.answered()
            async with greeting(theirs):
                voice = await rig.voice.connection()
            await voice.next("start")
            voice.close()
            assert await theirs.ended() == 16
            ended = await rig.customer.post("/hangup", direction="OUTBOUND")
            assert ended.json["call_status"] == "COMPLETED"
        assert run.faults == []


@together
async def test_a_modem_that_is_stuck_in_its_stream_loses_its_dtr_and_takes_the_next_call(tmp_path: Path) -> None:
    async with open_rig(tmp_path, model="cx93010") as rig:
        run = await rig.start()
        for calls, stuck in ((1, True), (2, False)):
            call = rig.phone.dial(rig.number)
            await call.answered()
            voice = await rig.voice.connection()
            await voice.next("media")
            faults = rig.line.faults
            assert isinstance(faults, VoiceFaults)
            faults.exit_ignored = stuck
            call.hang_up()
            await rig.customer.post("/hangup")
            if stuck:
                await run.logged("line1: dropping DTR")
            await run.logged("line1: idle", times=1 + calls)
        assert run.faults == []
