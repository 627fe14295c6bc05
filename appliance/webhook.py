"""A webhook's rules: how a body is signed, when it is sent again, what an answer means, which targets are refused.

"8" and the like name sections of the PhoneVoice contract. Times are Unix seconds.
"""

import hashlib
import hmac
import ipaddress
from email.utils import parsedate_to_datetime
from enum import Enum

# 8: the spelling of each of the contract's generations, as a published verifier looks it up in a case-sensitive map.
# They are never in the same request, where they would be merged.
SIGNATURE_HEADER = "Phonevoice-Signature"
LEGACY_SIGNATURE_HEADER = "PhoneVoice-Signature"


class Verdict(Enum):
    DELIVERED = "delivered"
    RETRY = "retry"
    GONE = "gone"  # the receiver wants nothing more, ever


# 8: the wait after each failure; the eighth is the last.
RETRY_AFTER_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)
JITTER = 0.1
LONGEST_WAIT_S = max(RETRY_AFTER_S) * (1 + JITTER)
# 8: a receiver may ask for more time, but not for so much that the event is stale.
LONGEST_RETRY_AFTER_S = 3600
MAY_ASK_FOR_TIME = (429, 503)

LIMIT_S = 15
PARALLEL = 4
# To all addresses that came with a project's calls: each as many as above, and one when half of all are under way. So
# there are always some left, until more addresses than anybody has are slow at once; and then each waits for an answer.
PARALLEL_LEGACY = 32
# 8: seven days; we keep them for nine of the box being up. A week without internet costs nothing only if what is from
# its first hour has time for all of the schedule above when it is over: 33 h, where each wait is as long as it can be.
KEEP_H = 9 * 24
# 8: a webhook of which every attempt fails for so long is switched off.
FAILING_H = 5 * 24
LOG_PER_WEBHOOK = 50
LOG_BODY_BYTES = 1024

# 1 January 2026. A Pi has no clock of its own: before this, nobody has set it yet, and a signature made now is void.
CLOCK_IS_SET_AFTER = 1767225600


def sign(secret: str, t: int, body: bytes) -> str:
    """The header's value: exactly two elements, no space. The key is the whole secret, its prefix too (6)."""
    v1 = hmac.new(secret.encode(), b"%d." % t + body, hashlib.sha256).hexdigest()
    return f"t={t},v1={v1}"


def public(key: str) -> str:
    """For logs: customers put keys of their own behind the question mark."""
    return key.partition("?")[0]


def verdict(status: int) -> Verdict:
    """A redirect isn't followed, and is a failure (8)."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.GONE if status == 410 else Verdict.RETRY


def next_attempt(attempts: int, now: float, jitter: float, retry_after_s: float = 0) -> float | None:
    """When to try again after the `attempts`-th try failed; None: never. `jitter` is chance in 0..1."""
    if attempts > len(RETRY_AFTER_S):
        return None
    wait_s = RETRY_AFTER_S[attempts - 1] * (1 + JITTER * jitter)
    return now + max(wait_s, min(retry_after_s, LONGEST_RETRY_AFTER_S))


def retry_after_s(status: int, header: str | None, now: float) -> float:
    """The wait that an answer asks for, 0 when it asks for none: seconds or a date (RFC 9110 10.2.3)."""
    if header is None or status not in MAY_ASK_FOR_TIME:
        return 0
    try:
        if header.strip().isdecimal():
            return float(header)
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, OverflowError, OSError):
        return 0


LAN = tuple(
    ipaddress.ip_network(network)
    # RFC 1918 and RFC 4193; RFC 6598 is also what mesh VPNs give out.
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
# Cloud metadata services outside link-local addresses.
METADATA = frozenset(ipaddress.ip_address(address) for address in ("fd00:ec2::254", "100.100.100.200"))


def refusal(address: str, *, encrypted: bool, allow_loopback: bool) -> str | None:
    """Why no event may be sent to this IP address; None: it may (8, targets).

    A private LAN is the point of a box. All else that is not the public internet is refused, as a webhook must not be
    a way to what listens on the box itself or to a cloud's metadata; and to the internet nothing goes unencrypted (6).
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return None if allow_loopback else f"{address} is this box itself, which only lab.allow_loopback permits"
    if ip.is_link_local or ip in METADATA:
        return f"{address} is link-local or a metadata service"
    if any(ip in network for network in LAN):
        return None
    if ip.is_multicast or not ip.is_global:
        return f"{address} is not an address of a server"
    return None if encrypted else f"{address} is on the internet: use https"
