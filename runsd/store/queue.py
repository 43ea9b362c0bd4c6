"""The pending runs as the dispatcher reads them: in the order in which they start.

Runs wait here, in SQLite, not in memory. A read skips targets and keys that are full, so that a
backlog of one holds up no other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from runsd.store.rows import json_array
from runsd.store.transaction import StoredRun, Transaction


@dataclass(frozen=True, slots=True, order=True)
class Queued:
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
    """The first pending runs of these projects whose time has come, outside the given lanes."""
    rows = connection.execute(
        "SELECT -priority, run_no, run_id, project, target, concurrency_key FROM runs INDEXED BY runs_queued "
        "WHERE status = 'pending' AND (start_after IS NULL OR start_after <= ?) "
        "AND project IN (SELECT value FROM json_each(?)) "
        "AND project || ' ' || target NOT IN (SELECT value FROM json_each(?)) "
        "AND project || ' ' || concurrency_key NOT IN (SELECT value FROM json_each(?)) "
        "ORDER BY priority DESC, run_no LIMIT ?",
        (now, json_array(projects), json_array(full_targets), json_array(busy_keys), limit),
    )
    return [Queued(*row) for row in rows]


def next_moment(connection: sqlite3.Connection, now: int) -> int | None:
    """When the next delayed run may start, or the next run expires."""
    (delayed,) = connection.execute(
        "SELECT min(start_after) FROM runs WHERE status = 'pending' AND start_after > ?", (now,)
    ).fetchone()
    (expiring,) = connection.execute(
        "SELECT min(expires_after) FROM runs WHERE status = 'pending' AND attempt = 0 AND expires_after IS NOT NULL"
    ).fetchone()
    return min((moment for moment in (delayed, expiring) if moment is not None), default=None)


def expired(transaction: Transaction, limit: int) -> list[str]:
    """Ids of pending runs that should have started by now and never did."""
    rows = transaction.connection.execute(
        "SELECT run_id FROM runs WHERE status = 'pending' AND attempt = 0 AND expires_after <= ? "
        "ORDER BY expires_after LIMIT ?",
        (transaction.steady_now, limit),
    )
    return [run_id for (run_id,) in rows]
