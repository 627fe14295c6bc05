"""One call, from its first sign to its last fact.

A call is a scope. One task hears the line and writes each change down; the other does what the customer wants. The
call's end cancels both. Whatever happens, the line is hung up, and each fact is committed before anybody is told.
"""

import json
import math
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
import trio
from structlog.typing import FilteringBoundLogger
from ulid import ULID

from appliance import events
from appliance.actions import StreamTo
from appliance.announcement import take_message
from appliance.call import Call, Change, Dialed, Ended, Reason, State
from appliance.contracts import sfvopi
from appliance.contracts.sfvopi import Request, Route
from appliance.contracts.sfvopi_answer import ANSWER_BODY_LIMIT, BadInstructions, instructions
from appliance.contracts.sfvopi_stream import new_stream_id
from appliance.customer import Customer, CustomerFailed
from appliance.database import StoreError
from appliance.media import Media, audio_report
from appliance.options import Options
from appliance.receipt import Meter
from appliance.soundcheck import LOOK_EVERY_S, Soundcheck
from appliance.store import Store
from appliance.stream import Ending, run_stream
from appliance.trunk import Lost, Seizure
from drivers.errors import CommandError, LineError, LineLost
from drivers.line import Alerting, Answered, Digit, LineState, Released
from native import Port, PortFailed, Recorder

log = structlog.get_logger(__name__)

# A network that took our ATA says within this that the call is up; else the caller has gone.
ANSWER_LIMIT_S = 20
# Until the far phone rings. 24.008 gives each of the set-up's steps 30 s (T303, T310), then the network has given up.
SET_UP_LIMIT_S = 60
# From our order to hang up to the device's word that it did; after that the customer is told on our own word.
HANG_UP_LIMIT_S = 5
# What is left to do for a call when everything around it is being cancelled.
LAST_DUTIES_LIMIT_S = 15
# Keys pressed before the customer's stream is up; a person presses a few.
DIGITS_LIMIT = 64

# ITU-T Q.850, where the end was our own doing.
OUR_CAUSE = {
    Reason.HANGUP: 16,
    Reason.CUSTOMER: 16,
    Reason.STREAM_LOST: 16,
    Reason.TIME_LIMIT: 16,
    Reason.RING_TIMEOUT: 19,
    Reason.LINE_LOST: 27,
    Reason.ANSWER_FAILED: 41,
    Reason.FAULT: 41,
    Reason.SHUTDOWN: 41,
    Reason.RESTART: 41,
    Reason.REFUSED: 127,
}
# A call that our own line could not even begin: it is busy, or has no network.
LINE_BUSY, LINE_DOWN = Ended(Reason.NO_LINE, 17), Ended(Reason.NO_LINE, 38)


@dataclass(frozen=True)
class Means:
    """What every call works with.

    `tell` sends a webhook, `finish` writes an end down that could not be written at once, and `record` takes a recorder
    down to a file until the event is set, and makes that small: all in the background. Nothing is recorded when
    `recordings` is None. `announcements` is a directory, too.
    """

    store: Store
    media: Media
    customer: Customer
    tell: Callable[[Request, Call], None]
    finish: Callable[[Call, Route], None]
    record: Callable[[Recorder, Path, trio.Event, FilteringBoundLogger], None]
    recordings: Path | None
    announcements: Path
    user_agent: str
    tls: ssl.SSLContext
    now: Callable[[], datetime]


