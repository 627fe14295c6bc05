"""A SIM's messages by the driver, over every family that the bench has: what comes, what goes, and calls first."""

import pytest
import trio

from drivers.errors import CommandError
from drivers.line import Answered, Incoming, Released, Storage, Texting
from drivers.sms import Report, decode
from drivers.texts import SWEEP_S
from hil.storage import Status
from tests.gsm_rig import OURS, THEIRS, Clock
from tests.text_rig import FAMILIES, event, line_of, nothing, receive, rig_of, submit, text_of

# --- what comes ---


@pytest.mark.parametrize("name", FAMILIES)
async def test_a_message_is_handed_over_and_deleted_when_it_is_safe(autojump_clock: Clock, name: str) -> None:
    async with line_of(name) as (rig, line):
        assert isinstance(line, Texting)
        rig.phone.text(OURS, "Ça va ? \U0001f600")
        received = await receive(line)
        assert text_of(received) == "Ça va ? \U0001f600"
        await nothing(line, SWEEP_S + 10)
        assert sum(rig.slots.values()) == 1
        await line.texts.forget(received)
        assert rig.slots == {}


@pytest.mark.parametrize("name", FAMILIES)
async def test_what_was_stored_before_the_line_was_opened_is_found_in_every_memory(
    autojump_clock: Clock, name: str
) -> None:
    async with rig_of(name) as rig:
        for memory in ("ME", "SM"):
            rig.modem.module.values["memory 2"] = memory
            rig.phone.text(OURS, memory)
        assert rig.slots == {"ME": 1, "SM": 1}
        async with rig.line() as line:
            received = [await receive(line, 30) for _ in range(2)]
            assert sorted(map(text_of, received)) == ["ME", "SM"]
            for each in received:
                await line.texts.forget(each)
            assert rig.slots == {}


