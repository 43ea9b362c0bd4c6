"""A database of version 1, with runs in every state, is opened by this program, and nothing is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from runsd.model.events import EventType
from runsd.model.record import fold_all
from runsd.model.run import RunStatus
from runsd.store.clock import steady_now
from runsd.store.migrations import StoreTooNew, scripts
from runsd.store.store import DATABASE, open_store
from runsd.store.verification import Counts, opened, verify_database

CREATED = '{"run_id":"%s","project":"p","kind":"task","target":"task:t","root_run_id":"%s","trigger_kind":"api"%s}'
STARTED = '{"attempt":%d,"adapter":"subprocess"}'
ERROR = '{"message":"the daemon ended","code":"interrupted"}'

# Each run with its events, as version 1 wrote them, and its row's columns that differ from those of a fresh run.
OLD: dict[str, tuple[list[tuple[str, str]], dict[str, object]]] = {
    "pending": ([("run.created", CREATED % ("pending", "pending", ',"input":[1]'))], {}),
    "running": (
        [
            ("run.created", CREATED % ("running", "running", "")),
            ("run.started", STARTED % 1),
            ("log", '{"stream":"stdout","text":"hello\\n"}'),
        ],
        {"status": "running", "attempt": 1, "started_at": 2_000, "updated_at": 2_000},
    ),
    "interrupted": (
        [
            ("run.created", CREATED % ("interrupted", "interrupted", "")),
            ("run.started", STARTED % 1),
            ("run.interrupted", f'{{"attempt":1,"error":{ERROR}}}'),
            ("run.started", STARTED % 2),
            ("run.interrupted", f'{{"attempt":2,"error":{ERROR}}}'),
        ],
        {
            "attempt": 2, "started_at": 2_000, "updated_at": 5_000, "interruptions": 2, "error_json": ERROR,
        },
    ),
    "completed": (
        [
            ("run.created", CREATED % ("completed", "completed", "")),
            ("run.started", STARTED % 1),
            ("run.completed", '{"output":{"n":1},"exit_code":0}'),
        ],
        {
            "status": "completed", "attempt": 1, "started_at": 2_000, "updated_at": 3_000, "completed_at": 3_000,
            "exit_code": 0,
        },
    ),
}  # fmt: skip
ROW: dict[str, object] = {
    "project": "p", "kind": "task", "target": "task:t", "status": "pending", "created_at": 1_000, "updated_at": 1_000,
    "name": "", "metadata_json": "", "parent_run_id": "", "schedule_id": "", "batch_id": "", "trigger_kind": "api",
    "trigger_id": "", "created_by": "", "retry_of_run_id": "", "idempotency_key": "", "concurrency_key": "",
    "priority": 0, "timeout_seconds": 0.0, "backoff_limit": 0, "attempt": 0, "interruptions": 0,
    "cancel_requested": 0, "waiting_reason": "", "error_json": "",
}  # fmt: skip


def make_version_1(directory: Path) -> None:
    schema = (resources.files("runsd.store") / "schema" / "001_runs.sql").read_text()
    connection = sqlite3.connect(directory / DATABASE)
    connection.executescript(f"PRAGMA journal_mode = WAL; {schema} PRAGMA user_version = 1;")
    for run_no, (run_id, (events, columns)) in enumerate(OLD.items(), 1):
        row = {**ROW, "run_no": run_no, "run_id": run_id, "root_run_id": run_id, **columns}
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", tuple(row.values()))
        documents = (run_no, "[1]" if run_id == "pending" else "", "", '{"n":1}' if run_id == "completed" else "")
        connection.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", documents)
        for event_id, (event_type, payload) in enumerate(events, 1):
            connection.execute(
                "INSERT INTO events (run_no, event_id, event_type, payload_json, created_at) VALUES (?, ?, ?, ?, ?)",
                (run_no, event_id, event_type, payload, event_id * 1_000),
            )
        for attempt in range(1, int(str(row["attempt"])) + 1):
            offset = 6 if run_id == "running" else 0
            connection.execute(
                "INSERT INTO attempts (run_no, attempt, adapter, stdout_offset) VALUES (?, ?, 'subprocess', ?)",
                (run_no, attempt, offset),
            )
    connection.commit()
    connection.close()


async def test_database_of_version_1_is_taken_over(tmp_path: Path) -> None:
    make_version_1(tmp_path)
    async with open_store(tmp_path, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        for run_id, (events, _) in OLD.items():
            record = await store.queries.record(run_id)
            page = await store.queries.events(run_id, 0, 100)
            assert [(event.event_type, event.payload_json) for event in page.events] == events
            folded = fold_all(page.events, 100)
            assert folded is not None and folded.run == record.run, run_id
            assert folded.documents == record.documents
        interrupted = await store.queries.run("interrupted")
        assert (interrupted.interruptions, interrupted.fruitless_interruptions) == (2, 2)
        assert [active.run.run_id for active in await store.queries.active()] == ["running"]
        assert (await store.queries.active())[0].offsets.stdout == 6
        found = await store.queries.startable(steady_now(), 10, ["p"], [], [])
        assert [queued.run_id for queued in found] == ["pending", "interrupted"]
        began = await store.journal.change(lambda t: (t.attempt_began(t.get("running")), t.steady_now))
        assert began[0] == began[1], "it is not known when: as if just now"
        await store.journal.change(lambda t: t.record(t.get("running"), EventType.COMPLETED, {}))
        assert (await store.queries.run("running")).status is RunStatus.COMPLETED
        store.journal.stop()
        await writing
    with opened(tmp_path) as connection:
        assert list(verify_database(connection, Counts(), lambda run_id, artifact: iter(()), deep=True)) == []


async def test_migrated_database_is_as_a_fresh_one(tmp_path: Path) -> None:
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    old.mkdir()
    make_version_1(old)
    schemas = []
    for directory in (old, fresh):
        async with open_store(directory, logs_limit=100):
            pass
        connection = sqlite3.connect(directory / DATABASE)
        schemas.append(connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall())
        connection.close()
    assert schemas[0] == schemas[1]


async def test_newer_database_is_left_untouched(tmp_path: Path) -> None:
    make_version_1(tmp_path)
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute(f"PRAGMA user_version = {len(scripts()) + 1}")
    connection.commit()
    connection.close()
    with pytest.raises(StoreTooNew, match="install a later runsd"):
        async with open_store(tmp_path, logs_limit=100):
            pass
    connection = sqlite3.connect(tmp_path / DATABASE)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    connection.close()
    assert "waits" not in tables


def test_half_a_migration_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that fails in its middle leaves the database at the version before it."""
    from runsd.store import migrations

    make_version_1(tmp_path)
    connection = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    monkeypatch.setattr(migrations, "scripts", lambda: [*scripts()[:1], "CREATE TABLE half (x); SELECT no_such();"])
    with pytest.raises(sqlite3.Error):
        migrations.migrate(connection)
    connection.close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").fetchone() == (0,)
    connection.close()
