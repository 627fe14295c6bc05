"""Two lines that hear each other: how late each does, while everything else in the process wants the processor.

`latency.relay_ms.p99`, `.p999`: from the write that brought a sample to one modem's PCM port to the read that took it
from the other's, both ways, for the first sample of every 20 ms. Two modems on ptys, as tests.bench.tap has them: each
sends 640 bytes every 40 ms and plays as much, at a phase of its own. So the second 20 ms of what a modem writes can not
go before 20 ms have passed. Between them is one process on one core:

    python -m tests.bench.relay PTY PTY DIRECTORY       connects the two until the end of its input

While the two are connected, one of its threads burns Python, one commits to SQLite in DIRECTORY, one encodes MP3. Each
figure is the median of its rounds.
"""

import io
import os
import sqlite3
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from native import FRAME_SAMPLES, RATE_HZ, Engine, alaw_decode, alaw_encode
from tests.bench.apart import MEASURED, Apart, say
from tests.bench.delays import enough
from tests.bench.figures import Figure, against, percentile
from tests.bench.tap import CHUNK_SAMPLES, PcmClock, Take

ROUNDS = 3
TALK_S, QUICK_TALK_S = 15.0, 5.0
# Both buffers have found their depth.
SETTLE_S = 2.0
# The second modem is so far behind the first one's 40 ms.
PHASE_S = 0.013
ENCODED_S = 30
# Of a block's correlation with itself: it went through A-law, and perhaps between two samples (native/fraction.c).
LIKE = 0.9
# How far a block may stand from where the one before it lets expect it.
JUMP_SAMPLES = RATE_HZ // 5


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    rounds = [_delays_ms(directory, QUICK_TALK_S if quick else TALK_S) for _ in range(1 if quick else ROUNDS)]
    for name, share in (("latency.relay_ms.p99", 0.99), ("latency.relay_ms.p999", 0.999)):
        if name in names:
            yield against(name, [percentile(delays, share) for delays in rounds], [])


def _delays_ms(directory: Path, talk_s: float) -> list[float]:
    ends = [os.openpty() for _ in range(2)]
    for _, slave in ends:
        tty.setraw(slave)
    masters = [master for master, _ in ends]
    for master in masters:
        os.set_blocking(master, False)
    seconds = round(SETTLE_S + talk_s) + 2
    takes = [Take(sound(seed, seconds)) for seed in range(2)]
    clock = PcmClock()
    try:
        names = [os.ttyname(slave) for _, slave in ends]
        with Apart("tests.bench.relay", *names, str(directory), cores=MEASURED) as box:
            box.hear()
            for number, (master, take) in enumerate(zip(masters, takes, strict=True)):
                clock.start(master, take, phase_s=number * PHASE_S)
            time.sleep(SETTLE_S + talk_s)
    finally:
        clock.end()
        for end in ends:
            for fd in end:
                os.close(fd)
    one, other = takes
    return [*delays_ms(one, other), *delays_ms(other, one)]


def sound(seed: int, seconds: int) -> bytes:
    """A-law. Noise that a fraction of a sample's delay leaves like itself: nothing near half the rate."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=seconds * RATE_HZ))
    hz = np.linspace(0, RATE_HZ / 2, len(spectrum))
    sound = np.fft.irfft(np.where((hz > 200) & (hz < 2800), spectrum, 0))
    return alaw_encode((sound * 8000).clip(-32000, 32000).astype("<i2").tobytes())


def delays_ms(spoken: Take, heard: Take) -> list[float]:
    """Of each block of 20 ms that was spoken after the first two seconds, and was heard.

    Raises: tests.bench.delays.NotFound: few were.
    """
    said, chunks = _samples(spoken.codes), spoken.sent
    codes, came_at = heard.heard()
    ear = _samples(codes)
    first = round(SETTLE_S * RATE_HZ / FRAME_SAMPLES)
    last = (len(chunks) - 1) * CHUNK_SAMPLES // FRAME_SAMPLES
    delays: list[float] = []
    at, reach = first * FRAME_SAMPLES, RATE_HZ
    for number in range(first, last):
        block = said[number * FRAME_SAMPLES :][:FRAME_SAMPLES]
        begin = max(0, at - reach)
        found = _find(block, ear[begin : at + reach])
        sent = chunks[number * FRAME_SAMPLES // CHUNK_SAMPLES]
        if found is not None:
            at, reach = begin + found, JUMP_SAMPLES
            if sent is not None:
                delays.append(1000 * (float(came_at[at]) - sent))
        at += FRAME_SAMPLES
    return enough(delays, last - first, "blocks")


def _samples(codes: bytes) -> Any:
    return np.frombuffer(alaw_decode(codes), "<i2").astype(float)


def _find(block: Any, sound: Any) -> int | None:
    """Where it is most like the block."""
    if len(sound) < len(block):
        return None
    energy = np.convolve(sound**2, np.ones(len(block)), "valid")
    likeness = np.correlate(sound, block, "valid") / np.sqrt(np.maximum(energy, 1) * (block**2).sum())
    best = int(likeness.argmax())
    return best if likeness[best] >= LIKE else None


# ---- the box


def _burn() -> None:
    total = 0
    for number in range(100_000):
        total += number * number % 7


def _commit(path: Path) -> Callable[[], None]:
    def commit() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("CREATE TABLE IF NOT EXISTS fact (text)")
            for number in range(100):
                database.execute("INSERT INTO fact VALUES (?)", (f"fact {number}",))

    return commit


def _encode() -> None:
    noise = np.random.default_rng(1).integers(-8000, 8000, (ENCODED_S * RATE_HZ, 2), np.int16)
    soundfile.write(io.BytesIO(), noise, RATE_HZ, format="MP3")


def _forever(work: Callable[[], None]) -> None:
    while True:
        work()


def main() -> None:
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY
    with Engine() as engine:
        one, other = (engine.pcm(os.open(path, flags)) for path in sys.argv[1:3])
        engine.connect(one, other)
        engine.connect(other, one)
        engine.start()
        for work in (_burn, _commit(Path(sys.argv[3]) / "facts.sqlite"), _encode):
            threading.Thread(target=_forever, args=(work,), daemon=True).start()
        say({})
        sys.stdin.readline()
        # Its threads never end.
        os._exit(0)


if __name__ == "__main__":
    main()
