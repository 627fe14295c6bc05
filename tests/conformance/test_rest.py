"""SFVoPI's REST, sections 1 to 4: each endpoint by its success and each of its errors, over HTTP in this process.

The box of every row has two lines, one with a SIM whose number is linked to APP, and an analog one whose number is
free; OTHER is a newer app without a number. It is always noon. What each field may be is in tests/test_sfvopi.py.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from appliance.claims import PHONEVOICE, claim, release
from appliance.contracts.sfvopi import Json, Link
from appliance.database import Commit, open_database
from appliance.store import Store
from appliance.trunk import Trunk
from tests.box_client import open_api
from tests.jacks import TestJack
from tests.line_box import APP, NOON, NUMBER, Box

OTHER = replace(APP, app_id="sfv_app_2", name="Other", created_at="2026-06-04T12:00:00.001Z")
GONE = "sfv_app_000000000000"
FREE = "+33159133354"
NOW = "2026-06-04T12:00:00.000Z"
URL = "https://customer.example/answer"


class Like:
    """Equal to any text of this shape."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self._pattern, other, re.S) is not None

    def __repr__(self) -> str:
        return f"Like({self._pattern!r})"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: object = None


@dataclass(frozen=True)
class Row:
    request: Request
    status: int
    answer: object
    before: Sequence[Request] = ()
    # Whether another contract has the number that is free otherwise.
    claimed: bool = False


def good(data: object) -> Json:
    return {"data": data, "message": "success"}


def bad(message: object) -> Json:
    return {"message": message}


def app(**changes: object) -> Json:
    return asdict(APP) | {"org_id": 1, "created_by": None} | changes


def link(number: str = NUMBER, at: str = APP.created_at, **changes: object) -> Json:
    fields = {"app_id": APP.app_id, "voip_number": number, "org_id": 1, "status": "ACTIVE"}
    return fields | {"created_at": at, "updated_at": None} | changes


def call(**changes: object) -> Request:
    return Request("POST", "/calls", {"from": NUMBER, "to": "+33783484044", "answer_url": URL} | changes)


PATH, NUMBERS = f"/apps/{APP.app_id}", f"/apps/{APP.app_id}/numbers"
DELETED = good({"deleted": True})
BAD_BODY = bad("Invalid request body")
LIST, AVAILABLE, LINKS = Request("GET", "/apps"), Request("GET", "/available-numbers"), Request("GET", NUMBERS)
CREATE = Request("POST", "/apps", {"name": "Bar", "answer_url": URL})
LINK = Request("POST", NUMBERS, {"voip_number": FREE})
UNLINK = Request("DELETE", f"{NUMBERS}/{NUMBER}")
DELETE = Request("DELETE", PATH)
DELETE_OTHER = Request("DELETE", f"/apps/{OTHER.app_id}")
AVAILABLE_SIM = {"id": 1, "voip_number": NUMBER, "provider": "gsm", "status": "ACTIVE"}
AVAILABLE_ANALOG = {"id": 2, "voip_number": FREE, "provider": "analog", "status": "ACTIVE"}

CREATED = {
    "app_id": Like("sfv_app_[a-z0-9]{12}"),
    "org_id": 1,
    "name": "Bar",
    "answer_url": URL,
    "answer_method": "POST",
    "hangup_url": None,
    "hangup_method": "POST",
    "fallback_answer_url": None,
    "fallback_answer_method": "POST",
    "status": "ACTIVE",
    "created_by": None,
    "created_at": NOW,
    "updated_at": None,
}
EVERYTHING = {
    "name": "Bar",
    "answer_url": "http://customer.example/a?token=1",
    "answer_method": "GET",
    "hangup_url": "https://customer.example/h",
    "hangup_method": "GET",
    "fallback_answer_url": "https://customer.example/f",
    "fallback_answer_method": "GET",
}

