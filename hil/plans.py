"""What the exchanges of a country do on a subscriber's line, as data.

A country's tones are those of native.tones; its exchange rings as its ringback sounds. Where a figure is not in
modems.md B6 it is that of the operators' interface descriptions, as far as we know it, and only sets the bench's
defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from native import CallerIdKind, ToneKind, tones


@dataclass(frozen=True)
class Plan:
    """What one line of one exchange does. `country` has the tones."""

    country: str
    # None: this exchange tells no caller's number.
    caller_id: CallerIdKind | None = CallerIdKind.V23
    # Before the first ring, behind a reversal of polarity; or else between the first and the second.
    before_ring: bool = False
    # The polarity is reversed while an outgoing call is answered, and when an incoming one was cleared.
    polarity: bool = False
    # Of the loop's current, when the far end has cleared; 0: none.
    loop_break_ms: int = 0
    # For who stays off hook behind that; or else the busy tone.
    dial_tone_again: bool = False
    # A loop that is open so long is a recall; a shorter one is nothing, a longer one the end of the call.
    flash_ms: tuple[int, int] = (70, 800)
    # How much weaker the pair returns what it is sent - 10 to 20 dB is usual -, and its noise; None: it has none.
    echo_db: float | None = None
    noise_dbm0: float | None = None

    @property
    def ring_ms(self) -> tuple[int, ...]:
        """Ring and pause in turn."""
        return tuple(step.ms for step in tones(self.country)[ToneKind.RINGBACK])

    def tone(self, kind: ToneKind) -> ToneKind:
        """Some send their busy tone for congestion."""
        return kind if kind in tones(self.country) else ToneKind.BUSY


def _north_american(country: str) -> Plan:
    return Plan(
        country,
        CallerIdKind.BELL202,
        loop_break_ms=600,
        dial_tone_again=True,
        flash_ms=(300, 1000),
    )


def _by_keys(country: str, *, polarity: bool = False) -> Plan:
    return Plan(country, CallerIdKind.KEYS, before_ring=True, polarity=polarity)


PLANS: Mapping[str, Plan] = {
    plan.country: plan
    for plan in (
        Plan("AU", CallerIdKind.BELL202),
        _by_keys("BR", polarity=True),
        _north_american("CA"),
        Plan("CN", CallerIdKind.BELL202),
        Plan("CZ"),
        Plan("DE", flash_ms=(170, 310)),
        _by_keys("DK"),
        Plan("EE"),
        Plan("ES"),
        _by_keys("FI"),
        Plan("FR", flash_ms=(80, 320)),
        Plan("GB", before_ring=True, loop_break_ms=250, flash_ms=(50, 150)),
        Plan("GR"),
        Plan("HK", CallerIdKind.BELL202),
        _by_keys("IN"),
        Plan("IT"),
        Plan("JP", before_ring=True, polarity=True),
        _by_keys("NL"),
        Plan("RU", caller_id=None),
        _by_keys("SE"),
        _north_american("US"),
    )
}


def ordered(text: str) -> Plan:
    """From a command line: `FR`, `FR,polarity,echo=14,noise=-60`.

    Raises:
        ValueError: no country whose exchanges are known, or no such option.
    """
    country, *options = text.split(",")
    if country not in PLANS:
        raise ValueError(f"the exchanges of {country!r} are not known, those of {', '.join(PLANS)} are")
    plan = PLANS[country]
    for option in options:
        name, _, value = option.partition("=")
        match name:
            case "polarity":
                plan = replace(plan, polarity=value != "off")
            case "echo":
                plan = replace(plan, echo_db=float(value))
            case "noise":
                plan = replace(plan, noise_dbm0=float(value))
            case _:
                raise ValueError(f"{option!r} is none of polarity, echo=DB, noise=DBM0")
    return plan
