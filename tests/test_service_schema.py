"""docs/phonevoice.yaml holds over a socket too: the real service, asked by a project, by a user, and by nobody.

`--schema-examples` is how many requests of each kind each of them makes of each operation.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import trio
from hypothesis import strategies
from schemathesis import GenerationMode

from appliance.call import Direction, Kind, State
from appliance.phonevoice_gate import OPEN
from appliance.store import Store, open_store
from appliance.tenants import new_token
from tests.rig import BORN, PATIENCE_S, PHONE, Rig, Run, open_rig
from tests.test_phonevoice_schema import CHECKS, OPERATIONS

OWNER = "+33612345678"
# A token may make 20 requests a second: in turn, these make more than a socket carries.
TOKENS = 30
USER = "desk@example.com"


@dataclass
class Somebody:
    """Asks with one of these tokens after the other; without any, if there are none."""

    run: Run
    tokens: list[str]
    session: requests.Session = field(default_factory=requests.Session)
    statuses: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.session.trust_env = False
        self._turn: Iterator[str] = itertools.cycle(self.tokens)

    def send(self, method: str, url: str, headers: dict[str, str], **content: Any) -> requests.Response:
        if self.tokens:
            headers = headers | {"Authorization": f"Bearer {next(self._turn)}"}
        said = self.session.request(method, url, headers=headers, timeout=PATIENCE_S, allow_redirects=False, **content)
        self.statuses[said.status_code] += 1
        if not said.ok:
            self.run.errors.append(said.text)
        return said

    def fuzz(self, name: str, mode: GenerationMode, examples: int, ids: dict[str, int]) -> None:
        @hypothesis.settings(max_examples=examples, derandomize=True, database=None)
        @hypothesis.given(OPERATIONS[name].as_strategy(generation_mode=mode), strategies.booleans())
        def each(case: Any, meant: bool) -> None:
            if meant and "id" in case.path_parameters:
                # What is really there, which chance would never find.
                case.path_parameters["id"] = ids[case.path.split("/")[3]]
            drawn = case.as_transport_kwargs(base_url=self.run.url)
            kept = {name: drawn[name] for name in ("params", "json", "data") if name in drawn}
            headers = {
                name: value
                for name, value in drawn.get("headers", {}).items()
                if name in ("Content-Type", "Idempotency-Key")
            }
            said = self.send(drawn["method"], drawn["url"], headers, **kept)
            case.validate_response(said, checks=CHECKS)
            if not self.tokens and case.path not in OPEN:
                assert said.status_code == 401
                assert said.headers["WWW-Authenticate"].startswith("Bearer")

        each()


async def furnish(rig: Rig) -> tuple[dict[str, int], list[str], list[str]]:
    """What the box's project has, by the word in its path; tokens of the project, and of a user of another one."""
    async with open_store(rig.data / "branchline.db") as store:
        relay = await store.directory.buy(
            rig.number, project=1, forward_to=OWNER, country="FR", type_="mobile", at=BORN
        )
        webhook, _ = await store.subscriptions.create(1, rig.customer.url + "/hook", at=BORN)
        call = await store.open_call(
            uuid="call-1",
            line=rig.line.name,
            direction=Direction.INBOUND,
            from_=PHONE,
            to=OWNER,
            state=State.INCOMING,
            started_at=BORN,
            route="{}",
            kind=Kind.RELAY,
            project=1,
            relay_number=rig.number,
        )
        ids = {"relay_numbers": relay.id, "webhooks": webhook.id, "calls": call.id}
        return (
            ids,
            [await project_token(store) for _ in range(TOKENS)],
            [await user_token(store) for _ in range(TOKENS)],
        )


async def project_token(store: Store) -> str:
    token, digest = new_token("project")
    await store.tenants.add_token(digest, project=1, name="schema", at=BORN)
    return token


async def user_token(store: Store) -> str:
    token, digest = new_token("user")
    now = datetime.now(UTC)
    await store.tenants.sign_up(USER, None, "123456", at=now, expires_at=now + timedelta(minutes=15))
    assert await store.tenants.confirm(USER, "123456", digest, at=now)
    return token


async def test_3_whoever_asks_is_answered_as_described(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    examples = pytestconfig.getoption("schema_examples")
    async with open_rig(tmp_path, linked=False) as rig:
        ids, of_project, of_user = await furnish(rig)
        run = await rig.start()
        project, user, nobody = (Somebody(run, tokens) for tokens in (of_project, of_user, []))

        def ask() -> None:
            # What is deleted is deleted last.
            for name in sorted(OPERATIONS, key=lambda name: ("delete" in name, name)):
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    for somebody in (nobody, user, project):
                        somebody.fuzz(name, mode, examples, ids)

        await trio.to_thread.run_sync(ask)
        assert run.faults == []
        assert nobody.statuses.keys() <= {201, 400, 401, 413, 415, 422, 429}
        # It is another project's, or nobody's.
        assert {200, 403, 404, 422} <= user.statuses.keys()
        assert {200, 201, 404, 422} <= project.statuses.keys()
