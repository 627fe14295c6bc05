"""A voice modem's stream (ITU-T V.253): its shielding, its pace and its silences, from both ends."""

import contextlib
import os
import socket
import termios
from collections.abc import Iterator

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from native import (
    FRAME_SAMPLES,
    Engine,
    Pace,
    PortFailed,
    StreamEnded,
    VoiceCode,
    VoiceFormat,
    alaw_decode,
    alaw_encode,
    ulaw_decode,
    ulaw_encode,
)
from tests.pcm_host import Tty, left_of
from tests.voice_host import DLE, END, Cuts, Host, pieces, shielded, unshielded


def linear(audio: bytes, format: VoiceFormat) -> numpy.ndarray:
    match format:
        case VoiceFormat.U8:
            return (numpy.frombuffer(audio, "u1").astype(int) - 128) * 256
        case VoiceFormat.L16:
            return numpy.frombuffer(audio, "<i2")
        case VoiceFormat.PCMU:
            return numpy.frombuffer(ulaw_decode(audio), "<i2")
        case VoiceFormat.PCMA:
            return numpy.frombuffer(alaw_decode(audio), "<i2")


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


# 0x10 and what may stand after it more often than by chance.
Audio = st.lists(st.one_of(st.sampled_from([0x10, 0x1A, 0x03]), st.integers(0, 255)), max_size=900).map(bytes)


@given(audio=Audio, cuts=Cuts, format=st.sampled_from(VoiceFormat), twos=st.booleans())
@example(audio=DLE * 640, cuts=[1, 2, 3, 5, 321], format=VoiceFormat.L16, twos=True)
def test_any_bytes_in_any_pieces_are_heard_as_they_were_sent(
    audio: bytes, cuts: list[int], format: VoiceFormat, twos: bool
) -> None:
    wire = shielded(audio)
    if twos:
        wire = wire.replace(DLE * 4, DLE + b"\x1a")
    assert unshielded(wire)[0] == audio
    host = Host(format)
    for piece in pieces(wire, cuts):
        assert host.step(piece) == []
    whole = len(audio) // (FRAME_SAMPLES * host.sample_bytes) * FRAME_SAMPLES
    host.step(ticks=12)
    heard = host.heard().reshape(-1, FRAME_SAMPLES)
    assert host.port.stats().received_bytes == len(audio)
    wanted = linear(audio[: whole * host.sample_bytes], format).reshape(-1, FRAME_SAMPLES)
    found = [frame for frame in heard.tolist() if any(frame)]
    assert found == [frame for frame in wanted.tolist() if any(frame)]
    host.close()


def coded(samples: bytes, format: VoiceFormat) -> bytes:
    match format:
        case VoiceFormat.U8:
            rounded = (numpy.frombuffer(samples, "<i2").astype(int) + 128) >> 8
            return (numpy.minimum(rounded, 127) + 128).astype("u1").tobytes()
        case VoiceFormat.L16:
            return samples
        case VoiceFormat.PCMU:
            return ulaw_encode(samples)
        case VoiceFormat.PCMA:
            return alaw_encode(samples)


@given(samples=st.binary(min_size=1600, max_size=1600), format=st.sampled_from(VoiceFormat))
@example(samples=DLE * 1600, format=VoiceFormat.L16)
def test_any_samples_reach_the_modem_as_they_were_said(samples: bytes, format: VoiceFormat) -> None:
    host = Host(format)
    host.say(samples)
    # What is said before the modem's first byte is nobody's.
    for _ in range(5):
        host.step(host.frames(1))
    audio, codes = unshielded(host.sent())
    assert codes == []
    assert (abs(linear(audio, format)[:FRAME_SAMPLES]) <= 8).all()
    assert audio[FRAME_SAMPLES * host.sample_bytes :] == coded(samples, format)
    host.close()


