"""A call through the whole service on a module of each kind of sound: a tty that is switched before, after or in the
call, a sound card of the module's own, and one that is soldered to it.
"""

import numpy
import pytest

from hil.card import missing
from hil.listening import tone
from native import RATE_HZ
from tests.rig import open_rig, together
from tests.talks import both_speak, pressed

# Nothing that the network or a module makes, and no part of a key.
CALLERS_HZ, CUSTOMERS_HZ = 500, 1800
LOOK_SAMPLES = RATE_HZ // 10


def _has_tone(sound, hz):
    """For a tenth of a second anywhere: how true sound is, and without gaps, is for tests that no load can disturb."""
    samples = numpy.frombuffer(sound, "<i2").astype(float)
    wave = numpy.exp(-2j * numpy.pi * hz * numpy.arange(LOOK_SAMPLES) / RATE_HZ)
    looks = [samples[at : at + LOOK_SAMPLES] for at in range(0, len(samples) - LOOK_SAMPLES, LOOK_SAMPLES // 4)]
    loud = [look for look in looks if numpy.sqrt(numpy.mean(look**2)) > 500]
    # A sine alone has half of its energy in each of two frequencies.
    return any(2 * abs(look @ wave) ** 2 / LOOK_SAMPLES > 0.9 * (look @ look) for look in loud)


async def _converses(tmp_path, model):
    tones = {tone(hz, 1).tobytes(): hz for hz in (CALLERS_HZ, CUSTOMERS_HZ)}
    words, reply = tones
    async with open_rig(tmp_path, model=model) as rig:
        run = await rig.start()
        call = rig.phone.dial(rig.number)
        await call.answered()
        voice = await rig.voice.connection()
        await voice.next("start")
        await voice.next("media")
        await both_speak(call, words, voice, reply, is_heard=lambda said, heard: _has_tone(heard, tones[said]))
        assert await pressed(call, "5", voice) == "5"
        call.hang_up()
        assert (await rig.customer.post("/hangup")).json["call_status"] == "COMPLETED"
        # ALSA writes of its own when the machine is late.
        assert [fault for fault in run.faults if not fault.startswith("ALSA lib")] == []


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
