"""`branchline lines` for people: what the box sees, as tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

# With less, a table has no room for them.
WIDE = 110

STYLES = {"idle": "green", "in use": "cyan", "searching": "yellow", "starting": "yellow", "down": "red"}
Row = Mapping[str, Any]


def listing(report: Mapping[str, Any], *, width: int) -> Iterator[RenderableType]:
    """`width` of the terminal, in characters: a narrow one goes without the modules' and SIMs' own numbers."""
    lines: Sequence[Row] = report["lines"]
    spare: Sequence[Row] = report["spare"]
    if not report["running"]:
        yield Text("The service is not running: this is what can be seen without it.", style="yellow")
    if lines:
        yield _lines(lines, wide=width >= WIDE)
    else:
        yield Text("No line is configured.")
    for line in lines:
        if line["problem"]:
            yield Text.assemble((f"{line['name']}: ", "bold"), line["problem"])
    if spare:
        yield _spare(spare)
        for each in spare:
            if each["problem"]:
                yield Text.assemble((f"{each['usb']}: ", "bold"), each["problem"])


def _lines(lines: Sequence[Row], *, wide: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="Lines", title_justify="left")
    for column in (
        "name",
        "number",
        "model",
        "where",
        "state",
        "operator",
        "signal",
        *(("IMEI", "SIM") if wide else ()),
    ):
        table.add_column(column, overflow="fold")
    for line in lines:
        state = line["state"] or ("-" if not line["problem"] else "absent")
        # Why it searches: denied, emergency calls only.
        doing = f": {line['registration']}" if state == "searching" and line.get("registration") else ""
        technology = f" {line['technology']}" if line.get("technology") else ""
        signal = line.get("signal_dbm")
        table.add_row(
            line["name"],
            line["number"],
            line["model"],
            line["place"],
            Text(state + doing, style=STYLES.get(state, "")),
            f"{line.get('operator') or ''}{technology}",
            f"{signal} dBm" if signal is not None else "",
            *([line.get("imei") or "", line.get("iccid") or ""] if wide else []),
        )
    return table


def _spare(spare: Sequence[Row]) -> Table:
    title = "Plugged in, and no line's"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for column in ("configuration", "device", "id", "may be", "IMEI"):
        table.add_column(column, overflow="fold")
    for each in spare:
        key = "usb" if each["models"] or not each["card"] else "card"
        what = ", ".join(each["models"]) or ("a sound card" if each["card"] else "")
        table.add_row(f'{key} = "{each["usb"]}"', each["title"], each["id"], what, each["imei"] or "")
    return table
