"""What projects have of the box: numbers that relay, and agents that speak.

A number is bought in the same write that claims it (`claims`). An agent is a stream to a server of its owner's, in the
words of an SFVoPI Stream JSON: the box has no voice of its own.
"""

import json
import re
import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Self
from unicodedata import normalize

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from appliance.actions import StreamTo
from appliance.archive import text_of
from appliance.claims import PHONEVOICE, NumberTaken, claim, release
from appliance.contracts.sfvopi_answer import BadInstructions, instructions
from appliance.database import Also, Commit, Database, nothing_else


class Loop(Exception):
    """The number would forward to itself, or to another relay of the box."""


class NowhereToForward(Exception):
    """A relay can't be on without a number to forward to."""


@dataclass(frozen=True)
class RelayNumber:
    """`type` is the contract's (phonevoice 5). `rule` is JSON: what becomes of a caller whom nobody answers."""

    id: int
    number: str
    project: int
    forward_to: str | None
    enabled: bool
    country: str
    type: str
    created_at: str
    rule: str | None = None


def _stream(stream: dict[str, Any]) -> dict[str, Any]:
    try:
        instructions(json.dumps({"stream": stream}).encode())
    except BadInstructions as exc:
        raise ValueError(str(exc)) from None
    return stream


class AgentSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: Annotated[
        dict[str, Any] | None,
        Field(
            description="Where its voice is: a Stream JSON as an SFVoPI answer webhook gives it (url, codec, "
            "sample_rate, extra_headers, protocol ...). Null: it can't be called yet.",
            examples=[{"url": "wss://agent.example/voice", "codec": "PCMA", "sample_rate": 8000}],
        ),
        AfterValidator(lambda value: value if value is None else _stream(value)),
    ] = None
    # For whoever runs the agent to read: the box itself does not speak.
    system_message: Annotated[str | None, Field(max_length=20_000)] = None
    first_message: Annotated[str | None, Field(max_length=2_000)] = None
    realtime_voice: Annotated[str | None, Field(max_length=100)] = None
    # What its calls have unless an order says otherwise (phonevoice 4.1).
    enable_recording: bool = True
    enable_transcription: bool = True
    enable_analysis: bool = True

    @property
    def stream_to(self) -> StreamTo | None:
        return None if self.stream is None else instructions(json.dumps({"stream": self.stream}).encode())

    @classmethod
    def of(cls, text: str) -> Self:
        return cls.model_validate_json(text)


@dataclass(frozen=True)
class Agent:
    """`slug` is its name as the older generation of the contract has it (10)."""

    id: int
    project: int
    name: str
    slug: str
    settings: AgentSettings
    created_at: str


def slug_of(name: str) -> str:
    """`Désk 2` is `desk-2`; a name that has nothing in ASCII keeps its letters."""
    plain = normalize("NFKD", name).encode("ascii", "ignore").decode()
    slugs = (re.sub(r"[\W_]+", "-", each.lower()).strip("-") for each in (plain, name))
    return next(filter(None, slugs), "")


class SlugTaken(Exception):
    """Another agent of the project has a name that comes to the same."""


_RELAY = "id, number, project, forward_to, enabled, country, type, created_at, rule"
_AGENT = "id, project, name, slug, settings, created_at"


