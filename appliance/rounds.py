"""The nightly round: lines are examined by themselves, once a day, when their calls let them."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Protocol

import structlog
import trio

from appliance.database import StoreError
from appliance.diagnosis import Outcome
from appliance.doctor import Doctor
from appliance.webhook import CLOCK_IS_SET_AFTER

log = structlog.get_logger(__name__)

LOOK_S = 30
# A box that was off at the time, or a line in use: until so much later.
WINDOW = timedelta(hours=2)
AGAIN_S = 600


class Plan(Protocol):
    """As configured: without `at` there is no round; without `lines` it is of all."""

    @property
    def at(self) -> time | None: ...
    @property
    def lines(self) -> Sequence[str]: ...
    @property
    def pairs(self) -> Sequence[tuple[str, str]]: ...


class Diary(Protocol):
    """When the last round was, over restarts. Errors: StoreError."""

    async def last_round(self) -> date | None: ...
    async def round_done(self, day: date) -> None: ...


def begun(now: datetime, at: time) -> datetime | None:
    """When the window began in which `now` is; None: it is in none. Both are of the box's time zone."""
    for days_ago in (0, 1):
        start = datetime.combine(now.date() - timedelta(days=days_ago), at, now.tzinfo)
        if start <= now < start + WINDOW:
            return start
    return None


class Rounds:
    def __init__(self, doctor: Doctor, plan: Plan, diary: Diary, *, now: Callable[[], datetime]) -> None:
        self._doctor = doctor
        self._plan = plan
        self._diary = diary
        self._now = now

    async def run(self) -> None:
        """Never returns, but where no time is set."""
        if self._plan.at is None:
            return
        while True:
            now = self._now().astimezone()
            start = begun(now, self._plan.at) if now.timestamp() > CLOCK_IS_SET_AFTER else None
            try:
                if start is not None and await self._diary.last_round() != start.date():
                    await self._go(start + WINDOW)
                    await self._diary.round_done(start.date())
            except StoreError as exc:
                log.error("the round of lines can't be written down", error=str(exc))
                await trio.sleep(AGAIN_S)
            await trio.sleep(LOOK_S)

    async def _go(self, until: datetime) -> None:
        lines, pairs = self._plan.lines, self._plan.pairs
        log.info("lines are examined", lines=list(lines) or "all")
        while True:
            examination = await self._doctor.examine(lines, pairs=pairs)
            for finding in examination.findings:
                if finding.faults:
                    log.warning("line is ill", line=finding.line, says=finding.says)
            pairs = [(call.caller, call.callee) for call in examination.calls if call.outcome is Outcome.NOT_TESTED]
            if not pairs or self._now() + timedelta(seconds=AGAIN_S) >= until:
                return
            lines = sorted({name for pair in pairs for name in pair})
            await trio.sleep(AGAIN_S)
