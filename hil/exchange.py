"""The subscriber's line of a local exchange: what stands on a pair of copper wires, and what a telephone on it does.

Pure: who lifts and hangs up, presses keys, calls or clears is told by a method, with the time; what comes of it on the
wires and in the network is a list of effects. Whoever runs it calls `elapse` when `deadline` has come.

    line = ExchangeLine(PLANS["FR"], complete=numbers.__contains__)
    line.lifted(now=0.0)                    # [Tone(ToneKind.DIAL)]
    line.key("0", now=1.0)                  # [Tone(None)]
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from hil.board import Agenda
from hil.network import Cause
from hil.plans import Plan
from native import Caller, CallerIdKind, ToneKind

# E.161's pause between two digits, after which a number is taken as it is.
INTERDIGIT_S = 4.0
# How long an exchange waits for a first digit, and how long it sends a tone to who does not hang up.
NO_DIGIT_S = 20.0
TONE_S = 30.0
# From a far end's clearing to what our end is told of it.
CLEAR_S = 0.3
# EN 300 659-1: the message begins 0.5 s behind the first ring, or 0.1 s behind the reversal; the ring 0.3 s behind it.
AFTER_RING_S, AFTER_REVERSAL_S, BEFORE_RING_S = 0.5, 0.1, 0.3
# 1200 bits a second, ten to a byte, behind 300 bits of channel seizure and 180 of mark; keys are 100 ms on, 100 ms off.
FSK_BYTE_S, FSK_AHEAD_S, KEY_S = 10 / 1200, 0.4, 0.2

BUSY_CAUSES = (Cause.BUSY, Cause.REJECTED)


class LineState(Enum):
    IDLE = "idle"
    RINGING = "ringing"
    # Off hook, no digit yet.
    DIAL_TONE = "dial tone"
    DIALING = "dialing"
    # The number is complete.
    CALLING = "calling"
    TALKING = "talking"
    # A recall: the far end is held, the exchange waits for digits.
    RECALL = "recall"
    # The far end is gone, ours is off hook yet: it hears a tone, and in the end nothing.
    CLEARED = "cleared"


OFF_HOOK = frozenset(LineState) - {LineState.IDLE, LineState.RINGING}


@dataclass(frozen=True)
class Ring:
    """Ringing voltage on the wires, or not any more."""

    on: bool


@dataclass(frozen=True)
class Identify:
    """A caller-id message begins; it is of no use unless all of it is heard."""

    kind: CallerIdKind
    caller: Caller
    before_ring: bool
    lasts_s: float


@dataclass(frozen=True)
class Reverse:
    """The wires change their polarity."""


@dataclass(frozen=True)
class Current:
    """The loop's current is interrupted, or flows again."""

    on: bool


@dataclass(frozen=True)
class Tone:
    """What the exchange sends: a tone of its country, or nothing."""

    kind: ToneKind | None


@dataclass(frozen=True)
class Talk:
    """The way of speech to the far end is open, or not."""

    on: bool


@dataclass(frozen=True)
class Dial:
    number: str


@dataclass(frozen=True)
class Ringing:
    """The caller may be told so."""


@dataclass(frozen=True)
class Answer:
    pass


@dataclass(frozen=True)
class Release:
    cause: Cause


@dataclass(frozen=True)
class Press:
    """A key, for the far end."""

    key: str


Effect = Ring | Identify | Reverse | Current | Tone | Talk | Dial | Ringing | Answer | Release | Press


@dataclass
class LineFaults:
    """What the exchange leaves out."""

    # Callers are not identified.
    no_caller_id: bool = False
    # A far end that clears is told by the busy tone and nothing else; or not even by that.
    busy_only: bool = False
    silent_clear: bool = False
    # A wire is cut: no tone and no ring.
    dead: bool = False


