"""A call's audio: the tty or sound card that it is on, and the module's switch for it.

The line says what becomes of the call - `prepare` before ATD or ATA, `ordered` after, `hanging_up`, `off` when it is
over - and a switch does then what its device wants done then.
"""

import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from typing import Protocol

import trio

from drivers.errors import CommandError, CommandTimeout, LineBlocked, LineError, LineLost
from drivers.evidence import OneCall
from drivers.models import Switch, When
from drivers.module import Module
from drivers.port import close_tty
from drivers.replies import CallStat
from drivers.sound import need_sound, open_sound
from native import Engine, PcmPort, PcmStats, Port

log = logging.getLogger(__name__)

# Rates that a sound card may have, best first: USB audio of EG25-G may be 16 kHz only, what is soldered to an analog
# module 44.1 or 48 kHz.
CARD_RATES_HZ = (8000, 16000, 48000, 44100)

# SIM7600: between a change of the call's state and AT+CPCMREG=1, without which it is refused; then as its users try.
STEADY_S = 0.1
RETRY_S = 0.3
RETRIES = 6
# Its audio may come back by itself, and the call goes on without.
LATE_RETRY_S = 2
# So long without a byte in either direction: the switch was taken, and nothing came of it.
MUTE_S = 3


class Place(Protocol):
    """Where a call's audio is; its own from `open` to `close`."""

    async def check(self) -> None:
        """It is there, and nobody else has it. Raises: LineLost."""

    async def open(self) -> None:
        """Raises: LineLost."""

    def close(self) -> None: ...

    def attach(self, engine: Engine) -> AbstractAsyncContextManager[Port]:
        """Raises: LineError: it is not open."""


class PcmTty:
    """`open_tty` gives a descriptor which holds nothing of the last call, and is closed by `close_tty`."""

    def __init__(self, open_tty: Callable[[], Awaitable[int]], chunk_bytes: int) -> None:
        self._open_tty = open_tty
        self._chunk_bytes = chunk_bytes
        self._fd: int | None = None

    async def check(self) -> None:
        await self.open()
        self.close()

    async def open(self) -> None:
        if self._fd is None:
            self._fd = await self._open_tty()

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            close_tty(fd)

    @asynccontextmanager
    async def attach(self, engine: Engine) -> AsyncIterator[PcmPort]:
        if self._fd is None:
            raise LineError("no call")
        with closing(engine.pcm(self._fd, chunk_bytes=self._chunk_bytes)) as port:
            yield port


