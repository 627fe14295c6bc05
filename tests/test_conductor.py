"""One call through its conductor: what a line says, and what is written down of it. No sound: there is no audio."""

import json
import sqlite3
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import trio

from appliance.call import Direction, Ended, Outcome, Reason, State
from appliance.contracts.sfvopi import App, Link, order
from appliance.control import WRITE_AGAIN_S, Control
from appliance.exchange import NotDialed
from appliance.leg import HANG_UP_LIMIT_S
from appliance.limits import Limits
from appliance.links import Links
from appliance.media import Media
from appliance.numbers import ORDINARY_RULES, DialingRules
from appliance.options import Options, TakeMessage
from appliance.shelf import Shelf
from appliance.store import Store
from appliance.trunk import NO_LIMITS, Trunk
from drivers.line import (
    Alerting,
    Answered,
    Identity,
    Incoming,
    LineEvent,
    LineState,
    Recoveries,
    Released,
    StateChanged,
)
from native import Engine, Event, FramesPort, Port
from tests.core import open_core, still
from tests.jacks import TestJack
from tests.rig import speech

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
LINKS = Links(b"k" * 32, "https://box.example")
NUMBER = "+33700000002"
URL = "http://127.0.0.1:1/"
APP = App("sfv_app_1", "Desk", URL, "POST", None, "POST", None, "POST", "ACTIVE", "2026-06-04T12:00:00.000Z")


class TestLine:
    """drivers.line.Line, with the test at its far end: what it says is said, what it is told to do is in `orders`."""

    __test__ = False
    name = "test"
    identity = Identity("", "", "", "", "")
    signal_dbm = None
    radio = None
    recoveries = Recoveries(0, 0, 0, 0, 0, 0)

    def __init__(self) -> None:
        self.state = LineState.STARTING
        self.orders: list[str] = []
        self.port: FramesPort | None = None
        self.when: dict[str, Callable[[], None]] = {"hang up": self.release}
        self._tell, self._events = trio.open_memory_channel[LineEvent](100)

    def say(self, *events: LineEvent, state: LineState | None = None) -> None:
        for event in events:
            self._tell.send_nowait(event)
        if state is not None:
            self.state = state
            self._tell.send_nowait(StateChanged(state))

    async def next_event(self) -> LineEvent:
        return await self._events.receive()

    def release(self) -> None:
        self.say(Released(16), state=LineState.IDLE)

    async def dial(self, number: str) -> None:
        self.say(state=LineState.IN_USE)
        self._obey("dial")

    async def answer(self) -> None:
        self._obey("answer")

    async def hang_up(self) -> None:
        self._obey("hang up")

    def _obey(self, order: str) -> None:
        self.orders.append(order)
        self.when.get(order, bool)()

    async def send_dtmf(self, digits: str) -> None:
        raise AssertionError("nobody asked for it")

    @asynccontextmanager
    async def attach(self, engine: Engine) -> AsyncIterator[Port]:
        with closing(engine.frames()) as self.port:
            yield self.port

    def heard(self, event: Event) -> None:
        raise AssertionError("nothing to be heard")


class Box:
    """A control with one trunk on a TestLine, and a wall clock that the test sets."""

    def __init__(self, directory: Path, store: Store, line: TestLine, control: Control) -> None:
        self.now = NOON
        self.store = store
        self.line = line
        self.control = control
        self.media: Media
        self.shelf: Shelf
        self._directory = directory

    def break_store(self, broken: bool) -> None:
        """Nothing can be written about calls, as on a full disk."""
        names = ("calls", "lost") if broken else ("lost", "calls")
        self.rows("ALTER TABLE {} RENAME TO {}".format(*names))

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self._directory / "box.db")) as connection:
            return connection.execute(query).fetchall()

    async def state(self, state: str) -> None:
        """Returns when the call is written down so, and all is still."""
        while self.rows("SELECT state FROM calls") != [(state,)]:
            await still()
        await still()

    async def idle(self) -> None:
        """Returns when no call is open, and all is still."""
        while self.rows("SELECT 1 FROM calls WHERE state <> 'ended'"):
            await still()
        await still()

    async def ended(self, count: int) -> None:
        """As `idle`, when there have been so many."""
        while self.rows("SELECT count(*) FROM calls WHERE state = 'ended'") != [(count,)]:
            await still()
        await self.idle()

    async def place(self, **fields: object) -> None:
        body = {"from": NUMBER, "to": "+33783484044", "answer_url": URL, **fields}
        await self.control.place(order(json.dumps(body).encode(), country="FR"), APP, f"sfv_ob_req_{uuid4()}")