ROWS = {
    "1: an unknown path is 404": Row(Request("GET", "/nothing"), 404, bad("Not Found")),
    "1: a path with another method is refused in the same shape": Row(
        Request("GET", "/calls"), 405, bad("Method Not Allowed")
    ),
    "1: a slash at the end is no other path": Row(Request("GET", f"{PATH}/"), 200, good(app())),
    "1: fields that nobody knows are ignored": Row(
        Request("POST", "/apps", {"name": "Bar", "answer_url": URL, "colour": "red"}), 200, good(CREATED)
    ),
    "1: text of any language is taken and told as it is": Row(
        Request("PUT", PATH, {"name": "Théâtre 🎭"}), 200, good(app(name="Théâtre 🎭", updated_at=NOW))
    ),
    # --- apps
    "2.1: name and answer_url are enough": Row(CREATE, 200, good(CREATED)),
    "2.1: every field is taken": Row(Request("POST", "/apps", EVERYTHING), 200, good(CREATED | EVERYTHING)),
    "2.1: an optional address may be null": Row(
        Request("POST", "/apps", {"name": "Bar", "answer_url": URL, "hangup_url": None, "fallback_answer_url": None}),
        200,
        good(CREATED),
    ),
    "2.1: a name has up to 100 characters": Row(
        Request("POST", "/apps", {"name": "é" * 100, "answer_url": URL}), 200, good(CREATED | {"name": "é" * 100})
    ),
    "2.1: a bad body is 400": Row(Request("POST", "/apps", {"name": "Bar"}), 400, BAD_BODY),
    "2.1: a body without end is 400": Row(Request("POST", "/apps", b" " * 300_000), 400, BAD_BODY),
    "2.2: apps are told newest first": Row(
        LIST, 200, good([app(app_id=OTHER.app_id, name="Other", created_at=OTHER.created_at), app()])
    ),
    "2.2: of none there is an empty list": Row(LIST, 200, good([]), before=(DELETE, DELETE_OTHER)),
    "2.3: an app is told": Row(Request("GET", PATH), 200, good(app())),
    "2.3: an unknown app is 404": Row(Request("GET", f"/apps/{GONE}"), 404, bad("SFVoPI app not found")),
    "2.4: PUT changes what is there and tells it all": Row(
        Request("PUT", PATH, {"name": "Bar", "status": "INACTIVE"}),
        200,
        good(app(name="Bar", status="INACTIVE", updated_at=NOW)),
    ),
    "2.4: PATCH does the same": Row(
        Request("PATCH", PATH, {"answer_method": "GET"}), 200, good(app(answer_method="GET", updated_at=NOW))
    ),
    "2.4: null removes an address": Row(
        Request("PUT", PATH, {"hangup_url": None}),
        200,
        good(app(updated_at=NOW)),
        before=(Request("PUT", PATH, {"hangup_url": URL}),),
    ),
    "2.4: an empty object changes nothing": Row(Request("PUT", PATH, {}), 200, good(app())),
    "2.4: a bad body is 400": Row(Request("PUT", PATH, {"status": "ON"}), 400, BAD_BODY),
    "2.4: an unknown app is 404": Row(
        Request("PUT", f"/apps/{GONE}", {"name": "Bar"}), 404, bad("SFVoPI app not found")
    ),
    "2.4: an unknown app is 404 for PATCH, too, and with nothing to change": Row(
        Request("PATCH", f"/apps/{GONE}", {}), 404, bad("SFVoPI app not found")
    ),
    "2.5: an app is deleted": Row(DELETE, 200, DELETED),
    "2.5: a deleted app is gone": Row(Request("GET", PATH), 404, bad("SFVoPI app not found"), before=(DELETE,)),
    "2.5: its numbers are free": Row(AVAILABLE, 200, good([AVAILABLE_SIM, AVAILABLE_ANALOG]), before=(DELETE,)),
    "2.5: an unknown app is 404": Row(Request("DELETE", f"/apps/{GONE}"), 404, bad("SFVoPI app not found")),
    # --- numbers
    "3.1: what is linked to no app is told": Row(AVAILABLE, 200, good([AVAILABLE_ANALOG])),
    "3.1: of none there is an empty list": Row(AVAILABLE, 200, good([]), before=(LINK,)),
    "3.2: a number is linked": Row(LINK, 200, good(link(FREE, NOW))),
    "3.2: a number is normalised": Row(
        Request("POST", NUMBERS, {"voip_number": "01 59-13 (33) 54"}), 200, good(link(FREE, NOW))
    ),
    "3.2: once more to the same app it is the link that is there": Row(
        Request("POST", NUMBERS, {"voip_number": NUMBER}), 200, good(link())
    ),
    "3.2: an app has any count of numbers": Row(LINKS, 200, good([link(FREE, NOW), link()]), before=(LINK,)),
    "3.2: no number is 400": Row(Request("POST", NUMBERS, {}), 400, BAD_BODY),
    "3.2: an unusable number is 400": Row(Request("POST", NUMBERS, {"voip_number": "office"}), 400, BAD_BODY),
    "3.2: a number of no line is 400": Row(
        Request("POST", NUMBERS, {"voip_number": "+33700000009"}),
        400,
        bad("VoIP number not found or does not belong to this org"),
    ),
    "3.2: an unknown app is 404": Row(
        Request("POST", f"/apps/{GONE}/numbers", {"voip_number": FREE}), 404, bad("SFVoPI app not found")
    ),
    "3.2: a number of another app is 409": Row(
        Request("POST", f"/apps/{OTHER.app_id}/numbers", {"voip_number": NUMBER}),
        409,
        bad("VoIP number is already linked to another SFVoPI app"),
    ),
    "3.3: links are told newest first": Row(LINKS, 200, good([link(FREE, NOW), link()]), before=(LINK,)),
    "3.3: of none there is an empty list": Row(Request("GET", f"/apps/{OTHER.app_id}/numbers"), 200, good([])),
    "3.3: an unknown app is 404 in words of its own": Row(
        Request("GET", f"/apps/{GONE}/numbers"), 404, bad("App not found")
    ),
    "3.4: a number is unlinked, its plus raw": Row(UNLINK, 200, DELETED),
    "3.4: a number is unlinked, its plus escaped": Row(
        Request("DELETE", f"{NUMBERS}/{NUMBER.replace('+', '%2B')}"), 200, DELETED
    ),
    "3.4: at once it is available": Row(AVAILABLE, 200, good([AVAILABLE_SIM, AVAILABLE_ANALOG]), before=(UNLINK,)),
    "3.4: at once another app can have it": Row(
        Request("POST", f"/apps/{OTHER.app_id}/numbers", {"voip_number": NUMBER}),
        200,
        good(link(at=NOW, app_id=OTHER.app_id)),
        before=(UNLINK,),
    ),
    "3.4: an unknown app is 404 in words of its own": Row(
        Request("DELETE", f"/apps/{GONE}/numbers/{NUMBER}"), 404, bad("App not found")
    ),
    "3.4: a number that is not linked is 404": Row(
        Request("DELETE", f"{NUMBERS}/{FREE}"), 404, bad("Number not linked to this app")
    ),
    "3.4: a number of another app is 404": Row(
        Request("DELETE", f"/apps/{OTHER.app_id}/numbers/{NUMBER}"), 404, bad("Number not linked to this app")
    ),
    "3.2: a number of another contract is 409": Row(
        LINK, 409, bad("VoIP number is already linked to another service of this box"), claimed=True
    ),
    # --- calls
    "4.1: an order is queued": Row(
        call(), 200, good({"request_uuid": Like("sfv_ob_req_[a-z0-9]{12}"), "status": "queued"})
    ),
    "4.1: numbers are normalised": Row(
        call(**{"from": "07 00 00 00 02", "to": "0033 7 83 48 40 44"}),
        200,
        good({"request_uuid": Like("sfv_ob_req_.*"), "status": "queued"}),
    ),
    "4.1: from a number that is not linked is 400": Row(
        call(**{"from": FREE}), 400, bad(f"VoIP number {FREE} is not linked to any SFVoPI app")
    ),
    "4.1: from a number whose app is INACTIVE is 400": Row(
        call(),
        400,
        bad(f"VoIP number {NUMBER} is not linked to any SFVoPI app"),
        before=(Request("PUT", PATH, {"status": "INACTIVE"}),),
    ),
    "4.1: anything else that is wrong is 400": Row(call(ring_timeout=601), 400, BAD_BODY),
    "4.1: a number that is none is 400": Row(call(to="12"), 400, bad("Invalid phone number")),
    "4.2: calls have no more endpoints here": Row(Request("GET", "/calls/any"), 404, bad("Not Found")),
}

