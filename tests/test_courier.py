import errno
import hashlib
import hmac
import json
import socket
import sqlite3
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import product
from urllib.parse import urlsplit

import pytest
import trio
import trio.testing

from appliance.config import Webhook
from appliance.courier import run_courier
from appliance.database import Commit, Database, open_database
from appliance.events import Event, LegacyEvent
from appliance.gateway import Gateway, target_refusal
from appliance.outbox import Outbox
from appliance.subscriptions import Subscription, Subscriptions
from appliance.webhook import KEEP_H, PARALLEL, RETRY_AFTER_S
from tests.bare_http import next_request
from tests.certificates import Certified, certify

NOON = datetime(2026, 6, 4, 12, 0, 0, 0, UTC)
SECRET = "whsec_0123456789abcdef01234567"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad"
GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """As it came over the wire, the header's spelling included."""

    start: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def t(self) -> int:
        return int(self.headers["Phonevoice-Signature"].split(",")[0].removeprefix("t="))


@dataclass
class Receiver:
    """A customer's server, bare: `answers` are sent one after the other, the last one for ever."""

    answers: list[bytes] = field(default_factory=lambda: [OK])
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    held: trio.Event | None = None
    arrived: trio.Event = field(default_factory=trio.Event)

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        buffer = bytearray()
        try:
            while (came := await next_request(stream, buffer)) is not None:
                self.requests.append(Request(*came))
                self.arrived.set()
                self.arrived = trio.Event()
                if self.held is not None:
                    await self.held.wait()
                await stream.send_all(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
                if b"Content-Length" not in (self.answers[0] + OK):
                    return
        except (trio.BrokenResourceError, ssl.SSLError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def received(self, count: int) -> list[Request]:
        while len(self.requests) < count:
            await self.arrived.wait()
        return self.requests


async def until(ask: Callable[[], Awaitable[object]]) -> None:
    while not await ask():
        await trio.testing.wait_all_tasks_blocked(0.002)


@dataclass
class Box:
    database: Database
    nursery: trio.Nursery
    hooks: list[Webhook] = field(default_factory=list)
    epoch: datetime = NOON
    began: float = field(default_factory=trio.current_time)
    probe: tuple[str, int] | None = None

    def now(self) -> datetime:
        return self.epoch + timedelta(seconds=trio.current_time() - self.began)

    @cached_property
    def outbox(self) -> Outbox:
        return Outbox(self.database, self.hooks)

    async def receiver(self, *answers: bytes, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Receiver:
        receiver = Receiver(list(answers) or [OK])
        serve = partial(trio.serve_ssl_over_tcp, ssl_context=tls) if tls else trio.serve_tcp
        (listener,) = await self.nursery.start(partial(serve, receiver.serve, 0, host="127.0.0.1"))
        port = (listener.transport_listener if tls else listener).socket.getsockname()[1]
        url = f"{'https' if tls else 'http'}://{host}:{port}/hook?a=b%20c"
        self.hooks.append(Webhook.model_construct(url=url, secret=SECRET, events=("*",), name=None))
        return receiver

    def start(self, *, allow_loopback: bool = True, tls: ssl.SSLContext | None = None) -> None:
        self.nursery.start_soon(
            partial(
                run_courier,
                self.outbox,
                user_agent="Branchline/0.1.0",
                gateway=Gateway(allow_loopback=allow_loopback, probe=self.probe),
                now=self.now,
                tls=tls,
                chance=lambda: 0.0,
            )
        )

    async def put(self, *numbers: int, call: int | None = None, project: int | None = None) -> None:
        for number in numbers:
            event = Event("phone_call.completed", self.now(), {"id": number, "note": "Ça va ?"}, call, project)
            await self.database.write(Commit.CALL_ENDED, partial(self._put, event))
        self.outbox.ring()

    def _put(self, event: Event, connection) -> None:
        self.outbox.put(connection, event)

    async def settled(self, count: int, of: int | Webhook | Subscription = 0):
        """The log, once it has that many attempts: each is written down before the next thing."""

        hook = self.hooks[of] if isinstance(of, int) else of

        async def enough() -> bool:
            return len(await self.outbox.log(hook)) >= count

        await until(enough)
        return await self.outbox.log(hook)


@pytest.fixture
async def box(tmp_path) -> AsyncIterator[Box]:
    """Where a test names `mock_clock`, time stands still but for its jumps."""
    async with open_database(tmp_path / "box.db") as database, trio.open_nursery() as nursery:
        yield Box(database, nursery)
        nursery.cancel_scope.cancel()


async def test_a_delivery_is_one_signed_post(box):
    receiver = await box.receiver()
    box.start()
    await box.put(1)
    (request,) = await receiver.received(1)
    assert request.start == "POST /hook?a=b%20c HTTP/1.1"
    # The spelling counts: a published verifier looks it up in a case-sensitive map.
    t, v1 = request.headers["Phonevoice-Signature"].split(",")
    assert t == f"t={int(NOON.timestamp())}"
    signed = hmac.new(SECRET.encode(), t[2:].encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert v1 == f"v1={signed}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == "Branchline/0.1.0"
    assert request.body.startswith(f'{{"id":"{request.id}","type":"phone_call.completed"'.encode())
    assert not {"Content-Encoding", "Transfer-Encoding"} & set(request.headers)
    (entry,) = await box.settled(1)
    assert (entry.code, entry.response, entry.error, entry.next_at) == (200, b"ok", None, None)
    assert await box.outbox.pending() == 0


async def test_what_waited_from_before_the_start_is_delivered(box):
    receiver = await box.receiver()
    await box.put(*range(20))
    box.start()
    await box.settled(20)
    assert len({request.id for request in receiver.requests}) == len(receiver.requests) == 20
    assert await box.outbox.pending() == 0


@pytest.mark.parametrize("table", ["deliveries", "subscriptions"])
async def test_a_file_that_can_not_be_read_delays_deliveries_and_ends_nothing(box, mock_clock, tmp_path, table):
    receiver = await box.receiver()
    box.start()
    with closing(sqlite3.connect(tmp_path / "box.db")) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME TO lost")
        box.outbox.ring()
        await trio.testing.wait_all_tasks_blocked(0.05)
        connection.execute(f"ALTER TABLE lost RENAME TO {table}")
    await box.put(1)
    mock_clock.jump(30)
    await receiver.received(1)


async def test_a_retry_is_the_same_delivery_with_a_new_signature(box, mock_clock):
    receiver = await box.receiver(BROKEN, OK)
    box.start()
    await box.put(1)
    (entry,) = await box.settled(1)
    assert (entry.code, entry.response) == (500, b"bad")
    assert entry.next_at == (NOON + timedelta(seconds=5)).isoformat()
    mock_clock.jump(5)
    first, second = await receiver.received(2)
    assert (second.id, second.body) == (first.id, first.body)
    assert second.t == first.t + 5
    assert second.headers["Phonevoice-Signature"] != first.headers["Phonevoice-Signature"]


async def test_eight_failures_on_schedule_and_the_event_is_given_up(box, mock_clock):
    receiver = await box.receiver(BROKEN)
    box.start()
    await box.put(1)
    for number, wait_s in enumerate(RETRY_AFTER_S, 1):
        await box.settled(number)
        mock_clock.jump(wait_s - 1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(receiver.requests) == number
        mock_clock.jump(1)
    entries = await box.settled(8)
    assert [entry.attempt for entry in entries] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert entries[0].next_at is None
    assert await box.outbox.pending() == 0


async def test_retry_after_is_honoured(box, mock_clock):
    await box.receiver(b"HTTP/1.1 503 Busy\r\nretry-after: 120\r\nContent-Length: 0\r\n\r\n")
    box.start()
    await box.put(1)
    (entry,) = await box.settled(1)
    assert entry.next_at == (NOON + timedelta(seconds=120)).isoformat()


async def test_gone_ends_a_webhook_and_no_other(box):
    gone, other = await box.receiver(GONE), await box.receiver()
    box.start()
    await box.put(1)
    await box.settled(1)
    await box.put(2)
    await other.received(2)
    assert len(gone.requests) == 1
    await box.settled(2, 1)
    assert await box.outbox.pending() == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_redirect_or_a_refusal_is_a_failure_and_is_not_followed(box, answer):
    receiver = await box.receiver(answer)
    box.start()
    await box.put(1)
    (entry,) = await box.settled(1)
    assert entry.next_at is not None
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200", b"\x00" * 100_000],
    ids=["nothing", "not HTTP", "cut off", "rubbish"],
)
async def test_what_is_no_answer_is_a_failure(box, answer):
    class Rude(Receiver):
        async def serve(self, stream):
            await stream.receive_some()
            await stream.send_all(answer or b"")
            await stream.aclose()

    receiver = await box.receiver()
    receiver.serve = None
    (listener,) = await box.nursery.start(partial(trio.serve_tcp, Rude().serve, 0, host="127.0.0.1"))
    box.hooks[0] = box.hooks[0].model_copy(update={"url": f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"})
    box.start()
    await box.put(1)
    (entry,) = await box.settled(1)
    assert entry.code is None
    assert entry.error
    assert entry.next_at is not None


async def test_a_server_that_is_not_there_is_a_failure(box):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/"
        box.hooks.append(Webhook.model_construct(url=url, secret=SECRET, events=("*",), name=None))
        box.start()
        await box.put(1)
        (entry,) = await box.settled(1)
    assert "refused" in entry.error


async def test_no_answer_within_fifteen_seconds_is_a_failure(box, mock_clock):
    receiver = await box.receiver()
    receiver.held = trio.Event()
    box.start()
    await box.put(1)
    await receiver.received(1)
    mock_clock.jump(15)
    (entry,) = await box.settled(1)
    assert (entry.code, entry.error, entry.duration_ms) == (None, "no answer in 15 s", 15_000)


async def test_an_answer_counts_from_its_status_on(box, mock_clock):
    receiver = await box.receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow")
    box.start()
    await box.put(1)
    await receiver.received(1)
    await trio.testing.wait_all_tasks_blocked(0.01)
    mock_clock.jump(15)
    (entry,) = await box.settled(1)
    assert (entry.code, entry.error) == (200, None)
    assert await box.outbox.pending() == 0


async def test_an_endless_answer_is_not_read_to_its_end(box):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n"
    receiver = await box.receiver(head + b"x" * 1_000_000, OK)
    box.start()
    await box.put(1, 2)
    entries = await box.settled(2)
    assert {entry.response for entry in entries} == {b"x" * 1024, b"ok"}
    assert len(receiver.requests) == 2


async def test_four_at_a_time_and_no_more(box):
    receiver = await box.receiver()
    receiver.held = trio.Event()
    box.start()
    await box.put(*range(10))
    await receiver.received(4)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert len(receiver.requests) == 4
    receiver.held.set()
    await box.settled(10)
    assert len({request.id for request in receiver.requests}) == len(receiver.requests) == 10


async def test_a_webhook_that_hangs_delays_no_other(box):
    dead, alive = await box.receiver(), await box.receiver()
    dead.held = trio.Event()
    box.start()
    await box.put(*range(20))
    await alive.received(20)
    await dead.received(4)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert len(dead.requests) == 4


async def test_connections_are_used_again(box):
    receiver = await box.receiver(NO_CONTENT)
    box.start()
    for number in range(6):
        await box.put(number)
        await box.settled(number + 1)
    assert receiver.connections == 1


@dataclass
class Names(trio.abc.HostnameResolver):
    """The DNS as a test wants it: addresses, or an error."""

    answer: list[str] | OSError

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        if isinstance(host, bytes):
            host = host.decode()
        if not host.endswith(".example"):
            return socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        if isinstance(self.answer, OSError):
            raise self.answer
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, int(port)))
            for address in self.answer
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise AssertionError


def resolve(answer: list[str] | OSError) -> Names:
    names = Names(answer)
    trio.socket.set_custom_hostname_resolver(names)
    return names


NO_NAME_SERVER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_a_box_without_name_servers_blames_nobody_and_goes_on_when_they_are_back(box, mock_clock):
    receiver = await box.receiver(host="crm.example")
    names = resolve(NO_NAME_SERVER)
    box.start()
    await box.put(1, 2)
    for _ in range(100):
        await trio.testing.wait_all_tasks_blocked(0.001)
        mock_clock.jump(30)
    assert await box.outbox.log(box.hooks[0]) == []
    names.answer = ["127.0.0.1"]
    mock_clock.jump(30)
    await box.settled(2)
    assert len(receiver.requests) == 2


async def test_a_box_without_a_route_blames_nobody(box, mock_clock):
    tried = trio.Event()

    class Unplugged(trio.socket.SocketType):
        def __init__(self):
            self._socket = socket.socket()

        def setsockopt(self, *args):
            pass

        async def connect(self, address):
            tried.set()
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

        def close(self):
            self._socket.close()

    class Factory(trio.abc.SocketFactory):
        def socket(self, *args):
            return Unplugged()

    receiver = await box.receiver()
    trio.socket.set_custom_socket_factory(Factory())
    box.start()
    await box.put(1)
    await tried.wait()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert await box.outbox.log(box.hooks[0]) == []
    trio.socket.set_custom_socket_factory(None)
    mock_clock.jump(30)
    await receiver.received(1)


async def test_a_name_that_does_not_exist_is_the_webhooks_own_fault(box):
    await box.receiver(host="crm.example")
    resolve(NO_SUCH_NAME)
    box.start()
    await box.put(1)
    (entry,) = await box.settled(1)
    assert "not known" in entry.error
    assert entry.next_at is not None


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["192.168.1.9", "127.0.0.1"], ["169.254.169.254"]])
async def test_a_name_that_leads_where_no_event_may_go_is_refused_unconnected(box, addresses):
    receiver = await box.receiver(host="crm.example")
    resolve(addresses)
    box.start(allow_loopback=False)
    await box.put(1)
    (entry,) = await box.settled(1)
    assert "TargetRefused: crm.example: " in entry.error
    assert entry.next_at is not None
    assert receiver.connections == 0


async def test_the_next_address_is_tried_when_one_refuses(box):
    receiver = await box.receiver(host="crm.example")
    # Nobody listens on the first.
    resolve(["127.9.9.9", "127.0.0.1"])
    box.start()
    await box.put(1)
    await receiver.received(1)


async def test_a_box_whose_clock_is_not_set_signs_nothing(box, mock_clock):
    receiver = await box.receiver()
    box.epoch = datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC)
    box.start()
    await box.put(1)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert receiver.requests == []
    box.epoch = NOON
    mock_clock.jump(30)
    (request,) = await receiver.received(1)
    assert abs(request.t - NOON.timestamp()) < 60
    await box.settled(1)


async def test_what_was_never_sent_goes_after_nine_days(box, mock_clock):
    receiver = await box.receiver(host="crm.example")
    resolve(NO_NAME_SERVER)
    box.start()
    await box.put(1)
    await box.outbox.grow_older(60 * (KEEP_H - 9))
    for hour in range(KEEP_H - 8, KEEP_H + 1):
        assert await box.outbox.pending() == 1
        mock_clock.jump(3600)
        grown = f"SELECT hours >= {hour} FROM uptime"
        await until(lambda grown=grown: box.database.read(lambda c: c.execute(grown).fetchone()[0]))
    assert await box.outbox.pending() == 0
    assert receiver.requests == []


@pytest.fixture(scope="module")
def certified(tmp_path_factory) -> Certified:
    """For crm.example alone."""
    return certify(tmp_path_factory.mktemp("tls"), "crm.example")


async def test_a_certificate_that_is_trusted_is_enough(box, certified):
    receiver = await box.receiver(tls=certified.server, host="crm.example")
    resolve(["127.0.0.1"])
    box.start(tls=ssl.create_default_context(cafile=certified.ca))
    await box.put(1)
    await receiver.received(1)
    (entry,) = await box.settled(1)
    assert entry.code == 200


@pytest.mark.parametrize(("host", "trusted"), [("crm.example", False), ("other.example", True)])
async def test_a_certificate_of_strangers_or_for_another_name_is_a_failure(box, certified, host, trusted):
    receiver = await box.receiver(tls=certified.server, host=host)
    resolve(["127.0.0.1"])
    box.start(tls=ssl.create_default_context(cafile=certified.ca) if trusted else None)
    await box.put(1)
    (entry,) = await box.settled(1)
    assert "certificate verify failed" in entry.error
    assert receiver.requests == []


# --- webhooks that come, change and go ------------------------------------------------------------------------------

BUSY = b"HTTP/1.1 429 Slow down\r\nRetry-After: 1800\r\nContent-Length: 0\r\n\r\n"


async def served(box, *answers: bytes) -> tuple[Receiver, str]:
    """A receiver that is in no configuration, and its address."""
    receiver = await box.receiver(*answers)
    return receiver, box.hooks.pop().url


@pytest.fixture
def made(box):
    return Subscriptions(box.database, box.outbox.ring)


async def test_6_a_webhook_that_is_made_while_the_courier_runs_is_told_at_once(box, made):
    receiver, url = await served(box)
    box.start()
    hook, secret = await made.create(1, url, at=NOON)
    await box.put(1, project=1)
    (request,) = await receiver.received(1)
    t, v1 = request.headers["Phonevoice-Signature"].split(",")
    signed = hmac.new(secret.encode(), t[2:].encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert v1 == f"v1={signed}"
    await made.delete(hook.id)
    await box.put(2, project=1)
    again, _ = await made.create(1, url, at=NOON)
    await box.put(3, project=1)
    await receiver.received(2)
    assert [json.loads(request.body)["data"]["id"] for request in receiver.requests] == [1, 3]
    assert again.id != hook.id


async def test_6_a_webhook_that_moves_is_told_at_its_new_address(box, made):
    old, old_url = await served(box)
    new, new_url = await served(box)
    box.start()
    hook, _ = await made.create(1, old_url, at=NOON)
    await box.put(1, project=1)
    await box.settled(1, hook)
    await trio.testing.wait_all_tasks_blocked(0.02)
    await made.change(hook.id, {"url": new_url})
    await box.put(2, project=1)
    await new.received(1)
    assert len(old.requests) == 1


async def test_6_a_webhook_off_and_on_again_is_told_what_happens_then(box, made):
    receiver, url = await served(box)
    receiver.held = trio.Event()
    box.start()
    hook, _ = await made.create(1, url, at=NOON)
    await box.put(1, project=1)
    await receiver.received(1)
    await made.change(hook.id, {"active": False})
    await box.put(2, project=1)
    await made.change(hook.id, {"active": True})
    await box.put(3, project=1)
    receiver.held.set()
    await box.settled(1, hook)
    await receiver.received(2)
    assert [json.loads(request.body)["data"]["id"] for request in receiver.requests] == [1, 3]


async def test_8_410_switches_off_what_was_made_over_the_api(box, made):
    receiver, url = await served(box, GONE)
    box.start()
    hook, _ = await made.create(1, url, at=NOON)
    await box.put(1, project=1)
    await box.settled(1, hook)
    assert not (await made.get(hook.id)).active
    await box.put(2, project=1)
    assert await box.outbox.pending() == 0
    assert len(receiver.requests) == 1


async def test_8_bad_receivers_delay_nobody(box, made):
    """Slow, refusing, redirecting, talking rubbish, gone: each has its own way."""
    answers = [
        OK,
        BUSY,
        BROKEN,
        GONE,
        b"HTTP/1.1 302 No\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0\r\n\r\n",
    ]
    bad = [await served(box, answer) for answer in answers]
    bad[0][0].held = trio.Event()
    good, url = await served(box)
    hooks = [(await made.create(1, each, at=NOON))[0] for _, each in bad]
    await made.create(1, url, at=NOON)
    box.start()
    await box.put(*range(30), project=1)
    with trio.fail_after(20):
        await good.received(30)
    for hook in hooks[1:]:
        await box.settled(1, hook)
    entry = (await box.outbox.log(hooks[1]))[-1]
    assert entry.code == 429
    assert datetime.fromisoformat(entry.next_at) >= NOON + timedelta(seconds=1800)


async def test_8_events_of_one_call_come_in_order_and_a_retry_holds_back_none(box):
    receiver = await box.receiver(BROKEN, OK)
    for number in range(20):
        await box.put(number, call=7)
    box.start()
    await receiver.received(20)
    assert [json.loads(request.body)["data"]["id"] for request in receiver.requests] == list(range(20))


async def test_10_the_older_generation_is_signed_under_its_own_spelling(box):
    receiver, url = await served(box)
    box.start()
    event = LegacyEvent("call.started", "call_0123456789", NOON, {"note": "Ça va ?"}, url, 1)
    await box.database.write(Commit.CALL_ENDED, lambda connection: box.outbox.put_legacy(connection, event))
    box.outbox.ring()
    (request,) = await receiver.received(1)
    assert "Phonevoice-Signature" not in request.headers
    query = "SELECT legacy_secret FROM projects"
    (secret,) = await box.database.read(lambda connection: connection.execute(query).fetchone())
    t, v1 = request.headers["PhoneVoice-Signature"].split(",")
    signed = hmac.new(secret.encode(), t[2:].encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert v1 == f"v1={signed}"
    assert json.loads(request.body)["call_id"] == "call_0123456789"


@pytest.mark.parametrize("dead", [1, 12])
async def test_10_no_address_of_the_older_generation_delays_another(box, dead):
    hanging, bad = await served(box)
    hanging.held = trio.Event()
    good, url = await served(box)
    addresses = [f"{bad}/{number}" for number in range(dead)]

    def put(connection):
        for to in [each for each in addresses for _ in range(40)] + 30 * [url]:
            box.outbox.put_legacy(connection, LegacyEvent("call.started", "call_0123456789", NOON, {}, to, 1))

    await box.database.write(Commit.CALL_ENDED, put)
    box.start()
    with trio.fail_after(20):
        await good.received(30)
    assert len(hanging.requests) <= PARALLEL * dead


async def test_8_a_name_that_leads_to_the_box_itself_later_is_refused_then(box, made):
    receiver, url = await served(box)
    names = resolve(["192.168.1.9"])
    url = url.replace("127.0.0.1", "crm.example")
    assert await target_refusal(url, allow_loopback=False) is None
    hook, _ = await made.create(1, url, at=NOON)
    names.answer = ["127.0.0.1"]
    assert "this box itself" in await target_refusal(url, allow_loopback=False)
    box.start(allow_loopback=False)
    await box.put(1, project=1)
    (entry,) = await box.settled(1, hook)
    assert "TargetRefused" in entry.error
    assert receiver.connections == 0


async def test_what_can_not_be_looked_up_is_not_refused_when_it_is_made():
    for answer in (NO_NAME_SERVER, NO_SUCH_NAME):
        resolve(answer)
        assert await target_refusal("https://crm.example/", allow_loopback=False) is None


@pytest.mark.parametrize("online", [True, False])
async def test_8_where_the_probe_host_does_not_answer_either_it_is_the_boxs_own_fault(box, mock_clock, online):
    receiver = await box.receiver()
    receiver.held = trio.Event()
    probe, url = await served(box)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = urlsplit(url).port if online else nobody.getsockname()[1]
        box.probe = ("127.0.0.1", port)
        box.start()
        await box.put(1)
        await receiver.received(1)
        mock_clock.jump(15)
        if online:
            (entry,) = await box.settled(1)
            assert entry.error == "no answer in 15 s"
            assert probe.connections == 1
            return
        receiver.held.set()
        while not (entries := await box.outbox.log(box.hooks[0])):
            await trio.testing.wait_all_tasks_blocked(0.05)
            mock_clock.jump(30)
        (entry,) = entries
    assert (entry.code, entry.attempt) == (200, 1)


async def test_8_a_name_whose_own_servers_fail_is_to_blame_while_others_are_found(box):
    await box.receiver(host="good.example")
    bad = box.hooks[0].url.replace("good", "bad")
    box.hooks.append(Webhook.model_construct(url=bad, secret=SECRET, events=("*",), name=None))

    class Half(Names):
        async def getaddrinfo(self, host, *args, **more):
            if "bad" in str(host):
                await found.wait()
                raise NO_NAME_SERVER
            answer = await super().getaddrinfo(host, *args, **more)
            if "good" in str(host):
                trio.lowlevel.current_trio_token().run_sync_soon(found.set)
            return answer

    found = trio.Event()
    trio.socket.set_custom_hostname_resolver(Half(["127.0.0.1"]))
    box.start()
    await box.put(1)
    (entry,) = await box.settled(1, box.hooks[1])
    assert "Temporary failure" in entry.error


# With as many as a busy box has: `./dev bench outbox.week`.
CALLS, WEEK_H = 200, 7 * 24


async def test_a_week_without_network_and_then_everything_once_and_in_order(box, mock_clock):
    receiver = await box.receiver(host="crm.example")
    names = resolve(NO_NAME_SERVER)
    box.start()
    for hour in range(1, WEEK_H + 1):
        calls = range(CALLS * (hour - 1) // WEEK_H, CALLS * hour // WEEK_H)
        at = box.now()

        def put(connection, calls=calls, at=at):
            for kind, call in product(("phone_call.started", "phone_call.completed"), calls):
                box.outbox.put(connection, Event(kind, at, {"id": call}, call))

        await box.database.write(Commit.CALL_ENDED, put)
        box.outbox.ring()
        # No attempt is under way whose time would be up.
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(3600)
        grown = f"SELECT hours >= {hour} FROM uptime"
        await until(lambda grown=grown: box.database.read(lambda c: c.execute(grown).fetchone()[0]))
    assert (await box.outbox.pending(), receiver.requests) == (2 * CALLS, [])
    assert await box.outbox.log(box.hooks[0]) == []
    await trio.testing.wait_all_tasks_blocked()
    names.answer = ["127.0.0.1"]
    mock_clock.jump(30)
    await receiver.received(2 * CALLS)
    await until(lambda: nothing_waits(box))
    told = [(body["data"]["id"], body["type"]) for body in map(json.loads, (each.body for each in receiver.requests))]
    assert len({request.id for request in receiver.requests}) == len(set(told)) == len(told) == 2 * CALLS
    place = {what: number for number, what in enumerate(told)}
    assert all(place[call, "phone_call.started"] < place[call, "phone_call.completed"] for call in range(CALLS))
    for _ in range(KEEP_H):
        await box.outbox.grow_older()
    for table in ("deliveries", "events"):
        query = f"SELECT count(*) FROM {table}"
        assert await box.database.read(lambda c, query=query: c.execute(query).fetchone()[0]) == 0


async def nothing_waits(box) -> bool:
    return not await box.outbox.pending()
