"""HTTP's connections under TLS: the same bytes, faults as httpcore's own, and a handshake that holds up nobody."""

import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpcore
import pytest
import trio

from appliance.handshake import Network
from tests.certificates import Certified, certify
from tests.conftest import PATIENCE_S


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certify(tmp_path_factory.mktemp("handshake"), "127.0.0.1")


@asynccontextmanager
async def serving(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[httpcore.AsyncNetworkStream]:
    """A connection to one who serves it like that, without TLS so far."""
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            way = await Network().connect_tcp("127.0.0.1", listener.socket.getsockname()[1])
            yield way
            await way.aclose()
            nursery.cancel_scope.cancel()


async def echo(tls: ssl.SSLContext, stream: trio.SocketStream, *, most_bytes: int = 2**16) -> None:
    async with trio.SSLStream(stream, tls, server_side=True, https_compatible=True) as secured:
        while data := await secured.receive_some(most_bytes):
            await secured.send_all(data)


async def secured(way: httpcore.AsyncNetworkStream, ca: Path | None) -> httpcore.AsyncNetworkStream:
    return await way.start_tls(ssl.create_default_context(cafile=ca), "127.0.0.1", PATIENCE_S)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_same_is_heard_that_was_said(tmp_path: Path, version: ssl.TLSVersion) -> None:
    certified = certify(tmp_path, "127.0.0.1")
    certified.server.minimum_version = certified.server.maximum_version = version
    async with serving(partial(echo, certified.server)) as plain:
        way = await secured(plain, certified.ca)
        assert way.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        assert way.get_extra_info("server_addr") == plain.get_extra_info("server_addr")
        for size in (1, 16_384, 16_385, 150_000):
            said = bytes(n % 251 for n in range(size))
            await way.write(said)
            heard = b""
            while len(heard) < size:
                heard += await way.read(20_000)
            assert heard == said


async def test_the_handshake_is_worked_out_on_a_thread(certified: Certified) -> None:
    threads = set()

    class Noted(ssl.SSLObject):
        def do_handshake(self) -> None:
            threads.add(threading.get_ident())
            super().do_handshake()

    context = ssl.create_default_context(cafile=certified.ca)
    context.sslobject_class = Noted
    async with serving(partial(echo, certified.server)) as plain:
        await plain.start_tls(context, "127.0.0.1")
    assert threads
    assert threading.get_ident() not in threads


async def test_who_is_not_trusted_is_told_so(certified: Certified) -> None:
    told: list[str] = []
    heard = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        with pytest.raises(trio.BrokenResourceError) as failure:
            await echo(certified.server, stream)
        told.append(str(failure.value.__cause__))
        heard.set()

    async with serving(serve) as plain:
        with pytest.raises(httpcore.ConnectError, match="certificate verify failed"):
            await secured(plain, None)
        await heard.wait()
    assert "unknown ca" in told[0]


async def test_what_is_no_tls_is_said_so(certified: Certified) -> None:
    async with serving(lambda stream: stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as plain:
        with pytest.raises(httpcore.ConnectError, match="wrong version number"):
            await secured(plain, certified.ca)


async def test_who_is_gone_before_it_is_done_is_no_riddle(certified: Certified) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_eof()

    async with serving(serve) as plain:
        with pytest.raises(httpcore.ConnectError, match="cut off in the TLS handshake"):
            await secured(plain, certified.ca)


async def test_who_says_nothing_is_not_waited_for_longer_than_that(certified: Certified) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with serving(serve) as plain:
        with pytest.raises(httpcore.ConnectTimeout):
            await plain.start_tls(ssl.create_default_context(cafile=certified.ca), "127.0.0.1", 0.0)


async def test_the_end_of_a_connection_is_the_end_of_what_is_heard(certified: Certified) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        way = trio.SSLStream(stream, certified.server, server_side=True, https_compatible=True)
        await way.send_all(b"all of it")
        await stream.aclose()

    async with serving(serve) as plain:
        way = await secured(plain, certified.ca)
        assert await way.read(100) == b"all of it"
        assert await way.read(100) == b""


async def test_bytes_that_somebody_has_changed_are_a_fault(certified: Certified) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await trio.SSLStream(stream, certified.server, server_side=True).do_handshake()
        await stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))

    async with serving(serve) as plain:
        way = await secured(plain, certified.ca)
        with pytest.raises(httpcore.ReadError, match="bad record mac"):
            await way.read(100)
