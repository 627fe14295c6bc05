"""Events as customers receive them: their types, their data, and the very bytes that are signed and sent.

A fact becomes an Event once; it becomes one body for each webhook that wants it, under an id of its own. "7.3" and the
like name sections of the PhoneVoice contract.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from ulid import ULID

from appliance.call import Call, Kind, State
from appliance.message import Message

Json = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None

# 7.1
TYPES = frozenset(
    {
        "phone_call.started",
        "phone_call.completed",
        "phone_call.failed",
        "phone_call.no-answer",
        "phone_call.busy",
        "phone_call.error",
        "phone_call.canceled",
        "phone_call.ringing",
        "phone_call.queued",
        "phone_call.transcript",
        "sms.received",
        # The box's own, of no cloud's contract.
        "line.degraded",
        "line.recovered",
        "webhook.disabled",
    }
)
# 7.1: sent only to webhooks that name them, never through a wildcard.
NAMED_ONLY = frozenset({"phone_call.ringing", "phone_call.queued"})
WILDCARDS = frozenset({"*", "phone_call.*", "sms.*", "line.*", "webhook.*"})
# What a receiver that was made for the contract does not know of: `*` is all that the contract has.
OWN = frozenset({"line.degraded", "line.recovered", "webhook.disabled"})
# Of the contract's, what nothing in this version fires.
NOT_YET = frozenset({"phone_call.transcript"})

# The final one of the older generation, which knows no second telling (10).
LEGACY_COMPLETED = "call.completed"

STATUS = {
    State.QUEUED: "queued",
    State.INCOMING: "ringing",
    State.DIALING: "ringing",
    State.ALERTING: "ringing",
    State.ACTIVE: "in-progress",
}


@dataclass(frozen=True)
class Event:
    """A fact that customers are told of. `data` is final: a later change is another Event.

    `call` is the id of the call that it is of. `project` is whose customers are told by the webhooks that they made;
    those of the configuration are the box's own, and are told of everything.
    """

    type: str
    at: datetime
    data: Mapping[str, Json]
    call: int | None = None
    project: int | None = None


@dataclass(frozen=True)
class LegacyEvent:
    """A fact as the older generation tells it, to an address that came with the call (10). `call_id` is the older id,
    `call` the call's own; `event` is `call.started` and the like.
    """

    event: str
    call_id: str
    at: datetime
    data: Mapping[str, Json]
    url: str
    project: int
    call: int | None = None


def status(call: Call) -> str:
    """A call for two phones rings until they are joined (4.2)."""
    if call.outcome is not None:
        return call.outcome.value
    return "ringing" if call.state is State.ACTIVE and call.talked_at is None else STATUS[call.state]


def of_call(call: Call, at: datetime, *, recording_url: str | None = None) -> Event:
    """What became of the call, by its state. Keys are never left out: null says unknown (7.3).

    The end of a call is told again when more is known of it, each time as the next revision (7.4).
    """
    is_now = status(call)
    data: dict[str, Json] = {
        "id": call.id,
        "status": is_now,
        "duration": call.duration_s,
        "cost": 0,  # 7.3: the operator's tariff, or 0; there is no tariff yet
        "direction": call.direction.value,
        "from": call.from_,
        "to": call.to,
        "relay_number": call.relay_number,
        "recording_url": recording_url,
        "transcription": None,
        "analysis": None,
        "revision": call.revision,
        "ended_reason": call.end.reason.value if call.end else None,
    }
    if is_now == "in-progress" and call.kind is Kind.RELAY:
        # 7.3: nobody placed the call, who would have been given it.
        data["cable_token"] = call.details.get("cable_token")
    return Event("phone_call." + ("started" if is_now == "in-progress" else is_now), at, data, call.id, call.project)


def legacy_of_call(call: Call, at: datetime, *, recording_url: str | None = None) -> LegacyEvent | None:
    """The same as the older generation tells it, which knows three moments of a call (10); None: it is none of them, or
    the order gave no address to tell it to.
    """
    url, is_now = call.details.get("webhook_url"), status(call)
    data: dict[str, Json]
    if is_now == "in-progress":
        name = "call.started"
        data = {"direction": call.direction.value, "from": call.from_, "to": call.to, "status": is_now}
    elif is_now == "completed":
        name = LEGACY_COMPLETED
        data = {"duration_seconds": call.duration_s, "cost": 0, "recording_url": recording_url, "analysis": None}
    elif call.end:
        name = "call.failed"
        data = {"status": is_now, "reason": call.end.reason.value}
    else:
        return None
    if not url or call.project is None:
        return None
    return LegacyEvent(name, call.details["call_id"], at, data, url, call.project, call.id)


def of_message(message: Message, at: datetime, *, project: int | None = None) -> Event:
    """A message that came (7.5). There is no event for one that goes."""
    data: dict[str, Json] = {
        "direction": message.direction.value,
        "from": message.from_,
        "to": message.to,
        "relay_number": message.to,
        "body": message.text,
    }
    return Event("sms.received", at, data, project=project)


def of_health(line: str, number: str, problems: Sequence[Mapping[str, str]], since: datetime, at: datetime) -> Event:
    """A line is not as it should be any more; or, without problems, is again, after it was not `since` then."""
    data: dict[str, Json] = {
        "line": line,
        "number": number,
        "since": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "problems": problems,
    }
    return Event("line.degraded" if problems else "line.recovered", at, data)


def of_webhook(url: str, name: str | None, project: int | None, reason: str, at: datetime) -> Event:
    """The box has switched it off by itself; `project` is whose it is, none that of the configuration's."""
    data: dict[str, Json] = {"url": url, "name": name, "project": project, "reason": reason}
    return Event("webhook.disabled", at, data)


