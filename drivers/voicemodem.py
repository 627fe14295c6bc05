"""What is asked of a voice modem (ITU-T V.253), by its model's rules: to come up, go off-hook, give its sound, hang up.

Each step is verified, as modems swallow orders: off-hook by a bell that is silent and sound that flows, the stream's
end by its `<DLE><ETX>`, on-hook by the class it is left in. What is not obeyed is followed by a drop of DTR.
"""

import contextlib
import logging
import re

import trio

from drivers.asking import Asking
from drivers.countries import AnalogLine
from drivers.errors import CommandError, LineBlocked, LineLost
from drivers.line import Identity
from drivers.port import Port
from drivers.replies import bare
from drivers.voicemodels import DUPLEX_END, RATE_HZ, RECEIVE_END, TRANSMIT_END, VoiceModel, offers
from drivers.voicetty import ENGINE_LEAVES_S, VoiceTty
from native import Engine, VoicePort

log = logging.getLogger(__name__)

# They undo the modes in which no OK is ever seen (V.250 6.2.4-6.2.6), and ask what every such modem answers.
PROBES = ("ATE0V1Q0+FCLASS?", "ATE0V1Q0+FCLASS=?", "AT+FCLASS?")
# Off-hook is acknowledged late or not at all while the bell rings (USR5637): asked for again, and by another word.
OFF_HOOK = ("AT+VLS=1", "AT+VLS=1", "ATA")
# A ring that was being told when we went off-hook; and after that, sound flows and none is.
BELL_ENDS_S, CONFIRM_S = 0.2, 0.4
# What is to be played is played out before the stream ends: some hundred ms.
LEAVE_LIMIT_S = 1.0
# The canceller's tail: 10 to 60 ms of a USB modem's own, 12 ms of the line, and what waits to be sent in lockstep.
ECHO_MS = 128
# Shorter on-hook is a recall to the exchange, and not the end of the call; 1 s is the longest that is one.
ON_HOOK_S = 1.5


