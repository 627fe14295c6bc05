"""Signed addresses: whoever has one may hear one recording, and no other, until its time is over. No key, no list.

    https://box.example/rec/<token>/call_17.mp3

The token holds the recording's id and when the address ends, signed together with the file's name: what is sent is
what the token names, and the name in the address can't be another one. "7.4" names a section of the PhoneVoice
contract.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from itsdangerous import BadData, BadSignature, URLSafeSerializer

from appliance.call import Call

# 7.4: an address is valid for seven days.
VALID = timedelta(days=7)
KEY_BYTES = 32
RECORDINGS = "/rec"


class BadLink(Exception):
    """An address that opens nothing; the message says why, for who followed it."""


class Links:
    """`origin` is where the box is found from outside, perhaps with a path of a proxy's: `https://box.example/voice`."""

    def __init__(self, key: bytes, origin: str) -> None:
        self._key = key
        self._origin = origin.rstrip("/")

    def recording(self, call: Call, id_: str, now: datetime) -> str:
        name = f"{'bridge' if call.kind.joins else 'call'}_{call.id}.mp3"
        until = int((now + VALID).timestamp())
        return f"{self._origin}{RECORDINGS}/{self._signer(name).dumps([id_, until])}/{name}"

    def opened(self, token: str, name: str, now: datetime) -> str:
        """The id of the recording that the address is for. Raises BadLink."""
        try:
            payload = self._signer(name).loads(token)
        except BadSignature:
            raise BadLink("this address is not one of this box's") from None
        except BadData:
            payload = None
        match payload:
            case [str(id_), int(until)]:
                if now.timestamp() >= until:
                    raise BadLink("this address has expired: a newer event or a request for the call has a new one")
                return id_
        # Nobody else has the key.
        raise BadLink("this address is of another version of this box")

    def _signer(self, name: str) -> URLSafeSerializer:
        # Its defaults are for who comes from Django: SHA-1, and a key that is but concatenated.
        settings = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeSerializer(self._key, salt=f"recording/{name}".encode(), signer_kwargs=settings)


def origin_of(listen: Sequence[object], hostname: str) -> str:
    """Where a box is found that nobody gave a name: where it listens, as a socket tells that (host, port, ...)."""
    host, port = str(listen[0]), listen[1]
    if host in ("0.0.0.0", "::"):
        host = hostname
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
