"""The SIM in a module: that it is there, and its PIN.

Three wrong PINs and the SIM asks for its PUK, which only its owner has. So a PIN is sent once, never when the module
tells that the SIM takes only one more (some tell nothing), and never again when it was not accepted: not in the next
second, nor after a restart.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from drivers.errors import CommandError, LineBlocked
from drivers.module import Module
from drivers.parsers import parse
from drivers.replies import PinTries, SimState

log = logging.getLogger(__name__)

# A SIM is busy for some seconds after power-on, and after its PIN.
SIM_WAIT_S = 20
SIM_RETRY_S = 1
# What a SIM takes (31.101 9.5.1), and as many as it has left when the last one was right.
ALL_TRIES = 3

_PUK_WANTED = "the SIM is blocked and asks for its PUK: unblock it in a phone"
# Answers to AT+CPIN? that a person can do something about (27.007 8.3, 9.2.1). Any other may pass.
_TROUBLE = {
    "SIM PUK": _PUK_WANTED,
    "+CME ERROR: 12": _PUK_WANTED,
    "+CME ERROR: 10": "no SIM in the module",
    "+CME ERROR: 13": "the SIM does not work",
    "+CME ERROR: 15": "the module does not take this SIM",
}
_PIN_WANTED = ("SIM PIN", "+CME ERROR: 11")


async def _nowhere(doubted: bool) -> None:
    await trio.lowlevel.checkpoint()


@dataclass
class Pin:
    """A line's PIN over time. Whoever opens the line has one as long as the PIN is the same, and keeps `doubted` over
    restarts: `keep` returns when it is kept, or raises OSError.
    """

    code: str = field(repr=False)
    # It was sent, and has not been seen to be right.
    doubted: bool = False
    keep: Callable[[bool], Awaitable[None]] = _nowhere


class Sim:
    def __init__(self, module: Module, pin: Pin | None) -> None:
        self._module = module
        self._pin = pin

    async def need(self) -> None:
        """Waits for it, and enters its PIN. Raises: LineLost, with a sentence for people."""
        state, entered = "no answer", False
        with trio.move_on_after(SIM_WAIT_S) as waiting:
            while state != "READY":
                state = await self._state()
                if state in _TROUBLE:
                    raise self._blocked(_TROUBLE[state])
                if state in _PIN_WANTED and not entered:
                    # Takes what it takes.
                    waiting.deadline = math.inf
                    await self._enter()
                    entered = True
                    waiting.deadline = trio.current_time() + SIM_WAIT_S
                elif state != "READY":
                    await trio.sleep(SIM_RETRY_S)
        if state != "READY":
            raise self._module.port.lose(f"the SIM is not ready: {state}")
        if entered and self._pin is not None:
            await self._doubt(self._pin, False)

    async def _state(self) -> str:
        try:
            replies = [parse(line) for line in await self._module.ask("AT+CPIN?")]
        except CommandError as exc:
            return exc.result
        return next((reply.code for reply in replies if isinstance(reply, SimState)), "no answer")

    async def _enter(self) -> None:
        pin = self._pin
        if pin is None:
            raise self._blocked(
                "the SIM asks for its PIN: switch the PIN off in a phone, or write it in the configuration"
            )
        left = await self._tries()
        if left is not None and left < 2:
            raise self._blocked("the SIM takes one more PIN before it is blocked: enter it in a phone")
        # With all its tries left, none can have been wrong: we were cut off before it was sent.
        if pin.doubted and left != ALL_TRIES:
            raise self._blocked(
                "the SIM did not accept the PIN of the configuration, and is not sent it again: mend it"
            )
        await self._doubt(pin, True)
        try:
            # Once only: silence is no refusal, and a second one may be.
            await self._module.ask(f'AT+CPIN="{pin.code}"', tries=1)
        except CommandError as exc:
            if await self._state() in _PIN_WANTED:
                raise self._blocked(f"the SIM does not accept the PIN of the configuration ({exc.result})") from exc

    async def _doubt(self, pin: Pin, doubted: bool) -> None:
        try:
            await pin.keep(doubted)
        except OSError as exc:
            if doubted:
                raise self._module.port.lose(f"the SIM is sent no PIN, as that could not be noted: {exc}") from exc
            log.warning("%s: that the PIN is right could not be noted: %s", self._module.name, exc)
        pin.doubted = doubted

    async def _tries(self) -> int | None:
        """How many are left; None where the module does not say."""
        for question in self._module.model.pin_tries:
            for line in await self._module.attempt(question, tries=1) or ():
                if isinstance(reply := parse(line), PinTries):
                    return reply.left
        return None

    def _blocked(self, why: str) -> Exception:
        return self._module.port.lose(why, LineBlocked)