class VoiceModem(Asking):
    """Its tty is the dialogue's and, in a call, the engine's by turns."""

    def __init__(self, name: str, model: VoiceModel, line: AnalogLine, port: Port, tty: VoiceTty) -> None:
        super().__init__(name, port, model.limit_s)
        self.model = model
        self.line = line
        self.tty = tty
        self.format = model.formats[-1]
        # On-hook and in class 0, as far as was verified.
        self.at_rest = True
        # Told by whoever takes the news.
        self.rings = 0
        # The engine's end, while it has the stream; and of a stream that has ended, which may begin again.
        self.lent: VoicePort | None = None
        self._stranded: VoicePort | None = None
        self._on_hook_since = -ON_HOOK_S

    # --- to come up ---

    async def start(self) -> Identity:
        """From whatever state it was left in, in a stream too. Raises: LineLost, with a sentence for people."""
        await self._send(TRANSMIT_END + DUPLEX_END + RECEIVE_END)
        await self.port.synchronise()
        await self.attempt("ATH")
        classes = await self.attempt("AT+FCLASS=?")
        if classes is not None and not _has_voice(classes):
            said = bare(classes)
            raise self.port.lose(f"this modem has no voice (class 8): AT+FCLASS=? says {said}", LineBlocked)
        model, firmware = [bare(await self.attempt(question) or []) for question in self.model.who]
        await self.set_up()
        return Identity(model=model, firmware=firmware, imei="", iccid="", operator="")

    async def set_up(self) -> None:
        """Raises: LineLost."""
        country = self.line.country
        # First, as it sets what the others' defaults are.
        commands = [f"AT+GCI={country.t35}"] if country.t35 else []
        commands += self.model.set_up
        commands += ["ATX4" if self.line.dial_tone else "ATX3", f"ATS29={country.flash_ms // 10}"]
        for command in commands:
            await self._set(command)
        if await self.attempt("AT+FCLASS=8") is None:
            raise self.port.lose("this modem has no voice: it refuses AT+FCLASS=8", LineBlocked)
        await self._choose_format()
        for command in self.model.set_up_voice:
            await self._set(command)
        await self.attempt("AT+FCLASS=0")

    async def _set(self, command: str) -> None:
        if await self.attempt(command) is None:
            log.info("%s: the modem refuses %s", self.name, command)

    async def _choose_format(self) -> None:
        """By name: the numbers differ from modem to modem."""
        there = offers(await self.attempt("AT+VSM=?") or [])
        wanted = [format for format in self.model.formats if format in there]
        wanted += [format for format in there if format not in wanted]
        for format in wanted:
            # Two arguments or four: firmware of the same model differs.
            for order in (self.model.choose, "AT+VSM={},{},0,0", "AT+VSM={},{}"):
                if await self.attempt(order.format(there[format], RATE_HZ), tries=1) is not None:
                    self.format = format
                    log.debug("%s: %s", self.name, format.name)
                    return
        raise self.port.lose("this modem has no sound that we know: see AT+VSM=?", LineBlocked)

    # --- off-hook ---

    async def answer(self) -> None:
        """Off-hook, and in the stream. Raises: CommandError: it will not; LineLost."""
        await self._leave_rest()
        refusal = CommandError(OFF_HOOK[0], "still on-hook")
        for order in OFF_HOOK:
            try:
                await self.ask(order, tries=1)
                await trio.sleep(BELL_ENDS_S)
                rings = self.rings
                await self._begin_stream()
                await trio.sleep(CONFIRM_S)
            except CommandError as exc:
                refusal = exc
                continue
            if self.rings == rings and self.tty.in_stream and self.tty.heard_bytes:
                return
            log.info("%s: the bell rings on after %s", self.name, order)
            if not await self.quit_stream():
                break
        raise refusal

    async def dial(self, number: str) -> None:
        """Returns in the stream, with all digits sent. Raises: CommandError: NO DIALTONE, and others; LineLost."""
        await trio.sleep_until(self._on_hook_since + ON_HOOK_S)
        await self._leave_rest()
        # Not on to what the modem takes for an answer: that is guessed, and nothing is heard until then.
        await self.ask(f"ATDT{self.line.country.dialable(number)};", tries=1)
        await self._begin_stream()

    async def _leave_rest(self) -> None:
        if not self.at_rest:
            await self.hang_up()
        self.at_rest = False
        await self.ask("AT+FCLASS=8")

    async def _begin_stream(self) -> None:
        with self.tty.stream_wanted():
            await self.ask("AT+VTR", tries=1)

    def lend(self, engine: Engine) -> VoicePort:
        """The stream, to the engine."""
        port = engine.voice(self.tty.fd, self.format, early=self.tty.lend())
        port.cancel_echo(ECHO_MS)
        port.detect_tones(self.line.country.code)
        if not self.model.keys:
            port.detect_dtmf(True)
        self.lent = port
        return port

    def ended(self, port: VoicePort) -> None:
        """The engine has read the stream's end."""
        if port is self.lent:
            self.lent, self._stranded = None, port
            self.tty.take_back(port.beyond())

    def take_back(self) -> None:
        """The stream, if the engine has it."""
        port, self.lent, self._stranded = self.lent, None, None
        if port is not None:
            port.close()
            self.tty.take_back(None)

    async def rejoin(self) -> None:
        """Off-hook, after a stream that has ended. Raises: CommandError; LineLost."""
        await self._begin_stream()
        port, self._stranded = self._stranded, None
        if port is not None:
            port.resume(self.tty.lend())
            self.lent = port

    async def flash(self) -> None:
        """The exchange's attention, in a call. Raises: CommandError: the modem did not, or has lost the call."""
        if not await self.quit_stream():
            raise CommandError("AT+VTS=!", "the stream goes on")
        try:
            await self.ask("AT+VTS=!", tries=1)
        finally:
            await self.rejoin()

    # --- on-hook ---

    async def quit_stream(self) -> bool:
        """Whether it is left: the modem has said so. Raises: LineLost."""
        if not self.tty.in_stream:
            return await self._has_left()
        if (port := self.lent) is not None:
            with contextlib.suppress(OSError):
                port.leave(self.model.leave[0])
                if await self._has_left():
                    return True
            self.take_back()
        for sequence in self.model.leave:
            await self._send(sequence)
            if await self._has_left():
                return True
        return False

    async def _send(self, sequence: bytes) -> None:
        try:
            await self.tty.leave(sequence)
        except LineLost as exc:
            raise self.port.lose(str(exc)) from exc

    async def _has_left(self) -> bool:
        with trio.move_on_after(LEAVE_LIMIT_S):
            await self.tty.words_only.wait()
        if not self.tty.in_stream:
            self.tty.waive_result()
        return not self.tty.in_stream

    async def hang_up(self, *, surely: bool = False) -> None:
        """On-hook and in class 0, verified; by its DTR if it does not listen, or `surely`. Raises: LineLost."""
        if not await self.quit_stream():
            log.warning("%s: the modem does not leave its stream", self.name)
        if self.tty.in_stream or not await self._on_hook() or surely:
            await self._escape()
        self.at_rest, self._on_hook_since = True, trio.current_time()

    async def _on_hook(self) -> bool:
        if await self.attempt("AT+VLS=0") is None and await self.attempt("ATH") is None:
            return False
        await self.attempt("AT+FCLASS=0")
        return bare(await self.attempt("AT+FCLASS?") or []) == "0"

    async def _escape(self) -> None:
        self.take_back()
        await trio.sleep(ENGINE_LEAVES_S)
        log.warning("%s: dropping DTR", self.name)
        try:
            await self.tty.escape()
        except LineLost as exc:
            raise self.port.lose(str(exc)) from exc
        await self.port.synchronise()
        await self.attempt("ATH")
        # Also what it had stored; then all is as at the beginning.
        await self.attempt("ATZ")
        await self.port.synchronise()
        await self.set_up()


def _has_voice(lines: list[str]) -> bool:
    """`0,1,8`, `(0,1,1.0,2,8)`, `+FCLASS: (0-2,8)`."""
    return "8" in re.findall(r"[\d.]+", " ".join(lines))
