"""PhoneVoice's REST: calls (4), and how its older generation orders them (10)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from secrets import choice
from string import ascii_lowercase, digits
from typing import Any

import structlog
import trio
from fastapi import APIRouter, Request, Response

from appliance import events
from appliance.actions import StreamTo
from appliance.call import Call
from appliance.conductor import NoConversation
from appliance.contracts import phonevoice
from appliance.contracts import phonevoice_answers as answers
from appliance.contracts.phonevoice import AgentOrder, PhoneBridgeOrder, Refusal, Refused, unfit
from appliance.control import Control
from appliance.database import Also
from appliance.directory import Agent
from appliance.exchange import LinesDown, NoLine, NotDialed
from appliance.gateway import target_refusal
from appliance.phonevoice_gate import answer, bearer_of, body_of, list_answer, once, own
from appliance.plans import Plan
from appliance.store import Store
from appliance.tenants import Bearer

log = structlog.get_logger(__name__)

# Who orders a hang-up waits so long for its end. A modem has 5 s for it (`leg`), then the call ends without its word.
END_LIMIT_S = 6


class Orders:
    """Calls that projects ask for, by either generation."""

    def __init__(self, control: Control, store: Store) -> None:
        self._control = control
        self._store = store
        self._directory = store.directory

    async def place(self, order: AgentOrder | PhoneBridgeOrder, bearer: Bearer, also: Also[Call]) -> Call:
        """Raises Refused."""
        if isinstance(order, AgentOrder):
            agent = own(await self._directory.agent(order.agent_id), bearer)
            from_ = await self._own_line("inbound_phone_number", order.inbound_phone_number, bearer)
            switches = order.switches(agent.settings.model_dump(include=set(phonevoice.SWITCHES)))
            return await self.place_agent(agent, order.recipient_phone_number, from_=from_, details=switches, also=also)
        switches = order.switches({})
        plan = self._control.plans.bridge(
            bearer.project.id,
            order.inbound_phone_number,
            order.recipient_phone_number,
            relay_number=await self._own_line("relay_number", order.relay_number, bearer),
            rather=await self._default_line(bearer.project.id),
            recorded=switches["enable_recording"],
        )
        return await self._initiate(plan, switches, also)

    async def place_agent(
        self, agent: Agent, to: str, *, from_: str | None = None, details: Mapping[str, Any], also: Also[Call]
    ) -> Call:
        """Raises Refused."""
        plan = self._control.plans.agent(
            agent.project,
            to,
            _stream_of(agent),
            from_=from_,
            rather=await self._default_line(agent.project),
            recorded=details["enable_recording"],
        )
        return await self._initiate(plan, details, also)

    async def _initiate(self, plan: Plan, details: Mapping[str, Any], also: Also[Call]) -> Call:
        try:
            call = await self._control.initiate(plan, details, also=also)
        except NotDialed as exc:
            raise Refused(Refusal(422, str(exc))) from None
        except LinesDown:
            raise Refused(phonevoice.LINES_DOWN) from None
        log.info("call ordered", project=plan.project, call=call.uuid, kind=plan.kind.value)
        return call

    async def _own_line(self, field: str, number: str, bearer: Bearer) -> str | None:
        """None: the order leaves it to us."""
        if not number:
            return None
        if number not in self._numbers:
            raise Refused(unfit(field, "is not a number of this box"))
        if (relay := await self._directory.relay_of(number)) is not None:
            own(relay, bearer)
        elif number in await self._store.claimed_numbers():
            # An app's, by another contract.
            raise Refused(phonevoice.NOT_YOURS)
        return number

    async def _default_line(self, project: int) -> str | None:
        """4.1: the project's own, the one first bought; or whichever is free."""
        bought = await self._directory.numbers_of(project)
        return next((number for number in bought if number in self._numbers), None)

    @property
    def _numbers(self) -> set[str]:
        return {trunk.number for trunk in self._control.trunks}

    async def assistant(self, name: str, bearer: Bearer) -> Agent:
        """10: an agent's id in decimal digits, or its slug. Raises Refused."""
        is_id = name.isascii() and name.isdigit() and len(name) <= 15
        by_id = await self._directory.agent(int(name)) if is_id else None
        if by_id is not None and by_id.project == bearer.project.id:
            return by_id
        return own(await self._directory.agent_called(bearer.project.id, name) or by_id, bearer)

    async def hang_up(self, call: Call) -> Call:
        """As it is then: over, as a rule."""
        if call.end is None and not self._control.hang_up(call.uuid):
            # Over in this moment.
            return await self._store.call(call.id) or call
        with trio.move_on_after(END_LIMIT_S):
            while call.end is None:
                # An end is an event.
                news = self._store.outbox.news
                call = await self._store.call(call.id) or call
                if call.end is None:
                    await news.wait()
        return call

    async def add_monitor(self, call: Call, phone: str, also: Also[int]) -> int:
        """The id of the supervisor's leg. Raises Refused."""
        try:
            return await self._control.add_monitor(call.uuid, phone, also)
        except NoConversation:
            raise Refused(phonevoice.NOT_IN_PROGRESS) from None
        except NoLine:
            raise Refused(phonevoice.NO_LINE_TO_LISTEN) from None
        except NotDialed as exc:
            raise Refused(Refusal(422, str(exc))) from None


