"""Messages between a line and the database: what comes, what goes, and to whom."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from appliance.message import PATIENCE_S, RETRY_AFTER_S, PartState
from appliance.numbers import DialingRules
from appliance.texting import PACE_S, WRITE_AGAIN_S
from drivers import sms
from drivers.errors import CommandError, LineLost
from drivers.sms import Report
from tests.text_box import LONG, NOON, OURS, THEIRS, Clock, TestLine, open_box, parts

# --- what comes ---


async def test_what_came_is_told_without_the_part_that_did_not(autojump_clock: Clock, tmp_path: Path) -> None:
    first, _, third = parts(LONG)
    async with open_box(tmp_path) as box:
        texts = box.attend()
        texts.give(third, first)
        await texts.emptied()
        assert await box.messages() == []
        (message,) = await box.until(["received"])
        assert trio.current_time() >= PATIENCE_S
        assert message.text == LONG[:153] + LONG[306:]
        assert [part.state.value for part in message.parts] == ["received", "missing", "received"]
        assert len(box.rows("SELECT 1 FROM deliveries")) == 1


async def test_what_waits_for_its_rest_waits_over_a_restart(autojump_clock: Clock, tmp_path: Path) -> None:
    first, second, third = parts(LONG)
    for early in ([second], [first, second], []):
        async with open_box(tmp_path) as box:
            texts = box.attend()
            texts.give(*early)
            await texts.emptied()
            assert await box.messages() == []
    async with open_box(tmp_path) as box:
        texts = box.attend()
        texts.give(third)
        (message,) = await box.until(["received"])
        assert message.text == LONG


async def test_the_same_again_is_thanked_for_and_not_told(autojump_clock: Clock, tmp_path: Path) -> None:
    """From a SIM that was not emptied in time, or by a service centre that did not hear our thanks."""
    async with open_box(tmp_path) as box:
        texts = box.attend()
        texts.give(*parts("hello"), *parts(LONG), *parts("hello"), *parts(LONG)[::-1])
        await texts.emptied()
        assert [message.text for message in await box.messages()] == ["hello", LONG]
        texts.give(*parts("hello", at=NOON + timedelta(seconds=1)))
        assert len(await box.until(["received"] * 3)) == 3


async def test_what_nobody_can_read_is_kept_as_it_is(autojump_clock: Clock, tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        texts = box.attend()
        texts.give("0102", *parts("hello"))
        unreadable, hello = await box.until(["received"] * 2)
        assert (unreadable.from_, unreadable.text, unreadable.parts[0].pdu) == ("unknown", "", "0102")
        assert hello.text == "hello"
        await texts.emptied()


async def test_while_nothing_can_be_written_the_sim_keeps_it(autojump_clock: Clock, tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        texts = box.attend()
        first, second, third = parts(LONG)
        texts.give(first)
        await texts.emptied()
        box.rows("ALTER TABLE message_parts RENAME TO away")
        texts.give(second, third)
        await trio.sleep(3 * WRITE_AGAIN_S)
        assert len(texts.sim) == 2
        box.rows("ALTER TABLE away RENAME TO message_parts")
        (message,) = await box.until(["received"])
        assert message.text == LONG
        await texts.emptied()


async def test_a_part_that_was_not_written_when_its_line_was_lost_is_none(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    first, second, third = parts(LONG)
    async with open_box(tmp_path) as box:
        with closing(sqlite3.connect(box.path)) as other, capture_logs() as logs:
            other.execute("BEGIN IMMEDIATE")
            box.nursery.start_soon(box.post)
            # Its commit waits for the other program's, and all others wait for it.
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                line = TestLine()
                nursery.start_soon(box.postbox.attend, OURS, line)  # type: ignore[arg-type]
                line.texts.give(first)
                while not any(entry["event"] == "message part" for entry in logs):  # noqa: ASYNC110
                    await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
            other.rollback()
        texts = box.attend()
        texts.give(first, second, third, parts(LONG, reference=2)[0])
        await texts.emptied()
        # Long after it would have been given up.
        messages = await box.until(["sent", "received", "received"])
        assert [message.text for message in messages[1:]] == [LONG, LONG[:153]]


# --- what goes ---


async def test_messages_are_sent_in_turn_and_at_a_pace(autojump_clock: Clock, tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        for text in (LONG, "second"):
            await box.post(text)
        texts = box.attend()
        await box.until(["sent", "sent"])
        times = [at for at, _ in texts.sent]
        assert [message.data.part and message.data.part.number for _, message in texts.sent] == [1, 2, 3, None]
        assert all(later - earlier >= PACE_S for earlier, later in pairwise(times))
        assert texts.sent[0][1].validity_s == 86400
        assert texts.sent[0][1].report


async def test_what_may_pass_is_tried_again_later_each_time(autojump_clock: Clock, tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        texts = box.attend()
        texts.refusals = [CommandError("AT+CMGS", f"+CMS ERROR: {code}") for code in (38, 41, 500)]
        began = trio.current_time()
        await box.post()
        (message,) = await box.until(["sent"])
        assert trio.current_time() - began >= sum(RETRY_AFTER_S[:3])
        assert (message.parts[0].attempts, message.parts[0].error) == (4, None)


async def test_a_line_that_is_lost_takes_nothing_along(autojump_clock: Clock, tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        texts = box.attend()
        texts.refusals = [LineLost("gone")]
        await box.post(LONG)
        await texts.until(lambda: not texts.refusals)
        assert (await box.until(["queued"]))[0].parts[0].attempts == 0
        texts = box.attend()
        await box.until(["sent"])
        assert len(texts.sent) == 3


async def test_a_message_that_takes_its_line_along_rests_like_any_that_fails(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    lost_at: list[float] = []
    async with open_box(tmp_path) as box:
        await box.post("deadly")
        await box.post("harmless")
        while len(lost_at) < 4:
            texts = box.attend()
            texts.deadly = "deadly"
            await texts.over.wait()
            lost_at.append(trio.current_time())
        texts = box.attend()
        deadly, harmless = await box.until(["sent", "sent"])
        assert [later - earlier for earlier, later in pairwise(lost_at)] >= list(RETRY_AFTER_S[:3])
        assert (deadly.parts[0].attempts, harmless.parts[0].attempts) == (5, 1)
        assert [sent.data.text for _, sent in texts.sent] == ["deadly"]


async def test_what_waits_too_long_for_its_line_expires(autojump_clock: Clock, tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        await box.post(LONG, validity_s=300)
        (message,) = await box.until(["expired"])
        assert Counter(part.state for part in message.parts) == {PartState.EXPIRED: 3}
        texts = box.attend()
        await box.post("in time")
        await box.until(["expired", "sent"])
        assert len(texts.sent) == 1


async def test_what_waits_too_long_for_the_network_is_not_sent_when_it_is_back(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    async with open_box(tmp_path) as box:
        texts = box.attend()
        texts.network = trio.Event()
        await box.post(LONG, validity_s=300)
        await box.until(["expired"])
        texts.network.set()
        await box.post("in time")
        await box.until(["expired", "sent"])
        assert len(texts.sent) == 1


async def test_what_is_out_is_not_sent_again_for_want_of_room_on_the_disk(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    # Nothing expires: the clock jumps to that while a thread is at work.
    async with open_box(tmp_path, now=lambda: datetime(1970, 1, 1, tzinfo=UTC)) as box:
        texts = box.attend()
        texts.network = trio.Event()
        await box.post()
        await box.until(["sending"])
        box.rows("ALTER TABLE message_parts RENAME TO away")
        with capture_logs() as logs:
            texts.network.set()
            while not any(entry["log_level"] == "error" for entry in logs):  # noqa: ASYNC110
                await trio.sleep(0.1)
        box.rows("ALTER TABLE away RENAME TO message_parts")
        await box.post("next")
        await box.until(["sent", "sent"])
        assert len(texts.sent) == 2


async def test_before_the_clock_is_set_nothing_expires(autojump_clock: Clock, tmp_path: Path) -> None:
    """A Pi has none of its own, and a day is soon over when it gets one."""
    now = datetime(1970, 1, 1, tzinfo=UTC)
    async with open_box(tmp_path, now=lambda: now) as box:
        await box.post(validity_s=300)
        now = NOON
        await trio.sleep(3600)
        assert await box.states() == ["queued"]


@pytest.mark.parametrize(
    ("status", "recipient", "state"),
    [
        (0x00, THEIRS, "delivered"),
        (0x00, "0783484044", "delivered"),
        (0x30, THEIRS, "sent"),
        (0x46, THEIRS, "undelivered"),
        (0x00, "+33600000000", "sent"),
    ],
)
async def test_reports_find_their_message(
    autojump_clock: Clock, tmp_path: Path, status: int, recipient: str, state: str
) -> None:
    async with open_box(tmp_path) as box:
        texts = box.attend()
        await box.post()
        await box.until(["sent"])
        texts.give(sms.encode(Report(1, recipient, NOON, NOON, status)))
        await texts.emptied()
        (message,) = await box.messages()
        assert message.state.value == state
        assert (message.parts[0].error is not None) is (state == "undelivered")


async def test_a_report_on_nothing_of_ours_holds_up_no_message(mock_clock: Clock, tmp_path: Path) -> None:
    # A minute here is less than a second of the box's: the report waits on while the message comes.
    mock_clock.rate = 0.01
    async with open_box(tmp_path) as box:
        texts = box.attend()
        texts.give(sms.encode(Report(1, THEIRS, NOON, NOON, 0x00)), *parts("hello"))
        with trio.fail_after(60 * mock_clock.rate):
            await texts.until(lambda: [received.index for received in texts.sim] == [1])
        assert [message.text for message in await box.messages()] == ["hello"]


# --- to whom ---


@pytest.mark.parametrize(
    ("written", "to"), [("06 12 34 56 78", "+33612345678"), ("0049 151 23456789", "+4915123456789"), ("36105", "36105")]
)
async def test_numbers_are_taken_as_people_write_them(
    autojump_clock: Clock, tmp_path: Path, written: str, to: str
) -> None:
    async with open_box(tmp_path) as box:
        message = await box.postbox.post(OURS, written, "x", report=False, validity_s=86400)
        assert message.to == to


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("nobody", "no number"),
        ("12", "no number"),
        ("112", "emergency"),
        ("+33899000000", "premium"),
        ("+447700900000", "denied"),
    ],
)
async def test_to_whom_nothing_is_sent(autojump_clock: Clock, tmp_path: Path, written: str, why: str) -> None:
    async with open_box(tmp_path, rules=DialingRules(deny=("+44*",))) as box:
        with pytest.raises(ValueError, match=why):
            await box.postbox.post(OURS, written, "x", report=False, validity_s=86400)
        assert await box.messages() == []
