"""The one call of a line, put together from what the device says: rings, caller ids, reports, and the list of calls.

Each device has several ways to tell the same, none of them reliable: news is lost or comes twice, some firmware sends
no RING, NO CARRIER can mean a change of network. So news moves a call on as soon as it comes, but only the list of
AT+CLCC ends it; and what news did not tell, the list does.

    nothing --ring, id, report or list--> INCOMING --+
                                                     +--> ACTIVE --missing from the list--> over --> nothing
    nothing --our order--> DIALING --> ALERTING -----+
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.line import Alerting, Answered, Incoming, LineEvent, Released
from drivers.replies import CallEnded, CallerId, CallMoved, CallReport, CallStat, CallWaiting, Reply, Ring
from drivers.supervision import HASTE_S, Doubt

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
# A list may be older than the news, older than the call even, and empty for a moment in a change of network. So a call
# of whose end nobody told is over when it was missing for so long; a ring that nobody answered may be so sooner.
MISSING_S = 3.0
RING_MISSING_S = 1.5
# NO CARRIER while dialing is the end, or that fall-back, in which the list is empty for a while.
FALL_BACK_S = 2.0
# For the same reasons, what is there twice at such a distance is there.
STRAY_S = 0.5
# Listed again after its end, a call costs money that nobody knows of.
AFTER_END_S = 5.0
# Of two numbers the ends are compared: one source has the country's code, the other has none.
NUMBER_TAIL = 7

NORMAL_CLEARING, CALL_REJECTED, INTERWORKING_UNSPECIFIED = 16, 21, 127


@dataclass
class _Call:
    outgoing: bool
    stat: CallStat
    # Incoming is told when the number is known or waited for long enough; until then there was no call.
    told: bool = True
    number_due: float = float("inf")
    # As the last report had them.
    index: int | None = None
    number: str | None = None
    # ATD or ATA went out for it.
    ordered: bool = False
    hung_up: bool = False
    ending_since: float | None = None
    end_is_sure: bool = False
    cause: int | None = None
    missing_since: float | None = None
    # Of an outgoing call: whose ringback it would have, since when it rings, and what is to be said for its answer.
    ringback: str | None = None
    alerting_since: float | None = None
    doubt: Doubt | None = None

    @property
    def may_be_missing_s(self) -> float:
        if self.end_is_sure:
            return 0
        if self.ending_since is not None:
            return FALL_BACK_S
        return RING_MISSING_S if self.stat is CallStat.INCOMING and not self.ordered else MISSING_S

    def is_seen_in(self, report: CallReport) -> bool:
        """Two calls in a row have the same index: a new one that rings is not the old one that was answered.

        The number of an outgoing call is not compared, as networks forward and rewrite.
        """
        if not report.voice or report.outgoing is not self.outgoing:
            return False
        if report.stat is CallStat.RELEASED and not self.may_be(report.index):
            return False
        if not self.outgoing and _differ(self.number, report.number):
            return False
        new = report.stat in (CallStat.INCOMING, CallStat.WAITING)
        return not new or self.stat is CallStat.INCOMING

    def may_be(self, index: int | None) -> bool:
        """A second call has another index."""
        return index is None or self.index in (None, index)

    def is_like(self, report: CallReport) -> bool:
        known = self.number is not None and report.number is not None
        return report.outgoing is self.outgoing and known and not _differ(self.number, report.number)


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one[-NUMBER_TAIL:] != other[-NUMBER_TAIL:]


@dataclass
class OneCall:
    """Times are of any clock that does not jump. Events are returned in order, each once a call.

    Of a device that `tells_states` the list should have nothing to tell that was no news before.

    With `call_waiting` a second caller is let wait, and rings when the line is free.

    `over` says that the call has gone and waits for `released`. `strays` are calls that nobody wants, as the last list
    and one before it had them: a second one, or one that is up and not ours.
    """

    tells_states: bool = True
    call_waiting: bool = False
    repairs: int = 0
    over: bool = False
    strays: tuple[CallReport, ...] = ()
    # Somebody waits for the end of our call, by the last list.
    somebody_waits: bool = False
    _call: _Call | None = None
    # Calls of the last list that are not ours, and since when they are listed.
    _suspects: dict[tuple[int, bool], float] = field(default_factory=dict, repr=False)
    _wary_until: float = field(default=float("-inf"), repr=False)
    # Whether there was news since the last list: if so, the list had nothing to repair.
    _news: bool = field(default=False, repr=False)

    @property
    def stat(self) -> CallStat | None:
        return self._call.stat if self._call else None

    @property
    def index(self) -> int | None:
        """Of the list, once a report had it."""
        return self._call.index if self._call else None

    @property
    def ordered(self) -> bool:
        """We placed or answered it: the module may be at it although no list has it yet."""
        return self._call is not None and self._call.ordered

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
        """When a number is not waited for any more."""
        if self._call is None or self._call.missing_since is not None:
            return float("inf")
        return self._call.number_due

    @property
    def doubt(self) -> Doubt | None:
        """That the call is answered, as the device says."""
        return self._call.doubt if self._call else None

    @property
    def due(self) -> float:
        """When `tick` has something to tell."""
        return min(self.number_due, self.doubt.due) if self.doubt else self.number_due

    def look_due(self, now: float) -> float:
        """When the list should be asked for if nothing happens before; infinite where it need not be."""
        missing = self._call is not None and self._call.missing_since is not None
        if missing or self.is_ending or self._suspects:
            return now + DOUBT_LOOK_S
        if self._call is None:
            return now + SETUP_LOOK_S if now < self._wary_until else float("inf")
        is_up = self._call.stat is CallStat.ACTIVE and self._call.doubt is None
        return min(now + (ACTIVE_LOOK_S if is_up else SETUP_LOOK_S), self.due)

    def dialing(self, ringback: str | None = None) -> None:
        """Our order goes out. Only without a call. `ringback`: whose country's it will have; None: all is believed."""
        assert self._call is None
        self._call = _Call(outgoing=True, stat=CallStat.DIALING, ordered=True, ringback=ringback)

    def answering(self) -> None:
        """Our order goes out."""
        if self._call is not None:
            self._call.ordered = True

    def withdrawn(self, now: float) -> None:
        """Our order was refused, or is not wanted any more: there was no call, for what the listener knows."""
        if self._call is not None and self._call.outgoing:
            self._call, self.over = None, False
            self._wary_until = now + AFTER_END_S

    def hanging_up(self, now: float) -> None:
        if self._call is None:
            return
        self._call.hung_up = self._call.end_is_sure = True
        if self._call.ending_since is None:
            self._call.ending_since = now
            told = self._call.doubt.cause if self._call.doubt else None
            self._call.cause = told or (CALL_REJECTED if self._call.stat is CallStat.INCOMING else NORMAL_CLEARING)

    def hear(self, reply: Reply, now: float) -> list[LineEvent]:
        """News. What is about no call changes nothing."""
        match reply:
            case Ring(voice=True):
                self._news = True
                return self._ringing(None, False, now)
            case CallerId(number):
                self._news = True
                return self._ringing(number, True, now)
            case CallWaiting(number):
                self._news = True
                # Of a call that we know nothing of somebody else knows: if it waits, or what it waits for, the list
                # has it.
                return self._ringing(number, True, now) if self._call is None else []
            case CallMoved() as moved:
                self._news = True
                return self._moved(moved, now)
            case CallReport(stat=CallStat.RELEASED) as report:
                self._news = True
                if self._call is not None and self._call.is_seen_in(report):
                    self._ending(None, now, sure=True)
            case CallReport() as report:
                self._news = True
                return self._seen(report, now)
            case CallEnded(cause):
                self._news = True
                falls_back = cause is None and self.stat is CallStat.DIALING
                self._ending(cause, now, sure=not falls_back)
            case _:
                pass
        return []

    def tick(self, now: float) -> list[LineEvent]:
        """The wait for a number has an end, and so has doubt; which is also judged by what `doubt` was told."""
        return (self._tell(None) if now >= self.number_due else []) + self._judged(now)

    def _judged(self, now: float) -> list[LineEvent]:
        call, doubt = self._call, self.doubt
        if call is None or doubt is None or call.ending_since is not None:
            return []
        if now >= doubt.due:
            call.doubt = None
            return [Answered()]
        return self._alerting(call, now) if doubt.rings and call.alerting_since is None else []

    def listed(self, reports: list[CallReport], now: float) -> list[LineEvent]:
        """What AT+CLCC answered: all calls there are. SIMCom tells news in the same words, and so among them."""
        events: list[LineEvent] = []
        last = {report.index: report for report in reports}
        for report in reports:
            if report is not last[report.index] or report.stat is CallStat.RELEASED:
                events += self.hear(report, now)
        reports = [report for report in last.values() if report.stat is not CallStat.RELEASED]
        ours = next((r for r in reports if self._call is not None and self._call.is_seen_in(r)), None)
        if ours is not None:
            events += self._present(ours, now)
        elif self._call is not None:
            self._missed(now)
        if self._call is None:
            ours = next((r for r in reports if r.voice and r.stat is CallStat.INCOMING), None)
            events += self._seen(ours, now) if ours is not None else []
        self.strays = self._strays_in(reports, ours, now)
        if not self._news:
            self.repairs += sum(self.tells_states or isinstance(event, Incoming) for event in events)
        self._news = False
        return events

    def released(self, reported: int | None, now: float) -> list[LineEvent]:
        """Ends what is over. `reported` is the device's own reason, for when news gave none."""
        call, self._call, self.over = self._call, None, False
        self._wary_until = now + AFTER_END_S
        if call is None or not call.told:
            return []
        answered = call.stat is CallStat.ACTIVE and call.doubt is None
        heard = call.doubt.cause if call.doubt else None
        return [
            Released(call.cause or heard or reported or (NORMAL_CLEARING if answered else INTERWORKING_UNSPECIFIED))
        ]

    def _present(self, report: CallReport, now: float) -> list[LineEvent]:
        assert self._call is not None
        since = self._call.ending_since
        if since is not None and now - since > END_DOUBTED_AFTER_S and not self._call.hung_up:
            self._call.ending_since = self._call.cause = None
            self._call.end_is_sure = False
        return self._seen(report, now)

    def _missed(self, now: float) -> None:
        assert self._call is not None
        if self._call.missing_since is None:
            self._call.missing_since = now
        if now - self._call.missing_since < self._call.may_be_missing_s:
            return
        if not self._call.told:
            # A ring that was over before anybody looked.
            self._call = None
        elif not self.over:
            self.over = True
            self.repairs += 0 if self.is_ending else 1

    def _strays_in(self, reports: list[CallReport], ours: CallReport | None, now: float) -> tuple[CallReport, ...]:
        """None by a list that has not our call, or has it still ringing: it may be older than what we know."""
        call, before, self._suspects, self.somebody_waits = self._call, self._suspects, {}, False
        if call is not None and (ours is None or call.stat is CallStat.INCOMING):
            return ()
        others = [r for r in reports if r.voice and r is not ours and not (call is not None and call.is_like(r))]
        if self.call_waiting and call is not None:
            waiting = [r for r in others if not r.outgoing and r.stat in (CallStat.WAITING, CallStat.INCOMING)]
            self.somebody_waits = bool(waiting)
            others = [r for r in others if r not in waiting]
        self._suspects = {key: before.get(key, now) for key in ((r.index, r.outgoing) for r in others)}
        return tuple(r for r in others if now - self._suspects[r.index, r.outgoing] >= STRAY_S)

    def _ending(self, cause: int | None, now: float, *, sure: bool) -> None:
        if self._call is not None:
            self._call.cause = self._call.cause or cause
            self._call.end_is_sure |= sure
            if self._call.ending_since is None:
                self._call.ending_since = now

    def _moved(self, moved: CallMoved, now: float) -> list[LineEvent]:
        call = self._call
        if call is None or not call.may_be(moved.index):
            return []
        if moved.stat is CallStat.RELEASED:
            # Who knows which call ended knows that it did.
            falls_back = moved.cause is moved.index is None and call.stat is CallStat.DIALING
            self._ending(moved.cause, now, sure=not falls_back)
            return []
        # Only we place calls: what is dialing or alerting at an incoming one is another.
        if not call.outgoing and moved.stat is not CallStat.ACTIVE:
            return []
        call.index, call.missing_since = moved.index or call.index, None
        return ([] if call.told else self._tell(call.number)) + self._progress(call, moved.stat, now)

    def _progress(self, call: _Call, stat: CallStat, now: float) -> list[LineEvent]:
        if stat is CallStat.ALERTING and call.doubt is not None and call.alerting_since is None:
            return self._alerting(call, now)
        if (event := PROGRESS[call.stat].get(stat)) is None:
            return []
        call.stat = stat
        if stat is CallStat.ALERTING:
            return self._alerting(call, now)
        rung_s = now - call.alerting_since if call.alerting_since is not None else 0
        if call.ringback is not None and rung_s < HASTE_S:
            call.doubt = Doubt(call.ringback, now)
            return []
        return [event]

    def _alerting(self, call: _Call, now: float) -> list[LineEvent]:
        call.alerting_since = now
        return [Alerting()]

    def _seen(self, report: CallReport, now: float) -> list[LineEvent]:
        if self._call is None or (not self._call.told and report.stat is CallStat.INCOMING):
            if report.voice and not report.outgoing and report.stat is CallStat.INCOMING:
                events = self._ringing(report.number, report.number is not None, now)
                self._note(report)
                return events
            return []
        if not self._call.is_seen_in(report):
            return []
        self._note(report)
        events = [] if self._call.told else self._tell(report.number)
        stat = CallStat.ACTIVE if report.stat is CallStat.HELD else report.stat
        return events + self._progress(self._call, stat, now)

    def _note(self, report: CallReport) -> None:
        if (call := self._call) is not None:
            call.index, call.number, call.missing_since = report.index, call.number or report.number, None

    def _ringing(self, number: str | None, known: bool, now: float) -> list[LineEvent]:
        if self._call is None:
            self._call = _Call(False, CallStat.INCOMING, told=False, number_due=now + NUMBER_WAIT_S)
        return self._tell(number) if known and not self._call.told else []

    def _tell(self, number: str | None) -> list[LineEvent]:
        assert self._call is not None
        self._call.told, self._call.number_due = True, float("inf")
        self._call.number = self._call.number or number
        return [Incoming(number)]
