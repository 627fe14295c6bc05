"""PhoneVoice's REST, what is asked: its words, bounds and errors. What is answered is in `phonevoice_answers`.

Bodies come in as bytes, queries as text; what a customer sent wrong raises Refused, which holds the answer. "4.1" and
the like name sections of spec/phonevoice.md. Unknown fields are ignored (3).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl, urlencode

from pydantic import AfterValidator, BaseModel, Field, StrictBool, StrictInt, StrictStr, ValidationError, WrapValidator
from pydantic_core import ErrorDetails

from appliance.events import OWN, TYPES, WILDCARDS
from appliance.fields import Email, WebhookUrl
from appliance.numbers import is_e164

Json = dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """Section 3: a status, and the body `{"error": ...}`; on 422 with messages by field."""

    status: int
    error: str
    errors: Mapping[str, Sequence[str]] | None = None
    headers: Mapping[str, str] | None = None

    @property
    def body(self) -> Json:
        return {"error": self.error} | ({"errors": self.errors} if self.errors is not None else {})


class Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.error)
        self.refusal = refusal


def unfit(field: str, problem: str) -> Refusal:
    """422; the message reads on from the field's name."""
    return Refusal(422, f"{field} {problem}", {field: [problem]})


ASK_AGAIN = {"Retry-After": "1"}
NO_TOKEN = Refusal(401, "token missing", headers={"WWW-Authenticate": "Bearer"})
BAD_TOKEN = Refusal(401, "token is not valid", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
NOT_YOURS = Refusal(403, "this belongs to another project")
NOT_YOUR_PROJECT = Refusal(403, "you do not belong to this project")
NO_SIGN_UP = Refusal(403, "sign-up is switched off on this box")
NOT_FOUND = Refusal(404, "not found")
NO_SUCH_NUMBER = Refusal(404, "phone_number is not on offer: this box has no such number")
TAKEN = Refusal(409, "phone_number is taken")
STILL_RUNNING = Refusal(409, "the first request with this Idempotency-Key is still running", headers=ASK_AGAIN)
NOT_JSON = Refusal(400, "body is not a JSON object")
TOO_LONG = Refusal(413, "body is longer than 256 KiB")
NOT_CALLED_JSON = Refusal(415, "Content-Type must be application/json")
TOO_FAST = Refusal(429, "more than 20 requests a second", headers=ASK_AGAIN)
TOO_MANY_SIGNUPS = Refusal(429, "too many wait to confirm", headers={"Retry-After": "900"})
TOO_MANY_GUESSES = Refusal(429, "too many wrong codes", headers={"Retry-After": "3600"})
# As long as an order waits for a line: by then it is worth another.
LINES_DOWN = Refusal(503, "no line of this box is up just now", headers={"Retry-After": "30"})
OUT_OF_ORDER = Refusal(503, "nothing can be written down just now", headers={"Retry-After": "60"})
FAULT = Refusal(500, "internal server error")
OTHER_BODY = unfit("Idempotency-Key", "was used for another request")
WRONG_CODE = unfit("code", "is wrong or too old")
IS_LOOP = unfit("forward_to", "is this number or another relay of this box")
NOWHERE = unfit("relay_enabled", "can't be true without forward_to")
NO_RUNTIME = Refusal(422, "agent has no runtime")
NO_BROWSER_BRIDGE = unfit(
    "vendeur_mode",
    "is browser, and this box has no browser softphone yet: leave it out, and give inbound_phone_number, which is the "
    "agent's own phone",
)
NOT_IN_PROGRESS = Refusal(422, "call is not in progress")
NO_LINE_TO_LISTEN = Refusal(422, "no line is free to call the supervisor")
NO_SOFTPHONE = Refusal(422, "this box has no browser softphone yet: listen by phone with add_monitor")
NO_PLAYER = Refusal(422, "this box has no browser player yet: recording_url has the recording")

Model = TypeVar("Model", bound=BaseModel)


# --- requests -------------------------------------------------------------------------------------------------------


def _e164(text: str) -> str:
    if not is_e164(text):
        raise ValueError("is not a valid E.164 number")
    return text


def _event_types(types: tuple[str, ...]) -> tuple[str, ...]:
    if not types:
        raise ValueError("must name at least one event; leave it out for all")
    for type_ in types:
        if type_ not in SELECTORS:
            raise ValueError(f"has an unknown event (known: {', '.join(sorted(SELECTORS))})")
    return tuple(dict.fromkeys(types))


# 7.1, without what the box tells of itself.
SELECTORS = TYPES - OWN
SELECTORS |= {pattern for pattern in WILDCARDS if any(type_.startswith(pattern[:-1]) for type_ in SELECTORS)}

E164 = Annotated[StrictStr, AfterValidator(_e164)]
Name = Annotated[StrictStr, Field(min_length=1, max_length=200)]
EventTypes = Annotated[tuple[StrictStr, ...], AfterValidator(_event_types)]
Country = Annotated[StrictStr, Field(pattern=r"^[A-Z]{2}$")]
# 5; of these the documents show only `local`.
NumberType = Literal["local", "mobile", "national", "toll_free"]


class SignUp(BaseModel):
    email: Annotated[Email, Field(strict=True)]
    name: Name | None = None


class Confirm(BaseModel):
    email: Annotated[Email, Field(strict=True)]
    code: Annotated[StrictStr, Field(max_length=20)]


class BuyNumber(BaseModel):
    phone_number: E164
    forward_to: E164 = ""
    country: Country = ""


class ChangeNumber(BaseModel):
    forward_to: E164 = ""
    relay_enabled: StrictBool = False


class CreateWebhook(BaseModel):
    url: WebhookUrl
    name: Name | None = None
    events: EventTypes = ("*",)


class ChangeWebhook(CreateWebhook):
    # Never used: only fields that are there count.
    url: WebhookUrl = ""
    active: StrictBool = True


SWITCHES = ("enable_recording", "enable_transcription", "enable_analysis")


class CallOrder(BaseModel):
    """4.1: what every call has that is asked for. Who goes without a switch is not the same as who sets it."""

    recipient_phone_number: E164
    enable_recording: StrictBool = True
    enable_transcription: StrictBool = True
    enable_analysis: StrictBool = True

    def switches(self, otherwise: Mapping[str, bool]) -> dict[str, bool]:
        """As they are meant: what is to be analysed is transcribed first."""
        asked = {name: getattr(self, name) for name in self.model_fields_set & set(SWITCHES)}
        meant = {name: otherwise.get(name, True) for name in SWITCHES} | asked
        return meant | {"enable_transcription": meant["enable_transcription"] or meant["enable_analysis"]}


class AgentOrder(CallOrder):
    """`inbound_phone_number` is one of the box's own: which line is to dial."""

    # What JavaScript holds; SQLite counts no further than 2^63.
    agent_id: Annotated[StrictInt, Field(ge=1, lt=2**53)]
    vendeur_mode: Literal["phone"] = "phone"
    inbound_phone_number: E164 = ""


class PhoneBridgeOrder(CallOrder):
    """`inbound_phone_number` is the agent's own phone, and `relay_number` one of the box's."""

    inbound_phone_number: E164
    relay_number: E164 = ""


class _CallType(BaseModel):
    call_type: Literal["agent", "bridge"] = "agent"


class _BridgeMode(CallOrder):
    vendeur_mode: Literal["phone", "browser"] = "phone"


class LegacyOrder(BaseModel):
    """10. An address that is left empty is none, as the published samples have it."""

    phone_number: E164
    assistant_id: Annotated[StrictStr, Field(min_length=1, max_length=200)]
    webhook_url: Annotated[WebhookUrl, WrapValidator(lambda text, check: check(text) if text != "" else "")] = ""


class AddMonitor(BaseModel):
    supervisor_phone: E164


class EmbedRole(BaseModel):
    role: Literal["agent", "talk", "listen"]


class Search(BaseModel):
    """5: what `relay_numbers/available` is asked for."""

    country: Country | None = None
    type: NumberType | None = None
    area_code: Annotated[StrictStr, Field(pattern=r"^[0-9]{1,8}$")] | None = None
    contains: Annotated[StrictStr, Field(pattern=r"^[0-9]{1,15}$")] | None = None


def read(model: type[Model], body: bytes, *, context: Mapping[str, object] | None = None) -> Model:
    """Raises Refused: 400 for what is no JSON object, 422 for what is wrong in it."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(NOT_JSON) from None
    if not isinstance(fields, dict):
        raise Refused(NOT_JSON)
    return check(model, fields, context=context)


def call_order(body: bytes) -> AgentOrder | PhoneBridgeOrder:
    """Raises Refused, also for the bridge to a browser."""
    if read(_CallType, body).call_type == "agent":
        return read(AgentOrder, body)
    if read(_BridgeMode, body).vendeur_mode == "browser":
        raise Refused(NO_BROWSER_BRIDGE)
    return read(PhoneBridgeOrder, body)


def check(model: type[Model], fields: Mapping[str, object], *, context: Mapping[str, object] | None = None) -> Model:
    """Raises Refused: 422."""
    try:
        return model.model_validate(fields, context=dict(context or {}))
    except ValidationError as exc:
        raise Refused(_invalid(exc.errors(include_url=False, include_input=False))) from None


def changes(asked: BaseModel) -> Json:
    """The fields that are there. Raises Refused: none is."""
    there = asked.model_dump(exclude_unset=True)
    if not there:
        raise Refused(Refusal(422, f"nothing to change: give {', '.join(type(asked).model_fields)}", {}))
    return there


# pydantic's kinds of error, in words that read on from the field's name.
WORDS = {
    "missing": "is missing",
    "string_type": "is not a string",
    "bool_type": "is not true or false",
    "int_type": "is not a whole number",
    "tuple_type": "is not a list",
    "literal_error": "is not {expected}",
    "string_too_short": "is empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_pattern_mismatch": "is not of the form {pattern}",
    "value_error": "{error}",
}


def _invalid(problems: Sequence[ErrorDetails]) -> Refusal:
    """Never with what was sent."""
    errors: dict[str, list[str]] = {}
    for problem in problems:
        words = WORDS.get(problem["type"], "is not valid").format(**problem.get("ctx", {}))
        messages = errors.setdefault(str(problem["loc"][0]), [])
        if words not in messages:
            messages.append(words)
    field, messages = next(iter(errors.items()))
    return Refusal(422, f"{field} {messages[0]}", errors)


def identifier(text: str) -> int:
    """Of a path. Raises Refused: 404, as nothing has an id that is no number."""
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Refused(NOT_FOUND)
    return int(text)


def is_json(content_type: str | None) -> bool | None:
    """None: it may be.

    The published Ruby samples name no type, and Net::HTTP then says that JSON is a form; others say nothing (3).
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind in ("", "application/x-www-form-urlencoded"):
        return None
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


# --- who asks (2) ---------------------------------------------------------------------------------------------------

TOKEN_KINDS = {"api_token": False, "user_token": True}


@dataclass(frozen=True)
class Credential:
    """`by_user`: the kind that it must be of; None: either."""

    token: str
    by_user: bool | None = None


def credential(authorization: str | None, query: str) -> Credential | None:
    """The header decides alone when it is there. None: nobody says who he is. Raises Refused: a bad header."""
    if authorization is not None:
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(BAD_TOKEN)
        return Credential(token.strip())
    asked = dict(reversed(parse_qsl(query, keep_blank_values=True)))
    return next((Credential(asked[name], kind) for name, kind in TOKEN_KINDS.items() if name in asked), None)


def without_tokens(query: str) -> str:
    """For whatever may write it down."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(name in TOKEN_KINDS for name, _ in pairs):
        return query
    return urlencode([pair for pair in pairs if pair[0] not in TOKEN_KINDS])


def project_asked(query: str) -> int | None:
    """`?project_id=`. Raises Refused: nobody's."""
    text = dict(parse_qsl(query)).get("project_id")
    if text is None:
        return None
    try:
        return identifier(text)
    except Refused:
        raise Refused(NOT_YOUR_PROJECT) from None


# --- lists (3) ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    page: int = 1
    per_page: int = 25

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.per_page


def page_asked(query: str) -> Page:
    """Raises Refused."""
    asked, page = dict(parse_qsl(query, keep_blank_values=True)), Page()
    # A bound of ours for the number of a page: SQLite counts to 2^63.
    for name, most in (("page", 10**12), ("per_page", 100)):
        if (text := asked.get(name)) is not None:
            if not (text.isascii() and text.isdigit() and len(text) <= 13 and 1 <= int(text) <= most):
                raise Refused(unfit(name, f"is not a whole number from 1 to {most}"))
            page = replace(page, **{name: int(text)})
    return page
