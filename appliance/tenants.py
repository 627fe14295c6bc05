"""Who uses the box by PhoneVoice's contract: users, their projects, tokens of both, and who wants to become a user.

Of a token only its digest is kept: who reads the file can't use the API. Project 1 and its owner are the box's own.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Any

from appliance.archive import text_of
from appliance.database import Commit, Database
from appliance.subscriptions import new_secret

BOX = 1
# phonevoice 2.2
TRIES = 5
# Ours: each is a line in the log for somebody to read, and a chance to guess.
OPEN_SIGNUPS = 20
TOKEN_ID_LENGTH = 12


@dataclass(frozen=True)
class User:
    id: int
    name: str
    email: str


@dataclass(frozen=True)
class Project:
    """`owner` is a user's id. `legacy_secret` signs what the older generation of the contract sends (10)."""

    id: int
    name: str
    owner: int
    created_at: str
    legacy_secret: str

    def __repr__(self) -> str:
        return f"Project({self.id}, {self.name!r})"


@dataclass(frozen=True)
class Bearer:
    """Whose a token is: a project's (and `user` is the project's owner) or a user's (`project` is his default)."""

    sha256: str
    user: User
    project: Project
    by_user: bool


@dataclass(frozen=True)
class Token:
    """What is known of a token; `holder` is the name of its project, or the address of its user."""

    id: str
    name: str
    holder: str
    by_user: bool
    created_at: str
    revoked_at: str | None


@dataclass(frozen=True)
class Signup:
    email: str
    code: str
    expires_at: str


class NameTaken(Exception):
    """Another project is called so."""


def new_token(kind: str) -> tuple[str, str]:
    """Of 256 random bits (phonevoice 2), and its digest. `kind` is for people who find one: `project` or `user`."""
    token = f"pv_{kind}_{token_urlsafe(32)}"
    return token, digest_of(token)


