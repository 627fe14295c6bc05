"""What is to become of a project's call: a relay's, an agent's, a bridge's (phonevoice 4 and 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from appliance.actions import StreamTo
from appliance.attendant import AgentCall
from appliance.call import Ended, Kind, Reason
from appliance.conductor import Program
from appliance.config import Relay
from appliance.directory import RelayNumber
from appliance.exchange import Exchange, NoLine, Seek, is_free
from appliance.leg import ours
from appliance.numbers import country_of
from appliance.options import RelayRule
from appliance.relay import TwoPhones
from appliance.trunk import Seizure, Trunk

log = structlog.get_logger(__name__)

# 4.2
AGENT_RING_S, RECIPIENT_RING_S = 30, 45


@dataclass(frozen=True)
class Plan:
    """`dials` is whom a line that `seek` finds is to dial first, if any is. `from_` is empty until that is found."""

    kind: Kind
    project: int
    from_: str
    to: str
    program: Program
    dials: str
    seek: Seek
    relay_number: str | None = None


class Plans:
    def __init__(self, exchange: Exchange, trunks: Sequence[Trunk], choice: Relay) -> None:
        self._exchange = exchange
        self._trunks = trunks
        self._choice = choice

    def relayed(self, trunk: Trunk, relay: RelayNumber, caller: str) -> Plan:
        """As the relay is now: a change counts from the next call on."""
        to = relay.forward_to or relay.number
        rule = self._rule_of(relay)
        seek = self._seek(to, relay.project, like=trunk, further=True)
        program = TwoPhones(
            to=to,
            role="owner",
            rule=rule,
            seek=seek,
            limit_s=self._choice.limit_s,
            country=relay.country,
            consent=self._consent(rule, relay.country),
            refusal=self._refusal(relay, caller),
        )
        return Plan(Kind.RELAY, relay.project, caller, to, program, to, seek, relay.number)

    def agent(
        self,
        project: int,
        to: str,
        stream: StreamTo,
        *,
        from_: str | None = None,
        rather: str | None = None,
        recorded: bool = True,
    ) -> Plan:
        """`to` is called, on the line of that number or whichever is free, and the agent's stream speaks with him.
        `rather` is the number of the line that is asked first.
        """
        program = AgentCall(stream, recorded=recorded, ring_s=RECIPIENT_RING_S, limit_s=self._choice.limit_s)
        seek = self._seek(to, project, only=self._trunk_of(from_), first=self._trunk_of(rather))
        return Plan(Kind.AGENT, project, from_ or "", to, program, to, seek)

    def bridge(
        self,
        project: int,
        agent: str,
        to: str,
        *,
        relay_number: str | None = None,
        rather: str | None = None,
        recorded: bool = True,
    ) -> Plan:
        """The agent's own phone is called first, then `to`, on the line of that number, or rather on that one, or else
        on the first; then they talk.
        """
        only = self._trunk_of(relay_number)
        # Whom the recipient sees, if it is free by then.
        second = only or self._trunk_of(rather) or next(iter(self._exchange.in_order(None)), None)
        country = country_of(to)
        rule = RelayRule(ring_s=RECIPIENT_RING_S)
        program = TwoPhones(
            to=to,
            role="recipient",
            rule=rule,
            seek=self._seek(to, project, first=second, only=only, further=True),
            limit_s=self._choice.limit_s,
            country=country,
            outside=False,
            recorded=recorded,
            consent=self._consent(rule, country),
            ring_s=AGENT_RING_S,
        )
        seize = self._seek(agent, project, besides=[second] if second else [])

        async def seek() -> tuple[Seizure, float]:
            # Nobody is called to hear that there is no line for the other one.
            free = list(filter(is_free, [only] if only else self._exchange.in_order(None)))
            if len(free) < (1 if only else 2):
                raise NoLine
            return await seize()

        return Plan(Kind.BRIDGE, project, second.number if second else "", to, program, agent, seek)

    def _seek(self, to: str, project: int, **wanted: object) -> Seek:
        return partial(self._exchange.seize, to, project=project, limit_s=self._choice.limit_s, **wanted)  # type: ignore[arg-type]

    def _trunk_of(self, number: str | None) -> Trunk | None:
        return next((trunk for trunk in self._trunks if trunk.number == number), None)

    def _refusal(self, relay: RelayNumber, caller: str) -> Ended | None:
        """Why nobody is dialed for this caller."""
        if not relay.enabled or relay.forward_to is None:
            return ours(Reason.PAUSED)
        # The box would call itself: at once, or by way of a phone that forwards to it.
        calling = self._trunk_of(caller)
        if self._trunk_of(relay.forward_to) is not None or (calling is not None and calling.forwards):
            return ours(Reason.LOOP)
        return ours(Reason.OWNER) if caller == relay.forward_to else None

    def _rule_of(self, relay: RelayNumber) -> RelayRule:
        try:
            return self._choice.over(relay.rule)
        except ValueError as exc:
            log.error("the relay's rule can't be read", number=relay.id, error=str(exc))
            return self._choice

    def _consent(self, rule: RelayRule, country: str | None) -> str | None:
        what = rule.consent or self._choice.consent or self._choice.consents.get(country or "")
        return None if what == "none" else what
