"""The box's own API under /box/v1: what is no cloud's contract. OpenAPI is made of these models."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Message

from appliance.call import Direction
from appliance.database import StoreError
from appliance.message import LONGEST_VALIDITY_S, SHORTEST_VALIDITY_S, VALIDITY_S, MessagePart, PartState
from appliance.message import Message as Text
from appliance.texting import LONGEST_TEXT, Postbox
from appliance.trunk import Trunk
from drivers.errors import CommandError, LineLost
from drivers.line import Texting, Texts
from drivers.ussd import Outcome

PREFIX = "/box/v1"
PAGE = 50
# SQLite's integers.
GREATEST_SEQ = 2**63 - 1
# The longest text, each character as two of JSON's \\u escapes, is half of it.
BODY_LIMIT_BYTES = 256 * 1024


class Problem(BaseModel):
    """What every error looks like."""

    message: str


def errors(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    return {status.value: {"model": Problem, "description": status.phrase} for status in statuses}


# What any of them may answer.
COMMON = errors(HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY)


SENDING = errors(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class OnLine(Body):
    """Which line: by its name, or by its number. With one line that has a SIM, neither is needed."""

    line: Annotated[str | None, Field(description="The line's name.", examples=["office"])] = None
    from_: Annotated[str | None, Field(alias="from", description="The line's number.", examples=["+33612345678"])] = (
        None
    )


class NewSms(OnLine):
    to: Annotated[str, Field(min_length=1, max_length=32, description="A number, or a short code.")]
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT, description="In as many parts as it takes.")]
    report: Annotated[bool, Field(description="Ask the network when it is delivered.")] = True
    validity_s: Annotated[
        int,
        Field(ge=SHORTEST_VALIDITY_S, le=LONGEST_VALIDITY_S, description="Given up when it is not sent by then."),
    ] = VALIDITY_S
    flash: Annotated[bool, Field(description="Shown at once, and not kept.")] = False


class SmsPart(BaseModel):
    number: int
    state: PartState
    attempts: int
    reference: Annotated[int | None, Field(description="The network's, once it is sent.")]
    error: Annotated[str | None, Field(description="Why it is not sent, or not delivered.")]
    at: Annotated[datetime | None, Field(description="When it came into its state.")]
    pdu: Annotated[str, Field(description="As it crossed the air, in hexadecimal (3GPP TS 23.040).")]


class Sms(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    id: str
    line: str
    direction: Direction
    from_: Annotated[str, Field(alias="from")]
    to: str
    text: str
    state: Annotated[PartState, Field(description="What its parts come to.")]
    created_at: datetime
    sent_at: Annotated[datetime | None, Field(description="Of one that came: its service centre's time.")]
    expires_at: datetime | None
    report: bool
    parts: Sequence[SmsPart]


class SmsPage(BaseModel):
    messages: Sequence[Sms]
    next: Annotated[int | None, Field(description="`before` of the next page; null: this is the last.")]


class UssdCode(OnLine):
    code: Annotated[
        str, Field(min_length=1, max_length=160, description="A code, or an answer to the menu.", examples=["*123#"])
    ]


class UssdAnswer(BaseModel):
    text: str
    raw: Annotated[str, Field(description="As the modem wrote it.")]
    outcome: Annotated[Outcome, Field(description="27.007 7.15: 0 done, 1 an answer is waited for, 2 ended...")]
    more: Annotated[bool, Field(description="The network waits for an answer.")]


class JsonRoute(APIRoute):
    """A body is JSON, whatever a client calls it - `curl -d` calls it a form - and has a bound."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            left = BODY_LIMIT_BYTES

            async def receive() -> Message:
                nonlocal left
                message = await request.receive()
                left -= len(message.get("body", b""))
                if left < 0:
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {BODY_LIMIT_BYTES} bytes")
                return message

            others = [header for header in request.scope["headers"] if header[0] != b"content-type"]
            scope = {**request.scope, "headers": [*others, (b"content-type", b"application/json")]}
            return await handle(Request(scope, receive))

        return bounded


