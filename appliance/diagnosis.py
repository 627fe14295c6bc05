"""What is wrong with a line: concluded from its report, its surroundings and its test calls, and nothing else."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import median
from typing import Any

from appliance.ailments import Verdict, verdict

# --- a line and what is around it -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Surroundings:
    """What the machine itself can tell: which program has which of the line's ttys, as far as we may see that."""

    holders: Mapping[str, str] = field(default_factory=dict)
    modem_manager: bool = False
    low_voltage: bool = False


# Why a line is down is a sentence of its driver's.
PROBLEMS = (
    ("in use by another program", "port-in-use"),
    ("permission denied", "no-permission"),
    (r"reports no voice|has no voice|no sound that we know", "no-voice"),
    ("no SIM in the module", "no-sim"),
    ("its PUK", "puk"),
    ("asks for its PIN", "pin-missing"),
    (r"accept the PIN|one more PIN|sent no PIN", "pin-wrong"),
    (r"SIM does not work|not take this SIM|SIM is not ready", "bad-sim"),
    ("another one is plugged in", "another-device"),
    ("audio suffered", "worn-out"),
    ("CD-ROM", "cd-rom"),
    (r"audio device|no sound card is|ALSA|(capturing|playing) at \d+ Hz|its driver has not", "no-card"),
    (r"which is no |has no |needs a card", "odd-ports"),
    (r"nothing is plugged in|no such device|no modem with IMEI|device is gone", "absent"),
    (r"no answer to AT|does not list|did not come up|hung up|driver hangs|restarted", "silent"),
)
UNSTABLE_LOSSES = 3
WEAK_DBM = -105
REGISTRATIONS = {"denied": "denied", "off": "radio-off", "emergency calls only": "emergency-only"}


def of_line(report: Mapping[str, Any], around: Surroundings) -> Iterator[Verdict]:
    """`report` is `appliance.health.line_report`'s."""
    if around.low_voltage:
        yield verdict("low-voltage")
    if report["state"] == "down" and report["problem"] is not None:
        yield _problem(str(report["problem"]), report, around)
    elif report["state"] in ("down", "starting"):
        yield verdict("starting")
    elif report["state"] == "searching":
        yield verdict(_unregistered(report))
    elif report["ims"] is False and report["technology"] == "LTE":
        yield verdict("lte-only")
    if report["losses"] >= UNSTABLE_LOSSES:
        yield verdict("unstable", losses=report["losses"])
    if (dbm := report["signal_dbm"]) is not None and dbm < WEAK_DBM:
        yield verdict("weak-signal", signal_dbm=dbm)
    if any(each["total"] and each["used"] >= each["total"] for each in (report["messages"] or {}).values()):
        yield verdict("sim-full")
    if around.modem_manager:
        yield verdict("modem-manager-runs")


def _problem(problem: str, report: Mapping[str, Any], around: Surroundings) -> Verdict:
    code = next((code for pattern, code in PROBLEMS if re.search(pattern, problem)), "failed")
    path, _, said = problem.partition(": ")
    program = around.holders.get(path, "another program")
    if code == "port-in-use" and "ModemManager" in program:
        code = "modem-manager"
    return verdict(code, problem=problem, path=path, program=program, said=said or problem)


def _unregistered(report: Mapping[str, Any]) -> str:
    """Why the module, which is well, takes no calls."""
    registration = report["registration"]
    if registration in ("home", "roaming"):
        return "no-ims"
    return REGISTRATIONS.get(registration, "no-network")


# --- a test call ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heard:
    """How it came out. `delay_ms` is the middle one of all bursts, `jitter_ms` how far they are apart; `level_db` is
    against what was said; `loss_percent` of windows of 20 ms that were missing, or something else; noise in the pauses.
    """

    delay_ms: float
    jitter_ms: float
    level_db: float
    loss_percent: float
    noise_dbm0: float
    clipped_percent: float


@dataclass(frozen=True)
class Echo:
    """What comes back to who speaks: against what was said, and so much later."""

    level_db: float
    delay_ms: float


