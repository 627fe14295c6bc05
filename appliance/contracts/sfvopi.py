"""SFVoPI's REST and webhooks: its words, bounds and errors, from and to our own values.

Bodies come in as bytes and go out as objects to be written as JSON. What a customer sent wrong raises Refused, which
holds the answer. "4.1" and the like name sections of spec/sfvopi.md.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlencode, urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictStr, ValidationError

from appliance.addresses import web_address
from appliance.call import Call, Direction, Outcome
from appliance.numbers import normalise

Json = dict[str, Any]

ANSWER_LIMIT_S = 10  # section 9: the answer webhook, and again its fallback
NOTICE_LIMIT_S = 5  # section 9: ring and hangup


@dataclass(frozen=True)
class Refusal:
    """A request that can't be met, in SFVoPI's words: a status, and the body `{"message": ...}`."""

    status: int
    message: str


class Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


# The exact texts (sections 1 to 4).
KEY_MISSING = Refusal(401, "UnAuthorized, Please Provide API Key")
KEY_UNKNOWN = Refusal(401, "UnAuthorized, Please Provide Valid API Key")
BAD_BODY = Refusal(400, "Invalid request body")
BAD_NUMBER = Refusal(400, "Invalid phone number")
APP_NOT_FOUND = Refusal(404, "SFVoPI app not found")
NOT_OUR_NUMBER = Refusal(400, "VoIP number not found or does not belong to this org")
# 3.3 and 3.4 have a text of their own for what all others call APP_NOT_FOUND.
NO_APP_OF_NUMBERS = Refusal(404, "App not found")
NOT_LINKED_TO_APP = Refusal(404, "Number not linked to this app")
NUMBER_TAKEN = Refusal(409, "VoIP number is already linked to another SFVoPI app")
# Ours: one route per number, and the contract knows none but its own.
CLAIMED_ELSEWHERE = Refusal(409, "VoIP number is already linked to another service of this box")


def not_linked(number: str) -> Refusal:
    return Refusal(400, f"VoIP number {number} is not linked to any SFVoPI app")


@dataclass(frozen=True)
class Hook:
    """An address of the customer that wants to be called; method is `POST` or `GET`."""

    url: str
    method: str = "POST"


@dataclass(frozen=True)
class App:
    """Section 2, as the contract shows it. Times are ISO 8601 text."""

    app_id: str
    name: str
    answer_url: str
    answer_method: str
    hangup_url: str | None
    hangup_method: str
    fallback_answer_url: str | None
    fallback_answer_method: str
    status: str
    created_at: str
    updated_at: str | None = None

    @property
    def route(self) -> "Route":
        """For a call that comes in now."""
        return Route(
            app_id=self.app_id,
            answer=Hook(self.answer_url, self.answer_method),
            fallback=_hook(self.fallback_answer_url, self.fallback_answer_method),
            hangup=_hook(self.hangup_url, self.hangup_method),
        )


@dataclass(frozen=True)
class Link:
    app_id: str
    number: str
    created_at: str


@dataclass(frozen=True)
class Route:
    """Whom to ask and tell about one call; fixed when the call begins (2.4: a change affects later calls)."""

    app_id: str
    answer: Hook
    fallback: Hook | None = None
    ring: Hook | None = None
    hangup: Hook | None = None
    ring_timeout_s: float = 60
    time_limit_s: float = 14400

    def to_json(self) -> str:
        """Kept with the call, so that a restart still knows whom to tell of its end."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Route":
        fields = json.loads(text)
        hooks = {name: Hook(**hook) for name, hook in fields.items() if isinstance(hook, dict)}
        return Route(**fields | hooks)


@dataclass(frozen=True)
class Order:
    """A checked `POST /calls` (4.1). `answer`, `ring` and `hangup` override the app's for this call."""

    from_: str
    to: str
    answer: Hook
    ring: Hook | None
    hangup: Hook | None
    time_limit_s: float
    ring_timeout_s: float

    def route(self, app: App) -> Route:
        return replace(
            app.route,
            answer=self.answer,
            ring=self.ring,
            hangup=self.hangup or app.route.hangup,
            ring_timeout_s=self.ring_timeout_s,
            time_limit_s=self.time_limit_s,
        )


# --- requests -------------------------------------------------------------------------------------------------------


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Url = Annotated[StrictStr, AfterValidator(web_address)]
Method = Annotated[Literal["POST", "GET"], BeforeValidator(_upper)]


class _CreateApp(BaseModel):
    name: Annotated[StrictStr, Field(min_length=1, max_length=100)]
    answer_url: Url
    answer_method: Method = "POST"
    hangup_url: Url | None = None
    hangup_method: Method = "POST"
    fallback_answer_url: Url | None = None
    fallback_answer_method: Method = "POST"


class _ChangeApp(_CreateApp):
    # Never used: only fields that are there count.
    name: Annotated[StrictStr, Field(min_length=1, max_length=100)] = ""
    answer_url: Url = ""
    status: Literal["ACTIVE", "INACTIVE"] = "ACTIVE"


class _LinkNumber(BaseModel):
    voip_number: StrictStr


class _PlaceCall(BaseModel):
    from_: Annotated[StrictStr, Field(alias="from")]
    to: StrictStr
    answer_url: Url
    answer_method: Method = "POST"
    ring_url: Url | None = None
    ring_method: Method = "POST"
    hangup_url: Url | None = None
    hangup_method: Method = "POST"
    call_time_limit: Annotated[float, Field(strict=True, ge=1, le=86400)] = 14400
    ring_timeout: Annotated[float, Field(strict=True, ge=1, le=600)] = 60