def _stream_of(agent: Agent) -> StreamTo:
    if (stream := agent.settings.stream_to) is None:
        raise Refused(phonevoice.NO_RUNTIME)
    return stream


def call_routes(control: Control, store: Store, *, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/calls", include_in_schema=False)
    orders = Orders(control, store)

    async def own_call(request: Request) -> Call:
        call = await store.call(phonevoice.identifier(request.path_params["id"]))
        return own(call, bearer_of(request))

    async def calls_json(calls: Sequence[Call]) -> list[answers.Json]:
        """7.3: what events tell of them."""
        at = now()
        urls = await store.recordings.urls(calls, at)
        return [dict(events.of_call(call, at, recording_url=url).data) for call, url in zip(calls, urls, strict=True)]

    @routes.post("/initiate")
    async def initiate(request: Request) -> Response:
        body = await body_of(request)
        order = partial(orders.place, phonevoice.call_order(body), bearer_of(request))
        return await once(request, store.repeats, body, order, answers.initiated_json)

    @routes.get("")
    async def list_calls(request: Request) -> Response:
        """The contract says that this lists agents, under the path of calls: it lists both (4.3)."""
        page = phonevoice.page_asked(request.url.query)
        project = bearer_of(request).project.id
        calls, total = await store.archive.project_calls(project, offset=page.offset, limit=page.per_page)
        agents = [
            answers.agent_json(agent, agent.settings.model_dump()) for agent in await store.directory.agents(project)
        ]
        return list_answer(request, "calls", await calls_json(calls), page, total, agents=agents)

    @routes.get("/{id}")
    async def get(request: Request) -> Response:
        """Ours: the contract itself has no way to read a call."""
        (call,) = await calls_json([await own_call(request)])
        return answer(200, call)

    @routes.post("/{id}/hangup")
    async def hang_up(request: Request) -> Response:
        call = await orders.hang_up(await own_call(request))
        return answer(200, answers.hung_up_json(call, events.status(call)))

    @routes.post("/{id}/add_monitor")
    async def add_monitor(request: Request) -> Response:
        call, body = await own_call(request), await body_of(request)
        phone = phonevoice.read(phonevoice.AddMonitor, body).supervisor_phone
        order = partial(orders.add_monitor, call, phone)
        return await once(
            request, store.repeats, body, order, lambda leg: answers.monitor_json(call, leg, phone), status=200
        )

    @routes.post("/{id}/embed_session")
    async def embed_session(request: Request) -> Response:
        await own_call(request)
        phonevoice.read(phonevoice.EmbedRole, await body_of(request))
        raise Refused(phonevoice.NO_SOFTPHONE)

    @routes.post("/{id}/player_session")
    async def player_session(request: Request) -> Response:
        await own_call(request)
        raise Refused(phonevoice.NO_PLAYER)

    return routes


def legacy_routes(control: Control, store: Store, *, allow_loopback: bool) -> APIRouter:
    routes = APIRouter(prefix="/v1/calls", include_in_schema=False)
    orders, context = Orders(control, store), {"allow_loopback": allow_loopback}

    @routes.post("")
    async def create(request: Request) -> Response:
        body = await body_of(request)
        asked = phonevoice.read(phonevoice.LegacyOrder, body, context=context)
        known_by = {"call_id": new_call_id(), "webhook_url": asked.webhook_url}

        async def order(also: Also[Call]) -> Call:
            agent = await orders.assistant(asked.assistant_id, bearer_of(request))
            url = asked.webhook_url
            if url and (problem := await target_refusal(url, allow_loopback=allow_loopback)):
                raise Refused(unfit("webhook_url", f"leads where no event may go: {problem}"))
            # All three switches are on (10), whatever the agent's other calls have.
            details = dict.fromkeys(phonevoice.SWITCHES, True) | known_by
            return await orders.place_agent(agent, asked.phone_number, details=details, also=also)

        def said(call: Call) -> answers.Json:
            return answers.legacy_call_json(
                call, known_by["call_id"], to=asked.phone_number, assistant_id=asked.assistant_id
            )

        return await once(request, store.repeats, body, order, said)

    return routes


def new_call_id() -> str:
    """Of the shape that the older documents show."""
    return "call_" + "".join(choice(ascii_lowercase + digits) for _ in range(10))
