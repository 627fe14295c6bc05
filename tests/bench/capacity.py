"""How many calls one core carries to a customer's WebSockets before their sound comes late.

`stream.calls_per_core`: the most calls of which 99.9 % of the frames reach the voice server less than 20 ms late, and
no more than 2 % do not come at all. Ours and the plain way as tests.bench.contender has them, on a core of their own,
each number in a fresh process, before other work on the machine (SCHED_RR) where that is permitted. A number that fails
is tried once more: the machine's own stalls are tens of milliseconds long. Late is what comes after its place on a grid
of 20 ms, which stands where the connection's most punctual frame in these seconds has it; a frame that was left out
makes all behind it 20 ms late. What a way did not read is a call that it does not carry.

    python -m tests.bench.capacity              the table of docs/capacity.md
    python -m tests.bench.capacity carry|wake ...
                                                what it runs apart
"""

import contextlib
import fcntl
import os
import resource
import stat
import struct
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from tests.bench.apart import MEASURED, OTHERS, Apart, say
from tests.bench.contender import ours, plain
from tests.bench.figures import Figure, percentile
from tests.bench.streams import certificate
from tests.bench.voice import TICK_S

SECONDS, QUICK_SECONDS = 4.0, 1.0
SETTLE_S = 1.0
LATE_MS = 20
LEAST_CARRIED = 0.98
# Unread in a call's socket: a quarter of a second.
MOST_UNREAD_BYTES = 12 * 300
TRIES = 2
# Below the engine's (native/clock.c).
PRIORITY = 1
# A quarter of an octave: numbers between these are not tried. The engine has ports for a thousand calls.
LADDER = [round(8 * 2 ** (step / 4)) for step in range(29)]
START = {"ours": 512, "plain": 128}
TABLE_CALLS = (1, 8, 32, 64, 128, 256)
FLOOR_PERIOD_S = 0.001


@dataclass(frozen=True)
class Run:
    calls: int
    late_ms: tuple[float, float]
    """The median's and the 99.9th percentile's."""
    carried: float
    unread_bytes: float
    core_share: float
    voice_share: float

    @property
    def holds(self) -> bool:
        on_time = self.late_ms[1] < LATE_MS
        return on_time and self.carried >= LEAST_CARRIED and self.unread_bytes <= MOST_UNREAD_BYTES

    @property
    def call_tick_us(self) -> float:
        return 1e6 * TICK_S * self.core_share / self.calls


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    seconds = QUICK_SECONDS if quick else SECONDS
    held = {way: most_held(way, seconds) for way in START}
    yield Figure("stream.calls_per_core", held["ours"], held["plain"])


def most_held(way: str, seconds: float) -> int:
    """The highest rung below the first that fails; 0: not even the lowest one holds."""
    rung = LADDER.index(START[way])
    while rung >= 0 and not _holds(way, LADDER[rung], seconds):
        rung -= 1
    if rung >= 0 and LADDER[rung] >= START[way]:
        while rung + 1 < len(LADDER) and _holds(way, LADDER[rung + 1], seconds):
            rung += 1
    return LADDER[rung] if rung >= 0 else 0


def _holds(way: str, calls: int, seconds: float) -> bool:
    return run(way, calls, seconds).holds


def run(way: str, calls: int, seconds: float, pem: Path | None = None) -> Run:
    """The first that holds, or the last that was tried."""
    for _ in range(TRIES):
        tried = run_once(way, calls, seconds, pem)
        if tried.holds:
            break
    return tried