Model = TypeVar("Model", bound=BaseModel)


def _read(model: type[Model], body: bytes) -> Model:
    """Section 1: whatever is wrong with a body is one text; unknown fields are ignored."""
    try:
        return model.model_validate_json(body)
    except ValidationError:
        raise Refused(BAD_BODY) from None


def _hook(url: str | None, method: str) -> Hook | None:
    return Hook(url, method) if url is not None else None


def new_app(body: bytes, *, app_id: str, now: datetime) -> App:
    """2.1. Raises Refused."""
    asked = _read(_CreateApp, body)
    return App(app_id=app_id, status="ACTIVE", created_at=timestamp(now), **asked.model_dump())


def app_changes(body: bytes, *, now: datetime) -> Json:
    """2.4: the new values by the names of App's fields; none at all for an empty object. Raises Refused."""
    changes = _read(_ChangeApp, body).model_dump(exclude_unset=True)
    return changes | {"updated_at": timestamp(now)} if changes else {}


def number_to_link(body: bytes, *, country: str) -> str:
    """3.2: E.164. Raises Refused, with this endpoint's own text for a number that is none."""
    number = normalise(_read(_LinkNumber, body).voip_number, country)
    if number is None:
        raise Refused(BAD_BODY)
    return number


def order(body: bytes, *, country: str) -> Order:
    """4.1. Raises Refused."""
    asked = _read(_PlaceCall, body)
    from_, to = normalise(asked.from_, country), normalise(asked.to, country)
    if from_ is None or to is None:
        raise Refused(BAD_NUMBER)
    return Order(
        from_=from_,
        to=to,
        answer=Hook(asked.answer_url, asked.answer_method),
        ring=_hook(asked.ring_url, asked.ring_method),
        hangup=_hook(asked.hangup_url, asked.hangup_method),
        time_limit_s=asked.call_time_limit,
        ring_timeout_s=asked.ring_timeout,
    )


# --- answers --------------------------------------------------------------------------------------------------------

DELETED: Json = {"deleted": True}


def success(data: Json | list[Json]) -> Json:
    return {"data": data, "message": "success"}


def app_json(app: App, org_id: int) -> Json:
    return {**asdict(app), "org_id": org_id, "created_by": None}


def link_json(link: Link, org_id: int) -> Json:
    return {
        "app_id": link.app_id,
        "voip_number": link.number,
        "org_id": org_id,
        "status": "ACTIVE",
        "created_at": link.created_at,
        "updated_at": None,
    }


def available_json(place: int, number: str, *, analog: bool) -> Json:
    """3.1; `place` is the line's among all, from 1."""
    return {"id": place, "voip_number": number, "provider": "analog" if analog else "gsm", "status": "ACTIVE"}


def queued_json(request_uuid: str) -> Json:
    return {"request_uuid": request_uuid, "status": "queued"}


def timestamp(at: datetime) -> str:
    """Section 1: UTC, milliseconds, `Z`. `at` is aware."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- webhooks -------------------------------------------------------------------------------------------------------

CALL_STATUS = {
    Outcome.COMPLETED: "COMPLETED",
    Outcome.BUSY: "BUSY",
    Outcome.NO_ANSWER: "NO_ANSWER",
    Outcome.CANCELED: "CANCELED",
    Outcome.FAILED: "FAILED",
    Outcome.ERROR: "FAILED",
}


@dataclass(frozen=True)
class Request:
    """An HTTP request that is ready to go."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


def _request(hook: Hook, fields: Json) -> Request:
    """Section 5: a flat JSON object, or the same as a query behind whatever query the address already has."""
    present = {name: value for name, value in fields.items() if value is not None}
    if hook.method == "POST":
        body = json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode()
        return Request("POST", hook.url, {"Content-Type": "application/json"}, body)
    parts = urlsplit(hook.url)
    query = "&".join(filter(None, (parts.query, urlencode(present))))
    return Request("GET", urlunsplit(parts._replace(query=query, fragment="")), {}, b"")


def _parties(call: Call) -> Json:
    return {
        "call_uuid": call.uuid,
        "request_uuid": call.request_uuid if call.direction is Direction.OUTBOUND else None,
        "from": call.from_,
        "to": call.to,
        "direction": call.direction.name,
    }


def answer_request(hook: Hook, call: Call) -> Request:
    """6.2. Note the spelling: `answered_at` here, `answer_at` in the hangup webhook."""
    assert call.answered_at is not None
    return _request(hook, _parties(call) | {"call_status": "IN_PROGRESS", "answered_at": timestamp(call.answered_at)})


def ring_request(hook: Hook, call: Call) -> Request:
    """6.6."""
    return _request(hook, _parties(call) | {"call_status": "RINGING", "started_at": timestamp(call.started_at)})


def hangup_request(hook: Hook, call: Call) -> Request:
    """6.7."""
    assert call.outcome
    assert call.end
    assert call.ended_at
    return _request(
        hook,
        _parties(call)
        | {
            "call_status": CALL_STATUS[call.outcome],
            "duration": call.duration_s,
            "started_at": timestamp(call.started_at),
            "answer_at": timestamp(call.answered_at) if call.answered_at else None,
            "ended_at": timestamp(call.ended_at),
            "hangup_cause": str(call.end.cause),
        },
    )
