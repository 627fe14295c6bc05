"""The door of PhoneVoice's paths: who may come in, how fast, and what is to be seen of a token behind it (2, 3)."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import trio
from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.contracts import phonevoice
from appliance.contracts import phonevoice_answers as answers
from appliance.contracts.phonevoice import Credential, Json, Refusal, Refused
from appliance.database import Also, StoreError, nothing_else
from appliance.repeats import AnotherBody, Answer, Repeats, StillRunning
from appliance.tenants import Bearer, Tenants, digest_of

GUARDED = ("/api/", "/v1/")
OPEN = ("/api/signup", "/api/confirm")
# All whose errors look as the contract has them; what is signed needs no token.
PATHS = (*GUARDED, "/rec/")
LEGACY = "/v1/"

# 3
BODY_LIMIT_BYTES = 256 * 1024
REQUESTS_PER_S = 20
LONGEST_KEY = 255


def answer(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    text = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
    return Response(text, status, headers, "application/json")


def refuse(refusal: Refusal) -> Response:
    return answer(refusal.status, refusal.body, refusal.headers)


def within(path: str, roots: tuple[str, ...]) -> bool:
    return f"{path}/".startswith(roots)


class Throttle:
    """So many a second on average, each by itself; and as many at once after a while of none."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        # What was left of each when it was last looked at.
        self._left: dict[str, tuple[float, float]] = {}

    def allows(self, key: str, now_s: float) -> bool:
        left, then_s = self._left.get(key, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._per_s)
        self._left[key] = (left - (left >= 1), now_s)
        return left >= 1


class TokenRequired:
    """Nothing behind it is seen without a token: it is asked for before path and body. Behind it no token is seen."""

    def __init__(self, app: ASGIApp, tenants: Tenants) -> None:
        self._app = app
        self._tenants = tenants
        self._throttle = Throttle(REQUESTS_PER_S, REQUESTS_PER_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and within(scope["path"], GUARDED):
            query = scope["query_string"].decode("latin-1")
            # A slash at the end is no other path, and a redirect would be without the token.
            path = scope["path"].rstrip("/")
            scope = {**scope, "path": path, "query_string": phonevoice.without_tokens(query).encode("latin-1")}
            if path not in OPEN:
                try:
                    bearer = await self._bearer(scope, query)
                except Refused as exc:
                    await refuse(exc.refusal)(scope, receive, send)
                    return
                except StoreError:
                    await refuse(phonevoice.OUT_OF_ORDER)(scope, receive, send)
                    return
                scope["state"] = {**scope.get("state", {}), "bearer": bearer}
        await self._app(scope, receive, send)

    async def _bearer(self, scope: Scope, query: str) -> Bearer:
        header = dict(scope["headers"]).get(b"authorization")
        legacy = scope["path"].startswith(LEGACY)
        shown = phonevoice.credential(None if header is None else header.decode("latin-1"), "" if legacy else query)
        if shown is None:
            raise Refused(phonevoice.NO_TOKEN)
        bearer = await self._tenants.bearer(digest_of(shown.token))
        if bearer is None or not fits(shown, bearer) or (legacy and bearer.by_user):
            raise Refused(phonevoice.BAD_TOKEN)
        if not self._throttle.allows(bearer.sha256, trio.current_time()):
            raise Refused(phonevoice.TOO_FAST)
        return await self._in_project(bearer, phonevoice.project_asked(query))

    async def _in_project(self, bearer: Bearer, asked: int | None) -> Bearer:
        if asked in (None, bearer.project.id):
            return bearer
        project = await self._tenants.project_of(bearer.user.id, asked) if bearer.by_user and asked else None
        if project is None:
            raise Refused(phonevoice.NOT_YOUR_PROJECT)
        return Bearer(bearer.sha256, bearer.user, project, bearer.by_user)


def fits(shown: Credential, bearer: Bearer) -> bool:
    return shown.by_user in (None, bearer.by_user)


# --- what every endpoint does ---------------------------------------------------------------------------------------


class Owned(Protocol):
    """A project's, or nobody's."""

    @property
    def project(self) -> int | None: ...


T = TypeVar("T", bound=Owned)
Made = TypeVar("Made")


def bearer_of(request: Request) -> Bearer:
    bearer = request.state.bearer
    assert isinstance(bearer, Bearer)
    return bearer


async def body_of(request: Request) -> bytes:
    """Raises Refused."""
    is_json = phonevoice.is_json(request.headers.get("content-type"))
    if is_json is False:
        raise Refused(phonevoice.NOT_CALLED_JSON)
    body = bytearray()
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            body += chunk
            if len(body) > BODY_LIMIT_BYTES:
                raise Refused(phonevoice.TOO_LONG)
    if is_json is None and not body.lstrip().startswith(b"{"):
        raise Refused(phonevoice.NOT_CALLED_JSON)
    return bytes(body)


def own(thing: T | None, bearer: Bearer) -> T:
    """Raises Refused: there is no such thing, or it is another project's."""
    if thing is None:
        raise Refused(phonevoice.NOT_FOUND)
    if thing.project != bearer.project.id:
        raise Refused(phonevoice.NOT_YOURS)
    return thing


def list_answer(
    request: Request, name: str, things: list[Json], page: phonevoice.Page, total: int, **others: list[Json]
) -> Response:
    content = answers.listed(name, things, page=page.page, per_page=page.per_page, total=total)
    link = answers.links(str(request.url.replace(query="")), request.url.query, content)
    return answer(200, {**others, **content}, {"Link": link} if link else None)


async def once(
    request: Request,
    repeats: Repeats,
    body: bytes,
    order: Callable[[Also[Made]], Awaitable[Made]],
    said: Callable[[Made], Json],
    *,
    status: int = 201,
) -> Response:
    """What creates or dials, done once for each Idempotency-Key, if there is one. Raises Refused.

    `order` does what it is handed in the commit of what it makes; `said` is what is answered of that.
    """
    key, bearer = request.headers.get("idempotency-key"), bearer_of(request)
    if key is None:
        return answer(status, said(await order(nothing_else)))
    if not 1 <= len(key) <= LONGEST_KEY:
        raise Refused(phonevoice.unfit("Idempotency-Key", f"is not 1 to {LONGEST_KEY} characters long"))

    def answer_of(made: Made) -> Answer:
        return Answer(status, json.dumps(said(made), ensure_ascii=False).encode())

    async def first(keep: Also[Answer]) -> Answer:
        return answer_of(await order(lambda connection, made: keep(connection, answer_of(made))))

    # A user's token acts on more than one project.
    place = f"{request.url.path} {bearer.project.id}"
    try:
        kept = await repeats.once(bearer.sha256, place, key, body, first)
    except StillRunning:
        raise Refused(phonevoice.STILL_RUNNING) from None
    except AnotherBody:
        raise Refused(phonevoice.OTHER_BODY) from None
    return answer(kept.status, kept.body, {"Idempotency-Replayed": "true"} if kept.replayed else None)
