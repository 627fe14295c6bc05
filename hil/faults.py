"""What can go wrong between a module and its host: each set at any time, on the answers that follow.

The ones marked "once" are spent by the next answer. An answer is all that comes back for one command line, its echo
left aside: info lines and the final result.
"""

from dataclasses import dataclass, field


@dataclass
class Faults:
    """`module.faults.deaf = True`, `modem.module.faults.hung.add("+CLCC")`."""

    # Nothing is heard, echoed or answered.
    deaf: bool = False
    # Names of commands that never get an answer; the module goes on with the next line.
    hung: set[str] = field(default_factory=set)
    # Each answer comes so much later; what is typed meanwhile waits, URCs do not.
    delay_s: float = 0.0
    # So many next final results are lost, with all info lines arriving.
    lost_finals: int = 0
    # Once: sent between the echo and the answer.
    before_answer: bytes = b""
    # Once: sent inside the answer, after so many of its bytes.
    splice: tuple[int, bytes] | None = None
    # Once: the answer ends after so many bytes.
    cut_at: int | None = None

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
