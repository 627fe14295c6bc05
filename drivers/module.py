"""What is asked of a GSM or LTE module, by its model's rules: to come up, who it is, which calls it has, its sound."""

import contextlib
import logging
from collections.abc import Awaitable, Callable

import trio

from drivers.errors import CommandError, CommandTimeout, LineBlocked, LineLost
from drivers.line import Identity
from drivers.models import Model
from drivers.port import Port, close_tty, public
from drivers.replies import CallReport, CallStat, SimState, Unreadable, bare, iccid, parse

log = logging.getLogger(__name__)

# A SIM is busy for some seconds after power-on.
SIM_WAIT_S = 20
SIM_RETRY_S = 1
# The network confirms a release within a second or two, and a slow one in six; without it the module gives up after
# 30 s (24.008 T308), which no caller waits for.
HANG_UP_LIMIT_S = 10
HANG_UP_RETRY_S = 0.5
# No list of calls came, or none that makes sense: two or three are silent for 5 s each, each with a resynchronisation.
UNLISTED_LIMIT_S = 15
# A SIM that is busy after power-on refuses what it takes a minute later; who refuses this often, means it.
SET_UP_TRIES = 5

_PIN_WANTED = "the SIM asks for its PIN: switch the PIN off in a phone"
_PUK_WANTED = "the SIM is blocked and asks for its PUK: unblock it in a phone"
# Answers to AT+CPIN? that a person can do something about (27.007 8.3, 9.2.1). Any other may pass.
_SIM_TROUBLE = {
    "SIM PIN": _PIN_WANTED,
    "+CME ERROR: 11": _PIN_WANTED,
    "SIM PUK": _PUK_WANTED,
    "+CME ERROR: 12": _PUK_WANTED,
    "+CME ERROR: 10": "no SIM in the module",
    "+CME ERROR: 13": "the SIM does not work",
    "+CME ERROR: 15": "the module does not take this SIM",
}


