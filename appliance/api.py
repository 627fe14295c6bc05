"""HTTP: who may ask, which of the contracts answers, and what an error looks like there."""

import json
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from hashlib import sha256
from secrets import choice
from string import ascii_lowercase, digits
from typing import Any

import trio
from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance import box_api
from appliance.box_api import box_routes
from appliance.box_apps import app_routes
from appliance.box_calls import call_routes
from appliance.box_projects import project_routes
from appliance.box_recordings import recording_routes
from appliance.claims import NumberTaken
from appliance.contracts import phonevoice, sfvopi
from appliance.contracts.sfvopi import Refusal, Refused
from appliance.control import Control
from appliance.database import StoreError
from appliance.exchange import NotDialed
from appliance.health import OK, VERSION, Health
from appliance.heard import heard_routes
from appliance.links import Links
from appliance.manual import manual_routes
from appliance.metrics import Metrics
from appliance.numbers import normalise
from appliance.phonevoice_api import Terms, account_routes, number_routes, webhook_routes
from appliance.phonevoice_calls import call_routes as phonevoice_calls
from appliance.phonevoice_calls import legacy_routes
from appliance.phonevoice_gate import PATHS as PHONEVOICE_PATHS
from appliance.phonevoice_gate import TokenRequired, within
from appliance.phonevoice_gate import refuse as refuse_phonevoice
from appliance.shelf import Shelf
from appliance.store import Store
from appliance.texting import Postbox

# Our bound; the largest body that the contract knows is under 10 KiB.
BODY_LIMIT_BYTES = 256 * 1024
PREFIX = "/superfone"
LOCKED = (PREFIX + "/", box_api.PREFIX + "/")

ORDINARY_TERMS = Terms()

# For who reads of it; KeyRequired is who asks for it.
KEY = Security(APIKeyHeader(name="X-API-Key", auto_error=False, description="`branchline token create` makes one."))

# For who opens the box's address in a browser.
ENTRANCE = """Branchline: SIM cards and analog phone lines as programmable voice lines.

/docs           the box's own API, to read and to try with a key
/openapi.json   the same for programs
/healthz        whether all is well; with a key also how
/metrics        for Prometheus, with a key
"""

# sfvopi, sections 2 to 4: what an unexpected fault is called, by endpoint.
FAILURES = {
    "create_app": "Failed to create SFVoPI app: {error}",
    "list_apps": "Failed to get SFVoPI apps: {error}",
    "get_app": "Failed to get SFVoPI app: {error}",
    "change_app": "Failed to update SFVoPI app: {error}",
    "delete_app": "Failed to delete SFVoPI app: {error}",
    "available_numbers": "Failed to get available numbers: {error}",
    "link_number": "Failed to link number: {error}",
    "list_numbers": "Failed to get numbers: {error}",
    "unlink_number": "Failed to unlink number: {error}",
    "place_call": "Failed to initiate outbound call",
}


def answer(status: int, content: Any) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), status, media_type="application/json")


def refuse(refusal: Refusal) -> Response:
    return answer(refusal.status, {"message": refusal.message})


def new_id(prefix: str) -> str:
    """As the contract shapes its ids: the prefix and twelve lower-case letters and digits."""
    return prefix + "".join(choice(ascii_lowercase + digits) for _ in range(12))


async def read_body(request: Request) -> bytes:
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > BODY_LIMIT_BYTES:
                raise Refused(sfvopi.BAD_BODY)
    return bytes(body)


