"""What can go wrong between a module, its host and its network: each set at any time, on what follows.

The ones marked "once" are spent by the next answer. An answer is all that comes back for one command line, its echo
left aside: info lines and the final result.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass
class Faults:
    """`modem.faults.deaf = True`, `modem.faults.hung.add("+CLCC")`."""

    # Names of those that mean nothing to this kind of device.
    void: ClassVar[frozenset[str]] = frozenset()
    # Nothing is heard, echoed or answered.
    deaf: bool = False
    # Names of commands that never get an answer; the module goes on with the next line.
    hung: set[str] = field(default_factory=set)
    # Names of commands that are refused with a +CME ERROR, as a module does whose SIM is busy.
    refused: dict[str, int] = field(default_factory=dict)
    # Each answer comes so much later; what is typed meanwhile waits, URCs do not.
    delay_s: float = 0.0
    # The same by name of command. A slow ATA takes the call only then; a byte typed into ATD or ATA ends it meanwhile.
    slow: dict[str, float] = field(default_factory=dict)
    # So many next final results are lost, with all info lines arriving.
    lost_finals: int = 0
    # Once: sent between the echo and the answer.
    before_answer: bytes = b""
    # Once: sent inside the answer, after so many of its bytes.
    splice: tuple[int, bytes] | None = None
    # Once: the answer ends after so many bytes.
    cut_at: int | None = None
    # What AT+CLCC lists is so old; news of the same is not.
    list_lag_s: float = 0.0
    # Until then AT+CLCC lists nothing, as in a change of network in a call.
    no_list_until: float = 0.0
    # Kept back until the next answer to AT+CLCC, behind which it comes in the same read.
    news_behind_list: bool = False
    # News that begins so is never told: `+QPCMV: 1`, `NO CARRIER`.
    lost_news: set[str] = field(default_factory=set)
    # The far phone that rings is taken for one that was answered: a network which assigns the traffic channel early.
    early_answer: bool = False
    # ATD ends with NO CARRIER and its call goes on: LTE's fall-back to 2G or 3G for it.
    false_no_carrier: bool = False
    # SIM7600, worn out beyond stuttering: AT+CPCMREG=1 is refused each time.
    audio_refused: bool = False
    # And the stuttering itself, on any device, in the midst of a call.
    choppy: bool = False
    # Each key of the far end is told so often again, each 70 ms.
    key_repeats: int = 0
    # URCs that nobody asked for, so many a second.
    flood_per_s: float = 0.0
    # What its host says comes back to it, so many dB weaker.
    echo_db: float | None = None
    # On the PCM tty: sentences of a GNSS receiver, noise, a sample clock that is so much too fast, and a USB that may
    # stall. The last three change with the next call, or when its sound is tuned anew.
    nmea: bool = False
    noise_dbfs: float | None = None
    drift_ppm: float = 0.0
    stalls: bool = False
    # Our hang-up is said OK to at once, and the network ends the call so much later.
    release_s: float = 0.0

    def listed(self, lists: Iterable[tuple[float, list[str]]], now: float) -> list[str]:
        """What is listed, of all lists there were, newest first, and when each began."""
        if now < self.no_list_until:
            return []
        return next((lines for since, lines in lists if since <= now - self.list_lag_s), [])

    def loses(self, news: str) -> bool:
        return news.startswith(tuple(self.lost_news))

    def spoil(self, infos: bytes, final: bytes) -> bytes:
        """The answer as it reaches the wire."""
        if self.lost_finals:
            self.lost_finals -= 1
            final = b""
        answer = infos + final
        if self.splice is not None:
            offset, foreign = self.splice
            answer = answer[:offset] + foreign + answer[offset:]
        if self.cut_at is not None:
            answer = answer[: self.cut_at]
        answer = self.before_answer + answer
        self.splice, self.cut_at, self.before_answer = None, None, b""
        return answer