class Card:
    """A sound card of its own, by the name that ALSA gives it. Others may have it while there is no call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open = False

    async def check(self) -> None:
        await need_sound(self._name)

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()
        self._open = True

    def close(self) -> None:
        self._open = False

    @asynccontextmanager
    async def attach(self, engine: Engine) -> AsyncIterator[Port]:
        if not self._open:
            raise LineError("no call")
        async with contextlib.AsyncExitStack() as stack:
            yield await self._play(engine, stack)

    async def _play(self, engine: Engine, stack: contextlib.AsyncExitStack) -> Port:
        why = None
        for rate_hz in CARD_RATES_HZ:
            try:
                return await stack.enter_async_context(open_sound(engine, self._name, rate_hz=rate_hz))
            except LineLost as exc:
                why = why or exc
        # The call may go on without: that is for its owner to say.
        raise LineError(str(why)) from why


class Audio:
    """Of a module whose audio is wired: there is nothing to switch. The base of those that have a switch."""

    # It was, and has not been put away since.
    prepared = False
    # Only a restart brings the module's audio back as it should be.
    degraded = False

    def __init__(self, module: Module, switch: Switch, place: Place, call: OneCall) -> None:
        self._module = module
        self._switch = switch
        self._place = place
        self._call = call

    async def check(self) -> None:
        """The module has voice, and its audio is there, and ours. Raises: LineLost."""
        await self._need_voice()
        try:
            await self._place.check()
        except LineLost as exc:
            raise self._module.port.lose(str(exc), type(exc)) from exc

    async def _need_voice(self) -> None:
        if not self._switch.ability:
            return
        said = await self._voice()
        if said and self._switch.enable and await self._module.attempt(self._switch.enable) is not None:
            said = await self._voice()
        if said:
            kind = LineLost if said.endswith("no answer") else LineBlocked
            raise self._module.port.lose(f"this {self._module.model.noun} reports no voice: {said}", kind)

    async def _voice(self) -> str:
        """Empty if it has, else what it says."""
        question = self._switch.ability
        try:
            lines = await self._module.ask(question)
        except CommandError as exc:
            return str(exc)
        text = " ".join(lines)
        return "" if re.match(self._switch.able, text) else text or f"{question}: OK"

    async def prepare(self) -> None:
        """Before ATD or ATA. Raises: CommandError, as a call without sound is worse than none; LineLost."""
        self.prepared = True
        try:
            await self._place.open()
        except LineLost as exc:
            raise self._module.port.lose(str(exc), type(exc)) from exc

    async def ordered(self) -> None:
        """ATD or ATA was taken. Raises: CommandError, LineLost."""

    async def alone_again(self) -> None:
        """A second call is gone. Raises: LineLost."""

    def moved(self) -> None:
        """The call is in another state, maybe."""

    async def run(self) -> None:
        """As long as the line is up."""

    async def hanging_up(self) -> None:
        """Before the order. Raises: LineLost."""
        if self._switch.off_first:
            await self._module.attempt(*self._switch.off, tries=1)

    async def off(self) -> None:
        """After the call: the next one finds the audio as this one found it. Raises: LineLost."""
        self.let_go()
        self.prepared = False
        await self._module.attempt(*self._switch.off)

    def let_go(self) -> None:
        """Of its place alone."""
        self._place.close()

    @asynccontextmanager
    async def attach(self, engine: Engine) -> AsyncIterator[Port]:
        """Raises: LineError: there is none."""
        async with self._place.attach(engine) as port:
            yield port


class SwitchedBefore(Audio):
    """Quectel."""

    async def prepare(self) -> None:
        await super().prepare()
        try:
            # Also when the switch was left on, by a call that we could not put away: it would keep silent.
            await self._module.attempt(*self._switch.off)
            await self._module.ask(self._switch.on)
        except CommandError:
            await self.off()
            raise


class SwitchedAfter(Audio):
    """Huawei."""

    async def ordered(self) -> None:
        try:
            await self._module.ask(self._switch.on)
        except CommandError as exc:
            over = self._call.stat is None or self._call.is_ending
            # Silence is no refusal, and ends no call.
            if not over and not isinstance(exc.__cause__, CommandTimeout):
                raise
            log.warning("%s: perhaps a call without audio: %s", self._module.name, exc)

    async def alone_again(self) -> None:
        # E1550 mutes the one with the other; said once more, it does no harm.
        await self._module.attempt(self._switch.on, tries=1)


class SwitchedInCall(Audio):
    """SIM7600: as soon as it is taken, so that progress tones are heard where the firmware gives them."""

    def __init__(self, module: Module, switch: Switch, place: Place, call: OneCall) -> None:
        super().__init__(module, switch, place, call)
        self._wanted = False
        self._hint = trio.Event()
        self._stat: CallStat | None = None
        # Since when it is on.
        self._on_since: float | None = None
        # This firmware has taken it before the answer: it should again.
        self._early = False

    async def ordered(self) -> None:
        await trio.lowlevel.checkpoint()
        self._want(True)

    async def hanging_up(self) -> None:
        self._want(False)
        await super().hanging_up()

    async def off(self) -> None:
        self._want(False)
        await super().off()

    def _want(self, wanted: bool) -> None:
        self._wanted = wanted
        self._stir()

    def _stir(self) -> None:
        self._hint.set()
        self._hint = trio.Event()

    def moved(self) -> None:
        if self._call.stat is not self._stat:
            self._stat = self._call.stat
            self._stir()

    async def run(self) -> None:
        while True:
            if self._wanted:
                await self._turn_on()
            else:
                await self._hint.wait()

    async def _turn_on(self) -> None:
        refused, self._on_since = 0, None
        while self._wanted:
            stat = self._call.stat
            await trio.sleep(STEADY_S if not refused else RETRY_S if refused < RETRIES else LATE_RETRY_S)
            if self._call.stat is not stat or not self._wanted:
                continue
            active = stat is CallStat.ACTIVE
            if await self._module.attempt(self._switch.on, tries=1) is not None:
                self._early |= not active
                self._on_since = trio.current_time()
                self._wanted = False
            elif active:
                self._degrade("refused its audio at first")
                refused += 1
                if refused == RETRIES:
                    log.warning("%s: a call without audio: %s is refused", self._module.name, self._switch.on)
            else:
                if self._early:
                    self._degrade("refused its audio at first")
                if self._call.stat is stat and self._wanted:
                    await self._hint.wait()

    @asynccontextmanager
    async def attach(self, engine: Engine) -> AsyncIterator[Port]:
        async with super().attach(engine) as port:
            try:
                yield port
            finally:
                stats, since = port.stats(), self._on_since
                mute = isinstance(stats, PcmStats) and not (stats.received_bytes and stats.sent_bytes)
                if mute and since is not None and trio.current_time() - since > MUTE_S:
                    self._degrade("gave or took no audio")

    def _degrade(self, why: str) -> None:
        if self._switch.degrades and not self.degraded:
            log.warning("%s: the module %s: it will be restarted when there is no call", self._module.name, why)
            self.degraded = True


KINDS: Mapping[When, type[Audio]] = {
    When.WIRED: Audio,
    When.BEFORE_ORDER: SwitchedBefore,
    When.AFTER_ORDER: SwitchedAfter,
    When.IN_CALL: SwitchedInCall,
}
