"""A box without lines: calls that open, go on and end in the store, and their events on the way to webhooks.

Run by tests/test_crash.py. Each line on stdin is an order `{"path", "url", "calls", "crash"}`; a fork of this process,
which has all that is slow to load, lives it and perhaps dies of it. Each line on stdout is how it ended.
"""

import json
import os
import ssl
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import structlog
import trio

from appliance.call import Call, Change, Dialed, Direction, Ended, Joined, Kind, Reason, State
from appliance.config import Webhook
from appliance.contracts.sfvopi import App, Link
from appliance.courier import run_courier
from appliance.directory import AgentSettings
from appliance.events import status
from appliance.gateway import Gateway
from appliance.ingest import Verdict
from appliance.links import Links
from appliance.mailbox import NewPart
from appliance.message import Message, MessagePart, PartState
from appliance.options import Options
from appliance.recordings import Why
from appliance.store import Store, open_store
from appliance.tenants import BOX
from drivers.line import Alerting, Answered

LINKS = Links(b"k" * 32, "https://box.example")
SECRET = "whsec_0123456789abcdef01234567"
NUMBER, RELAY = "+33700000002", "+33159133354"
TLS = ssl.create_default_context()  # slow to make, never used
APP = App("sfv_app_1", "bot", "https://b/", "POST", None, "POST", None, "POST", "ACTIVE", "2026-06-04T12:00:00.000Z")

END = Ended(Reason.HANGUP, 16)
INBOUND = (Direction.INBOUND, State.INCOMING, Kind.APP, (Answered(), END))
OUTBOUND = (Direction.OUTBOUND, State.QUEUED, Kind.APP, (Dialed(), Alerting(), Answered(), END))
RELAYED = (Direction.INBOUND, State.INCOMING, Kind.RELAY, (Answered(), Joined(), END))


@dataclass(frozen=True)
class Mp3:
    frames: int = 8000
    size_bytes: int = 4000
    sha256: str = "ab" * 32


def now() -> datetime:
    return datetime.now(UTC)


async def change(store: Store, call: Call, what: Change) -> Call:
    changed = call.apply(what, now())
    await store.save(changed, told_at=now() if status(changed) != status(call) else None)
    return changed


async def converse(store: Store, number: int) -> Call:
    """One call from its first sign to its last fact, with all that is written down beside it."""
    direction, state, kind, changes = (OUTBOUND, INBOUND, RELAYED)[number % 3]
    call = await store.open_call(
        uuid=str(uuid4()),
        line="office",
        direction=direction,
        from_="+33700000001",
        to=NUMBER,
        state=state,
        started_at=now(),
        route="{}",
        kind=kind,
    )
    leg = None
    for what in changes:
        if what == Joined():
            leg = await store.open_leg(call.id, line="home", role="owner", to="+33700000003", at=now())
            await store.leg_answered(leg, now())
        if what == END and leg is not None:
            await store.leg_ended(leg, END, now())
        if what == END and direction is Direction.OUTBOUND:
            await encode(store, call)
        call = await change(store, call, what)
    if direction is Direction.INBOUND:
        await encode(store, call)
    while (upload := await store.uploads.next()) is not None:
        await store.uploads.tried(upload, Verdict.AGAIN if upload.tries < 2 else Verdict.TAKEN)
    await store.recordings.deleted([call.uuid], Why.ORDERED, now(), by="key")
    await store.measured(call.id, "{}")
    return call


async def serve_older(store: Store, url: str) -> None:
    """A call of the older generation, whose recording takes too long."""
    call = await store.open_call(
        uuid=str(uuid4()),
        line="office",
        direction=Direction.OUTBOUND,
        from_=NUMBER,
        to="+33700000001",
        state=State.DIALING,
        started_at=now(),
        route="{}",
        kind=Kind.AGENT,
        project=BOX,
        details={"call_id": f"call_{uuid4().hex[:10]}", "webhook_url": url},
    )
    call = await change(store, call, Answered())
    await store.recordings.open(call.id, Path(f"/recordings/{call.uuid}.wav"))
    await change(store, call, END)
    await store.legacy.give_up(call.id, now())


async def encode(store: Store, call: Call) -> None:
    wav = Path(f"/recordings/{call.uuid}.wav")
    await store.recordings.open(call.id, wav)
    await store.recordings.encoded(wav, Mp3(), now())