FAULTS = {
    "2.1: a fault is 500": Row(CREATE, 500, bad(Like("Failed to create SFVoPI app: .+"))),
    "2.2: a fault is 500": Row(LIST, 500, bad(Like("Failed to get SFVoPI apps: .+"))),
    "2.3: a fault is 500": Row(Request("GET", PATH), 500, bad(Like("Failed to get SFVoPI app: .+"))),
    "2.4: a fault is 500": Row(
        Request("PUT", PATH, {"name": "Bar"}), 500, bad(Like("Failed to update SFVoPI app: .+"))
    ),
    "2.5: a fault is 500": Row(DELETE, 500, bad(Like("Failed to delete SFVoPI app: .+"))),
    "3.1: a fault is 500": Row(AVAILABLE, 500, bad(Like("Failed to get available numbers: .+"))),
    "3.2: a fault is 500": Row(LINK, 500, bad(Like("Failed to link number: .+"))),
    "3.3: a fault is 500": Row(LINKS, 500, bad(Like("Failed to get numbers: .+"))),
    "3.4: a fault is 500": Row(UNLINK, 500, bad(Like("Failed to unlink number: .+"))),
    "4.1: a fault is 500": Row(call(), 500, bad("Failed to initiate outbound call")),
}


class Client:
    def __init__(self, http: httpx.AsyncClient, box: Box, key: str) -> None:
        self.box = box
        self.key = key
        self._http = http

    async def ask(self, request: Request, **headers: str) -> tuple[int, Any]:
        raw = isinstance(request.body, bytes)
        body: dict[str, Any] = {"content" if raw else "json": request.body} if request.body is not None else {}
        answer = await self._http.request(request.method, request.path, headers=headers, **body)
        assert answer.headers["content-type"] == "application/json"
        return answer.status_code, answer.json()