async def test_what_nobody_was_told_of_is_found_by_a_sweep(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.lost_news.add("+CMTI")
        rig.phone.text(OURS, "quiet")
        assert text_of(await receive(line, SWEEP_S + 5)) == "quiet"


@pytest.mark.parametrize(
    "news",
    [
        b"\r\n+CMTI: ,2\r\n",
        b'\r\n+CMTI: "SM",-1\r\n',
        b'\r\n+CMTI: "MT",0\r\n',
        b'\r\n+CMTI: "MT",1\r\n',
        b'\r\n^SMMEMFULL: "SM"\r\n',
    ],
)
async def test_news_without_a_place_is_a_reason_to_sweep(autojump_clock: Clock, news: bytes) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.lost_news.add("+CMTI")
        rig.phone.text(OURS, "somewhere")
        rig.modem.inject(news)
        received = await receive(line)
        assert text_of(received) == "somewhere"
        assert received.memory in ("SM", "ME")


async def test_a_storage_that_was_full_takes_what_waited_for_room(autojump_clock: Clock) -> None:
    async with rig_of("e173") as rig:
        for number in range(30):
            rig.phone.text(OURS, f"message {number}")
        assert rig.slots == {"SM": 20}
        async with rig.line() as line:
            texts: list[str] = []
            while len(texts) < 30:
                received = await receive(line, 60)
                texts.append(text_of(received))
                await line.texts.forget(received)
            assert sorted(texts) == sorted(f"message {number}" for number in range(30))
            assert rig.slots == {}
            assert line.texts.storage["SM"].total == 20


async def test_what_can_not_be_deleted_is_not_handed_over_again_and_goes_later(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.phone.text(OURS, "sticky")
        received = await receive(line)
        rig.modem.faults.refused["+CMGD"] = 314
        await line.texts.forget(received)
        await nothing(line, SWEEP_S + 10)
        assert sum(rig.slots.values()) == 1
        rig.modem.faults.refused.clear()
        await trio.sleep(SWEEP_S + 10)
        assert rig.slots == {}


async def test_flash_messages_are_acknowledged_when_they_are_safe(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.phone.text(OURS, "now!", flash=True)
        received = await receive(line)
        assert (received.memory, text_of(received)) == ("", "now!")
        assert rig.modem.module.unacknowledged is not None
        await line.texts.forget(received)
        assert rig.modem.module.unacknowledged is None


async def test_messages_that_others_wrote_to_the_sim_stay_there(autojump_clock: Clock) -> None:
    async with rig_of("ec25") as rig:
        rig.modem.module.storage.put("SM", submit("a draft"), Status.UNSENT)
        async with rig.line() as line:
            await nothing(line, 30)
            assert rig.slots == {"SM": 1}
            assert line.texts.storage["SM"] == Storage(1, 25)


async def test_a_sim_that_is_busy_at_first_is_asked_again(autojump_clock: Clock) -> None:
    async with rig_of("ec25") as rig:
        rig.phone.text(OURS, "early")
        rig.modem.faults.refused["+CPMS"] = 14
        async with rig.line() as line:
            await nothing(line, 20)
            rig.modem.faults.refused.clear()
            assert text_of(await receive(line, 30)) == "early"


# --- never in the way of calls ---


async def test_in_a_call_nothing_is_asked_and_after_it_all_is_there(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        call = rig.phone.dial(OURS)
        await event(line, Incoming)
        await line.answer()
        await event(line, Answered)
        rig.wire.take()
        rig.phone.text(OURS, "in a call")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.texts.send, submit("out of a call"))
            await trio.sleep(SWEEP_S + 60)
            sent = "".join(rig.wire.take())
            assert not any(word in sent for word in ("+CPMS", "+CMG", "+CNMI"))
            call.hang_up()
            await event(line, Released)
            assert text_of(await receive(line)) == "in a call"
            assert (await rig.phone.texted()).body == "out of a call"


async def test_a_call_that_comes_at_the_prompt_goes_first(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.wire.take()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.texts.send, submit("waits"))
            # Between AT+CMGS and the text there is a moment.
            while b"+CMGS" not in rig.wire.sent:  # noqa: ASYNC110  # the wire tells nobody
                await trio.sleep(0.01)
            await trio.sleep(0.05)
            call = rig.phone.dial(OURS)
            await event(line, Incoming)
            await line.answer()
            await event(line, Answered)
            assert b"\x1b" in rig.wire.sent
            assert b"\x1a" not in rig.wire.sent
            call.hang_up()
            with trio.fail_after(30):
                assert (await rig.phone.texted()).body == "waits"


async def test_a_prompt_that_never_comes_leaves_a_line_that_works(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.hung.add("+CMGS")
        with pytest.raises(CommandError, match="no prompt"):
            await line.texts.send(submit("x"))
        rig.modem.faults.hung.clear()
        assert await line.texts.send(submit("y")) == 1
        assert line.recoveries.timeouts == 0


# --- what goes ---


@pytest.mark.parametrize("name", FAMILIES)
async def test_messages_go_out_and_are_reported_on(autojump_clock: Clock, name: str) -> None:
    async with line_of(name) as (rig, line):
        rig.phone.takes_texts = False
        assert await line.texts.send(submit("hello", report=True)) == 1
        assert await line.texts.send(submit("world", report=True)) == 2
        rig.phone.takes_texts = True
        rig.phone.network.centre.knock(THEIRS, trio.current_time())
        references = set()
        for _ in range(2):
            received = await receive(line)
            report = decode(received.pdu)
            assert isinstance(report, Report)
            references.add(report.reference)
            await line.texts.forget(received)
        assert references == {1, 2}
        assert rig.slots == {}
        assert [text.body for text in rig.phone.texts] == ["hello", "world"]


async def test_a_refusal_is_told_with_its_number(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.refused["+CMGS"] = 38
        with pytest.raises(CommandError) as refusal:
            await line.texts.send(submit("x"))
        assert refusal.value.result == "+CMS ERROR: 38"


async def test_without_a_network_a_message_waits_for_one(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.set_coverage(2)
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.texts.send, submit("patient"))
            await trio.sleep(600)
            assert rig.phone.texts == []
            rig.modem.set_coverage(1)
            with trio.fail_after(30):
                assert (await rig.phone.texted()).body == "patient"


async def test_a_network_that_says_nothing_is_given_up_in_a_minute(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.slow["+CMGS"] = 100
        with trio.fail_after(70), pytest.raises(CommandError, match="no answer"):
            await line.texts.send(submit("x"))


async def test_a_message_sent_at_once_is_reported_on_too(autojump_clock: Clock) -> None:
    """The module drops what it has no route for."""
    async with rig_of("ec25") as rig, rig.line() as line:
        assert await line.texts.send(submit("hello", report=True)) == 1
        assert isinstance(decode((await receive(line)).pdu), Report)
