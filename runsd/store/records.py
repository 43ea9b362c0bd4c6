"""Whole records of runs, as they are shown."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from runsd.model.errors import NotFound
from runsd.model.events import decode
from runsd.model.record import Artifact, Documents, LogTail, Record
from runsd.model.run import Run
from runsd.model.steps import History
from runsd.model.targets import RunKind
from runsd.store.connection import snapshot
from runsd.store.rows import HISTORY, RUN_COLUMNS, event_from_row, run_from_row

# A whole record stays below the 4 MiB that gRPC clients take unless told otherwise.
ARTIFACTS_IN_RECORD = 100
STEPS_IN_RECORD = 1000
# Of one read: past so many steps or characters the others wait for the next, so that a long record holds up few.
MOST_STEPS = 1000
MOST_CHARACTERS = 1 << 20


def read_records(connection: sqlite3.Connection, run_ids: Sequence[str], logs_limit: int) -> list[Record | None]:
    """Of the first of these runs: at least one, and no more than a read may take. None: there is no such run."""
    found: list[Record | None] = []
    steps = size = 0
    with snapshot(connection):
        for run_id in run_ids:
            record = _record(connection, run_id, logs_limit)
            found.append(record)
            if record is not None:
                steps += len(record.steps)
                size += len(record.logs.text) + sum(map(len, record.documents))
            if steps >= MOST_STEPS or size >= MOST_CHARACTERS:
                break
    return found


def _record(connection: sqlite3.Connection, run_id: str, logs_limit: int) -> Record | None:
    row = connection.execute(_WHOLE, (run_id,)).fetchone()
    if row is None:
        return None
    number, input_json, config_json, output_json, has_logs, has_artifacts, *of_run = row
    run = run_from_row(of_run)
    history = _steps(connection, number, run) if run.kind is RunKind.WORKFLOW else History()
    artifacts = read_artifacts(connection, number, "", ARTIFACTS_IN_RECORD) if has_artifacts else ()
    return Record(
        run,
        Documents(input_json, config_json, output_json),
        _log_tail(connection, number, logs_limit) if has_logs else LogTail(),
        {artifact.name: artifact for artifact in artifacts},
        history.shown(),
        history.truncated,
    )


# Most runs have neither output nor artifacts: two statements less.
_WHOLE = (
    "SELECT run_no, input_json, config_json, output_json, "
    "EXISTS (SELECT 1 FROM events e WHERE e.run_no = runs.run_no AND event_type = 'log'), "
    "EXISTS (SELECT 1 FROM artifacts a WHERE a.run_no = runs.run_no), "
    f"{RUN_COLUMNS} FROM runs JOIN documents USING (run_no) WHERE run_id = ?"
)


def find_run(connection: sqlite3.Connection, run_id: str) -> tuple[int, Run] | None:
    """The run with its number."""
    row = connection.execute(f"SELECT run_no, {RUN_COLUMNS} FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return (row[0], run_from_row(row[1:])) if row else None


def get_run(connection: sqlite3.Connection, run_id: str) -> tuple[int, Run]:
    """Raises NotFound."""
    found = find_run(connection, run_id)
    if found is None:
        raise NotFound("run", run_id)
    return found


def _steps(connection: sqlite3.Connection, number: int, run: Run) -> History:
    history = History(limit=STEPS_IN_RECORD)
    history.add_all(event_from_row(row) for row in connection.execute(HISTORY, (number,)))
    if run.status.is_terminal and run.completed_at is not None:
        history.end(run.completed_at)
    return history


def read_documents(connection: sqlite3.Connection, number: int) -> Documents:
    row = connection.execute(
        "SELECT input_json, config_json, output_json FROM documents WHERE run_no = ?", (number,)
    ).fetchone()
    return Documents(*row)


def _log_tail(connection: sqlite3.Connection, number: int, limit: int) -> LogTail:
    """Reads backwards, just as far as the tail reaches."""
    texts: list[str] = []
    size = 0
    rows = connection.execute(
        "SELECT payload_json FROM events WHERE run_no = ? AND event_type = 'log' ORDER BY event_id DESC",
        (number,),
    )
    for (payload_json,) in rows:
        texts.append(decode(payload_json)["text"])
        size += len(texts[-1])
        if size > limit:
            break
    return LogTail().extended("".join(reversed(texts)), limit)


def read_artifacts(connection: sqlite3.Connection, number: int, after_name: str, limit: int) -> list[Artifact]:
    rows = connection.execute(
        "SELECT name, size_bytes, sha256, media_type, attempt FROM artifacts "
        "WHERE run_no = ? AND name > ? ORDER BY name LIMIT ?",
        (number, after_name, limit),
    )
    return [Artifact(*row) for row in rows]
