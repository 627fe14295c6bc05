"""The one call of a line, put together from what the device says: rings, caller ids, reports, and the list of calls.

Each device has several ways to tell the same, none of them reliable: news is lost or comes twice, some firmware sends
no RING, NO CARRIER can mean a change of network. So news moves a call on as soon as it comes, but only the list of
AT+CLCC ends it; and what news did not tell, the list does.

    nothing --ring, id, report or list--> INCOMING --+
                                                     +--> ACTIVE --gone from the list--> over --> nothing
    nothing --our order--> DIALING --> ALERTING -----+
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.line import Alerting, Answered, Incoming, LineEvent, Released
from drivers.replies import CallEnded, CallerId, CallReport, CallStat, Reply, Ring

# What is told when a call in one state is seen in another. Seen in any other it has not moved: reports overtake one
# another.
PROGRESS: Mapping[CallStat, Mapping[CallStat, LineEvent]] = {
    CallStat.DIALING: {CallStat.ALERTING: Alerting(), CallStat.ACTIVE: Answered()},
    CallStat.ALERTING: {CallStat.ACTIVE: Answered()},
    CallStat.INCOMING: {CallStat.ACTIVE: Answered()},
    CallStat.ACTIVE: {},
}

# Caller id comes with the first ring or, as a line of its own, right after.
NUMBER_WAIT_S = 0.3
# While a call is set up, telephony daemons look twice a second; afterwards only a lost NO CARRIER is to be found.
SETUP_LOOK_S = 0.5
ACTIVE_LOOK_S = 3.0
# The end was announced or seems to be: the next look decides.
DOUBT_LOOK_S = 0.3
# LTE modules say NO CARRIER when they fall back to 2G or 3G for a call that they then go on with.
END_DOUBTED_AFTER_S = 3.0
# One list may have been made before the call was, or be out of order with the news; two are not.
MISSES = 2

NORMAL_CLEARING, CALL_REJECTED, INTERWORKING_UNSPECIFIED = 16, 21, 127


@dataclass
class _Call:
    outgoing: bool
    stat: CallStat
    # Incoming is told when the number is known or waited for long enough; until then there was no call.
    told: bool = True
    number_due: float = float("inf")
    ending_since: float | None = None
    cause: int | None = None
    misses: int = 0

    def is_seen_in(self, report: CallReport) -> bool:
        """Two calls in a row have the same index: a new one that rings is not the old one that was answered."""
        if not report.voice or report.outgoing is not self.outgoing:
            return False
        new = report.stat in (CallStat.INCOMING, CallStat.WAITING)
        return not new or self.stat is CallStat.INCOMING


@dataclass
class OneCall:
    """Times are of any clock that does not jump. Events are returned in order, each once a call.

    `over` says that the call has gone and waits for `released`. `strays` are calls of the last list that nobody
    wants: a second one, or an outgoing one that is not ours.
    """

    repairs: int = 0
    over: bool = False
    strays: tuple[CallReport, ...] = ()
    _call: _Call | None = None
    # Whether there was news since the last list: if so, the list had nothing to repair.
    _news: bool = field(default=False, repr=False)

    @property
    def stat(self) -> CallStat | None:
        return self._call.stat if self._call else None

    @property
    def is_ending(self) -> bool:
        return self._call is not None and self._call.ending_since is not None

    @property
    def told(self) -> bool:
        return self._call is not None and self._call.told

    @property
    def cause(self) -> int | None:
        """Why it ended, as far as it was told yet."""
        return self._call.cause if self._call else None

    @property
    def number_due(self) -> float:
        """When `tick` has something to tell."""
        return self._call.number_due if self._call else float("inf")

    def look_due(self, now: float) -> float:
        """When the list should be asked for if nothing happens before; infinite without a call."""
        if self._call is None:
            return float("inf")
        if self._call.misses or self.is_ending:
            return now + DOUBT_LOOK_S
        wait_s = ACTIVE_LOOK_S if self._call.stat is CallStat.ACTIVE else SETUP_LOOK_S
        return min(now + wait_s, self._call.number_due)

    def dialing(self) -> None:
        """Our order goes out. Only without a call."""
        assert self._call is None
        self._call = _Call(outgoing=True, stat=CallStat.DIALING)

    def withdrawn(self) -> None:
        """Our order was refused, or is not wanted any more: there was no call, for what the listener knows."""
        if self._call is not None and self._call.outgoing:
            self._call, self.over = None, False

    def hanging_up(self, now: float) -> None:
        if self._call is not None and not self.is_ending:
            self._call.ending_since = now
            self._call.cause = CALL_REJECTED if self._call.stat is CallStat.INCOMING else NORMAL_CLEARING

    def hear(self, reply: Reply, now: float) -> list[LineEvent]:
        """News. What is about no call changes nothing."""
        match reply:
            case Ring(voice=True):
                self._news = True
                return self._ringing(None, False, now)
            case CallerId(number):
                self._news = True
                return self._ringing(number, True, now)
            case CallReport(stat=CallStat.RELEASED) as report:
                self._news = True
                if self._call is not None and self._call.is_seen_in(report):
                    self._ending(None, now)
            case CallReport() as report:
                self._news = True
                return self._seen(report, now)
            case CallEnded(cause):
                self._news = True
                self._ending(cause, now)
            case _:
                pass
        return []

    def tick(self, now: float) -> list[LineEvent]:
        """The wait for a number has an end."""
        return self._tell(None) if self._call is not None and now >= self._call.number_due else []

    def listed(self, reports: list[CallReport], now: float) -> list[LineEvent]:
        """What AT+CLCC answered: all calls there are."""
        events: list[LineEvent] = []
        ours = next((r for r in reports if self._call is not None and self._call.is_seen_in(r)), None)
        if ours is not None:
            events += self._present(ours, now)
        elif self._call is not None:
            self._missed()
        if self._call is None:
            ours = next((r for r in reports if r.voice and r.stat is CallStat.INCOMING), None)
            events += self._seen(ours, now) if ours is not None else []
        self.strays = tuple(r for r in reports if r.voice and r is not ours and not self.over)
        if not self._news:
            self.repairs += len(events)
        self._news = False
        return events

    def released(self, reported: int | None) -> list[LineEvent]:
        """Ends what is over. `reported` is the device's own reason, for when news gave none."""
        call, self._call, self.over = self._call, None, False
        if call is None or not call.told:
            return []
        default = NORMAL_CLEARING if call.stat is CallStat.ACTIVE else INTERWORKING_UNSPECIFIED
        return [Released(call.cause or reported or default)]

    def _present(self, report: CallReport, now: float) -> list[LineEvent]:
        assert self._call is not None
        self._call.misses = 0
        since = self._call.ending_since
        if since is not None and now - since > END_DOUBTED_AFTER_S:
            self._call.ending_since = self._call.cause = None
        return self._seen(report, now)

    def _missed(self) -> None:
        assert self._call is not None
        self._call.misses += 1
        if not self._call.told:
            # A ring that was over before anybody looked.
            self._call = None
        elif not self.over and (self.is_ending or self._call.misses >= MISSES):
            self.over = True
            self.repairs += 0 if self.is_ending else 1

    def _ending(self, cause: int | None, now: float) -> None:
        if self._call is not None:
            self._call.cause = self._call.cause or cause
            if self._call.ending_since is None:
                self._call.ending_since = now

    def _seen(self, report: CallReport, now: float) -> list[LineEvent]:
        if self._call is None or (not self._call.told and report.stat is CallStat.INCOMING):
            if report.voice and not report.outgoing and report.stat is CallStat.INCOMING:
                return self._ringing(report.number, report.number is not None, now)
            return []
        if not self._call.is_seen_in(report):
            return []
        events = [] if self._call.told else self._tell(report.number)
        stat = CallStat.ACTIVE if report.stat is CallStat.HELD else report.stat
        if (event := PROGRESS[self._call.stat].get(stat)) is not None:
            self._call.stat = stat
            events.append(event)
        return events

    def _ringing(self, number: str | None, known: bool, now: float) -> list[LineEvent]:
        if self._call is None:
            self._call = _Call(False, CallStat.INCOMING, told=False, number_due=now + NUMBER_WAIT_S)
        return self._tell(number) if known and not self._call.told else []

    def _tell(self, number: str | None) -> list[LineEvent]:
        assert self._call is not None
        self._call.told, self._call.number_due = True, float("inf")
        return [Incoming(number)]
