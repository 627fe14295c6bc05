"""The benchmark's own arithmetic: what is held, and where in the noise a sound was found."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import pytest

from native import TICK_S, alaw_decode, alaw_encode
from tests.bench.capacity import late_ms
from tests.bench.delays import NotFound, clear_ms, enough, line_to_socket_ms, socket_to_line_ms, take_of
from tests.bench.figures import TERMS, Figure, against, percentile, write_json
from tests.bench.relay import delays_ms, sound
from tests.bench.tap import CHUNK_NS, CHUNK_SAMPLES
from tests.bench.voice import FRAME_BYTES, noise

FRAMES = 50
CHUNK_S = CHUNK_NS / 1e9


@dataclass
class Take:
    """What tests.bench.tap writes down in C, made up: `came` are reads, and when they were."""

    codes: bytes
    sent: list[float] = field(default_factory=list)
    came: list[tuple[float, bytes]] = field(default_factory=list)

    def heard(self) -> tuple[bytes, Any]:
        at = [moment for moment, data in self.came for _ in range(len(data) // 2)]
        return alaw_encode(b"".join(data for _, data in self.came)), numpy.array(at)


def test_a_percentile_is_a_value_that_was_measured():
    assert [percentile(range(1, 1001), share) for share in (0, 0.5, 0.95, 0.999, 1)] == [1, 500, 950, 999, 1000]
    assert percentile([7], 0.999) == 7


@pytest.mark.parametrize(
    ("figure", "held"),
    [
        (Figure("outbox.enqueue_ms.p99", 5), True),
        (Figure("outbox.enqueue_ms.p99", 5.01), False),
        (Figure("outbox.catch_up_per_s", 199), False),
        (Figure("stream.call_tick_us.50", 10, 70), True),
        (Figure("stream.call_tick_us.50", 10, 69), False),
        (Figure("stream.call_tick_us.50", 10), None),
        (Figure("path.call_tick_us.30", 31, 400), False),
        (Figure("path.call_tick_us.30", 30, 119), False),
        (Figure("stream.calls_per_core", 400, 100), True),
        (Figure("stream.calls_per_core", 399, 100), False),
        (Figure("sqlite.commit_ms", 1, 1), None),
    ],
)
def test_a_figure_is_held_when_all_its_bars_are(figure: Figure, held: bool | None):
    assert figure.held is held


def test_figures_are_written_as_the_design_says(tmp_path: Path):
    path = tmp_path / "bench.json"
    write_json([against("g711.encode_ns", [30, 20, 40], [300, 330, 200])], path, options=" --quick")
    assert json.loads(path.read_text()) == [
        {
            "name": "g711.encode_ns",
            "value": 30,
            "unit": "ns",
            "peer": TERMS["g711.encode_ns"].peer,
            "peer_value": 300,
            "ratio": 10,
            "command": "./dev bench g711.encode_ns --quick",
        }
    ]


def messages(codes: bytes, first_at: float) -> list[tuple[float, str]]:
    frames = [codes[at : at + FRAME_BYTES] for at in range(0, FRAMES * FRAME_BYTES, FRAME_BYTES)]
    return [(first_at + TICK_S * n, base64.b64encode(frame).decode()) for n, frame in enumerate(frames)]


def test_a_message_is_late_since_the_write_that_brought_its_first_sample():
    take = Take(noise(3), sent=[100 + CHUNK_S * n for n in range(FRAMES)])
    # Ten samples further on than the writes are cut: so each message begins within one.
    connection = {"in": messages(take.codes[10:], 100.005)}
    assert take_of(connection, [Take(noise(4)), take]) is take
    assert line_to_socket_ms(take, connection) == pytest.approx([5, 25] * (FRAMES // 2))


def test_of_a_chunk_both_messages_count_or_none_and_none_shortly_before_the_machine_stood_still():
    take = Take(noise(3), sent=[100 + CHUNK_S * n for n in range(FRAMES)])
    connection = {"in": messages(take.codes, 100.005)[1:]}
    assert line_to_socket_ms(take, connection) == pytest.approx([5, 25] * (FRAMES // 2 - 1))
    assert line_to_socket_ms(take, connection, 100.5) == pytest.approx([5, 25] * 7)
    assert line_to_socket_ms(take, connection, 100) == []


def test_messages_of_no_line_are_not_found():
    connection = {"in": messages(noise(5), 0)}
    with pytest.raises(NotFound):
        take_of(connection, [Take(noise(4))])
    with pytest.raises(NotFound):
        enough(line_to_socket_ms(Take(noise(4)), connection), FRAMES, "messages")


def heard(codes: bytes, first_at: float) -> Take:
    """The host writes as much as it is sent, when it is sent it."""
    take = Take(b"")
    for n in range(len(codes) // CHUNK_SAMPLES):
        take.came.append((first_at + CHUNK_S * n, alaw_decode(codes[n * CHUNK_SAMPLES : (n + 1) * CHUNK_SAMPLES])))
    return take


def test_a_frame_is_late_against_a_box_that_plays_at_once_and_in_real_time():
    take = heard(noise(0)[20 * FRAME_BYTES : (20 + FRAMES) * FRAME_BYTES], 10.030)
    paced = [10 + TICK_S * n for n in range(FRAMES)]
    assert socket_to_line_ms(take, {"first": 20, "out": paced}) == pytest.approx([30, 10] * (FRAMES // 2))
    # What is sent at once has to be played one after the other: waiting for that is no delay.
    at_once = [10.0] * FRAMES
    assert socket_to_line_ms(take, {"first": 20, "out": at_once}) == pytest.approx([30, 10] * (FRAMES // 2))


def test_a_clear_is_late_until_silence_that_lasts():
    sound = noise(0)[: 10 * CHUNK_SAMPLES]
    gap = sound[:-CHUNK_SAMPLES] + b"\xd5" * CHUNK_SAMPLES
    take = heard(gap + sound + b"\xd5" * 20 * CHUNK_SAMPLES, 10)
    assert clear_ms(take, {"clear": [10.3]}) == pytest.approx([500])
    # When there was nothing to be cleared.
    assert clear_ms(take, {"clear": [11.0]}) == []


def test_a_relayed_block_is_late_since_the_write_that_brought_it():
    codes = sound(seed=1, seconds=5)
    pcm, chunk_bytes = alaw_decode(codes), 2 * CHUNK_SAMPLES
    spoken = Take(codes, sent=[10 + CHUNK_S * n for n in range(len(pcm) // chunk_bytes)])
    # Chunk by chunk 30 ms after it was sent; the call that it is heard in was up for five seconds.
    waited = [(5 + CHUNK_S * n, bytes(chunk_bytes)) for n in range(round(5 / CHUNK_S))]
    came = [(at + 0.03, pcm[n * chunk_bytes :][:chunk_bytes]) for n, at in enumerate(spoken.sent)]
    heard = Take(b"", came=[*waited, *came])
    delays = delays_ms(spoken, heard, since=12)
    assert delays == pytest.approx([30] * len(delays))
    assert len(delays) == (5 - 2) / TICK_S
    # What was said shortly before the machine stood still does not count.
    assert len(delays_ms(spoken, heard, since=12, until=13.2)) == 1 / TICK_S
    other = Take(b"", came=[*waited, (10.0, alaw_decode(sound(seed=2, seconds=5)))])
    with pytest.raises(NotFound):
        delays_ms(spoken, other, since=12)


def test_frames_are_late_against_the_most_punctual_of_their_connection():
    arrivals = [0.9, 1.005, 1.02, 1.06, 1.064, 2.0]
    assert late_ms(arrivals, 1.0, 2.0) == pytest.approx([5, 0, 20, 4])
    assert late_ms(arrivals, 3.0, 4.0) == []
