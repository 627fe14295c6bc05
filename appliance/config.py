"""The configuration: TOML text in, frozen values out; or all that is wrong with it, each problem with its key.

[service]                        [[lines]]                         [[webhooks]]
data_dir = "/var/lib/branchline" name = "office"                   url = "https://crm.example/hook"
listen = "127.0.0.1:8080"        model = "ec25"                    secret = "whsec_..."
                                 number = "+33700000002"           events = ["phone_call.*"]
[sfvopi]                         at = "/dev/serial/by-path/..."
default_country = "FR"           pcm = "/dev/serial/by-path/..."   [lab]
"""

import ipaddress
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import phonenumbers
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from appliance.addresses import web_address
from appliance.events import NOT_YET, TYPES, WILDCARDS
from appliance.numbers import is_e164
from appliance.webhook import refusal


class ConfigError(Exception):
    """`problems` has a line for each thing to mend; as text they stand one below the other."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def _need_known(kind: str, known: Collection[str], *texts: str) -> None:
    if unknown := [f'"{text}"' for text in texts if text not in known]:
        raise ValueError(f"unknown {kind} {', '.join(unknown)} (known: {', '.join(sorted(known))})")


def _absolute(value: object) -> Path:
    # A service has no place of its own that a relative path could start from.
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError('must be a path from the root, like "/var/lib/branchline"')
    return Path(value)


def _listen(text: str) -> str:
    # An IPv6 address stands in brackets, as in a URL.
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})", text)
    if match is None or int(match[2]) > 65535:
        raise ValueError(f'"{text}" is not an address and a port, like "127.0.0.1:8080"')
    return text


def _line_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,32}", text):
        raise ValueError(f'"{text}" must be 1 to 32 of a-z, 0-9 and -')
    return text


def _number(text: str) -> str:
    if not is_e164(text):
        raise ValueError(f'"{text}" is not an international number, like "+33612345678"')
    return text


def _model(text: str, info: ValidationInfo) -> str:
    assert info.context is not None
    _need_known("model", info.context["models"], text)
    return text


def _event_types(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not patterns:
        raise ValueError('must name at least one event; ["*"] is all')
    _need_known("event", TYPES | WILDCARDS, *patterns)
    return patterns


def _country(text: str) -> str:
    if text not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f'"{text}" is not a country of two capital letters, like "FR" (ISO 3166)')
    return text


def _webhook_url(text: str, info: ValidationInfo) -> str:
    """Names are looked up when it comes to sending, and checked then; here only what can be seen."""
    parts = urlsplit(web_address(text))
    assert parts.hostname is not None
    if not text.isascii():
        raise ValueError("must be in ASCII: other characters are written as %.., other domain names as xn--...")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user or a password")
    if not _is_address(parts.hostname):
        return text
    address = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    assert info.context is not None
    encrypted = parts.scheme == "https"
    if refused := refusal(address, encrypted=encrypted, allow_loopback=info.context["allow_loopback"]):
        raise ValueError(refused)
    return text


def _is_address(host: str) -> bool:
    """Not a name, of which nobody knows yet where it leads."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


AbsolutePath = Annotated[Path, BeforeValidator(_absolute)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Service(_Section):
    data_dir: AbsolutePath
    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:8080"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    recordings: bool = True


class LineConfig(_Section):
    """One modem. `at` and `pcm` should be names under /dev/serial/by-path: ttyUSB numbers change with each reset."""

    name: Annotated[str, AfterValidator(_line_name)]
    model: Annotated[str, AfterValidator(_model)]
    number: Annotated[str, AfterValidator(_number)]
    at: AbsolutePath
    pcm: AbsolutePath


class Webhook(_Section):
    """Who wants which events, and where. A named webhook keeps what it has not yet had when its `url` changes."""

    url: Annotated[str, AfterValidator(_webhook_url)]
    secret: Annotated[str, Field(min_length=24, repr=False)]
    events: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_event_types)] = ("*",)
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None

    @property
    def key(self) -> str:
        return self.name or self.url


class Sfvopi(_Section):
    org_id: Annotated[int, Field(ge=1, lt=2**53)] = 1
    default_country: Annotated[str, AfterValidator(_country)] = "FR"


class Lab(_Section):
    """For a bench and for tests, never for a box that others can reach."""

    allow_loopback: bool = False


