"""The connection to a customer's server that misbehaves: bare TCP in the same loop, so that time can be jumped over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from appliance.outlet import BACKLOG_LIMIT_BYTES
from appliance.wire import Closed, Rejected, Unreachable, Wire, open_wire
from tests.bare_websocket import accept, raw_server

HEADERS = {"User-Agent": "branchline/test"}


@asynccontextmanager
async def answering(*lines: str) -> AsyncIterator[str]:
    """The address of a server that answers a handshake with these lines and closes."""

    async def answer(stream: trio.SocketStream) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += await stream.receive_some()
        await stream.send_all("\r\n".join(lines).encode("latin-1"))

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield "ws://{}:{}/".format(*listener.socket.getsockname())
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("start", ["HTTP/1.1 404 Not Found", "HTTP/1.0 401 Unauthorized", "HTTP/1.1 403 No"])
async def test_a_refusal_without_a_length_is_told_by_its_status_too(start: str):
    async with answering(start, "Connection: close", "", "no such stream") as url:
        with pytest.raises(Rejected) as rejected:
            async with open_wire(url, headers=HEADERS):
                raise AssertionError("no connection")
    assert rejected.value.status == int(start.split()[1])


SWITCHING = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")


@pytest.mark.parametrize(
    "lines",
    [
        ("SSH-2.0-OpenSSH_9", "", ""),
        ("HTTP/1.1 099 What", "", ""),
        (*SWITCHING, "Content-Length: -1", "", ""),
        *((*SWITCHING, f"Sec-WebSocket-{name}: \xe9t\xe9", "", "") for name in ("Protocol", "Extensions", "Accept")),
        (SWITCHING[0], "Upgrade: w\xe9bsocket", "Connection: \xe9", "", ""),
    ],
)
async def test_a_server_that_speaks_no_http_is_unreachable_and_is_blamed(lines: tuple[str, ...]):
    async with answering(*lines) as url:
        with pytest.raises(Unreachable) as unreachable:
            async with open_wire(url, headers=HEADERS):
                raise AssertionError("no connection")
    assert "request" not in str(unreachable.value)


async def never(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def accept_and_ignore(stream: trio.SocketStream) -> None:
    await accept(stream)
    await trio.sleep_forever()


async def until_closed(wire: Wire) -> Closed:
    try:
        while True:
            await wire.receive()
    except Closed as closed:
        return closed


async def fails_to_open(url: str) -> str:
    with pytest.raises(Unreachable) as raised:
        async with open_wire(url, headers=HEADERS):
            raise AssertionError("no connection")
    return str(raised.value)


async def test_a_server_that_never_answers_the_handshake_is_given_ten_seconds(autojump_clock: trio.testing.MockClock):
    async with raw_server(never) as url:
        assert "no handshake" in await fails_to_open(url)
    assert trio.current_time() == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 101 Swi", b"\x00\xff nonsense\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 101 No\r\n\r\n"]
)
async def test_a_connection_that_ends_in_the_handshake_is_known_at_once(
    autojump_clock: trio.testing.MockClock, answer: bytes
):
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if answer:
            await stream.send_all(answer)
        await stream.aclose()

    async with raw_server(serve) as url:
        await fails_to_open(url)
    assert trio.current_time() < 1


async def test_a_server_that_sends_no_pong_is_lost(autojump_clock: trio.testing.MockClock):
    async def serve(stream: trio.SocketStream) -> None:
        await accept(stream)
        async for _ in stream:
            pass

    async with raw_server(serve) as url, open_wire(url, headers=HEADERS) as wire:
        with pytest.raises(Closed, match="no pong in 20 s") as closed:
            await wire.receive()
        assert closed.value.code is None
        assert trio.current_time() == pytest.approx(40, abs=1)


async def test_a_server_that_ignores_the_close_is_left_after_two_seconds(autojump_clock: trio.testing.MockClock):
    received = bytearray()

    async def serve(stream: trio.SocketStream) -> None:
        await accept(stream)
        async for data in stream:
            received.extend(data)

    async with raw_server(serve) as url:
        async with open_wire(url, headers=HEADERS):
            pass
        assert trio.current_time() == pytest.approx(2, abs=0.1)
        # A close frame of two bytes, masked: 1000.
        assert (received[0], received[1]) == (0x88, 0x82)
        assert bytes(byte ^ mask for byte, mask in zip(received[6:8], received[2:4], strict=True)) == b"\x03\xe8"


async def test_a_server_that_does_not_read_fills_no_memory(autojump_clock: trio.testing.MockClock):
    async with raw_server(accept_and_ignore) as url:
        async with open_wire(url, headers=HEADERS) as wire:
            sent = 0
            while not wire._outlet.backlog_bytes:
                wire.send(bytes(400))
                sent += 400
                await trio.lowlevel.checkpoint()
            # What the peer's kernel takes is the peer's.
            assert sent < 20 * 2**20
            started = trio.current_time()
        assert trio.current_time() - started == pytest.approx(2, abs=0.1)


async def test_a_server_that_orders_answers_and_reads_none_is_cut_off(autojump_clock: trio.testing.MockClock):
    async with (
        raw_server(accept_and_ignore) as url,
        open_wire(url, headers=HEADERS) as wire,
        trio.open_nursery() as nursery,
    ):
        for _ in range(20):
            wire.send(bytes(BACKLOG_LIMIT_BYTES // 2))
        with pytest.raises(Closed):
            await wire.receive()
        nursery.cancel_scope.cancel()


async def test_a_server_that_does_not_read_is_still_heard_and_its_pings_cost_nothing(
    autojump_clock: trio.testing.MockClock,
):
    async def serve(stream: trio.SocketStream) -> None:
        await accept(stream)
        await full.wait()
        for _ in range(50):
            await stream.send_all(b"\x89\x04ping")
        await stream.send_all(b"\x81\x05hello")
        await trio.sleep_forever()

    full = trio.Event()
    async with raw_server(serve) as url, open_wire(url, headers=HEADERS) as wire:
        while not wire._outlet.backlog_bytes:
            wire.send(bytes(400))
            await trio.lowlevel.checkpoint()
        full.set()
        assert await wire.receive() == "hello"


async def test_a_text_that_is_no_utf8_ends_the_connection(autojump_clock: trio.testing.MockClock):
    async def serve(stream: trio.SocketStream) -> None:
        await accept(stream)
        await stream.send_all(b"\x81\x02\xff\xff")
        async for _ in stream:
            pass

    async with raw_server(serve) as url, open_wire(url, headers=HEADERS) as wire:
        with pytest.raises(Closed):
            await wire.receive()


@pytest.mark.parametrize("length", [0, 1, 126, 255])
async def test_any_frame_after_the_handshake_is_a_message_or_an_end(
    autojump_clock: trio.testing.MockClock, length: int
):
    opcode = 0

    async def serve(stream: trio.SocketStream) -> None:
        await accept(stream)
        await stream.send_all(bytes([opcode, length]) + bytes(3))
        await stream.aclose()

    async with raw_server(serve) as url:
        for opcode in range(0, 256, 3):  # noqa: B007 - sent by `serve`
            async with open_wire(url, headers=HEADERS) as wire:
                await until_closed(wire)


async def test_a_ping_that_meets_our_close_is_no_error(autojump_clock: trio.testing.MockClock):
    async def serve(stream: trio.SocketStream) -> None:
        await accept(stream)
        await stream.receive_some()
        await stream.send_all(b"\x89\x04ping\x88\x02\x03\xe8")
        await stream.receive_some()

    async with raw_server(serve) as url, open_wire(url, headers=HEADERS):
        pass


async def test_a_server_that_has_said_its_last_is_answered_all_the_same(autojump_clock: trio.testing.MockClock):
    async def serve(stream: trio.SocketStream) -> None:
        await accept(stream)
        await full.wait()
        await stream.send_all(b"\x88\x02\x03\xe8")
        await stream.send_eof()
        await trio.sleep(1)
        async for data in stream:
            heard.extend(data)

    full, heard = trio.Event(), bytearray()
    async with raw_server(serve) as url, trio.open_nursery() as nursery:
        async with open_wire(url, headers=HEADERS) as wire:
            while not wire._outlet.backlog_bytes:
                wire.send(bytes(40_000))
                await trio.testing.wait_all_tasks_blocked()
            full.set()
            assert (await until_closed(wire)).code == 1000
            # Its end is read.
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    # RFC 6455 5.5.1: a close frame is answered with one.
    assert heard[-8:-6] == b"\x88\x82"
