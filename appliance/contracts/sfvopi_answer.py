"""The answer webhook's reply: Stream JSON (spec/sfvopi.md 6.3), read into our own order."""

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictStr, ValidationError

from appliance.actions import RATES_HZ, Direction, Protocol, StreamTo
from appliance.addresses import web_address
from native import Codec

ANSWER_BODY_LIMIT = 64 * 1024  # ours: a Stream JSON is a few hundred bytes
# Names that belong to the handshake itself (7.1).
RESERVED_HEADERS = {"host", "connection", "upgrade", "content-length", "transfer-encoding"}
HEADER_NAME_CHARACTERS = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")  # RFC 9110 5.6.2
EXTRA_HEADERS_LIMIT = 512
DEFAULT_CODEC = {Protocol.TWILIO: "PCMU"}


class BadInstructions(Exception):
    """What the answer webhook said is no Stream JSON; the text names the field at fault."""


def _socket_address(text: str) -> str:
    return web_address(text, ("ws", "wss"))


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _extra_headers(pairs: dict[str, str]) -> dict[str, str]:
    if len(";".join(f"{name}={value}" for name, value in pairs.items()).encode()) > EXTRA_HEADERS_LIMIT:
        raise ValueError(f"are longer than {EXTRA_HEADERS_LIMIT} bytes")
    for name, value in pairs.items():
        low = name.lower()
        if not low or set(low) - HEADER_NAME_CHARACTERS or low in RESERVED_HEADERS or low.startswith("sec-websocket-"):
            raise ValueError(f"name {name!r} can't be sent")
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"value of {name!r} can't be sent")
    return pairs


class _StreamJson(BaseModel):
    url: Annotated[StrictStr, AfterValidator(_socket_address)]
    codec: Annotated[Literal["PCMA", "PCMU", "L16"], BeforeValidator(_upper)] | None = None
    sample_rate: Annotated[int, Field(strict=True)] = 8000
    direction: Annotated[Literal["BOTH", "INBOUND", "OUTBOUND"], BeforeValidator(_upper)] = "BOTH"
    bidirectional: Annotated[bool, Field(strict=True)] = True
    stream_timeout: Annotated[int, Field(strict=True, ge=1, le=86400)] = 86400
    keep_call_alive: Annotated[bool, Field(strict=True)] = False
    extra_headers: Annotated[dict[StrictStr, StrictStr], AfterValidator(_extra_headers)] | None = None
    # Ours: whose words the messages have.
    protocol: Annotated[Literal["sfvopi", "plivo", "twilio"], BeforeValidator(_lower)] | None = None


def _fold_names(value: object) -> object:
    """6.3: names are matched case-insensitively."""
    return {name.lower(): member for name, member in value.items()} if isinstance(value, dict) else value


class _Instructions(BaseModel):
    stream: Annotated[_StreamJson, BeforeValidator(_fold_names)]


def instructions(body: bytes, protocol: Protocol = Protocol.SFVOPI) -> StreamTo:
    """`protocol` is the app's, for a Stream JSON that names none. Raises BadInstructions, naming the field at fault."""
    try:
        asked = _Instructions.model_validate(_fold_names(json.loads(body))).stream
    except (ValueError, RecursionError) as exc:
        raise BadInstructions(_first_fault(exc)) from None
    protocol = Protocol(asked.protocol) if asked.protocol else protocol
    codec = Codec[asked.codec or DEFAULT_CODEC.get(protocol, "PCMA")]
    if protocol is Protocol.TWILIO and codec is not Codec.PCMU:
        raise BadInstructions(f"stream.codec: Twilio's streams are PCMU, not {codec.name}")
    if asked.sample_rate not in RATES_HZ[codec]:
        raise BadInstructions(f"stream.sample_rate: {asked.sample_rate} is not a rate of {codec.name}")
    return StreamTo(
        url=asked.url,
        codec=codec,
        rate_hz=asked.sample_rate,
        direction=Direction[asked.direction],
        bidirectional=asked.bidirectional,
        timeout_s=asked.stream_timeout,
        keep_call_alive=asked.keep_call_alive,
        headers=asked.extra_headers or {},
        protocol=protocol,
    )


def _first_fault(exc: Exception) -> str:
    if isinstance(exc, ValidationError):
        fault = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        return f"{key or 'body'}: {fault['msg'].removeprefix('Value error, ')}"
    return "not JSON"
