"""PhoneVoice's REST, what is answered: our own values as the contract's objects. "5" and the like name sections of
spec/phonevoice.md.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

import phonenumbers
from phonenumbers import PhoneNumberType

Json = dict[str, Any]

SUCCESS: Json = {"status": "success"}


def timestamp(text: str) -> str:
    """7.2: UTC, whole seconds, `Z`."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- lists (3) ------------------------------------------------------------------------------------------------------


def listed(name: str, things: Sequence[Json], *, page: int, per_page: int, total: int) -> Json:
    return {name: things, "page": page, "per_page": per_page, "total": total, "has_more": page * per_page < total}


def links(url: str, query: str, answer: Json) -> str | None:
    """For the header Link (RFC 8288), of an answer that is a list; `query` is what was asked, without tokens."""
    page, per_page = answer["page"], answer["per_page"]
    pairs = [pair for pair in parse_qsl(query) if pair[0] not in ("page", "per_page")]
    wanted = [("next", page + 1)] * answer["has_more"] + [("prev", page - 1)] * (page > 1)
    there = [
        f'<{url}?{urlencode([*pairs, ("page", number), ("per_page", per_page)])}>; rel="{relation}"'
        for relation, number in wanted
    ]
    return ", ".join(there) or None


# --- whoami (2.1) ---------------------------------------------------------------------------------------------------


class _Named(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...


class _User(_Named, Protocol):
    @property
    def email(self) -> str: ...


def whoami_json(user: _User, project: _Named, *, by_user: bool) -> Json:
    """The success word is `ok` here, and `success` everywhere else."""
    return {
        "status": "ok",
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "project": {"id": project.id, "name": project.name},
        "token_type": "user" if by_user else "project",
    }


# --- numbers (5) ----------------------------------------------------------------------------------------------------

NUMBER_TYPES = {
    PhoneNumberType.FIXED_LINE: "local",
    PhoneNumberType.MOBILE: "mobile",
    # Where the plan does not tell them apart, as in North America, every number has an area.
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "local",
    PhoneNumberType.TOLL_FREE: "toll_free",
}


class Kind:
    """Of one of the box's numbers, what customers look for one by; `sim` and `country` are of its line."""

    def __init__(self, number: str, *, sim: bool, country: str) -> None:
        self.number = number
        self.country, self.type, self._national = country, "mobile" if sim else "local", ""
        self.area_code: str | None = None
        try:
            parsed = phonenumbers.parse(number)
        except phonenumbers.NumberParseException:
            return
        self.country = phonenumbers.region_code_for_number(parsed) or country
        kind = phonenumbers.number_type(parsed)
        # What is in no plan that we know is what its line makes of it.
        if kind is not PhoneNumberType.UNKNOWN:
            self.type = NUMBER_TYPES.get(kind, "national")
        self._national = phonenumbers.national_significant_number(parsed)
        # 0: numbers of this kind have no area.
        length = phonenumbers.length_of_geographical_area_code(parsed) if self.type == "local" else 0
        self.area_code = self._national[:length] or None

    def fits(self, *, country: str | None, type_: str | None, area_code: str | None, contains: str | None) -> bool:
        """None asks for nothing. An area code may have the zero that is dialed before it within the country."""
        return (
            country in (None, self.country)
            and type_ in (None, self.type)
            and (area_code is None or self._national.startswith((area_code, area_code.removeprefix("0") or area_code)))
            and (contains is None or contains in self.number)
        )


def available_json(kind: Kind, *, sms: bool) -> Json:
    return {
        "phone_number": kind.number,
        "country": kind.country,
        "type": kind.type,
        "area_code": kind.area_code,
        "capabilities": {"voice": True, "sms": sms},
        "monthly_cost": 0,  # what the operator takes is not the box's to know
    }


class _Relay(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def number(self) -> str: ...
    @property
    def forward_to(self) -> str | None: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def country(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def created_at(self) -> str: ...


def relay_json(relay: _Relay) -> Json:
    return {
        "id": relay.id,
        "phone_number": relay.number,
        "forward_to": relay.forward_to,
        "relay_enabled": relay.enabled,
        "country": relay.country,
        "type": relay.type,
        "created_at": timestamp(relay.created_at),
    }


# --- webhooks (6) ---------------------------------------------------------------------------------------------------


class _Webhook(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def url(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def events(self) -> Sequence[str]: ...
    @property
    def active(self) -> bool: ...
    @property
    def created_at(self) -> str: ...
    @property
    def off_reason(self) -> str | None: ...
    @property
    def failing_since(self) -> str | None: ...


def webhook_json(webhook: _Webhook, secret: str | None = None) -> Json:
    """`secret` is told once, to whom it was made for. The last two of the others are ours."""
    told = {} if secret is None else {"secret": secret}
    return {
        "id": webhook.id,
        "url": webhook.url,
        "name": webhook.name,
        "events": list(webhook.events),
        "active": webhook.active,
        "created_at": timestamp(webhook.created_at),
        **told,
        "off_reason": webhook.off_reason,
        "failing_since": webhook.failing_since and timestamp(webhook.failing_since),
    }


class _Attempt(Protocol):
    @property
    def seq(self) -> int: ...
    @property
    def event_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def url(self) -> str: ...
    @property
    def code(self) -> int | None: ...
    @property
    def response(self) -> bytes: ...
    @property
    def error(self) -> str | None: ...
    @property
    def duration_ms(self) -> int: ...
    @property
    def at(self) -> str: ...
    @property
    def next_at(self) -> str | None: ...


def attempt_json(attempt: _Attempt) -> Json:
    delivered = attempt.code is not None and 200 <= attempt.code < 300
    return {
        "id": attempt.seq,
        "event_id": attempt.event_id,
        "event_type": attempt.type,
        "attempt": attempt.attempt,
        "status": "success" if delivered else "failed",
        "url": attempt.url,
        "response_code": attempt.code,
        "response_body": None if attempt.code is None else attempt.response.decode(errors="replace"),
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
        "next_attempt_at": attempt.next_at and timestamp(attempt.next_at),
        "created_at": timestamp(attempt.at),
    }


# --- calls (4, 10) --------------------------------------------------------------------------------------------------


class _Call(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def details(self) -> Mapping[str, Any]: ...


def initiated_json(call: _Call) -> Json:
    """All four for each type of call, though of a bridge's the documents show two."""
    known_by = {name: call.details[name] for name in ("telephony_ref", "cable_token")}
    return {**SUCCESS, "phone_call_id": call.id, **known_by}


def hung_up_json(call: _Call, status: str) -> Json:
    return {**SUCCESS, "phone_call_id": call.id, "call_status": status}


def monitor_json(call: _Call, leg: int, phone: str) -> Json:
    monitor = {"id": leg, "supervisor_phone": phone, "status": "ringing", "muted": True}
    return {**SUCCESS, "phone_call_id": call.id, "monitor": monitor}


def legacy_call_json(call: _Call, call_id: str, *, to: str, assistant_id: str) -> Json:
    return {
        "call_id": call_id,
        "status": "queued",
        "phone_number": to,
        "assistant_id": assistant_id,
        "phone_call_id": call.id,
    }


# --- agents (4.3) ---------------------------------------------------------------------------------------------------


def agent_json(agent: _Named, settings: Mapping[str, Any]) -> Json:
    words = ("system_message", "first_message", "realtime_voice")
    return {"id": agent.id, "name": agent.name, **{name: settings[name] for name in words}}
