"""A voice modem apart from its command line: its hook, its settings, and what it makes of what the line does.

DAA is the field's word for the part of a modem that stands on the line: data access arrangement. Pure: time is `now`,
what the line has to do and what the host is told goes out as effects. What takes time - a number that is dialed, a
tone - is a script: it yields what it waits for, and ends with a result code.
"""

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial

from hil.board import Agenda
from hil.commandline import framed_info, framed_result
from hil.exchange import Identify
from hil.plans import PLANS
from hil.voiceboard import Close, Effect, Hook, Open, Say, VoiceFaults
from hil.voicemodels import DLE, ETX, T35, VoiceModel
from hil.voicestream import VoiceStream
from native import Cadence, Caller, CallerIdKind, Step, ToneKind, tones
from native.callerid import MULTIPLE_DATA, NAME, NO_NUMBER, NUMBER, TIME

# Two bursts of a double ring are one ring; behind so long a pause the next one is the first of another call.
SAME_RING_S, RING_LOST_S = 1.0, 8.0
# A key's tone that is heard, and how often a modem that shields it says so.
KEY_ON_S, KEY_AGAIN_S = 0.1, 0.07
# A continuous tone is certain after so long.
CERTAIN_S = 1.0
# A cadence is a country's own when no part of it is off by more.
TOLERANCE = 0.2
SPURIOUS_EVERY_S = 1.0
PAUSE, RING = "pause", "ring"

TONE_CODES = {ToneKind.DIAL: "d", ToneKind.RINGBACK: "r", ToneKind.BUSY: "b", ToneKind.CONGESTION: "K"}


@dataclass(frozen=True)
class Wait:
    """`news`: what ends it early, and is what the script then gets; None when its time was up."""

    seconds: float
    news: frozenset[object] = frozenset()


Script = Generator[Wait, object, str]


