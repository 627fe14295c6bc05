"""Two phones are brought together: one is there and hears it ring, the other is dialed on another line; then they talk.

A relay's caller is answered at once. When the owner can't be had, the box may take a message. All that becomes of the
call is told by events alone.
"""

import hashlib
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from typing import Any

import trio

from appliance.announcement import AnnouncementError, announce, beep, read_announcement, take_message
from appliance.call import OUTCOME_OF_CAUSE, Call, Ended, Joined, Outcome, Reason
from appliance.conductor import Conductor
from appliance.contracts.sfvopi import Request
from appliance.exchange import NoLine, NotDialed, Seek
from appliance.leg import Leg, ours
from appliance.numbers import country_of
from appliance.options import RelayRule, TakeMessage
from appliance.trunk import Seizure
from native import COUNTRIES, Cadence, Player, Port, ToneKind, tones

# A line that was refused, or lost against a call that came in, is made up for by another one, once.
TRIES = 2
# ITU-T Q.850: what a network says of itself, and not of the far phone (class 010, out of order, temporary failure).
NETWORK_CAUSES = frozenset({34, 38, 41, 42, 43, 44, 46, 47, 127})
# What ITU-T E.180 recommends, for countries whose own is not known: 425 Hz for a second, then four of silence.
OTHERWISE = "DE"


def ringback(country: str | None) -> Cadence:
    return tones(country if country in COUNTRIES else OTHERWISE)[ToneKind.RINGBACK]


def another_line_may_do(leg: Leg) -> bool:
    """It was not the far phone that this attempt failed by."""
    if leg.end is None or leg.answered.is_set():
        return False
    by_network = leg.end.reason is Reason.REFUSED and leg.end.cause in NETWORK_CAUSES
    return by_network or leg.end.reason in (Reason.NO_LINE, Reason.LINE_LOST, Reason.HANGUP)


def not_reached(leg: Leg) -> Ended:
    """What it is to the call that the other was not joined."""
    assert leg.end is not None
    if leg.end.reason is not Reason.HANGUP:
        return leg.end
    # Hung up while he was told that he is recorded; or the device gave us no sound.
    return Ended(Reason.REFUSED, 21) if leg.answered.is_set() else ours(Reason.NO_LINE)


def message_for(rule: RelayRule, end: Ended) -> TakeMessage | None:
    """What the caller is to hear, whom the owner did not answer; None: nothing."""
    match end.reason:
        case Reason.PAUSED:
            return rule.paused
        case Reason.OWNER:
            return rule.busy
        case Reason.RING_TIMEOUT:
            return rule.no_answer
        case Reason.REFUSED:
            rules = {Outcome.BUSY: rule.busy, Outcome.NO_ANSWER: rule.no_answer}
            return rules.get(OUTCOME_OF_CAUSE.get(end.cause, Outcome.FAILED), rule.no_line)
        case Reason.NO_LINE | Reason.NOT_PERMITTED | Reason.LINE_LOST:
            return rule.no_line
    return None


