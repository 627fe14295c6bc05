"""One line's part in a call: it is ordered, heard, given its sound, and surely hung up.

One task hears the line and has each change written down; the other does what the call wants. The end cancels both.
"""

import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from structlog.typing import FilteringBoundLogger

from appliance.call import Change, Dialed, Ended, Reason
from appliance.database import StoreError
from appliance.media import Media, audio_report
from appliance.receipt import Meter
from appliance.soundcheck import LOOK_EVERY_S, Soundcheck
from appliance.trunk import Lost, Seizure
from drivers.errors import CommandError, LineError, LineLost
from drivers.line import Alerting, Answered, Digit, LineState, Released
from native import Port, PortFailed

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
    Reason.OWNER: 17,
    Reason.RING_TIMEOUT: 19,
    Reason.PAUSED: 21,
    Reason.LOOP: 21,
    Reason.NOT_PERMITTED: 21,
    Reason.LINE_LOST: 27,
    Reason.NO_LINE: 34,
    Reason.ANSWER_FAILED: 41,
    Reason.FAULT: 41,
    Reason.SHUTDOWN: 41,
    Reason.RESTART: 41,
    Reason.REFUSED: 127,
}
# A call that our own line could not even begin: it is busy, or has no network.
LINE_BUSY, LINE_DOWN = Ended(Reason.NO_LINE, 17), Ended(Reason.NO_LINE, 38)


def ours(reason: Reason) -> Ended:
    """An end of our own making."""
    return Ended(reason, OUR_CAUSE[reason])


