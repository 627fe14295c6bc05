"""All calls: those that come, those that are asked for, and those that a crash left open."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from secrets import token_hex, token_urlsafe
from typing import Any
from uuid import uuid4

import structlog
import trio

from appliance.attendant import AppCall
from appliance.call import Call, Direction, Ended, Kind, Reason, State
from appliance.conductor import Conductor, Farewell, Means, NoConversation, Program
from appliance.config import ORDINARY_RELAY, Relay
from appliance.contracts import sfvopi
from appliance.contracts.sfvopi import Request, Route
from appliance.customer import Customer, CustomerFailed
from appliance.database import Also, StoreError, nothing_else
from appliance.exchange import Exchange
from appliance.leg import LAST_DUTIES_LIMIT_S, LINE_BUSY, LINE_DOWN, ours
from appliance.media import Media
from appliance.numbers import ORDINARY_RULES, DialingRules, caller_id
from appliance.plans import Plan, Plans
from appliance.shelf import Shelf
from appliance.store import Store
from appliance.trunk import Seizure, Trunk, TrunkBusy, TrunkDown
from drivers.line import Incoming
from native import Trust

log = structlog.get_logger(__name__)

# A disk that was full has room again when somebody has made some.
WRITE_AGAIN_S = 60
# Of a third party, who is waited for by nobody.
SUPERVISOR_RING_S = 60


class Control:
    """Trunks are added before `run`. Without a shelf nothing is recorded. `announcements` is where apps' options find
    theirs.
    """

    def __init__(
        self,
        *,
        store: Store,
        media: Media,
        customer: Customer,
        shelf: Shelf | None,
        country: str,
        user_agent: str,
        trust: Trust,
        now: Callable[[], datetime],
        rules: DialingRules = ORDINARY_RULES,
        concurrent_calls: int | None = None,
        announcements: Path = Path("announcements"),
        relay: Relay = ORDINARY_RELAY,
    ) -> None:
        self.trunks: list[Trunk] = []
        self._relay = relay
        self._exchange = Exchange(
            self.trunks, store, country=country, now=now, rules=rules, most_placed=concurrent_calls, choice=relay
        )
        self.permit = self._exchange.permit
        self.plans = Plans(self._exchange, self.trunks, relay)
        # How each call that is under way is hung up, by its uuid; and who conducts it, when it has a line.
        self._under_way: dict[str, Callable[[], None]] = {}
        self._conductors: dict[str, Conductor] = {}
        self._stopped = False
        self._store = store
        self._customer = customer
        self._country = country
        self._now = now
        self._means = Means(
            store,
            media,
            customer,
            self._tell,
            self._finish_later,
            shelf,
            announcements,
            user_agent,
            trust,
            now,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ends what the last run left open, then serves calls until cancelled; then every call is hung up."""
        async with trio.open_nursery() as self._chores, trio.open_nursery() as self._calls:
            await self._recover()
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._stopped = True

    # --- calls ------------------------------------------------------------------------------------------------------

    def ring(self, seizure: Seizure, incoming: Incoming) -> None:
        """Somebody calls on a trunk."""
        if self._stopped:
            # Lines are up for as long as calls are hung up. It rings until the caller has enough.
            seizure.leaves_call = True
            seizure.close()
        else:
            self._calls.start_soon(self._inbound, seizure, incoming)

    @property
    def records(self) -> bool:
        return self._means.shelf is not None

    @property
    def announcements(self) -> Path:
        return self._means.announcements

    def hang_up(self, uuid: str) -> bool:
        """Orders it. False: no such call is under way."""
        if (hang_up := self._under_way.get(uuid)) is None:
            return False
        log.info("hang-up ordered", call=uuid)
        hang_up()
        return True

    async def add_monitor(self, uuid: str, phone: str, also: Also[int] = nothing_else) -> int:
        """A third party is called, who hears and is not heard (phonevoice 4.4). The id of his leg.

        Raises:
            NoConversation, NoLine, NotDialed
        """
        conductor = self._conductors.get(uuid)
        if conductor is None or not conductor.parties:
            raise NoConversation
        like, project = conductor.leg.seizure.trunk, conductor.call.project
        seizure, limit_s = await self._exchange.seize(
            phone, project=project, like=like, limit_s=self._relay.limit_s, further=True
        )
        return await conductor.join_in(seizure, phone, ring_s=SUPERVISOR_RING_S, limit_s=limit_s, also=also)

    @contextmanager
    def _carried(self, call: Call, hang_up: Callable[[], None]) -> Iterator[None]:
        self._under_way[call.uuid] = hang_up
        try:
            yield
        finally:
            del self._under_way[call.uuid]

    @asynccontextmanager
    async def _waiting(self, call: Call, program: Program) -> AsyncIterator[trio.CancelScope]:
        """It has no line yet; who hangs it up cancels what it waits for. With the service it ends itself."""
        try:
            with trio.CancelScope() as waiting, self._carried(call, waiting.cancel):
                yield waiting
        except trio.Cancelled:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LAST_DUTIES_LIMIT_S):
                await self._close(call, program.farewell, ours(Reason.SHUTDOWN))
            raise

    @contextmanager
    def _conducting(self, call: Call, program: Program, seizure: Seizure) -> Iterator[Conductor]:
        conductor = Conductor(call, program, seizure, self._means)
        with closing(seizure), self._carried(call, conductor.hang_up):
            self._conductors[call.uuid] = conductor
            try:
                yield conductor
            finally:
                del self._conductors[call.uuid]

    async def _inbound(self, seizure: Seizure, incoming: Incoming) -> None:
        with ExitStack() as stack:
            stack.enter_context(closing(seizure))
            try:
                taken = await self._take(seizure.trunk, incoming)
            except StoreError as exc:
                log.error("call not taken: it can't be written down", line=seizure.trunk.name, error=str(exc))
                taken = None
            if taken is None:
                # sfvopi 6.1: it rings until the caller has enough, and nobody is told.
                await seizure.over()
                return
            stack.pop_all()
            call, program = taken
            with self._conducting(call, program, seizure) as conductor:
                if program.unanswered is not None:
                    await conductor.refuse(program.unanswered)
                else:
                    await conductor.inbound()

    async def _take(self, trunk: Trunk, incoming: Incoming) -> tuple[Call, Program] | None:
        caller = caller_id(incoming.number, self._country)
        if (relay := await self._store.directory.relay_of(trunk.number)) is not None:
            plan = self.plans.relayed(trunk, relay, caller)
            return await self._open(plan, Direction.INBOUND, line=trunk.name), plan.program
        app = await self._store.app_of_number(trunk.number)
        if app is None or app.status != "ACTIVE":
            log.info("call not taken: no active app for the number", line=trunk.name)
            return None
        call = await self._store.open_call(
            uuid=str(uuid4()),
            line=trunk.name,
            direction=Direction.INBOUND,
            from_=caller,
            to=trunk.number,
            state=State.INCOMING,
            started_at=self._now(),
            app_id=app.app_id,
            route=app.route.to_json(),
        )
        return call, AppCall(app.route)

    async def place(self, order: sfvopi.Order, app: sfvopi.App, request_uuid: str) -> None:
        """Returns when the order is safe; how it fares is told by webhooks (sfvopi 4.1).

        Raises:
            NotDialed: the number, or how much the line was used, forbids it.
        """
        route = order.route(app)
        trunk = self._trunk_of(order.from_)
        with ExitStack() as placing:
            placing.enter_context(self._exchange.placing())
            if trunk is not None and (limit_s := await self.permit(trunk, order.to)) is not None:
                route = replace(route, time_limit_s=min(route.time_limit_s, limit_s))
            call = await self._store.open_call(
                uuid=str(uuid4()),
                line=trunk.name if trunk else "",
                direction=Direction.OUTBOUND,
                from_=order.from_,
                to=order.to,
                state=State.QUEUED,
                started_at=self._now(),
                request_uuid=request_uuid,
                app_id=app.app_id,
                route=route.to_json(),
            )
            self._calls.start_soon(self._outbound, placing.pop_all(), call, AppCall(route), trunk)

    def _trunk_of(self, number: str | None) -> Trunk | None:
        return next((trunk for trunk in self.trunks if trunk.number == number), None)

    async def _outbound(self, placing: ExitStack, call: Call, program: Program, trunk: Trunk | None) -> None:
        with placing:
            await self._carry(call, program, trunk)

    async def _carry(self, call: Call, program: Program, trunk: Trunk | None) -> None:
        try:
            if trunk is None:
                raise TrunkDown(call.from_)
            async with self._waiting(call, program) as waiting:
                await trunk.make_way()
            if waiting.cancel_called:
                await self._close(call, program.farewell, ours(Reason.CUSTOMER))
                return
            seizure = trunk.seize()
        except (TrunkBusy, TrunkDown) as exc:
            log.info("call not placed", call=call.uuid, reason=type(exc).__name__)
            await self._close(call, program.farewell, LINE_BUSY if isinstance(exc, TrunkBusy) else LINE_DOWN)
            return
        with self._conducting(call, program, seizure) as conductor:
            await conductor.outbound()

    # --- calls of a project -----------------------------------------------------------------------------------------

    async def initiate(
        self, plan: Plan, details: Mapping[str, Any] | None = None, *, also: Also[Call] = nothing_else
    ) -> Call:
        """Returns when the order is safe; how it fares is told by events (phonevoice 4). `details` are the call's.

        Raises:
            NotDialed, LinesDown
        """
        self._exchange.check(plan.dials)
        self._exchange.check(plan.to)
        self._exchange.need_lines()
        with ExitStack() as placing:
            placing.enter_context(self._exchange.placing())
            call = await self._open(plan, Direction.OUTBOUND, line="", details=details, also=also)
            self._calls.start_soon(self._carry_when_free, placing.pop_all(), call, plan)
        return call

    async def _open(
        self,
        plan: Plan,
        direction: Direction,
        *,
        line: str,
        details: Mapping[str, Any] | None = None,
        also: Also[Call] = nothing_else,
    ) -> Call:
        return await self._store.open_call(
            uuid=str(uuid4()),
            line=line,
            direction=direction,
            from_=plan.from_,
            to=plan.to,
            state=State.INCOMING if direction is Direction.INBOUND else State.QUEUED,
            started_at=self._now(),
            # What it is to be it is told at once; of an end after a crash there is nothing to say but the event.
            route="{}",
            kind=plan.kind,
            project=plan.project,
            relay_number=plan.relay_number,
            # phonevoice 4.1: what it is known by besides its id.
            details={"telephony_ref": "CA" + token_hex(16), "cable_token": token_urlsafe(32), **(details or {})},
            also=also,
        )

    async def _carry_when_free(self, placing: ExitStack, call: Call, plan: Plan) -> None:
        with placing:
            found: tuple[Seizure, float] | Ended = ours(Reason.CUSTOMER)
            async with self._waiting(call, plan.program) as waiting:
                found = await self._exchange.wait(plan.seek)
            if isinstance(found, Ended):
                log.info("call not placed", call=call.uuid, reason=found.reason.value)
                await self._close(call, plan.program.farewell, found)
                return
            seizure, limit_s = found
            trunk = seizure.trunk
            call = replace(call, line=trunk.name, from_=call.from_ or trunk.number)
            with self._conducting(call, plan.program, seizure) as conductor:
                if waiting.cancel_called:
                    conductor.hang_up()
                await conductor.outbound(plan.dials, limit_s=limit_s)

    # --- the ends of calls ------------------------------------------------------------------------------------------

    async def _close(self, call: Call, farewell: Farewell, end: Ended) -> None:
        """Ends a call that no line carries."""
        await self._finish(call.apply(end, self._now()), farewell)

    async def _finish(self, call: Call, farewell: Farewell) -> None:
        """Writes an end down, and tells it: as soon as the disk lets us, or else the next start does."""
        while True:
            try:
                await self._store.save(call, told_at=self._now())
                break
            except StoreError as exc:
                log.error("call not written down", call=call.uuid, error=str(exc))
            await trio.sleep(WRITE_AGAIN_S)
        if (request := farewell(call)) is not None:
            self._tell(request, call)

    async def _recover(self) -> None:
        for call, route in await self._store.open_calls():
            log.warning("call was cut by a restart", call=call.uuid, line=call.line)
            farewell = AppCall(Route.from_json(route)).farewell if call.kind is Kind.APP else _in_silence
            await self._close(call, farewell, ours(Reason.RESTART))

    # --- chores: what is done for a call when it is over, or beside it ----------------------------------------------

    def _tell(self, request: Request, call: Call) -> None:
        self._chores.start_soon(self._send, request, call)

    def _finish_later(self, call: Call, farewell: Farewell) -> None:
        self._chores.start_soon(self._finish, call, farewell)

    async def _send(self, request: Request, call: Call) -> None:
        # Shielded: when the service stops, the last calls' webhooks still go out.
        with trio.CancelScope(shield=True):
            try:
                await self._customer.tell(
                    request.method,
                    request.url,
                    headers=request.headers,
                    body=request.body,
                    limit_s=sfvopi.NOTICE_LIMIT_S,
                )
            except CustomerFailed as exc:
                log.warning("webhook failed", call=call.uuid, error=str(exc))


def _in_silence(call: Call) -> None:
    """Of a kind of which only events are told."""
