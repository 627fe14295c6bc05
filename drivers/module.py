"""What is asked of a GSM or LTE module, by its model's rules: to come up, who it is, which calls it has."""

import logging

import trio

from drivers.asking import Asking
from drivers.line import Identity
from drivers.models import Model
from drivers.parsers import parse
from drivers.port import Port
from drivers.replies import CallReport, CallStat, Unreadable, bare, iccid

log = logging.getLogger(__name__)

# The network confirms a release within a second or two, and a slow one in six; without it the module gives up after
# 30 s (24.008 T308), which no caller waits for.
HANG_UP_LIMIT_S = 10
HANG_UP_RETRY_S = 0.5
# No list of calls came, or none that makes sense: two or three are silent for 5 s each, each with a resynchronisation.
UNLISTED_LIMIT_S = 15
# A SIM that is busy after power-on refuses what it takes a minute later; who refuses this often, means it.
SET_UP_TRIES = 5


class Module(Asking):
    """Some models want a rest behind a command."""

    def __init__(self, name: str, model: Model, port: Port) -> None:
        super().__init__(name, port, model.limit_s)
        self.model = model
        # Commands of the model's set-up that are not taken yet, and how often they are still tried.
        self.unset = {command: SET_UP_TRIES for command in (*model.set_up, model.hears_keys) if command}
        # The module tells the far side's keys, for as long as it is up.
        self.hears_keys = False
        # Since then lists of calls did not come, or could not be read.
        self.unlisted_since: float | None = None
        self._rests_until = 0.0

    async def _command(self, text: str) -> list[str]:
        await trio.sleep_until(self._rests_until)
        try:
            return await super()._command(text)
        finally:
            if pause_s := self.model.pause_s(text):
                self._rests_until = trio.current_time() + pause_s

    async def calls(self) -> list[CallReport] | None:
        """All that AT+CLCC lists; None when that cannot be known now. Raises: LineLost."""
        asked_at = trio.current_time()
        reports = await self._listed()
        if reports is not None:
            self.unlisted_since = None
        elif self.unlisted_since is None:
            self.unlisted_since = asked_at
            log.info("%s: no readable list of calls", self.name)
        return reports

    async def _listed(self) -> list[CallReport] | None:
        lines = await self.attempt("AT+CLCC", tries=1)
        replies = [parse(line) for line in lines or ()]
        if lines is None or any(isinstance(reply, Unreadable) for reply in replies):
            return None
        return [reply for reply in replies if isinstance(reply, CallReport)]

    async def drop_calls(self, *, ringing: bool, unseen: bool = False) -> None:
        """Until none is listed; of those that ring, if `ringing` says so. `unseen`: there is one, listed or not.

        Raises:
            LineLost: the module does not let go, or does not say.
        """
        give_up_at = trio.current_time() + HANG_UP_LIMIT_S
        while True:
            if unseen:
                await self.attempt(*self.model.hang_up, tries=1)
            reports = await self.calls()
            if reports is not None and not any(is_up(report) or (ringing and is_there(report)) for report in reports):
                return
            if trio.current_time() >= give_up_at:
                raise self.port.lose("a call could not be hung up")
            if unseen:
                await trio.sleep(HANG_UP_RETRY_S)
            unseen = True

    async def wake(self) -> None:
        """From whatever state it was left in. Raises: LineLost."""
        await self.port.synchronise()
        # Numbers for errors; and on the air, should it have been put in flight mode.
        await self.attempt("AT+CMEE=1")
        await self.attempt("AT+CFUN=1")
        if any(is_up(report) for report in await self.calls() or ()):
            # Ours, from before a crash: it costs money, and most modules do not set their audio up in a call.
            log.warning("%s: hanging up a call that nobody has", self.name)
            await self.drop_calls(ringing=False)

    async def set_up(self, command: str) -> None:
        """Raises: LineLost."""
        self.unset[command] -= 1
        if await self.attempt(command, tries=1) is not None:
            del self.unset[command]
            self.hears_keys |= command == self.model.hears_keys
        elif not self.unset[command]:
            del self.unset[command]
            log.info("%s: the module refuses %s", self.name, command)

    async def identify(self) -> Identity:
        """Raises: LineLost."""
        model, firmware = [bare(await self.attempt(f"AT+{what}") or []) for what in ("CGMM", "CGMR")]
        # The one answer that can be told from a word which some firmware throws in at boot.
        numbers = [bare([line]) for line in await self.attempt("AT+CGSN") or []]
        return Identity(
            model=model,
            firmware=firmware,
            imei=next((number for number in numbers if number.isdecimal()), ""),
            iccid=iccid(await self.attempt(*self.model.iccid) or []),
            operator="",
        )


def is_up(report: CallReport) -> bool:
    """A voice call that somebody placed or answered."""
    return is_there(report) and report.stat not in (CallStat.INCOMING, CallStat.WAITING)


def is_there(report: CallReport) -> bool:
    return report.voice and report.stat is not CallStat.RELEASED
