"""HTTP's connections, of which TLS's handshake is worked out on a thread.

A server chooses the keys, and some take a second of a Raspberry Pi (ffdhe8192): for so long no event of any call would
be seen. Python's ssl can't refuse those alone, and Trio's streams shake hands where all else runs.
"""

import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import httpcore
import trio

# Of all that the box has: those that take long leave half of a Pi's cores to the calls; usual ones take milliseconds.
AT_ONCE = 2
_turns = trio.CapacityLimiter(AT_ONCE)
# What a TLS record carries (RFC 8446 5.1), and with what is around it.
RECORD_BYTES = 16384
READ_BYTES = RECORD_BYTES + 512
SEALED_BYTES = 4 * RECORD_BYTES


class Network(httpcore.TrioBackend):
    """To be httpcore's."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own name
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        way = await super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _Plain(way)


class _Plain(httpcore.AsyncNetworkStream):
    def __init__(self, way: httpcore.AsyncNetworkStream) -> None:
        self._way = way

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._way.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._way.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._way.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._way.get_extra_info(info)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        way = _Secured(self._way, ssl_context, server_hostname)
        try:
            with trio.fail_after(float("inf") if timeout is None else timeout):
                await way.shake_hands()
        except BaseException as exc:
            # It waits for nobody.
            with trio.CancelScope(shield=True):
                await self.aclose()
            if isinstance(exc, trio.TooSlowError):
                raise httpcore.ConnectTimeout("no TLS handshake in time") from exc
            raise
        return way


class _Secured(httpcore.AsyncNetworkStream):
    """For HTTP/1.1, where nobody reads while another writes. The end of TLS is the connection's, as everywhere in HTTP:
    where an answer ends, it says itself.
    """

    def __init__(self, way: httpcore.AsyncNetworkStream, context: ssl.SSLContext, host: str | None) -> None:
        self._way = way
        self._came, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._going, server_hostname=host)

    async def shake_hands(self) -> None:
        """Raises: httpcore.ConnectError: the server is not to be trusted, speaks no TLS that we do, or is gone."""
        while True:
            try:
                await trio.to_thread.run_sync(self._tls.do_handshake, limiter=_turns)
            except ssl.SSLWantReadError:
                if not await self._exchange(None):
                    raise httpcore.ConnectError("cut off in the TLS handshake") from None
            except ssl.SSLError as exc:
                # The server is told why.
                with suppress(httpcore.NetworkError):
                    await self._flush(None)
                raise httpcore.ConnectError(str(exc)) from exc
            else:
                await self._flush(None)
                return

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        while True:
            try:
                return self._tls.read(max_bytes)
            except ssl.SSLWantReadError:
                if not await self._exchange(timeout):
                    return b""
            except ssl.SSLError as exc:
                raise httpcore.ReadError(str(exc)) from exc

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        rest = memoryview(buffer)
        while rest:
            try:
                rest = rest[self._tls.write(rest) :]
            except ssl.SSLWantReadError:
                # Half a message of TLS's own has come, and the rest must first.
                if not await self._exchange(timeout):
                    raise httpcore.WriteError("cut off") from None
            except ssl.SSLError as exc:
                raise httpcore.WriteError(str(exc)) from exc
            if self._going.pending > SEALED_BYTES:
                await self._flush(timeout)
        await self._flush(timeout)

    async def _flush(self, limit_s: float | None) -> None:
        if sealed := self._going.read():
            await self._way.write(sealed, limit_s)

    async def _exchange(self, limit_s: float | None) -> bool:
        """What TLS has to say for some more of what it is told; False: there is no more."""
        await self._flush(limit_s)
        data = await self._way.read(READ_BYTES, limit_s)
        self._came.write(data)
        return bool(data)

    async def aclose(self) -> None:
        await self._way.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else self._way.get_extra_info(info)
