"""The connection to a customer's server, against a foreign library, plain and by TLS."""

import json
import os
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from appliance.media import Media
from appliance.wire import Closed, Rejected, Unreachable, open_wire, text_frame
from native import Codec, Engine
from tests.bare_websocket import accept, raw_server

HEADERS = {"User-Agent": "branchline/test"}


@given(st.binary(max_size=300) | st.integers(0, 70_000).map(bytes), st.binary(min_size=4, max_size=4))
def test_a_frame_unmasks_to_its_text(text: bytes, mask: bytes):
    frame = text_frame(text, mask)
    assert frame[0] == 0x81
    assert frame[1] & 0x80
    extended = {126: 2, 127: 8}.get(frame[1] & 0x7F, 0)
    size = int.from_bytes(frame[2 : 2 + extended], "big") if extended else frame[1] & 0x7F
    key, masked = frame[2 + extended : 6 + extended], frame[6 + extended :]
    assert (size, key) == (len(text), mask)
    assert bytes(byte ^ key[i % 4] for i, byte in enumerate(masked)) == text


async def test_texts_of_every_frame_length_arrive_in_order(voice_server: Any):
    texts = [json.dumps("x" * (size - 2)) for size in (2, 3, 125, 126, 127, 65535, 65536, 200_000)]
    async with open_wire(voice_server.url, headers=HEADERS) as wire:
        server = await voice_server.connection()
        for text in texts:
            wire.send(text.encode())
        assert [json.dumps(await server.receive()) for _ in texts] == texts


async def test_path_query_and_headers_are_the_customers_own(voice_server: Any):
    url = voice_server.url.replace("/voice?call=1", "/a%20b/é;x=1?k=a+b&k=%2F&t=ü z#part")
    async with open_wire(url, headers={**HEADERS, "X-Token": "s3cret"}):
        server = await voice_server.connection()
        assert server.path == "/a%20b/%C3%A9;x=1?k=a+b&k=%2F&t=%C3%BC%20z"
        assert server.headers["User-Agent"] == "branchline/test"
        assert server.headers["X-Token"] == "s3cret"
        assert server.headers["Host"] == f"127.0.0.1:{voice_server.port}"
        assert "Sec-WebSocket-Extensions" not in server.headers
        assert "Sec-WebSocket-Protocol" not in server.headers


async def test_an_address_without_a_path_asks_for_the_root(voice_server: Any):
    async with open_wire(voice_server.url.replace("/voice", ""), headers=HEADERS):
        assert (await voice_server.connection()).path == "/?call=1"


async def test_texts_and_binaries_are_received_up_to_16_mib(voice_server: Any):
    async with open_wire(voice_server.url, headers=HEADERS) as wire:
        server = await voice_server.connection()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send, "a", b"\x00\xff", "b" * (2**24 - 1))
            assert await wire.receive() == "a"
            assert await wire.receive() == b"\x00\xff"
            assert len(await wire.receive()) == 2**24 - 1


async def test_a_larger_message_ends_the_connection(voice_server: Any):
    async with open_wire(voice_server.url, headers=HEADERS) as wire:
        server = await voice_server.connection()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send, "b" * (2**24 + 1))
            with pytest.raises(Closed) as closed:
                await wire.receive()
            nursery.cancel_scope.cancel()
        assert closed.value.code == 1009


async def test_leaving_closes_with_1000(voice_server: Any):
    async with open_wire(voice_server.url, headers=HEADERS) as wire:
        server = await voice_server.connection()
        wire.send(b'"last words"')
    assert await server.receive() == "last words"
    assert await server.receive() is None
    assert server.close_code == 1000


async def test_cancelled_it_closes_with_1000_all_the_same(voice_server: Any):
    with trio.CancelScope() as call:
        async with open_wire(voice_server.url, headers=HEADERS) as wire:
            server = await voice_server.connection()
            wire.send(b'"last words"')
            call.cancel()
            await wire.receive()
    assert call.cancelled_caught
    assert await server.receive() == "last words"
    assert await server.receive() is None
    assert server.close_code == 1000


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 4321])
async def test_the_servers_close_code_is_told(voice_server: Any, code: int):
    async with open_wire(voice_server.url, headers=HEADERS) as wire:
        server = await voice_server.connection()
        server.close(code)
        with pytest.raises(Closed) as closed:
            await wire.receive()
        assert closed.value.code == code
        wire.send(b"into the void")
    assert await server.receive() is None


async def test_what_came_before_the_close_is_received_first(voice_server: Any):
    async with open_wire(voice_server.url, headers=HEADERS) as wire:
        server = await voice_server.connection()
        await server.send("one", "two")
        server.close(1000)
        assert [await wire.receive(), await wire.receive()] == ["one", "two"]
        with pytest.raises(Closed):
            await wire.receive()


async def test_a_cut_connection_has_no_code(voice_server: Any):
    async with open_wire(voice_server.url, headers=HEADERS) as wire:
        (await voice_server.connection()).cut()
        with pytest.raises(Closed) as closed:
            await wire.receive()
        assert closed.value.code is None


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_another_answer_to_the_handshake_is_told_by_its_status(voice_server: Any, status: int):
    voice_server.statuses.append(status)
    with pytest.raises(Rejected) as rejected:
        async with open_wire(voice_server.url, headers=HEADERS):
            raise AssertionError("no connection")
    assert rejected.value.status == status


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1/", "ws://127.0.0.1:99999/", "ws:///x", "ws://" + "a" * 64 + ".test/", "ws://[::1/"]
)
async def test_an_address_where_nobody_is_is_unreachable(url: str):
    with pytest.raises(Unreachable):
        async with open_wire(url, headers=HEADERS):
            raise AssertionError("no connection")


async def test_a_request_that_cannot_be_made_is_unreachable(voice_server: Any):
    with pytest.raises(Unreachable):
        async with open_wire(voice_server.url, headers={"X": "a\r\nb"}):
            raise AssertionError("no connection")


async def test_what_a_turn_takes_from_under_a_waiting_reader_is_received(autojump_clock: trio.testing.MockClock):
    """The first turn after sharing has begun may come before Trio looks at the socket."""
    servers: list[trio.SocketStream] = []

    async def serve(stream: trio.SocketStream) -> None:
        await accept(stream)
        servers.append(stream)
        await trio.sleep_forever()

    async with raw_server(serve) as url:
        with Engine() as engine:
            media = Media(engine)
            port = engine.stream(Codec.PCMA, 8000, prefix=b"", suffix=b"")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(media.run)
                async with open_wire(url, headers=HEADERS) as wire:
                    await trio.testing.wait_all_tasks_blocked()
                    with wire.shared(port, media):
                        os.write(servers[0].socket.fileno(), b"\x81\x02{}")
                        media._lanes.turn()
                        with trio.fail_after(5):
                            assert await wire.receive() == "{}"
                nursery.cancel_scope.cancel()


async def test_what_is_read_from_under_a_waiting_reader_is_received(autojump_clock: trio.testing.MockClock):
    servers: list[trio.SocketStream] = []

    async def serve(stream: trio.SocketStream) -> None:
        await accept(stream)
        await stream.send_all(b"\x81\x02{}")
        servers.append(stream)
        await trio.sleep_forever()

    async with raw_server(serve) as url, open_wire(url, headers=HEADERS) as wire:
        assert await wire.receive() == "{}"
        await trio.testing.wait_all_tasks_blocked()
        os.write(servers[0].socket.fileno(), b"\x81\x02{}")
        with trio.fail_after(5):
            assert await wire.receive() == "{}"
