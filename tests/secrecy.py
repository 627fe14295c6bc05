"""What the box gives to one person only, and where nobody may come upon it: in a log, an error, a file.

Most is known by its shape, wherever it comes from; the rest is what a test itself has configured.
"""

import re
from collections.abc import Iterable

SHAPES = re.compile(
    # Keys of the box, tokens of PhoneVoice, what signs events.
    r"(?:sfv_key|pv_project|pv_user)_[\w-]{43}|whsec_[\w-]{43,64}"
    # Addresses that open a recording, and a bucket.
    r"|/rec/[\w-]+(?:\.[\w-]+)+/|X-Amz-Signature=\w+"
    # A SIM's PIN, as a modem is told it.
    r'|CPIN=[\\"]*[0-9]{4,8}'
)
# What is shorter is in many a text by chance.
SHORTEST = 8


def leaked(text: str, secrets: Iterable[str] = ()) -> list[str]:
    """Whatever of that is in it, each once."""
    known = {secret for secret in secrets if len(secret) >= SHORTEST and secret in text}
    return sorted(known | set(SHAPES.findall(text)))
