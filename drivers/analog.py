"""The one call of an analog line, put together from what can be heard of it: rings, tones, codes, silence.

No signal on such a line is sure, and none is common to all (spec: modems.md B6). Each is a row of a table below, which
says what it means in each state and how often it must have come. The line profile says what else is known.

    nothing --ring--> INCOMING --we go off-hook--> ACTIVE --+
        |                 |                                  +--any end--> over --we are on-hook--> nothing
        |                 +--no ring any more--> nothing     |
        +--our order--> DIALING --> ALERTING --> ACTIVE -----+

Far end answers: by polarity, where the line has it; else by somebody's voice, or by the end of ringback that no busy
tone follows.
"""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.countries import AnalogLine
from drivers.line import Alerting, Answered, Incoming, LineEvent, Released
from drivers.replies import CallStat
from native import CallerIdKind, ToneKind, callerid

# ITU-T Q.850.
NORMAL, BUSY, NO_ANSWER, REJECTED, BAD_NUMBER, UNSPECIFIED, CONGESTION = 16, 17, 19, 21, 28, 31, 34
TEMPORARY_FAILURE, TIMER_EXPIRED, INTERWORKING = 41, 102, 127

# A number that came before the ring, and a ring did not: a message waits, or the caller thought again.
NUMBER_KEPT_S = 5.0
# After a second ring: some firmware tells the number only then (Zoom 3095).
NUMBER_AFTER_SECOND_S = 0.5
# Going off-hook, and the exchange's answer to that, interrupt the line's current, and turn it round.
LINE_SETTLES_S = 0.5
# What is repeated within this belongs together.
TOGETHER_S = 10.0
# Of 32767: -35 dB of full scale. Lines hum below it, and one step of an 8-bit format is 256.
AUDIBLE_PEAK = 600

DIALING, ALERTING, ACTIVE = CallStat.DIALING, CallStat.ALERTING, CallStat.ACTIVE


@dataclass(frozen=True)
class Sign:
    """A Q.850 cause is an end, None is ringback; `times` is how often it must come. While we speak, a modem takes what
    it hears of us for a tone (USR5637): `trusted` says that it hardly can.
    """

    means: Mapping[CallStat, int | None]
    times: int = 1
    trusted: bool = True


# Told by the engine, which demands two cycles of the country's cadence, without our echo in it.
TONES: Mapping[ToneKind, Mapping[CallStat, int]] = {
    ToneKind.BUSY: {DIALING: BUSY, ALERTING: BUSY, ACTIVE: NORMAL},
    ToneKind.CONGESTION: {DIALING: CONGESTION, ALERTING: CONGESTION, ACTIVE: NORMAL},
    # The exchange did not understand what was dialed; or the far end has gone and we are where we began.
    ToneKind.DIAL: {DIALING: BAD_NUMBER, ALERTING: NORMAL, ACTIVE: NORMAL},
    ToneKind.RINGBACK: {},
}
_LOOP_OPEN = Sign({ACTIVE: NORMAL})
# Told by the modem, as V.253 has them.
CODES: Mapping[str, Sign] = {
    "b": Sign({DIALING: BUSY, ALERTING: BUSY, ACTIVE: NORMAL}, times=3, trusted=False),
    "K": Sign({DIALING: CONGESTION, ALERTING: CONGESTION, ACTIVE: NORMAL}, times=3, trusted=False),
    "d": Sign({ACTIVE: NORMAL}, times=3, trusted=False),
    "r": Sign({DIALING: None}),
    # Special information tone: a voice will say that this number is not to be had.
    "J": Sign({DIALING: UNSPECIFIED, ALERTING: UNSPECIFIED}),
    # We are on-hook, whatever the modem says.
    "R": Sign({ACTIVE: TEMPORARY_FAILURE}, times=2),
}


@dataclass(frozen=True)
class Report:
    """A line of the report of who calls: DATE, TIME, NMBR, NAME, MESG, or of a ring's cadence: DRON, DROF."""

    name: str
    value: str


_REPORT = re.compile(r"(DATE|TIME|NMBR|NAME|MESG|DRON|DROF) *= *(.*)")
# What stands for a number that is private, or not to be had (`P`, `O`), is none.
_NUMBER = re.compile(r"\+?[0-9*#]{1,40}")


def report(text: str) -> Report | None:
    """Spaces around the equals sign come and go with the firmware."""
    match = _REPORT.fullmatch(text)
    return Report(match[1], match[2].strip()) if match else None


