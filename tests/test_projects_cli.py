"""`branchline project`, `token` and `signups` beside a service, on the file that it uses."""

from importlib.metadata import version
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner

from appliance import app
from appliance.__main__ import commands
from appliance.store import Store, open_store
from appliance.tenants import digest_of


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "box.toml"
    path.write_text(f'[service]\ndata_dir = "{tmp_path}/data"\n')
    return path


def run(config: Path, *words: str, status: int = 0) -> str:
    said = CliRunner().invoke(commands, [*words, "--config", str(config)])
    assert said.exit_code == status, said.output
    return said.output


def on_store(config: Path, work: object) -> object:
    async def do() -> object:
        async with open_store(config.parent / "data" / app.DATABASE) as store:
            return await work(store)  # type: ignore[operator]

    return trio.run(do)


def test_the_version_is_told() -> None:
    said = CliRunner().invoke(commands, ["--version"])
    assert (said.exit_code, said.output) == (0, f"branchline {version('branchline')}\n")


def test_a_project_and_its_tokens_from_first_to_last(config: Path) -> None:
    run(config, "project", "create", "shop")
    assert "already" in run(config, "project", "create", "SHOP", status=1)
    assert "@" in run(config, "project", "create", "a@b", status=1)
    assert [line.split()[-1] for line in run(config, "project", "list").splitlines()] == ["box", "shop"]
    token = run(config, "token", "create", "crm", "--project", "shop").strip()
    run(config, "token", "create", "my-app")

    async def holder(store: Store) -> str | None:
        bearer = await store.tenants.bearer(digest_of(token))
        return bearer and bearer.project.name

    assert on_store(config, holder) == "shop"
    listed = run(config, "token", "list")
    assert "my-app" in listed
    assert "crm  project shop" in listed
    assert token not in listed
    assert "my-app" not in run(config, "token", "list", "--project", "2")
    assert "no valid key" in run(config, "token", "revoke", "crm", status=1)
    run(config, "token", "revoke", "crm", "--project", "shop")
    assert on_store(config, holder) is None
    assert "revoked" in run(config, "token", "list", "--project", "shop")
    assert "no project is called" in run(config, "token", "create", "--project", "bar", status=1)


def test_who_waits_for_a_code_is_shown_with_it(config: Path) -> None:
    run(config, "project", "list")

    async def sign_up(store: Store) -> bool:
        at = app.now()
        return await store.tenants.sign_up("desk@example.com", None, "012345", at=at, expires_at=at.replace(year=2999))

    assert on_store(config, sign_up)
    assert "012345  desk@example.com" in run(config, "signups")
