"""Records of TLS 1.3 as RFC 8446 has them, for messages that no library says, or cuts, on command."""

import hashlib
import hmac
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# RFC 8446 5.1, 4.
HANDSHAKE, APPLICATION = 22, 23
NEW_SESSION_TICKET, KEY_UPDATE = 4, 24
# OpenSSL's first choice, TLS_AES_256_GCM_SHA384.
KEY_BYTES, IV_BYTES, SECRET_BYTES = 32, 12, 48


def expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label (7.1) of an empty context, up to one hash long."""
    name = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
    return hmac.digest(secret, info + b"\1", hashlib.sha384)[:size]


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def new_keys(*, yours_too: bool) -> bytes:
    return message(KEY_UPDATE, bytes([yours_too]))


def ticket(size: int) -> bytes:
    """One that is so long (4.6.1): a lifetime, an age, a nonce, the ticket, no extension."""
    return message(NEW_SESSION_TICKET, bytes(8) + b"\1\0" + size.to_bytes(2, "big") + bytes(size) + b"\0\0")


class Records:
    """What a server says after its handshake, of which `keys` is the log (SSLKEYLOGFILE); it has sent no ticket."""

    def __init__(self, keys: Path) -> None:
        logged = [line.split() for line in keys.read_text().splitlines()]
        self._renew(next(bytes.fromhex(line[2]) for line in reversed(logged) if line[0] == "SERVER_TRAFFIC_SECRET_0"))

    def _renew(self, secret: bytes) -> None:
        self._secret, self._sealed = secret, 0
        self._cipher, self._iv = AESGCM(expand(secret, "key", KEY_BYTES)), expand(secret, "iv", IV_BYTES)

    def take_new_keys(self) -> None:
        """Behind a message that says so (7.2)."""
        self._renew(expand(self._secret, "traffic upd", SECRET_BYTES))

    def seal(self, data: bytes, kind: int = APPLICATION) -> bytes:
        """One record (5.2)."""
        nonce = (int.from_bytes(self._iv, "big") ^ self._sealed).to_bytes(IV_BYTES, "big")
        self._sealed += 1
        head = bytes([APPLICATION, 3, 3]) + (len(data) + 1 + 16).to_bytes(2, "big")
        return head + self._cipher.encrypt(nonce, data + bytes([kind]), head)
