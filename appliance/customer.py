"""Calls the customer's server: one request, one bounded answer, one clear failure.

Redirects are not followed and certificates are verified (spec/sfvopi.md 5).
"""

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx
import trio

from appliance.gateway import reason
from appliance.handshake import Network


class CustomerFailed(Exception):
    """The customer's server gave no usable answer; the text says what happened."""


class Customer:
    """For all calls. Made by `open_customer`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, limit_s: float, limit_bytes: int
    ) -> bytes:
        """The body of a 200 that came whole within both limits.

        Raises:
            CustomerFailed: anything else.
        """
        with trio.move_on_after(limit_s):
            with _failing("could not be asked"):
                async with self._client.stream(method, url, headers=headers, content=body) as response:
                    if response.status_code != 200:
                        raise CustomerFailed(f"answered {response.status_code}")
                    answer = bytearray()
                    # Raw: a few bytes of gzip may be a gigabyte.
                    async for chunk in response.aiter_raw():
                        answer += chunk
                        if len(answer) > limit_bytes:
                            raise CustomerFailed(f"answered more than {limit_bytes} bytes")
                    return bytes(answer)
        raise CustomerFailed(f"gave no answer in {limit_s:g} s")

    async def tell(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, limit_s: float) -> None:
        """The answer is of no interest, only that one came.

        Raises:
            CustomerFailed: none came.
        """
        with trio.move_on_after(limit_s):
            with _failing("could not be told"):
                async with self._client.stream(method, url, headers=headers, content=body):
                    return
        raise CustomerFailed(f"gave no answer in {limit_s:g} s")


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's own, on a network that it has no argument for."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        # A connection for each request: one that was kept may be closed by the server in the very moment that we use
        # it, and a call would fail for that.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls, max_connections=None, max_keepalive_connections=0, network_backend=Network()
        )


@contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
        raise CustomerFailed(f"{what}: {reason(exc)}") from exc


@asynccontextmanager
async def open_customer(user_agent: str, *, tls: ssl.SSLContext) -> AsyncIterator[Customer]:
    # httpx's own limits are per step; ours, around the whole, are the contract's.
    headers = {"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "identity"}
    # Requests know nothing of each other: they are of many calls, and of many customers.
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    async with httpx.AsyncClient(
        transport=_Transport(tls), timeout=None, headers=headers, cookies=cookies, trust_env=False
    ) as client:
        yield Customer(client)
