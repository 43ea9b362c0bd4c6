"""Schedules held against their occurrences, runs and events: what `runsd verify` asks of them (invariant 10).

Each check yields sentences; a sound database yields none.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

from runsd.model.run import Run
from runsd.model.schedules import Schedule
from runsd.store.schedule_rows import SCHEDULE_COLUMNS, schedule_from_row

SHOWN_OF_A_KIND = 100

_SCHEDULE_NO = "SELECT schedule_no FROM schedules WHERE project = ? AND schedule_id = ?"
_ROW = f"SELECT {', '.join(SCHEDULE_COLUMNS)} FROM schedules WHERE schedule_no = ?"
_ACTIVE = (
    "SELECT count(*) FROM runs WHERE project = ? AND schedule_id = ? AND status IN ('pending', 'running', 'waiting')"
)
_QUEUED = "SELECT count(*) FROM occurrences WHERE schedule_no = ? AND run_id = ''"
_SKIPPED = "SELECT coalesce(sum(count), 0) FROM skips WHERE schedule_no = ?"
_TWICE = (
    "SELECT scheduled_for, count(*), min(run_id) FROM runs WHERE project = ? AND schedule_id = ? "
    "AND scheduled_for IS NOT NULL AND retry_of_run_id = '' GROUP BY scheduled_for HAVING count(*) > 1 LIMIT ?"
)
_WITHOUT_RUN = (
    "SELECT at, o.run_id FROM occurrences o LEFT JOIN runs r ON r.run_id = o.run_id AND r.project = ? "
    "AND r.schedule_id = ? AND r.scheduled_for = o.at WHERE schedule_no = ? AND o.run_id <> '' AND r.run_id IS NULL "
    "LIMIT ?"
)
_EVENTS = "SELECT event_id, event_type, payload_json FROM schedule_events WHERE schedule_no = ? ORDER BY position"


def check_origin(connection: sqlite3.Connection, run: Run) -> Iterator[str]:
    """What a run says of the schedule that made it."""
    if not run.schedule_id:
        if run.scheduled_for is not None:
            yield "it has an occurrence and no schedule"
        return
    row = connection.execute(_SCHEDULE_NO, (run.project, run.schedule_id)).fetchone()
    if row is None:
        yield f"there is no schedule {run.schedule_id!r} that made it"
    elif run.scheduled_for is not None and not run.retry_of_run_id:
        found = connection.execute(
            "SELECT run_id FROM occurrences WHERE schedule_no = ? AND at = ?", (row[0], run.scheduled_for)
        ).fetchone()
        if found is None or found[0] != run.run_id:
            yield f"the occurrence {run.scheduled_for} of its schedule has {found[0] if found else 'no run'!r}"


def check_schedule(connection: sqlite3.Connection, number: int) -> Iterator[str]:
    row = connection.execute(_ROW, (number,)).fetchone()
    try:
        schedule = schedule_from_row(row)
    except (ValueError, KeyError, TypeError) as error:
        yield f"schedule {row[1]!r}: its row cannot be read: {error}"
        return
    faults = (*_counts(connection, number, schedule), *_occurrences(connection, number, schedule))
    for fault in (*faults, *_events(connection, number, schedule)):
        yield f"schedule {schedule.schedule_id!r} of project {schedule.project}: {fault}"


def _counts(connection: sqlite3.Connection, number: int, schedule: Schedule) -> Iterator[str]:
    name = (schedule.project, schedule.schedule_id)
    (active,) = connection.execute(_ACTIVE, name).fetchone()
    (queued,) = connection.execute(_QUEUED, (number,)).fetchone()
    if active != schedule.active:
        yield f"it counts {schedule.active} active runs, there are {active}"
    if queued != schedule.queued:
        yield f"it counts {schedule.queued} queued occurrences, there are {queued}"
    (skipped,) = connection.execute(_SKIPPED, (number,)).fetchone()
    # Those of a deleted schedule of its name are kept.
    if skipped < schedule.skipped:
        yield f"it counts {schedule.skipped} skipped occurrences, there are {skipped}"
    if schedule.next_at is not None and not schedule.is_in_force:
        yield "it is paused or deleted, and due"


def _occurrences(connection: sqlite3.Connection, number: int, schedule: Schedule) -> Iterator[str]:
    name = (schedule.project, schedule.schedule_id)
    for at, count, run_id in connection.execute(_TWICE, (*name, SHOWN_OF_A_KIND)):
        yield f"its occurrence {at} made {count} runs, such as {run_id}"
    for at, run_id in connection.execute(_WITHOUT_RUN, (*name, number, SHOWN_OF_A_KIND)):
        yield f"its occurrence {at} has no run {run_id}"


def _events(connection: sqlite3.Connection, number: int, schedule: Schedule) -> Iterator[str]:
    expected, health = 0, "healthy"
    for event_id, event_type, payload_json in connection.execute(_EVENTS, (number,)):
        expected += 1
        if event_id != expected:
            yield f"event {event_id} ({event_type}) stands where {expected} should"
            return
        try:
            was, becomes = _change_of_health(payload_json)
        except (ValueError, KeyError, TypeError) as error:
            yield f"event {event_id} ({event_type}) cannot be read: {error!r}"
            return
        if was != health:
            yield f"event {event_id} ({event_type}) says it was {was}, the one before {health}"
        health = becomes
    if schedule.last_event_id != expected:
        yield f"it counts {schedule.last_event_id} events, there are {expected}"
    if health != schedule.health.value:
        says = "its last event says" if expected else "without an event it is"
        yield f"it is {schedule.health.value}, {says} {health}"


def _change_of_health(payload_json: str) -> tuple[str, str]:
    payload = json.loads(payload_json)
    return payload["was"], payload["health"]