class Daa:
    def __init__(self, model: VoiceModel, faults: VoiceFaults) -> None:
        self.model = model
        self.faults = faults
        self.now = 0.0
        self.agenda = Agenda()
        self.effects: list[Effect] = []
        # The words of the line that news are for.
        self.resume: Callable[[object], None] = lambda news: None
        self.answer_by_itself: Callable[[], None] = lambda: None
        self.power_on()

    def power_on(self) -> None:
        self.agenda.clear()
        self.off_hook = False
        self.stream: VoiceStream | None = None
        # What begins behind the next CONNECT.
        self.wanted: Open | None = None
        self.ring_on = False
        self.rings = 0
        self.caller: Identify | None = None
        # The tone that is heard now, and how long one sound of it is.
        self.detected: ToneKind | None = None
        self.burst_s = 0.0
        self._rang_at = self._paused_at = -RING_LOST_S
        self._told_caller = True
        self._tone: ToneKind | None = None
        self._heard_of_host_at = 0.0
        self._sounded = False
        self._quiet_since: float | None = None
        # A timer of before is void.
        self._tone_era = 0
        self._watching = False
        self.reset()

    def reset(self) -> None:
        """ATZ, but for the hook."""
        self.values: dict[str, str] = {}
        self.service_class = "0"

    def setting(self, name: str, default: str) -> str:
        return self.values.get(name, self.model.defaults.get(name, default))

    @property
    def verbose(self) -> bool:
        return self.setting("V", "1") == "1"

    @property
    def voice(self) -> bool:
        return self.service_class == "8"

    # --- what the host is told ---

    def say(self, data: bytes) -> None:
        if data:
            self.effects.append(Say(data))

    def say_result(self, text: str) -> None:
        if self.setting("Q", "0") != "1":
            self.say(framed_result(text, verbose=self.verbose))

    def _say_lines(self, lines: Iterable[str]) -> None:
        text = b"".join(framed_info(line, verbose=self.verbose) for line in lines if not self.faults.loses(line))
        if text and (self.stream or (self.voice and self.model.reports_by_code)):
            text = bytes((DLE,)) + b"X" + text + bytes((DLE,)) + b"."
        self.say(text)

    def tell_code(self, code: str) -> None:
        """Events have codes in class 8; a modem says only those that it knows."""
        if code and self.voice and code in self.model.codes:
            self.say(bytes((DLE, ord(code))))

    def host_speaks(self) -> None:
        """+VIT runs from the last byte of the host."""
        self._heard_of_host_at = self.now
        self._watch_host()

    # --- the hook ---

    def lift(self) -> None:
        if self.off_hook:
            return
        self.off_hook, self.rings = True, 0
        self._quiet_since = None
        self.effects.append(Hook(True))
        self.tell_code(self.model.lifted_code)
        self._watch_host()

    def hang_up(self, *, forced: bool = False) -> None:
        if not self.off_hook or (self.faults.stuck_off_hook and not forced):
            return
        self.end_stream()
        self.off_hook = False
        self._tone_moved(None)
        self.effects.append(Hook(False))

    def lifting(self) -> Script:
        """Off hook, as soon as the modem can."""
        while self.model.lifts_in_pause and self.ring_on:
            yield Wait(RING_LOST_S, frozenset({PAUSE}))
        rings = self.faults.late_rings if self.now - self._rang_at < RING_LOST_S else 0
        for _ in range(rings):
            if (yield Wait(RING_LOST_S, frozenset({RING}))) is None:
                break
        self.lift()
        return "OK"

    # --- the stream ---

    def begin_stream(self) -> None:
        assert self.wanted is not None
        wanted, self.wanted = self.wanted, None
        self.stream = VoiceStream(wanted.mode, self.model)
        self._sounded, self._quiet_since = False, self.now
        self.effects.append(wanted)
        self._babble(self.stream, 0)

    def end_stream(self) -> None:
        """Nothing is said of it here."""
        if self.stream:
            self.stream = None
            self.effects.append(Close())

    def finish_stream(self, result: str) -> None:
        """By itself or as asked: <DLE><ETX> and the result, behind what the host was sent."""
        self.say(bytes((DLE, ETX)))
        self.end_stream()
        self.say_result(result)

    def _babble(self, stream: VoiceStream, count: int) -> None:
        def due() -> None:
            if self.stream is stream:
                if self.faults.spurious and stream.speaks:
                    self.tell_code(self.faults.spurious[count % len(self.faults.spurious)])
                self._babble(stream, count + 1)

        self.agenda.at(self.now + SPURIOUS_EVERY_S, due)

    # --- what the line does ---

    def ring(self, on: bool) -> None:
        self.ring_on = on
        pause_s = self.now - self._paused_at
        if on and self.now - self._rang_at > SAME_RING_S:
            if self.now - self._rang_at > RING_LOST_S:
                self.rings = 0
            self._rang_at = self.now
            self.rings += 1
            self._tell_cadence("DROF", pause_s if self.rings > 1 else 0)
            self._tell_ring()
            self.resume(RING)
        elif on:
            self._tell_cadence("DROF", pause_s)
        else:
            self._paused_at = self.now
            self._tell_cadence("DRON", self.now - self._rang_at)
            self.resume(PAUSE)

    def _tell_ring(self) -> None:
        if self.voice and self.model.rings_by_code:
            self.tell_code("R")
        elif not self.faults.loses("RING"):
            self.say_result("RING")
        self._tell_caller()
        if self.rings == int(self.setting("S0", "0")):
            self.answer_by_itself()

    def _tell_cadence(self, name: str, seconds: float) -> None:
        """+VDR: the length of a ring and of a pause, in 100 ms."""
        if seconds and self.setting("+VDR", "0,0").startswith("1"):
            self._say_lines([f"{name}={round(10 * seconds)}"])

    def identified(self, message: Identify) -> None:
        """It is understood in the country that was set, at its end."""

        def heard() -> None:
            if not self.off_hook and self._understands(message):
                self.caller, self._told_caller = message, False
                self._tell_caller()

        self.agenda.at(self.now + message.lasts_s, heard)

    def _understands(self, message: Identify) -> bool:
        plan = PLANS.get(self.country or "")
        return plan is None or (plan.caller_id, plan.before_ring) == (message.kind, message.before_ring)

    @property
    def country(self) -> str | None:
        code = self.setting("+GCI", "B5")
        return next((country for country, its in T35.items() if its == code), None)

    def _tell_caller(self) -> None:
        form = self.setting("+VCID", "0")
        late = self.caller is not None and not self.caller.before_ring
        if self.caller is None or self._told_caller or (late and self.rings < self.model.caller_id_after_rings):
            return
        self._told_caller = True
        if form != "0":
            self._say_lines(self.caller_lines(raw=form == "2"))

    def caller_lines(self, *, raw: bool) -> list[str]:
        """None was heard: no lines."""
        if self.caller is None:
            return []
        caller, is_ = self.caller.caller, " = " if self.model.spaced_caller_id else "="
        if raw and self.caller.kind is not CallerIdKind.KEYS:
            return [f"MESG{is_}{_message(caller).hex().upper()}"]
        time = caller.time or ""
        found = {
            "DATE": time[:4], "TIME": time[4:], "NMBR": caller.number or caller.absence or "O", "NAME": caller.name
        }  # fmt: skip
        return [f"{name}{is_}{value}" for name, value in found.items() if value]

    def tone(self, kind: ToneKind | None, country: str) -> None:
        """The exchange sends another tone, or none."""
        self._tone_moved(kind)
        if kind is None:
            return
        cadence = tones(country)[kind]
        known = tones(self.country)[kind] if self.country and kind in tones(self.country) else None
        if self.country is None or (known is not None and _alike(cadence, known)):
            self.agenda.at(self.now + _certain_s(kind, cadence), partial(self._hear, kind, cadence, self._tone_era))

    def _tone_moved(self, kind: ToneKind | None) -> None:
        self._tone_era += 1
        self._tone, self.detected = kind, None

    def _hear(self, kind: ToneKind, cadence: Cadence, era: int) -> None:
        if era != self._tone_era or not self.off_hook:
            return
        self.detected = kind
        self.burst_s = sum(step.ms for step in cadence[:-1]) / 1000
        self.tell_code(TONE_CODES[kind])
        self.resume(kind)
        if len(cadence) > 1:
            again = partial(self._hear, kind, cadence, era)
            self.agenda.at(self.now + _cycle_s(cadence), again)

    def current(self, on: bool) -> None:
        if self.off_hook and not self.faults.no_loop_code:
            self.tell_code(self.model.loop_codes[on])

    def reversed(self) -> None:
        if self.off_hook:
            self.tell_code("L")

    def parallel(self, lifted: bool) -> None:
        """Another telephone on the same pair: Conexant, if AT-STE wants it."""
        if self.setting("-STE", "0") != "0":
            self.tell_code("P" if lifted else "p")

    def key_heard(self, key: str) -> None:
        if not (self.off_hook and self.voice):
            return
        # The fault: repeated, without the codes that shield it.
        shields = self.model.shields_keys and not self.faults.key_repeats
        times = 1 + (int(KEY_ON_S / KEY_AGAIN_S) if shields else self.faults.key_repeats)
        if shields:
            self.say(bytes((DLE,)) + b"/")
        for count in range(times):
            self.agenda.at(self.now + count * KEY_AGAIN_S, lambda: self.say(bytes((DLE, ord(key)))))
        if shields:
            self.agenda.at(self.now + KEY_ON_S, lambda: self.say(bytes((DLE,)) + b"~"))

    # --- what the modem finds by itself ---

    def sound(self, loud: bool) -> None:
        """What the host is sent is sound, or silence: +VSD."""
        tenths = int(self.setting("+VSD", "0,0").split(",")[1])
        if self.stream is None or not self.stream.hears or loud:
            self._sounded = self._sounded or loud
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = self.now
        elif tenths and self.now - self._quiet_since >= tenths / 10:
            self.tell_code("q" if self._sounded else "s")
            # Once for each silence.
            self._quiet_since, self._sounded = math.inf, True

    def _watch_host(self) -> None:
        """+VIT: back to class 0 when the host is silent in voice, off hook; 0 is never."""
        limit_s = int(self.setting("+VIT", "0"))
        if self._watching or not (limit_s and self.voice and self.off_hook):
            return
        self._watching = True

        def due() -> None:
            self._watching = False
            if self.now < self._heard_of_host_at + limit_s:
                self._watch_host()
            elif self.voice and self.off_hook:
                if self.stream:
                    self.finish_stream("OK")
                self.hang_up()
                self.service_class = "0"

        self.agenda.at(self._heard_of_host_at + limit_s, due)


def _cycle_s(cadence: Cadence) -> float:
    return sum(step.ms for step in cadence) / 1000


def _certain_s(kind: ToneKind, cadence: Cadence) -> float:
    if len(cadence) == 1:
        return CERTAIN_S
    return sum(step.ms for step in cadence[:-1]) / 1000 if kind is ToneKind.RINGBACK else 2 * _cycle_s(cadence)


def _alike(one: Cadence, other: Cadence) -> bool:
    """A firmware's detector looks at on and off times, in one band of frequencies."""

    def near(a: Step, b: Step) -> bool:
        return abs(a.ms - b.ms) <= TOLERANCE * max(a.ms, b.ms)

    return len(one) == len(other) and all(map(near, one, other))


def _message(caller: Caller) -> bytes:
    """A multiple data message with its checksum, as `native.callerid` sounds it."""
    values = {TIME: caller.time, NUMBER: caller.number, NAME: caller.name, NO_NUMBER: caller.absence}
    content = b"".join(bytes((kind, len(value))) + value.encode("latin-1") for kind, value in values.items() if value)
    message = bytes((MULTIPLE_DATA, len(content))) + content
    return message + bytes((-sum(message) % 256,))