class Conductor:
    def __init__(self, call: Call, route: Route, seizure: Seizure, means: Means) -> None:
        self.call = call
        self._route = route
        self._seizure = seizure
        self._line = seizure.line
        self._means = means
        # Each change is made of the one before.
        self._changing = trio.Lock()
        self._answered = trio.Event()
        self._answered_s = 0.0
        self._ended = trio.Event()
        self._patience = trio.CancelScope()
        # All that is done with the call, but for hanging it up.
        self._course = trio.CancelScope()
        self._meter = Meter()
        self._keys_lost = 0
        self._press, self._digits = trio.open_memory_channel[str](DIGITS_LIMIT)
        self._order_key, self._ordered_keys = trio.open_memory_channel[str](DIGITS_LIMIT)
        # Why we hang up, once we have decided to; and what to write down when the line does not say how it ended.
        self._decided: Reason | None = None
        self._excuse = Reason.HANGUP
        self._log = log.bind(call=call.uuid, line=call.line)

    async def inbound(self) -> None:
        await self._conduct(self._line.answer, self._await_answer)

    async def outbound(self) -> None:
        await self._conduct(self._dial, self._ring)

    def hang_up(self) -> None:
        """The customer wants it, whatever the call is at."""
        self._decided = self._decided or Reason.CUSTOMER
        self._course.cancel()

    # --- the scope of the call --------------------------------------------------------------------------------------

    async def _conduct(self, order: Callable[[], Awaitable[None]], connect: Callable[[], Awaitable[None]]) -> None:
        """`order` is taken by the line or refused; `connect` waits for what comes of it."""
        self._log.info("call", state=self.call.state.value)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, nursery.cancel_scope)
                try:
                    with self._course:
                        await order()
                        if not self._ended.is_set():
                            async with self._sound() as port:
                                await connect()
                                if self._answered.is_set():
                                    await self._talk(port)
                except LineLost:
                    # As `_listen` is told, too.
                    self._excuse = Reason.LINE_LOST
                except LineError as exc:
                    self._log.warning("line refused", error=str(exc))
                with trio.move_on_after(HANG_UP_LIMIT_S):
                    await self._hang_up()
                    await self._ended.wait()
                nursery.cancel_scope.cancel()
        except* StoreError:
            # One call's: others go on. The trunk hangs up.
            self._excuse = Reason.FAULT
        except* Exception as bugs:
            # Ours, and one call's, too: the end of the process would be the end of them all.
            self._excuse = Reason.FAULT
            self._log.error("call failed by a fault of this program", exc_info=bugs)
        finally:
            stopping = trio.current_effective_deadline() == -math.inf
            # Also when cancelled: a line left off-hook costs money, and a call left open is a lie. What a slow modem
            # still holds is the trunk's to put away.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LAST_DUTIES_LIMIT_S):
                if stopping:
                    with trio.move_on_after(HANG_UP_LIMIT_S):
                        await self._hang_up()
                if not self._ended.is_set():
                    reason = self._decided or (Reason.SHUTDOWN if stopping else self._excuse)
                    await self._change(Ended(reason, OUR_CAUSE[reason]))
            if self._route.hangup and self.call.end:
                self._means.tell(sfvopi.hangup_request(self._route.hangup, self.call), self.call)
            if self.call.answered_at is not None:
                with trio.CancelScope(shield=True):
                    await self._give_receipt()

    async def _listen(self, scope: trio.CancelScope) -> None:
        async for told in self._seizure.told:
            match told:
                case Alerting() if self.call.state is State.DIALING:
                    await self._change(told)
                    # sfvopi 4.1: the time to ring counts from the first ringback, where the line tells it.
                    self._patience.deadline = trio.current_time() + self._route.ring_timeout_s
                    if self._route.ring:
                        self._means.tell(sfvopi.ring_request(self._route.ring, self.call), self.call)
                case Answered() if not self._answered.is_set() and self._decided is None:
                    await self._change(told)
                    self._answered.set()
                case Digit(digit):
                    self._note_digit(digit)
                # Before we have dialed it is the call before ours that ends.
                case Released(cause) if self.call.state is not State.QUEUED:
                    await self._change(self._released(cause))
                case Lost():
                    await self._change(Ended(Reason.LINE_LOST, OUR_CAUSE[Reason.LINE_LOST]))
            if self._ended.is_set():
                scope.cancel()
                return

    async def _give_receipt(self) -> None:
        receipt = self._meter.receipt
        self._log.info("receipt", **receipt)
        try:
            await self._means.store.measured(self.call.id, json.dumps(receipt))
        except StoreError as exc:
            self._log.error("receipt not written down", error=str(exc))

    def _released(self, cause: int) -> Ended:
        if self._decided is not None:
            return Ended(self._decided, OUR_CAUSE[self._decided])
        refused = self.call.state in (State.DIALING, State.ALERTING)
        return Ended(Reason.REFUSED if refused else Reason.HANGUP, cause)

    def _note_digit(self, digit: str) -> None:
        try:
            self._press.send_nowait(digit)
        except trio.WouldBlock:
            if not self._keys_lost:
                self._log.warning("keys are lost: nobody reads them")
            self._keys_lost += 1
        except trio.BrokenResourceError:
            pass

    async def _change(self, change: Change) -> None:
        """Commits a change of state, and with it the event that tells it. A call that has ended stays so.

        Raises:
            StoreError: it can't be written, and so not be told. A call's end is in the end.
        """
        # A commit is there or it is not, and we must know which. No deadline: nothing calls back a thread at the disk.
        with trio.CancelScope(shield=True):
            async with self._changing:
                if self._ended.is_set():
                    return
                now = self._means.now()
                call = self.call.apply(change, self._end_time(now) if isinstance(change, Ended) else now)
                if isinstance(change, Answered):
                    self._answered_s = trio.current_time()
                news = [events.of_call(call, now)] if events.status(call) != events.status(self.call) else []
                try:
                    await self._means.store.save(call, events=news)
                    self.call = call
                except StoreError as exc:
                    self._log.error("call not written down", state=call.state.value, error=str(exc))
                    if not call.end:
                        raise
                    self._means.finish(call, self._route)
                if call.end:
                    self._ended.set()
        end = {"reason": call.end.reason.value, "cause": call.end.cause} if call.end else {}
        self._log.info("call", state=call.state.value, **end)

    def _end_time(self, now: datetime) -> datetime:
        """A call lasts as long as it does: a clock that is set in the midst of it changes no bill."""
        if self.call.answered_at is None:
            return now
        return self.call.answered_at + timedelta(seconds=trio.current_time() - self._answered_s)

    async def _hang_up(self) -> None:
        if self._ended.is_set():
            return
        try:
            await self._line.hang_up()
        except LineLost:
            # The call is lost with it, as we shall be told.
            pass
        except CommandError as exc:
            self._log.warning("hang-up refused", error=str(exc))

    # --- what the customer wants ------------------------------------------------------------------------------------

    async def _await_answer(self) -> None:
        with trio.move_on_after(ANSWER_LIMIT_S):
            await self._answered.wait()

    async def _dial(self) -> None:
        # Before the order goes out, since the line may answer it before `dial` returns.
        await self._change(Dialed())
        try:
            await self._line.dial(self.call.to)
        except CommandError as exc:
            # Nothing is left of it; what rings now is somebody else's call, who was faster (glare).
            self._log.warning("not dialed", error=str(exc))
            taken = self._line.state is LineState.IN_USE
            await self._change(LINE_BUSY if taken else Ended(Reason.REFUSED, OUR_CAUSE[Reason.REFUSED]))

    async def _ring(self) -> None:
        # A line that can't tell when it rings has its time to ring from here.
        limit_s = max(SET_UP_LIMIT_S, self._route.ring_timeout_s)
        self._patience.deadline = min(self._patience.deadline, trio.current_time() + limit_s)
        with self._patience:
            await self._answered.wait()
        if self._patience.cancelled_caught:
            self._decided = Reason.RING_TIMEOUT

    async def _talk(self, port: Port) -> None:
        with trio.move_on_after(self._route.time_limit_s) as limit:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._check_sound, port)
                decided = await self._follow(port)
                nursery.cancel_scope.cancel()
            self._decided = decided
        if limit.cancelled_caught:
            self._decided = Reason.TIME_LIMIT

    @asynccontextmanager
    async def _sound(self) -> AsyncIterator[Port]:
        async with self._seizure.sound(self._means.media) as port:
            try:
                yield port
            finally:
                if self._answered.is_set():
                    self._meter.look(port.stats())
                    self._log.info("audio", **audio_report(port))

    async def _check_sound(self, port: Port) -> None:
        """A modem without sound is no reason to end a call, as it may come back; but somebody has to know."""
        check = Soundcheck(trio.current_time(), port.stats())
        with self._means.media.events_of(port) as events:
            while True:
                with trio.move_on_after(LOOK_EVERY_S):
                    async for event in events:
                        if isinstance(event, PortFailed):
                            self._log.warning("the modem's audio failed", error=os.strerror(event.errno))
                            return
                self._meter.look(stats := port.stats())
                begun, over = check.look(stats, trio.current_time())
                for alarm in begun:
                    self._seizure.trunk.alarms[alarm] += 1
                    self._log.warning("sound alarm", alarm=alarm.value)
                for alarm in over:
                    self._log.info("sound alarm is over", alarm=alarm.value)

    @asynccontextmanager
    async def _recording(self, port: Port) -> AsyncIterator[list[Port]]:
        """Records the caller on the left. Yields where the caller's other side is to be sent to be recorded too."""
        if self._means.recordings is None:
            yield []
            return
        path = self._means.recordings / f"{self.call.uuid}.wav"
        try:
            await self._means.store.open_recording(self.call.id, path)
        except StoreError as exc:
            self._log.error("not recorded", error=str(exc))
            yield []
            return
        engine, ended = self._means.media.engine, trio.Event()
        recorder = engine.recorder()
        engine.connect(port, recorder.left)
        # Beside the call: its end does not wait for the disk.
        self._means.record(recorder, path, ended, self._log)
        try:
            yield [recorder.right]
        finally:
            ended.set()

    async def _follow(self, port: Port) -> Reason:
        """Does what the customer wants; returns why the call is to be hung up."""
        async with self._recording(port) as ears:
            options = await self._options()
            order = await self._ask(options)
            if order is None:
                await self._do_without(options, port, ears)
                return Reason.ANSWER_FAILED
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_keys)
                end = await run_stream(
                    order,
                    media=self._means.media,
                    line=port,
                    ears=ears,
                    call_id=self.call.uuid,
                    fared=self._meter.streamed,
                    stream_id=new_stream_id(order.direction, str(ULID())),
                    digits=self._digits,
                    press=self._order_keys,
                    user_agent=self._means.user_agent,
                    tls=self._means.tls,
                    log=self._log,
                )
                nursery.cancel_scope.cancel()
            if order.keep_call_alive:
                await trio.sleep_forever()
            return Reason.STREAM_LOST if end.ending is Ending.LOST else Reason.CUSTOMER

    def _order_keys(self, digits: str) -> None:
        """The far end is to hear them, when those before have been sent."""
        try:
            self._order_key.send_nowait(digits)
        except trio.WouldBlock:
            self._log.warning("keys are not sent: too many wait", keys=len(digits))

    async def _send_keys(self) -> None:
        async for digits in self._ordered_keys:
            try:
                await self._line.send_dtmf(digits)
            except CommandError as exc:
                self._log.warning("keys are not sent", error=str(exc))

    async def _options(self) -> Options:
        try:
            return await self._means.store.options(self._route.app_id) or Options()
        except (StoreError, ValueError) as exc:
            self._log.error("the app's options can't be read", error=str(exc))
            return Options()

    async def _do_without(self, options: Options, port: Port, ears: Sequence[Port]) -> None:
        """Nobody told what to do with the call."""
        if options.no_answer is None:
            return
        # However it ends, his server failed the customer, and that is what he is told.
        self._decided = Reason.ANSWER_FAILED
        self._log.info("the box serves the caller by itself")
        await take_message(
            options.no_answer, self._means.announcements, media=self._means.media, sinks=(port, *ears), log=self._log
        )

    async def _ask(self, options: Options) -> StreamTo | None:
        """The answer webhook's instructions, or its fallback's (sfvopi 6.5)."""
        for name, hook in (("answer", self._route.answer), ("fallback", self._route.fallback)):
            if hook is None:
                continue
            request = sfvopi.answer_request(hook, self.call)
            asked_at = trio.current_time()
            try:
                body = await self._means.customer.ask(
                    request.method,
                    request.url,
                    headers=request.headers,
                    body=request.body,
                    limit_s=sfvopi.ANSWER_LIMIT_S,
                    limit_bytes=ANSWER_BODY_LIMIT,
                )
                return instructions(body, options.protocol)
            except (CustomerFailed, BadInstructions) as exc:
                self._log.warning("no instructions", webhook=name, error=str(exc))
            finally:
                self._meter.asked(name, trio.current_time() - asked_at)
        return None