class ExchangeLine:
    """`complete` says that a number needs no further digit."""

    def __init__(
        self, plan: Plan, *, complete: Callable[[str], bool] = lambda number: False, faults: LineFaults | None = None
    ) -> None:
        self.plan = plan
        self.faults = faults or LineFaults()
        self.state = LineState.IDLE
        self.reversed = False
        self._complete = complete
        self._now = 0.0
        self._agenda = Agenda()
        # A timer is void when something happened since it was set.
        self._era = 0
        self._effects: list[Effect] = []
        self._tone: ToneKind | None = None
        self._digits = ""
        self._ring_on = False
        self._current_on = True
        # When the loop was opened in a call, and is not yet long enough open to be its end.
        self._opened_at: float | None = None

    @property
    def deadline(self) -> float:
        return self._agenda.deadline

    @property
    def off_hook(self) -> bool:
        return self.state in OFF_HOOK and self._opened_at is None

    def elapse(self, now: float) -> list[Effect]:
        self._now = now
        self._agenda.run(now)
        return self._settled()

    # --- from the telephone ---

    def lifted(self, now: float) -> list[Effect]:
        self._now = now
        if self._opened_at is not None:
            open_ms = 1000 * (now - self._opened_at)
            self._opened_at = None
            if open_ms >= self.plan.flash_ms[0]:
                self._recall()
        elif self.state is LineState.RINGING:
            self._enter(LineState.TALKING)
            self._ring(False)
            self._effects += [Answer(), Talk(True)]
        elif self.state is LineState.IDLE and not self.faults.dead:
            self._await_digits()
        return self._settled()

    def hung_up(self, now: float) -> list[Effect]:
        """In a call it counts only once it is too long for a recall."""
        self._now = now
        if self.state in (LineState.TALKING, LineState.RECALL) and self._opened_at is None:
            self._opened_at = now
            self._agenda.at(now + self.plan.flash_ms[1] / 1000, partial(self._stay_open, now))
        elif self.state in OFF_HOOK and self._opened_at is None:
            self._go_idle()
        return self._settled()

    def cut_off(self, now: float) -> list[Effect]:
        """The telephone lost its power in whatever it did, and its loop stays open."""
        self._now = now
        if self.state in OFF_HOOK:
            self._go_idle()
        return self._settled()

    def key(self, key: str, now: float) -> list[Effect]:
        """A tone of a telephone's key."""
        self._now = now
        match self.state:
            case LineState.TALKING:
                self._effects.append(Press(key))
            case LineState.DIAL_TONE | LineState.DIALING:
                self._collect(key)
            case LineState.RECALL:
                # Nobody has ordered a second call on this line.
                self._send(self.plan.tone(ToneKind.CONGESTION))
        return self._settled()

    # --- from the network ---

    def offered(self, caller: Caller, now: float) -> list[Effect]:
        """Only an idle line can be called."""
        self._now = now
        self._enter(LineState.RINGING)
        told = self.plan.caller_id is not None and not self.faults.no_caller_id
        if told and self.plan.before_ring:
            self._reverse()
            message = self._message(caller)
            self._later(AFTER_REVERSAL_S, lambda: self._effects.append(message))
            self._later(AFTER_REVERSAL_S + message.lasts_s + BEFORE_RING_S, partial(self._begin_ringing, None))
        else:
            self._begin_ringing(self._message(caller) if told else None)
        self._effects.append(Ringing())
        return self._settled()

    def alerting(self, now: float) -> list[Effect]:
        self._now = now
        if self.state is LineState.CALLING:
            self._send(ToneKind.RINGBACK)
        return self._settled()

    def answered(self, now: float) -> list[Effect]:
        """The far end of a call that we made."""
        self._now = now
        if self.state is LineState.CALLING:
            self._enter(LineState.TALKING)
            self._send(None)
            self._effects.append(Talk(True))
            if self.plan.polarity and not self.faults.busy_only:
                self._reverse()
        return self._settled()

    def cleared(self, cause: int, now: float) -> list[Effect]:
        """The far end, or the network, ended the call."""
        self._now = now
        match self.state:
            case LineState.RINGING:
                self._go_idle()
            case LineState.CALLING:
                self._enter(LineState.CLEARED)
                kind = ToneKind.BUSY if cause in BUSY_CAUSES else ToneKind.CONGESTION
                self._send_for_a_while(self.plan.tone(kind))
            case LineState.TALKING | LineState.RECALL:
                self._enter(LineState.CLEARED)
                self._send(None)
                self._effects.append(Talk(False))
                if self._opened_at is None:
                    self._later(CLEAR_S, self._tell_cleared)
                else:
                    self._go_idle()
        return self._settled()

    # --- dialing ---

    def _await_digits(self) -> None:
        self._enter(LineState.DIAL_TONE)
        self._digits = ""
        self._send(ToneKind.DIAL)
        self._later(NO_DIGIT_S, lambda: self._give_up(ToneKind.CONGESTION))

    def _give_up(self, kind: ToneKind) -> None:
        self._enter(LineState.CLEARED)
        self._send_for_a_while(self.plan.tone(kind))

    def _collect(self, key: str) -> None:
        self._send(None)
        self._enter(LineState.DIALING)
        if key == "#" and self._digits and not self._digits.startswith(("*", "#")):
            self._place()
            return
        self._digits += key
        if self._complete(self._digits):
            self._place()
        else:
            self._later(INTERDIGIT_S, self._place)

    def _place(self) -> None:
        self._enter(LineState.CALLING)
        self._effects.append(Dial(self._digits))

    # --- being called ---

    def _message(self, caller: Caller) -> Identify:
        assert self.plan.caller_id is not None
        if self.plan.caller_id is CallerIdKind.KEYS:
            # `A number C`, or `A B reason C`: neither time nor name.
            caller, lasts_s = replace(caller, name=None, time=None), KEY_S * (2 + len(caller.number or "B00"))
        else:
            said = sum(2 + len(value) for value in (caller.number, caller.name, caller.absence, caller.time) if value)
            lasts_s = FSK_AHEAD_S + (3 + said) * FSK_BYTE_S
        return Identify(self.plan.caller_id, caller, self.plan.before_ring, lasts_s)

    def _begin_ringing(self, message: Identify | None) -> None:
        on_ms = self.plan.ring_ms
        self._ring_step(0)
        if message is not None:
            # Behind the whole of a double ring.
            first_s = sum(on_ms[:-1]) / 1000
            self._later(first_s + AFTER_RING_S, lambda: self._effects.append(message))

    def _ring_step(self, at: int) -> None:
        self._ring(at % 2 == 0)
        steps = self.plan.ring_ms
        self._later(steps[at] / 1000, partial(self._ring_step, (at + 1) % len(steps)))

    # --- the end ---

    def _stay_open(self, since: float) -> None:
        if self._opened_at == since:
            self._go_idle()

    def _go_idle(self) -> None:
        in_call = self.state in (LineState.CALLING, LineState.TALKING, LineState.RECALL)
        talks = self.state in (LineState.TALKING, LineState.RECALL)
        self._enter(LineState.IDLE)
        self._opened_at = None
        self._ring(False)
        self._current(True)
        self._send(None)
        if talks:
            self._effects.append(Talk(False))
        if in_call:
            self._effects.append(Release(Cause.NORMAL))
        if self.reversed:
            self._reverse()

    def _tell_cleared(self) -> None:
        plan, faults = self.plan, self.faults
        if faults.silent_clear:
            return
        if plan.polarity and not faults.busy_only:
            self._reverse()
        if plan.loop_break_ms and not faults.busy_only:
            self._current(False)
            self._later(plan.loop_break_ms / 1000, self._take_back)
        else:
            self._take_back()

    def _take_back(self) -> None:
        self._current(True)
        if self.plan.dial_tone_again and not self.faults.busy_only:
            self._await_digits()
        else:
            self._send_for_a_while(ToneKind.BUSY)

    def _send_for_a_while(self, kind: ToneKind) -> None:
        self._send(kind)
        self._later(TONE_S, lambda: self._send(None))

    # --- recall ---

    def _recall(self) -> None:
        if self.state is LineState.TALKING:
            self._enter(LineState.RECALL)
            self._effects.append(Talk(False))
            self._send(ToneKind.DIAL)
        elif self.state is LineState.RECALL:
            self._enter(LineState.TALKING)
            self._send(None)
            self._effects.append(Talk(True))

    # --- the wires ---

    def _ring(self, on: bool) -> None:
        if on != self._ring_on:
            self._ring_on = on
            self._effects.append(Ring(on))

    def _current(self, on: bool) -> None:
        if on != self._current_on:
            self._current_on = on
            self._effects.append(Current(on))

    def _reverse(self) -> None:
        self.reversed = not self.reversed
        self._effects.append(Reverse())

    def _send(self, kind: ToneKind | None) -> None:
        if kind is not self._tone:
            self._tone = kind
            self._effects.append(Tone(kind))

    # --- time ---

    def _enter(self, state: LineState) -> None:
        """What the last state was waiting for is void."""
        self.state = state
        self._era += 1

    def _later(self, after_s: float, act: Callable[[], None]) -> None:
        era = self._era

        def due() -> None:
            if era == self._era:
                act()

        self._agenda.at(self._now + after_s, due)

    def _settled(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