class Config(_Section):
    service: Service
    lines: Annotated[tuple[LineConfig, ...], Field(strict=False)] = ()
    webhooks: Annotated[tuple[Webhook, ...], Field(strict=False)] = ()
    sfvopi: Sfvopi = Sfvopi()
    lab: Lab = Lab()


SECTIONS: dict[str, type[_Section]] = {
    "service": Service,
    "lines": LineConfig,
    "webhooks": Webhook,
    "sfvopi": Sfvopi,
    "lab": Lab,
}


def parse(text: str, models: Collection[str]) -> Config:
    """`models` are the devices that there are drivers for.

    Raises:
        ConfigError: with every problem that can be seen at once.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError([_syntax(str(exc))]) from exc
    lab = raw.get("lab")
    allow_loopback = isinstance(lab, dict) and lab.get("allow_loopback") is True
    problems = []
    try:
        config = Config.model_validate(raw, context={"models": models, "allow_loopback": allow_loopback})
    except ValidationError as exc:
        # Never with the input: it may be a secret.
        problems = [_problem(error) for error in exc.errors(include_url=False, include_input=False)]
    problems += _repeats(raw)
    if problems:
        raise ConfigError(problems)
    return config


def doubts(config: Config) -> Iterator[str]:
    """What is no mistake, but will hardly do what was meant."""
    for place, webhook in enumerate(config.webhooks, 1):
        for pattern in NOT_YET.intersection(webhook.events):
            yield f'webhooks.{place}.events: "{pattern}" is known, but this version never sends it'
        parts = urlsplit(webhook.url)
        assert parts.hostname is not None
        if parts.scheme == "http" and not _is_address(parts.hostname):
            yield f"webhooks.{place}.url: http is refused where {parts.hostname} is on the internet: use https there"


def _syntax(message: str) -> str:
    """tomllib says `Invalid value (at line 3, column 9)`."""
    what, _, where = message.rstrip(")").partition(" (at ")
    return f"{where}: {what[0].lower()}{what[1:]}"


# pydantic's kinds of error, in words for who wrote the file.
WORDS = {
    "missing": "is missing",
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false, without quotes",
    "tuple_type": "must be a list",
    "model_type": "must be a section of its own",
    "literal_error": "must be {expected}",
    "string_too_short": "must be at least {min_length} characters long",
    "string_too_long": "must be at most {max_length} characters long",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "value_error": "{error}",
}


def _problem(error: ErrorDetails) -> str:
    loc = error["loc"]
    if error["type"] == "extra_forbidden":
        return f"{_key(loc)}: unknown key" + _suggestion(loc)
    if error["type"] == "tuple_type" and len(loc) == 1:
        return f"{_key(loc)}: must be sections that each begin with [[{loc[0]}]]"
    if error["type"] == "model_type" and len(loc) == 1:
        return f"{_key(loc)}: must be one section that begins with [{loc[0]}]"
    words = WORDS.get(error["type"], error["msg"])
    return f"{_key(loc)}: {words.format(**error.get('ctx', {}))}"


def _key(loc: Sequence[int | str]) -> str:
    """Lists count from 1, as people do."""
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in loc)


def _suggestion(loc: Sequence[int | str]) -> str:
    section = Config if len(loc) == 1 else SECTIONS[str(loc[0])]
    close = get_close_matches(str(loc[-1]), section.model_fields, n=1)
    return f', did you mean "{close[0]}"?' if close else f" (known: {', '.join(section.model_fields)})"


def _repeats(raw: Mapping[str, Any]) -> Iterator[str]:
    """What may be there only once; read from the raw text, so that other mistakes do not hide these."""
    # Each group shares one space of values: two lines can't open one tty, under whichever key.
    for section, *keys in (("lines", "name"), ("lines", "number"), ("lines", "at", "pcm"), ("webhooks", "name", "url")):
        first: dict[str, str] = {}
        entries = raw.get(section)
        for place, entry in enumerate(entries if isinstance(entries, list) else [], 1):
            for key in keys:
                value = entry.get(key) if isinstance(entry, dict) else None
                if not isinstance(value, str):
                    continue
                here = f"{section}.{place}.{key}"
                if value in first:
                    yield f'{here}: "{value}" is taken already by {first[value]}'
                first.setdefault(value, here)