def run_once(way: str, calls: int, seconds: float, pem: Path | None = None) -> Run:
    tls = ["--tls", str(pem)] if pem else []
    with ExitStack() as stack:
        voice = stack.enter_context(Apart("tests.bench.voice", "--prompt", *tls, cores=OTHERS))
        url = f"{'wss' if pem else 'ws'}://127.0.0.1:{voice.hear()['port']}/voice"
        arguments = ("carry", way, str(calls), url, *([str(pem)] if pem else []))
        box = stack.enter_context(Apart("tests.bench.capacity", *arguments, cores=MEASURED))
        _go_first(box)
        box.hear()
        voice.ask("await", str(calls))
        time.sleep(SETTLE_S)
        begin, voice_begin = box.ask("count"), voice.ask("count")
        time.sleep(seconds)
        end, voice_end = box.ask("count"), voice.ask("count")
        arrivals = [[at for at, _ in connection["in"]] for connection in voice.ask("dump")]
    span_s = voice_end["at"] - voice_begin["at"]
    # Connections that came late or died are calls not carried.
    late = [ms for times in arrivals for ms in late_ms(times, voice_begin["at"], voice_end["at"])]
    return Run(
        calls,
        late_ms=(percentile(late, 0.5), percentile(late, 0.999)) if late else (float("inf"), float("inf")),
        carried=len(late) * TICK_S / span_s / calls,
        unread_bytes=end["unread_bytes"] / calls,
        core_share=(end["cpu_s"] - begin["cpu_s"]) / (end["at"] - begin["at"]),
        voice_share=(voice_end["cpu_s"] - voice_begin["cpu_s"]) / span_s,
    )


def _go_first(apart: Apart) -> None:
    """Before it starts threads: these inherit it."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(apart.pid, os.SCHED_RR, os.sched_param(PRIORITY))


def late_ms(arrivals: list[float], begin: float, end: float) -> list[float]:
    """Of one connection's frames within these seconds."""
    within = [at for at in arrivals if begin <= at < end]
    early = [at - number * TICK_S for number, at in enumerate(within)]
    return [1000 * (at - min(early)) for at in early]


def floor_ms(seconds: float) -> tuple[float, float]:
    """Median and 99.9th percentile of a program that does nothing but wake up, under the same conditions."""
    with Apart("tests.bench.capacity", "wake", str(seconds), cores=MEASURED) as program:
        _go_first(program)
        late: list[float] = program.hear()
    return percentile(late, 0.5), percentile(late, 0.999)


def _wake(seconds: float) -> list[float]:
    late: list[float] = []
    due = time.monotonic()
    for _ in range(round(seconds / FLOOR_PERIOD_S)):
        due += FLOOR_PERIOD_S
        time.sleep(max(0.0, due - time.monotonic()))
        late.append(1000 * (time.monotonic() - due))
    return late


# ---- the box


async def carry(way: str, calls: int, url: str, pem: str | None) -> None:
    threading.Thread(target=_answer, daemon=True).start()
    say({})
    await {"ours": ours, "plain": plain}[way](calls, url, Path(pem) if pem else None, ())


def _answer() -> None:
    while sys.stdin.readline():
        say({"cpu_s": time.process_time(), "at": time.monotonic(), "unread_bytes": _unread_bytes()})
    os._exit(0)


def _unread_bytes() -> int:
    """In all sockets of this process."""
    unread = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            fd = int(name)
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                unread += struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]
        # Closed meanwhile.
        except OSError:
            continue
    return unread


# ---- the table


def table(directory: Path) -> None:
    pem = certificate(directory)
    print(
        "| calls | ours: core, call-tick | late p50, p99.9 | plain way: core, call-tick | late p50, p99.9 | wake-up |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for sealed, path in (("", None), (", TLS", pem)):
        for calls in TABLE_CALLS:
            floor = floor_ms(SECONDS)
            cells = " | ".join(_cells(run(way, calls, SECONDS, path)) for way in START)
            print(f"| {calls}{sealed} | {cells} | {_ms(floor)} |", flush=True)


def _cells(one: Run) -> str:
    fails = "" if one.holds else " (not held)"
    return f"{100 * one.core_share:.1f} %, {one.call_tick_us:.1f} us | {_ms(one.late_ms)}{fails}"


def _ms(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.2f}, {pair[1]:.1f} ms"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    match sys.argv[1:]:
        case ["carry", way, calls, url, *pem]:
            trio.run(partial(carry, way, int(calls), url, pem[0] if pem else None))
        case ["wake", seconds]:
            say(_wake(float(seconds)))
        case _:
            with tempfile.TemporaryDirectory() as directory:
                table(Path(directory))


if __name__ == "__main__":
    main()
