"""SQLite connections, and what a thread hop costs.

aiosqlite runs each statement in the connection's thread at 60 to 90 µs a hop. `call` runs a whole
function there, so that a transaction or a query of several statements is one hop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import aiosqlite

T = TypeVar("T")

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    # Invariant 1: a commit is fsynced before it is answered.
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -8000",
)


class Connection(aiosqlite.Connection):
    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `function` in the connection's thread and gives its result."""
        result: T = await self._execute(function, self._conn)  # type: ignore[no-untyped-call]
        return result


async def connect(file: Path, *, read_only: bool = False) -> Connection:
    """The caller closes it; the thread behind it ends with that."""

    def connector() -> sqlite3.Connection:
        # Transactions are begun and ended by hand.
        return sqlite3.connect(file, isolation_level=None, cached_statements=256)

    connection = Connection(connector, iter_chunk_size=64)
    await connection
    try:
        await connection.call(lambda c: _prepare(c, read_only))
    except sqlite3.Error:
        await connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, read_only: bool) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    if read_only:
        connection.execute("PRAGMA query_only = ON")


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """All reads inside see one state of the database."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")
