"""The box in figures, for Prometheus: read when it asks, from what is kept anyway.

Counts are since the service was started. What changes with a call - its audio - is there only during the call.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import InfoMetricFamily as Info
from prometheus_client.core import SummaryMetricFamily as Summary
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from appliance.health import OK, VERSION, Health, line_report
from appliance.ingest import Trouble
from appliance.media import audio_report
from appliance.outbox import Outbox
from appliance.trunk import Trunk
from drivers.line import LineState

# No numbers, no IMEI: who sees figures need not know people.
INFO = ("model", "place", "operator", "technology", "registration")


class Metrics:
    def __init__(self, health: Health, trunks: Sequence[Trunk], outbox: Outbox) -> None:
        self._health = health
        self._trunks = trunks
        self._outbox = outbox
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        GCCollector(registry=self._process)

    async def text(self) -> bytes:
        """In the text format, version 0.0.4."""
        undelivered = Gauge("branchline_undelivered_events", "Events that a webhook has not taken yet")
        undelivered.add_metric((), await self._outbox.pending())
        cloud = _cloud(await self._health.cloud_report())
        box = CollectorRegistry()
        recordings = _recordings(self._health.recordings_report())
        box.register(_Sheet([*_media(self._health), *_lines(self._trunks), undelivered, *recordings, *cloud]))
        return generate_latest(box) + generate_latest(self._process)


class _Sheet(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _media(health: Health) -> Iterator[Metric]:
    stats = health.media_stats()
    yield Info("branchline", "The program", {"version": VERSION})
    yield Gauge("branchline_up", "Whether the media clock runs: without it no call has sound", health.status == OK)
    yield Gauge("branchline_media_realtime", "Whether the media clock has a real-time priority", stats.realtime)
    yield Counter("branchline_media_ticks", "Frames of 20 ms", stats.ticks)
    yield Counter("branchline_media_skipped", "Frames that came too late to be made up for", stats.skipped)
    yield Counter("branchline_media_lost_events", "News of the media that nobody took in time", stats.lost_events)


def _recordings(report: Mapping[str, int]) -> Iterator[Metric]:
    if report:
        yield Gauge("branchline_recordings_waiting", "Recordings that have no MP3 yet", report["waiting"])
        yield Gauge("branchline_recordings_failing", "Of these, those whose MP3 could not be made", report["failing"])
        text = "By how much there is too much recorded, which is not delivered yet"
        yield Gauge("branchline_recordings_surplus_bytes", text, report["surplus_bytes"])


def _cloud(report: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    well = Gauge("branchline_cloud_up", "1 while nothing keeps events or recordings from it", labels=("what",))
    waiting = Gauge("branchline_cloud_waiting", "What the cloud has not taken yet", labels=("what",))
    for what, lane in report.items():
        well.add_metric((what,), lane["state"] not in set(Trouble))
        waiting.add_metric((what,), lane["waiting"])
    yield from (well, waiting)
    if recordings := report.get("recordings"):
        size_bytes = recordings["waiting_bytes"]
        yield Gauge("branchline_cloud_waiting_bytes", "Of recordings that the cloud has not taken yet", size_bytes)
        yield Gauge("branchline_cloud_refused", "Recordings that the cloud will not take", recordings["refused"])


def _lines(trunks: Sequence[Trunk]) -> Iterator[Metric]:
    line = ("line",)
    info = Info("branchline_line", "What the line is and where", labels=line)
    state = Gauge("branchline_line_state", "1 for the state that the line is in", labels=("line", "state"))
    signal = Gauge("branchline_line_signal_dbm", "Received signal strength", labels=line)
    calls = Counter("branchline_line_calls", "Calls begun", labels=("line", "direction"))
    answered = Counter("branchline_line_calls_answered", "Calls in which both ends talked", labels=line)
    losses = Counter("branchline_line_losses", "How often an opened line was lost", labels=line)
    faults = Counter("branchline_line_faults", "Losses by a fault of this program: the log has it", labels=line)
    recoveries = Counter(
        "branchline_line_recoveries",
        "What went wrong and was mended, or was done to mend it: each rung has its count",
        labels=("line", "what"),
    )
    alarms = Counter("branchline_line_sound_alarms", "Calls' sound that failed, one way", labels=("line", "alarm"))
    silent = Counter("branchline_line_silent_seconds", "Of commands without an answer, in an open line", labels=line)
    outages = Summary("branchline_line_outage_seconds", "From silence to readiness, of outages over", labels=line)
    last = Gauge("branchline_line_last_outage_seconds", "The last one of these", labels=line)
    audio: dict[str, Gauge] = {}
    for trunk in trunks:
        name, report = trunk.name, line_report(trunk)
        info.add_metric((name,), {key: report[key] or "" for key in INFO})
        for each in LineState:
            state.add_metric((name, each.value), trunk.state is each)
        if report["signal_dbm"] is not None:
            signal.add_metric((name,), report["signal_dbm"])
        for direction, count in trunk.calls.items():
            calls.add_metric((name, direction), count)
        answered.add_metric((name,), trunk.answered)
        losses.add_metric((name,), trunk.losses)
        faults.add_metric((name,), trunk.faults)
        for what, count in report["recoveries"].items():
            if what == "silent_s":
                silent.add_metric((name,), count)
            else:
                recoveries.add_metric((name, what), count)
        for alarm, count in trunk.alarms.items():
            alarms.add_metric((name, alarm.value), count)
        outages.add_metric((name,), count_value=trunk.outages.count, sum_value=trunk.outages.total_s)
        last.add_metric((name,), trunk.outages.last_s)
        for figure, value in (audio_report(trunk.audio) if trunk.audio else {}).items():
            gauge = audio.setdefault(
                figure, Gauge(f"branchline_call_audio_{figure}", "Of the line's call now, as in /healthz", labels=line)
            )
            gauge.add_metric((name,), value)
    yield from (
        info,
        state,
        signal,
        calls,
        answered,
        losses,
        recoveries,
        alarms,
        silent,
        outages,
        last,
        *audio.values(),
    )
