r"""A simulated voice modem (ITU-T V.253), as its host's one tty sees it: bytes in, bytes and orders out.

Sans-IO: nothing here waits, and time is an argument. Who runs it sends each `Say` to the host, does what the other
effects say on the line, tells what the line does, and calls `elapse` when `deadline` has come:

    modem = VoiceModem(VOICE_MODELS["cx93010"])
    modem.receive(b"ATE0;+FCLASS=8;+VLS=1\r", now=0.0)      # [Say(b"ATE0..."), Hook(True), Say(b"\r\nOK\r\n")]

`hil.analog.AnalogLine` runs one on a byte stream and on a line of `hil.exchange`. What goes wrong is set on
`modem.faults`.
"""

from collections.abc import Generator
from dataclasses import dataclass

from hil.commandline import Command, Final, Kind, Refused, body, framed_info, framed_result, next_command
from hil.daa import Daa, Script, Wait
from hil.exchange import Identify
from hil.voiceboard import Drop, Effect, Hook, Play, PlayOut, VoiceFaults
from hil.voicecommands import BASIC_DEFAULTS, answering, perform
from hil.voicemodels import VoiceModel
from hil.voicestream import Forget, Mode, Over, Sound
from native import ToneKind

LINE_BYTES = 512
# A byte typed into these ends them, and hangs up (V.250 6.3.1, 6.3.5).
ABORTABLE = frozenset({"D", "A"})


@dataclass
class _Running:
    """A script, and what is left of its command line."""

    script: Script
    asked: Command
    infos: bytes
    rest: str
    wait: Wait | None = None


