"""The fifteen pains of modem users (modem-pain.md), in their order: each is made on the bench, and its bar held.

What a pain has beside its bar is in the test files of the modules concerned.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy
import pytest
import trio
import trio.testing

from appliance.soundcheck import LOOK_EVERY_S, Alarm, Soundcheck
from appliance.trunk import Lost, Trunk
from drivers import sms
from drivers.errors import LineLost
from drivers.gsm import GsmLine
from drivers.line import Answered, Digit, Incoming, LineState, Released
from drivers.models import MODELS, Sound
from drivers.sms import Deliver
from drivers.usb import Ports, at_port, ports_of, scan
from drivers.userdata import split
from hil.network import Cause
from hil.plans import PLANS
from hil.subscriber import Subscriber
from hil.usbtree import VENDOR, Gadget, UsbTree
from native import PcmStats
from tests import analog, gsm_bench, text_box
from tests.gsm_rig import IDLE, IN_USE, OURS, SEARCHING, THEIRS, Clock, events, make_rig, quiet, talking, why_not
from tests.jacks import TestJack
from tests.speech import speech

# One for each way that sound is switched, calls are told, and keys are heard.
FAMILIES = ("e173", "ec25", "ep06", "sim7600", "sim800", "a7672", "generic")
ON_TTYS = ("e173", "ec25", "sim7600")
each_family = pytest.mark.parametrize("family", FAMILIES)
each_on_a_tty = pytest.mark.parametrize("family", ON_TTYS)
NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)


@asynccontextmanager
async def sounding(rig: gsm_bench.Rig, **phone: object) -> AsyncIterator[None]:
    """A call that we have answered, with its sound."""
    call = rig.phone(**phone).dial(OURS)  # type: ignore[arg-type]
    assert [await rig.next(), await rig.next()] == [Incoming(THEIRS), IN_USE]
    await rig.line.answer()
    async with rig.sound() as rig.port:
        assert await rig.next() == Answered()
        await call.answered()
        yield


@each_family
async def test_pain_01_a_command_that_hangs_ends_no_call_and_a_dead_port_is_known_in_time(
    family: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, family)
    async with talking(rig) as (line, call):
        rig.modem.faults.hung = {"+CLCC"}
        await quiet(line, 60)
        assert line.recoveries.timeouts > 0
        assert line.recoveries.silent_s > 0
        rig.modem.faults.hung = set()
        await quiet(line, 10)
        call.hang_up()
        assert await events(line, 2, within_s=10) == [Released(16), IDLE]
        rig.modem.faults.deaf = True
        deaf_at = trio.current_time()
        with pytest.raises(LineLost) as caught:
            await events(line, 1)
        assert trio.current_time() - deaf_at < 40
        # From here on the outage is measured.
        assert caught.value.silent_since is not None
        rig.modem.faults.deaf = False


@each_on_a_tty
async def test_pain_02_a_call_without_sound_is_told_within_two_seconds_and_how(
    family: str, tmp_path: Path, autojump_clock: Clock
) -> None:
    async with gsm_bench.open_rig(family, tmp_path) as rig, sounding(rig):
        for alarm, begin in ((Alarm.DIGITAL_SILENCE, lambda: None), (Alarm.NO_DOWNLINK, rig.modem.stop_sound)):
            begin()
            began = trio.current_time()
            check = Soundcheck(began, rig.port.stats())
            found: frozenset[Alarm] = frozenset()
            while not found:
                await trio.sleep(LOOK_EVERY_S)
                found, _ = check.look(rig.port.stats(), trio.current_time())
            assert found == {alarm}
            assert trio.current_time() - began <= 2
            assert rig.line.state is LineState.IN_USE


@each_on_a_tty
async def test_pain_02_a_stick_without_voice_says_so_when_it_is_plugged_in(
    family: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, family, voice=False)
    assert "reports no voice" in await why_not(rig)


async def test_pain_03_parts_come_in_any_order_twice_with_used_references_and_over_restarts(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    def parts(text: str, hours: int) -> list[str]:
        at = NOON + timedelta(hours=hours)
        return [sms.encode(Deliver(THEIRS, data, at)) for data in split(text, reference=7)]

    morning, noon = "😀 Good morning, and all the best. " * 8, "Mahlzeit! " * 40
    early, late = parts(morning, 0), parts(noon, 24)
    for given in ([early[-1], early[0]], [early[0], *early[1:-1]], [*late[::-1], *early]):
        async with text_box.open_box(tmp_path) as box:
            texts = box.attend()
            texts.give(*given)
            # Durable before it is deleted.
            await texts.emptied()
            told = [message.text for message in await box.messages()]
    assert told == [morning, noon]


async def test_pain_04_ttys_are_found_by_port_and_interface_whatever_their_names(tmp_path: Path) -> None:
    tree, ids = UsbTree(tmp_path), MODELS["ec25"].usb
    gadget = Gadget(0x2C7C, 0x0125, dict.fromkeys(range(5), VENDOR), (0, 1, 2, 3))
    seen = set()
    for _ in range(4):
        names = tree.plug("1-1.2", gadget, {})
        (found,) = ports_of(at_port(scan(tree.sysfs, tree.dev), "1-1.2", "Quectel EC25", ids), ids, Sound.PCM)
        assert found == Ports(at=names[2], pcm=names[1])
        seen.add(found.at)
        tree.unplug("1-1.2")
    assert len(seen) > 1


@each_family
async def test_pain_04_a_modem_that_is_pulled_out_drops_its_call_in_two_seconds(
    family: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, family)

    async def life() -> None:
        async with talking(rig) as (line, _):
            rig.modem.unplug()
            with trio.fail_after(2):
                await line.next_event()

    with pytest.raises(ExceptionGroup) as caught:
        await life()
    assert caught.group_contains(LineLost, match="the device is gone")


@each_on_a_tty
async def test_pain_05_delay_stays_small_however_fast_the_modem_s_clock_and_however_its_usb_stalls(
    family: str, tmp_path: Path, autojump_clock: Clock
) -> None:
    async with gsm_bench.open_rig(family, tmp_path) as rig:
        rig.modem.faults.drift_ppm = 200
        rig.modem.faults.stalls = True
        async with sounding(rig, says=speech(5) * 12):
            for _ in range(4):
                await trio.sleep(10)
                rig.modem.stall(0.5)
                await trio.sleep(5)
                stats = rig.port.stats()
                assert isinstance(stats, PcmStats)
                assert stats.depth_ms < 200
            assert stats.received_bytes > 0.9 * 2 * 8000 * 60


async def test_pain_05_a_sim7600_that_wears_out_is_restarted_between_calls(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, "sim7600")

    async def lives() -> None:
        async with rig.idle_line() as line:
            for after in ([Released(16), IDLE], [Released(16)]):
                call = rig.phone().dial(OURS)
                assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
                await line.answer()
                assert await events(line, 1) == [Answered()]
                await trio.sleep(20)
                assert rig.modem.module.audible
                assert "AT+CRESET" not in rig.wire.take()
                call.hang_up()
                assert await events(line, len(after)) == after
            await events(line, 9)

    with pytest.raises(ExceptionGroup) as caught:
        await lives()
    assert caught.group_contains(LineLost)
    assert "AT+CRESET" in rig.wire.take()


@each_family
async def test_pain_06_ussd_is_text_in_every_family(family: str, nursery: trio.Nursery, autojump_clock: Clock) -> None:
    rig = await make_rig(nursery, family)
    async with rig.idle_line() as line:
        assert (await line.texts.ussd("*101#")).text == "Баланс: 5 €"
        assert (await line.texts.ussd("*100#")).text == "1. Balance\n2. Top up\n0. Exit"
        assert (await line.texts.ussd("1")).text == "5.00 EUR"


async def test_pain_07_what_fails_in_one_line_s_tasks_ends_no_other_line_s_call(
    nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rigs = [await make_rig(nursery, "ec25"), await make_rig(nursery, "sim7600")]
    trunks = [Trunk(rig.model.title, OURS, jack=TestJack(rig.line), ring=lambda *_: None) for rig in rigs]
    broken = trio.Event()

    async def attend(number: str, line: object) -> None:
        await broken.wait()
        raise AssertionError("a case that nobody thought of")

    trunks[0].attend = attend
    for rig, trunk in zip(rigs, trunks, strict=True):
        rig.phone()
        nursery.start_soon(trunk.keep)
        await trunk.until(lambda trunk: trunk.state is LineState.IDLE)
    seizures = [trunk.seize() for trunk in trunks]
    for seizure in seizures:
        await seizure.line.dial(THEIRS)
    await trio.sleep(20)
    assert [len(rig.modem.calls) for rig in rigs] == [1, 1]
    broken.set()
    with trio.fail_after(15):
        while await seizures[0].told.receive() != Lost():
            pass
    broken = trio.Event()
    # Nobody pays for a call that the fault left behind.
    await trio.sleep(15)
    assert [len(rig.modem.calls) for rig in rigs] == [0, 1]
    assert (trunks[0].state, trunks[1].state) == (LineState.IDLE, LineState.IN_USE)
    assert trunks[1].losses == 0


@pytest.mark.parametrize("family", ["ec25", "sim7600", "a7672"])
async def test_pain_08_a_line_on_lte_alone_is_told_to_have_no_voice_until_ims_is_there(
    family: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, family, ims=False)
    async with rig.idle_line() as line:
        assert line.radio.ims is False
        rig.modem.inject(b"\r\n+CREG: 0\r\n")
        assert await events(line, 1) == [SEARCHING]
        assert line.radio.technology == "LTE"


@each_family
async def test_pain_08_falling_back_for_a_call_is_no_end_of_it_and_no_answer(
    family: str, tmp_path: Path, autojump_clock: Clock
) -> None:
    async with gsm_bench.open_rig(family, tmp_path) as rig:
        rig.modem.faults.false_no_carrier = rig.modem.faults.early_answer = True
        phone = rig.phone(answers_after_s=14, says=speech(3))
        await rig.line.dial(THEIRS)
        async with rig.sound():
            while await rig.next() != Answered():
                pass
            answered_at = phone.calls[0].answered_at
            assert answered_at is not None
            assert trio.current_time() - answered_at < 1.5
            await rig.nothing(30)


NEWS = ("RING", "+CRING", "+CLIP", '+QIND: "ccinfo"', "^DSCI", "+CLCC", "^")


@each_family
async def test_pain_09_any_one_sign_of_a_caller_is_one_call_and_so_is_none(
    family: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, family)
    async with rig.idle_line() as line:
        for left in (*NEWS, "nothing"):
            rig.modem.faults.lost_news = {news for news in NEWS if not (news.startswith(left) or left == news)}
            for withheld in (False, True):
                call = rig.phone().dial(OURS, withheld=withheld)
                assert await events(line, 2, within_s=12) == [Incoming(None if withheld else THEIRS), IN_USE]
                await quiet(line, 15)
                rig.modem.faults.lost_news = set()
                call.hang_up()
                assert await events(line, 2) == [Released(16), IDLE]
                await quiet(line, 15)


@each_family
async def test_pain_10_what_the_modem_forgets_to_tell_is_found_and_counted(
    family: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, family)
    async with talking(rig) as (line, call):
        await trio.sleep(1)
        # A hang-up that nobody tells of: else the line is in use for ever.
        rig.modem.faults.lost_news = {*NEWS, "NO CARRIER", "BUSY", "VOICE CALL", "MISSED_CALL"}
        call.hang_up()
        assert await events(line, 2, within_s=10) == [Released(16), IDLE]
        # And one that was told of, and is none.
        assert line.recoveries.repairs == 1
        rig.modem.faults.lost_news = set()
        call = rig.phone().dial(OURS)
        assert (await events(line, 2))[0] == Incoming(THEIRS)
        await line.answer()
        assert await events(line, 1) == [Answered()]
        await trio.sleep(1)
        rig.modem.inject(b"\r\nNO CARRIER\r\n")
        await quiet(line, 30)
        assert line.state is LineState.IN_USE


@pytest.mark.parametrize("model", ["usr5637", "cx93010", "zoom3095", "v253"])
async def test_pain_11_an_analog_modem_goes_off_hook_and_leaves_the_line_whatever_it_says(
    model: str, autojump_clock: Clock
) -> None:
    async with analog.open_line(model) as rig:
        rig.modem.faults.late_rings = 3
        call = rig.phone().dial(rig.number)
        assert isinstance(await rig.next(), Incoming)
        assert await rig.next() == IN_USE
        await rig.line.answer()
        async with rig.sound():
            assert await rig.next() == Answered()
            await call.answered()
            rig.modem.faults.exit_ignored = True
            await trio.sleep(5)
            call.hang_up()
            assert [await rig.next(20), await rig.next()] == [Released(16), IDLE]
        assert not rig.modem.voice_modem.daa.off_hook
        assert rig.line.recoveries.repairs == 1


@pytest.mark.parametrize("family", ["e173", "ec25", "sim7600", "sim800", "a7672", "generic"])
async def test_pain_12_a_key_is_one_digit_by_the_module_or_the_engine_and_speech_is_none(
    family: str, tmp_path: Path, autojump_clock: Clock
) -> None:
    async with gsm_bench.open_rig(family, tmp_path) as rig, sounding(rig, says=speech(12, seed=3)):
        rig.modem.faults.key_repeats = 1
        await rig.nothing(13)
        phone = rig.bench.phone(THEIRS)
        # In the sound, and in the module's own news.
        await phone.calls[0].press("1")
        await trio.sleep(0.5)
        await phone.calls[0].press("1590*#")
        assert [await rig.next() for _ in "11590*#"] == [Digit(key) for key in "11590*#"]
        await rig.nothing(5)


@pytest.mark.parametrize("family", ["e1550", *FAMILIES])
async def test_pain_13_a_second_caller_hears_busy_and_the_first_call_goes_on(
    family: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, family)
    async with talking(rig) as (line, call):
        # The network's service is off, for who asks it; and when a network ignores that, the caller is refused.
        for network_waits in (False, True):
            if network_waits:
                rig.modem.module.values["waiting"] = "1"
            number = f"+3361234567{network_waits:d}"
            second = Subscriber(number, rig.network, nursery).dial(OURS)
            assert await second.ended() == Cause.BUSY
            await quiet(line, 10)
            assert (line.state, len(rig.modem.calls)) == (LineState.IN_USE, 1)
            # E1550 mutes the one with the other.
            assert rig.modem.module.audible
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]


@pytest.mark.parametrize("family", ["uc20", "ec20", "ec25", "eg25", "ep06"])
async def test_pain_14_a_module_s_sidetone_is_off(family: str, nursery: trio.Nursery, autojump_clock: Clock) -> None:
    rig = await make_rig(nursery, family)
    async with rig.idle_line():
        assert rig.modem.module.parameter("+QSIDET") == "0"


async def test_pain_14_an_analog_line_s_echo_is_taken_out(autojump_clock: Clock) -> None:
    said = speech(14, seed=2)
    async with analog.open_line(plan=replace(PLANS["FR"], echo_db=12.0)) as rig:
        rig.phone().dial(rig.number)
        assert isinstance(await rig.next(), Incoming)
        await rig.line.answer()
        async with rig.sound() as ours:
            recorder = rig.engine.recorder()
            rig.engine.connect(ours.port, recorder.left)
            rig.engine.connect(rig.engine.player(said), ours.port)
            await trio.sleep(14)
            left = numpy.frombuffer(recorder.read(), "<i2")[0::2].astype(float)
        last_s = numpy.frombuffer(said, "<i2")[-4 * 8000 :].astype(float)
        assert 20 * numpy.log10(numpy.std(last_s) / numpy.std(left[-4 * 8000 :])) > 20


@each_family
async def test_pain_15_a_hundred_calls_leave_nothing_behind_and_say_little(
    family: str, nursery: trio.Nursery, autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # SIM7600 is restarted after each call that wore it out: that is pain 5.
    rig = await make_rig(nursery, family)

    async def call_once(line: GsmLine) -> None:
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]
        await trio.sleep(3)
        call.hang_up()
        assert await events(line, 2) == [Released(16), IDLE]
        for sound in rig.sounds:
            sound.close()
        rig.sounds.clear()
        rig.pcm.clear()

    calls = 1 if family == "sim7600" else 100
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(rig.idle_line())
        await call_once(line)
        open_before, said_before = len(os.listdir("/proc/self/fd")), len(caplog.records)
        for _ in range(calls - 1):
            await call_once(line)
        assert len(os.listdir("/proc/self/fd")) == open_before
        assert (len(caplog.records) - said_before) <= 4 * calls
        assert line.recoveries.timeouts == line.recoveries.repairs == 0
