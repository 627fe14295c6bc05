"""A voice modem's stream (ITU-T V.253): shielding, codes, keys, pace, and the way out, from both ends."""

import contextlib
import itertools
import os
import pty
import socket
import termios
import tty
from collections.abc import Iterator

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from native import (
    FRAME_SAMPLES,
    Dtmf,
    Engine,
    Event,
    Pace,
    PortFailed,
    StreamEnded,
    VoiceCode,
    VoiceFormat,
    VoiceReport,
    alaw_decode,
    alaw_encode,
    ulaw_decode,
    ulaw_encode,
)
from tests.pcm_host import left_of

DLE = b"\x10"
END = b"\x10\x03"


def shielded(audio: bytes) -> bytes:
    return audio.replace(DLE, DLE + DLE)


def unshielded(wire: bytes) -> tuple[bytes, list[str]]:
    """As a modem reads it: the audio, and the codes in it."""
    audio, codes = bytearray(), []
    rest = iter(wire)
    for byte in rest:
        code = next(rest) if byte == 0x10 else None
        if code is None or code == 0x10:
            audio.append(byte)
        elif code == 0x1A:
            audio += DLE + DLE
        else:
            codes.append(chr(code))
    return bytes(audio), codes


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


class Host:
    """An engine with a port on a modem's stream; `modem` is the other end, written and read by hand."""

    def __init__(self, format: VoiceFormat = VoiceFormat.U8, early: bytes = b"", pace: Pace = Pace.FOLLOW) -> None:
        self.modem, self.ours = socket.socketpair()
        self.modem.setblocking(False)
        self.ours.setblocking(False)
        self.engine = Engine()
        self.port = self.engine.voice(self.ours.fileno(), format, early=early, pace=pace)
        # Samples are counted here; test_concealment.py has the rest.
        self.port.conceal(False)
        self.recorder = self.engine.recorder()
        self.engine.connect(self.port, self.recorder.left)
        self.sample_bytes = 2 if format is VoiceFormat.L16 else 1

    def say(self, samples: bytes) -> None:
        self.engine.connect(self.engine.player(samples), self.port)

    def step(self, received: bytes = b"", ticks: int = 1) -> list[Event]:
        if received:
            self.modem.sendall(received)
        self.engine.tick(ticks)
        return self.engine.events()

    def sent(self) -> bytes:
        try:
            return self.modem.recv(1 << 20)
        except BlockingIOError:
            return b""

    def heard(self) -> numpy.ndarray:
        return left_of(self.recorder)

    def frames(self, count: int) -> bytes:
        """Quiet ones, as the modem sends them."""
        return b"\x80" * (count * FRAME_SAMPLES * self.sample_bytes)

    def close(self) -> None:
        self.engine.close()
        self.modem.close()
        self.ours.close()


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})
    return [wire[begin:end] for begin, end in itertools.pairwise(ends)]


