"""A call through the whole service on a module of each kind of sound: a tty that is switched before, after or in the
call, a sound card of the module's own, and one that is soldered to it.
"""

import base64

import pytest

from hil.card import missing
from native import alaw_decode, alaw_encode
from tests.rig import likeness, open_rig, speech, together


# Far from any other words, and from half of these; how true the sound is is for tests that are not made of processes.
LEAST = 0.8


async def _converses(tmp_path, model):
    words, reply = speech(1, seed=1), speech(1, seed=2)
    async with open_rig(tmp_path, model=model) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        await call.answered()
        voice = await rig.voice.connection()
        await voice.next("start")
        await voice.next("media")
        call.say(words)
        spoken = base64.b64encode(alaw_encode(reply)).decode()
        await voice.send({"event": "playAudio", "media": {"payload": spoken}})
        await voice.send({"event": "checkpoint", "name": "said"})
        heard = b""
        while (message := await voice.receive())["event"] == "media":
            heard += base64.b64decode(message["media"]["payload"])
        await call.said()
        await call.press("5")
        while (message := await voice.receive())["event"] == "media":
            heard += base64.b64decode(message["media"]["payload"])
        assert message["dtmf"] == {"digit": "5"}
        call.hang_up()
        assert likeness(words, alaw_decode(heard)) >= LEAST
        assert likeness(reply, call.heard()) >= LEAST
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        assert run.faults == []


def _test(model, *, card=False):
    async def test(tmp_path):
        await _converses(tmp_path, model)

    return pytest.mark.skipif(bool(card and missing()), reason=missing())(together(test))


test_both_sides_hear_each_other_by_e1550 = _test("e1550")
test_both_sides_hear_each_other_by_e3131 = _test("e3131")
test_both_sides_hear_each_other_by_sim7600 = _test("sim7600")
test_both_sides_hear_each_other_by_ec25_uac = _test("ec25-uac", card=True)
test_both_sides_hear_each_other_by_sim800 = _test("sim800", card=True)
test_both_sides_hear_each_other_by_generic = _test("generic", card=True)
