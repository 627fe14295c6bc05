"""`start.lines_ready_s.mixed`: from the start of `branchline run` until /healthz tells 8 idle lines of as many models,
asked every 50 ms, while a ninth line's modem hears nothing.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import trio

from hil.bench import Bench, BenchLine
from hil.box import Box
from tests.bench.figures import Figure

NAME = "start.lines_ready_s.mixed"
MODELS = ("ec25", "uc20", "eg95", "e173", "e3131", "sim7600", "cx93010", "usr5637")
BROKEN = "broken"
STARTS, QUICK_STARTS = 3, 1
READY_LIMIT_S = 30


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    if NAME in names:
        took = [
            trio.run(_start, Path(tempfile.mkdtemp(dir=directory))) for _ in range(QUICK_STARTS if quick else STARTS)
        ]
        yield Figure(NAME, statistics.median(took))


async def _start(directory: Path) -> float:
    """On modems that nobody has spoken to."""
    lines = [BenchLine(model, _number(place, model), model) for place, model in enumerate(MODELS)]
    async with Bench([*lines, BenchLine(BROKEN, _number(len(lines), "ec25"))], directory=directory) as bench:
        bench.line(BROKEN).faults.deaf = True
        # Its webhook is for events of calls, and there are none.
        box = Box(directory, bench.lines, events_url="http://127.0.0.1:9/", secret="whsec_" + "0" * 24)
        try:
            await box.create_key()
            began = time.monotonic()
            await box.start()
            await box.idle(within_s=READY_LIMIT_S, besides=(BROKEN,))
            took_s = time.monotonic() - began
            await box.stop()
            return took_s
        finally:
            await box.kill()


def _number(place: int, model: str) -> str:
    """Of Paris, or of a mobile phone."""
    return f"+3315913335{place}" if model in ("cx93010", "usr5637") else f"+3370000000{place}"
