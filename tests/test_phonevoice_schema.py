"""docs/phonevoice.yaml holds: whatever is asked, good or bad, the answer is one that it describes.

The requests are schemathesis's; they go to the very application, in this process, as two projects' with something to
change. What a case draws is the same each time.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
import trio
from hypothesis import strategies
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from appliance.directory import AgentSettings
from tests.line_box import NOON
from tests.phonevoice_box import HOOK, NUMBERS, PARIS, PHONE, WEBHOOKS, Asker, open_call, open_phonevoice

load_all_checks()
SCHEMA = schemathesis.openapi.from_path(Path(__file__).resolve().parents[1] / "docs/phonevoice.yaml")
OPERATIONS = {result.ok().definition.raw["operationId"]: result.ok() for result in SCHEMA.get_all_operations()}
CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 8
MEANT: dict[str, Any] = {
    "phone_number": PARIS,
    "forward_to": PHONE,
    "country": "FR",
    "agent_id": 1,
    "recipient_phone_number": PHONE,
    "assistant_id": "desk",
    "webhook_url": "",
}
PLACES_CALLS = ("initiateCall", "legacyCreateCall")


@dataclass
class Fuzz:
    asker: Asker
    statuses: set[int] = field(default_factory=set)

    def run(self, name: str, mode: GenerationMode) -> None:
        """On a thread: hypothesis knows no trio."""

        @hypothesis.settings(max_examples=EXAMPLES, derandomize=True, database=None)
        @hypothesis.given(OPERATIONS[name].as_strategy(generation_mode=mode), strategies.booleans())
        def each(case: Any, meant: bool) -> None:
            checks = list(CHECKS)
            if meant:
                # What is really there, which chance would never find.
                if "id" in case.path_parameters:
                    case.path_parameters["id"] = 1
                if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
                    case.body |= {field: MEANT[field] for field in MEANT if field in case.body}
                    # Of what is drawn no number is one of the box's.
                    for field in ("inbound_phone_number",) if "agent_id" in case.body else ("relay_number",):
                        case.body.pop(field, None)
            elif mode is GenerationMode.NEGATIVE:
                checks.append(negative_data_rejection)
            request = requests.Request(**_plain(case.as_transport_kwargs(base_url="http://box"))).prepare()
            answer = trio.from_thread.run(self._send, request)
            self.statuses.add(answer.status_code)
            case.validate_response(answer, checks=checks)

        each()

    async def _send(self, request: requests.PreparedRequest) -> Any:
        assert request.method
        assert request.url
        body = request.body.encode() if isinstance(request.body, str) else request.body
        typed = {"Content-Type": request.headers.get("Content-Type", "application/json")} if body else {}
        keys = {name: value for name, value in request.headers.items() if name == "Idempotency-Key"}
        return await self.asker.send(request.method, request.url, body, typed | keys)


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in arguments.items()
        if name in ("method", "url", "headers", "params", "json", "data", "cookies")
    }


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_every_answer_is_one_that_is_described(tmp_path: Path, name: str) -> None:
    async with open_phonevoice(tmp_path) as desk:
        await desk.ours.ask("POST", WEBHOOKS, HOOK, status=201)
        if name != "buyRelayNumber":
            await desk.ours.ask("POST", NUMBERS, {"phone_number": PARIS, "forward_to": PHONE}, status=201)
        await open_call(desk, desk.ours.project)
        agent = AgentSettings(stream={"url": "wss://agent.example/voice"})
        await desk.store.directory.add_agent(desk.ours.project, "Desk", agent, at=NOON)
        fuzz = Fuzz(desk.ours)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            await trio.to_thread.run_sync(fuzz.run, name, mode)
        # Some of them came as far as to be answered.
        assert fuzz.statuses & ({201} if name in PLACES_CALLS else {200, 201, 422})
