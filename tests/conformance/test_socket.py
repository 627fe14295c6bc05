"""The connection itself: SFVoPI, sections 7.1, 7.10 and 7.11, between the stream and a server of another library."""

from typing import Any

from appliance.actions import Protocol, StreamTo
from tests.streams import calling


async def test_7_1_the_servers_pings_are_answered(voice_server: Any) -> None:
    async with calling(StreamTo(voice_server.url)):
        server = await voice_server.connection()

        async def ping() -> None:
            await (await server.socket.ping(b"are you there"))

        await server._do(ping())


async def test_7_10_a_new_connection_has_the_same_address_and_headers(voice_server: Any) -> None:
    order = StreamTo(f"{voice_server.url}&token=a%2Fb", headers={"X-Tenant": "7"})
    async with calling(order):
        first = await voice_server.connection()
        first.cut()
        second = await voice_server.connection()
    assert second.path == first.path == "/voice?call=1&token=a%2Fb"
    assert second.headers["X-Tenant"] == first.headers["X-Tenant"] == "7"


async def test_7_11_numbers_go_on_over_a_reconnect(voice_server: Any) -> None:
    async with calling(StreamTo(voice_server.url, protocol=Protocol.PLIVO)) as call:
        server = await voice_server.connection()
        first = [await server.receive()]
        call.tick(3)
        first += [await server.receive() for _ in range(3)]
        server.close(1011)
        server = await voice_server.connection()
        second = [await server.receive()]
        call.tick()
        second.append(await server.receive())
    assert [message["event"] for message in second] == ["start", "media"]
    assert [message["sequenceNumber"] for message in first + second] == [1, 2, 3, 4, 5, 6]
    assert [message["media"]["chunk"] for message in first[1:] + second[1:]] == [1, 2, 3, 4]