async def correspond(store: Store) -> None:
    """A long message comes, in two parts, and one goes: the network takes it, and reports on it."""
    mailbox = store.mailbox
    parts = [NewPart(f"print {number}", "00", number, 2) for number in (1, 2)]
    if not await mailbox.knows(NUMBER, parts[0].fingerprint):
        await mailbox.keep_part(NUMBER, parts[0], now())
    if not await mailbox.knows(NUMBER, parts[1].fingerprint):
        (first,) = await mailbox.loose_parts(NUMBER)
        await mailbox.received(message(Direction.INBOUND), [first.fingerprint], last=parts[1])
    if await mailbox.next_due(NUMBER, besides=()) is None:
        await mailbox.queue(message(Direction.OUTBOUND), ["00"])
    while (part := await mailbox.next_due(NUMBER, besides=())) is not None:
        await mailbox.move(part, PartState.SENDING, now(), attempts=part.attempts)
        await mailbox.move(part, PartState.SENT, now(), attempts=part.attempts + 1, reference=7)
    # As the SIM has it, until it is safe here.
    await mailbox.reported(NUMBER, 7, "+33700000001", PartState.DELIVERED, None, now())
    await mailbox.reported(NUMBER, 7, "+33700000001", PartState.DELIVERED, None, now())
    await mailbox.queue(replace(message(Direction.OUTBOUND), expires_at=now()), ["00"])
    await mailbox.expire(now())


async def let(store: Store) -> None:
    """A project and a user, and what they have, from first to last. A number that was bought has its claim, or the next
    to buy it would find it taken.
    """
    tenants, directory, key = store.tenants, store.directory, uuid4().hex
    project = (await tenants.add_project(key, at=now())).id
    await tenants.add_token(key, project=project, name="crm", at=now())
    email = f"{key}@example.com"
    await tenants.sign_up(email, None, "123456", at=now(), expires_at=now() + timedelta(hours=1))
    assert await tenants.confirm(email, "123456", key[::-1], at=now())
    if (relay := await directory.relay_of(RELAY)) is not None:
        await directory.release(relay.id)
    relay = await directory.buy(RELAY, project=project, forward_to=None, country="FR", type_="local", at=now())
    await directory.change(relay.id, forward_to="+33700000003", enabled=True)
    await directory.release(relay.id)
    agent = await directory.add_agent(project, "bot", AgentSettings(), at=now())
    await directory.delete_agent(agent.id)
    webhook, _ = await store.subscriptions.create(project, "https://crm.example/hook", at=now())
    await store.subscriptions.delete(webhook.id)
    await tenants.revoke(project=project, name="crm", at=now())


def message(direction: Direction) -> Message:
    ours, theirs = NUMBER, "+33700000001"
    from_, to = (theirs, ours) if direction is Direction.INBOUND else (ours, theirs)
    parts = [MessagePart(number, PartState.RECEIVED) for number in (1, 2)]
    return Message(f"sms_{uuid4().hex}", 0, "office", direction, from_, to, "hello", now(), None, None, True, parts)


async def live(path: Path, url: str, calls: int) -> None:
    hooks = [Webhook.model_construct(url=url + name, secret=SECRET, events=("*",), name=None) for name in "ab"]
    courier = partial(run_courier, user_agent="box", gateway=Gateway(allow_loopback=True), now=now, tls=TLS)
    async with open_store(path, hooks, uploads=True, links=LINKS) as store, trio.open_nursery() as nursery:
        nursery.start_soon(courier, store.outbox)
        for call, _ in await store.open_calls():
            await change(store, call, Ended(Reason.RESTART, 41))
        for wav in await store.recordings.unfinished():
            await store.recordings.encoded(wav, Mp3(), now())
        await store.save_app(APP)
        await store.link(Link(APP.app_id, NUMBER, APP.created_at))
        await store.set_options(APP.app_id, Options())
        await store.add_key(uuid4().hex, name="crm", at=now())
        number = 0
        while number < calls:
            number = (await converse(store, number)).id
        await serve_older(store, url + "older")
        await correspond(store)
        await let(store)
        await store.casebook.write((), (), now())
        await store.casebook.round_done(now().date())
        await store.revoke_keys("crm", at=now())
        await store.unlink(APP.app_id, NUMBER)
        await store.delete_app(APP.app_id)
        await store.outbox.resume(hooks[0])
        await store.outbox.grow_older()
        # Only the courier knows when it has nothing left, and it is not made to be asked.
        while await store.outbox.pending():  # noqa: ASYNC110
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for line in sys.stdin:
        order = json.loads(line)
        if (pid := os.fork()) == 0:
            if order["crash"]:
                os.environ["BRANCHLINE_CRASH_AT"] = order["crash"]
            trio.run(live, Path(order["path"]), order["url"], order["calls"])
            os._exit(0)
        _, ended = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


main()
