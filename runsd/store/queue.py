"""The pending runs, and the waiting ones that are to go on, as the dispatcher reads them: in order.

Runs wait here, in SQLite, not in memory. A read skips targets and keys that are full, so that a
backlog of one holds up no other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from runsd.store.rows import json_array
from runsd.store.transaction import StoredRun, Transaction


class Queued(NamedTuple):
    """Sorts in the order of starting: higher priority first, then the older."""

    rank: int
    number: int
    run_id: str
    project: str
    target: str
    concurrency_key: str

    @classmethod
    def of(cls, stored: StoredRun) -> Queued:
        run = stored.run
        return cls(-run.priority, stored.number, run.run_id, run.project, run.target, run.concurrency_key)


def lane(project: str, name: str) -> str:
    """One text for a target or key of a project; project ids have no blanks."""
    return f"{project} {name}"


def startable(
    connection: sqlite3.Connection,
    now: int,
    limit: int,
    projects: Sequence[str],
    full_targets: Sequence[str],
    busy_keys: Sequence[str],
) -> list[Queued]:
    """The first runs of these projects whose time has come, pending or waiting, outside the given lanes."""
    values = (now, json_array(projects), json_array(full_targets), json_array(busy_keys), limit)
    found = [Queued(*row) for query in (_PENDING, _DUE) for row in connection.execute(query, values)]
    return sorted(found)[:limit]


def became_startable(
    connection: sqlite3.Connection, since: int, now: int, limit: int, projects: Sequence[str]
) -> list[Queued]:
    """Runs of these projects whose moment has come in this time, both ends included; up to `limit` of each kind."""
    values = (since, now, json_array(projects), limit)
    return [Queued(*row) for query in (_NO_LONGER_DELAYED, _NEWLY_DUE) for row in connection.execute(query, values)]


def ending(connection: sqlite3.Connection, now: int, limit: int, projects: Sequence[str]) -> list[Queued]:
    """Runs of these projects that were asked to end and have to go on for it.

    The youngest first: a workflow waits for the ends of those that it began, and they are younger.
    """
    return [Queued(*row) for row in connection.execute(_ENDING, (now, now, json_array(projects), limit))]


_ENDING = (
    "SELECT -priority, run_no, run_id, project, target, concurrency_key "
    "FROM runs INDEXED BY runs_ending LEFT JOIN waits USING (run_no) "
    "WHERE cancel_requested AND status IN ('pending', 'waiting') "
    "AND (status = 'pending' AND coalesce(start_after, 0) <= ? OR status = 'waiting' AND wake_at <= ?) "
    "AND project IN (SELECT value FROM json_each(?)) ORDER BY run_no DESC LIMIT ?"
)
_OUTSIDE_LANES = (
    "AND project IN (SELECT value FROM json_each(?)) "
    "AND project || ' ' || target NOT IN (SELECT value FROM json_each(?)) "
    "AND project || ' ' || concurrency_key NOT IN (SELECT value FROM json_each(?)) "
    "ORDER BY priority DESC, run_no LIMIT ?"
)
_PENDING = (
    "SELECT -priority, run_no, run_id, project, target, concurrency_key FROM runs INDEXED BY runs_queued "
    f"WHERE status = 'pending' AND (start_after IS NULL OR start_after <= ?) {_OUTSIDE_LANES}"
)
_DUE = (
    "SELECT -priority, run_no, run_id, project, target, concurrency_key FROM waits CROSS JOIN runs USING (run_no) "
    f"WHERE wake_at <= ? {_OUTSIDE_LANES}"
)
_NO_LONGER_DELAYED = (
    "SELECT -priority, run_no, run_id, project, target, concurrency_key FROM runs INDEXED BY runs_delayed "
    "WHERE status = 'pending' AND start_after BETWEEN ? AND ? AND project IN (SELECT value FROM json_each(?)) LIMIT ?"
)
_NEWLY_DUE = (
    "SELECT -priority, run_no, run_id, project, target, concurrency_key FROM waits CROSS JOIN runs USING (run_no) "
    "WHERE wake_at BETWEEN ? AND ? AND project IN (SELECT value FROM json_each(?)) LIMIT ?"
)


def next_moment(connection: sqlite3.Connection, now: int) -> int | None:
    """When the next delayed run may start, the next waiting one goes on, or the next expires."""
    (delayed,) = connection.execute(
        "SELECT min(start_after) FROM runs WHERE status = 'pending' AND start_after > ?", (now,)
    ).fetchone()
    (expiring,) = connection.execute(
        "SELECT min(expires_after) FROM runs WHERE status = 'pending' AND attempt = 0 AND expires_after IS NOT NULL"
    ).fetchone()
    (due,) = connection.execute("SELECT min(wake_at) FROM waits WHERE wake_at > ?", (now,)).fetchone()
    return min((moment for moment in (delayed, expiring, due) if moment is not None), default=None)


def expired(transaction: Transaction, limit: int) -> list[str]:
    """Ids of pending runs that should have started by now and never did."""
    rows = transaction.connection.execute(
        "SELECT run_id FROM runs WHERE status = 'pending' AND attempt = 0 AND expires_after <= ? "
        "ORDER BY expires_after LIMIT ?",
        (transaction.steady_now, limit),
    )
    return [run_id for (run_id,) in rows]
