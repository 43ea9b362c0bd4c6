"""One run of a database held against its own events: what `runsd verify` asks of every run.

Reads inside the caller's snapshot and streams the events, so that memory does not grow with a log.
Each check yields sentences; a sound run yields none.
"""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runsd.model.attempt import Offsets
from runsd.model.events import Event, EventType, Stream, decode
from runsd.model.record import Artifact, Record, fold
from runsd.model.run import LIFECYCLE_TYPES, ErrorCode, IllegalTransition, Run, RunError, allows
from runsd.model.targets import AdapterKind
from runsd.store.rows import EVENT_COLUMNS, RUN_COLUMNS, event_from_row, run_from_row
from runsd.store.step_checks import StepLog

# What decoding and folding raise for text that no daemon wrote.
_UNREADABLE = (IllegalTransition, ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError)


@dataclass(slots=True)
class AttemptLog:
    """What the events say of one attempt. `stdout` and `stderr` count bytes of `log` events."""

    number: int
    adapter: str
    stdout: int = 0
    stderr: int = 0
    error_code: str = ""


@dataclass(slots=True)
class RunLog:
    """What the events say of a run, read so far. `record` is None while there is nothing sound to fold."""

    record: Record | None = None
    events: int = 0
    attempts: list[AttemptLog] = field(default_factory=list)
    steps: StepLog = field(default_factory=StepLog)
    _last: Event | None = None
    _last_position: int = 0
    _is_broken: bool = False

    @property
    def is_whole(self) -> bool:
        """True when every event could be folded."""
        return self.record is not None and not self._is_broken

    @property
    def log_bytes(self) -> int:
        return sum(attempt.stdout + attempt.stderr for attempt in self.attempts)

    def take(self, position: int, event: Event) -> Iterator[str]:
        """Takes the next event; yields what is wrong with it."""
        self.events += 1
        yield from self._order_faults(position, event)
        self._last, self._last_position = event, position
        if self._is_broken:
            return
        try:
            self._fold(event)
            assert self.record is not None
            yield from self.steps.take(self.record.run.kind, event)
        except _UNREADABLE as error:
            self._is_broken = True
            yield f"event {event.event_id} ({event.event_type}) does not fold: {_said(error)}"

    def _order_faults(self, position: int, event: Event) -> Iterator[str]:
        expected = self._last.event_id + 1 if self._last else 1
        if event.event_id != expected:
            yield f"event {event.event_id} stands where {expected} should"
        if self._last is None:
            if event.event_type != EventType.CREATED:
                yield f"the first event is {event.event_type}, not {EventType.CREATED}"
            return
        if self._last.is_terminal:
            yield f"event {event.event_id} ({event.event_type}) comes after the terminal {self._last.event_type}"
        if position <= self._last_position:
            yield f"event {event.event_id} has position {position}, the one before it {self._last_position}"
        if event.created_at < self._last.created_at:
            yield f"event {event.event_id} was created before event {self._last.event_id}"

    def _fold(self, event: Event) -> None:
        if event.event_type in LIFECYCLE_TYPES:
            self.record = fold(self.record, event, 0)
            self._note_lifecycle(event)
            return
        if self.record is None or not allows(self.record.run.status, event.event_type):
            raise IllegalTransition(f"{event.event_type} while the run is not active")
        if event.event_type == EventType.LOG:
            # The log's tail in the record is read from these events, so there is nothing to fold.
            self._count(decode(event.payload_json))
        else:
            self.record = fold(self.record, event, 0)

    def _note_lifecycle(self, event: Event) -> None:
        payload = decode(event.payload_json)
        if event.event_type == EventType.STARTED:
            self.attempts.append(AttemptLog(payload["attempt"], payload["adapter"]))
        elif self.attempts and isinstance(payload.get("error"), dict):
            self.attempts[-1].error_code = payload["error"]["code"]

    def _count(self, payload: dict[str, Any]) -> None:
        stream = Stream(payload["stream"])
        size = _byte_count(payload)
        if stream is Stream.STDOUT:
            self.attempts[-1].stdout += size
        elif stream is Stream.STDERR:
            self.attempts[-1].stderr += size


