"""How a batch is written: a kind of row at a time, and many rows a statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from runsd.store import schedule_changes
from runsd.store.rows import CHANGED_COLUMNS, RUN_COLUMNS, changed_values, run_values
from runsd.store.transaction import Staged

_INSERT_RUNS = f"INSERT INTO runs (run_no, request_hash, {RUN_COLUMNS}) VALUES "
_UPDATE_RUN = f"UPDATE runs SET {', '.join(f'{column} = ?' for column in CHANGED_COLUMNS)} WHERE run_no = ?"
_INSERT_DOCUMENTS = "INSERT INTO documents (run_no, input_json, config_json, output_json) VALUES "
_UPDATE_OUTPUT = "UPDATE documents SET output_json = ? WHERE run_no = ?"
_INSERT_EVENTS = "INSERT INTO events (position, run_no, event_id, event_type, payload_json, created_at) VALUES "
_INSERT_ATTEMPTS = "INSERT INTO attempts (run_no, attempt, adapter, began_at) VALUES "
_UPDATE_OFFSETS = (
    "UPDATE attempts SET stdout_offset = ?, stderr_offset = ?, events_offset = ? WHERE run_no = ? AND attempt = ?"
)
_INSERT_WAIT = "INSERT OR REPLACE INTO waits (run_no, wake_at) VALUES (?, ?)"
_WAKE = "UPDATE waits SET wake_at = 0 WHERE run_no = ?"
_DELETE_WAIT = "DELETE FROM waits WHERE run_no = ?"
_INSERT_ARTIFACT = (
    "INSERT OR REPLACE INTO artifacts (run_no, name, size_bytes, sha256, media_type, attempt) VALUES (?, ?, ?, ?, ?, ?)"
)


def write(connection: sqlite3.Connection, staged: Staged) -> None:
    """Writes a batch, a kind of row at a time, parents before children."""
    new, changed = [], []
    for stored in staged.runs.values():
        if stored.is_new:
            new.append((stored.number, staged.hashes.get(stored.number), *run_values(stored.run)))
        else:
            changed.append((*changed_values(stored.run), stored.number))
    _insert(connection, _INSERT_RUNS, new)
    _insert(connection, _INSERT_DOCUMENTS, staged.new_documents)
    _insert(connection, _INSERT_EVENTS, staged.events)
    _insert(connection, _INSERT_ATTEMPTS, staged.attempts)
    for statement, rows in (
        (_UPDATE_RUN, changed),
        (_UPDATE_OUTPUT, staged.outputs),
        (_UPDATE_OFFSETS, staged.offsets),
        (_INSERT_ARTIFACT, staged.artifacts),
        (_INSERT_WAIT, list(staged.waits.items())),
        (_WAKE, [(stored.number,) for stored in staged.woken.values()]),
        (_DELETE_WAIT, staged.resumed),
    ):
        if rows:
            connection.executemany(statement, rows)
    schedule_changes.write(connection, staged.schedules)


# Of one statement: `executemany` gives the interpreter away and takes it back for every row.
_MOST_ROWS = 64


def _insert(connection: sqlite3.Connection, insert: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Many rows a statement, in powers of two, so that few are to be kept prepared; `insert` ends before the values."""
    done = 0
    while done < len(rows):
        count = min(1 << (len(rows) - done).bit_length() - 1, _MOST_ROWS)
        values = tuple(chain.from_iterable(rows[done : done + count]))
        connection.execute(_with_places(insert, len(rows[0]), count), values)
        done += count


@cache
def _with_places(insert: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return insert + ", ".join([row] * rows)