@dataclass(frozen=True)
class TwoPhones:
    """The program of a relay's call and of a bridge's. `to` is who is dialed by a line that `seek` finds beside those.

    `refusal` is why nobody is dialed at all. `outside` is whether who is there is the stranger, who is recorded on the
    left. `consent` is what both hear before they are recorded, None: `recorded` is False, or nothing.
    """

    to: str
    role: str
    rule: RelayRule
    seek: Seek
    limit_s: float
    country: str | None
    outside: bool = True
    recorded: bool = True
    consent: str | None = None
    refusal: Ended | None = None
    # Of who is there, when we dialed him.
    ring_s: float = 30

    @property
    def unanswered(self) -> Ended | None:
        """A caller who is not forwarded is answered to take his message."""
        return self.refusal if self.refusal and message_for(self.rule, self.refusal) is None else None

    def alerting(self, call: Call) -> Request | None:
        return None

    def farewell(self, call: Call) -> Request | None:
        return None

    async def follow(self, conductor: Conductor, port: Port) -> Ended:
        # Keys pass as the sound that they are.
        conductor.leg.digits.close()
        end = self.refusal or await self._reach(conductor, port)
        if conductor.call.joined_at is None and (rule := message_for(self.rule, end)) is not None:
            # However it ends, this is what became of the call.
            conductor.leg.decided = end
            await self._take_message(rule, conductor, port)
        return end

    async def _reach(self, conductor: Conductor, port: Port) -> Ended:
        end = ours(Reason.NO_LINE)
        tried = [conductor.leg.seizure.trunk]
        engine = conductor.means.media.engine
        with closing(engine.tone(ringback(country_of(tried[0].number)), loop=True)) as tone:
            engine.connect(tone, port)
            while len(tried) <= TRIES:
                try:
                    seizure, limit_s = await self.seek(besides=tried)
                except NoLine:
                    conductor.log.warning("no line is free to dial")
                    break
                except NotDialed as exc:
                    conductor.log.warning("not dialed", error=str(exc))
                    return ours(Reason.NOT_PERMITTED) if len(tried) == 1 else end
                tried.append(seizure.trunk)
                leg = await self._call_up(seizure, limit_s, conductor, port, tone)
                if conductor.call.joined_at is not None:
                    assert leg.end is not None
                    return leg.end
                end = not_reached(leg)
                if not another_line_may_do(leg):
                    break
        return end

    async def _call_up(self, seizure: Seizure, limit_s: float, conductor: Conductor, there: Port, tone: Player) -> Leg:
        async def talk(port: Port) -> Ended:
            tone.close()
            await self._join(conductor, there, port)
            return await trio.sleep_forever()

        if not self.outside:
            conductor.shown = seizure.trunk.number
        return await conductor.call_up(
            seizure, self.to, role=self.role, talk=talk, ring_s=self.rule.ring_s, limit_s=limit_s
        )

    async def _join(self, conductor: Conductor, there: Port, port: Port) -> None:
        """For as long as the other's line is up."""
        engine = conductor.means.media.engine
        consent: dict[str, Any] = {}
        if self.recorded and self.consent is not None:
            consent = {"consent": await self._ask_consent(self.consent, conductor, (there, port))}
        engine.connect(there, port)
        engine.connect(port, there)
        async with AsyncExitStack() as stack:
            # Without what was to be heard before it there is no recording.
            if self.recorded and consent.get("consent", {}).get("played", True):
                left, right = (there, port) if self.outside else (port, there)
                await stack.enter_async_context(conductor.recording(left, [right]))
            await conductor.change(Joined(), **consent)
            conductor.parties = (there, port)
            try:
                await trio.sleep_forever()
            finally:
                # One of them is gone, though his line may take its time to be hung up.
                conductor.parties = ()

    async def _ask_consent(self, what: str, conductor: Conductor, both: Sequence[Port]) -> dict[str, Any]:
        """The proof that both heard it, and when."""
        means = conductor.means
        proof: dict[str, Any] = {"country": self.country, "what": what, "played": False}
        try:
            if what == "beep":
                await beep(means.media, both)
            else:
                announcement = await trio.to_thread.run_sync(read_announcement, means.announcements / what)
                proof["sha256"] = hashlib.sha256(announcement.samples).hexdigest()
                await announce(announcement, means.media, both)
            proof["played"] = True
        except AnnouncementError as exc:
            conductor.log.error("not recorded, since it can't be said before", error=str(exc))
        return proof | {"at": conductor.time().isoformat(timespec="milliseconds")}

    async def _take_message(self, rule: TakeMessage, conductor: Conductor, port: Port) -> None:
        conductor.log.info("the box serves the caller by itself")
        means = conductor.means
        async with AsyncExitStack() as stack:
            ears: list[Port] = []
            if rule.record:
                ears = await stack.enter_async_context(conductor.recording(port))
            await take_message(rule, means.announcements, media=means.media, sinks=(port, *ears), log=conductor.log)
