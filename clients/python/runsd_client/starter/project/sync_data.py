"""task:sync-data: a CSV file into SQLite, as a table named after the file and keyed by its first column.

A plain program: it imports nothing of runsd, and could be in any language. It finds in its environment

    RUNSD_INPUT, RUNSD_CONFIG   files with JSON: what the run was given, or null
    RUNSD_EVENTS                a file to append JSON to, one event a line; followers see it at once
    RUNSD_OUTPUT                a file to write JSON to: the run's output
    RUNSD_ERROR                 a file to write JSON to before failing: the run's error

What it prints is the run's log, and exit status 0 means completed. Rows and the record of how far the
run is are committed together, so that it can be killed at any moment: the next attempt goes on there.
"""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

Row = list[str]


class Refused(Exception):
    """The CSV file cannot be synced; the message says why."""


def main() -> None:
    if "RUNSD_RUN_ID" not in os.environ:
        sys.exit("runsd starts this program: runs start task:sync-data --follow")
    config = given("RUNSD_CONFIG")
    source = Path(given("RUNSD_INPUT").get("csv", "data/zones.csv"))
    database = Path(config.get("database", "data/synced.db"))
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as db:
            counts = sync(db, source, int(config.get("batchSize", 100)))
    except (Refused, OSError, UnicodeDecodeError, csv.Error, sqlite3.Error) as error:
        message = f"cannot sync {source} to {database}: {getattr(error, 'strerror', None) or error}"
        Path(os.environ["RUNSD_ERROR"]).write_text(json.dumps({"code": "sync_failed", "message": message}))
        sys.exit(1)
    output = {**counts, "table": source.stem, "database": str(database)}
    Path(os.environ["RUNSD_OUTPUT"]).write_text(json.dumps(output))


def given(variable: str) -> dict[str, Any]:
    return json.loads(Path(os.environ[variable]).read_text()) or {}


def emit(event_type: str, payload: dict[str, Any]) -> None:
    with Path(os.environ["RUNSD_EVENTS"]).open("a") as events:
        events.write(json.dumps({"event_type": event_type, "payload": payload}) + "\n")


def sync(db: sqlite3.Connection, source: Path, batch_size: int) -> dict[str, int]:
    header, total = inspect(source)
    create_tables(db, source.stem, header)
    counts = counts_so_far(db)
    if counts["rows"]:
        print(f"an earlier attempt did {counts['rows']} rows; going on from there")
    rows = islice(read(source), 1 + counts["rows"], None)
    while batch := list(islice(rows, batch_size)):
        with db:  # commits, or rolls back when anything is raised
            db.execute("BEGIN IMMEDIATE")
            for row in batch:
                counts[upsert(db, source.stem, header, row)] += 1
            counts["rows"] += len(batch)
            remember(db, counts)
        emit("progress", {"fraction": min(1, counts["rows"] / total), "message": f"{counts['rows']} of {total} rows"})
    return counts


def inspect(source: Path) -> tuple[Row, int]:
    """The header and the number of rows, after a look at every row: nothing is synced of a faulty file."""
    rows = read(source)
    header = next(rows, [])
    if not header or not all(header) or len({name.lower() for name in header}) < len(header):
        raise Refused("the first line must name every column, and each differently")
    return header, sum(1 for _ in rows)


def read(source: Path) -> Iterator[Row]:
    """The header and the rows; empty lines do not count."""
    with source.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        columns = 0
        for row in filter(None, reader):
            columns = columns or len(row)
            if len(row) != columns or not row[0]:
                raise Refused(f"line {reader.line_num} has {len(row)} fields of {columns}, or no key in the first")
            yield row


def create_tables(db: sqlite3.Connection, table: str, header: Row) -> None:
    columns = ", ".join(f"{quoted(name)} TEXT NOT NULL" for name in header)
    db.execute(f"CREATE TABLE IF NOT EXISTS {quoted(table)} ({columns}, PRIMARY KEY ({quoted(header[0])}))")
    present = [column[1] for column in db.execute(f"PRAGMA table_info({quoted(table)})")]
    if present != header:
        raise Refused(f"the table has the columns {', '.join(present)}, and the file {', '.join(header)}")
    db.execute(
        "CREATE TABLE IF NOT EXISTS sync_runs (run_id TEXT PRIMARY KEY,"
        " rows INTEGER, inserted INTEGER, updated INTEGER, unchanged INTEGER)"
    )


def upsert(db: sqlite3.Connection, table: str, header: Row, row: Row) -> str:
    """What became of the row: `inserted`, `updated` or `unchanged`."""
    present = db.execute(f"SELECT * FROM {quoted(table)} WHERE {quoted(header[0])} = ?", row[:1]).fetchone()
    if present == tuple(row):
        return "unchanged"
    db.execute(f"REPLACE INTO {quoted(table)} VALUES ({', '.join('?' * len(row))})", row)
    return "updated" if present else "inserted"


def counts_so_far(db: sqlite3.Connection) -> dict[str, int]:
    """Of this run's earlier attempts; zeros in the first."""
    found = db.execute("SELECT * FROM sync_runs WHERE run_id = ?", (os.environ["RUNSD_RUN_ID"],)).fetchone()
    _, rows, inserted, updated, unchanged = found or ("", 0, 0, 0, 0)
    return {"rows": rows, "inserted": inserted, "updated": updated, "unchanged": unchanged}


def remember(db: sqlite3.Connection, counts: dict[str, int]) -> None:
    db.execute("REPLACE INTO sync_runs VALUES (?, ?, ?, ?, ?)", (os.environ["RUNSD_RUN_ID"], *counts.values()))


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


if __name__ == "__main__":
    main()