@dataclass(frozen=True)
class Way:
    """One direction. `echo` is what came back to the speaker."""

    speaker: str
    listener: str
    heard: Heard | None
    echo: Echo | None

    @property
    def figures(self) -> dict[str, float]:
        """By the names of FIGURES; of what was not heard there are none."""
        if self.heard is None:
            return {}
        return asdict(self.heard) | ({"echo_db": self.echo.level_db} if self.echo else {})


@dataclass(frozen=True)
class End:
    """Of one line in the call: what its device gave and took. None: it does not count."""

    received_s: float | None
    sent_s: float | None
    received_peak: int


class Outcome(StrEnum):
    """`detail` of a TestCall says more."""

    DONE = "done"
    # A line was in use or is down, a rule forbids it, or somebody wanted a line.
    NOT_TESTED = "not tested"
    NO_DIAL_TONE = "no dial tone"
    REFUSED = "refused"
    NOT_ARRIVED = "not arrived"
    ANSWERED_ELSEWHERE = "answered elsewhere"
    NOT_ANSWERED = "not answered"
    LINE_LOST = "line lost"


@dataclass(frozen=True)
class TestCall:
    """Lines by name. `set_up_s` is from dialing to the ring at the callee, `talked_s` what the operator bills."""

    caller: str
    callee: str
    number: str
    outcome: Outcome
    detail: str = ""
    # Of `line-lost`: which.
    lost: str = ""
    set_up_s: float | None = None
    talked_s: float = 0.0
    ways: tuple[Way, ...] = ()
    ends: Mapping[str, End] = field(default_factory=dict)
    # Those that are restarted after it, as their sound suffered.
    worn: tuple[str, ...] = ()


TestCall.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for one


@dataclass(frozen=True)
class Figure:
    """Beyond `limit` it is bad whatever it was before; and when it is worse than usual by more than `slack`."""

    name: str
    ailment: str
    worse: int
    limit: float
    slack: float


MORE, LESS = 1, -1
FIGURES = (
    Figure("clipped_percent", "clipped", MORE, 2, 2),
    Figure("loss_percent", "loss", MORE, 3, 2),
    Figure("level_db", "quiet", LESS, -20, 6),
    Figure("level_db", "loud", MORE, 12, 6),
    Figure("noise_dbm0", "noise", MORE, -40, 10),
    # What is said comes back as loud as an analog line without a canceller returns it, or louder.
    Figure("echo_db", "echo", MORE, -15, 8),
    # ITU-T G.114 has 400 ms for a whole call; two mobile lines have that without us.
    Figure("delay_ms", "delay", MORE, 900, 150),
    Figure("jitter_ms", "jitter", MORE, 150, 80),
)
# Of the quietest that is worth comparing: below these a change is no harm.
HARMLESS = {"noise_dbm0": -55.0, "echo_db": -30.0}
# With fewer calls before it, nothing is usual.
USUAL_AFTER = 5


def of_figures(way: Way, history: Sequence[Mapping[str, float]] = ()) -> Iterator[Verdict]:
    """`history` has the same way's figures in calls before."""
    for figure in FIGURES:
        value = way.figures.get(figure.name)
        if value is None:
            continue
        before = [each[figure.name] for each in history if figure.name in each]
        if figure.worse * (value - _bound(figure, before)) > 0:
            yield verdict(figure.ailment, speaker=way.speaker, listener=way.listener, value=value)


def _bound(figure: Figure, before: Sequence[float]) -> float:
    if len(before) < USUAL_AFTER:
        return figure.limit
    usual = median(before)
    # Who varies much is allowed more.
    spread = 3 * median(abs(each - usual) for each in before)
    bound = usual + figure.worse * (figure.slack + spread)
    bound = max(bound, HARMLESS.get(figure.name, bound))
    return figure.worse * min(figure.worse * bound, figure.worse * figure.limit)


# Half a frame, which is as exact as two lines' buffers let it be.
NEAR_MS = 10

History = Mapping[tuple[str, str], Sequence[Mapping[str, float]]]
NO_HISTORY: History = {}