def number_in(told: Report) -> str | None:
    """The caller's, as the network gave it; None: withheld, or nothing can be told from this line."""
    value = told.value
    if told.name == "MESG":
        try:
            caller = callerid.read(bytes.fromhex(value), CallerIdKind.BELL202)
        except ValueError:
            return None
        value = caller.number or "" if caller else ""
    return value if _NUMBER.fullmatch(value) else None


@dataclass
class _Call:
    stat: CallStat
    outgoing: bool
    # Of its present state.
    since: float
    told: bool = True
    number_due: float = float("inf")
    ring_due: float = float("inf")
    answered_due: float = float("inf")
    ceiling: float = float("inf")
    heard_at: float = 0.0
    cause: int | None = None
    seen: dict[str, deque[float]] = field(default_factory=dict)


class AnalogCall:
    """Times are of any clock that does not jump. Events are returned in order, each once a call.

    `over` says that the call has ended, or is to, and waits for us to be on-hook: for `released`.
    """

    def __init__(self, line: AnalogLine, *, loop_codes: str, number_after_rings: int = 1) -> None:
        self._line = line
        self._number_wait_s = line.country.number_wait_s + (number_after_rings - 1) * line.country.ring_s
        self._codes = {**CODES, **dict.fromkeys(loop_codes, _LOOP_OPEN)}
        self._call: _Call | None = None
        # Came before the ring.
        self._number: str | None = None
        self._number_until = 0.0

    @property
    def stat(self) -> CallStat | None:
        return self._call.stat if self._call else None

    @property
    def told(self) -> bool:
        return self._call is not None and self._call.told

    @property
    def over(self) -> bool:
        return self._call is not None and self._call.cause is not None and self.stat is not CallStat.INCOMING

    @property
    def due(self) -> float:
        """When `tick` may have something to tell."""
        if (call := self._call) is None or self.over:
            return float("inf")
        return min(call.number_due, call.ring_due, call.answered_due, call.ceiling, self._silent_at)

    @property
    def _silent_at(self) -> float:
        """When it was so for too long."""
        if self._call is None or self.stat is not ACTIVE or self._line.silence_s <= 0:
            return float("inf")
        return self._call.heard_at + self._line.silence_s

    # --- on-hook ---

    def ring(self, now: float) -> list[LineEvent]:
        """The bell rings, by whatever word."""
        ring_due = now + self._line.country.abandoned_s
        if self._call is None:
            number = self._number if now < self._number_until else None
            self._number = None
            number_due = now + self._number_wait_s
            self._call = _Call(
                CallStat.INCOMING, outgoing=False, since=now, told=False, number_due=number_due, ring_due=ring_due
            )
            return self._tell(number) if number is not None else []
        if self.stat is not CallStat.INCOMING:
            return []
        self._call.ring_due = ring_due
        # Bursts of one ring (0.4 s on, 0.2 s off) are told apart by some.
        if not self._call.told and now - self._call.since >= self._line.country.ring_s / 2:
            self._call.number_due = min(self._call.number_due, now + NUMBER_AFTER_SECOND_S)
        return []

    def hear(self, told: Report, now: float) -> list[LineEvent]:
        """A line of a report."""
        if told.name == "DRON":
            return self.ring(now)
        if told.name not in ("NMBR", "MESG") or (told.name == "MESG" and number_in(told) is None):
            return []
        if self._call is None:
            self._number, self._number_until = number_in(told), now + NUMBER_KEPT_S
            return []
        waits = self.stat is CallStat.INCOMING and not self._call.told
        return self._tell(number_in(told)) if waits else []

    def decline(self) -> bool:
        """Nobody can refuse an analog call, but let it ring. Whether there is one."""
        if self.stat is CallStat.INCOMING:
            assert self._call is not None
            self._call.cause = REJECTED
            return True
        return False

    # --- our orders ---

    def dialing(self, now: float) -> None:
        """Our order goes out. Only without a call."""
        assert self._call is None
        self._call = _Call(DIALING, outgoing=True, since=now)

    def answering(self) -> None:
        """Our order goes out, and silences the bell."""
        if self._call is not None:
            self._call.ring_due = self._call.number_due = float("inf")

    def answered(self, now: float) -> list[LineEvent]:
        """We are off-hook."""
        return self._answered(now) if self.stat is CallStat.INCOMING else []

    def unanswered(self, now: float) -> None:
        """We are not, and it rings on, or has ceased."""
        if self._call is not None:
            self._call.ring_due = now + self._line.country.abandoned_s

    def withdrawn(self) -> None:
        """Our order was refused, or is not wanted any more: there was no call, for what the listener knows."""
        self._call = None

    def end(self, cause: int = NORMAL) -> None:
        """By us, or because its sound is gone."""
        if self._call is not None and self._call.cause is None:
            self._call.cause = cause

    # --- off-hook ---

    def disturbed(self, now: float) -> None:
        """By us: what the line's current does now means nothing."""
        if self._call is not None:
            self._call.since = now

    def code(self, character: str, now: float, *, speaking: bool = False) -> list[LineEvent]:
        """From the modem, as `<DLE>character`; `speaking`: we do."""
        if character == "R" and self.stat in (None, CallStat.INCOMING):
            return self.ring(now)
        if (call := self._call) is None or call.cause is not None:
            return []
        if character == "L":
            return self._reversed(now)
        sign = self._codes.get(character)
        if sign is None or self.stat not in sign.means or (speaking and not sign.trusted):
            return []
        if now - call.since < LINE_SETTLES_S or not self._often(character, sign.times, now):
            return []
        cause = sign.means[call.stat]
        return self._alerting() if cause is None else self._over(cause)

    def tone(self, kind: ToneKind, now: float) -> list[LineEvent]:
        """From the engine."""
        if (call := self._call) is None:
            return []
        if kind is ToneKind.RINGBACK:
            call.answered_due = float("inf")
            return self._alerting()
        cause = TONES[kind].get(call.stat)
        return self._over(cause) if cause is not None else []

    def tone_ended(self, kind: ToneKind, now: float) -> None:
        """The far end has gone off-hook, and is silent; or the busy tone comes now."""
        if self._call is not None and self.stat is ALERTING and kind is ToneKind.RINGBACK and not self._line.polarity:
            self._call.answered_due = now + self._line.country.busy_s

    def voice(self, now: float) -> list[LineEvent]:
        """Somebody speaks, or at least no tone of the network does."""
        outgoing = self.stat in (DIALING, ALERTING) and not self._line.polarity
        return self._answered(now) if outgoing else []

    def level(self, received_peak: int, sent_peak: int, now: float) -> None:
        """The loudest of late, both ways."""
        if self._call is not None and max(received_peak, sent_peak) >= AUDIBLE_PEAK:
            self._call.heard_at = now

    # --- what passes with time ---

    def tick(self, now: float) -> list[LineEvent]:
        if (call := self._call) is None:
            return []
        if now >= call.ring_due:
            return self._abandoned()
        if now >= call.number_due:
            return self._tell(None)
        if now >= call.answered_due:
            return self._answered(now)
        return self._over(TIMER_EXPIRED) if now >= min(self._silent_at, call.ceiling) else []

    def released(self) -> list[LineEvent]:
        """We are on-hook."""
        call, self._call = self._call, None
        if call is None or not call.told:
            return []
        return [Released(call.cause if call.cause is not None else INTERWORKING)]

    def _abandoned(self) -> list[LineEvent]:
        """Whoever called has given up, or a telephone beside us was faster."""
        assert self._call is not None
        self.end(NORMAL)
        return self.released()

    def _tell(self, number: str | None) -> list[LineEvent]:
        assert self._call is not None
        self._call.told, self._call.number_due = True, float("inf")
        return [Incoming(number)]

    def _alerting(self) -> list[LineEvent]:
        if self._call is None or self.stat is not DIALING:
            return []
        self._call.stat = ALERTING
        return [Alerting()]

    def _answered(self, now: float) -> list[LineEvent]:
        assert self._call is not None
        call = self._call
        events: list[LineEvent] = [] if call.told else self._tell(None)
        call.stat, call.since, call.heard_at = ACTIVE, now, now
        call.ring_due = call.answered_due = float("inf")
        call.ceiling = now + self._line.ceiling_s if self._line.ceiling_s > 0 else float("inf")
        return [*events, Answered()]

    def _reversed(self, now: float) -> list[LineEvent]:
        assert self._call is not None
        if not self._line.polarity or now - self._call.since < LINE_SETTLES_S:
            return []
        if self.stat in (DIALING, ALERTING):
            return self._answered(now)
        return self._over(NORMAL) if self.stat is ACTIVE else []

    def _over(self, cause: int) -> list[LineEvent]:
        """Told when we are on-hook."""
        self.end(cause)
        return []

    def _often(self, character: str, times: int, now: float) -> bool:
        assert self._call is not None
        seen = self._call.seen.setdefault(character, deque(maxlen=times))
        seen.append(now)
        return len(seen) == times and now - seen[0] <= TOGETHER_S
