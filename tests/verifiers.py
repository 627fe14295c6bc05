"""How receivers verify a webhook's signature, as PhoneVoice's documentation prints it for each of its languages.

Each is what the printed program does, step by step, with the same liberties: some go by names, some by places, and one
signs the body anew, as JavaScript writes it.
"""

import hashlib
import hmac
import json
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

# Takes the header's value, the body and the webhook's secret.
Verifier = Callable[[str, bytes, str], bool]


def _hex(secret: str, signed: str) -> str:
    return hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()


def _equal(one: str, other: str) -> bool:
    """Node's timingSafeEqual throws where lengths differ."""
    return len(one) == len(other) and hmac.compare_digest(one, other)


# --- the current page -----------------------------------------------------------------------------------------------


def express(header: str, body: bytes, secret: str) -> bool:
    """`Object.fromEntries(header.split(",").map(p => p.split("=")))`: what is behind a second `=` is lost."""
    parts = {element.split("=")[0]: element.split("=")[1] for element in header.split(",")}
    return _equal(_hex(secret, f"{parts['t']}.{body.decode()}"), parts["v1"])


def flask(header: str, body: bytes, secret: str) -> bool:
    """`dict(p.split("=") for p in header.split(","))`: a third piece is an error."""
    parts = dict(element.split("=") for element in header.split(","))  # type: ignore[misc]  # as it is printed
    return hmac.compare_digest(_hex(secret, f"{parts['t']}.{body.decode()}"), parts["v1"])


def rails(header: str, body: bytes, secret: str) -> bool:
    """`header.split(",").map { |p| p.split("=") }.to_h`: pairs only, and empty ends of a split are dropped."""
    pairs = [element.rstrip("=").split("=") for element in header.split(",")]
    assert all(len(pair) == 2 for pair in pairs)
    parts = dict(pairs)  # type: ignore[arg-type]  # as was asserted
    return hmac.compare_digest(_hex(secret, f"{parts['t']}.{body.decode()}"), parts["v1"])


# --- the older page -------------------------------------------------------------------------------------------------


def older_node(header: str, body: bytes, secret: str) -> bool:
    """By places; what is signed is `JSON.stringify(req.body)`."""
    t, v1 = [element.split("=")[1] for element in header.split(",")][:2]
    return _equal(v1, _hex(secret, f"{t}.{stringify(json.loads(body))}"))


def older_python(header: str, body: bytes, secret: str) -> bool:
    """`timestamp, signature = [...]`: two, neither more nor fewer."""
    timestamp, signature = [element.split("=")[1] for element in header.split(",")]
    return hmac.compare_digest(signature, _hex(secret, f"{timestamp}.{body.decode()}"))


def older_ruby(header: str, body: bytes, secret: str) -> bool:
    """The first element and the last one."""
    timestamp = header.split(",")[0].split("=")[-1]
    signature = header.split(",")[-1].split("=")[-1]
    return hmac.compare_digest(_hex(secret, f"{timestamp}.{body.decode()}"), signature)


def older_php(header: str, body: bytes, secret: str) -> bool:
    """`parse_str(str_replace(",", "&", ...))`: as a query, so `+` would be a blank and `%` an escape."""
    parts = dict(parse_qsl(header.replace(",", "&")))
    return hmac.compare_digest(_hex(secret, f"{parts['t']}.{body.decode()}"), parts["v1"])


def older_go(header: str, body: bytes, secret: str) -> bool:
    parts = header.split(",")
    timestamp, signature = parts[0].split("=")[1], parts[1].split("=")[1]
    return hmac.compare_digest(signature, _hex(secret, f"{timestamp}.{body.decode()}"))


VERIFIERS: Sequence[Verifier] = (express, flask, rails, older_node, older_python, older_ruby, older_php, older_go)


def refusing(header: str, body: bytes, secret: str) -> list[str]:
    """Who would not take it. A body is the same for both generations."""
    return [verifier.__name__ for verifier in VERIFIERS if not verifier(header, body, secret)]


# --- JSON.stringify (ECMA-262 25.5.2) -------------------------------------------------------------------------------


def stringify(value: Any) -> str:
    match value:
        case None | bool() | str():
            # Halves of surrogate pairs, which are escaped, can't come in UTF-8.
            return json.dumps(value, ensure_ascii=False)
        case int() | float():
            return _number(value)
        case list():
            return f"[{','.join(map(stringify, value))}]"
        case dict():
            # 10.1.11.1: names that are array indices come first, by their size.
            indices = sorted((name for name in value if _is_index(name)), key=int)
            names = [*indices, *(name for name in value if not _is_index(name))]
            return f"{{{','.join(f'{stringify(name)}:{stringify(value[name])}' for name in names)}}}"
    raise TypeError(type(value))


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name and int(name) < 2**32 - 1


def _number(value: float) -> str:
    """6.1.6.1.20: plain digits from 1e-6 to below 1e21, the fewest that are the same double."""
    value = float(value)
    if not math.isfinite(value):
        return "null"
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text, point = "".join(map(str, digits)), len(digits) + exponent
    if 0 < point <= 21:
        text = text.ljust(point, "0") if exponent >= 0 else f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{text}"
    else:
        text = f"{text[0]}{'.' * (len(text) > 1)}{text[1:]}e{point - 1:+}"
    return "-" * sign + text
