"""The network's service centre for short messages: it takes them, dates them, keeps them for who is away, and reports.

What a bench wants to go wrong is done to `held`: with `holding`, messages are kept there, to be put in another order,
doubled or dropped, until `release`.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from drivers import sms
from drivers.sms import Deliver, Report, Submit

if TYPE_CHECKING:
    from hil.network import Network

NUMBER = "+33689004000"
# 23.040 9.2.3.12: kept as long as nothing else is said.
VALIDITY_S = 7 * 86400.0
# 9.2.3.15.
_DELIVERED, _EXPIRED, _NOBODY = 0x00, 0x46, 0x41


@runtime_checkable
class Recipient(Protocol):
    """A party that takes messages."""

    def take_message(self, pdu: str) -> bool:
        """False: not now; it says by `Centre.knock` when to try again."""


@dataclass(frozen=True)
class Waiting:
    """A message on its way; `report_to` is whoever wants to hear of it, with the reference that he knows it by."""

    to: str
    message: Deliver | Report
    expires_at: datetime
    report_to: tuple[str, int] | None = None


class Centre:
    def __init__(self, network: "Network") -> None:
        self.holding = False
        self.held: list[Waiting] = []
        self._network = network
        self._waiting: deque[Waiting] = deque()
        self._epoch: datetime | None = None
        self._dated: dict[str, datetime] = {}
        self._now = datetime.now(UTC)
        self._busy = False

    def submit(self, sender: str, message: Submit, reference: int, now: float) -> None:
        """`now` is of any clock that all senders share; from the first one on it is what time it is here."""
        self._tick(now)
        to = self._network.international(message.recipient)
        validity = timedelta(seconds=message.validity_s or VALIDITY_S)
        report_to = (sender, reference) if message.report else None
        delivered = Deliver(sender, message.data, self._date(sender), message.message_class)
        party = self._network.party(to)
        if isinstance(party, Recipient) or (party is None and to in self._network.subscribed):
            self._keep(Waiting(to, delivered, self._now + validity, report_to))
        elif report_to:
            self._report(Waiting(to, delivered, self._now, report_to), _NOBODY)
        self.knock(to, now)

    def _keep(self, waiting: Waiting) -> None:
        if self.holding:
            self.held.append(waiting)
        else:
            self._waiting.append(waiting)

    def release(self, now: float) -> None:
        """All that is held, in its order there."""
        self.holding = False
        self._waiting += self.held
        self.held.clear()
        self._tick(now)
        self._work()

    def knock(self, number: str, now: float) -> None:
        """Who was away is there again, or has room again."""
        if self._waiting:
            self._tick(now)
            self._work()

    @property
    def waiting(self) -> int:
        """Messages that nobody has taken yet."""
        return len(self._waiting) + len(self.held)

    def _work(self) -> None:
        # What a recipient does with a message may be a message, or a knock.
        if self._busy:
            return
        self._busy = True
        try:
            while self._deliver_some():
                pass
        finally:
            self._busy = False

    def _deliver_some(self) -> bool:
        """One round; whether anything moved. A recipient's first message that is not stops his others."""
        stopped: set[str] = set()
        moved = False
        for waiting in list(self._waiting):
            party = self._network.party(waiting.to)
            if waiting.expires_at <= self._now:
                self._waiting.remove(waiting)
                self._report(waiting, _EXPIRED)
                moved = True
            elif waiting.to not in stopped:
                pdu = sms.encode(waiting.message, smsc=NUMBER)
                if isinstance(party, Recipient) and party.take_message(pdu):
                    self._waiting.remove(waiting)
                    self._report(waiting, _DELIVERED)
                    moved = True
                else:
                    stopped.add(waiting.to)
        return moved

    def _report(self, waiting: Waiting, status: int) -> None:
        if waiting.report_to is None or isinstance(waiting.message, Report):
            return
        sender, reference = waiting.report_to
        report = Report(reference, waiting.to, waiting.message.sent_at, self._now.replace(microsecond=0), status)
        self._keep(Waiting(sender, report, self._now + timedelta(seconds=VALIDITY_S)))

    def _tick(self, now: float) -> None:
        if self._epoch is None:
            self._epoch = datetime.now(UTC) - timedelta(seconds=now)
        self._now = self._epoch + timedelta(seconds=now)

    def _date(self, sender: str) -> datetime:
        """The air takes seconds for each message: of one sender no two have the same date."""
        date = self._now.replace(microsecond=0)
        if sender in self._dated:
            date = max(date, self._dated[sender] + timedelta(seconds=1))
        self._dated[sender] = date
        return date


@dataclass(frozen=True)
class Menu:
    """A text, and what each answer to it gives; without any, it is the last."""

    text: str
    choices: Mapping[str, "Menu"] = field(default_factory=dict)


CODES = {
    "*123#": Menu("Your balance is 5.00 EUR. Valid until 31/12."),
    "*100#": Menu("1. Balance\n2. Top up\n0. Exit", {"1": Menu("5.00 EUR"), "2": Menu("Not now"), "0": Menu("")}),
    "*101#": Menu("Баланс: 5 €"),
}


class Menus:
    """The network's USSD service: each subscriber is in one menu at most."""

    def __init__(self) -> None:
        self.codes = dict(CODES)
        self._places: dict[str, Menu] = {}

    def ask(self, number: str, text: str | None) -> tuple[int, str] | None:
        """27.007 7.15 <m> and the text; None to who leaves, when there was nothing to leave."""
        place = self._places.pop(number, None)
        if text is None:
            return (2, "") if place else None
        menu = (place.choices if place else self.codes).get(text)
        if menu is None:
            return (2, "") if place else (4, "")
        if menu.choices:
            self._places[number] = menu
        return (1 if menu.choices else 0), menu.text