class VoiceModem:
    def __init__(self, model: VoiceModel, faults: VoiceFaults | None = None) -> None:
        self.faults = faults or VoiceFaults()
        self.daa = Daa(model, self.faults)
        self.daa.resume = self._resume
        self.daa.answer_by_itself = self._answer_by_itself
        self._typed = bytearray()
        # How much of it was echoed.
        self._echoed = 0
        self._running: _Running | None = None
        # +VTX was ended, and plays what it has.
        self._plays_out = False

    @property
    def deadline(self) -> float:
        """When `elapse` is due; infinite when nothing is."""
        return self.daa.agenda.deadline

    @property
    def model(self) -> VoiceModel:
        return self.daa.model

    # --- from the host ---

    def receive(self, data: bytes, now: float) -> list[Effect]:
        daa = self.daa
        daa.now = now
        if self.faults.deaf or not data:
            return []
        daa.host_speaks()
        if self._running and self._running.asked.name in ABORTABLE:
            # The byte that aborts is no part of a command.
            data = data[1:]
            self._abort(self._running)
        self._typed += data
        self._work()
        return self._settled()

    def hung_up(self, now: float) -> list[Effect]:
        """DTR fell: with AT&D2, and so at power-on, the line is left, whatever goes on."""
        daa = self.daa
        daa.now = now
        if self.faults.wedged or daa.setting("&D", BASIC_DEFAULTS["&D"]) in ("0", "1"):
            return []
        self._forget()
        daa.hang_up(forced=True)
        daa.end_stream()
        return self._settled()

    # --- from the world ---

    def elapse(self, now: float) -> list[Effect]:
        self.daa.now = now
        self.daa.agenda.run(now)
        return self._settled()

    def power_on(self, now: float) -> list[Effect]:
        self.daa.now = now
        self._forget()
        self.daa.power_on()
        return self._settled()

    def power_off(self) -> list[Effect]:
        """The relay falls."""
        held = self.daa.off_hook
        self._forget()
        self.daa.power_on()
        self.daa.effects.clear()
        return [Hook(False)] if held else []

    # --- from the line ---

    def ring(self, on: bool, now: float) -> list[Effect]:
        self.daa.now = now
        self.daa.ring(on)
        return self._settled()

    def identified(self, message: Identify, now: float) -> list[Effect]:
        """A caller-id message begins on the line."""
        self.daa.now = now
        self.daa.identified(message)
        return self._settled()

    def tone(self, kind: ToneKind | None, country: str, now: float) -> list[Effect]:
        """The exchange sends another tone of this country, or none."""
        self.daa.now = now
        self.daa.tone(kind, country)
        return self._settled()

    def current(self, on: bool, now: float) -> list[Effect]:
        self.daa.now = now
        self.daa.current(on)
        return self._settled()

    def reversed(self, now: float) -> list[Effect]:
        self.daa.now = now
        self.daa.reversed()
        return self._settled()

    def key_heard(self, key: str, now: float) -> list[Effect]:
        self.daa.now = now
        self.daa.key_heard(key)
        return self._settled()

    # --- from the stream's sound ---

    def heard(self, data: bytes, now: float) -> list[Effect]:
        """Shielded sound from the line, for the host."""
        self.daa.now = now
        if self.daa.stream:
            self.daa.say(self.daa.stream.send(data))
        return self._settled()

    def sound(self, loud: bool, now: float) -> list[Effect]:
        """Whether what the host is sent is sound or silence: told every 100 ms, for +VSD."""
        self.daa.now = now
        self.daa.sound(loud)
        return self._settled()

    def ran_dry(self, now: float) -> list[Effect]:
        """The host did not send in time."""
        self.daa.now = now
        if self.daa.stream and self.daa.stream.speaks and not self._plays_out:
            self.daa.tell_code("u")
        return self._settled()

    def ran_over(self, now: float) -> list[Effect]:
        """The host did not read in time, and sound was lost."""
        self.daa.now = now
        if self.daa.stream:
            self.daa.tell_code("o")
        return self._settled()

    def played(self, now: float) -> list[Effect]:
        """Nothing is left to play."""
        self.daa.now = now
        if self._plays_out and self.daa.stream:
            self._plays_out = False
            self.daa.end_stream()
            self.daa.say_result("OK")
            self._work()
        return self._settled()

    # --- one command line after the other ---

    def _work(self) -> None:
        """Echo is what was typed, line by line, as a line may switch it off for the next."""
        while self._typed and self._running is None and not self._plays_out:
            if self.daa.stream:
                self._take_stream()
                continue
            end = self._typed.find(b"\r") + 1
            typed = bytes(self._typed[: end or len(self._typed)])
            # A host that ends lines by CR LF: the LF is neither command nor echo.
            fresh = typed[self._echoed :].lstrip(b"\n")
            self.daa.say(fresh if self.daa.setting("E", "1") == "1" else b"")
            if not end:
                # Too long a line stays so, and takes no more room.
                del self._typed[LINE_BYTES + 1 :]
                self._echoed = len(self._typed)
                return
            self._echoed = 0
            del self._typed[:end]
            text = body(typed[:-1].decode("latin-1"))
            if len(typed) > LINE_BYTES:
                self._finish(Command(""), b"", "ERROR")
            elif text is not None:
                self._perform(text, b"")

    def _perform(self, text: str, infos: bytes) -> None:
        asked, final, hung = Command(""), "OK", False
        try:
            while text:
                asked, text = next_command(text)
                hung = hung or asked.name in self.faults.hung
                if asked.name in self.faults.refused:
                    raise Refused
                found = perform(self.daa, asked)
                if isinstance(found, Generator):
                    self._running = _Running(found, asked, infos, text)
                    self._step(None)
                    return
                infos += b"".join(framed_info(line, verbose=self.daa.verbose) for line in found)
        except Refused:
            final = "ERROR"
        except Final as exc:
            final = exc.text
        if not hung:
            self._finish(asked, infos, final)

    def _finish(self, asked: Command, infos: bytes, final: str) -> None:
        delay_s = self.faults.delay_s + self.faults.slow.get(asked.name, 0.0)
        if delay_s and asked.name:
            # As a script, so that what is typed meanwhile waits.
            self._running = _Running(_after(delay_s, final), Command("", Kind.ACT), infos, "")
            self._step(None)
            return
        quiet = self.daa.setting("Q", "0") == "1"
        self.daa.say(self.faults.spoil(infos, b"" if quiet else framed_result(final, verbose=self.daa.verbose)))
        if final == "CONNECT":
            self.daa.begin_stream()

    # --- scripts ---

    def _step(self, news: object) -> None:
        running = self._running
        assert running is not None
        try:
            running.wait = wait = running.script.send(news)
        except StopIteration as exc:
            self._running = None
            self._end_script(running, exc.value)
            return

        def due() -> None:
            if self._running is running and running.wait is wait:
                self._step(None)
                self._work()

        self.daa.agenda.at(self.daa.now + wait.seconds, due)

    def _resume(self, news: object) -> None:
        if self._running and self._running.wait and news in self._running.wait.news:
            self._step(news)
            self._work()

    def _end_script(self, running: _Running, final: str) -> None:
        if running.asked.name in self.faults.hung:
            return
        if final == "OK" and running.rest:
            self._perform(running.rest, running.infos)
        else:
            self._finish(running.asked, running.infos, final)

    def _abort(self, running: _Running) -> None:
        self._running = None
        running.script.close()
        self.daa.hang_up()
        self._finish(Command(""), running.infos, "NO CARRIER")

    def _answer_by_itself(self) -> None:
        """S0."""
        if self._running is None:
            self._running = _Running(answering(self.daa), Command("A"), b"", "")
            self._step(None)

    # --- the stream ---

    def _take_stream(self) -> None:
        stream, data = self.daa.stream, bytes(self._typed)
        assert stream is not None
        self._typed.clear()
        for piece in stream.receive(data, obey=not (self.faults.exit_ignored or self.faults.wedged)):
            match piece:
                case Sound(data):
                    self.daa.effects.append(Play(data))
                case Forget():
                    self.daa.effects.append(Drop())
                case Over(rest):
                    self._typed += rest
                    self._end_stream(stream.mode)

    def _end_stream(self, mode: Mode) -> None:
        if mode is Mode.TRANSMIT:
            self._plays_out = True
            self.daa.effects.append(PlayOut())
        else:
            self.daa.finish_stream("OK")

    def _forget(self) -> None:
        self._typed.clear()
        self._echoed = 0
        self._running = None
        self._plays_out = False

    def _settled(self) -> list[Effect]:
        effects, self.daa.effects = self.daa.effects, []
        return effects


def _after(seconds: float, final: str) -> Script:
    yield Wait(seconds)
    return final