def _byte_count(payload: dict[str, Any]) -> int:
    """Raises ValueError or TypeError for a `log` that no daemon wrote."""
    if "base64" not in payload:
        return len(payload["text"].encode("utf-8", "surrogatepass"))
    try:
        data = base64.b64decode(payload["base64"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"base64: {error}") from None
    if data.decode(errors="replace") != payload["text"]:
        raise ValueError("text and base64 differ")
    return len(data)


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, (IllegalTransition, ValueError)) else repr(error)


def read_run(connection: sqlite3.Connection, run_no: int) -> tuple[Run, bytes | None] | None:
    """The run's row and its request's fingerprint; None when it is gone. Raises ValueError."""
    row = connection.execute(f"SELECT request_hash, {RUN_COLUMNS} FROM runs WHERE run_no = ?", (run_no,)).fetchone()
    if row is None:
        return None
    try:
        return run_from_row(row[1:]), row[0]
    except (KeyError, TypeError) as error:
        raise ValueError(repr(error)) from error


def check_events(connection: sqlite3.Connection, run_no: int, log: RunLog) -> Iterator[str]:
    """Invariants 2, 3, 4, 6 and 9, as far as they are in the events alone."""
    rows = connection.execute(
        f"SELECT position, {EVENT_COLUMNS} FROM events WHERE run_no = ? ORDER BY event_id", (run_no,)
    )
    for row in rows:
        yield from log.take(row[0], event_from_row(row[1:]))
    if not log.events:
        yield "there are no events"


def check_record(connection: sqlite3.Connection, run_no: int, run: Run, log: RunLog) -> Iterator[str]:
    """Invariant 4: what is stored is what the events fold to."""
    if not log.is_whole or log.record is None:
        return
    yield from _differences(run, log.record.run)
    yield from _document_faults(connection, run_no, log.record)
    yield from _artifact_faults(connection, run_no, log.record)


def _differences(stored: Run, folded: Run) -> Iterator[str]:
    for name in Run._fields:
        ours, theirs = _comparable(getattr(stored, name)), _comparable(getattr(folded, name))
        if name == "metadata_json":
            ours, theirs = _canonical(ours), _canonical(theirs)
        if ours != theirs:
            yield f"{name} is {_shown(ours)}, the events make it {_shown(theirs)}"


def _comparable(value: Any) -> Any:
    if isinstance(value, RunError):
        return (value.message, value.code, _canonical(value.detail_json))
    return value


def _canonical(text: str) -> str:
    """One spelling for each JSON value; numbers keep their type. What is no JSON stays as it is."""
    try:
        return json.dumps(json.loads(text), sort_keys=True) if text else ""
    except (ValueError, RecursionError):
        return text


def _shown(value: object) -> str:
    text = str(getattr(value, "value", value))
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _document_faults(connection: sqlite3.Connection, run_no: int, record: Record) -> Iterator[str]:
    row = connection.execute(
        "SELECT input_json, config_json, output_json FROM documents WHERE run_no = ?", (run_no,)
    ).fetchone()
    if row is None:
        yield "its documents are missing"
        return
    for name, ours in zip(("input_json", "config_json", "output_json"), row, strict=True):
        if _canonical(ours) != _canonical(getattr(record.documents, name)):
            yield f"{name} differs from the event's"


def _artifact_faults(connection: sqlite3.Connection, run_no: int, record: Record) -> Iterator[str]:
    stored = {artifact.name: artifact for artifact in artifacts(connection, run_no)}
    for name in sorted(stored.keys() | record.artifacts.keys()):
        ours, theirs = stored.get(name), record.artifacts.get(name)
        if ours is None or theirs is None:
            yield f"artifact {name!r} is {'not stored' if ours is None else 'in no event'}"
        elif ours != theirs:
            yield f"artifact {name!r} differs from its event's"


def artifacts(connection: sqlite3.Connection, run_no: int) -> list[Artifact]:
    rows = connection.execute(
        "SELECT name, size_bytes, sha256, media_type, attempt FROM artifacts WHERE run_no = ? ORDER BY name", (run_no,)
    )
    return [Artifact(*row) for row in rows]


