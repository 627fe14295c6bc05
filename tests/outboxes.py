"""What the outbox's tests have in common: two webhooks, what may come of an attempt, and what is due."""

from datetime import UTC, datetime

from appliance.config import Webhook
from appliance.outbox import Attempt, Delivery, Outbox
from appliance.webhook import Verdict

NOON = datetime(2026, 6, 4, 12, 0, 0, 0, UTC)
SECRET = "whsec_0123456789abcdef01234567"
CRM = Webhook.model_construct(url="https://crm.example/hook", secret=SECRET, events=("*",), name="crm")
LOG = Webhook.model_construct(url="https://log.example/", secret=SECRET, events=("phone_call.completed",), name=None)
OK = Attempt(Verdict.DELIVERED, NOON, 12, code=200, response=b"ok")
GONE = Attempt(Verdict.GONE, NOON, 12, code=410)


def failed(next_at: datetime | None) -> Attempt:
    return Attempt(Verdict.RETRY, NOON, 12, error="refused", next_at=next_at)


async def due(outbox: Outbox, webhook: Webhook = CRM, now: datetime = NOON) -> list[str]:
    """All that are due now, as the workers would take them; bodies tell them apart."""
    taken: list[Delivery] = []
    while isinstance(found := await outbox.next_due(webhook, now, besides=[each.seq for each in taken]), Delivery):
        taken.append(found)
    return [delivery.body.decode().partition('"data":')[2] for delivery in taken]


async def first(outbox: Outbox, webhook: Webhook = CRM, now: datetime = NOON) -> Delivery:
    found = await outbox.next_due(webhook, now)
    assert isinstance(found, Delivery)
    return found
