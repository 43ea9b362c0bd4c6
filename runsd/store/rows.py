"""Rows of the database to values of the model, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from runsd.model.events import Event, compact, document, encode
from runsd.model.run import Run, RunError, RunStatus, TriggerKind, error_payload
from runsd.model.targets import RunKind

Row = Sequence[Any]

RUN_COLUMNS = (
    "run_id, project, kind, target, status, created_at, updated_at, root_run_id, name, metadata_json, "
    "parent_run_id, schedule_id, batch_id, trigger_kind, trigger_id, created_by, retry_of_run_id, "
    "idempotency_key, concurrency_key, priority, timeout_seconds, backoff_limit, expires_after, "
    "start_after, started_at, completed_at, attempt, interruptions, cancel_requested, waiting_reason, "
    "exit_code, error_json, fruitless_interruptions, scheduled_for, retry_json"
)
# The columns of RUN_COLUMNS that change after creation, in the order of `changed_values`.
CHANGED_COLUMNS = (
    "status", "updated_at", "start_after", "started_at", "completed_at", "attempt", "interruptions", "cancel_requested",
    "waiting_reason", "exit_code", "error_json", "fruitless_interruptions",
)  # fmt: skip
EVENT_COLUMNS = "event_id, event_type, payload_json, created_at"
# Spelled as in the index `history_of_run`, or SQLite would not use it.
HISTORY_EVENT_TYPES = (
    "step.started", "step.completed", "step.failed", "step.skipped",
    "approval.requested", "approval.decided", "signal", "run.retrying", "run.interrupted",
)  # fmt: skip
_IS_HISTORY = f"({' OR '.join(f'event_type = {event_type!r}' for event_type in HISTORY_EVENT_TYPES)})"
HISTORY = (
    f"SELECT {EVENT_COLUMNS} FROM events INDEXED BY history_of_run WHERE run_no = ? AND {_IS_HISTORY} ORDER BY event_id"
)
# What counts for the limit of a record; attempts do not.
_COUNTED = "FILTER (WHERE event_type NOT IN ('run.retrying', 'run.interrupted'))"
HISTORY_SINCE = (
    f"SELECT max(event_id), count(*) {_COUNTED}, sum(length(payload_json)) {_COUNTED} "
    f"FROM events INDEXED BY history_of_run WHERE run_no = ? AND event_id > ? AND {_IS_HISTORY}"
)


def run_from_row(row: Row) -> Run:
    (run_id, project, kind, target, status, created_at, updated_at, root, name, metadata, parent, schedule,
     batch, trigger_kind, trigger_id, created_by, retry_of, key, concurrency_key, priority, timeout, backoff,
     expires_after, start_after, started_at, completed_at, attempt, interruptions, cancel, waiting,
     exit_code, error, fruitless, scheduled_for, retry) = row  # fmt: skip
    return Run(
        run_id, project, RunKind(kind), target, RunStatus(status), created_at, updated_at, root, name,
        metadata, parent, schedule, batch, TriggerKind(trigger_kind), trigger_id, created_by, retry_of, key,
        concurrency_key, priority, timeout, backoff, expires_after, start_after, started_at, completed_at,
        attempt, interruptions, bool(cancel), waiting, exit_code, _error_from_text(error) if error else None,
        fruitless, scheduled_for, retry,
    )  # fmt: skip


def run_values(run: Run) -> tuple[Any, ...]:
    """In the order of RUN_COLUMNS."""
    return (
        run.run_id, run.project, run.kind.value, run.target, run.status.value, run.created_at, run.updated_at,
        run.root_run_id, run.name, run.metadata_json, run.parent_run_id, run.schedule_id, run.batch_id,
        run.trigger_kind.value, run.trigger_id, run.created_by, run.retry_of_run_id, run.idempotency_key,
        run.concurrency_key, run.priority, run.timeout_seconds, run.backoff_limit, run.expires_after,
        run.start_after, run.started_at, run.completed_at, run.attempt, run.interruptions,
        run.cancel_requested, run.waiting_reason, run.exit_code, _error_text(run.error), run.fruitless_interruptions,
        run.scheduled_for, run.retry_json,
    )  # fmt: skip


def changed_values(run: Run) -> tuple[Any, ...]:
    return (
        run.status.value, run.updated_at, run.start_after, run.started_at, run.completed_at, run.attempt,
        run.interruptions, run.cancel_requested, run.waiting_reason, run.exit_code, _error_text(run.error),
        run.fruitless_interruptions,
    )  # fmt: skip


def event_from_row(row: Row) -> Event:
    return Event(*row)


def _error_text(error: RunError | None) -> str:
    return encode(error_payload(error)) if error else ""


def _error_from_text(text: str) -> RunError:
    value = json.loads(text)
    return RunError(value["message"], value["code"], document(value, "detail"))


def json_array(values: Sequence[str]) -> str:
    """For `json_each(?)`: a list of any length as one parameter."""
    return compact(list(values))
