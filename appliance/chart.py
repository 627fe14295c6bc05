"""`branchline doctor` for people: who is well, what was heard, and what is to be done."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]


def chart(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    lines: Sequence[Row] = report["lines"]
    if not report["running"]:
        yield Text("The service is not running: the lines were opened for this.", style="yellow")
    if not lines:
        yield Text("No line is configured.")
        return
    yield _lines(lines)
    if any(call["ways"] for call in report["calls"]):
        yield _sound(report["calls"])
    for line in lines:
        for verdict in line["verdicts"]:
            style = "bold red" if verdict["severity"] == "fault" else "bold yellow"
            yield Text.assemble((f"{line['name']}: ", style), f"{verdict['wrong']}: {verdict['cure']}.")
    if report["ok"]:
        yield Text(
            "All is well." if all(not line["verdicts"] for line in lines) else "Nothing is broken.", style="green"
        )


def _lines(lines: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="Lines", title_justify="left")
    for column in ("name", "number", "model", "firmware", "where", "state", "network", "signal", "test call", ""):
        table.add_column(column, overflow="fold")
    for line in lines:
        network = " ".join(line[key] for key in ("operator", "technology", "registration") if line[key])
        table.add_row(
            line["name"],
            line["number"],
            line["model"],
            line["firmware"] or "",
            line["place"],
            line["state"],
            network + {True: ", VoLTE", False: ", no VoLTE", None: ""}[line["ims"]],
            f"{line['signal_dbm']} dBm" if line["signal_dbm"] is not None else "",
            "made" if line["tested"] else "none",
            _health(line),
        )
    return table


def _health(line: Row) -> Text:
    if not line["ok"]:
        return Text("ill", style="bold red")
    return Text("see below", style="yellow") if line["verdicts"] else Text("well", style="green")


def _sound(calls: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="What was heard", title_justify="left")
    table.add_column("from")
    table.add_column("to")
    for column in ("delay", "level", "loss", "noise", "echo"):
        table.add_column(column, justify="right")
    for call in calls:
        for way in call["ways"]:
            table.add_row(way["speaker"], way["listener"], *_figures(way))
    return table


def _figures(way: Row) -> Iterator[str]:
    if not way["heard"]:
        yield "nothing"
        return
    yield f"{way['delay_ms']:.0f} ms"
    yield f"{way['level_db']:+.1f} dB"
    yield f"{way['loss_percent']:.1f} %"
    yield f"{way['noise_dbm0']:.0f} dBm0"
    yield f"{way['echo_db']:.0f} dB, {way['echo_ms']:.0f} ms" if "echo_db" in way else "none"
