"""How well keys are found, and what it costs. The peer, libspandsp's detector as it comes, hears the same sound.

`dtmf.found_percent`: of the keys of the worst line within Q.24's limits (`WITHIN`). `dtmf.false_per_hour`: keys heard
in an hour of speech by espeak-ng. `dtmf.frame_us`: a frame of speech, by the thread's own accounting.

    python -m tests.bench.dtmf      the table of docs/dtmf.md
"""

import ctypes
import ctypes.util
import difflib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from native import FRAME_SAMPLES, Engine
from tests.bench.figures import Figure, against
from tests.keys import Line, dial, found
from tests.speech import speech

PRESSES, QUICK_PRESSES = 960, 160
HOUR_S, QUICK_S = 3600, 300
TIMED_S = 60
ROUNDS = 5

WITHIN = [
    *(Line(offset=offset, twist_db=twist_db) for offset in (-0.015, 0, 0.015) for twist_db in (-8, -4, 0, 4)),
    *(Line(level_dbm0=level_dbm0) for level_dbm0 in (0, -20, -30, -36)),
]
BEYOND = [
    *(Line(snr_db=snr_db) for snr_db in (12, 10, 8)),
    *(Line(twist_db=twist_db) for twist_db in (-10, 6, 8)),
    *(Line(offset=offset) for offset in (0.02, 0.025, 0.03, 0.035)),
    *(Line(on_ms=on_ms, snr_db=25) for on_ms in (35, 30, 25, 23, 20)),
    *(Line(on_ms=150, off_ms=100, snr_db=20, interruption_ms=hole_ms) for hole_ms in (5, 10, 20, 25, 30, 35)),
]


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    if "dtmf.found_percent" in names:
        scores = [_scores(line, QUICK_PRESSES if quick else PRESSES) for line in WITHIN]
        ours, peers = (min(score[side][0] for score in scores) for side in (0, 1))
        yield Figure("dtmf.found_percent", ours, peers)
    if "dtmf.false_per_hour" in names:
        seconds = QUICK_S if quick else HOUR_S
        sound = speech(seconds, seed=42)
        yield Figure("dtmf.false_per_hour", *(len(ears(sound)) * HOUR_S / seconds for ears in (found, spandsp)))
    if "dtmf.frame_us" in names:
        sound = speech(TIMED_S, seed=43)
        rounds = [(_engine_us(sound), _spandsp_us(sound)) for _ in range(ROUNDS)]
        yield against("dtmf.frame_us", *zip(*rounds, strict=True))


# ---- the peer


class _Spandsp:
    def __init__(self) -> None:
        library = ctypes.CDLL(ctypes.util.find_library("spandsp"))
        library.dtmf_rx_init.restype = ctypes.c_void_p
        self._rx = library.dtmf_rx
        self._get = library.dtmf_rx_get
        self._free = library.dtmf_rx_free
        self._state = ctypes.c_void_p(library.dtmf_rx_init(None, None, None))

    def hear(self, sound: bytes) -> str:
        """What it holds of digits is bounded, so it is asked after each frame."""
        digits = ctypes.create_string_buffer(128)
        heard = []
        for at in range(0, len(sound), 2 * FRAME_SAMPLES):
            frame = sound[at : at + 2 * FRAME_SAMPLES]
            self._rx(self._state, frame, len(frame) // 2)
            if self._get(self._state, digits, 127):
                heard.append(digits.value.decode())
        self._free(self._state)
        return "".join(heard)

    def run(self, sound: bytes) -> None:
        self._rx(self._state, sound, len(sound) // 2)
        self._free(self._state)


def spandsp(sound: bytes) -> str:
    return _Spandsp().hear(sound)


# ---- figures


def _scores(line: Line, presses: int) -> list[tuple[float, int]]:
    """Percent found and how many too many, ours and the peer's."""
    keys, sound = dial(line, presses)
    return [_score(keys, ears(sound)) for ears in (found, spandsp)]


def _score(keys: str, heard: str) -> tuple[float, int]:
    blocks = difflib.SequenceMatcher(None, keys, heard, autojunk=False).get_matching_blocks()
    right = sum(block.size for block in blocks)
    return 100 * right / len(keys), len(heard) - right


def _engine_us(sound: bytes) -> float:
    """With the detector, less without."""
    frames = len(sound) // (2 * FRAME_SAMPLES)
    spent = []
    for on in (True, False):
        with Engine() as engine:
            engine.player(sound).detect_dtmf(on)
            spent.append(_spent_us(lambda engine=engine: engine.tick(frames)))  # type: ignore[misc]
    return (spent[0] - spent[1]) / frames


def _spandsp_us(sound: bytes) -> float:
    peer = _Spandsp()
    return _spent_us(lambda: peer.run(sound)) / (len(sound) // (2 * FRAME_SAMPLES))


def _spent_us(work: Callable[[], object]) -> float:
    began_ns = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - began_ns) / 1000


def _named(line: Line) -> str:
    said = f"{line.on_ms:g}/{line.off_ms:g} ms, {line.snr_db:g} dB SNR, {line.level_dbm0:g} dBm0"
    said += f", twist {line.twist_db:+g} dB" if line.twist_db else ""
    said += f", {100 * line.offset:+.1f} %" if line.offset else ""
    return said + (f", interrupted for {line.interruption_ms:g} ms" if line.interruption_ms else "")


def _cell(score: tuple[float, int]) -> str:
    return f"{score[0]:.1f} %" + (f", {score[1]} too many" if score[1] else "")


if __name__ == "__main__":
    for title, lines in (("within Q.24's limits", WITHIN), ("beyond them", BEYOND)):
        print(f"| {title} | found | libspandsp |\n| --- | --- | --- |")
        for line in lines:
            print(f"| {_named(line)} | {' | '.join(_cell(score) for score in _scores(line, PRESSES))} |")
        print()
