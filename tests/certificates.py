"""Servers' certificates, and whom to trust to believe them."""

import ssl
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import trustme


class Certified(NamedTuple):
    server: ssl.SSLContext
    # Who vouches for it.
    ca: Path
    # It and its key, in one file.
    key: Path


def certify(
    directory: Path,
    *names: str,
    not_after: datetime | None = None,
    key: trustme.KeyType = trustme.KeyType.ECDSA,
    between: int = 0,
) -> Certified:
    """By an authority of its own, or with so many between, for these names and addresses."""
    authority = issuer = trustme.CA(key_type=key)
    for _ in range(between):
        issuer = issuer.create_child_ca(key_type=key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = issuer.issue_cert(*names, not_after=not_after, key_type=key)
    certificate.configure_cert(server)
    ca, own = directory / "ca.pem", directory / "key.pem"
    authority.cert_pem.write_to_path(str(ca))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(own))
    return Certified(server, ca, own)
