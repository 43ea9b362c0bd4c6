"""Holds a state directory's database against the invariants, beside a running daemon or without one.

Reads only, through a connection of its own that cannot write. Each run is checked inside one snapshot
and let go again, so that a daemon's checkpoints are not held up; nothing is kept but counts.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from runsd.model.record import Artifact
from runsd.model.run import Run
from runsd.store.connection import snapshot
from runsd.store.migrations import StoreTooNew, scripts
from runsd.store.run_checks import (
    RunLog,
    artifacts,
    check_attempts,
    check_events,
    check_record,
    check_relations,
    read_run,
)
from runsd.store.schedule_checks import check_origin, check_schedule
from runsd.store.step_checks import check_children, check_waits
from runsd.store.store import DATABASE

ROWS_AT_ONCE = 500
SHOWN_OF_A_KIND = 1000


class NotVerifiable(Exception):
    """There is nothing here that this runsd could check; the message says why."""


@dataclass(frozen=True, slots=True)
class Violation:
    """`run_id` is empty for what concerns no one run."""

    run_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.run_id or 'database'}: {self.what}"


@dataclass(slots=True)
class Counts:
    """What was looked at. `log_bytes` are those of stdout and stderr."""

    runs: Counter[str] = field(default_factory=Counter)
    events: int = 0
    attempts: int = 0
    steps: int = 0
    artifacts: int = 0
    schedules: int = 0
    occurrences: int = 0
    idempotency_keys: int = 0
    log_bytes: int = 0


# Says what is wrong with the files of a terminal run's artifact; told its run's id.
FileCheck = Callable[[str, Artifact], Iterator[str]]


@contextmanager
def opened(directory: Path) -> Iterator[sqlite3.Connection]:
    """Raises NotVerifiable, StoreTooNew, and sqlite3.DatabaseError for a file that is no sound database."""
    file = directory / DATABASE
    if not file.is_file():
        raise NotVerifiable(f"{directory} is no state directory: there is no {DATABASE} in it")
    with closing(_connect(file)) as connection:
        _check_version(connection, directory)
        yield connection


def _connect(file: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True, isolation_level=None)
        connection.execute("PRAGMA busy_timeout = 5000")
    except sqlite3.OperationalError as error:
        raise NotVerifiable(f"{file} cannot be opened: {error}") from error
    return connection


def _check_version(connection: sqlite3.Connection, directory: Path) -> None:
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError as error:
        raise NotVerifiable(f"the database in {directory} cannot be read: {error}") from error
    known = len(scripts())
    if version > known:
        raise StoreTooNew(
            f"the database has version {version}, this runsd knows up to {known}; verify it with a later runsd"
        )
    if version < known:
        raise NotVerifiable(
            f"the database in {directory} has version {version}, this runsd checks {known}; "
            "`runsd serve` brings it there, then verify again"
        )


def verify_database(
    connection: sqlite3.Connection, counts: Counts, check_file: FileCheck, *, deep: bool
) -> Iterator[Violation]:
    """Every violation, as it is found. Raises sqlite3.Error when the file cannot be read on."""
    yield from (Violation("", fault) for fault in _whole_faults(connection, deep=deep))
    for run_no in _numbers(connection, "runs", "run_no"):
        with snapshot(connection):
            found = list(_check_run(connection, run_no, counts, check_file))
        yield from found
    for number in _numbers(connection, "schedules", "schedule_no"):
        with snapshot(connection):
            faults = list(check_schedule(connection, number))
            counts.schedules += 1
            counts.occurrences += _occurrences(connection, number)
        yield from (Violation("", fault) for fault in faults)


def _occurrences(connection: sqlite3.Connection, number: int) -> int:
    (count,) = connection.execute("SELECT count(*) FROM occurrences WHERE schedule_no = ?", (number,)).fetchone()
    return int(count)


def _whole_faults(connection: sqlite3.Connection, *, deep: bool) -> Iterator[str]:
    check = "integrity_check" if deep else "quick_check"
    for (message,) in connection.execute(f"PRAGMA {check}({SHOWN_OF_A_KIND})"):
        if message != "ok":
            yield f"{check}: {message}"
    for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        where = f" (row {rowid})" if rowid is not None else ""
        yield f"a row of {table}{where} belongs to none of {parent}"
    rows = connection.execute(
        "SELECT project, idempotency_key, count(*), min(run_id) FROM runs WHERE idempotency_key <> '' "
        "GROUP BY project, idempotency_key HAVING count(*) > 1"
    )
    for project, key, count, run_id in rows:
        yield f"idempotency key {key!r} of project {project} made {count} runs, such as {run_id}"
    yield from _number_faults(connection)


def _number_faults(connection: sqlite3.Connection) -> Iterator[str]:
    """Numbers are never given out twice: the next one is past all there are."""
    with snapshot(connection):
        given = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
        for table, column in _NUMBERED:
            (highest,) = connection.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()
            if given.get(table, 0) < highest:
                yield f"the highest {column} is {highest}, the last given out {given.get(table, 0)}"


_NUMBERED = (
    ("runs", "run_no"),
    ("events", "position"),
    ("schedules", "schedule_no"),
    ("schedule_events", "position"),
)


def _numbers(connection: sqlite3.Connection, table: str, column: str) -> Iterator[int]:
    """In pages, so that no cursor stays open between runs; by the table itself, since an index may be broken."""
    after = 0
    while True:
        page = connection.execute(
            f"SELECT {column} FROM {table} NOT INDEXED WHERE {column} > ? ORDER BY {column} LIMIT ?",
            (after, ROWS_AT_ONCE),
        ).fetchall()
        if not page:
            return
        yield from (number for (number,) in page)
        after = page[-1][0]


def _check_run(
    connection: sqlite3.Connection, run_no: int, counts: Counts, check_file: FileCheck
) -> Iterator[Violation]:
    try:
        found = read_run(connection, run_no)
    except ValueError as error:
        (run_id,) = connection.execute("SELECT run_id FROM runs WHERE run_no = ?", (run_no,)).fetchone()
        yield Violation(run_id, f"its row cannot be read: {error}")
        return
    if found is None:
        return
    run, request_hash = found
    log = RunLog()
    faults = [
        *check_events(connection, run_no, log),
        *check_record(connection, run_no, run, log),
        *check_attempts(connection, run_no, log),
        *check_relations(connection, run_no, run, request_hash),
        *check_origin(connection, run),
        *check_waits(connection, run_no, run),
        *check_children(connection, run, log.steps),
        *_check_artifacts(connection, run_no, run, counts, check_file),
    ]
    _count(counts, run, log)
    yield from (Violation(run.run_id, fault) for fault in faults)


def _check_artifacts(
    connection: sqlite3.Connection, run_no: int, run: Run, counts: Counts, check_file: FileCheck
) -> Iterator[str]:
    for artifact in artifacts(connection, run_no):
        counts.artifacts += 1
        if run.status.is_terminal:
            yield from check_file(run.run_id, artifact)


def _count(counts: Counts, run: Run, log: RunLog) -> None:
    counts.runs[run.status.value] += 1
    counts.events += log.events
    counts.attempts += len(log.attempts)
    counts.steps += log.steps.count
    counts.log_bytes += log.log_bytes
    counts.idempotency_keys += bool(run.idempotency_key)


def find_run(connection: sqlite3.Connection, run_id: str) -> Run | None:
    row = connection.execute("SELECT run_no FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    found = read_run(connection, row[0]) if row else None
    return found[0] if found else None
