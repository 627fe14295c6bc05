"""What a voice modem's stream (ITU-T V.253) tells beside sound - codes, keys, reports - and the ways out of it."""

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import FRAME_SAMPLES, Dtmf, StreamEnded, VoiceCode, VoiceReport
from tests.voice_host import DLE, END, Cuts, Host, pieces, shielded, unshielded


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


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


def test_a_report_without_an_end_is_no_part_of_the_next(host: Host) -> None:
    told = host.step(b"\x10XNMBR=1\x10XNMBR=2\x10.")
    assert told == [VoiceReport(host.port, "NMBR=1"), VoiceReport(host.port, "NMBR=2")]
    assert host.step(b"\x10XNMBR=3" + END) == [StreamEnded(host.port)]
    host.port.resume(b"\x10XNMBR=4\x10.")
    assert host.step() == [VoiceReport(host.port, "NMBR=4")]


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