class BodyForgotten:
    """Takes what is left of a body while the last of its answer goes out.

    hypercorn (0.18) queues ten parts of a body that nobody reads, wants to queue the end of the connection behind them,
    and waits for ever: who sends a long body, with or without a key, costs a descriptor each time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def forget() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def answer(message: Message) -> None:
            async with trio.open_nursery() as nursery:
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    nursery.start_soon(forget)
                await send(message)
                nursery.cancel_scope.cancel()

        await self._app(scope, receive, answer if scope["type"] == "http" else send)


class KeyRequired:
    """Nothing that is LOCKED is seen without a key: it is asked for before path and body (sfvopi 1)."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(LOCKED):
            # A slash at the end is no other path, and to follow a redirect might be to show the key in the clear.
            scope["path"] = scope["path"].rstrip("/")
            refusal = await check_key(dict(scope["headers"]).get(b"x-api-key"), self._store)
            if refusal is not None:
                await refuse(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def check_key(key: bytes | None, store: Store) -> Refusal | None:
    """None: it is good."""
    if not key:
        return sfvopi.KEY_MISSING
    # The digest is compared, so the time of the look-up says nothing about a key.
    return None if await store.key_known(sha256(key).hexdigest()) else sfvopi.KEY_UNKNOWN


def sfvopi_routes(
    control: Control, store: Store, *, org_id: int, country: str, now: Callable[[], datetime]
) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/sfvopi")

    @routes.post("/apps")
    async def create_app(request: Request) -> Response:
        app = sfvopi.new_app(await read_body(request), app_id=new_id("sfv_app_"), now=now())
        await store.save_app(app)
        return answer(200, sfvopi.success(sfvopi.app_json(app, org_id)))

    @routes.get("/apps")
    async def list_apps() -> Response:
        return answer(200, sfvopi.success([sfvopi.app_json(app, org_id) for app in await store.apps()]))

    @routes.get("/apps/{app_id}")
    async def get_app(app_id: str) -> Response:
        return shown(await store.app(app_id))

    @routes.put("/apps/{app_id}")
    @routes.patch("/apps/{app_id}")
    async def change_app(app_id: str, request: Request) -> Response:
        changes = sfvopi.app_changes(await read_body(request), now=now())
        return shown(await store.change_app(app_id, changes))

    def shown(app: sfvopi.App | None) -> Response:
        if app is None:
            raise Refused(sfvopi.APP_NOT_FOUND)
        return answer(200, sfvopi.success(sfvopi.app_json(app, org_id)))

    @routes.delete("/apps/{app_id}")
    async def delete_app(app_id: str) -> Response:
        if not await store.delete_app(app_id):
            raise Refused(sfvopi.APP_NOT_FOUND)
        return answer(200, sfvopi.success(sfvopi.DELETED))

    @routes.get("/available-numbers")
    async def available_numbers() -> Response:
        claimed = await store.claimed_numbers()
        free = [
            sfvopi.available_json(place, trunk.number, analog=trunk.analog)
            for place, trunk in enumerate(control.trunks, 1)
            if trunk.number not in claimed
        ]
        return answer(200, sfvopi.success(free))

    @routes.get("/apps/{app_id}/numbers")
    async def list_numbers(app_id: str) -> Response:
        if await store.app(app_id) is None:
            raise Refused(sfvopi.NO_APP_OF_NUMBERS)
        return answer(200, sfvopi.success([sfvopi.link_json(link, org_id) for link in await store.links(app_id)]))

    @routes.delete("/apps/{app_id}/numbers/{number}")
    async def unlink_number(app_id: str, number: str) -> Response:
        if await store.app(app_id) is None:
            raise Refused(sfvopi.NO_APP_OF_NUMBERS)
        if not await store.unlink(app_id, normalise(number, country) or number):
            raise Refused(sfvopi.NOT_LINKED_TO_APP)
        return answer(200, sfvopi.success(sfvopi.DELETED))

    @routes.post("/apps/{app_id}/numbers")
    async def link_number(app_id: str, request: Request) -> Response:
        number = sfvopi.number_to_link(await read_body(request), country=country)
        if await store.app(app_id) is None:
            raise Refused(sfvopi.APP_NOT_FOUND)
        if number not in {trunk.number for trunk in control.trunks}:
            raise Refused(sfvopi.NOT_OUR_NUMBER)
        try:
            link = await store.link(sfvopi.Link(app_id, number, sfvopi.timestamp(now())))
        except NumberTaken:
            raise Refused(sfvopi.CLAIMED_ELSEWHERE) from None
        if link is None:
            raise Refused(sfvopi.APP_NOT_FOUND)
        if link.app_id != app_id:
            raise Refused(sfvopi.NUMBER_TAKEN)
        return answer(200, sfvopi.success(sfvopi.link_json(link, org_id)))

    @routes.post("/calls")
    async def place_call(request: Request) -> Response:
        order = sfvopi.order(await read_body(request), country=country)
        app = await store.app_of_number(order.from_)
        if app is None or app.status != "ACTIVE":
            raise Refused(sfvopi.not_linked(order.from_))
        request_uuid = new_id("sfv_ob_req_")
        try:
            await control.place(order, app, request_uuid)
        except NotDialed as exc:
            raise Refused(Refusal(400, str(exc))) from None
        return answer(200, sfvopi.success(sfvopi.queued_json(request_uuid)))

    return routes


def make_api(
    control: Control,
    store: Store,
    shelf: Shelf,
    links: Links,
    health: Health,
    metrics: Metrics,
    postbox: Postbox,
    *,
    org_id: int,
    country: str,
    now: Callable[[], datetime],
    terms: Terms | None = ORDINARY_TERMS,
) -> ASGIApp:
    """Without `terms` PhoneVoice is not spoken."""
    api = FastAPI(title="Branchline", version=VERSION, openapi_url="/openapi.json", docs_url=None, redoc_url=None)
    api.add_middleware(KeyRequired, store=store)
    for box in (
        box_routes(control.trunks, postbox),
        call_routes(control, store, links, now),
        recording_routes(store, shelf, links, now),
        app_routes(control, store, now),
        project_routes(control, store, now),
    ):
        api.include_router(box, dependencies=[KEY])
    api.include_router(heard_routes(store.archive, links, now), include_in_schema=False)
    api.include_router(manual_routes(), include_in_schema=False)
    # Its bodies are the contract's own, which these pages know nothing of.
    routes = sfvopi_routes(control, store, org_id=org_id, country=country, now=now)
    api.include_router(routes, include_in_schema=False)

    if terms is not None:
        api.add_middleware(TokenRequired, tenants=store.tenants)
        for theirs in (
            account_routes(store.tenants, signup=terms.signup, now=now),
            number_routes(store, control.trunks, rules=terms.rules, country=country, now=now),
            webhook_routes(store, allow_loopback=terms.allow_loopback, now=now),
            phonevoice_calls(control, store, now=now),
            legacy_routes(control, store, allow_loopback=terms.allow_loopback),
        ):
            api.include_router(theirs)

    @api.get("/", include_in_schema=False)
    async def entrance() -> Response:
        return Response(ENTRANCE, media_type="text/plain")

    @api.get("/healthz", include_in_schema=False)
    async def healthz(request: Request) -> Response:
        """For a monitor without a key no more than whether all is well: the rest has people's numbers in it."""
        status = health.status
        stranger = await check_key(request.headers.get("x-api-key", "").encode("latin-1"), store)
        return answer(200 if status == OK else 503, {"status": status} if stranger else await health.report())

    @api.get("/metrics", include_in_schema=False)
    async def figures(request: Request) -> Response:
        """Prometheus sends a key as `authorization: {credentials: KEY}` has it."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        key = request.headers.get("x-api-key") or (bearer if scheme.lower() == "bearer" else "")
        refusal = await check_key(key.encode("latin-1"), store)
        if refusal is not None:
            return refuse(refusal)
        return Response(await metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @api.exception_handler(Refused)
    async def refused(_request: Request, exc: Refused) -> Response:
        return refuse(exc.refusal)

    @api.exception_handler(phonevoice.Refused)
    async def refused_phonevoice(_request: Request, exc: phonevoice.Refused) -> Response:
        return refuse_phonevoice(exc.refusal)

    @api.exception_handler(RequestValidationError)
    async def invalid(_request: Request, exc: RequestValidationError) -> Response:
        return refuse(Refusal(422, box_api.in_words(exc)))

    @api.exception_handler(HTTPException)
    async def unknown(request: Request, exc: HTTPException) -> Response:
        # Unknown path, or a known one with another method.
        if within(request.url.path, PHONEVOICE_PATHS):
            answer = refuse_phonevoice(phonevoice.Refusal(exc.status_code, exc.detail))
        else:
            answer = refuse(Refusal(exc.status_code, exc.detail))
        answer.headers.update(exc.headers or {})
        return answer

    @api.exception_handler(Exception)
    async def failed(request: Request, exc: Exception) -> Response:
        if within(request.url.path, PHONEVOICE_PATHS):
            return refuse_phonevoice(phonevoice.OUT_OF_ORDER if isinstance(exc, StoreError) else phonevoice.FAULT)
        name = getattr(request.scope.get("route"), "name", "")
        return refuse(Refusal(500, FAILURES.get(name, "Internal Server Error").format(error=exc)))

    return BodyForgotten(api)
