"""Projects, their tokens, and becoming a user, on a real file."""

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.store import open_store
from appliance.tenants import BOX, OPEN_SIGNUPS, TRIES, NameTaken, Tenants, digest_of, new_token

NOON = datetime(2026, 6, 4, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=15)
EMAIL = "desk@example.com"


@pytest.fixture
async def tenants(tmp_path: Path) -> AsyncIterator[Tenants]:
    async with open_store(tmp_path / "box.db") as store:
        yield store.tenants


async def sign_up(tenants: Tenants, email: str = EMAIL, code: str = "123456") -> bool:
    return await tenants.sign_up(email, None, code, at=NOON, expires_at=LATER)


async def test_a_box_has_a_project_of_its_own_with_an_owner(tenants: Tenants) -> None:
    (project,) = await tenants.projects()
    assert (project.id, project.name, project.owner) == (BOX, "box", BOX)
    assert project.legacy_secret.startswith("whsec_")
    assert project.legacy_secret not in repr(project)
    await tenants.name_box(project="Office", name="Front desk", email=EMAIL)
    token, digest = new_token("project")
    await tenants.add_token(digest, project=BOX, name="crm", at=NOON)
    bearer = await tenants.bearer(digest_of(token))
    assert bearer
    assert (bearer.project.name, bearer.user.name, bearer.user.email) == ("Office", "Front desk", EMAIL)


async def test_2_a_token_is_long_and_only_its_digest_is_kept(tenants: Tenants, tmp_path: Path) -> None:
    token, digest = new_token("project")
    assert len(token.removeprefix("pv_project_")) >= 43
    await tenants.add_token(digest, project=BOX, name="crm", at=NOON)
    rows = sqlite3.connect(tmp_path / "box.db").execute("SELECT * FROM tokens").fetchall()
    assert digest in str(rows)
    assert token not in str(rows)


async def test_2_a_revoked_token_is_none(tenants: Tenants) -> None:
    digests = [new_token("project")[1] for _ in range(3)]
    for digest, name in zip(digests, ("crm", "crm", "erp"), strict=True):
        await tenants.add_token(digest, project=BOX, name=name, at=NOON)
    assert await tenants.revoke(project=BOX + 1, name="crm", at=NOON) == 0
    assert await tenants.revoke(project=BOX, name="crm", at=NOON) == 2
    assert [await tenants.bearer(digest) is not None for digest in digests] == [False, False, True]
    (_, _, last) = await tenants.tokens(BOX)
    assert await tenants.revoke(project=BOX, id_=last.id, at=NOON) == 1
    assert await tenants.bearer(digests[2]) is None


async def test_a_project_has_a_name_of_its_own_whatever_its_letters(tenants: Tenants) -> None:
    project = await tenants.add_project("Bar", at=NOON)
    assert await tenants.project("bar") == await tenants.project(project.id) == project
    with pytest.raises(NameTaken):
        await tenants.add_project("BAR", at=NOON)


async def test_2_2_who_confirms_is_a_user_with_a_project_of_his_own(tenants: Tenants) -> None:
    assert await sign_up(tenants)
    assert [(signup.email, signup.code) for signup in await tenants.signups(at=NOON)] == [(EMAIL, "123456")]
    _, digest = new_token("user")
    assert await tenants.confirm("Desk@Example.com", "123456", digest, at=NOON)
    bearer = await tenants.bearer(digest)
    assert bearer
    assert bearer.by_user
    assert bearer.user.email == EMAIL
    assert bearer.project.id != BOX
    assert await tenants.project_of(bearer.user.id, bearer.project.id) == bearer.project
    assert await tenants.project_of(bearer.user.id, BOX) is None


async def test_2_2_who_is_known_already_gets_another_token_for_the_same_project(tenants: Tenants) -> None:
    projects = []
    for _ in range(2):
        assert await sign_up(tenants)
        _, digest = new_token("user")
        assert await tenants.confirm(EMAIL, "123456", digest, at=NOON)
        bearer = await tenants.bearer(digest)
        assert bearer
        projects.append(bearer.project)
    assert projects[0] == projects[1]


async def test_2_2_a_code_is_good_once_for_five_tries_and_fifteen_minutes(tenants: Tenants) -> None:
    digests = iter([new_token("user")[1] for _ in range(20)])

    async def confirm(code: str, at: datetime = NOON) -> bool:
        return await tenants.confirm(EMAIL, code, next(digests), at=at)

    assert not await confirm("123456")
    await sign_up(tenants)
    for _ in range(TRIES - 1):
        assert not await confirm("654321")
    assert await confirm("123456")
    assert not await confirm("123456")
    await sign_up(tenants)
    for _ in range(TRIES):
        assert not await confirm("12345é")
    assert not await confirm("123456")
    await sign_up(tenants)
    assert not await confirm("123456", at=LATER)
    await sign_up(tenants, code="111111")
    await sign_up(tenants, code="222222")
    assert not await confirm("111111")
    assert await confirm("222222")


async def test_2_2_only_so_many_wait_to_confirm(tenants: Tenants) -> None:
    for number in range(OPEN_SIGNUPS):
        assert await sign_up(tenants, f"{number}@example.com")
    assert not await sign_up(tenants)
    assert await sign_up(tenants, "0@example.com")
    assert await tenants.sign_up(EMAIL, None, "123456", at=LATER, expires_at=LATER + timedelta(minutes=15))
