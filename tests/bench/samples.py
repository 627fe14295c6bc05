"""What it costs to code samples and to resample them; medians of rounds made in turn with the peer.

Noise, the hardest for whoever guesses. `g711.*`: 160 samples, within one call on a block of 1000 frames. SoX and FFmpeg
are given a file, and are whole processes: what they take for a file of one frame is taken off, their reading is not.
`resample.*`: 20 ms, within one call on a second; libspeexdsp has the first of its qualities that keeps 3.4 kHz. All by
the accounting of the thread, or of the process.
"""

import resource
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import thread_time_ns
from typing import Any

from cffi import FFI

from native import FRAME_SAMPLES, RATE_HZ, alaw_decode
from native._engine import ffi, lib
from tests.bench.figures import RESAMPLED_HZ, Figure, against
from tests.bench.voice import noise

try:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        import audioop
except ImportError:  # Python 3.13
    audioop = None  # type: ignore[assignment]

BLOCK_FRAMES = 1000
ROUNDS = 25
FRAMES_A_SECOND = RATE_HZ // FRAME_SAMPLES
# Of SoX and FFmpeg: enough for the slower one to work for a second, so that its start does not matter.
FILE_BLOCKS, QUICK_FILE_BLOCKS = 400, 50
FILE_ROUNDS, QUICK_FILE_ROUNDS = 7, 3
SOX = "sox -D -t raw -r 8000 -e signed -b 16 -c 1 {} -t raw -e a-law /dev/null"
FFMPEG = (
    "ffmpeg -v quiet -nostdin -threads 1 -f s16le -ar 8000 -ac 1 -i {} -c:a pcm_alaw -threads 1 -f alaw -y /dev/null"
)
SPEEX_QUALITY = 5

# What a round of it costs, in the figure's unit; None: not on this machine.
Cost = Callable[[], float]


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    for name, (ours, peer) in _g711().items():
        if name in names:
            yield against(name, *_in_turn(ours, peer, ROUNDS))
    encode, _ = _g711()["g711.encode_ns"]
    blocks, rounds = (QUICK_FILE_BLOCKS, QUICK_FILE_ROUNDS) if quick else (FILE_BLOCKS, FILE_ROUNDS)
    for name, command in (("g711.encode_ns.sox", SOX), ("g711.encode_ns.ffmpeg", FFMPEG)):
        if name in names:
            yield against(name, *_in_turn(encode, _process(command, directory, blocks), rounds))
    for hz in RESAMPLED_HZ:
        for name, ends in ((f"resample.up_us.{hz}", (RATE_HZ, hz)), (f"resample.down_us.{hz}", (hz, RATE_HZ))):
            if name in names:
                yield against(name, *_in_turn(_resampler(*ends), _speex(*ends), ROUNDS))


def _in_turn(ours: Cost, peer: Cost | None, rounds: int) -> tuple[list[float], list[float]]:
    costs: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for cost, made in zip((ours, peer), costs, strict=True):
            if cost is not None:
                made.append(cost())
    return costs


def _per_frame(work: Callable[[], object], frames: int, unit_ns: int = 1) -> float:
    # Once unmeasured: a process that ran between leaves cold caches.
    work()
    began_ns = thread_time_ns()
    work()
    return (thread_time_ns() - began_ns) / frames / unit_ns


def _g711() -> dict[str, tuple[Cost, Cost | None]]:
    codes = noise(1)[: BLOCK_FRAMES * FRAME_SAMPLES]
    pcm, count = alaw_decode(codes), len(codes)
    coded, samples = ffi.new("uint8_t[]", codes), ffi.new("int16_t[]", count)
    ffi.memmove(samples, pcm, len(pcm))
    copy = ffi.new("int16_t[]", count)

    def cost(work: Callable[..., object], *arguments: Any) -> Cost:
        return partial(_per_frame, partial(work, *arguments), BLOCK_FRAMES)

    def theirs(name: str, *arguments: Any) -> Cost | None:
        return None if audioop is None else cost(getattr(audioop, name), *arguments)

    encode = cost(lib.alaw_encode, coded, samples, count)
    return {
        "g711.encode_ns": (encode, theirs("lin2alaw", pcm, 2)),
        "g711.decode_ns": (cost(lib.alaw_decode, copy, coded, count), theirs("alaw2lin", codes, 2)),
        "g711.ulaw_encode_ns": (cost(lib.ulaw_encode, coded, samples, count), theirs("lin2ulaw", pcm, 2)),
        "g711.ulaw_decode_ns": (cost(lib.ulaw_decode, copy, coded, count), theirs("ulaw2lin", codes, 2)),
        "g711.encode_ns.memcpy": (encode, cost(ffi.memmove, copy, samples, len(pcm))),
    }


def _process(command: str, directory: Path, blocks: int) -> Cost | None:
    """Nanoseconds a frame."""
    if shutil.which(command.split()[0]) is None:
        return None
    pcm = alaw_decode(noise(1)[: BLOCK_FRAMES * FRAME_SAMPLES])
    one, many = directory / "one.raw", directory / "many.raw"
    one.write_bytes(pcm[: 2 * FRAME_SAMPLES])
    many.write_bytes(blocks * pcm)

    def spent_s(path: Path) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command.format(path).split(), check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return lambda: 1e9 * (spent_s(many) - spent_s(one)) / blocks / BLOCK_FRAMES


def _second(rate_hz: int) -> Any:
    samples = ffi.new("int16_t[]", rate_hz)
    ffi.memmove(samples, alaw_decode(noise(1)[:rate_hz]), 2 * rate_hz)
    return samples


def _resampler(from_hz: int, to_hz: int) -> Cost:
    samples, out, count = _second(from_hz), ffi.new("int16_t[]", to_hz), ffi.new("uint32_t *")
    resampler = ffi.gc(lib.resampler_create(from_hz, to_hz), lib.resampler_destroy)

    def work() -> None:
        count[0] = from_hz
        lib.resampler_run(resampler, out, to_hz, samples, count)

    return lambda: _per_frame(work, FRAMES_A_SECOND, unit_ns=1000)


def _speex(from_hz: int, to_hz: int) -> Cost:
    c = FFI()
    c.cdef("""
        void *speex_resampler_init(uint32_t channels, uint32_t from_hz, uint32_t to_hz, int quality, int *error);
        int speex_resampler_process_int(void *s, uint32_t channel, const int16_t *in, uint32_t *taken, int16_t *out,
                                        uint32_t *given);
        void speex_resampler_destroy(void *s);
    """)
    speex: Any = c.dlopen("libspeexdsp.so.1")
    resampler = c.gc(
        speex.speex_resampler_init(1, from_hz, to_hz, SPEEX_QUALITY, c.NULL), speex.speex_resampler_destroy
    )
    samples, out = c.new("int16_t[]", from_hz), c.new("int16_t[]", to_hz)
    c.memmove(samples, ffi.buffer(_second(from_hz)), 2 * from_hz)
    taken, given = c.new("uint32_t *"), c.new("uint32_t *")

    def work() -> None:
        taken[0], given[0] = from_hz, to_hz
        speex.speex_resampler_process_int(resampler, 0, samples, taken, out, given)

    return lambda: _per_frame(work, FRAMES_A_SECOND, unit_ns=1000)