def check_attempts(connection: sqlite3.Connection, run_no: int, log: RunLog) -> Iterator[str]:
    """Invariants 6 and 7: an attempt for each `run.started`, and the offsets are the bytes in the log."""
    if not log.is_whole:
        return
    rows = connection.execute(
        "SELECT attempt, adapter, stdout_offset, stderr_offset, events_offset FROM attempts WHERE run_no = ?",
        (run_no,),
    )
    stored = {row[0]: (row[1], Offsets(*row[2:])) for row in rows}
    for expected, attempt in enumerate(log.attempts, 1):
        if attempt.number != expected:
            yield f"attempt {attempt.number} started where {expected} should"
        if attempt.number not in stored:
            yield f"attempt {attempt.number} has no row"
            continue
        adapter, offsets = stored.pop(attempt.number)
        if adapter != attempt.adapter:
            yield f"attempt {attempt.number} is stored as {adapter}, its event says {attempt.adapter}"
        yield from (f"attempt {attempt.number}: {fault}" for fault in _offset_faults(attempt, offsets))
    yield from (f"attempt {number} is stored and never started" for number in sorted(stored))


def _offset_faults(attempt: AttemptLog, offsets: Offsets) -> Iterator[str]:
    if attempt.adapter != AdapterKind.SUBPROCESS.value:
        if offsets != Offsets():
            yield f"an {attempt.adapter} attempt has offsets"
        return
    if offsets.events or attempt.error_code == ErrorCode.OUTPUT_LIMIT:
        yield from _loose_offset_faults(attempt, offsets)
        return
    for stream, logged, offset in (
        ("stdout", attempt.stdout, offsets.stdout),
        ("stderr", attempt.stderr, offsets.stderr),
    ):
        if logged != offset:
            yield f"{logged} bytes of {stream} are in the log, {offset} are committed as read"


def _loose_offset_faults(attempt: AttemptLog, offsets: Offsets) -> Iterator[str]:
    """Where `log` events may also have come through RUNSD_EVENTS, which no event tells.

    Such a line is longer than its text, so the surplus has a bound; at the output limit it has none.
    """
    for stream, logged, offset in (
        ("stdout", attempt.stdout, offsets.stdout),
        ("stderr", attempt.stderr, offsets.stderr),
    ):
        if logged < offset:
            yield f"{logged} bytes of {stream} are in the log, {offset} are committed as read"
    surplus = attempt.stdout + attempt.stderr - offsets.stdout - offsets.stderr
    if surplus > offsets.events and attempt.error_code != ErrorCode.OUTPUT_LIMIT:
        yield f"{surplus} bytes of output are in the log and in none of the attempt's files"


def check_relations(connection: sqlite3.Connection, run_no: int, run: Run, request_hash: bytes | None) -> Iterator[str]:
    """Invariant 8, and the family: what a run says of other runs."""
    if bool(run.idempotency_key) != bool(request_hash):
        yield "it has an idempotency key and no request hash" if run.idempotency_key else "a request hash without a key"
    if run.retry_of_run_id and _relative(connection, run.retry_of_run_id, run.project, run_no) is None:
        yield f"retry_of_run_id {run.retry_of_run_id} is no earlier run of its project"
    if not run.parent_run_id:
        if run.root_run_id != run.run_id:
            yield f"it has no parent and the root {run.root_run_id}"
        return
    root = _relative(connection, run.parent_run_id, run.project, run_no)
    if root is None:
        yield f"parent_run_id {run.parent_run_id} is no earlier run of its project"
    elif root != run.root_run_id:
        yield f"its root is {run.root_run_id}, its parent's {root}"


def _relative(connection: sqlite3.Connection, run_id: str, project: str, before: int) -> str | None:
    """The root of an earlier run of the project."""
    row = connection.execute(
        "SELECT root_run_id FROM runs WHERE run_id = ? AND project = ? AND run_no < ?", (run_id, project, before)
    ).fetchone()
    return row[0] if row else None
