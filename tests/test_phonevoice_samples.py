"""The sample requests of PhoneVoice's documentation, replayed as their programs write them on the wire.

What a sample leaves to its library is what that library sends: `requests` and `fetch` name the type of JSON when they
are told it is JSON; Net::HTTP, below Ruby's samples, calls a body whose type it is not told a form.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.directory import AgentSettings
from appliance.tenants import BOX
from tests.line_box import NOON
from tests.phonevoice_box import SAN_FRANCISCO, open_call, open_phonevoice

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SEARCH = "/api/v1/relay_numbers/available?country=US&type=local&area_code=415"
RELAYS, WEBHOOKS, EMBED = "/api/v1/relay_numbers", "/api/v1/webhooks", "/api/v1/calls/90210/embed_session"
BOUGHT = {"phone_number": SAN_FRANCISCO, "forward_to": "+33612345678", "relay_enabled": True, "country": "US"}
MOVED = BOUGHT | {"id": 123, "forward_to": "+33700000000"}
HOOK = {
    "url": "https://example.com/hooks/phonevoice",
    "name": "My CRM",
    "events": ["phone_call.completed", "sms.received"],
}
INITIATE, LEGACY = "/api/v1/calls/initiate", "/v1/calls"
INITIATED = {"status": "success", "phone_call_id": 90211}
AGENT_CALL = (
    '{"agent_id":1533,"recipient_phone_number":"+33612345678","inbound_phone_number":"+33159133354",'
    '"enable_recording":true,"enable_transcription":true,"enable_analysis":true}'
)
BROWSER = '{"call_type":"bridge","vendeur_mode":"browser","recipient_phone_number":"+33612345678"}'


@dataclass(frozen=True)
class Sample:
    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    status: int = 200
    answer: Mapping[str, object] = field(default_factory=dict)
    after: "Sample | None" = None


BUY = Sample(
    "POST",
    RELAYS,
    JSON,
    '{ "phone_number":"+14155550123", "forward_to":"+33612345678", "country":"US" }',
    201,
    BOUGHT,
)
PATCH = Sample(
    "PATCH",
    f"{RELAYS}/123",
    JSON,
    '{ "forward_to":"+33700000000", "relay_enabled": true }',
    answer=MOVED,
    after=BUY,
)
COMPACT_BUY = '{"phone_number":"+14155550123","forward_to":"+33612345678","country":"US"}'
PYTHON_BUY = '{"phone_number": "+14155550123", "forward_to": "+33612345678", "country": "US"}'
COMPACT_HOOK = (
    '{"url":"https://example.com/hooks/phonevoice","events":["phone_call.completed","sms.received"],"name":"My CRM"}'
)
SAMPLES = {
    "whoami, curl, fetch, requests, Net::HTTP": Sample("GET", "/api/whoami", answer={"status": "ok"}),
    "relay 1, curl": Sample("GET", SEARCH),
    "relay 1, Faraday, which sorts": Sample("GET", f"{RELAYS}/available?area_code=415&country=US&type=local"),
    "relay 2, curl": BUY,
    "relay 2, fetch and Faraday": Sample("POST", RELAYS, JSON, COMPACT_BUY, 201, BOUGHT),
    "relay 2, requests": Sample("POST", RELAYS, JSON, PYTHON_BUY, 201, BOUGHT),
    "relay 3, curl": PATCH,
    "relay 3, fetch and Faraday": Sample(
        "PATCH",
        f"{RELAYS}/123",
        JSON,
        '{"forward_to":"+33700000000","relay_enabled":true}',
        answer=MOVED,
        after=BUY,
    ),
    "webhook, curl": Sample(
        "POST",
        WEBHOOKS,
        JSON,
        '{ "url":"https://example.com/hooks/phonevoice",\n"events":["phone_call.completed","sms.received"], '
        '"name":"My CRM" }',
        201,
        HOOK,
    ),
    "webhook, fetch and Net::HTTP": Sample("POST", WEBHOOKS, JSON, COMPACT_HOOK, 201, HOOK),
    "initiate, curl": Sample(
        "POST",
        INITIATE,
        JSON,
        '{\n"agent_id": 1533,\n"recipient_phone_number": "+33612345678",\n"inbound_phone_number": "+33159133354",\n'
        '"enable_recording": true,\n"enable_transcription": true,\n"enable_analysis": true\n}',
        201,
        INITIATED,
    ),
    "initiate, fetch and Net::HTTP": Sample("POST", INITIATE, JSON, AGENT_CALL, 201, INITIATED),
    "initiate, requests": Sample(
        "POST", INITIATE, JSON, AGENT_CALL.replace(":", ": ").replace(",", ", "), 201, INITIATED
    ),
    # The phone bridge is told in words: vendeur_mode left out, and the agent's line.
    "bridge by phone": Sample(
        "POST",
        INITIATE,
        JSON,
        '{"call_type":"bridge","recipient_phone_number":"+33612345678","inbound_phone_number":"+33700000000"}',
        201,
        INITIATED,
    ),
    "bridge in the browser, curl": Sample(
        "POST",
        INITIATE,
        JSON,
        '{ "call_type":"bridge", "vendeur_mode":"browser",\n"recipient_phone_number":"+33612345678" }',
        422,
    ),
    "bridge in the browser, fetch and Faraday": Sample("POST", INITIATE, JSON, BROWSER, 422),
    # Printed with nothing filled in.
    "older, curl": Sample(
        "POST",
        LEGACY,
        JSON,
        '{\n    "phone_number": "",\n    "assistant_id": "",\n    "webhook_url": ""\n  }',
        422,
    ),
    "older, fetch and Net::HTTP and PHP, filled in": Sample(
        "POST",
        LEGACY,
        JSON,
        '{"phone_number":"+33612345678","assistant_id":"1533","webhook_url":""}',
        201,
        {"phone_number": "+33612345678", "assistant_id": "1533", "phone_call_id": 90211},
    ),
    "softphone, curl": Sample("POST", EMBED, JSON, '{ "role":"agent" }', 422),
    "softphone, Faraday without a type": Sample("POST", EMBED, FORM, '{"role":"agent"}', 422),
}


def number_next(directory: Path, **ids: int) -> None:
    """The samples' own ids."""
    with closing(sqlite3.connect(directory / "box.db")) as connection, connection:
        for table, id_ in ids.items():
            connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, id_ - 1))


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_published_sample_is_answered_as_it_is_documented(tmp_path: Path, name: str) -> None:
    async with open_phonevoice(tmp_path) as desk:
        number_next(tmp_path, relay_numbers=123, calls=90210, agents=1533)
        agent = AgentSettings(stream={"url": "wss://agent.example/voice"})
        await desk.store.directory.add_agent(BOX, "Desk", agent, at=NOON)
        await open_call(desk, desk.ours.project)
        sample = SAMPLES[name]
        for each in filter(None, (sample.after, sample)):
            body = None if each.body is None else each.body.encode()
            said = await desk.ours.send(each.method, each.target, body, each.headers)
            assert said.status_code == each.status, said.text
            assert said.json().items() >= each.answer.items()


async def test_the_token_may_be_in_the_query_as_the_samples_text_has_it(tmp_path: Path) -> None:
    async with open_phonevoice(tmp_path) as desk:
        said = await desk.http.get(f"{SEARCH}&api_token={desk.ours.token}")
        assert [number["phone_number"] for number in said.json()["available_numbers"]] == [SAN_FRANCISCO]


async def test_a_webhook_s_secret_and_a_number_s_id_are_where_the_samples_read_them(tmp_path: Path) -> None:
    async with open_phonevoice(tmp_path) as desk:
        hook = await desk.ours.send("POST", WEBHOOKS, COMPACT_HOOK.encode(), JSON)
        assert list(hook.json())[:1] == ["id"]
        assert hook.json()["secret"].startswith("whsec_")
        number = await desk.ours.send("POST", RELAYS, COMPACT_BUY.encode(), JSON)
        moved = await desk.ours.send("PATCH", f"{RELAYS}/{number.json()['id']}", b'{"relay_enabled":false}', JSON)
        assert moved.json()["relay_enabled"] is False