@asynccontextmanager
async def open_box(
    directory: Path,
    *,
    limits: Limits = NO_LIMITS,
    rules: DialingRules = ORDINARY_RULES,
    concurrent: int | None = None,
    recordings: Path | None = None,
) -> AsyncIterator[Box]:
    line = TestLine()

    @asynccontextmanager
    async def open_line() -> AsyncIterator[TestLine]:
        line.say(state=LineState.IDLE)
        yield line

    async with open_core(
        directory,
        now=lambda: box.now,
        recordings=recordings,
        links=LINKS,
        rules=rules,
        concurrent_calls=concurrent,
    ) as core:
        box = Box(directory, core.store, line, core.control)
        box.media, box.shelf = core.media, core.shelf
        await box.store.save_app(APP)
        await box.store.link(Link(APP.app_id, NUMBER, APP.created_at))
        trunks = core.control.trunks
        trunks.append(Trunk("test", NUMBER, jack=TestJack(open_line), ring=core.control.ring, limits=limits))
        async with core.at_work():
            yield box


async def test_a_call_lasts_as_long_as_it_does_whatever_the_clock_says(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:

        def hang_up() -> None:
            box.now += timedelta(days=3)
            mock_clock.jump(4)
            box.line.release()

        box.line.when = {"answer": lambda: box.line.say(Answered()), "hang up": hang_up}
        box.line.say(Incoming("+33783484044"), state=LineState.IN_USE)
        await box.state("ended")
        call = await box.store.call(1)
        assert call
        assert (call.answered_at, call.duration_s) == (NOON, 4)


async def test_the_time_to_ring_counts_from_the_first_ringback(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:
        await box.place(ring_timeout=5)
        await box.state("dialing")
        mock_clock.jump(30)
        box.line.say(Alerting())
        await box.state("alerting")
        mock_clock.jump(4)
        await still()
        assert box.line.orders == ["dial"]
        mock_clock.jump(1)
        await box.state("ended")
        assert box.line.orders == ["dial", "hang up"]
        assert box.rows("SELECT reason, cause FROM calls") == [("ring_timeout", 19)]


async def test_a_call_that_never_rings_is_given_up(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:
        await box.place(ring_timeout=5)
        await box.state("dialing")
        mock_clock.jump(60)
        await box.state("ended")
        assert box.rows("SELECT reason, cause FROM calls") == [("ring_timeout", 19)]


async def test_a_call_that_cannot_be_written_down_is_hung_up_and_told_when_it_can(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:
        await box.place()
        await box.state("dialing")
        box.break_store(True)
        box.line.say(Alerting())
        while "hang up" not in box.line.orders:
            await still()
        await still()
        box.break_store(False)
        assert box.rows("SELECT state FROM calls") == [("dialing",)]
        mock_clock.jump(WRITE_AGAIN_S)
        await box.state("ended")
        assert box.rows("SELECT reason, cause FROM calls") == [("fault", 41)]


async def test_who_calls_while_nothing_can_be_written_is_left_to_ring(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:
        box.break_store(True)
        box.line.say(Incoming("+33783484044"), state=LineState.IN_USE)
        await still()
        box.line.release()
        await still()
        assert box.line.orders == []
        box.break_store(False)
        await box.place()
        await box.state("dialing")


# --- what the box does not dial ---


async def write_call(box: Box, seconds: float, direction: Direction = Direction.OUTBOUND) -> None:
    """One that is over, and was answered now."""
    opened = await box.store.open_call(
        uuid=str(uuid4()),
        line="test",
        direction=direction,
        from_=NUMBER,
        to=NUMBER,
        state=State.QUEUED if direction is Direction.OUTBOUND else State.INCOMING,
        started_at=box.now,
        route="",
    )
    ended = replace(opened, state=State.ENDED, answered_at=box.now, end=Ended(Reason.HANGUP, 16))
    await box.store.save(replace(ended, ended_at=box.now + timedelta(seconds=seconds)))


async def time_limit_s(box: Box) -> float:
    """Of the call that is placed now."""
    box.line.when["dial"] = box.line.release
    await box.place()
    await box.idle()
    [(route,)] = box.rows("SELECT route FROM calls ORDER BY id DESC LIMIT 1")
    return float(json.loads(str(route))["time_limit_s"])


async def test_a_number_that_the_rules_forbid_is_not_dialed(tmp_path):
    async with open_box(tmp_path, rules=DialingRules(deny=("+337*",))) as box:
        with pytest.raises(NotDialed, match=r"^Not dialed: \+33783484044 is denied by \+337\*$"):
            await box.place()
        assert box.rows("SELECT * FROM calls") == []
        assert box.line.orders == []


async def test_a_line_is_dialed_for_the_minutes_that_are_left_to_it(tmp_path):
    async with open_box(tmp_path, limits=Limits(minutes_per_day=3)) as box:
        assert await time_limit_s(box) == 180
        await write_call(box, 0.5)
        await write_call(box, 600, Direction.INBOUND)
        assert await time_limit_s(box) == 120
        await write_call(box, 60.0)
        assert await time_limit_s(box) == 60
        await write_call(box, 1.0)
        with pytest.raises(NotDialed, match=r"^Not dialed: line test has used up its 3 minutes a day$"):
            await box.place()
        box.now += timedelta(days=1)
        assert await time_limit_s(box) == 180


async def test_no_more_calls_are_placed_at_once_than_the_box_may(tmp_path):
    async with open_box(tmp_path, concurrent=1) as box:
        await box.place()
        await box.state("dialing")
        with pytest.raises(NotDialed, match="1 calls are under way, as many as the box may place at once"):
            await box.place()
        box.line.release()
        await box.idle()
        await box.place()
        assert box.line.orders == ["dial"]


async def test_a_fault_of_ours_ends_one_call_and_the_next_is_served(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:

        def fail() -> None:
            raise AssertionError("a case that nobody thought of")

        ways = ((fail, "fault"), (lambda: box.line.say(Answered()), "answer_failed"))
        for count, (answer, reason) in enumerate(ways, 1):
            box.line.when["answer"] = answer
            box.line.say(Incoming("+33783484044"), state=LineState.IN_USE)
            await box.ended(count)
            assert box.rows("SELECT reason FROM calls ORDER BY id DESC LIMIT 1") == [(reason,)]
            assert box.line.orders == ["answer", "hang up"]
            box.line.orders.clear()


# --- hung up by the customer's word ---


async def hang_up(box: Box) -> bool:
    [(uuid,)] = box.rows("SELECT uuid FROM calls")
    return box.control.hang_up(str(uuid))


@pytest.mark.parametrize("state", ["dialing", "alerting"])
async def test_a_call_that_is_not_answered_yet_is_hung_up_by_order_and_told_as_canceled(tmp_path, state):
    async with open_box(tmp_path) as box:
        await box.place()
        await box.state("dialing")
        if state == "alerting":
            box.line.say(Alerting())
            await box.state("alerting")
        assert await hang_up(box)
        await box.state("ended")
        assert box.line.orders == ["dial", "hang up"]
        call = await box.store.call(1)
        assert call
        assert (call.end, call.outcome) == (Ended(Reason.CUSTOMER, 16), Outcome.CANCELED)
        assert not await hang_up(box)


async def test_a_call_that_comes_is_hung_up_by_order_while_it_is_being_answered(tmp_path):
    async with open_box(tmp_path) as box:
        box.line.say(Incoming("+33783484044"), state=LineState.IN_USE)
        await box.state("incoming")
        assert await hang_up(box)
        await box.state("ended")
        assert box.line.orders == ["answer", "hang up"]
        assert box.rows("SELECT reason FROM calls") == [("customer",)]


async def test_a_line_that_does_not_say_that_it_hung_up_is_believed_after_a_while(tmp_path, mock_clock):
    async with open_box(tmp_path) as box:
        box.line.when = {}
        await box.place()
        await box.state("dialing")
        assert await hang_up(box)
        await still()
        mock_clock.jump(HANG_UP_LIMIT_S)
        await box.state("ended")
        assert box.rows("SELECT reason, cause FROM calls") == [("customer", 16)]


# --- nobody says what to do with a call ---


def write_announcement(path: Path, *, rate_hz: int = 16000, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(speech(0.2, seed=1))  # of 8000 Hz


async def answered(box: Box) -> None:
    box.line.when["answer"] = lambda: box.line.say(Answered())
    box.line.say(Incoming("+33783484044"), state=LineState.IN_USE)


async def bursts(box: Box, count: int) -> None:
    """Returns when the line was given so many sounds, and silence after each, in the engine's own time."""
    heard, sounding = 0, False
    while heard < count or sounding:
        frame = box.line.port.pull() if box.line.port else None
        if frame is None:
            await still()
            continue
        heard += not sounding and any(frame)
        sounding = any(frame)
    await still()


async def told(box: Box, ms: int) -> None:
    """Returns when the line was given so much sound, and then silence, in the engine's own time."""
    heard_ms, sounding = 0, True
    while heard_ms < ms or sounding:
        frame = box.line.port.pull() if box.line.port else None
        if frame is None:
            await still()
            continue
        sounding = any(frame)
        heard_ms += 20 * sounding
    await still()


async def test_a_call_without_instructions_is_hung_up(tmp_path):
    async with open_box(tmp_path) as box:
        await answered(box)
        await box.state("ended")
        assert box.line.orders == ["answer", "hang up"]
        assert box.rows("SELECT reason FROM calls") == [("answer_failed",)]


async def test_an_app_may_have_the_box_take_a_message_instead(tmp_path, mock_clock):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    write_announcement(tmp_path / "closed.wav")
    async with open_box(tmp_path, recordings=recordings) as box:
        rule = TakeMessage(announcement="closed.wav", limit_s=30)
        await box.store.set_options(APP.app_id, Options(no_answer=rule))
        await answered(box)
        await box.state("active")
        # An announcement of a tenth of a second, and the beep.
        await told(box, 100 + 400)
        mock_clock.jump(29)
        await box.state("active")
        mock_clock.jump(1)
        await box.state("ended")
        # Its server failed the customer, and that is told.
        assert box.rows("SELECT reason FROM calls") == [("answer_failed",)]
