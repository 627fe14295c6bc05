"""The connection to a customer's server over TLS, beside the same without."""

import base64
import json
import socket
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from appliance.media import Media
from appliance.wire import Unreachable, open_wire
from native import Codec, Engine, Trust, alaw_decode, alaw_encode
from tests.certificates import Certified, certify

HEADERS = {"User-Agent": "branchline/test"}


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    return certify(tmp_path, "127.0.0.1", "voice.example", "straße.example")


async def test_wss_carries_texts_both_ways(certified: Certified, serve_voice: Any):
    async with serve_voice(certified.server) as voice:
        async with open_wire(voice.url, headers=HEADERS, trust=Trust(certified.ca)) as wire:
            server = await voice.connection()
            for n in range(100):
                wire.send(json.dumps([n] * 500).encode())
            assert [await server.receive() for _ in range(100)] == [[n] * 500 for n in range(100)]
            await server.send("x" * 1_000_000)
            assert len(await wire.receive()) == 1_000_000
        assert await server.receive() is None
        assert server.close_code == 1000


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("secure", [False, True])
async def test_a_port_shares_the_wire_both_ways(certified: Certified, serve_voice: Any, secure: bool, carried: bool):
    trust = Trust(certified.ca)
    async with (
        serve_voice(certified.server if secure else None) as voice,
        trio.open_nursery() as nursery,
    ):
        with Engine() as engine:
            media = Media(engine)
            nursery.start_soon(media.run)
            if carried:
                media.carry()
            sound = np.random.default_rng(5).integers(0, 256, 200 * 160).astype("u1").tobytes()
            port = engine.stream(Codec.PCMA, 8000, prefix=b'{"payload":"', suffix=b'"}')
            engine.connect(engine.player(alaw_decode(sound)), port)
            async with open_wire(voice.url, headers=HEADERS, trust=trust) as wire:
                server = await voice.connection()
                wire.learn(b'{"audio": "', b'"}', Codec.PCMA, 8000)
                with wire.shared(port, media):
                    heard = b""
                    for n in range(0, 200, 4):
                        # Late ticks, and our own words between the frames.
                        engine.tick(4)
                        for _ in range(4):
                            heard += base64.b64decode((await server.receive())["payload"])
                        wire.send(json.dumps(n).encode())
                        assert await server.receive() == n
                    assert heard == alaw_encode(alaw_decode(sound))
                    plays = [{"audio": base64.b64encode(bytes([n]) * 160).decode()} for n in range(200)]
                    await server.send(*plays, "x" * 200_000, *plays, "last")
                    assert await wire.receive() == "x" * 200_000
                    assert await wire.receive() == "last"
                    assert (port.stats().lane_messages, port.stats().queued_ms) == (400, 400 * 20)
                # Alone again, all is received.
                await server.send(plays[0])
                assert json.loads(await wire.receive()) == plays[0]
            assert await server.receive() is None
            assert server.close_code == 1000
        nursery.cancel_scope.cancel()


async def test_a_certificate_that_nobody_vouches_for_is_refused_by_name(certified: Certified, serve_voice: Any):
    async with serve_voice(certified.server) as voice:
        with pytest.raises(Unreachable, match="certificate verify failed"):
            async with open_wire(voice.url, headers=HEADERS):
                raise AssertionError("no connection")


async def test_hands_are_shaken_beside_the_event_loop(certified: Certified, serve_voice: Any):
    """It may take half a second, by the server's choice."""
    called = set()

    def note(frame: object, event: str, what: Any) -> None:
        if event == "c_call":
            called.add(what.__name__)

    trust = Trust(certified.ca)
    async with serve_voice(certified.server) as voice:
        sys.setprofile(note)
        try:
            async with open_wire(voice.url, headers=HEADERS, trust=trust):
                pass
        finally:
            sys.setprofile(None)
    assert "lane_receive" in called
    assert "lane_shake_hands" not in called


class OneHost(trio.abc.HostnameResolver):
    """Every name is of this machine."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def getaddrinfo(
        self, host: bytes | None, port: bytes | str | int | None, *rest: Any, **more: Any
    ) -> Sequence[Any]:
        self.asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise AssertionError("nobody asks whose an address is")


@pytest.mark.parametrize(
    ("host", "found", "certified_for"),
    [
        ("voice.example.", "voice.example.", "voice.example"),
        ("Voice.Example", "voice.example", "voice.example"),
        # By IDNA 2003 it would be strasse.example, whoever has that.
        ("straße.example", "xn--strae-oqa.example", "xn--strae-oqa.example"),
    ],
)
async def test_who_is_looked_up_is_who_must_answer(
    certified: Certified, serve_voice: Any, host: str, found: str, certified_for: str
) -> None:
    trio.socket.set_custom_hostname_resolver(hosts := OneHost())
    names: list[str | None] = []
    certified.server.sni_callback = lambda session, name, context: names.append(name)
    async with serve_voice(certified.server) as voice:
        url = voice.url.replace("127.0.0.1", f"name:password@{host}")
        async with open_wire(url, headers=HEADERS, trust=Trust(certified.ca)):
            server = await voice.connection()
            assert server.headers["Host"].lower() == f"{found}:{voice.port}"
    assert (hosts.asked, names) == ([found.encode()], [certified_for])


async def test_a_server_that_wants_a_certificate_of_ours_is_unreachable_for_that_reason(certified: Certified) -> None:
    certified.server.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            with suppress(ssl.SSLError):
                certified.server.wrap_socket(listener.accept()[0], server_side=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, refuse)
            address = "wss://{}:{}/".format(*listener.getsockname())
            with pytest.raises(Unreachable, match="TLS: tlsv13 alert certificate required"):
                async with open_wire(address, headers=HEADERS, trust=Trust(certified.ca)):
                    raise AssertionError("no connection")