def box_routes(trunks: Sequence[Trunk], postbox: Postbox) -> APIRouter:
    """Other things of the box join these by routers of their own."""
    routes = APIRouter(prefix=PREFIX, responses=COMMON, route_class=JsonRoute)

    def trunk_of(wanted: OnLine) -> Trunk:
        if wanted.line is None and wanted.from_ is None:
            with_sim = [trunk for trunk in trunks if trunk.line is None or isinstance(trunk.line, Texting)]
            if len(with_sim) != 1:
                raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "line or from: says which of the box's lines")
            return with_sim[0]
        for trunk in trunks:
            if wanted.line in (None, trunk.name) and wanted.from_ in (None, trunk.number):
                if trunk.line is not None and not isinstance(trunk.line, Texting):
                    raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{trunk.name} has no SIM")
                return trunk
        raise HTTPException(HTTPStatus.NOT_FOUND, "no such line")

    # --- short messages ---------------------------------------------------------------------------------------------

    @routes.post("/sms", status_code=HTTPStatus.ACCEPTED, tags=["sms"], responses=SENDING)
    async def send_sms(sms: NewSms) -> Sms:
        """Queues a message. It is safe when this is answered; how it fares is to be seen at its address."""
        trunk = trunk_of(sms)
        try:
            queued = await postbox.post(
                trunk.number, sms.to, sms.text, report=sms.report, validity_s=sms.validity_s, flash=sms.flash
            )
        except ValueError as exc:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(exc)) from None
        except StoreError as exc:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"not queued, as it can't be kept: {exc}") from None
        return shown(queued)

    @routes.get("/sms", tags=["sms"])
    async def list_sms(
        line: str | None = None,
        direction: Direction | None = None,
        before: Annotated[int | None, Query(le=GREATEST_SEQ, description="The `next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
    ) -> SmsPage:
        """Messages both ways, newest first."""
        found = await postbox.mailbox.messages(line=line, direction=direction, before=before, limit=limit + 1)
        page = found[:limit]
        return SmsPage(messages=[shown(each) for each in page], next=page[-1].seq if len(found) > limit else None)

    @routes.get("/sms/{id}", tags=["sms"], responses=errors(HTTPStatus.NOT_FOUND))
    async def get_sms(id_: Annotated[str, Path(alias="id")]) -> Sms:
        message = await postbox.mailbox.message(id_)
        if message is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such message")
        return shown(message)

    # --- USSD -------------------------------------------------------------------------------------------------------

    def texts_of(wanted: OnLine) -> Texts:
        trunk = trunk_of(wanted)
        if not isinstance(trunk.line, Texting):
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"{trunk.name} is not there")
        return trunk.line.texts

    @routes.post(
        "/ussd",
        tags=["ussd"],
        responses=errors(HTTPStatus.NOT_FOUND, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def send_ussd(ussd: UssdCode) -> UssdAnswer:
        """A code like *123#, or an answer in the menu that the last one opened. Waits a minute for the network."""
        try:
            news = await texts_of(ussd).ussd(ussd.code)
        except ValueError as exc:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"code: {exc}") from None
        except CommandError as exc:
            raise HTTPException(HTTPStatus.BAD_GATEWAY, exc.result) from None
        except LineLost as exc:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(exc)) from None
        return UssdAnswer(text=news.text, raw=news.raw, outcome=news.outcome, more=news.outcome is Outcome.MORE)

    @routes.delete(
        "/ussd",
        tags=["ussd"],
        status_code=HTTPStatus.NO_CONTENT,
        responses=errors(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def leave_ussd(line: str | None = None, from_: Annotated[str | None, Query(alias="from")] = None) -> Response:
        """Leaves the menu that a code opened, if there is one."""
        try:
            await texts_of(OnLine(line=line, from_=from_)).cancel_ussd()
        except (CommandError, LineLost) as exc:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(exc)) from None
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return routes


def shown(message: Text) -> Sms:
    return Sms(
        id=message.id,
        line=message.line,
        direction=message.direction,
        from_=message.from_,
        to=message.to,
        text=message.text,
        state=message.state,
        created_at=message.created_at,
        sent_at=message.sent_at,
        expires_at=message.expires_at,
        report=message.report,
        parts=[_part(part) for part in message.parts],
    )


def _part(part: MessagePart) -> SmsPart:
    return SmsPart(
        number=part.number,
        state=part.state,
        attempts=part.attempts,
        reference=part.reference,
        error=part.error,
        at=part.at,
        pdu=part.pdu,
    )


def in_words(invalid: RequestValidationError) -> str:
    """`text: String should have at least 1 character`; never with what was sent."""
    problems = []
    for error in invalid.errors():
        if error["type"] == "json_invalid":
            return "the body is not JSON"
        where = ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path"))
        problems.append(f"{where}: {error['msg']}" if where else error["msg"])
    return "; ".join(problems)
