"""`branchline doctor`: lines examined - what is known of them, what is around them, a test call - and told in words."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog
import trio

from appliance.ailments import Finding, by_weight
from appliance.database import StoreError
from appliance.diagnosis import NO_HISTORY, History, Outcome, TestCall, of_calls, of_line
from appliance.exchange import is_up
from appliance.health import line_report
from appliance.surroundings import look_around
from appliance.testcall import TestCalls
from appliance.trunk import Trunk
from drivers.line import LineState

log = structlog.get_logger(__name__)

# What a service that has just begun, or no service at all, gives a line to come up: a SIM takes 20 s, its network more.
UP_LIMIT_S = 45
SEARCH_LIMIT_S = 20


class Casebook(Protocol):
    """What is remembered of test calls and of lines' health. Errors: StoreError."""

    async def history(self) -> History: ...

    async def write(self, findings: Sequence[Finding], calls: Sequence[TestCall], at: datetime) -> None: ...


@dataclass(frozen=True)
class Examination:
    """`reports` are `health.line_report`'s, by line."""

    findings: Sequence[Finding]
    calls: Sequence[TestCall]
    reports: Mapping[str, Mapping[str, Any]]

    @property
    def ok(self) -> bool:
        return not any(each.faults for each in self.findings)


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
            history = await self._history()
            examination = await self._conclude(wanted, made, history)
            await self._write(examination)
        return examination

    async def _history(self) -> History:
        try:
            return await self._casebook.history() if self._casebook is not None else NO_HISTORY
        except StoreError as exc:
            log.error("the history of lines can't be read", error=str(exc))
            return NO_HISTORY

    async def _write(self, examination: Examination) -> None:
        if self._casebook is None:
            return
        try:
            await self._casebook.write(examination.findings, examination.calls, self._now())
        except StoreError as exc:
            log.error("an examination is not written down, and nobody is told of it", error=str(exc))

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

    async def _conclude(self, wanted: Sequence[Trunk], calls: Sequence[TestCall], history: History) -> Examination:
        heard = of_calls(calls, history)
        tested = {name for call in calls if call.outcome is not Outcome.NOT_TESTED for name in _names(call)}
        worn = {name for call in calls for name in call.worn}
        findings, reports = [], {}
        for trunk in wanted:
            reports[trunk.name] = report = line_report(trunk)
            ttys = [path for path in (report["at"], report["sound"]) if path.startswith("/")]
            around = await trio.to_thread.run_sync(partial(look_around, ttys, sysfs=self._sysfs))
            # Of a module that is away to be restarted for what its call did to it, that says it all.
            alone = of_line(report, around) if is_up(trunk) or trunk.name not in worn else ()
            # A line may be in several pairs.
            others = [
                each for each in heard.get(trunk.name, ()) if each.code != "not-tested" or trunk.name not in tested
            ]
            verdicts = by_weight([*alone, *others])
            findings.append(Finding(trunk.name, trunk.number, verdicts, trunk.name in tested))
        return Examination(findings, calls, reports)


def partners(wanted: Sequence[Trunk], trunks: Sequence[Trunk]) -> list[tuple[Trunk, Trunk]]:
    """Each wanted line that can calls the next one that can: all are caller and callee, where all are wanted. Who is in
    use, or has nobody else, is among the pairs, too: that its call can't be made is to be told, and tried again.
    """
    idle = [trunk for trunk in trunks if trunk.state is LineState.IDLE]
    up = [trunk for trunk in trunks if trunk.state in (LineState.IDLE, LineState.IN_USE)]
    found = []
    for trunk in wanted:
        among = idle if trunk in idle and len(idle) > 1 else up
        if trunk in among and len(among) > 1:
            found.append((trunk, among[(among.index(trunk) + 1) % len(among)]))
    return found


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
            {
                **examination.reports[finding.line],
                "ok": not finding.faults,
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
