"""One commit: the changes of many callers, each atomic by itself.

A *change* is a function of a `Transaction`: it reads runs as they are, decides, and records. It runs
in the writer's thread, so what it decides on cannot change before it is written: no two decisions
about a run ever cross. What a change stages reaches the batch only if the change returns; one that
raises leaves nothing behind and disturbs no other. What is staged is written at the end, by `writing`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runsd.model.attempt import Offsets
from runsd.model.errors import NotFound
from runsd.model.events import Committed, Draft, Event, EventType, Payload, compact, encode
from runsd.model.record import Artifact, Documents
from runsd.model.run import IllegalTransition, Run, RunStatus, advance, allows
from runsd.store import schedule_changes
from runsd.store.clock import steady_now
from runsd.store.rows import (
    EVENT_COLUMNS,
    HISTORY,
    HISTORY_EVENT_TYPES,
    HISTORY_SINCE,
    RUN_COLUMNS,
    event_from_row,
    run_from_row,
)
from runsd.store.schedule_changes import StagedSchedules

# As many runs are kept at hand; older ones are read when they are wanted.
RECENT_RUNS = 4096


class StoredRun(NamedTuple):
    """A run as it stands in the transaction, with its number and how many events it has."""

    number: int
    run: Run
    last_event_id: int
    is_new: bool = False


@dataclass(slots=True)
class Staged:
    """What a change, or a batch of them, is going to write."""

    runs: dict[str, StoredRun] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    hashes: dict[int, bytes] = field(default_factory=dict)
    new_documents: list[tuple[Any, ...]] = field(default_factory=list)
    outputs: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    committed: list[Committed] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    offsets: list[tuple[Any, ...]] = field(default_factory=list)
    artifacts: list[tuple[Any, ...]] = field(default_factory=list)
    waits: dict[int, int | None] = field(default_factory=dict)
    resumed: list[tuple[int]] = field(default_factory=list)
    # Waiting runs that are to go on at once.
    woken: dict[str, StoredRun] = field(default_factory=dict)
    schedules: StagedSchedules = field(default_factory=StagedSchedules)

    def absorb(self, other: Staged) -> None:
        self.runs.update(other.runs)
        self.keys.update(other.keys)
        self.hashes.update(other.hashes)
        self.waits.update(other.waits)
        self.woken.update(other.woken)
        # Whatever is staged of a schedule, it is there by its name as well.
        if other.schedules.by_name:
            self.schedules.absorb(other.schedules)
        for name in ("new_documents", "outputs", "events", "committed", "attempts", "offsets", "artifacts", "resumed"):
            if rows := getattr(other, name):
                getattr(self, name).extend(rows)


class RecentRuns:
    """Runs as the one writer wrote them last, which spares reading them: no other can have changed them."""

    def __init__(self) -> None:
        self._runs: dict[str, StoredRun] = {}

    def find(self, run_id: str) -> StoredRun | None:
        return self._runs.get(run_id)

    def committed(self, runs: Mapping[str, StoredRun]) -> None:
        for run_id, stored in runs.items():
            if stored.run.status.is_terminal:
                self._runs.pop(run_id, None)
            else:
                self._runs[run_id] = stored._replace(is_new=False) if stored.is_new else stored
        while len(self._runs) > RECENT_RUNS:
            del self._runs[next(iter(self._runs))]


@dataclass(slots=True)
class Counters:
    """The highest numbers given out so far. Restored when a batch fails."""

    run_no: int
    position: int
    schedule_no: int = 0

    def copy(self) -> Counters:
        return Counters(self.run_no, self.position, self.schedule_no)

    def restore(self, before: Counters) -> None:
        self.run_no, self.position, self.schedule_no = before.run_no, before.position, before.schedule_no


class Transaction:
    """What a change sees of the store: all before it in the batch, and nothing after."""

    def __init__(
        self, connection: sqlite3.Connection, batch: Staged, recent: RecentRuns, counters: Counters, now: int
    ) -> None:
        self.now = now
        # What waits are measured by, as far as this transaction goes.
        self.steady_now = steady_now()
        self.connection = connection
        self.staged = Staged()
        self.batch = batch
        self.counters = counters
        self._recent = recent

    def find(self, run_id: str) -> StoredRun | None:
        stored = self.staged.runs.get(run_id) or self.batch.runs.get(run_id) or self._recent.find(run_id)
        if stored is not None:
            return stored
        row = self.connection.execute(
            f"SELECT run_no, (SELECT max(event_id) FROM events e WHERE e.run_no = r.run_no), {RUN_COLUMNS} "
            "FROM runs r WHERE run_id = ?",
            (run_id,),
        ).fetchone()
        return StoredRun(row[0], run_from_row(row[2:]), row[1]) if row else None

    def get(self, run_id: str) -> StoredRun:
        stored = self.find(run_id)
        if stored is None:
            raise NotFound("run", run_id)
        return stored

    def by_key(self, project: str, key: str) -> tuple[Run, bytes] | None:
        """The run that an idempotency key made, and the fingerprint of its request."""
        known = self.staged.keys.get((project, key)) or self.batch.keys.get((project, key))
        if known is None:
            known = self.connection.execute(
                "SELECT run_id, request_hash FROM runs WHERE project = ? AND idempotency_key = ? "
                "AND idempotency_key <> ''",
                (project, key),
            ).fetchone()
        return (self.get(known[0]).run, known[1]) if known else None

    def documents(self, numbers: Iterable[int]) -> dict[int, Documents]:
        """Of runs that earlier transactions created, by their numbers; in one statement, since each one costs."""
        rows = self.connection.execute(
            "SELECT run_no, input_json, config_json, output_json FROM documents "
            "WHERE run_no IN (SELECT value FROM json_each(?))",
            (compact(list(numbers)),),
        )
        return {number: Documents(*texts) for number, *texts in rows}

    def created(self) -> dict[int, tuple[StoredRun, Documents]]:
        """The runs that earlier changes of this batch created, as they are now, by their numbers."""
        if not self.batch.new_documents:
            return {}
        documents = {number: Documents(*texts) for number, *texts in self.batch.new_documents}
        return {run.number: (run, documents[run.number]) for run in self.batch.runs.values() if run.is_new}

    def create(self, payload: Payload, documents: Documents, request_hash: bytes) -> Run:
        run = advance(None, EventType.CREATED, payload, self.now)
        self.counters.run_no += 1
        stored = StoredRun(self.counters.run_no, run, 0, is_new=True)
        self.staged.new_documents.append((stored.number, documents.input_json, documents.config_json, ""))
        if run.idempotency_key:
            self.staged.keys[run.project, run.idempotency_key] = (run.run_id, request_hash)
            self.staged.hashes[stored.number] = request_hash
        self._append(stored, [Draft(EventType.CREATED, encode(payload))])
        if run.schedule_id:
            schedule_changes.run_began(self, run)
        return run

    def record(self, stored: StoredRun, event_type: EventType, payload: Payload) -> StoredRun:
        """Appends a lifecycle event and moves the run as the transition table says."""
        run = advance(stored.run, event_type, payload, self.now)
        moved = StoredRun(stored.number, run, stored.last_event_id, stored.is_new)
        if run.status.is_terminal and run.parent_run_id:
            self.wake(self.find(run.parent_run_id))
        moved = self._append(moved, [Draft(event_type, encode(payload))])
        if run.status.is_terminal and run.schedule_id:
            schedule_changes.run_ended(self, run)
        return moved

    def wait(self, stored: StoredRun, payload: Payload) -> StoredRun:
        """The run waits, until the moment that the payload names, or is woken."""
        stored = self.record(stored, EventType.WAITING, payload)
        self.staged.waits[stored.number] = stored.run.start_after
        return stored

    def wake(self, stored: StoredRun | None) -> None:
        """If the run waits it goes on as soon as there is a place."""
        if stored is not None and stored.run.status is RunStatus.WAITING:
            self.staged.woken[stored.run.run_id] = stored

    def is_due(self, stored: StoredRun) -> bool:
        """Whether a waiting run is to go on now."""
        row = self.connection.execute("SELECT wake_at FROM waits WHERE run_no = ?", (stored.number,)).fetchone()
        was_woken = stored.run.run_id in self.batch.woken
        return was_woken or (row is not None and row[0] is not None and row[0] <= self.steady_now)

    def resume(self, stored: StoredRun) -> StoredRun:
        self.staged.resumed.append((stored.number,))
        return self.record(stored, EventType.RESUMED, {})

    def history(self, stored: StoredRun) -> list[Event]:
        """What a workflow's steps are made of, oldest first."""
        rows = self.connection.execute(HISTORY, (stored.number,))
        staged = (row for row in (*self.batch.events, *self.staged.events) if row[1] == stored.number)
        fresh = [Event(*row[2:]) for row in staged if row[3] in HISTORY_EVENT_TYPES]
        return [*(event_from_row(row) for row in rows), *fresh]

    def history_since(self, stored: StoredRun, event_id: int) -> tuple[int, int, int]:
        """The last event of it that is on disk, and how many come after `event_id`, in all and in characters."""
        last, events, characters = self.connection.execute(HISTORY_SINCE, (stored.number, event_id)).fetchone()
        return last or event_id, events, characters or 0

    def has_open_children(self, stored: StoredRun) -> bool:
        """Whether runs below it have not ended, apart from those that this batch creates."""
        row = self.connection.execute(
            "SELECT 1 FROM runs WHERE parent_run_id = ? AND parent_run_id <> '' "
            "AND status IN ('pending', 'running', 'waiting') LIMIT 1",
            (stored.run.run_id,),
        ).fetchone()
        return row is not None

    def last_event(self, stored: StoredRun) -> Event:
        """Of a run that an earlier transaction ended."""
        row = self.connection.execute(
            f"SELECT {EVENT_COLUMNS} FROM events WHERE run_no = ? ORDER BY event_id DESC LIMIT 1", (stored.number,)
        ).fetchone()
        return event_from_row(row)

    def emit(self, stored: StoredRun, drafts: Sequence[Draft]) -> StoredRun:
        """Appends output and custom events. IllegalTransition when the run is not active."""
        for draft in drafts:
            if not allows(stored.run.status, draft.event_type):
                raise IllegalTransition(f"{draft.event_type} in status {stored.run.status.value}")
        return self._append(stored, drafts)

    def set_output(self, stored: StoredRun, output_json: str) -> None:
        self.staged.outputs.append((output_json, stored.number))

    def open_attempt(self, stored: StoredRun, adapter: str) -> None:
        self.staged.attempts.append((stored.number, stored.run.attempt, adapter, self.steady_now))

    def attempt_began(self, stored: StoredRun) -> int:
        """Of the steady clock. The attempt is of an earlier transaction."""
        row = self.connection.execute(
            "SELECT began_at FROM attempts WHERE run_no = ? AND attempt = ?", (stored.number, stored.run.attempt)
        ).fetchone()
        return int(row[0]) if row and row[0] else self.steady_now

    def set_offsets(self, stored: StoredRun, offsets: Offsets) -> None:
        self.staged.offsets.append((offsets.stdout, offsets.stderr, offsets.events, stored.number, stored.run.attempt))

    def add_artifact(self, stored: StoredRun, artifact: Artifact) -> None:
        self.staged.artifacts.append(
            (
                stored.number,
                artifact.name,
                artifact.size_bytes,
                artifact.sha256,
                artifact.media_type,
                artifact.attempt,
            )
        )

    def _append(self, stored: StoredRun, drafts: Sequence[Draft]) -> StoredRun:
        run, event_id, position = stored.run, stored.last_event_id, self.counters.position
        for draft in drafts:
            event_id += 1
            position += 1
            event = Event(event_id, draft.event_type, draft.payload_json, self.now)
            self.staged.events.append(
                (position, stored.number, event_id, draft.event_type, draft.payload_json, self.now)
            )
            self.staged.committed.append(Committed(position, run.run_id, run.project, run.target, event))
        self.counters.position = position
        appended = StoredRun(stored.number, run, event_id, stored.is_new)
        self.staged.runs[run.run_id] = appended
        return appended