def digest_of(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


_USER = "users.id, users.name, users.email"
_PROJECT = "projects.id, projects.name, owner, projects.created_at, legacy_secret"


class Tenants:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- who asks ---------------------------------------------------------------------------------------------------

    async def bearer(self, sha256: str) -> Bearer | None:
        """Found by its digest, so the time of the look-up says nothing about a token."""
        token = "SELECT project, user FROM tokens WHERE sha256 = ? AND revoked_at IS NULL"
        of_project = f"SELECT {_USER}, {_PROJECT} FROM projects JOIN users ON users.id = owner WHERE projects.id = ?"
        of_user = f"""SELECT {_USER}, {_PROJECT} FROM users JOIN members ON user = users.id
            JOIN projects ON projects.id = project WHERE users.id = ? ORDER BY projects.id LIMIT 1"""

        def query(connection: sqlite3.Connection) -> Bearer | None:
            found = connection.execute(token, (sha256,)).fetchone()
            if found is None:
                return None
            project, user = found
            by_user = project is None
            row = connection.execute(of_user if by_user else of_project, (user if by_user else project,)).fetchone()
            return Bearer(sha256, User(*row[:3]), Project(*row[3:]), by_user)

        return await self._database.read(query)

    async def project_of(self, user: int, project: int) -> Project | None:
        """None: he does not belong to it, if there is one."""
        query = f"SELECT {_PROJECT} FROM projects JOIN members ON project = projects.id WHERE user = ? AND project = ?"
        rows = await self._rows(query, user, project)
        return Project(*rows[0]) if rows else None

    # --- projects ---------------------------------------------------------------------------------------------------

    async def projects(self) -> list[Project]:
        """Oldest first."""
        return [Project(*row) for row in await self._rows(f"SELECT {_PROJECT} FROM projects ORDER BY id")]

    async def project(self, name_or_id: str | int) -> Project | None:
        column = "id" if isinstance(name_or_id, int) else "name"
        rows = await self._rows(f"SELECT {_PROJECT} FROM projects WHERE {column} = ?", name_or_id)
        return Project(*rows[0]) if rows else None

    async def add_project(self, name: str, *, at: datetime) -> Project:
        """The box's owner owns it. Raises NameTaken."""

        def work(connection: sqlite3.Connection) -> Project:
            return _add_project(connection, name, BOX, at)

        try:
            return await self._database.write(Commit.PROJECT_ADDED, work)
        except sqlite3.IntegrityError:
            raise NameTaken(name) from None

    async def name_box(self, *, project: str | None, name: str | None, email: str | None) -> None:
        """What the box's own project and its owner are called from now on; a name that is another's is let be."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE OR IGNORE projects SET name = IFNULL(?, name) WHERE id = ?", (project, BOX))
            statement = "UPDATE OR IGNORE users SET name = IFNULL(?, name), email = IFNULL(?, email) WHERE id = ?"
            connection.execute(statement, (name, email, BOX))

        await self._database.write(Commit.PROJECT_ADDED, work)

    # --- tokens -----------------------------------------------------------------------------------------------------

    async def add_token(self, sha256: str, *, project: int, name: str, at: datetime) -> Token:
        def work(connection: sqlite3.Connection) -> Token:
            _add_token(connection, sha256, project=project, user=None, name=name, at=at)
            return _tokens(connection, "sha256 = ?", sha256)[0]

        return await self._database.write(Commit.TOKEN_ADDED, work)

    async def tokens(self, project: int | None = None) -> list[Token]:
        """Of a project, or else all, those of users too; oldest first."""
        where, values = ("TRUE", ()) if project is None else ("project = ?", (project,))
        return await self._database.read(lambda connection: _tokens(connection, where, *values))

    async def revoke(self, *, at: datetime, project: int, name: str | None = None, id_: str | None = None) -> int:
        """Tokens of a project, all of a name or the one with this id; how many there were."""
        statement = """UPDATE tokens SET revoked_at = ? WHERE revoked_at IS NULL AND project = ?
            AND (name = ? OR substr(sha256, 1, ?) = ?)"""
        values = (text_of(at), project, name, TOKEN_ID_LENGTH, id_)
        return await self._database.write(
            Commit.TOKEN_REVOKED, lambda connection: connection.execute(statement, values).rowcount
        )

    async def revoke_user(self, email: str, *, at: datetime) -> int:
        """All tokens of the user with this address; how many there were."""
        statement = """UPDATE tokens SET revoked_at = ? WHERE revoked_at IS NULL
            AND user = (SELECT id FROM users WHERE email = ?)"""
        return await self._database.write(
            Commit.TOKEN_REVOKED, lambda connection: connection.execute(statement, (text_of(at), email)).rowcount
        )

    # --- becoming a user (phonevoice 2.2) ---------------------------------------------------------------------------

    async def sign_up(self, email: str, name: str | None, code: str, *, at: datetime, expires_at: datetime) -> bool:
        """An earlier code for this address is void. False: too many wait to confirm; nothing was done."""

        def work(connection: sqlite3.Connection) -> bool:
            connection.execute("DELETE FROM signups WHERE expires_at <= ? OR email = ?", (text_of(at), email))
            (open_,) = connection.execute("SELECT count(*) FROM signups").fetchone()
            if open_ >= OPEN_SIGNUPS:
                return False
            statement = "INSERT INTO signups (email, name, code, tries, expires_at) VALUES (?, ?, ?, 0, ?)"
            connection.execute(statement, (email, name, code, text_of(expires_at)))
            return True

        return await self._database.write(Commit.USER_SIGNED_UP, work)

    async def signups(self, *, at: datetime) -> list[Signup]:
        query = "SELECT email, code, expires_at FROM signups WHERE expires_at > ? ORDER BY expires_at"
        return [Signup(*row) for row in await self._rows(query, text_of(at))]

    async def confirm(self, email: str, code: str, sha256: str, *, at: datetime) -> bool:
        """With the right code the token of this digest is the user's, who has a project of his own if he is new."""

        def work(connection: sqlite3.Connection) -> bool:
            query = "SELECT email, name, code FROM signups WHERE email = ? AND expires_at > ?"
            row = connection.execute(query, (email, text_of(at))).fetchone()
            if row is None:
                return False
            address, name, right = row
            if not compare_digest(code.encode(), right.encode()):
                connection.execute("UPDATE signups SET tries = tries + 1 WHERE email = ?", (email,))
                connection.execute("DELETE FROM signups WHERE email = ? AND tries >= ?", (email, TRIES))
                return False
            connection.execute("DELETE FROM signups WHERE email = ?", (email,))
            user = _user(connection, address, name, at)
            _add_token(connection, sha256, project=None, user=user, name=address, at=at)
            return True

        return await self._database.write(Commit.USER_CONFIRMED, work)

    async def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._database.read(lambda connection: connection.execute(query, values).fetchall())


def _user(connection: sqlite3.Connection, email: str, name: str | None, at: datetime) -> int:
    """The one with this address, made if there is none, with a project that is called by it."""
    row = connection.execute("SELECT id FROM users WHERE email = ?", (email,)).fetchone()
    if row is not None:
        return int(row[0])
    statement = "INSERT INTO users (email, name, created_at) VALUES (?, ?, ?) RETURNING id"
    (user,) = connection.execute(statement, (email, name or email.partition("@")[0], text_of(at))).fetchone()
    _add_project(connection, email, user, at)
    return int(user)


def _add_project(connection: sqlite3.Connection, name: str, owner: int, at: datetime) -> Project:
    statement = f"""INSERT INTO projects (name, owner, legacy_secret, created_at) VALUES (?, ?, ?, ?)
        RETURNING {_PROJECT.replace("projects.", "")}"""
    row: Sequence[Any] = connection.execute(statement, (name, owner, new_secret(), text_of(at))).fetchone()
    project = Project(*row)
    connection.execute("INSERT INTO members (user, project) VALUES (?, ?)", (owner, project.id))
    return project


def _add_token(
    connection: sqlite3.Connection, sha256: str, *, project: int | None, user: int | None, name: str, at: datetime
) -> None:
    statement = "INSERT INTO tokens (sha256, project, user, name, created_at) VALUES (?, ?, ?, ?, ?)"
    connection.execute(statement, (sha256, project, user, name, text_of(at)))


def _tokens(connection: sqlite3.Connection, where: str, *values: object) -> list[Token]:
    query = f"""SELECT sha256, tokens.name, IFNULL(projects.name, email), user IS NOT NULL,
            tokens.created_at, revoked_at
        FROM tokens LEFT JOIN projects ON projects.id = project LEFT JOIN users ON users.id = user
        WHERE {where} ORDER BY tokens.rowid"""
    return [
        Token(sha256[:TOKEN_ID_LENGTH], name, holder, bool(by_user), *times)
        for sha256, name, holder, by_user, *times in connection.execute(query, values)
    ]