@asynccontextmanager
async def open_client(directory: Path) -> AsyncIterator[Client]:
    async with open_api(directory) as (api, box, key):
        jack = TestJack(lambda: pytest.fail("nobody keeps this one"))
        box.control.trunks.append(Trunk("desk", FREE, jack=jack, ring=box.control.ring, analog=True))
        # As a customer sees it: what is raised in the service is an answer.
        transport = httpx.ASGITransport(api, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://box/superfone/sfvopi") as http:
            yield Client(http, box, key)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[int, Any]]:
    """Of one box to all rows, furnished anew for each; at last its disk is lost."""
    found: dict[str, tuple[int, Any]] = {}

    async def ask_all() -> None:
        directory = tmp_path_factory.mktemp("rest")
        async with open_client(directory) as client, open_database(directory / "box.db") as other:
            for name, row in ROWS.items():
                await furnish(client.box.store)
                if row.claimed:
                    await other.write(Commit.NUMBER_BOUGHT, lambda connection: claim(connection, FREE, PHONEVOICE))
                for request in row.before:
                    assert (await client.ask(request, **{"X-API-Key": client.key}))[0] == 200
                found[name] = await client.ask(row.request, **{"X-API-Key": client.key})
                await other.write(Commit.NUMBER_RELEASED, lambda connection: release(connection, FREE))
            tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            for (table,) in client.box.rows(tables):
                if table != "keys":
                    client.box.rows(f"ALTER TABLE {table} RENAME TO lost_{table}")
            for name, row in FAULTS.items():
                found[name] = await client.ask(row.request, **{"X-API-Key": client.key})

    trio.run(ask_all)
    return found


async def furnish(store: Store) -> None:
    for each in await store.apps():
        await store.delete_app(each.app_id)
    for each in (APP, OTHER):
        await store.save_app(each)
    await store.link(Link(APP.app_id, NUMBER, APP.created_at))


@pytest.mark.parametrize("name", [*ROWS, *FAULTS])
def test_rest(name: str, answers: Mapping[str, tuple[int, Any]]) -> None:
    row = (ROWS | FAULTS)[name]
    assert answers[name] == (row.status, row.answer)


async def test_1_each_endpoint_asks_for_a_key_before_path_and_body(tmp_path: Path) -> None:
    async with open_client(tmp_path) as client:
        missing = (401, bad("UnAuthorized, Please Provide API Key"))
        wrong = (401, bad("UnAuthorized, Please Provide Valid API Key"))
        requests = [row.request for row in FAULTS.values()]
        requests += [Request("GET", "/nothing"), replace(CREATE, body=b"{"), replace(CREATE, method="PUT")]
        assert [await client.ask(request) for request in requests] == [missing] * len(requests)
        assert await client.ask(LIST, **{"X-API-Key": ""}) == missing
        for key in ("sfv_key_other", client.key.upper(), f"{client.key}."):
            assert await client.ask(LIST, **{"X-API-Key": key}) == wrong
        # The header's name may be written as one likes.
        assert (await client.ask(LIST, **{"x-api-KEY": client.key}))[0] == 200
        await client.box.store.revoke_keys("test", at=NOON)
        revoked = [await client.ask(request, **{"X-API-Key": client.key}) for request in requests]
        assert revoked == [wrong] * len(requests)
