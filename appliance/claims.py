"""One route per number: which contract a call to each of the box's numbers goes by, whoever asks for it.

Within the transaction of whoever links or buys the number, so that two can't have it.
"""

import sqlite3

SFVOPI = "sfvopi"
PHONEVOICE = "phonevoice"


class NumberTaken(Exception):
    """Another contract has it; the text says which."""


def claim(connection: sqlite3.Connection, number: str, contract: str) -> str | None:
    """The contract that holds it; None: nobody did, and it is ours now."""
    statement = "INSERT INTO claims (number, contract) VALUES (?, ?) ON CONFLICT (number) DO NOTHING"
    if connection.execute(statement, (number, contract)).rowcount:
        return None
    (holder,) = connection.execute("SELECT contract FROM claims WHERE number = ?", (number,)).fetchone()
    return str(holder)


def release(connection: sqlite3.Connection, number: str) -> None:
    """The number is anybody's."""
    connection.execute("DELETE FROM claims WHERE number = ?", (number,))


def project_of(connection: sqlite3.Connection, number: str) -> int | None:
    """Who is told of a message to this number: the project whose relay it is, if the relay is on (phonevoice 5)."""
    query = "SELECT project FROM relay_numbers WHERE number = ? AND enabled"
    row = connection.execute(query, (number,)).fetchone()
    return None if row is None else int(row[0])


def claimed(connection: sqlite3.Connection) -> set[str]:
    """All that are somebody's."""
    return {number for (number,) in connection.execute("SELECT number FROM claims")}
