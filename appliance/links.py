"""Signed addresses: whoever has one may hear one recording, and no other, until its time is over. No key, no list.

    https://box.example/rec/<token>/call_17.mp3

The token holds the recording's id and when the address ends, signed together with the file's name: what is sent is
what the token names, and the name in the address can't be another one. An event may wait for days before anybody hears
of it, and its body is not changed for that: so its address lasts for as long again from when it was delivered. Who
fetches events from the box is given new ones. "7.4" names a section of the PhoneVoice contract.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from itsdangerous import BadData, BadSignature, URLSafeSerializer

from appliance.call import Call

# 7.4: an address is valid for seven days.
VALID = timedelta(days=7)
KEY_BYTES = 32
RECORDINGS = "/rec"


class BadLink(Exception):
    """An address that opens nothing; the message says why, for who followed it."""


@dataclass(frozen=True)
class Opened:
    """What an address opens, and until when, if nobody was told of it later than it was made."""

    id: str
    until: datetime

    def is_over(self, now: datetime, told_at: datetime | None) -> bool:
        """`told_at`: when its call was last told to somebody who wants to be."""
        return now >= self.until and (told_at is None or now >= told_at + VALID)


class Links:
    """`origin` is where the box is found from outside, perhaps with a path of a proxy's: `https://box.example/voice`."""

    def __init__(self, key: bytes, origin: str) -> None:
        self._key = key
        self._origin = origin.rstrip("/")

    def recording(self, call: Call, id_: str, now: datetime) -> str:
        return self._address(f"{'bridge' if call.kind.joins else 'call'}_{call.id}.mp3", id_, now)

    def renewed(self, address: str, now: datetime) -> str:
        """Of one that `recording` made, maybe with another key or origin. Raises BadLink."""
        *_, token, name = address.split("/")
        return self._address(name, self.opened(token, name).id, now)

    def _address(self, name: str, id_: str, now: datetime) -> str:
        until = int((now + VALID).timestamp())
        return f"{self._origin}{RECORDINGS}/{self._signer(name).dumps([id_, until])}/{name}"

    def opened(self, token: str, name: str) -> Opened:
        """Raises BadLink."""
        try:
            payload = self._signer(name).loads(token)
        except BadSignature:
            raise BadLink("this address is not one of this box's") from None
        except BadData:
            payload = None
        match payload:
            case [str(id_), int(until)]:
                return Opened(id_, datetime.fromtimestamp(until, UTC))
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
