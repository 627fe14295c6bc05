"""Lines of a modem's list of calls, and a call that is in some state by them."""

from drivers.evidence import OneCall
from drivers.replies import CallReport, CallStat

S = CallStat


def theirs(stat: CallStat, number: str | None = "+33783484044", index: int = 1) -> CallReport:
    return CallReport(index, False, stat, True, number)


def ours(stat: CallStat) -> CallReport:
    return CallReport(1, True, stat, True, "+33783484044")


def call_in(stat: CallStat, *, outgoing: bool) -> OneCall:
    call = OneCall()
    if outgoing:
        call.dialing()
        call.hear(ours(stat), 0)
    else:
        call.hear(theirs(S.INCOMING), 0)
        call.hear(theirs(stat), 0)
    assert call.stat is stat
    return call
