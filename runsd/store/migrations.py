"""Brings a database to the version of this program: numbered SQL files, one transaction each."""

from __future__ import annotations

import sqlite3
from importlib import resources


class StoreTooNew(Exception):
    """The database was written by a later version; it is left untouched."""


def migrate(connection: sqlite3.Connection) -> None:
    """Applies what is missing. Raises StoreTooNew."""
    known = scripts()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(known):
        raise StoreTooNew(
            f"the database has version {version}, this runsd knows up to {len(known)}; install a later runsd"
        )
    for number in range(version, len(known)):
        _apply(connection, known[number], number + 1)


def scripts() -> list[str]:
    folder = resources.files("runsd.store") / "schema"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [f.read_text() for f in files]


def _apply(connection: sqlite3.Connection, script: str, version: int) -> None:
    connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {version};\nCOMMIT;")
