"""The figures: their names, units, peers and bars as docs/design.md, section 7, has them, and the table made of them.

A name keeps its meaning for ever; what exactly is measured stands in the docstring of the module that measures it.
"""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

TRIO_WEBSOCKET = "trio-websocket, json, base64, a task per direction"
SPANDSP = "libspandsp's detector with its own limits"
AUDIOOP = "audioop of Python's standard library"
SPEEX = "libspeexdsp, quality 5"
BARE_SQLITE = "sqlite3, synchronous=FULL, in the calling thread"
RESAMPLED_HZ = (16000, 24000, 32000, 44100, 48000)


@dataclass(frozen=True)
class Terms:
    """How a name is held: `most` and `least` bound its value, `ratio` how many times less than the peer it must be.

    `gain` instead of it: of what is the better the more there is, how many times the peer's.
    """

    unit: str
    peer: str | None = None
    most: float | None = None
    least: float | None = None
    ratio: float | None = None
    gain: float | None = None

    @property
    def bar(self) -> str:
        ratios = (("peer / ours >= ", self.ratio), ("ours / peer >= ", self.gain))
        bounds = (("<= ", self.most), (">= ", self.least), *ratios)
        return ", ".join(f"{sign}{bound:g}" for sign, bound in bounds if bound is not None)


TERMS = {
    "stream.call_tick_us.50": Terms("us", TRIO_WEBSOCKET, ratio=7),
    "stream.call_tick_us.200": Terms("us", TRIO_WEBSOCKET, ratio=7),
    "stream.call_tick_us.tls.50": Terms("us", TRIO_WEBSOCKET, ratio=5),
    "path.call_tick_us.30": Terms("us", "plain Python: " + TRIO_WEBSOCKET, most=30, ratio=4),
    "stream.calls_per_core": Terms("calls", TRIO_WEBSOCKET, gain=4),
    "engine.call_tick_us": Terms("us", most=3),
    "engine.conference_us.50": Terms("us"),
    "engine.conference_us.100": Terms("us"),
    "engine.conference_us.250": Terms("us", "five conferences of 50", most=1000, ratio=0.7),
    "dtmf.found_percent": Terms("%", SPANDSP, least=100),
    "dtmf.false_per_hour": Terms("1/h", SPANDSP, most=0),
    "dtmf.frame_us": Terms("us", SPANDSP, most=1),
    "g711.encode_ns": Terms("ns", AUDIOOP, most=60),
    "g711.decode_ns": Terms("ns", AUDIOOP, most=60),
    "g711.ulaw_encode_ns": Terms("ns", AUDIOOP, most=60),
    "g711.ulaw_decode_ns": Terms("ns", AUDIOOP, most=60),
    "g711.encode_ns.memcpy": Terms("ns", "memcpy of the samples"),
    "g711.encode_ns.sox": Terms("ns", "SoX", ratio=8),
    "g711.encode_ns.ffmpeg": Terms("ns", "FFmpeg", ratio=30),
    **{f"resample.{way}_us.{hz}": Terms("us", SPEEX, most=6) for hz in RESAMPLED_HZ for way in ("up", "down")},
    "drift.delay_change_ms": Terms("ms", most=20),
    "drift.gaps": Terms("", most=0),
    "outbox.enqueue_ms.p99": Terms("ms", most=5),
    "outbox.catch_up_per_s": Terms("1/s", least=200),
    "outbox.week_enqueue_ms.p99": Terms("ms", BARE_SQLITE, most=5),
    "outbox.week_catch_up_per_s": Terms("1/s", least=200),
    "outbox.week_lost": Terms("", most=0),
    "outbox.week_doubled": Terms("", most=0),
    "outbox.week_disordered": Terms("", most=0),
    "outbox.week_rss_growth_mib": Terms("MiB", most=16),
    "outbox.week_disk_mib": Terms("MiB", most=64),
    "outbox.week_deleted_early": Terms("", most=0),
    "outbox.week_surplus_mib": Terms("MiB", most=0),
    "recordings.look_ms.10000": Terms("ms", most=100),
    "recordings.sweep_s.10000": Terms("s", most=10),
    "sqlite.commit_ms": Terms("ms", BARE_SQLITE),
    "start.lines_ready_s.8": Terms("s", most=5),
    "start.lines_ready_s.mixed": Terms("s", most=5),
    "service.rss_mib.8": Terms("MiB", most=120),
    "service.rss_mib.64": Terms("MiB", most=250),
    "service.rss_mib.64.bad": Terms("MiB", most=250),
    "calls.late_ms.p999.64": Terms("ms", most=60),
    "calls.late_ms.p999.64.bad": Terms("ms", most=60),
    "calls.lost.64": Terms("", most=0),
    "calls.lost.64.bad": Terms("", most=0),
    "latency.line_to_socket_ms.p50": Terms("ms", most=20),
    "latency.line_to_socket_ms.p999": Terms("ms", most=40),
    "latency.socket_to_line_ms.p50": Terms("ms", most=40),
    "latency.socket_to_line_ms.p999": Terms("ms", most=60),
    "latency.clear_ms": Terms("ms", most=60),
    "latency.relay_ms.p99": Terms("ms", most=100),
    "latency.relay_ms.p999": Terms("ms", most=60),
    "event.end_to_webhook_ms.p95": Terms("ms", most=1000),
}


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    # None where there is no peer, or none on this machine.
    peer_value: float | None = None

    @property
    def terms(self) -> Terms:
        return TERMS[self.name]

    @property
    def ratio(self) -> float | None:
        """How many times as much the peer needs, or we have."""
        if self.peer_value is None:
            return None
        less, more = (self.value, self.peer_value) if self.terms.gain is None else (self.peer_value, self.value)
        return more / less if less else None

    @property
    def held(self) -> bool | None:
        """None: there is no bar, or no peer to be compared with."""
        terms, verdicts = self.terms, []
        if terms.most is not None:
            verdicts.append(self.value <= terms.most)
        if terms.least is not None:
            verdicts.append(self.value >= terms.least)
        ratio = terms.ratio if terms.gain is None else terms.gain
        if ratio is not None and self.ratio is not None:
            verdicts.append(self.ratio >= ratio)
        return all(verdicts) if verdicts else None


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that is not exceeded by this share of all."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def against(name: str, ours: Sequence[float], peers: Sequence[float]) -> Figure:
    """Medians of rounds that were made in turn."""
    return Figure(name, statistics.median(ours), statistics.median(peers) if peers else None)


