"""Whether an answer is one: what can be heard decides where the module's word is doubted.

A network that gives a call its traffic channel early, or falls back to 2G or 3G for it, lets modules report it as up
while the far phone still rings (modems.md A6).

    doubted --ringback--> rings --its end, a voice, a key--> answered
       +--a voice, a key, silence that no ringback has, no ringback in all that time--> answered

Music in place of ringback is a voice to us, as it is to the network's own detectors.
"""

from dataclasses import dataclass, field

import phonenumbers

from native import COUNTRIES, ToneKind, tones

# So long a phone must have rung before "active" is believed: people need longer to answer. Mailboxes do not, some of
# them without a ring; but a module, A7672 above all, says "alerting" and "active" in one burst with the ringback, and
# of news in a burst some is lost.
HASTE_S = 1.0
# Exchanges may be off by 10 % (ITU-T E.180), and the detector allows for 15 %.
SLOW = 1.15
# From the module's word to its sound, and from a sound to what is told of it.
MARGIN_S = 0.5
# Of 32767: -35 dB of full scale. Ringback is louder, what a line has of its own is not.
LOUD_PEAK = 600
# What ITU-T E.180 recommends, and most countries have whose tones we do not know: 425 Hz, one second in five.
USUAL = "DE"
# ITU-T Q.850.
CAUSES = {ToneKind.BUSY: 17, ToneKind.CONGESTION: 34}


def ringback_of(number: str, home: str | None) -> str:
    """The country whose ringback is heard: the far end's. `home` is that of numbers without a country of their own."""
    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(number, home))
    except phonenumbers.NumberParseException:
        region = home
    return region if region in COUNTRIES else USUAL


@dataclass
class Doubt:
    """Of one call that is up by the module's word. Times are of any clock that does not jump.

    `country` is the one whose tones are to be listened to. `cause` is what a tone of the network told of the end that
    will come.
    """

    country: str
    since: float
    rings: bool = False
    cause: int | None = None
    _loud_at: float = field(init=False)
    _sure: bool = False

    def __post_init__(self) -> None:
        self._loud_at = self.since

    @property
    def due(self) -> float:
        """When it is no doubt any more if nothing else is heard."""
        if self._sure:
            return self.since
        if self.rings or self.cause is not None:
            return float("inf")
        lengths_s = [step.ms * SLOW / 1000 for step in tones(self.country)[ToneKind.RINGBACK]]
        # Listened to from its middle on, ringback is told in its second cycle.
        return min(self._loud_at + max(lengths_s[1::2]), self.since + 2 * sum(lengths_s)) + MARGIN_S

    def begin(self, now: float) -> None:
        """There is something to hear from now on."""
        if not self.rings:
            self.since = self._loud_at = now

    def level(self, peak: int, now: float) -> None:
        """The loudest of late."""
        if peak >= LOUD_PEAK:
            self._loud_at = now

    def tone(self, kind: ToneKind) -> None:
        self.rings |= kind is ToneKind.RINGBACK
        self.cause = CAUSES.get(kind, self.cause)

    def tone_ended(self, kind: ToneKind) -> None:
        """Ringback's end: somebody has gone off-hook."""
        self._sure |= kind is ToneKind.RINGBACK and self.cause is None

    def voice(self) -> None:
        """Somebody speaks, or presses a key: at least no tone of the network sounds. Of an end it is the news."""
        self._sure |= self.cause is None