class Directory:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- relay numbers ----------------------------------------------------------------------------------------------

    async def relay_of(self, number: str) -> RelayNumber | None:
        """For a call that comes in now."""
        return next(iter(await self._relays("WHERE number = ?", number)), None)

    async def relay_number(self, id_: int) -> RelayNumber | None:
        return next(iter(await self._relays("WHERE id = ?", id_)), None)

    async def relay_numbers(self, project: int, *, offset: int, limit: int) -> tuple[list[RelayNumber], int]:
        """A page of them, newest first, and how many there are."""
        query = f"SELECT {_RELAY} FROM relay_numbers WHERE project = ? ORDER BY id DESC LIMIT ? OFFSET ?"

        def read(connection: sqlite3.Connection) -> tuple[list[RelayNumber], int]:
            rows = connection.execute(query, (project, limit, offset)).fetchall()
            (total,) = connection.execute("SELECT count(*) FROM relay_numbers WHERE project = ?", (project,)).fetchone()
            return [_relay(row) for row in rows], total

        return await self._database.read(read)

    async def numbers_of(self, project: int) -> list[str]:
        """Of its relays, the oldest first."""
        return [relay.number for relay in await self._relays("WHERE project = ? ORDER BY id", project)]

    async def buy(
        self,
        number: str,
        *,
        project: int,
        forward_to: str | None,
        country: str,
        type_: str,
        at: datetime,
        also: Also[RelayNumber] = nothing_else,
    ) -> RelayNumber:
        """It forwards from now on, if there is where to.

        Raises:
            NumberTaken, Loop
        """

        def work(connection: sqlite3.Connection) -> RelayNumber:
            if holder := claim(connection, number, PHONEVOICE):
                raise NumberTaken(holder)
            _check(connection, number, forward_to)
            statement = f"""INSERT INTO relay_numbers (number, project, forward_to, enabled, country, type, created_at)
                VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_RELAY}"""
            facts = (number, project, forward_to, forward_to is not None, country, type_, text_of(at))
            bought = _relay(connection.execute(statement, facts).fetchone())
            also(connection, bought)
            return bought

        return await self._database.write(Commit.NUMBER_BOUGHT, work)

    async def change(
        self, id_: int, *, forward_to: str | None = None, enabled: bool | None = None
    ) -> RelayNumber | None:
        """None stays as it is. It counts from the next call on; None is answered when there is no such number.

        Raises:
            Loop, NowhereToForward
        """

        def work(connection: sqlite3.Connection) -> RelayNumber | None:
            row = connection.execute(f"SELECT {_RELAY} FROM relay_numbers WHERE id = ?", (id_,)).fetchone()
            if row is None:
                return None
            relay = _relay(row)
            relay = replace(
                relay,
                forward_to=relay.forward_to if forward_to is None else forward_to,
                enabled=relay.enabled if enabled is None else enabled,
            )
            if relay.enabled and relay.forward_to is None:
                raise NowhereToForward
            _check(connection, relay.number, relay.forward_to)
            statement = "UPDATE relay_numbers SET forward_to = ?, enabled = ? WHERE id = ?"
            connection.execute(statement, (relay.forward_to, relay.enabled, id_))
            return relay

        return await self._database.write(Commit.NUMBER_CHANGED, work)

    async def set_rule(self, id_: int, rule: str | None) -> bool:
        """False: there is no such number."""
        statement = "UPDATE relay_numbers SET rule = ? WHERE id = ?"
        return await self._database.write(
            Commit.NUMBER_CHANGED, lambda connection: connection.execute(statement, (rule, id_)).rowcount > 0
        )

    async def release(self, id_: int) -> bool:
        """The number is anybody's again. False: there was none."""

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute("DELETE FROM relay_numbers WHERE id = ? RETURNING number", (id_,)).fetchone()
            if row is None:
                return False
            release(connection, row[0])
            return True

        return await self._database.write(Commit.NUMBER_RELEASED, work)

    async def _relays(self, where: str, *values: object) -> list[RelayNumber]:
        query = f"SELECT {_RELAY} FROM relay_numbers {where}"
        rows = await self._database.read(lambda connection: connection.execute(query, values).fetchall())
        return [_relay(row) for row in rows]

    # --- agents -----------------------------------------------------------------------------------------------------

    async def agents(self, project: int) -> list[Agent]:
        """Newest first."""
        return await self._agents("WHERE project = ? ORDER BY id DESC", project)

    async def agent(self, id_: int) -> Agent | None:
        return next(iter(await self._agents("WHERE id = ?", id_)), None)

    async def agent_called(self, project: int, slug: str) -> Agent | None:
        return next(iter(await self._agents("WHERE project = ? AND slug = ?", project, slug)), None)

    async def add_agent(self, project: int, name: str, settings: AgentSettings, *, at: datetime) -> Agent:
        """Raises: SlugTaken"""
        statement = f"""INSERT INTO agents (project, name, slug, settings, created_at) VALUES (?, ?, ?, ?, ?)
            RETURNING {_AGENT}"""
        facts = (project, name, slug_of(name), settings.model_dump_json(), text_of(at))
        return await self._save_agent(statement, *facts)  # type: ignore[return-value]  # it returns what it inserts

    async def change_agent(self, id_: int, name: str, settings: AgentSettings) -> Agent | None:
        """None: there is no such agent. Raises: SlugTaken"""
        statement = f"UPDATE agents SET name = ?, slug = ?, settings = ? WHERE id = ? RETURNING {_AGENT}"
        return await self._save_agent(statement, name, slug_of(name), settings.model_dump_json(), id_)

    async def delete_agent(self, id_: int) -> bool:
        statement = "DELETE FROM agents WHERE id = ?"
        return await self._database.write(
            Commit.AGENT_DELETED, lambda connection: connection.execute(statement, (id_,)).rowcount > 0
        )

    async def _save_agent(self, statement: str, *values: object) -> Agent | None:
        def work(connection: sqlite3.Connection) -> Agent | None:
            row = connection.execute(statement, values).fetchone()
            return _agent(row) if row else None

        try:
            return await self._database.write(Commit.AGENT_SAVED, work)
        except sqlite3.IntegrityError:
            raise SlugTaken from None

    async def _agents(self, where: str, *values: object) -> list[Agent]:
        query = f"SELECT {_AGENT} FROM agents {where}"
        rows = await self._database.read(lambda connection: connection.execute(query, values).fetchall())
        return [_agent(row) for row in rows]


def _check(connection: sqlite3.Connection, number: str, forward_to: str | None) -> None:
    """Two relays of one box would call one another for ever: neither end may be another relay's."""
    query = "SELECT 1 FROM relay_numbers WHERE number <> :number AND (number = :to OR forward_to = :number)"
    if number == forward_to or connection.execute(query, {"number": number, "to": forward_to}).fetchone():
        raise Loop


def _relay(row: tuple[Any, ...]) -> RelayNumber:
    relay = RelayNumber(*row)
    return replace(relay, enabled=bool(relay.enabled))


def _agent(row: tuple[Any, ...]) -> Agent:
    id_, project, name, slug, settings, created_at = row
    return Agent(id_, project, name, slug, AgentSettings.of(settings), created_at)