def table(figures: Iterable[Figure], unmeasured: Iterable[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("name", "value", "unit", "bar", "held", "peer value", "ratio", "peer"):
        table.add_column(title, justify="right" if title in ("value", "peer value", "ratio") else "left")
    words = {True: "[green]yes[/]", False: "[bold red]NO[/]", None: ""}
    for figure in figures:
        table.add_row(
            figure.name,
            _digits(figure.value),
            figure.terms.unit,
            figure.terms.bar,
            words[figure.held],
            _digits(figure.peer_value),
            _digits(figure.ratio),
            _peer(figure),
        )
    for name in unmeasured:
        table.add_row(name, "-", TERMS[name].unit, TERMS[name].bar, "[red]not measured[/]")
    return table


def write_json(figures: Iterable[Figure], path: Path, *, options: str) -> None:
    rows = [
        {
            "name": figure.name,
            "value": figure.value,
            "unit": figure.terms.unit,
            "peer": figure.terms.peer if figure.peer_value is not None else None,
            "peer_value": figure.peer_value,
            "ratio": figure.ratio,
            "command": f"./dev bench {figure.name}{options}",
        }
        for figure in figures
    ]
    path.write_text(json.dumps(rows, indent=2) + "\n")


def _peer(figure: Figure) -> str:
    peer = figure.terms.peer
    return peer if peer and figure.peer_value is not None else f"[red]not here: {peer}[/]" if peer else ""


def _digits(value: float | None) -> str:
    """Three that count: no machine is so quiet that a fourth would."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"
