"""What is wrong with a call's sound, each way for itself, by its port's own figures: heard of within two seconds.

A call without sound is no reason to hang up, as it may come back; but somebody has to know, and which way it is.
"""

from dataclasses import dataclass
from enum import Enum

from native import RATE_HZ, DeviceStats, PcmStats, PortStats

# A device gives and takes sound all the time, the slowest in steps of 60 ms (V.253); it is believed to have stopped
# after so long, and looked at so often that it is told within 2 s.
STILL_S = 1.5
LOOK_EVERY_S = 0.25
# Its own clock is what we send by: of as much as it gives, a device that is well takes nearly all.
LEAST_SHARE = 0.5


class Alarm(Enum):
    # The device gives nothing at all.
    NO_DOWNLINK = "no downlink"
    # It takes little or nothing of what we send, while it gives.
    UPLINK_REFUSED = "uplink refused"
    # It gives sound of which not one sample differs from 0: no line is so quiet, its voice path is not switched.
    DIGITAL_SILENCE = "digital silence"


def received_s(stats: PortStats) -> float:
    """How much sound a line's device has given in this call."""
    match stats:
        case PcmStats():
            return stats.received_bytes / stats.sample_bytes / RATE_HZ
        case DeviceStats():
            return stats.captured_s
    return 0.0


def sent_s(stats: PortStats) -> float:
    """How much it has taken."""
    match stats:
        case PcmStats():
            return stats.sent_bytes / stats.sample_bytes / RATE_HZ
        case DeviceStats():
            return stats.played_s
    return 0.0


@dataclass
class Soundcheck:
    """From the answer on. Times are of any clock that does not jump.

    `raised` are the alarms there are now; one that is over may come again, but for digital silence: after a first
    sound it is whoever speaks that is silent.
    """

    now: float
    stats: PortStats
    raised: frozenset[Alarm] = frozenset()

    def __post_init__(self) -> None:
        self._began = self._given_at = self.now
        self._given_s = received_s(self.stats)
        self._mark = self.now, self._given_s, sent_s(self.stats)
        self._refuses = self._sounded = False

    def look(self, stats: PortStats, now: float) -> tuple[frozenset[Alarm], frozenset[Alarm]]:
        """What begins, and what is over."""
        if not isinstance(stats, PcmStats | DeviceStats):
            return frozenset(), frozenset()
        self._note(stats, now)
        mute = now - self._given_at >= STILL_S
        silent = not mute and not self._sounded and now - self._began >= STILL_S
        found = {
            Alarm.NO_DOWNLINK: mute,
            # What gives nothing is no clock to send by.
            Alarm.UPLINK_REFUSED: self._refuses and not mute,
            Alarm.DIGITAL_SILENCE: silent,
        }
        before, self.raised = self.raised, frozenset(alarm for alarm, on in found.items() if on)
        return self.raised - before, before - self.raised

    def _note(self, stats: PortStats, now: float) -> None:
        given_s, taken_s = received_s(stats), sent_s(stats)
        if given_s != self._given_s:
            self._given_s, self._given_at = given_s, now
        self._sounded |= stats.peak_yielded > 0
        since, given_then_s, taken_then_s = self._mark
        if now - since >= STILL_S:
            gave_s, took_s = given_s - given_then_s, taken_s - taken_then_s
            self._refuses = gave_s >= LEAST_SHARE * (now - since) and took_s < LEAST_SHARE * gave_s
            self._mark = now, given_s, taken_s
