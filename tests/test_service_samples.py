"""PhoneVoice's published programs, run as they are printed but for origin, token and the webhook's address; what they
ask for happens, and what comes of it is taken by every published verifier.
"""

import json
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.directory import AgentSettings
from appliance.store import open_store
from appliance.tenants import new_token
from hil.bench import Bench, BenchLine
from tests.customer import Post, open_customer
from tests.rig import BORN, PATIENCE_S, PHONE, Rig, Run, serve_voice, together
from tests.verifiers import refusing

# The numbers and ids that the samples have.
BOUGHT, OURS, RECIPIENT, MOVED_TO = "+14155550123", "+33159133354", "+33612345678", "+33700000000"
IDS = {"agents": 1533, "relay_numbers": 123, "calls": 90210, "subscriptions": 35}

WHOAMI = """curl https://api.phonevoice.ai/api/whoami \\
-H "Authorization: Bearer YOUR_TOKEN"
"""
BUY = """curl -X POST https://api.phonevoice.ai/api/v1/relay_numbers \\
-H "Authorization: Bearer YOUR_TOKEN" -H "Content-Type: application/json" \\
-d '{ "phone_number":"+14155550123", "forward_to":"+33612345678", "country":"US" }'
"""
FIND_AND_MOVE = """const API = "https://api.phonevoice.ai/api/v1";
const headers = { Authorization: "Bearer YOUR_TOKEN", "Content-Type": "application/json" };
const avail = await fetch(`${API}/relay_numbers/available?country=US&type=local&area_code=415`, { headers });
await fetch(`${API}/relay_numbers/123`, {
method: "PATCH", headers,
body: JSON.stringify({ forward_to: "+33700000000", relay_enabled: true }),
}).then(async r => console.log(JSON.stringify([await avail.json(), await r.json()])));
"""
HOOK = """import requests
res = requests.post(
"https://api.phonevoice.ai/api/v1/webhooks",
headers={"Authorization": "Bearer YOUR_TOKEN"},
json={
"url": "https://example.com/hooks/phonevoice",
"events": ["phone_call.completed", "sms.received"],
"name": "My CRM",
},
)
secret = res.json()["secret"] # store this
print(res.text)
"""
INITIATE = """const res = await fetch("https://api.phonevoice.ai/api/v1/calls/initiate", {
method: "POST",
headers: {
Authorization: "Bearer YOUR_TOKEN",
"Content-Type": "application/json",
},
body: JSON.stringify({
agent_id: 1533,
recipient_phone_number: "+33612345678",
inbound_phone_number: "+33159133354",
enable_recording: true,
enable_transcription: true,
enable_analysis: true,
}),
});
const call = await res.json();
console.log(JSON.stringify(call));
"""
# Its sample leaves the three empty.
OLDER = """import requests
url = "https://api.phonevoice.ai/v1/calls"
headers = {
    "Authorization": "Bearer YOUR_API_KEY",
    "Content-Type": "application/json"
}
data = {
    "phone_number": "+33612345678",
    "assistant_id": "1533",
    "webhook_url": "https://example.com/hooks/older"
}
response = requests.post(url, json=data, headers=headers)
print(response.text)
"""
# What is printed of events; null stands for what the box may not know.
CALL = {
    "id": 90210,
    "status": "completed",
    "duration": 50,
    "cost": 0.12,
    "direction": "inbound",
    "from": "+33783484044",
    "to": "+33612345678",
    "relay_number": "+33159133354",
    "recording_url": "https://…/bridge_90210.mp3",
    "transcription": "[Caller] Hello…",
    "analysis": {"summary": "…", "status": "fulfilled", "interest_level": 7},
}
OLDER_CALL = {
    "duration_seconds": 142,
    "cost": 0.024,
    "recording_url": "https://api.phonevoice.ai/rec/...",
    "analysis": {"sentiment": "positive", "intent": "book_appointment"},
}
NUMBER = {"phone_number": BOUGHT, "forward_to": RECIPIENT, "relay_enabled": True, "country": "US"}


