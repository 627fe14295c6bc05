"""What SFVoPI promises of sound, sections 6.4, 7.1, 7.4, 7.6 and 8: by bytes, by counts, and by decibels."""

import http.client
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypercorn
import hypercorn.trio
import numpy
import pytest
import trio
from numpy.typing import NDArray

from appliance.actions import Direction, StreamTo
from appliance.media import Media
from native import FRAME_SAMPLES, Codec, Engine, VoiceFormat, alaw_decode
from tests.box_client import make_call, open_api
from tests.conformance.calls import PATIENCE_S, Scene
from tests.conftest import _serve_voice as serve_voice
from tests.customer import open_customer
from tests.streams import Call, calling, checkpoint, obeyed, payload, play
from tests.voice_host import shielded, unshielded

# Every code there is, beside every other distance: no frame is like another.
CODES = bytes(code * step % 256 for step in (1, 3, 5, 7, 11) for code in range(256))
SILENCE = b"\xd5" * FRAME_SAMPLES

# --- PCMA at 8000 is a passage for bytes ------------------------------------------------------------------------------


class Modem:
    """A voice modem in V.253's duplex stream of A-law, at the far end of its tty."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._end, ours = socket.socketpair()
        self._end.setblocking(False)
        ours.setblocking(False)
        with ours:
            self.port = engine.voice(ours.fileno(), VoiceFormat.PCMA)
        self._wire = b""

    def tick(self, codes: bytes = SILENCE) -> None:
        self._end.sendall(shielded(codes))
        self._engine.tick()
        with suppress(BlockingIOError):
            self._wire += self._end.recv(1 << 16)

    @property
    def heard(self) -> bytes:
        return unshielded(self._wire)[0]

    def close(self) -> None:
        self._end.close()


@asynccontextmanager
async def modem_calling(order: StreamTo) -> AsyncIterator[Modem]:
    with Engine() as engine:
        media = Media(engine)
        modem = Modem(engine)
        call = Call(engine, media)
        call.line = modem.port  # type: ignore[assignment]  # any port will do
        async with trio.open_nursery() as nursery:
            nursery.start_soon(media.run)
            nursery.start_soon(call.stream, order)
            yield modem
            nursery.cancel_scope.cancel()
        modem.close()


async def test_8_each_code_from_an_a_law_line_is_that_code_on_the_socket(voice_server: Any) -> None:
    async with modem_calling(StreamTo(voice_server.url)) as modem:
        server = await voice_server.connection()
        assert (await server.receive())["event"] == "start"
        sent = b""
        for at in range(0, len(CODES), FRAME_SAMPLES):
            modem.tick(CODES[at : at + FRAME_SAMPLES])
            sent += payload(await server.receive())
        for _ in range(5):
            modem.tick()
            sent += payload(await server.receive())
    assert CODES in sent
    assert not sent.replace(CODES, b"").strip(SILENCE)


async def test_8_each_code_from_the_socket_is_that_code_on_an_a_law_line(voice_server: Any) -> None:
    async with modem_calling(StreamTo(voice_server.url)) as modem:
        server = await voice_server.connection()
        await server.send(play(CODES))
        with trio.fail_after(PATIENCE_S):
            while CODES not in modem.heard:
                modem.tick()
                await trio.sleep(0.001)
        for _ in range(5):
            modem.tick()
    assert not modem.heard.replace(CODES, b"").strip(SILENCE)


# --- what a stream weighs ---------------------------------------------------------------------------------------------


class Toll:
    """Between box and server, and counts the bytes of both ways."""

    def __init__(self, server_port: int) -> None:
        self.up = self.down = 0
        self._server_port = server_port

    async def pass_on(self, box: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", self._server_port) as server, trio.open_nursery() as nursery:
            nursery.start_soon(self._count_up, box, server)
            async for data in server:
                self.down += len(data)
                await box.send_all(data)
            nursery.cancel_scope.cancel()

    async def _count_up(self, box: trio.SocketStream, server: trio.SocketStream) -> None:
        async for data in box:
            self.up += len(data)
            await server.send_all(data)


async def weigh(voice_server: Any, direction: Direction) -> Toll:
    """Of a second of talk, where the server gives back whatever it hears, or talks where it can but hear nothing."""
    toll = Toll(voice_server.port)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, toll.pass_on, 0, host="127.0.0.1"))
        url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        async with calling(StreamTo(url, direction=direction)) as call:
            server = await voice_server.connection()
            start = await server.receive()
            expected = toll.down
            for _ in range(50):
                call.tick()
                if direction.to_customer:
                    assert len(payload(await server.receive())) == 160
                if direction is not Direction.INBOUND:
                    text = json.dumps({**play(SILENCE), "streamId": start["streamId"]}, separators=(",", ":"))
                    await server.send(text)
                    # RFC 6455 5.2: two bytes, and two for a length of three digits.
                    expected += len(text) + 4
            with trio.fail_after(PATIENCE_S):
                while toll.down < expected:  # noqa: ASYNC110 - the wire has no event
                    await trio.sleep(0.001)
            weighed = copy(toll)
        nursery.cancel_scope.cancel()
    return weighed


async def test_8_inbound_halves_the_traffic(voice_server: Any) -> None:
    both = await weigh(voice_server, Direction.BOTH)
    inbound = await weigh(voice_server, Direction.INBOUND)
    outbound = await weigh(voice_server, Direction.OUTBOUND)
    assert both.up + both.down == pytest.approx(2 * (inbound.up + inbound.down), rel=0.05)
    # A handshake and a start are no audio.
    assert inbound.down < 1000 < 50 * 216 < inbound.up
    assert outbound.up < 1000 < 50 * 216 < outbound.down


# Codec, rate, bytes of 20 ms, and how many characters they are in base64.
FRAMES = {
    "7.4: PCMA": (Codec.PCMA, 8000, 160, 216),
    "7.4: PCMU": (Codec.PCMU, 8000, 160, 216),
    "7.4: L16 at 8000": (Codec.L16, 8000, 320, 428),
    "7.4: L16 at 16000": (Codec.L16, 16000, 640, 856),
    "7.4: L16 at 24000": (Codec.L16, 24000, 960, 1280),
    "7.4: L16 at 32000": (Codec.L16, 32000, 1280, 1708),
    "7.4: L16 at 44100": (Codec.L16, 44100, 1764, 2352),
    "7.4: L16 at 48000": (Codec.L16, 48000, 1920, 2560),
}
CONTENT_TYPES = {Codec.PCMA: "audio/PCMA", Codec.PCMU: "audio/PCMU", Codec.L16: "audio/x-l16"}


@pytest.mark.parametrize("name", FRAMES)
async def test_frames(voice_server: Any, name: str) -> None:
    codec, rate_hz, size, characters = FRAMES[name]
    async with calling(StreamTo(voice_server.url, codec=codec, rate_hz=rate_hz)) as call:
        server = await voice_server.connection()
        start = await server.receive()
        call.line.play(tone(8000, 10 * FRAME_SAMPLES), Codec.L16, 8000)
        call.tick(10)
        for _ in range(10):
            frame = await server.receive()
            assert frame.keys() == {"event", "streamId", "media"}
            assert (frame["event"], frame["streamId"]) == ("media", start["streamId"])
            media = frame["media"]
            assert media.keys() == {"payload", "contentType", "sampleRate"}
            assert (media["contentType"], media["sampleRate"]) == (CONTENT_TYPES[codec], rate_hz)
            assert (len(media["payload"]), len(payload(frame))) == (characters, size)


async def test_7_6_when_nothing_is_queued_the_caller_hears_silence_and_no_frame_twice(voice_server: Any) -> None:
    said = CODES[1:162]
    async with calling(StreamTo(voice_server.url)) as call:
        server = await voice_server.connection()
        await server.send(play(said))
        await obeyed(call, server)
        call.tick(20)
    heard = bytes(call.heard)
    # One code more than a frame: the rest of the second one is padding.
    assert heard.count(alaw_decode(said)) == 1
    assert not any(heard.replace(alaw_decode(said), b""))


# --- 48000 Hz ---------------------------------------------------------------------------------------------------------


def tone(rate_hz: int, samples: int) -> bytes:
    """1 kHz, at half of full scale."""
    return (16000 * numpy.sin(2 * numpy.pi * 1000 * numpy.arange(samples) / rate_hz)).round().astype("<i2").tobytes()


def snr_db(sound: bytes, rate_hz: int) -> float:
    """Of a tone of 1 kHz to all else; its phase and level are what fits best."""
    samples: NDArray[numpy.float64] = numpy.frombuffer(sound, "<i2").astype(float)
    angle = 2 * numpy.pi * 1000 * numpy.arange(len(samples)) / rate_hz
    basis = numpy.stack([numpy.sin(angle), numpy.cos(angle)], axis=1)
    found = basis @ numpy.linalg.lstsq(basis, samples, rcond=None)[0]
    return float(10 * numpy.log10(numpy.sum(found**2) / numpy.sum((samples - found) ** 2)))


async def test_7_4_a_tone_at_48000_is_pure_both_ways_and_no_sample_is_lost(voice_server: Any) -> None:
    rate_hz, frames = 48000, 150
    async with calling(StreamTo(voice_server.url, codec=Codec.L16, rate_hz=rate_hz)) as call:
        server = await voice_server.connection()
        await server.receive()
        call.line.play(tone(8000, frames * FRAME_SAMPLES), Codec.L16, 8000)
        up = b""
        for _ in range(frames):
            call.tick()
            up += payload(await server.receive())
        assert len(up) == 2 * frames * rate_hz // 50
        said = tone(rate_hz, frames * rate_hz // 50)
        await server.send(play(said, "audio/x-l16", rate_hz), checkpoint("said"))
        before = len(call.heard)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.tick_for_ever)
            await server.next("playedStream")
            nursery.cancel_scope.cancel()
        down = numpy.frombuffer(bytes(call.heard[before:]), "<i2")
    sounding = numpy.nonzero(abs(down.astype(int)) > 500)[0]
    first, last = int(sounding[0]), int(sounding[-1])
    # As long as it was said, but for what of its edges is quiet.
    assert last - first + 1 == pytest.approx(frames * FRAME_SAMPLES, abs=4)
    # The resampler begins and ends within two frames.
    assert snr_db(up[4 * rate_hz // 50 :], rate_hz) >= 60
    assert snr_db(down[first + 2 * FRAME_SAMPLES : last - 2 * FRAME_SAMPLES].tobytes(), 8000) >= 60


# --- the API at work --------------------------------------------------------------------------------------------------

ANSWERS = 150


async def test_8_a_calls_audio_goes_on_while_the_api_is_hammered(tmp_path: Path) -> None:
    """Counted by the frames' own numbers: none is missing, none is told twice."""
    async with (
        open_customer() as customer,
        serve_voice() as voice,
        open_api(tmp_path) as (api, box, key),
        trio.open_nursery() as nursery,
    ):
        settings = hypercorn.Config()
        settings.bind = ["127.0.0.1:0"]
        serve = partial(hypercorn.trio.serve, api, settings, mode="asgi")  # type: ignore[arg-type]
        (address,) = await nursery.start(serve)
        for number in range(100):
            await make_call(box.store, f"call-{number}")
        scene = Scene(box, customer, voice)
        await scene.app()
        customer.replies["/answer"] = scene.stream(protocol="plivo")
        scene.ring()
        server = await voice.connection()
        chunks = [(await server.next("media"))["media"]["chunk"]]
        async with trio.open_nursery() as hammers:
            for _ in range(2):
                hammers.start_soon(trio.to_thread.run_sync, ask_for_calls, urlsplit(address).port, key)
        await server.send(checkpoint("still here"))
        while (message := await server.receive())["event"] == "media":
            chunks.append(message["media"]["chunk"])
        assert message["name"] == "still here"
        scene.line.release()
        await scene.told("/hangup")
        nursery.cancel_scope.cancel()
    assert chunks == list(range(chunks[0], chunks[0] + len(chunks)))
    # Whatever the machine did meanwhile, there was audio in it.
    assert len(chunks) > 5


def ask_for_calls(port: int, key: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    for _ in range(ANSWERS):
        connection.request("GET", "/box/v1/calls?limit=50", headers={"X-API-Key": key})
        answer = connection.getresponse()
        assert len(json.loads(answer.read())["calls"]) == 50
    connection.close()
