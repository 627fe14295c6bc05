"""kill -9 at every commit point, then a restart: no event lost, none under two ids, no call left open."""

import hashlib
import hmac
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path

import pytest

from appliance.database import Commit

SECRET = b"whsec_0123456789abcdef01234567"
CALLS = 3
# The first time that each comes by, and a later one for what comes by often.
POINTS = [f"{when}.{commit}" for when, commit in product(("before", "after"), Commit)]
POINTS += [f"{when}.{commit}:2" for when, commit in product(("before", "after"), ("call.ended", "call.active"))]
POINTS += [f"{when}.delivery.attempted:{time}" for when, time in product(("before", "after"), (2, 5))]


class Customer(BaseHTTPRequestHandler):
    """Keeps what it gets, as (webhook, body), and drops what is not signed by the box."""

    protocol_version = "HTTP/1.1"
    received: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) < size:
            return  # killed in the middle of it
        t, v1 = (part.partition("=")[2] for part in self.headers["Phonevoice-Signature"].split(","))
        if self.path == "/older":
            self.received.append((self.path, body))
            self.send_response(204)
            self.end_headers()
            return
        good = hmac.compare_digest(v1, hmac.new(SECRET, t.encode() + b"." + body, hashlib.sha256).hexdigest())
        good &= json.loads(body)["id"] == self.headers["webhook-id"]
        if good:
            self.received.append((self.path, body))
        self.send_response(204 if good else 400)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def customer() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    received: list[tuple[str, bytes]] = []
    handler = type("Handler", (Customer,), {"received": received})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", received
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[..., int]]:
    """Lives a box until it ends or dies; its exit status."""
    box = [sys.executable, str(Path(__file__).with_name("crashing_box.py"))]
    with subprocess.Popen(box, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def order(path: Path, url: str, crash: str | None = None) -> int:
            order = {"path": str(path), "url": url, "calls": CALLS, "crash": crash}
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield order
        process.stdin.close()


def told(calls: list[tuple[int, str | None, str, int, str | None]]) -> set[tuple[str, int, str, int]]:
    """What each of the two webhooks must have heard of the calls as they stand in the file, in which revisions."""
    events = {(id_, "phone_call.started", 1) for id_, talked_at, *_ in calls if talked_at}
    for id_, _, reason, revision, _ in calls:
        # A call that a restart found open ended by our own fault.
        end = "phone_call.error" if reason == "restart" else "phone_call.completed"
        events |= {(id_, end, number) for number in range(1, revision + 1)}
    return {(webhook, *event) for webhook in ("/a", "/b") for event in events}


@pytest.mark.parametrize("point", POINTS)
def test_no_event_is_lost_or_told_under_two_ids(tmp_path, customer, run, point):
    url, received = customer
    path = tmp_path / "box.db"
    assert run(path, url, crash=point) == -signal.SIGKILL
    before = len(received)
    assert run(path, url) == 0

    database = sqlite3.connect(path)
    talked_at = "CASE kind WHEN 'relay' THEN joined_at ELSE answered_at END"
    facts = (
        f"SELECT calls.id, {talked_at}, reason, revision, sha256 FROM calls LEFT JOIN recordings ON call_id = calls.id"
    )
    calls = database.execute(facts).fetchall()
    assert database.execute("SELECT count(*) FROM calls WHERE ended_at IS NULL").fetchone() == (0,)
    assert database.execute("SELECT count(*) FROM legs WHERE ended_at IS NULL").fetchone() == (0,)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    messages = database.execute("SELECT direction, text, state FROM messages JOIN message_parts ON message = seq")
    fates = Counter(messages.fetchall())
    assert fates.pop(("inbound", "hello", "received")) == 2, "both parts, in one message"
    # What was queued before a crash is sent after it, and nothing is left as it was.
    assert {state for _, _, state in fates} == {"delivered", "expired"}
    query = "SELECT details ->> 'call_id', answered_at, reason FROM calls WHERE details ->> 'call_id' IS NOT NULL"
    orders = {call_id: (answered, reason) for call_id, answered, reason in database.execute(query)}
    assert database.execute("SELECT count(*) FROM legacy_ends").fetchone() == (0,)
    database.close()

    older: dict[str, dict[str, set[bytes]]] = defaultdict(lambda: defaultdict(set))
    bodies, heard = defaultdict(set), set()
    for webhook, body in received:
        event = json.loads(body)
        if webhook == "/older":
            older[event["call_id"]][event["event"]].add(body)
            continue
        data = event["data"]
        bodies[webhook, data.get("id"), event["type"], data.get("revision")].add(body)
        if data.get("recording_url"):
            heard.add((webhook, data["id"]))
    assert set(bodies) == told(calls) | {(webhook, None, "sms.received", None) for webhook in ("/a", "/b")}
    # Each that was recorded, before its end or after, is told with the address, and no other.
    assert heard == {(webhook, id_) for webhook in ("/a", "/b") for id_, *_, sha256 in calls if sha256}
    # One body is one id: the id is in it.
    assert all(len(same) == 1 for same in bodies.values())
    assert len({json.loads(body)["id"] for (body,) in bodies.values()}) == len(bodies)
    assert len(calls) >= CALLS
    # By the older generation each call has one end, which is told once, in one body.
    assert set(older) == set(orders)
    for call_id, (answered, reason) in orders.items():
        end = "call.failed" if reason == "restart" else "call.completed"
        assert set(older[call_id]) == ({"call.started", end} if answered else {end})
        assert all(len(same) == 1 for same in older[call_id].values())

    if point.startswith("before.delivery.attempted"):
        again = [delivery for delivery in received[before:] if delivery in received[:before]]
        assert again, "what was sent but not written down is sent again"