Cuts = st.lists(st.integers(0, 10**6), max_size=20)
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
    master, slave = pty.openpty()
    tty.setraw(slave)
    for end in (master, slave):
        os.set_blocking(end, False)
    stranger, sent = b"\x99", b""
    sample = b"\x55\x10" if format is VoiceFormat.L16 else b"\x10"
    with Engine() as engine:
        port = engine.voice(slave, format)
        engine.connect(engine.player(linear(sample, format).astype("<i2").tobytes(), loop=True), port)
        for i in range(2000):
            os.write(master, b"\x80" * FRAME_SAMPLES * len(sample))
            if i == 1500:
                port.leave(b"\x10^")
            engine.tick()
            with contextlib.suppress(BlockingIOError):
                os.write(slave, stranger)
            if i > 100:
                with contextlib.suppress(BlockingIOError):
                    sent += os.read(master, 301)
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += os.read(master, 4096)
        engine.tick()
        with contextlib.suppress(BlockingIOError):
            sent += os.read(master, 4096)
    torn = sent.replace(stranger, b"|").split(b"|")
    assert any(len(piece) % len(shielded(sample)) for piece in torn)
    audio, codes = unshielded(sent.replace(stranger, b""))
    assert codes == ["^"]
    said = audio[FRAME_SAMPLES * len(sample) :]
    assert said == sample * (len(said) // len(sample))
    os.close(master)
    os.close(slave)


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


def test_a_wire_full_of_codes_leaves_room_for_everybodys_events(host: Host) -> None:
    flood = b"\x10b" * 4000
    assert len(host.step(flood)) <= 1100
    assert len(host.step(flood)) <= 16
    host.step(ticks=100)
    report = b"\x10X" + b"N" * 1000 + b"\x10."
    assert host.step(flood + report + host.frames(1))[-1] != VoiceReport(host.port, "N" * 1000)
    host.step(ticks=100)
    assert host.step(report) == [VoiceReport(host.port, "N" * 1000)]
    stats = host.port.stats()
    assert stats.dropped_codes > 9000
    assert stats.received_bytes == FRAME_SAMPLES
    assert host.engine.stats().lost_events == 0


def test_codes_are_told_in_order_wherever_they_are_cut(host: Host) -> None:
    wire = b"\x10b" + host.frames(1) + b"\x10l\x10T\x10H\x10\x14\x10\x80"
    told = [event for byte in wire for event in host.step(bytes([byte]))]
    assert told == [VoiceCode(host.port, code) for code in "blH\x14\x80"]
    assert host.port.stats().received_bytes == FRAME_SAMPLES


@pytest.mark.parametrize("wire", [b"\x10/" + b"\x105" * 7 + b"\x10~", b"\x105", b"\x105" + b"\x80" * 560 + b"\x105"])
def test_a_press_is_told_once_however_the_modem_says_it(host: Host, wire: bytes) -> None:
    assert host.step(wire) == [Dtmf(host.port, "5")]


def test_each_press_is_told(host: Host) -> None:
    brackets = b"".join(b"\x10/" + b"\x10" + key + b"\x10~" for key in (b"1", b"1", b"#"))
    assert host.step(brackets) == [Dtmf(host.port, key) for key in "11#"]
    apart = b"\x80" * 800
    assert host.step(b"\x102" + apart + b"\x102" + b"\x103\x102") == [Dtmf(host.port, key) for key in "2232"]
    keys = "0123456789*#ABCD"
    assert host.step(b"".join(DLE + key.encode() for key in keys)) == [Dtmf(host.port, key) for key in keys]


def test_repeats_of_a_key_that_is_held_for_long_are_one_press(host: Host) -> None:
    held = b"\x10/" + b"".join(b"\x107" + b"\x80" * 560 for _ in range(20)) + b"\x10~"
    assert host.step(held) == [Dtmf(host.port, "7")]
    assert host.step(b"".join(b"\x108" + b"\x80" * 560 for _ in range(20))) == [Dtmf(host.port, "8")]


def test_a_report_is_text_and_no_audio(host: Host) -> None:
    wire = b"\x10XCID\r\nNMBR=0123\r\n\x10." + host.frames(1)
    told = [event for byte in wire for event in host.step(bytes([byte]))]
    assert told == [VoiceReport(host.port, "CID\r\nNMBR=0123\r\n")]
    assert host.port.stats().received_bytes == FRAME_SAMPLES


def test_a_report_without_an_end_does_not_take_the_call_with_it(host: Host) -> None:
    host.step(b"\x10X" + bytes(1024) + host.frames(3))
    assert host.port.stats().received_bytes == 3 * FRAME_SAMPLES


@given(cuts=Cuts, early=st.integers(0, 400))
def test_the_stream_ends_exactly_at_its_end_and_what_follows_is_the_dialogues(cuts: list[int], early: int) -> None:
    audio, dialogue = bytes(range(256)), b"\r\nOK\r\n\x10\x03RING\r\n"
    wire = shielded(audio) + END + dialogue
    host = Host(early=wire[:early])
    told = [event for piece in [b"", *pieces(wire[early:], cuts)] for event in host.step(piece)]
    assert told == [StreamEnded(host.port)]
    assert host.port.stats().received_bytes == len(audio)
    rest = b""
    with contextlib.suppress(BlockingIOError):
        rest = host.ours.recv(1000)
    assert host.port.beyond() + rest == dialogue
    host.sent()
    host.say(b"\x01\x01" * 1000)
    assert host.step(ticks=5) == []
    assert host.sent() == b""
    host.close()


@pytest.mark.parametrize("sequence", [b"\x10^", b"\x10!", b"\x10\x03", b"\x10\x18\x10\x03", b"\x10\x10\x10\x03"])
def test_leaving_sends_the_sequence_after_a_whole_sample_and_nothing_more(host: Host, sequence: bytes) -> None:
    host.say(bytes([0, 0x90]) * 8000)  # 0x10 in 8 bits
    host.step(host.frames(3))
    host.port.leave(sequence)
    host.step(host.frames(1), ticks=3)
    wire = host.sent()
    assert wire.endswith(sequence)
    assert set(wire.removesuffix(sequence)[FRAME_SAMPLES:]) == {0x10}
    assert (len(wire) - len(sequence) - FRAME_SAMPLES) % 2 == 0
    assert host.port.beyond() == b""
    assert host.step(host.frames(1) + END + b"\r\nOK\r\n") == [StreamEnded(host.port)]
    assert host.port.beyond() == b"\r\nOK\r\n"


def test_another_sequence_may_follow_and_codes_may_be_sent_before(host: Host) -> None:
    host.step(host.frames(1))
    host.port.send(b"\x10u")
    with pytest.raises(OSError, match="busy"):
        host.port.send(b"\x10u")
    host.step(host.frames(1))
    host.port.leave(b"\x10^")
    host.step()
    host.port.leave(b"\x10!")
    host.step()
    assert unshielded(host.sent())[1] == ["u", "^", "!"]
    with pytest.raises(ValueError, match="17 bytes"):
        host.port.leave(bytes(17))


def test_a_modem_that_ends_the_stream_by_itself_is_believed(host: Host) -> None:
    assert host.step(b"\x10b" + END + b"\r\nNO CARRIER\r\n") == [VoiceCode(host.port, "b"), StreamEnded(host.port)]
    assert host.port.beyond() == b"\r\nNO CARRIER\r\n"
    host.port.leave(b"\x10^")
    assert host.step() == []
    host.port.leave(b"\x10^")
    assert host.sent() == b""


def test_a_stream_that_begins_again_is_the_ports_again(host: Host) -> None:
    with pytest.raises(ValueError, match="goes on"):
        host.port.resume()
    host.step(host.frames(3))
    host.port.leave(b"\x10^")
    host.step(host.frames(1) + b"\x10")
    assert host.step(b"\x03\r\nOK\r\n") == [StreamEnded(host.port)]
    assert host.port.beyond() == b"\r\nOK\r\n"
    host.sent()
    with pytest.raises(ValueError, match="5000 bytes"):
        host.port.resume(bytes(5000))
    host.port.resume(b"\x10")
    assert host.port.beyond() == b""
    assert host.step(b"b" + host.frames(2)) == [VoiceCode(host.port, "b")]
    audio, codes = unshielded(host.sent())
    assert (len(audio) // FRAME_SAMPLES, codes) == (2, [])
    host.port.leave(b"\x10^")
    host.step(host.frames(1))
    assert host.sent().endswith(b"\x10^")
    assert host.step(END + b"\r\nVCON\r\n") == [StreamEnded(host.port)]
    assert host.port.beyond() == b"\r\nVCON\r\n"


def test_a_modem_that_stops_is_silent_and_counted_and_one_that_is_unplugged_is_told(host: Host) -> None:
    host.step(b"\x90" * 2 * FRAME_SAMPLES, ticks=6)
    assert host.heard().reshape(-1, FRAME_SAMPLES)[:, 0].tolist() == [4096, 4096, 0, 0, 0, 0]
    assert (host.port.stats().underruns, host.port.stats().concealed) == (1, 4)
    host.sent()
    host.modem.close()
    assert host.step(ticks=3) == [PortFailed(host.port, 0)]


def test_a_pty_that_has_nothing_is_not_one_that_is_gone() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    settings = termios.tcgetattr(slave)
    settings[6][termios.VMIN] = 0
    termios.tcsetattr(slave, termios.TCSANOW, settings)
    with Engine() as engine, open(master, "r+b", buffering=0) as modem, open(slave, "r+b", buffering=0) as ours:
        os.set_blocking(ours.fileno(), False)
        port = engine.voice(ours.fileno(), VoiceFormat.PCMA)
        engine.tick(3)
        modem.write(b"\xd5" * FRAME_SAMPLES)
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
