"""One call, from its first sign to its last fact.

A call is a scope: it has its line (`leg`), perhaps more lines later, and a program, which is what the customer wants
of it. Whatever happens, each line is hung up, and each fact is committed before anybody is told.
"""

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog
import trio

from appliance import events
from appliance.call import Call, Change, Ended, Joined, Reason
from appliance.contracts.sfvopi import Request
from appliance.customer import Customer
from appliance.database import Also, StoreError, nothing_else
from appliance.leg import Leg, ours
from appliance.media import Media
from appliance.receipt import Meter
from appliance.shelf import Shelf
from appliance.store import Store
from appliance.trunk import Seizure
from drivers.line import Alerting, Answered
from native import Port, Trust

log = structlog.get_logger(__name__)

# What the customer is told of a call that has ended, besides its events.
Farewell = Callable[[Call], Request | None]


@dataclass(frozen=True)
class Means:
    """What every call works with.

    `tell` sends a webhook, and `finish` writes an end down that could not be written at once: both in the background.
    Without a shelf nothing is recorded. `announcements` is a directory.
    """

    store: Store
    media: Media
    customer: Customer
    tell: Callable[[Request, Call], None]
    finish: Callable[[Call, Farewell], None]
    shelf: Shelf | None
    announcements: Path
    user_agent: str
    trust: Trust
    now: Callable[[], datetime]


class Program(Protocol):
    """What is done with a call, and who is told of it besides. Times are of the call's own line."""

    @property
    def ring_s(self) -> float: ...

    @property
    def limit_s(self) -> float: ...

    @property
    def unanswered(self) -> Ended | None:
        """Why a call that comes is not to be answered at all."""

    async def follow(self, conductor: "Conductor", port: Port) -> Ended:
        """The call was answered, `port` is its sound. Returns why it is to be hung up."""

    def alerting(self, call: Call) -> Request | None:
        """The far phone rings."""

    def farewell(self, call: Call) -> Request | None:
        """It has ended."""


class NoConversation(Exception):
    """Nobody could be heard in this call now."""