class Module:
    """A port and a model. A command that stays silent is asked again, where asking twice does no harm."""

    def __init__(self, name: str, model: Model, port: Port) -> None:
        self.name = name
        self.model = model
        self.port = port
        self.retries = 0
        # Commands of the model's `set_up` that are not taken yet, and how often they are still tried.
        self.unset = dict.fromkeys(model.set_up, SET_UP_TRIES)
        # Since then lists of calls did not come, or could not be read.
        self.unlisted_since: float | None = None

    async def ask(self, text: str, *, tries: int = 2) -> list[str]:
        """Raises: CommandError, also for silence; LineLost."""
        while True:
            tries -= 1
            try:
                return await self.port.command(text, limit_s=self.model.limit_s(text))
            except CommandTimeout as exc:
                log.debug("%s: %s", self.name, exc)
                if not tries:
                    raise CommandError(public(text), "no answer") from exc
                self.retries += 1

    async def attempt(self, text: str, *, tries: int = 2) -> list[str] | None:
        """None when it was refused: one can live without it. Raises: LineLost."""
        try:
            return await self.ask(text, tries=tries)
        except CommandError as exc:
            log.debug("%s: %s", self.name, exc)
            return None

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
                await self.attempt(self.model.hang_up, tries=1)
            reports = await self.calls()
            if reports is not None and not any(is_up(report) or (ringing and is_there(report)) for report in reports):
                return
            if trio.current_time() >= give_up_at:
                raise self.port.lose("a call could not be hung up")
            if unseen:
                await trio.sleep(HANG_UP_RETRY_S)
            unseen = True

    async def set_up(self, command: str) -> None:
        """Raises: LineLost."""
        self.unset[command] -= 1
        if await self.attempt(command, tries=1) is not None:
            del self.unset[command]
        elif not self.unset[command]:
            del self.unset[command]
            log.info("%s: the module refuses %s", self.name, command)

    async def start(self) -> Identity:
        """From whatever state it was left in. Raises: LineLost, with a sentence for people."""
        await self.port.synchronise()
        # Numbers for errors; and on the air, should it have been put in flight mode.
        await self.attempt("AT+CMEE=1")
        await self.attempt("AT+CFUN=1")
        if any(is_up(report) for report in await self.calls() or ()):
            # Ours, from before a crash: it costs money, and the PCM cannot be set in a call.
            log.warning("%s: hanging up a call that nobody has", self.name)
            await self.drop_calls(ringing=False)
        await self.need_sim()
        await self._need_voice()
        for command in self.model.set_up:
            await self.set_up(command)
        return await self._identify()

    async def _identify(self) -> Identity:
        model, firmware, imei = [bare(await self.attempt(f"AT+{what}") or []) for what in ("CGMM", "CGMR", "CGSN")]
        return Identity(
            model=model,
            firmware=firmware,
            imei=imei if imei.isdecimal() else "",
            iccid=iccid(await self.attempt(self.model.iccid) or []),
            operator="",
        )

    async def need_sim(self) -> None:
        """Waits for it. Never tries a PIN: three wrong ones block the SIM. Raises: LineLost."""
        state = "no answer"
        with trio.move_on_after(SIM_WAIT_S):
            while state != "READY":
                state = await self._sim_state()
                if state in _SIM_TROUBLE:
                    raise self.port.lose(_SIM_TROUBLE[state], LineBlocked)
                if state != "READY":
                    await trio.sleep(SIM_RETRY_S)
        if state != "READY":
            raise self.port.lose(f"the SIM is not ready: {state}")

    async def _sim_state(self) -> str:
        try:
            replies = [parse(line) for line in await self.ask("AT+CPIN?")]
        except CommandError as exc:
            return exc.result
        return next((reply.code for reply in replies if isinstance(reply, SimState)), "no answer")

    async def _need_voice(self) -> None:
        """Data-only firmware refuses to switch its PCM on and off alike."""
        if await self.attempt(self.model.audio_off) is None:
            with contextlib.suppress(CommandError):
                await self.ask(self.model.audio_on)
                await self.attempt(self.model.audio_off)
                return
            raise self.port.lose("the module's firmware has no voice", LineBlocked)


class AudioPath:
    """A call's PCM tty, and the module's switch for it. `fd` is None unless both are on."""

    def __init__(self, module: Module, open_pcm: Callable[[], Awaitable[int]]) -> None:
        self.fd: int | None = None
        self._module = module
        self._open_pcm = open_pcm

    async def check(self) -> None:
        """The tty is there, and ours, and holds nothing of the last call. Raises: LineLost."""
        self.fd = await self._open()
        self.let_go()

    async def on(self) -> None:
        """Before ATD or ATA. Raises: CommandError, as a call without sound is worse than none; LineLost."""
        model = self._module.model
        try:
            if self.fd is None:
                self.fd = await self._open()
            # Also when the switch was left on, by a call that we could not put away: EC25 would keep silent.
            await self._module.attempt(model.audio_off)
            await self._module.ask(model.audio_on)
        except CommandError:
            await self.off()
            raise

    async def off(self) -> None:
        """After the call, or the next one is silent (EC25). Raises: LineLost."""
        self.let_go()
        await self._module.attempt(self._module.model.audio_off)

    def let_go(self) -> None:
        """Of the tty alone."""
        fd, self.fd = self.fd, None
        if fd is not None:
            close_tty(fd)

    async def _open(self) -> int:
        try:
            return await self._open_pcm()
        except LineLost as exc:
            raise self._module.port.lose(str(exc), type(exc)) from exc


def is_up(report: CallReport) -> bool:
    """A voice call that somebody placed or answered."""
    return report.voice and report.stat not in (CallStat.INCOMING, CallStat.WAITING, CallStat.RELEASED)


def is_there(report: CallReport) -> bool:
    return report.voice and report.stat is not CallStat.RELEASED
