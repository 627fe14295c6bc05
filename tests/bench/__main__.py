"""The first figures of docs/design.md, section 7: `./dev bench [NAMES] [--quick]`.

NAMES are figures or their beginnings (`latency`, `stream.call_tick_us.50`); none is all. A table, and bench.json at the
project's root, with what was measured in this run and nothing else. A figure that misses its bar is shown as missed;
the exit status is 0 when everything could be measured.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from rich.console import Console

from tests.bench import capacity, crowd, drift, dtmf, facts, relay, samples, service, shelf, sound, start, streams, week
from tests.bench.figures import TERMS, Figure, table, write_json

ROOT = Path(__file__).resolve().parents[2]
# On a disk, where /tmp may be memory: what a commit costs is the disk's affair.
SCRATCH = Path("/var/tmp")


class Measure(Protocol):
    """Gives the figures with these names; `directory` is there for files, and empty."""

    def __call__(self, names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]: ...


SUITES: dict[Measure, tuple[str, ...]] = {
    sound.measure: ("engine.",),
    dtmf.measure: ("dtmf.",),
    samples.measure: ("g711.", "resample."),
    drift.measure: ("drift.",),
    facts.measure: ("outbox.enqueue", "outbox.catch_up", "sqlite."),
    week.measure: (week.BEGINNING,),
    shelf.measure: ("recordings.",),
    streams.measure: ("stream.call_tick_us", "path."),
    capacity.measure: ("stream.calls_per_core",),
    relay.measure: ("latency.relay_",),
    start.measure: (start.NAME,),
    crowd.measure: ("calls.", "service.rss_mib.64"),
    service.measure: (
        "start.lines_ready_s.8",
        "service.rss_mib.8",
        "latency.line_",
        "latency.socket_",
        "latency.clear_",
        "event.",
    ),
}


def run(names: set[str], console: Console, *, quick: bool) -> tuple[list[Figure], dict[str, str]]:
    """The figures, and of those that could not be measured the reason."""
    figures: list[Figure] = []
    unmeasured: dict[str, str] = {}
    for measure, beginnings in SUITES.items():
        wanted = {name for name in names if name.startswith(beginnings)}
        if not wanted:
            continue
        directory = Path(tempfile.mkdtemp(prefix="branchline-bench-", dir=SCRATCH))
        try:
            for figure in measure(wanted, directory, quick=quick):
                figures.append(figure)
                console.print(f"{figure.name}: {figure.value:.3g} {figure.terms.unit}", highlight=False)
        # Whatever hinders one suite, the others have their figures all the same.
        except Exception as exc:
            cause = _first(exc)
            traceback.print_exception(cause)
            done = {figure.name for figure in figures}
            unmeasured |= {name: f"{type(cause).__name__}: {cause}" for name in TERMS if name in wanted - done}
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    return figures, unmeasured


def _first(exc: BaseException) -> BaseException:
    """Trio's nurseries each put a group around it."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a figure, or how some begin; none: all")
    parser.add_argument("--quick", action="store_true", help="short and few rounds: to see that it works")
    options = parser.parse_args()
    names = {name for name in TERMS if name.startswith(tuple(options.names) or "")}
    if unknown := [text for text in options.names if not any(name.startswith(text) for name in TERMS)]:
        parser.error(f"no figure begins with {', '.join(unknown)}; there are {', '.join(TERMS)}")
    console = Console()
    # Whoever ends us ends what we started, too; Trio knows how to be ended by SIGINT, wherever it is.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()
    measured: tuple[list[Figure], dict[str, str]] | None = None
    try:
        measured = run(names, console, quick=options.quick)
    except* KeyboardInterrupt:
        console.print("interrupted")
    if measured is None:
        return 130
    figures, unmeasured = measured
    figures.sort(key=lambda figure: list(TERMS).index(figure.name))
    write_json(figures, ROOT / "bench.json", options=" --quick" if options.quick else "")
    console.print()
    # Wider than most terminals, and of use in a log only if no line is broken.
    Console(width=max(console.width, 180)).print(table(figures, unmeasured))
    for reason in dict.fromkeys(unmeasured.values()):
        console.print(f"not measured: {reason}", style="red", highlight=False, markup=False, soft_wrap=True)
    missed = sum(figure.held is False for figure in figures)
    console.print(f"{len(figures)} figures, {missed} missed their bar, {time.monotonic() - began:.0f} s; bench.json")
    return 1 if unmeasured else 0


if __name__ == "__main__":
    sys.exit(main())
