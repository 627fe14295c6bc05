"""Deliveries: what is sent, when again, how many at a time, and that each arrives once the network lets it."""

import json
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product

import pytest
import trio
import trio.testing

from appliance.config import Webhook
from appliance.database import Commit
from appliance.events import Event
from appliance.webhook import KEEP_H, RETRY_AFTER_S
from tests.couriers import BROKEN, GONE, NO_NAME_SERVER, NOON, OK, SECRET, Box, Receiver, open_box, resolve, until

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.fixture
async def box(tmp_path) -> AsyncIterator[Box]:
    async with open_box(tmp_path) as box:
        yield box


async def test_a_delivery_is_one_signed_post(box):
    receiver = await box.receiver()
    box.start()
    await box.put(1)
    (request,) = await receiver.received(1)
    assert request.start == "POST /hook?a=b%20c HTTP/1.1"
    assert request.t == int(NOON.timestamp())
    assert request.is_signed(SECRET)
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


async def test_8_events_of_one_call_come_in_order_and_a_retry_holds_back_none(box):
    receiver = await box.receiver(BROKEN, OK)
    for number in range(20):
        await box.put(number, call=7)
    box.start()
    await receiver.received(20)
    assert [json.loads(request.body)["data"]["id"] for request in receiver.requests] == list(range(20))


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
