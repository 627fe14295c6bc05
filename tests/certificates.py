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


def certify(directory: Path, *names: str, not_after: datetime | None = None) -> Certified:
    """By an authority of its own, for these names and addresses."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = authority.issue_cert(*names, not_after=not_after)
    certificate.configure_cert(server)
    ca, key = directory / "ca.pem", directory / "key.pem"
    authority.cert_pem.write_to_path(str(ca))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(key))
    return Certified(server, ca, key)
