"""Analog lines, country by country, as data; and what one line has of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import phonenumbers

from native import COUNTRIES, Cadence, ToneKind, tones

# A ring that was not heard in its turn: the exchange's clock and the modem's detector, together.
RING_MARGIN_S = 2.0
# Devices filter out a short ring at the beginning; so long is no doubt.
ABANDONED_S = 6.0
# Between RING and NMBR, where the number comes between the first two rings: it starts half a second after the first,
# takes up to a second, and some say RING at the ring's beginning. Where it comes before, only slow firmware is late.
NUMBER_AFTER_RING_S, NUMBER_BEFORE_RING_S = 4.0, 1.0
# Tones may be 10 % slower (ITU-T E.180), and the detector tells a second cycle in its pause.
CYCLES, SLOW, DETECTOR_S = 2, 1.15, 0.3


@dataclass(frozen=True)
class Country:
    """`code` is of ISO 3166, `t35` of ITU-T T.35 for +GCI; None: not in the table of any modem that we know.

    `flash_ms`: how long a recall button interrupts the line.
    """

    code: str
    t35: str | None
    number_before_ring: bool = False
    flash_ms: int = 100

    def _cadence(self, kind: ToneKind) -> Cadence:
        return tones(self.code).get(kind, ())

    @cached_property
    def ring_s(self) -> float:
        """From one ring to the next: bells ring as ringback sounds."""
        return sum(step.ms for step in self._cadence(ToneKind.RINGBACK)) / 1000

    @property
    def abandoned_s(self) -> float:
        """Without a ring for so long nobody calls any more."""
        return max(ABANDONED_S, self.ring_s + RING_MARGIN_S)

    @cached_property
    def busy_s(self) -> float:
        """By then a busy or congestion tone that begins now has been told."""
        cycles_ms = [sum(step.ms for step in self._cadence(kind)) for kind in (ToneKind.BUSY, ToneKind.CONGESTION)]
        return CYCLES * SLOW * max(cycles_ms) / 1000 + DETECTOR_S

    @property
    def number_wait_s(self) -> float:
        return NUMBER_BEFORE_RING_S if self.number_before_ring else NUMBER_AFTER_RING_S

    def dialable(self, number: str) -> str:
        """As people here dial it: a national number, or one with the international prefix. Keys stay keys."""
        if not number.startswith("+"):
            return number
        try:
            parsed = phonenumbers.parse(number)
        except phonenumbers.NumberParseException:
            parsed = None
        if parsed is None:
            return number.removeprefix("+")
        text = phonenumbers.format_out_of_country_calling_number(parsed, self.code)
        return "".join(character for character in text if character.isdecimal())


# The numbers of T.35 as the manuals of USRobotics and Conexant have them. The number before the ring: where it is sent
# in DTMF, or behind a polarity reversal (ETSI EN 300 659-1 annex B). Flash: 100 ms is ETSI ES 201 970's nominal value,
# where a national one differs it is that.
_ROWS = (
    Country("AU", "09"),
    Country("BR", "16", number_before_ring=True, flash_ms=300),
    Country("CA", "20", flash_ms=500),
    Country("CN", "26", flash_ms=300),
    Country("CZ", "2E"),
    Country("DE", "42", flash_ms=260),
    Country("DK", "31", number_before_ring=True),
    Country("EE", None),
    Country("ES", "A0"),
    Country("FI", "3C", number_before_ring=True),
    Country("FR", "3D", flash_ms=270),
    Country("GB", "B4", number_before_ring=True),
    Country("GR", "46"),
    Country("HK", "50", flash_ms=500),
    Country("IN", "53", number_before_ring=True, flash_ms=600),
    Country("IT", "59"),
    Country("JP", "00", number_before_ring=True, flash_ms=600),
    Country("NL", "7B", number_before_ring=True),
    Country("RU", "B8"),
    Country("SE", "A5", number_before_ring=True),
    Country("US", "B5", flash_ms=500),
)
PROFILES: Mapping[str, Country] = {row.code: row for row in _ROWS}
assert set(PROFILES) == set(COUNTRIES)


@dataclass(frozen=True)
class AnalogLine:
    """What the exchange, or the PBX, does on this one line.

    `polarity`: it reverses when the far end answers, and again when that hangs up: then nothing else is believed to be
    an answer. `silence_s`: when neither end was heard for so long the call is over; `ceiling_s`: in any case. 0: never.
    `dial_tone`: to be waited for; a PBX may have one that no modem knows.
    """

    country: Country
    polarity: bool = False
    silence_s: float = 60.0
    ceiling_s: float = 4 * 3600.0
    dial_tone: bool = True