def of_calls(calls: Sequence[TestCall], history: History = NO_HISTORY) -> dict[str, list[Verdict]]:
    """By line. `history` is by speaker and listener.

    What goes wrong between two lines may be either's; one that did the same well with a third has an alibi.
    """
    found: dict[str, list[Verdict]] = {}
    # Who did what well, and what went wrong between whom: (role, code).
    alibis: set[tuple[str, str, str]] = set()
    between: list[tuple[Verdict, tuple[str, str], tuple[str, str]]] = []
    for call in calls:
        match call.outcome:
            case Outcome.DONE:
                alibis |= {(call.caller, "caller", "call"), (call.callee, "callee", "call")}
                for name, end in call.ends.items():
                    found.setdefault(name, []).extend(_of_end(end))
                for name in call.worn:
                    found.setdefault(name, []).append(verdict("worn-out"))
                # Which explains whatever was heard.
                for way in call.ways if not call.worn else ():
                    for code, said in _of_way(way, call, found, history.get((way.speaker, way.listener), ())):
                        pair = (way.speaker, "speaker"), (way.listener, "listener")
                        if said is None:
                            alibis |= {(name, role, code) for name, role in pair}
                        elif code == "echo" and _is_near(way, call.ways):
                            found.setdefault(way.speaker, []).append(said)
                        else:
                            between.append((said, *pair))
            case Outcome.NOT_TESTED:
                for name in (call.caller, call.callee):
                    found.setdefault(name, []).append(verdict("not-tested", detail=call.detail))
            case Outcome.LINE_LOST:
                found.setdefault(call.lost, []).append(verdict("line-lost"))
            case Outcome.NO_DIAL_TONE:
                found.setdefault(call.caller, []).append(verdict("no-dial-tone"))
            case Outcome.NOT_ANSWERED:
                found.setdefault(call.callee, []).append(verdict("not-answered", **_names(call)))
            case _:
                said = verdict(_FAILED[call.outcome], **_names(call))
                between.append((said, (call.caller, "caller"), (call.callee, "callee")))
    for said, *suspects in between:
        deed = "call" if said.code in _FAILED.values() else said.code
        without = [name for name, role in suspects if (name, role, deed) not in alibis]
        for name in without or [name for name, _ in suspects]:
            found.setdefault(name, []).append(said)
    return found


_FAILED = {
    Outcome.REFUSED: "call-refused",
    Outcome.NOT_ARRIVED: "not-arrived",
    Outcome.ANSWERED_ELSEWHERE: "answered-elsewhere",
}


def _is_near(way: Way, ways: Sequence[Way]) -> bool:
    """The echo came back before it can have been at the other end."""
    there_and_back = sum(each.heard.delay_ms for each in ways if each.heard)
    return way.echo is not None and len(ways) == 2 and way.echo.delay_ms < there_and_back - NEAR_MS


SILENCES = ("digital-silence", "not-heard")


def _names(call: TestCall) -> dict[str, str]:
    return {"caller": call.caller, "callee": call.callee, "number": call.number, "detail": call.detail}


def _of_end(end: End) -> Iterator[Verdict]:
    if end.received_s == 0:
        yield verdict("no-downlink")
    if end.sent_s == 0:
        yield verdict("no-uplink")


def _of_way(
    way: Way, call: TestCall, found: Mapping[str, Sequence[Verdict]], history: Sequence[Mapping[str, float]]
) -> Iterator[tuple[str, Verdict | None]]:
    """Each ailment that a way can have, with what is said of it if it has."""
    said = {each.code: each for each in of_figures(way, history)}
    # A modem that is known to be mute is not told of twice.
    mute = {each.code for name in (way.speaker, way.listener) for each in found.get(name, ())} & {
        "no-downlink",
        "no-uplink",
    }
    if way.heard is None and not mute:
        code = "not-heard" if call.ends[way.listener].received_peak else "digital-silence"
        said[code] = verdict(code, speaker=way.speaker, listener=way.listener)
    for code in (*SILENCES, *(figure.ailment for figure in FIGURES)):
        # Of what was not heard, nothing is known.
        if code in said or way.heard is not None:
            yield code, said.get(code)
