"""`branchline doctor`: lines examined - what is known of them, what is around them, a test call - and told in words."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from appliance import diagnosis
from appliance.diagnosis import NO_HISTORY, History, TestCall, Verdict, by_weight, is_fault, of_calls, of_line
from appliance.health import line_report
from appliance.surroundings import look_around
from appliance.testcall import TestCalls
from appliance.trunk import Trunk
from drivers.line import LineState

# What a service that has just begun, or no service at all, gives a line to come up: a SIM takes 20 s, its network more.
UP_LIMIT_S = 45
SEARCH_LIMIT_S = 20


class Casebook(Protocol):
    """What is remembered of test calls and of lines' health."""

    async def history(self) -> History: ...

    async def examined(self, examination: "Examination", at: datetime) -> None: ...


@dataclass(frozen=True)
class Finding:
    """`tested`: its verdicts are of a test call, too."""

    trunk: Trunk
    verdicts: Sequence[Verdict]
    tested: bool

    @property
    def ok(self) -> bool:
        return not is_fault(self.verdicts)

    @property
    def says(self) -> str:
        return str(self.verdicts[0]) if self.verdicts else ""


@dataclass(frozen=True)
class Examination:
    findings: Sequence[Finding]
    calls: Sequence[TestCall]

    @property
    def ok(self) -> bool:
        return all(each.ok for each in self.findings)


class UnknownLine(Exception):
    """The message says which, for people."""


class Doctor:
    """`casebook`: where it is written down, if anywhere."""

    def __init__(
        self,
        trunks: Sequence[Trunk],
        tests: TestCalls,
        *,
        sysfs: Path,
        now: Callable[[], datetime],
        casebook: Casebook | None = None,
    ) -> None:
        self._trunks = trunks
        self._tests = tests
        self._sysfs = sysfs
        self._now = now
        self._casebook = casebook
        # A line has one call.
        self._turn = trio.Lock()

    async def examine(
        self, names: Collection[str] = (), *, calls: bool = True, pairs: Sequence[tuple[str, str]] = ()
    ) -> Examination:
        """All lines, or those with these names; by test calls between these pairs, or with whom there is.

        Raises: UnknownLine.
        """
        wanted = self._wanted(names)
        async with self._turn:
            # Others as partners.
            await self._come_up(self._trunks if calls else wanted)
            made = []
            if calls:
                for caller, callee in self._pairs(wanted, pairs):
                    made.append(await self._tests.call(caller, callee))
            examination = await self._conclude(wanted, made)
            if self._casebook is not None:
                await self._casebook.examined(examination, self._now())
        return examination

    def _wanted(self, names: Collection[str]) -> list[Trunk]:
        there = {trunk.name: trunk for trunk in self._trunks}
        if unknown := [name for name in names if name not in there]:
            raise UnknownLine(f"no line is called {', '.join(unknown)} (there are: {', '.join(there)})")
        return [trunk for name, trunk in there.items() if not names or name in names]

    async def _come_up(self, trunks: Collection[Trunk]) -> None:
        """Until each is idle or in use, or says why it is not."""
        async with trio.open_nursery() as nursery:
            for trunk in trunks:
                nursery.start_soon(_come_up, trunk)

    def _pairs(self, wanted: Sequence[Trunk], pairs: Sequence[tuple[str, str]]) -> list[tuple[Trunk, Trunk]]:
        if pairs:
            there = {trunk.name: trunk for trunk in self._trunks}
            return [(there[caller], there[callee]) for caller, callee in pairs]
        return partners(wanted, self._trunks)

    async def _conclude(self, wanted: Sequence[Trunk], calls: Sequence[TestCall]) -> Examination:
        history = await self._casebook.history() if self._casebook is not None else NO_HISTORY
        heard = of_calls(calls, history)
        tested = {name for call in calls if call.outcome is not diagnosis.Outcome.NOT_TESTED for name in _names(call)}
        findings = []
        for trunk in wanted:
            report = line_report(trunk)
            ttys = [path for path in (report["at"], report["sound"]) if path.startswith("/")]
            around = await trio.to_thread.run_sync(partial(look_around, ttys, sysfs=self._sysfs))
            verdicts = by_weight([*of_line(report, around), *heard.get(trunk.name, ())])
            findings.append(Finding(trunk, verdicts, trunk.name in tested))
        return Examination(findings, calls)


def partners(wanted: Sequence[Trunk], trunks: Sequence[Trunk]) -> list[tuple[Trunk, Trunk]]:
    """Each wanted line that can calls the next one that can: all are caller and callee, where all are wanted."""
    able = [trunk for trunk in trunks if trunk.state is LineState.IDLE]
    if len(able) < 2:
        return []
    return [(trunk, able[(place + 1) % len(able)]) for place, trunk in enumerate(able) if trunk in wanted]


async def _come_up(trunk: Trunk) -> None:
    with trio.move_on_after(UP_LIMIT_S):
        await trunk.until(lambda it: it.state not in (LineState.DOWN, LineState.STARTING) or it.problem is not None)
    with trio.move_on_after(SEARCH_LIMIT_S):
        await trunk.until(lambda it: it.state is not LineState.SEARCHING)


def _names(call: TestCall) -> tuple[str, str]:
    return call.caller, call.callee


def shown(examination: Examination, *, running: bool) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "running": running,
        "ok": examination.ok,
        "lines": [
            line_report(finding.trunk)
            | {
                "ok": finding.ok,
                "tested": finding.tested,
                "says": finding.says,
                "verdicts": [asdict(each) | {"severity": each.severity.value} for each in finding.verdicts],
            }
            for finding in examination.findings
        ],
        "calls": [_shown_call(call) for call in examination.calls],
    }


def _shown_call(call: TestCall) -> Mapping[str, Any]:
    return asdict(call) | {
        "outcome": call.outcome.value,
        "ways": [
            {"speaker": way.speaker, "listener": way.listener, "heard": way.heard is not None, **way.figures}
            | ({"echo_ms": way.echo.delay_ms} if way.echo else {})
            for way in call.ways
        ],
    }
