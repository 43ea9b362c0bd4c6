"""What a change sees and stages of schedules: functions of a `Transaction`.

A schedule and the runs that it has made change in the same transaction, so that its counts, its health and its
occurrences never disagree with its runs.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from runsd.model import schedules
from runsd.model.events import Committed, Event, EventType, encode
from runsd.model.occurrences import Skipped
from runsd.model.run import Run
from runsd.model.schedules import Schedule, ScheduleSpec
from runsd.store.clock import wall_now
from runsd.store.rows import Row
from runsd.store.schedule_rows import (
    SCHEDULE_COLUMNS,
    SKIP_COLUMNS,
    STATE_COLUMNS,
    schedule_from_row,
    schedule_values,
    skipped_from_row,
    spec_text,
    state_values,
)

if TYPE_CHECKING:
    from runsd.store.transaction import StoredRun, Transaction


class StoredSchedule(NamedTuple):
    """`spec_on_disk` is the one that its row has, as it was read."""

    number: int
    schedule: Schedule
    is_new: bool = False
    spec_on_disk: ScheduleSpec | None = None


def stored_from_row(row: Row) -> StoredSchedule:
    """`schedule_no`, then in the order of SCHEDULE_COLUMNS."""
    schedule = schedule_from_row(row[1:])
    return StoredSchedule(row[0], schedule, spec_on_disk=schedule.spec)


@dataclass(slots=True)
class StagedSchedules:
    """What a change, or a batch of them, is going to write of schedules."""

    by_name: dict[tuple[str, str], StoredSchedule] = field(default_factory=dict)
    # Run ids, empty where an occurrence is queued.
    occurrences: dict[tuple[int, int], str] = field(default_factory=dict)
    dropped: list[tuple[int]] = field(default_factory=list)
    skips: list[tuple[int, Skipped]] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def absorb(self, other: StagedSchedules) -> None:
        self.by_name.update(other.by_name)
        self.occurrences.update(other.occurrences)
        for name in ("dropped", "skips", "events"):
            getattr(self, name).extend(getattr(other, name))


_SELECT = f"SELECT schedule_no, {', '.join(SCHEDULE_COLUMNS)} FROM schedules WHERE project = ? AND schedule_id = ?"


def find(transaction: Transaction, project: str, schedule_id: str) -> StoredSchedule | None:
    """Deleted ones, too."""
    name = (project, schedule_id)
    known = transaction.staged.schedules.by_name.get(name) or transaction.batch.schedules.by_name.get(name)
    if known is not None:
        return known
    row = transaction.connection.execute(_SELECT, name).fetchone()
    return stored_from_row(row) if row else None


def create(transaction: Transaction, schedule: Schedule) -> StoredSchedule:
    """One whose name no row has."""
    transaction.counters.schedule_no += 1
    return _put(transaction, StoredSchedule(transaction.counters.schedule_no, schedule, is_new=True))


def change(transaction: Transaction, stored: StoredSchedule, schedule: Schedule, run_id: str = "") -> StoredSchedule:
    """Records how the schedule stands now, and tells of its health if that is another; `run_id` made it so."""
    was = stored.schedule.health
    stored = _put(transaction, stored._replace(schedule=schedule))
    if schedule.health is not was:
        payload = {"schedule_id": schedule.schedule_id, "health": schedule.health.value, "was": was.value}
        if run_id:
            payload["run_id"] = run_id
        return emit(transaction, stored, EventType.HEALTH_CHANGED, payload)
    return stored


def emit(
    transaction: Transaction, stored: StoredSchedule, event_type: EventType, payload: dict[str, Any]
) -> StoredSchedule:
    schedule = stored.schedule._replace(last_event_id=stored.schedule.last_event_id + 1)
    transaction.counters.position += 1
    position = transaction.counters.position
    event = Event(schedule.last_event_id, event_type, encode(payload), transaction.now)
    row = (position, stored.number, event.event_id, event_type, event.payload_json, transaction.now)
    transaction.staged.schedules.events.append(row)
    name = schedule.schedule_id
    transaction.staged.committed.append(Committed(position, "", schedule.project, schedule.spec.target, event, name))
    return _put(transaction, stored._replace(schedule=schedule))


def _put(transaction: Transaction, stored: StoredSchedule) -> StoredSchedule:
    schedule = stored.schedule
    transaction.staged.schedules.by_name[schedule.project, schedule.schedule_id] = stored
    return stored


def run_began(transaction: Transaction, run: Run) -> None:
    stored = find(transaction, run.project, run.schedule_id)
    if stored is not None:
        change(transaction, stored, schedules.run_began(stored.schedule, run))


def run_ended(transaction: Transaction, run: Run) -> None:
    stored = find(transaction, run.project, run.schedule_id)
    if stored is not None:
        change(transaction, stored, schedules.run_ended(stored.schedule, run, wall_now()), run.run_id)


def occurrence(transaction: Transaction, stored: StoredSchedule, at: int) -> str | None:
    """The id of its run, empty when it is queued, None when nothing was decided of it."""
    key = (stored.number, at)
    for staged in (transaction.staged.schedules, transaction.batch.schedules):
        if key in staged.occurrences:
            return staged.occurrences[key]
    row = transaction.connection.execute(
        "SELECT run_id FROM occurrences WHERE schedule_no = ? AND at = ?", key
    ).fetchone()
    is_dropped = row == ("",) and (stored.number,) in transaction.batch.schedules.dropped
    return str(row[0]) if row and not is_dropped else None


def decide(transaction: Transaction, stored: StoredSchedule, at: int, run_id: str) -> None:
    """An occurrence has its run, or is queued where `run_id` is empty."""
    transaction.staged.schedules.occurrences[stored.number, at] = run_id


def first_queued(transaction: Transaction, stored: StoredSchedule) -> int | None:
    """Of those that earlier transactions queued."""
    row = transaction.connection.execute(
        "SELECT at FROM occurrences WHERE schedule_no = ? AND run_id = '' ORDER BY at LIMIT 1", (stored.number,)
    ).fetchone()
    return row[0] if row else None


def drop_queued(transaction: Transaction, stored: StoredSchedule) -> None:
    transaction.staged.schedules.dropped.append((stored.number,))


def skip(transaction: Transaction, stored: StoredSchedule, skipped: Skipped) -> None:
    transaction.staged.schedules.skips.append((stored.number, skipped))


def active_runs(transaction: Transaction, schedule: Schedule) -> list[StoredRun]:
    """Its runs that have not ended, as they are now."""
    rows = transaction.connection.execute(
        "SELECT run_id FROM runs INDEXED BY runs_of_schedule_active WHERE project = ? AND schedule_id = ? "
        "AND schedule_id <> '' AND status IN ('pending', 'running', 'waiting') ORDER BY run_no",
        (schedule.project, schedule.schedule_id),
    )
    ids = dict.fromkeys(run_id for (run_id,) in rows)
    for staged in (transaction.batch, transaction.staged):
        of_it = (stored.run for stored in staged.runs.values() if stored.run.schedule_id == schedule.schedule_id)
        ids |= dict.fromkeys(run.run_id for run in of_it if run.project == schedule.project)
    found = (transaction.get(run_id) for run_id in ids)
    return [stored for stored in found if not stored.run.status.is_terminal]


def _in_a_row(connection: sqlite3.Connection, number: int, last: Skipped, skipped: Skipped) -> bool:
    between = connection.execute(
        "SELECT 1 FROM occurrences WHERE schedule_no = ? AND at > ? AND at < ? LIMIT 1",
        (number, last.last_at, skipped.first_at),
    ).fetchone()
    return last.last_at < skipped.first_at and between is None


_COLUMNS = ", ".join(SCHEDULE_COLUMNS)
_INSERT = f"INSERT INTO schedules (schedule_no, {_COLUMNS}) VALUES (?{', ?' * len(SCHEDULE_COLUMNS)})"
# Without the names, whose index would be written for nothing, and without the spec, which hardly ever changes.
_UPDATE = f"UPDATE schedules SET {', '.join(f'{column} = ?' for column in STATE_COLUMNS)} WHERE schedule_no = ?"
_UPDATE_SPEC = "UPDATE schedules SET spec_json = ? WHERE schedule_no = ?"
_DECIDE = "INSERT OR REPLACE INTO occurrences (schedule_no, at, run_id) VALUES (?, ?, ?)"
_DROP = "DELETE FROM occurrences WHERE schedule_no = ? AND run_id = ''"
_EVENT = (
    "INSERT INTO schedule_events (position, schedule_no, event_id, event_type, payload_json, created_at) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
_LAST_SKIP = f"SELECT skip_no, {SKIP_COLUMNS} FROM skips WHERE schedule_no = ? ORDER BY skip_no DESC LIMIT 1"
_SKIP = f"INSERT INTO skips (schedule_no, {SKIP_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
_FURTHER = "UPDATE skips SET last_at = ?, count = ?, is_at_least = ? WHERE skip_no = ?"


def write(connection: sqlite3.Connection, staged: StagedSchedules) -> None:
    new, changed, specs = [], [], []
    for stored in staged.by_name.values():
        if stored.is_new:
            new.append((stored.number, *schedule_values(stored.schedule)))
            continue
        changed.append((*state_values(stored.schedule), stored.number))
        if stored.schedule.spec is not stored.spec_on_disk:
            specs.append((spec_text(stored.schedule.spec), stored.number))
    for statement, rows in (
        (_INSERT, new),
        (_UPDATE, changed),
        (_UPDATE_SPEC, specs),
        (_DECIDE, [(*key, run_id) for key, run_id in staged.occurrences.items()]),
        (_DROP, staged.dropped),
        (_EVENT, staged.events),
    ):
        if rows:
            connection.executemany(statement, rows)
    for number, skipped in staged.skips:
        _write_skip(connection, number, skipped)


def _write_skip(connection: sqlite3.Connection, number: int, skipped: Skipped) -> None:
    """Those in a row for one reason are one entry."""
    row = connection.execute(_LAST_SKIP, (number,)).fetchone()
    last = skipped_from_row(row[1:]) if row else None
    if last is not None and last.reason == skipped.reason and _in_a_row(connection, number, last, skipped):
        is_at_least = last.is_at_least or skipped.is_at_least
        connection.execute(_FURTHER, (skipped.last_at, last.count + skipped.count, is_at_least, row[0]))
        return
    values = (skipped.first_at, skipped.last_at, skipped.count, skipped.is_at_least, skipped.reason)
    connection.execute(_SKIP, (number, *values))
