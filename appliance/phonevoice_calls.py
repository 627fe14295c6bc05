"""PhoneVoice's REST: calls (4)."""

from collections.abc import Callable, Sequence
from datetime import datetime

from fastapi import APIRouter, Request, Response

from appliance import events
from appliance.call import Call
from appliance.contracts import phonevoice
from appliance.contracts import phonevoice_answers as answers
from appliance.contracts.phonevoice import Refused
from appliance.phonevoice_gate import answer, bearer_of, body_of, list_answer, own
from appliance.store import Store


def call_routes(store: Store, *, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/calls", include_in_schema=False)

    async def own_call(request: Request) -> Call:
        call = await store.call(phonevoice.identifier(request.path_params["id"]))
        return own(call, bearer_of(request))

    async def calls_json(calls: Sequence[Call]) -> list[answers.Json]:
        """7.3: what events tell of them."""
        at = now()
        urls = await store.recordings.urls(calls, at)
        return [dict(events.of_call(call, at, recording_url=url).data) for call, url in zip(calls, urls, strict=True)]

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