@pytest.mark.parametrize("format", [VoiceFormat.L16, VoiceFormat.U8])
def test_a_sample_that_a_short_write_tore_is_completed_before_anything_else(format: VoiceFormat) -> None:
    """A pty's buffers have even sizes: a stranger's bytes in between make the room in them odd."""
    stranger, strangers, sent = b"\x99", 0, b""
    sample = b"\x55\x10" if format is VoiceFormat.L16 else b"\x10"
    with Tty() as device, Engine() as engine:
        port = engine.voice(device.slave, format)
        engine.connect(engine.player(linear(sample, format).astype("<i2").tobytes(), loop=True), port)
        for i in range(2000):
            device.give(b"\x80" * FRAME_SAMPLES * len(sample))
            if i == 1500:
                port.leave(b"\x10^")
            engine.tick()
            with contextlib.suppress(BlockingIOError):
                strangers += os.write(device.slave, stranger)
            if i > 100:
                sent += device.take(301)
        for ticks in (0, 1):
            engine.tick(ticks)
            while len(sent) < port.stats().sent_bytes + strangers:
                sent += device.take(4096)
    torn = sent.replace(stranger, b"|").split(b"|")
    assert any(len(piece) % len(shielded(sample)) for piece in torn)
    audio, codes = unshielded(sent.replace(stranger, b""))
    assert codes == ["^"]
    said = audio[FRAME_SAMPLES * len(sample) :]
    assert said == sample * (len(said) // len(sample))


def test_a_byte_of_audio_is_sent_for_each_received_and_one_frame_ahead(host: Host) -> None:
    assert host.step(ticks=5) == []
    assert host.sent() == b""
    host.say(bytes([0, 16]) * 8000)
    # 0x10 on the wire needs two bytes, of audio it is one.
    sent = 0
    for n in range(1, 50):
        host.step(shielded(DLE * FRAME_SAMPLES))
        sent += len(unshielded(host.sent())[0])
        assert sent == (n + 1) * FRAME_SAMPLES
    host.step(ticks=10)
    assert host.sent() == b""
    stats = host.port.stats()
    assert (stats.received_bytes, stats.sent_bytes) == (49 * FRAME_SAMPLES, 50 * FRAME_SAMPLES)


@pytest.mark.parametrize("chunk", [80, 160, 320, 800])
def test_a_modem_that_sends_in_chunks_is_sent_as_much_without_loss(host: Host, chunk: int) -> None:
    every = max(1, chunk // FRAME_SAMPLES)
    sent = b""
    for n in range(1, 401):
        host.step(b"\x81" * chunk * max(1, FRAME_SAMPLES // chunk) if n % every == 0 else b"")
        sent += host.sent()
    stats = host.port.stats()
    assert stats.dropped_downlink == 0
    assert 0 <= stats.received_bytes + FRAME_SAMPLES - len(sent) <= chunk
    assert stats.dropped_uplink <= chunk


def ahead(host: Host) -> int:
    """Frames that were sent and not asked for by audio."""
    return len(host.sent()) // FRAME_SAMPLES - 1


def test_a_modem_that_ran_dry_is_given_a_frame_of_silence_and_it_is_counted(host: Host) -> None:
    for _ in range(51):
        host.step(host.frames(1))
    host.sent()
    assert host.step(b"\x10u" + host.frames(1) + b"\x10o") == []
    assert ahead(host) == 1
    assert (host.port.stats().modem_underruns, host.port.stats().modem_overruns) == (1, 1)


def test_a_modem_that_says_so_without_end_is_not_sent_silence_without_end(host: Host) -> None:
    """Each frame of it is delay for the rest of the call."""
    complaints, given = b"\x10u" * 20, 0
    for _ in range(51 * 20):
        host.step(complaints + host.frames(1))
        given += ahead(host)
    assert given == 10
    assert host.port.stats().modem_underruns == 51 * 20 * 20
    for _ in range(10):
        host.step(complaints)
        assert host.sent() == b""


def test_a_modem_that_stops_is_silent_and_counted_and_one_that_is_unplugged_is_told(host: Host) -> None:
    host.step(b"\x90" * 2 * FRAME_SAMPLES, ticks=6)
    assert host.heard().reshape(-1, FRAME_SAMPLES)[:, 0].tolist() == [4096, 4096, 0, 0, 0, 0]
    assert (host.port.stats().underruns, host.port.stats().concealed) == (1, 4)
    host.sent()
    host.modem.close()
    assert host.step(ticks=3) == [PortFailed(host.port, 0)]


def test_a_pty_that_has_nothing_is_not_one_that_is_gone() -> None:
    with Tty() as device, Engine() as engine:
        settings = termios.tcgetattr(device.slave)
        settings[6][termios.VMIN] = 0
        termios.tcsetattr(device.slave, termios.TCSANOW, settings)
        port = engine.voice(device.slave, VoiceFormat.PCMA)
        engine.tick(3)
        device.give(b"\xd5" * FRAME_SAMPLES)
        engine.tick(2)
        assert engine.events() == []
        assert port.stats().received_bytes == FRAME_SAMPLES


@pytest.mark.parametrize("format", list(VoiceFormat))
def test_two_engines_hear_each_other_through_modem_and_host(format: VoiceFormat) -> None:
    ends = socket.socketpair()
    engines, recorders, ports = [], [], []
    for n, (end, pace) in enumerate(zip(ends, (Pace.CLOCK, Pace.FOLLOW), strict=True)):
        end.setblocking(False)
        engine = Engine()
        port = engine.voice(end.fileno(), format, pace=pace)
        # 0x1010 and 0x0F0F: shielded in every byte of 16 bits.
        engine.connect(engine.player(bytes([0x10, 0x10 - n]) * 320, loop=True), port)
        recorder = engine.recorder()
        engine.connect(port, recorder.left)
        engines.append(engine)
        recorders.append(recorder)
        ports.append(port)
    for _ in range(3000):
        for engine in engines:
            engine.tick()
    by_modem, by_host = (left_of(recorder)[-490 * FRAME_SAMPLES :] for recorder in recorders)
    step = 256 if format in (VoiceFormat.U8, VoiceFormat.PCMA, VoiceFormat.PCMU) else 0
    assert (abs(by_host - 0x1010) <= step).all()
    assert (abs(by_modem - 0x0F10) <= step).all()
    for port in ports:
        stats = port.stats()
        assert (stats.underruns, stats.slips, stats.overruns, stats.dropped_uplink) == (0, 0, 0, 0)

    modem, host = engines
    ports[0].send(b"\x10b")
    ports[1].leave(b"\x10^")
    modem.tick()
    host.tick()
    modem.tick()
    assert host.events() == [VoiceCode(ports[1], "b")]
    assert modem.events() == [VoiceCode(ports[0], "^")]
    ports[0].leave(END)
    modem.tick()
    host.tick()
    assert modem.events() == [StreamEnded(ports[0])]
    assert host.events() == [StreamEnded(ports[1])]
    for engine in engines:
        engine.close()
    for end in ends:
        end.close()


def test_a_closed_port_is_inert_and_wrong_arguments_are_the_callers(host: Host) -> None:
    with pytest.raises(ValueError, match="5000 bytes"):
        host.engine.voice(host.ours.fileno(), VoiceFormat.U8, early=bytes(5000))
    host.ours.setblocking(True)
    with pytest.raises(ValueError, match="blocks"):
        host.engine.voice(host.ours.fileno(), VoiceFormat.U8)
    with pytest.raises(OSError, match="descriptor"):
        host.engine.voice(10**6, VoiceFormat.U8)
    host.port.close()
    host.port.leave(b"\x10^")
    host.port.send(b"\x10u")
    host.port.resume()
    assert host.port.beyond() == b""
    assert host.port.stats().received_bytes == 0
