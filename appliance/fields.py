"""What single values of a configuration may be; what they may not is said in words for who wrote the file."""

import ipaddress
import re
from collections.abc import Collection
from datetime import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from appliance.addresses import web_address
from appliance.events import TYPES, WILDCARDS
from appliance.ingest import Window, window
from appliance.numbers import is_e164, is_pattern
from appliance.webhook import refusal


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
    return _known_events(patterns)


def _known_events(patterns: tuple[str, ...]) -> tuple[str, ...]:
    _need_known("event", TYPES | WILDCARDS, *patterns)
    return patterns


def _patterns(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if not is_pattern(text):
            raise ValueError(f'"{text}" is neither a number, like "+33899123456", nor a beginning, like "+33899*"')
    return texts


# Bus, then the port of each hub on the way, as sysfs has it.
USB_PORT = re.compile(r"\d+-\d+(\.\d+)*")


def _usb_port(text: str) -> str:
    if not USB_PORT.fullmatch(text):
        raise ValueError(f'"{text}" is not a USB port, like "1-1.2": `branchline lines` shows them')
    return text


def _digits(text: str, info: ValidationInfo) -> str:
    what, fewest, most = {
        "imei": ("15 digits", 15, 15),
        "iccid": ("18 to 20 digits", 18, 20),
        # 3GPP TS 27.007 8.3; 31.101 has eight at most.
        "pin": ("4 to 8 digits", 4, 8),
    }[str(info.field_name)]
    if not (text.isascii() and text.isdecimal() and fewest <= len(text) <= most):
        raise ValueError(f"must be {what}")
    return text


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
    if not is_address(parts.hostname):
        return text
    address = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    assert info.context is not None
    encrypted = parts.scheme == "https"
    if refused := refusal(address, encrypted=encrypted, allow_loopback=info.context["allow_loopback"]):
        raise ValueError(refused)
    return text


def _origin(text: str) -> str:
    parts = urlsplit(web_address(text))
    if not text.isascii() or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError('must be no more than where this box is reached, like "https://box.example"')
    return text


def _webhook_name(text: str) -> str:
    if text.startswith(("subscription:", "legacy:")):
        raise ValueError(f'"{text}" begins as the names of webhooks that are made over the API')
    return text


def is_address(host: str) -> bool:
    """Not a name, of which nobody knows yet where it leads."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _time_of_day(text: object) -> time:
    if not isinstance(text, str) or not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError('must be a time of day in quotes, like "03:30"')
    return time.fromisoformat(text)


def _email(text: str) -> str:
    if not (re.fullmatch(r"[^@\s]{1,64}@[^@\s]{1,190}", text) and text.isprintable()):
        raise ValueError("is not an address, like desk@example.com")
    return text


def _project_name(text: str) -> str:
    if "@" in text or not text.strip():
        raise ValueError("must not be empty nor have an @: that is how projects of users are called")
    return text


def _cloud_url(text: str) -> str:
    if "?" in text or "#" in text:
        raise ValueError("must end with its path: what is sent there has names of its own below it")
    return text.rstrip("/")


def _token(text: str) -> str:
    # RFC 6750 2.1, as it stands in a header.
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        raise ValueError("must be letters, digits, and -._~+/")
    return text


def _window(text: object) -> Window:
    return window(text if isinstance(text, str) else "")


AbsolutePath = Annotated[Path, BeforeValidator(_absolute)]
Address = Annotated[str, AfterValidator(_listen)]
LineName = Annotated[str, AfterValidator(_line_name)]
Number = Annotated[str, AfterValidator(_number)]
ModelName = Annotated[str, AfterValidator(_model)]
EventTypes = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_event_types)]
Patterns = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_patterns)]
UsbPort = Annotated[str, AfterValidator(_usb_port)]
# The field's name says how many.
Digits = Annotated[str, AfterValidator(_digits)]
TimeOfDay = Annotated[time, BeforeValidator(_time_of_day)]
CountryCode = Annotated[str, AfterValidator(_country)]
Origin = Annotated[str, AfterValidator(_origin)]
WebhookName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_webhook_name)]
WebhookUrl = Annotated[str, AfterValidator(_webhook_url)]
Email = Annotated[str, AfterValidator(_email)]
ProjectName = Annotated[str, Field(max_length=100), AfterValidator(_project_name)]
CloudUrl = Annotated[WebhookUrl, AfterValidator(_cloud_url)]
CloudEvents = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_known_events)]
BearerToken = Annotated[str, Field(min_length=16), AfterValidator(_token)]
HoursOfDay = Annotated[Window, BeforeValidator(_window)]
