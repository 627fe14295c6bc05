"""Web addresses that customers give us to call."""

from urllib.parse import urlsplit

LONGEST = 2048


def web_address(text: str, schemes: tuple[str, ...] = ("http", "https")) -> str:
    """The text itself, when it is an absolute address that can be called.

    Raises:
        ValueError: it is not; the text says why, and reads on from the key's name.
    """
    if len(text) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    if any(c <= " " or c == "\x7f" for c in text):
        raise ValueError("has blanks or control characters")
    try:
        parts = urlsplit(text)
        valid = parts.scheme.lower() in schemes and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"is not an absolute {' or '.join(schemes)} URL")
    return text