def wanted(patterns: Iterable[str], event_type: str) -> bool:
    """Whether a subscription to `patterns` asks for this type."""
    return any(
        pattern == event_type
        or (
            pattern in WILDCARDS
            and event_type.startswith(pattern.removesuffix("*"))
            and event_type not in NAMED_ONLY
            and not (pattern == "*" and event_type in OWN)
        )
        for pattern in patterns
    )


def event_id(now: datetime, chance: bytes) -> str:
    """One for each firing to each webhook (7.2); ids sort by time, to the millisecond. `chance` is ten bytes."""
    milliseconds = int(now.timestamp() * 1000)
    return "evt_" + str(ULID(milliseconds.to_bytes(6, "big") + chance)).lower()


def body(event: Event, id_: str) -> bytes:
    """The envelope (7.2). These bytes are signed, sent, and sent again: they never change."""
    return enveloped(event.type, event.at, canonical(event.data), id_)


def enveloped(event_type: str, at: datetime, data: str, id_: str) -> bytes:
    """The same of data that are canonical JSON already."""
    created_at = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    envelope = canonical({"id": id_, "type": event_type, "created_at": created_at})
    return f'{envelope[:-1]},"data":{data}}}'.encode()


def legacy_body(event: LegacyEvent) -> bytes:
    """The older generation's envelope (10): no id of its own, Unix seconds."""
    timestamp = int(event.at.timestamp())
    envelope: dict[str, Json] = {"event": event.event, "call_id": event.call_id, "timestamp": timestamp}
    return canonical({**envelope, "data": event.data}).encode()


def canonical(value: Json) -> str:
    """JSON that JavaScript's parse and stringify give back byte for byte.

    A published receiver verifies the signature over `JSON.stringify(JSON.parse(body))` (8, point 3).

    Raises:
        ValueError: a number that JavaScript can't hold.
    """
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            return json.dumps(_sound(value), ensure_ascii=False)
        case int() | float():
            return _number(value)
        case Mapping():
            members = sorted(((_sound(key), item) for key, item in value.items()), key=_javascript_order)
            pairs = (f"{canonical(key)}:{canonical(item)}" for key, item in dict(members).items())
            return "{" + ",".join(pairs) + "}"
        case _:
            return "[" + ",".join(canonical(item) for item in value) + "]"


def _sound(text: str) -> str:
    """Surrogate pairs joined, unpaired ones replaced: they have no UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _javascript_order(member: tuple[str, Json]) -> int:
    # ECMA-262 10.1.11: array indices come first, ascending; other keys stay in the order of their making.
    key = member[0]
    is_index = re.fullmatch(r"0|[1-9][0-9]{0,9}", key) is not None and int(key) < 2**32 - 1
    return int(key) if is_index else 2**32


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no JSON number")
    if isinstance(value, float):
        # 8, point 3: money is rounded to six decimals. JavaScript has no exponent from there up to 1e21.
        value = round(value, 6)
        value = int(value) if value.is_integer() else value
    if abs(value) >= 2**53:
        raise ValueError(f"{value} is beyond what JavaScript holds exactly")
    return format(Decimal(repr(value)), "f")