class Leg:
    """`told` writes a change down; only then anything comes of it. It may fail for all but an end, which is one.

    `if_cancelled` is how it has ended when somebody else's end was its own.
    """

    def __init__(
        self,
        seizure: Seizure,
        media: Media,
        *,
        told: Callable[[Change], Awaitable[None]],
        meter: Meter,
        if_cancelled: Reason,
        log: FilteringBoundLogger,
    ) -> None:
        self.seizure = seizure
        self.answered = trio.Event()
        # How it ended; `decided` is how it shall, when it was us who wanted that.
        self.end: Ended | None = None
        self.decided: Ended | None = None
        self._line = seizure.line
        self._media = media
        self._told = told
        self._meter = meter
        self._if_cancelled = if_cancelled
        self._excuse = Reason.HANGUP
        self._log = log
        # There is a call of ours on the line; and of those that we dial, whether it rings at the far end.
        self._is_up = self._rings = False
        self._ring_s: float | None = None
        self._ended = trio.Event()
        self._enough = trio.Event()
        self._hanging_up, self._hung_up = trio.Lock(), False
        self._patience = trio.CancelScope()
        # All that is done with the line, but for hanging it up.
        self._course = trio.CancelScope()
        self._keys_lost = 0
        self._press, self.digits = trio.open_memory_channel[str](DIGITS_LIMIT)
        self._order_key, self._ordered_keys = trio.open_memory_channel[str](DIGITS_LIMIT)

    async def answer(self, talk: Callable[[Port], Awaitable[Ended]], *, limit_s: float = math.inf) -> None:
        """`talk` says why it is to be hung up. Returns, or is cancelled, when it has been."""
        self._is_up = True

        async def connect() -> None:
            with trio.move_on_after(ANSWER_LIMIT_S):
                await self.answered.wait()

        await self._live(self._line.answer, connect, talk, limit_s)

    async def dial(
        self, number: str, talk: Callable[[Port], Awaitable[Ended]], *, ring_s: float, limit_s: float = math.inf
    ) -> None:
        """As `answer`; `ring_s` counts from the first ringback, where the line tells it."""
        self._ring_s = ring_s

        async def connect() -> None:
            # A line that can't tell when it rings has its time to ring from here.
            give_up_at = trio.current_time() + max(SET_UP_LIMIT_S, ring_s)
            self._patience.deadline = min(self._patience.deadline, give_up_at)
            with self._patience:
                await self.answered.wait()
            if self._patience.cancelled_caught:
                self.decided = ours(Reason.RING_TIMEOUT)

        async def order() -> None:
            # Before the order goes out, since the line may answer it before `dial` returns.
            await self._told(Dialed())
            self._is_up = True
            try:
                await self._line.dial(number)
            except CommandError as exc:
                # Nothing is left of it; what rings now is somebody else's call, who was faster (glare).
                self._log.warning("not dialed", error=str(exc))
                await self._end(LINE_BUSY if self._line.state is LineState.IN_USE else ours(Reason.REFUSED))

        await self._live(order, connect, talk, limit_s)

    async def refuse(self, end: Ended) -> None:
        """It is not answered. Who calls on an analog line hears it ring all the same, until he has enough."""
        self._is_up = True
        self.stop(end)
        if self.seizure.trunk.analog:
            await self._end(end)
            await self.seizure.over()
        else:
            await self._live(trio.sleep_forever, trio.sleep_forever, _no_talk, math.inf)

    def stop(self, end: Ended) -> None:
        """Whatever it is at."""
        self.decided = self.decided or end
        self._course.cancel()
        self._enough.set()

    # --- its scope --------------------------------------------------------------------------------------------------

    async def _live(
        self,
        order: Callable[[], Awaitable[None]],
        connect: Callable[[], Awaitable[None]],
        talk: Callable[[Port], Awaitable[Ended]],
        limit_s: float,
    ) -> None:
        """`order` is taken by the line or refused; `connect` waits for what comes of it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, nursery.cancel_scope)
                nursery.start_soon(self._obey)
                try:
                    with self._course:
                        await order()
                        if self.end is None:
                            async with self._sound() as port:
                                await connect()
                                if self.answered.is_set():
                                    await self._talk(port, talk, limit_s)
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
                await self._end(self.decided or ours(self._if_cancelled if stopping else self._excuse))

    async def _listen(self, scope: trio.CancelScope) -> None:
        async for told in self.seizure.told:
            match told:
                case Alerting() if self._is_up and not self._rings and not self.answered.is_set():
                    self._rings = True
                    await self._told(told)
                    # sfvopi 4.1: the time to ring counts from the first ringback.
                    self._patience.deadline = trio.current_time() + (self._ring_s or 0)
                case Answered() if self._is_up and not self.answered.is_set() and self.decided is None:
                    await self._told(told)
                    self.answered.set()
                case Digit(digit):
                    self._note_digit(digit)
                # Before we have dialed it is the call before ours that ends.
                case Released(cause) if self._is_up:
                    await self._end(self._released(cause))
                case Lost():
                    await self._end(ours(Reason.LINE_LOST))
            if self.end is not None:
                scope.cancel()
                return

    async def _obey(self) -> None:
        """What was being done with it may take its time to end; the line need not wait for that."""
        await self._enough.wait()
        await self._hang_up()

    def _released(self, cause: int) -> Ended:
        refused = self._ring_s is not None and not self.answered.is_set()
        return self.decided or Ended(Reason.REFUSED if refused else Reason.HANGUP, cause)

    async def _end(self, end: Ended) -> None:
        if self.end is None:
            self.end = end
            self._course.cancel()
            with trio.CancelScope(shield=True):
                await self._told(end)
            self._ended.set()

    async def _hang_up(self) -> None:
        async with self._hanging_up:
            if self.end is not None or self._hung_up:
                return
            try:
                await self._line.hang_up()
                self._hung_up = True
            except LineLost:
                # The call is lost with it, as we shall be told.
                pass
            except CommandError as exc:
                self._log.warning("hang-up refused", error=str(exc))

    async def _talk(self, port: Port, talk: Callable[[Port], Awaitable[Ended]], limit_s: float) -> None:
        with trio.move_on_after(limit_s) as limit:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._check_sound, port)
                decided = await talk(port)
                nursery.cancel_scope.cancel()
            self.decided = decided
        if limit.cancelled_caught:
            self.decided = ours(Reason.TIME_LIMIT)

    # --- its sound --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _sound(self) -> AsyncIterator[Port]:
        async with self.seizure.sound(self._media) as port:
            try:
                yield port
            finally:
                if self.answered.is_set():
                    self._meter.look(port.stats())
                    self._log.info("audio", **audio_report(port))

    async def _check_sound(self, port: Port) -> None:
        """A modem without sound is no reason to end a call, as it may come back; but somebody has to know."""
        check = Soundcheck(trio.current_time(), port.stats())
        with self._media.events_of(port) as events:
            while True:
                with trio.move_on_after(LOOK_EVERY_S):
                    async for event in events:
                        if isinstance(event, PortFailed):
                            self._log.warning("the modem's audio failed", error=os.strerror(event.errno))
                            return
                self._meter.look(stats := port.stats())
                begun, over = check.look(stats, trio.current_time())
                for alarm in begun:
                    self.seizure.trunk.alarms[alarm] += 1
                    self._log.warning("sound alarm", alarm=alarm.value)
                for alarm in over:
                    self._log.info("sound alarm is over", alarm=alarm.value)

    # --- its keys ---------------------------------------------------------------------------------------------------

    def _note_digit(self, digit: str) -> None:
        try:
            self._press.send_nowait(digit)
        except trio.WouldBlock:
            if not self._keys_lost:
                self._log.warning("keys are lost: nobody reads them")
            self._keys_lost += 1
        except trio.BrokenResourceError:
            pass

    def press(self, digits: str) -> None:
        """The far end is to hear them, when those before have been sent (`send_keys`)."""
        try:
            self._order_key.send_nowait(digits)
        except trio.WouldBlock:
            self._log.warning("keys are not sent: too many wait", keys=len(digits))

    async def send_keys(self) -> None:
        async for digits in self._ordered_keys:
            try:
                await self._line.send_dtmf(digits)
            except CommandError as exc:
                self._log.warning("keys are not sent", error=str(exc))
            except LineLost:
                # As `_listen` is told, too.
                return


async def _no_talk(port: Port) -> Ended:
    raise AssertionError("it was not answered")