def is_like(sample: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Each field of the sample is there, with that type, or null."""
    kinds: dict[type, Any] = {bool: bool, int: int, float: (int, float), str: str, dict: dict}
    return all(said[name] is None or isinstance(said[name], kinds[type(value)]) for name, value in sample.items())


@asynccontextmanager
async def open_office(directory: Path) -> AsyncIterator[Rig]:
    """Two lines with the samples' numbers."""
    plans = [BenchLine("us", BOUGHT, "ec25"), BenchLine("fr", OURS, "ec25")]
    async with (
        Bench(plans, directory=directory) as bench,
        open_customer() as customer,
        serve_voice() as voice,
        trio.open_nursery() as nursery,
    ):
        rig = Rig(directory, bench, customer, voice, nursery)
        await rig.furnish(linked=False)
        yield rig
        assert rig.leaked() == []
        nursery.cancel_scope.cancel()


async def furnish(rig: Rig) -> str:
    """An agent, and the next ids of all; the token of the project."""
    with closing(sqlite3.connect(rig.data / "branchline.db")) as connection, connection:
        for table, id_ in IDS.items():
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, id_ - 1))
    token, digest = new_token("project")
    async with open_store(rig.data / "branchline.db") as store:
        await store.tenants.add_token(digest, project=1, name="samples", at=BORN)
        settings = AgentSettings(stream={"url": rig.voice.url})
        assert (await store.directory.add_agent(1, "Reception", settings, at=BORN)).id == IDS["agents"]
    return token


class Reader:
    """Somebody who has read the documentation."""

    def __init__(self, rig: Rig, run: Run, token: str) -> None:
        self._places = {
            "https://api.phonevoice.ai": run.url,
            "https://example.com": rig.customer.url,
            "YOUR_TOKEN": token,
            "YOUR_API_KEY": token,
        }

    async def types(self, *command: str, program: str) -> Any:
        for printed, ours in self._places.items():
            program = program.replace(printed, ours)
        with trio.fail_after(PATIENCE_S):
            done = await trio.run_process([*command, program], capture_stdout=True, capture_stderr=True)
        return json.loads(done.stdout)

    async def curl(self, program: str) -> Any:
        return await self.types("sh", "-c", program=program)

    async def node(self, program: str) -> Any:
        return await self.types("node", "--input-type=module", "-e", program=program)

    async def python(self, program: str) -> Any:
        return await self.types(sys.executable, "-c", program=program)


async def delivered(rig: Rig, path: str, name: str, secret: str, **facts: object) -> Any:
    """The data of the first event of this name with these facts; all verifiers take it."""

    def is_it(post: Post) -> bool:
        event = post.json
        return (
            post.path == path
            and name in (event.get("type"), event.get("event"))
            and facts.items() <= event["data"].items()
        )

    post = await rig.customer.inbox.get(f"{name} at {path}", is_it, within_s=PATIENCE_S)
    assert refusing(post.headers["phonevoice-signature"], post.body, secret) == []
    return post.json


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("node")), reason="curl or node is not installed")
@together
async def test_what_is_published_runs(tmp_path: Path) -> None:
    async with open_office(tmp_path) as rig:
        token = await furnish(rig)
        run = await rig.start()
        reader = Reader(rig, run, token)
        assert is_like({"status": "ok", "id": 42, "name": "…", "email": "…"}, await reader.curl(WHOAMI))
        assert (await reader.curl(BUY)).items() >= {**NUMBER, "id": 123}.items()
        found, moved = await reader.node(FIND_AND_MOVE)
        assert found == {"available_numbers": []}
        assert moved.items() >= {**NUMBER, "forward_to": MOVED_TO}.items()
        hook = await reader.python(HOOK)
        assert is_like({"id": 35, "url": "…", "secret": "whsec_…"}, hook)
        assert hook["events"] == ["phone_call.completed", "sms.received"]

        rig.phone.text(BOUGHT, "Hello! Ça va / ?")
        message = {
            "direction": "inbound",
            "from": PHONE,
            "to": BOUGHT,
            "relay_number": BOUGHT,
            "body": "Hello! Ça va / ?",
        }
        assert (await delivered(rig, "/hooks/phonevoice", "sms.received", hook["secret"]))["data"] == message

        recipient = rig.bench.subscriber(RECIPIENT)
        call = await reader.node(INITIATE)
        theirs = await recipient.called()
        assert call["status"] == "success"
        assert call["phone_call_id"] == IDS["calls"]
        assert call["telephony_ref"].startswith("CA")
        assert theirs.number == OURS
        await rig.voice.connection()
        theirs.hang_up()
        ended = await delivered(rig, "/hooks/phonevoice", "phone_call.completed", hook["secret"], revision=2)
        assert is_like(CALL, ended["data"])
        assert ended["data"]["id"] == IDS["calls"]
        assert ended["data"]["recording_url"].endswith(f"/call_{IDS['calls']}.mp3")

        older = await reader.python(OLDER)
        theirs = await recipient.called()
        assert older["phone_call_id"] == IDS["calls"] + 1
        await rig.voice.connection()
        theirs.hang_up()
        ((secret,),) = rig.rows("SELECT legacy_secret FROM projects")
        for name in ("call.started", "call.completed"):
            event = await delivered(rig, "/hooks/older", name, secret)
            assert event["call_id"] == older["call_id"]
            assert isinstance(event["timestamp"], int)
        assert is_like(OLDER_CALL, event["data"])
        assert run.faults == []
