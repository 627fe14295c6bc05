"""PhoneVoice's REST: calls (4)."""

from fastapi import APIRouter, Request, Response

from appliance.contracts import phonevoice
from appliance.phonevoice_gate import bearer_of, body_of, own
from appliance.store import Store


def call_routes(store: Store) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/calls", include_in_schema=False)

    async def need_own_call(request: Request) -> None:
        call = await store.call(phonevoice.identifier(request.path_params["id"]))
        own(call, lambda call: call.project, bearer_of(request))

    @routes.post("/{id}/embed_session")
    async def embed_session(request: Request) -> Response:
        await need_own_call(request)
        phonevoice.read(phonevoice.EmbedRole, await body_of(request))
        raise phonevoice.Refused(phonevoice.NO_SOFTPHONE)

    @routes.post("/{id}/player_session")
    async def player_session(request: Request) -> Response:
        await need_own_call(request)
        raise phonevoice.Refused(phonevoice.NO_PLAYER)

    return routes
