"""Who uses the box, under /box/v1: what apps want beyond their contract, and keys."""

from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import structlog
import trio
from fastapi import APIRouter, HTTPException, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from appliance.announcement import AnnouncementError, read_announcement
from appliance.box_api import COMMON, PREFIX, Body, JsonRoute, errors
from appliance.control import Control
from appliance.options import Options, TakeMessage
from appliance.store import Key, Store, new_key

log = structlog.get_logger(__name__)


class NewToken(Body):
    name: Annotated[str, Field(min_length=1, max_length=100, description="Who will use it; for people to read.")]


class Token(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


class MadeToken(Token):
    token: Annotated[str, Field(description="For the header X-API-Key. Shown this once: only its digest is kept.")]


class Tokens(BaseModel):
    tokens: Sequence[Token]


def app_routes(control: Control, store: Store, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, responses=COMMON, route_class=JsonRoute)

    # --- apps -------------------------------------------------------------------------------------------------------

    @routes.get("/apps/{app_id}", tags=["apps"], responses=errors(HTTPStatus.NOT_FOUND))
    async def get_options(app_id: str) -> Options:
        """What the app wants of this box beyond its contract."""
        options = await store.options(app_id)
        if options is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such app")
        return options

    @routes.put("/apps/{app_id}", tags=["apps"], responses=errors(HTTPStatus.NOT_FOUND))
    async def set_options(app_id: str, options: Options) -> Options:
        """All of it; what is left out is off. It counts from the next call that needs it."""
        await need_playable(control, options.no_answer, "no_answer")
        if not await store.set_options(app_id, options):
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such app")
        log.info("options of an app", app=app_id, **options.model_dump())
        return options

    # --- tokens -----------------------------------------------------------------------------------------------------

    @routes.get("/tokens", tags=["tokens"])
    async def list_tokens() -> Tokens:
        """All that were ever made, oldest first; the keys themselves nobody knows."""
        return Tokens(tokens=[shown(key) for key in await store.keys()])

    @routes.post("/tokens", tags=["tokens"], status_code=HTTPStatus.CREATED)
    async def create_token(token: NewToken) -> MadeToken:
        secret, digest = new_key()
        key = await store.add_key(digest, name=token.name, at=now())
        log.info("token made", token=key.id, name=key.name)
        return MadeToken(**shown(key).model_dump(), token=secret)

    @routes.delete(
        "/tokens/{id}",
        tags=["tokens"],
        status_code=HTTPStatus.NO_CONTENT,
        responses=errors(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def revoke_token(id_: Annotated[str, Path(alias="id")]) -> Response:
        """Void from the next request on. The last one that is valid stays, as nobody could make another."""
        if id_ not in {key.id for key in await store.keys()}:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such token")
        if not await store.revoke_key(id_, at=now()):
            raise HTTPException(HTTPStatus.CONFLICT, "the last valid token; make another one first")
        log.info("token revoked", token=id_)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return routes


async def need_playable(control: Control, rule: TakeMessage | None, key: str) -> None:
    """Whether this box can do what the rule says. Raises: HTTPException: it can't; `key` is the rule's own."""
    if rule is None:
        return
    if rule.record and not control.records:
        problem = f"{key}.record: this box records nothing (service.recordings)"
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, problem)
    if rule.announcement is not None:
        await need_announcement(control, rule.announcement, f"{key}.announcement")


async def need_announcement(control: Control, name: str, key: str) -> None:
    try:
        await trio.to_thread.run_sync(read_announcement, control.announcements / name)
    except AnnouncementError as exc:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{key}: {exc}") from None


def shown(key: Key) -> Token:
    return Token.model_validate(key)
