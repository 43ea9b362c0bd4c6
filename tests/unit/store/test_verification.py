"""`runsd verify`: a sound state directory is clean, and each way of breaking one is found."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runsd_client import AsyncRunsClient
from typer.testing import CliRunner, Result

from runsd.adapters.directory import RunFiles
from runsd.cli import app
from runsd.engine.verification import Note, verify
from runsd.model.attempt import Offsets
from runsd.model.creation import CreateRequest, NewRun
from runsd.model.events import Draft, EventType, Raw, Stream, log
from runsd.model.record import Artifact
from runsd.model.targets import Target
from runsd.store.journal import Journal
from runsd.store.migrations import StoreTooNew
from runsd.store.store import DATABASE, open_store
from runsd.store.transaction import Transaction
from runsd.store.verification import Counts, NotVerifiable, Violation
from tests.integration.daemon import Daemon

CONTENT = b"a,b\n1,2\n"
DONE, CHILD, PENDING, CANCELLED, FAILED, AGAIN, LIMITED = (
    f"run-{name}" for name in ("done", "child", "pending", "cancelled", "failed", "again", "limited")
)
ERROR = {"message": "no", "code": "exception", "detail": Raw('{"a": {"b": 1.0}, "c": [1e3, 12345678901234567890]}')}


async def write_sound(directory: Path) -> None:
    """A directory with something of everything, through the real store."""
    RunFiles(directory).prepare()
    async with open_store(directory, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        await _write_runs(store.journal, directory)
        store.journal.stop()
        await writing


async def _write_runs(journal: Journal, directory: Path) -> None:
    all_options: dict[str, dict[str, Any]] = {
        DONE: {"input_json": '{"n": 1.50, "big": 12345678901234567890}', "idempotency_key": "k"},
        CHILD: {"parent_run_id": DONE, "metadata_json": '{"a":  {"b": 1}, "c": 2}'},
        PENDING: {"start_after_seconds": 1000.0},
        CANCELLED: {"idempotency_key": "other"},
        FAILED: {"config_json": "[null, 1e300]"},
        AGAIN: {"retry_of_run_id": FAILED},
        LIMITED: {},
    }
    for run_id, options in all_options.items():
        await journal.change(creation(run_id, DONE if run_id == CHILD else run_id, **options))
    await journal.change(lambda t: _execute_to_the_end(t, directory))
    await journal.change(lambda t: _start(t, CHILD, "subprocess"))
    await journal.change(lambda t: t.record(t.get(CANCELLED), EventType.CANCELLED, {"reason": "not wanted"}))
    await journal.change(_fail_inprocess)
    await journal.change(_stop_at_limit)


def creation(run_id: str, root: str, **options: Any) -> Any:
    request = CreateRequest(target="task:t", **options)
    new = NewRun(run_id, "p", Target.parse("task:t"), request, 1.5, 3)

    def change(transaction: Transaction) -> None:
        transaction.create(new.created_payload(root, transaction.now), new.documents, request.fingerprint())

    return change


def _start(transaction: Transaction, run_id: str, adapter: str) -> None:
    stored = transaction.get(run_id)
    payload = {"attempt": stored.run.attempt + 1, "adapter": adapter}
    transaction.open_attempt(transaction.record(stored, EventType.STARTED, payload), adapter)


def _execute_to_the_end(transaction: Transaction, directory: Path) -> None:
    _start(transaction, DONE, "subprocess")
    stored = transaction.emit(transaction.get(DONE), [log(Stream.STDOUT, "hällo\n"), log(Stream.SYSTEM, "note\n")])
    transaction.set_offsets(stored, Offsets(stdout=7))
    transaction.record(stored, EventType.RETRYING, {"attempt": 1, "error": ERROR, "exit_code": 3})
    _start(transaction, DONE, "subprocess")
    artifact = Artifact("report/rows.csv", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "text/csv", 2)
    drafts = [
        log(Stream.STDERR, "\ufffd!", "/yE="),
        Draft("log", '{"stream":"stdout","text":"through RUNSD_EVENTS\\n"}'),
        Draft("rows.loaded", '{"rows": 3}'),
        Draft(EventType.ARTIFACT, json.dumps(artifact_payload(artifact))),
    ]
    stored = transaction.emit(transaction.get(DONE), drafts)
    transaction.set_offsets(stored, Offsets(stderr=2, events=100))
    transaction.add_artifact(stored, artifact)
    transaction.set_output(stored, '{"x": 1}')
    transaction.record(stored, EventType.COMPLETED, {"output": Raw('{"x": 1}'), "exit_code": 0})
    file = artifact_file(directory)
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)


def artifact_payload(artifact: Artifact) -> dict[str, Any]:
    names = ("name", "size_bytes", "sha256", "media_type", "attempt")
    return {name: getattr(artifact, name) for name in names}


def _fail_inprocess(transaction: Transaction) -> None:
    _start(transaction, FAILED, "inprocess")
    stored = transaction.emit(transaction.get(FAILED), [log(Stream.STDOUT, "a line\n")])
    transaction.record(stored, EventType.FAILED, {"attempt": 1, "error": ERROR})


def _stop_at_limit(transaction: Transaction) -> None:
    _start(transaction, LIMITED, "subprocess")
    stored = transaction.emit(transaction.get(LIMITED), [log(Stream.STDOUT, "more than the offset")])
    transaction.set_offsets(stored, Offsets(stdout=4))
    error = {"message": "too much", "code": "output_limit"}
    transaction.record(stored, EventType.FAILED, {"attempt": 1, "error": error})


def artifact_file(directory: Path) -> Path:
    return RunFiles(directory).attempt(DONE, 2).artifacts / "report/rows.csv"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sound")
    asyncio.run(write_sound(directory))
    return directory


@pytest.fixture
def state(sound: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(sound, tmp_path / "state")
    return tmp_path / "state"


def violations(directory: Path, *, deep: bool = False) -> list[Violation]:
    return [finding for finding in verify(directory, Counts(), deep=deep) if isinstance(finding, Violation)]


def notes(directory: Path) -> list[Note]:
    return [finding for finding in verify(directory, Counts()) if isinstance(finding, Note)]


def execute(directory: Path, *statements: str) -> None:
    connection = sqlite3.connect(directory / DATABASE)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def run_no(run_id: str) -> str:
    return f"(SELECT run_no FROM runs WHERE run_id = '{run_id}')"


@pytest.mark.parametrize("deep", [False, True])
def test_sound_directory_is_clean_and_counted(sound: Path, deep: bool) -> None:
    counts = Counts()
    findings = list(verify(sound, counts, deep=deep))
    assert findings == []
    assert counts.runs == {"completed": 1, "running": 1, "pending": 2, "cancelled": 1, "failed": 2}
    assert (counts.attempts, counts.artifacts, counts.idempotency_keys) == (5, 1, 2)
    assert counts.events == 25
    assert counts.log_bytes == 7 + 2 + 21 + 7 + 20


def test_nothing_is_written(sound: Path) -> None:
    before = (sound / DATABASE).read_bytes()
    list(verify(sound, Counts(), deep=True))
    assert (sound / DATABASE).read_bytes() == before


EVENT = f"UPDATE events SET {{}} WHERE run_no = {run_no(DONE)} AND event_id = {{}}"
ROW = f"UPDATE runs SET {{}} WHERE run_id = '{DONE}'"
ATTEMPT = f"UPDATE attempts SET {{}} WHERE run_no = {run_no(DONE)} AND attempt = {{}}"

BREAKS = {
    # Invariant 2
    "gap": ([EVENT.format("event_id = 99", 10)], DONE, "event 11 stands where 10 should"),
    "first event lost": ([f"DELETE FROM events WHERE run_no = {run_no(PENDING)}"], PENDING, "there are no events"),
    "not created first": (
        [f"DELETE FROM events WHERE run_no = {run_no(DONE)} AND event_id = 1"],
        DONE,
        "the first event is run.started",
    ),
    "positions out of order": (
        [EVENT.format("position = 1000", 3)],
        DONE,
        "has position",
    ),
    "time goes back": ([EVENT.format("created_at = 5", 4)], DONE, "event 4 was created before event 3"),
    "payload is no JSON": ([EVENT.format("payload_json = '{'", 3)], DONE, "event 3 (log) does not fold"),
    "payload is no object": ([EVENT.format("payload_json = '[]'", 8)], DONE, "event 8 (log) does not fold"),
    "log without text": (
        [EVENT.format("""payload_json = '{"stream":"stdout"}'""", 3)],
        DONE,
        "event 3 (log) does not fold",
    ),
    "log of no stream": (
        [EVENT.format("""payload_json = '{"stream":"x","text":""}'""", 3)],
        DONE,
        "event 3 (log) does not fold",
    ),
    "bytes are not those of the text": (
        [EVENT.format("""payload_json = '{"stream":"stderr","text":"?!","base64":"/yE="}'""", 7)],
        DONE,
        "text and base64 differ",
    ),
    # Invariant 3
    "event after the end": (
        [
            "INSERT INTO events (run_no, event_id, event_type, payload_json, created_at) "
            f"VALUES ({run_no(DONE)}, 12, 'late', '{{}}', 9000000000000000)"
        ],
        DONE,
        "comes after the terminal run.completed",
    ),
    "second end": (
        [
            "INSERT INTO events (run_no, event_id, event_type, payload_json, created_at) "
            f"VALUES ({run_no(DONE)}, 12, 'run.cancelled', '{{}}', 9000000000000000)"
        ],
        DONE,
        "does not fold: run.cancelled in status completed",
    ),
    "no end": (
        [f"DELETE FROM events WHERE run_no = {run_no(DONE)} AND event_type = 'run.completed'"],
        DONE,
        "status is 'completed', the events make it 'running'",
    ),
    "output of a run that is not active": (
        [EVENT.format("event_type = 'custom'", 2)],
        DONE,
        "event 2 (custom) does not fold: custom while the run is not active",
    ),
    "illegal transition": ([EVENT.format("event_type = 'run.resumed'", 5)], DONE, "run.resumed in status running"),
    # Invariant 4
    "status": (["UPDATE runs SET status = 'running' WHERE run_id = 'run-again'"], AGAIN, "status is 'running'"),
    "no such status": ([ROW.format("status = 'lost'")], DONE, "its row cannot be read: 'lost'"),
    "exit code": ([ROW.format("exit_code = 1")], DONE, "exit_code is '1', the events make it '0'"),
    "updated at": ([ROW.format("updated_at = updated_at + 1")], DONE, "updated_at is"),
    "metadata": (
        [f"""UPDATE runs SET metadata_json = '{{"a":{{"b":1.0}},"c":2}}' WHERE run_id = '{CHILD}'"""],
        CHILD,
        "metadata_json is",
    ),
    "error": (
        [f"""UPDATE runs SET error_json = '{{"message":"no","code":"exception"}}' WHERE run_id = '{FAILED}'"""],
        FAILED,
        "error is",
    ),
    "input": (
        [f"UPDATE documents SET input_json = '{{}}' WHERE run_no = {run_no(DONE)}"],
        DONE,
        "input_json differs",
    ),
    "output": (
        [f"UPDATE documents SET output_json = '' WHERE run_no = {run_no(DONE)}"],
        DONE,
        "output_json differs",
    ),
    "documents lost": (
        [f"DELETE FROM documents WHERE run_no = {run_no(FAILED)}"],
        FAILED,
        "its documents are missing",
    ),
    "artifact lost": (["DELETE FROM artifacts"], DONE, "artifact 'report/rows.csv' is not stored"),
    "artifact of no event": (
        [f"INSERT INTO artifacts VALUES ({run_no(CHILD)}, 'x', 1, '', '', 1)"],
        CHILD,
        "artifact 'x' is in no event",
    ),
    "artifact changed": (["UPDATE artifacts SET media_type = 'x/y'"], DONE, "differs from its event's"),
    # Invariant 6
    "attempt lost": (
        [f"DELETE FROM attempts WHERE run_no = {run_no(CHILD)}"],
        CHILD,
        "attempt 1 has no row",
    ),
    "attempt of no event": (
        [f"INSERT INTO attempts (run_no, attempt, adapter) VALUES ({run_no(PENDING)}, 1, 'subprocess')"],
        PENDING,
        "attempt 1 is stored and never started",
    ),
    "attempt left out": (
        [EVENT.format("""payload_json = '{"attempt":3,"adapter":"subprocess"}'""", 6)],
        DONE,
        "attempt 3 started where 2 should",
    ),
    "two at once": (
        [EVENT.format("""event_type = 'run.started', payload_json = '{"attempt":2,"adapter":"subprocess"}'""", 4)],
        DONE,
        "run.started in status running",
    ),
    "adapter": ([ATTEMPT.format("adapter = 'inprocess'", 1)], DONE, "is stored as inprocess"),
    # Invariant 7
    "output lost": (
        [ATTEMPT.format("stdout_offset = 8", 1)],
        DONE,
        "attempt 1: 7 bytes of stdout are in the log, 8 are committed as read",
    ),
    "output twice": (
        [ATTEMPT.format("stdout_offset = 6", 1)],
        DONE,
        "attempt 1: 7 bytes of stdout are in the log, 6 are committed as read",
    ),
    "output lost beside events": (
        [ATTEMPT.format("stderr_offset = 3", 2)],
        DONE,
        "attempt 2: 2 bytes of stderr are in the log, 3 are committed as read",
    ),
    "more output than the files have": (
        [ATTEMPT.format("events_offset = 20", 2)],
        DONE,
        "21 bytes of output are in the log and in none of the attempt's files",
    ),
    "output lost at the limit": (
        [f"UPDATE attempts SET stdout_offset = 21 WHERE run_no = {run_no(LIMITED)}"],
        LIMITED,
        "20 bytes of stdout are in the log, 21",
    ),
    "offsets of no files": (
        [f"UPDATE attempts SET stdout_offset = 1 WHERE run_no = {run_no(FAILED)}"],
        FAILED,
        "an inprocess attempt has offsets",
    ),
    # Invariant 8
    "key twice": (
        [
            "DROP INDEX runs_by_key",
            f"UPDATE runs SET idempotency_key = 'k', request_hash = x'00' WHERE run_id = '{CANCELLED}'",
        ],
        "",
        "idempotency key 'k' of project p made 2 runs",
    ),
    "key without hash": ([ROW.format("request_hash = NULL")], DONE, "an idempotency key and no request hash"),
    "hash without key": (
        [f"UPDATE runs SET request_hash = x'00' WHERE run_id = '{PENDING}'"],
        PENDING,
        "a request hash without a key",
    ),
    # The family
    "root of its own": (
        [f"UPDATE runs SET root_run_id = '{DONE}' WHERE run_id = '{PENDING}'"],
        PENDING,
        "it has no parent and the root run-done",
    ),
    "parent lost": (
        [f"UPDATE runs SET parent_run_id = 'gone' WHERE run_id = '{CHILD}'"],
        CHILD,
        "parent_run_id gone is no earlier run",
    ),
    "parent of another family": (
        [f"UPDATE runs SET parent_run_id = '{DONE}', root_run_id = 'x' WHERE run_id = '{CHILD}'"],
        CHILD,
        "its root is x, its parent's run-done",
    ),
    "retry of nothing": (
        [f"UPDATE runs SET retry_of_run_id = '{LIMITED}' WHERE run_id = '{AGAIN}'"],
        AGAIN,
        "retry_of_run_id run-limited is no earlier run",
    ),
    # The database
    "event of no run": (
        [
            "INSERT INTO events (run_no, event_id, event_type, payload_json, created_at) "
            "VALUES (99, 1, 'run.created', '{}', 1)"
        ],
        "",
        "a row of events (row 26) belongs to none of runs",
    ),
    "attempt of no run": (
        ["INSERT INTO attempts (run_no, attempt, adapter) VALUES (99, 1, 'x')"],
        "",
        "a row of attempts belongs to none of runs",
    ),
    "numbers come again": (
        ["UPDATE sqlite_sequence SET seq = 2 WHERE name = 'events'"],
        "",
        "the highest position is 25, the last given out 2",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_database_is_found(state: Path, name: str) -> None:
    statements, run_id, what = BREAKS[name]
    execute(state, *statements)
    found = violations(state)
    assert any(violation.run_id == run_id and what in violation.what for violation in found), found
    # Whoever reads a run, its relatives or the whole may be told too; strangers are not.
    assert {violation.run_id for violation in found} <= {run_id, "", DONE, CHILD, CANCELLED}


def test_corrupt_pages_are_found(state: Path) -> None:
    file = state / DATABASE
    data = bytearray(file.read_bytes())
    data[8192:20480] = b"\xff" * 12288
    file.write_bytes(data)
    assert violations(state)


def test_lost_index_entries_are_found_when_looking_deep(state: Path) -> None:
    execute(
        state,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = 'CREATE INDEX runs_of_project ON runs (run_no, project)' "
        "WHERE name = 'runs_of_project'",
    )
    assert not violations(state)
    assert any("integrity_check" in violation.what for violation in violations(state, deep=True))


def test_artifact_files(state: Path) -> None:
    file = artifact_file(state)
    file.write_bytes(CONTENT.upper())
    assert not violations(state)
    assert [str(v) for v in violations(state, deep=True)] == [
        f"{DONE}: artifact 'report/rows.csv' has another sha256 than recorded"
    ]
    file.write_bytes(CONTENT + b"x")
    assert [v.what for v in violations(state)] == ["artifact 'report/rows.csv' has 9 bytes, recorded are 8"]
    file.unlink()
    assert [v.what for v in violations(state)] == [
        "artifact 'report/rows.csv' cannot be opened: No such file or directory"
    ]


def test_what_attempts_left_is_noted(state: Path) -> None:
    files = RunFiles(state)
    files.attempt(CHILD, 1).path.mkdir(parents=True)
    assert notes(state) == []
    for run_id, number in ((DONE, 2), (CHILD, 7), ("stranger", 1), (PENDING, 1)):
        files.attempt(run_id, number).path.mkdir(parents=True)
    files.attempt(DONE, 1).state.mkdir(parents=True)
    (state / "attempts/00").mkdir(exist_ok=True)
    (state / "attempts/00/odd").mkdir()
    assert {str(note) for note in notes(state)} == {
        f"{DONE}: the directory of attempt 2 is left: the run is completed",
        f"{CHILD}: the directory of attempt 7 is left: the run is running, in attempt 1",
        f"{PENDING}: the directory of attempt 1 is left: the run is pending, after attempt 0",
        "stranger: the directory of attempt 1 is left: there is no such run",
        "directory: attempts/00/odd is no attempt's directory",
        f"{DONE}: its RUNSD_STATE is left: the run is completed",
    }
    assert violations(state) == []


def test_what_cannot_be_verified(state: Path, tmp_path: Path) -> None:
    for directory in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(NotVerifiable, match="no state directory"):
            violations(directory)
    execute(state, "PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew, match="99"):
        violations(state)
    execute(state, "PRAGMA user_version = 0")
    with pytest.raises(NotVerifiable, match="version 0"):
        violations(state)
    (state / DATABASE).write_bytes(b"not a database at all" * 100)
    assert ["cannot be read on" in violation.what for violation in violations(state)] == [True]


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["verify", *arguments])


def test_command_tells_counts_violations_and_status(state: Path, tmp_path: Path) -> None:
    clean = command(str(state), "--deep")
    assert clean.exit_code == 0
    assert [line.split() for line in clean.stdout.splitlines()][-1] == ["violations", "0"]
    assert ["completed", "1"] in [line.split() for line in clean.stdout.splitlines()]
    execute(state, ROW.format("exit_code = 1"))
    broken = command(str(state))
    assert broken.exit_code == 1
    assert f"violation: {DONE}: exit_code is '1', the events make it '0'" in broken.stdout.splitlines()
    told = command(str(state), "--json")
    assert told.exit_code == 1
    answer = json.loads(told.stdout)
    assert answer["violations"] == [{"run_id": DONE, "what": "exit_code is '1', the events make it '0'"}]
    assert answer["counts"]["runs"]["pending"] == 2
    assert not answer["sound"]
    nowhere = command(str(tmp_path / "nowhere"))
    assert nowhere.exit_code == 2
    assert "no state directory" in nowhere.output


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    daemon.start()
    yield daemon
    daemon.kill()


async def test_beside_a_running_daemon(daemon: Daemon, tmp_path: Path) -> None:
    """Verified over and over while runs are created, executed, cancelled and retried: never a violation."""
    async with AsyncRunsClient(daemon.address) as client:
        load = asyncio.create_task(_load(client))
        rounds = 0
        while not load.done() or rounds < 3:
            assert await asyncio.to_thread(violations, daemon.state) == []
            rounds += 1
        await load
    counts = Counts()
    assert [f for f in verify(daemon.state, counts, deep=True) if isinstance(f, Violation)] == []
    assert counts.runs.total() == 60
    assert daemon.stop() == 0
    assert list(verify(daemon.state, Counts(), deep=True)) == []


async def _load(client: AsyncRunsClient) -> None:
    async def one(number: int) -> None:
        target = ("task:speak", "task:speak/subprocess", "task:echo", "task:fails-twice")[number % 4]
        run = (await client.create_task_run(target, input={"n": number}, idempotency_key=str(number))).run
        if number % 7 == 0:
            await client.cancel(run.run_id)
        await client.wait(run.run_id, timeout=60)

    await asyncio.gather(*map(one, range(60)))