class Conductor:
    def __init__(self, call: Call, program: Program, seizure: Seizure, means: Means) -> None:
        self.call = call
        self.means = means
        self.meter = Meter()
        self.log = log.bind(call=call.uuid, line=call.line)
        self.leg = Leg(
            seizure, means.media, told=self._told, meter=self.meter, if_cancelled=Reason.SHUTDOWN, log=self.log
        )
        # Whom the far end sees, when that is not its own line; told with the next change.
        self.shown: str | None = None
        # Whom a third party hears; and the scope of such, while there is a conversation.
        self.parties: Sequence[Port] = ()
        self._guests: trio.Nursery | None = None
        self._program = program
        # Each change is made of the one before.
        self._changing = trio.Lock()
        self._answered_s = 0.0

    async def inbound(self) -> None:
        async with self._conducted():
            await self.leg.answer(self._follow, limit_s=self._program.limit_s)

    async def outbound(self, to: str | None = None, *, limit_s: float = math.inf) -> None:
        """`to` is what our own line dials, where that is not whom the call is for."""
        async with self._conducted():
            limits = {"ring_s": self._program.ring_s, "limit_s": min(limit_s, self._program.limit_s)}
            await self.leg.dial(to or self.call.to, self._follow, **limits)

    async def refuse(self, end: Ended) -> None:
        """The call is not answered."""
        async with self._conducted():
            await self.leg.refuse(end)

    def hang_up(self) -> None:
        """The customer wants it, whatever the call is at."""
        self.leg.stop(ours(Reason.CUSTOMER))

    @asynccontextmanager
    async def _conducted(self) -> AsyncIterator[None]:
        self.log.info("call", state=self.call.state.value)
        try:
            yield
        finally:
            if self.call.end and (request := self._program.farewell(self.call)) is not None:
                self.means.tell(request, self.call)
            if self.call.answered_at is not None:
                with trio.CancelScope(shield=True):
                    await self._give_receipt()

    async def _follow(self, port: Port) -> Ended:
        async with trio.open_nursery() as self._guests:
            try:
                end = await self._program.follow(self, port)
            finally:
                self.parties = ()
            self._guests.cancel_scope.cancel()
        return end

    # --- its facts --------------------------------------------------------------------------------------------------

    async def _told(self, change: Change) -> None:
        await self.change(change)
        if isinstance(change, Alerting) and (request := self._program.alerting(self.call)) is not None:
            self.means.tell(request, self.call)

    async def change(self, change: Change, **details: Any) -> None:
        """Commits a change, and with it the event that tells it. A call that has ended stays so.

        Raises:
            StoreError: it can't be written, and so not be told. A call's end is in the end.
        """
        # A commit is there or it is not, and we must know which. No deadline: nothing calls back a thread at the disk.
        with trio.CancelScope(shield=True):
            async with self._changing:
                if self.call.end is not None:
                    return
                call = self.call.apply(change, self.time())
                if isinstance(change, Answered):
                    self._answered_s = trio.current_time()
                await self._save(replace(call, from_=self.shown or call.from_, details={**call.details, **details}))
        end = {"reason": call.end.reason.value, "cause": call.end.cause} if call.end else {}
        self.log.info("call", state="joined" if isinstance(change, Joined) else call.state.value, **end)

    async def _save(self, call: Call) -> None:
        is_news = events.status(call) != events.status(self.call)
        try:
            await self.means.store.save(call, told_at=self.means.now() if is_news else None)
            self.call = call
        except StoreError as exc:
            self.log.error("call not written down", state=call.state.value, error=str(exc))
            if not call.end:
                raise
            self.means.finish(call, self._program.farewell)

    def time(self) -> datetime:
        """A call lasts as long as it does: a clock that is set in the midst of it changes no bill."""
        if self.call.answered_at is None:
            return self.means.now()
        return self.call.answered_at + timedelta(seconds=trio.current_time() - self._answered_s)

    async def _give_receipt(self) -> None:
        receipt = self.meter.receipt
        self.log.info("receipt", **receipt)
        try:
            await self.means.store.measured(self.call.id, json.dumps(receipt))
        except StoreError as exc:
            self.log.error("receipt not written down", error=str(exc))

    # --- more lines, and a recording --------------------------------------------------------------------------------

    async def call_up(
        self,
        seizure: Seizure,
        to: str,
        *,
        role: str,
        talk: Callable[[Port], Awaitable[Ended]],
        ring_s: float,
        limit_s: float = math.inf,
        also: Also[int] = nothing_else,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> Leg:
        """One more line dials `to`, and is in the call for as long as `talk` lasts. Returns when it has been hung up.

        It has started, by its id, when it is written down.

        Raises:
            StoreError: it can't be written down, and is not dialed.
        """
        store = self.means.store
        line = seizure.trunk.name
        with closing(seizure):
            row = await store.open_leg(self.call.id, line=line, role=role, to=to, at=self.time(), also=also)
            bound = self.log.bind(line=line, role=role)
            bound.info("leg", state="dialing")

            async def told(change: Change) -> None:
                match change:
                    case Answered():
                        await store.leg_answered(row, self.time())
                        bound.info("leg", state="active")
                    case Ended():
                        bound.info("leg", state="ended", reason=change.reason.value, cause=change.cause)
                        try:
                            await store.leg_ended(row, change, self.time())
                        except StoreError as exc:
                            # With its call it has its end in the file.
                            bound.error("leg not written down", error=str(exc))

            leg = Leg(seizure, self.means.media, told=told, meter=Meter(), if_cancelled=Reason.HANGUP, log=bound)
            # Keys pass as the sound that they are; a second time as keys they would be two.
            leg.digits.close()
            task_status.started(row)
            await leg.dial(to, talk, ring_s=ring_s, limit_s=limit_s)
        return leg

    async def join_in(
        self, seizure: Seizure, to: str, *, ring_s: float, limit_s: float = math.inf, also: Also[int] = nothing_else
    ) -> int:
        """`to` is called, and hears the conversation without being heard, on no recording; its end is not the call's.
        The leg's id, once it is written down.

        Raises:
            NoConversation, StoreError
        """
        guests = self._guests
        if not self.parties or guests is None:
            seizure.close()
            raise NoConversation

        async def listen(port: Port) -> Ended:
            for party in self.parties:
                self.means.media.engine.connect(party, port)
            return await trio.sleep_forever()

        async def attend(task_status: trio.TaskStatus[int]) -> None:
            limits = {"ring_s": ring_s, "limit_s": limit_s}
            await self.call_up(seizure, to, role="monitor", talk=listen, **limits, also=also, task_status=task_status)

        return int(await guests.start(attend))

    @asynccontextmanager
    async def recording(self, left: Port, right: Sequence[Port] = ()) -> AsyncIterator[list[Port]]:
        """Of two channels, from now on. Yields where more of the right one is to be sent."""
        if (shelf := self.means.shelf) is None:
            yield []
            return
        engine, ended = self.means.media.engine, trio.Event()
        path = shelf.directory / f"{self.call.uuid}.wav"
        recorder = engine.recorder()
        engine.connect(left, recorder.left)
        for port in right:
            engine.connect(port, recorder.right)
        try:
            # As of a change: what is begun in the file is begun on the disk, or it would wait for its end for ever.
            with trio.CancelScope(shield=True):
                await self.means.store.recordings.open(self.call.id, path)
        except BaseException as exc:
            recorder.close()
            if not isinstance(exc, StoreError):
                raise
            self.log.error("not recorded", error=str(exc))
            yield []
            return
        # Beside the call: its end does not wait for the disk.
        shelf.record(recorder, path, ended, self.log)
        try:
            yield [recorder.right]
        finally:
            ended.set()
