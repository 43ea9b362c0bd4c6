"""The run, and the one table of its transitions.

A run is what you get by folding its events in order. `advance` is the only function that makes a
run out of another; it is used when an event is written and when a log is read back, so the two
cannot differ. Nobody else decides a transition.

                      started              completed, failed, cancelled
      created ──► pending ──────► running ──────────────────────────────► terminal
                    ▲  │             │ ▲
                    │  └─ failed,    │ │ resumed
       retrying,    │     cancelled  ▼ │
       interrupted  └──────────── waiting
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from runsd.model.events import EventType, Payload, Raw, document
from runsd.model.targets import RunKind
from runsd.model.times import from_rfc3339


class RunStatus(Enum):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in _TERMINAL

    @property
    def is_active(self) -> bool:
        """An attempt executes or waits."""
        return self in _ACTIVE


# Not sets: a member of an Enum is compared faster than it is hashed.
_TERMINAL = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)
_ACTIVE = (RunStatus.RUNNING, RunStatus.WAITING)


class TriggerKind(Enum):
    MANUAL = "manual"
    SCHEDULE = "schedule"
    API = "api"


class ErrorCode:
    """Codes of `RunError` that the daemon gives itself."""

    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    EXPIRED = "expired"
    INTERRUPTED = "interrupted"
    OUTPUT_LIMIT = "output_limit"
    OUTPUT_INVALID = "output_invalid"
    START_FAILED = "start_failed"
    TARGET_NOT_FOUND = "target_not_found"
    NONDETERMINISTIC = "nondeterministic"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPRESSION = "expression"
    INVALID_REQUEST = "invalid_request"
    RECORD_LIMIT = "record_limit"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class RunError:
    """`detail_json` is JSON text or empty."""

    message: str
    code: str
    detail_json: str = ""


class Run(NamedTuple):
    """The record without its documents and output; times in microseconds, texts empty when unset.

    A tuple, since every event makes another one, and a frozen dataclass of this size takes ten times as long.
    """

    run_id: str
    project: str
    kind: RunKind
    target: str
    status: RunStatus
    created_at: int
    updated_at: int
    root_run_id: str
    name: str = ""
    metadata_json: str = ""
    parent_run_id: str = ""
    schedule_id: str = ""
    batch_id: str = ""
    trigger_kind: TriggerKind = TriggerKind.API
    trigger_id: str = ""
    created_by: str = ""
    retry_of_run_id: str = ""
    idempotency_key: str = ""
    concurrency_key: str = ""
    priority: int = 0
    timeout_seconds: float = 0.0
    backoff_limit: int = 0
    expires_after: int | None = None
    start_after: int | None = None
    started_at: int | None = None
    completed_at: int | None = None
    attempt: int = 0
    interruptions: int = 0
    cancel_requested: bool = False
    waiting_reason: str = ""
    exit_code: int | None = None
    error: RunError | None = None
    # Interruptions in a row after which nothing was got done.
    fruitless_interruptions: int = 0
    # The occurrence of its schedule, by the wall clock.
    scheduled_for: int | None = None
    # Delays between its attempts that are its own, as JSON text.
    retry_json: str = ""

    @property
    def duration_ms(self) -> int | None:
        if self.started_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.started_at) // 1000


class IllegalTransition(Exception):
    """An event that the run's status does not allow: a defect of whoever recorded it."""


TRANSITIONS: dict[tuple[RunStatus | None, str], RunStatus] = {
    (None, EventType.CREATED): RunStatus.PENDING,
    (RunStatus.PENDING, EventType.STARTED): RunStatus.RUNNING,
    (RunStatus.PENDING, EventType.FAILED): RunStatus.FAILED,
    (RunStatus.PENDING, EventType.CANCELLED): RunStatus.CANCELLED,
    # Of a workflow between two attempts: the next one undoes its steps.
    (RunStatus.PENDING, EventType.CANCEL_REQUESTED): RunStatus.PENDING,
    (RunStatus.RUNNING, EventType.WAITING): RunStatus.WAITING,
    (RunStatus.WAITING, EventType.RESUMED): RunStatus.RUNNING,
    (RunStatus.RUNNING, EventType.COMPLETED): RunStatus.COMPLETED,
    **{(active, EventType.CANCEL_REQUESTED): active for active in _ACTIVE},
    **{(active, EventType.RETRYING): RunStatus.PENDING for active in _ACTIVE},
    **{(active, EventType.INTERRUPTED): RunStatus.PENDING for active in _ACTIVE},
    **{(active, EventType.FAILED): RunStatus.FAILED for active in _ACTIVE},
    **{(active, EventType.CANCELLED): RunStatus.CANCELLED for active in _ACTIVE},
}

LIFECYCLE_TYPES = frozenset(event_type for _, event_type in TRANSITIONS)


def allows(status: RunStatus, event_type: str) -> bool:
    """Whether an event that moves nothing may come now: while the run is active, some also before that."""
    return status.is_active or (event_type in _BEFORE_START and not status.is_terminal)


# What is sent to a run is kept, and one that goes on for another begins with that one's steps.
_BEFORE_START = frozenset(
    {
        EventType.SIGNAL,
        EventType.APPROVAL_DECIDED,
        EventType.STEP_COMPLETED,
        EventType.STEP_FAILED,
        EventType.STEP_SKIPPED,
    }
)


def advance(run: Run | None, event_type: str, payload: Payload, at: int) -> Run:
    """The run after a lifecycle event. Raises IllegalTransition when the table has no such step."""
    before = run.status if run else None
    status = TRANSITIONS.get((before, event_type))
    if status is None:
        raise IllegalTransition(f"{event_type} in status {before.value if before else 'none'}")
    if run is None:
        return _created(payload, at)
    fields_changed = _CHANGES[event_type](run, payload, at)
    if status.is_terminal:
        fields_changed |= {"completed_at": at, "waiting_reason": ""}
    return run._replace(status=status, updated_at=at, **fields_changed)


_CREATED_FIELDS = frozenset(Run._fields) - {
    "kind", "status", "trigger_kind", "created_at", "updated_at", "expires_after", "start_after", "scheduled_for",
}  # fmt: skip


def _created(payload: Payload, at: int) -> Run:
    plain = {key: value for key, value in payload.items() if key in _CREATED_FIELDS}
    return Run(
        kind=RunKind(payload["kind"]),
        trigger_kind=TriggerKind(payload["trigger_kind"]),
        status=RunStatus.PENDING,
        created_at=at,
        updated_at=at,
        metadata_json=document(payload, "metadata"),
        start_after=moment_of(payload, "start_after"),
        expires_after=moment_of(payload, "expires_after"),
        scheduled_for=moment_of(payload, "scheduled_for"),
        retry_json=document(payload, "retry"),
        **plain,
    )


Fields = dict[str, Any]


def _started(run: Run, payload: Payload, at: int) -> Fields:
    started_at = run.started_at if run.started_at is not None else at
    return {
        "attempt": payload["attempt"],
        "started_at": started_at,
        "start_after": None,
        "error": None,
        "exit_code": None,
    }


def _attempt_ended(run: Run, payload: Payload, at: int) -> Fields:
    """What the attempt left behind stays on the record until the next one starts."""
    return {
        "error": error_of(payload),
        "exit_code": payload.get("exit_code"),
        "start_after": moment_of(payload, "start_after"),
        "waiting_reason": "",
    }


def _interrupted(run: Run, payload: Payload, at: int) -> Fields:
    fruitless = 0 if payload.get("progressed") else run.fruitless_interruptions + 1
    counts = {"interruptions": run.interruptions + 1, "fruitless_interruptions": fruitless}
    return _attempt_ended(run, payload, at) | counts


def _waiting(run: Run, payload: Payload, at: int) -> Fields:
    return {"waiting_reason": payload["reason"], "start_after": moment_of(payload, "until")}


def _resumed(run: Run, payload: Payload, at: int) -> Fields:
    return {"waiting_reason": "", "start_after": None}


def _cancel_requested(run: Run, payload: Payload, at: int) -> Fields:
    # What waits for its next attempt has it at once; what waits for the world is woken.
    return {"cancel_requested": True} | ({"start_after": None} if run.status is RunStatus.PENDING else {})


def _cancelled(run: Run, payload: Payload, at: int) -> Fields:
    return {
        "cancel_requested": True,
        "error": None,
        "exit_code": payload.get("exit_code"),
        "start_after": None,
    }


_CHANGES: dict[str, Callable[[Run, Payload, int], Fields]] = {
    EventType.STARTED: _started,
    EventType.RETRYING: _attempt_ended,
    EventType.INTERRUPTED: _interrupted,
    EventType.WAITING: _waiting,
    EventType.RESUMED: _resumed,
    EventType.CANCEL_REQUESTED: _cancel_requested,
    EventType.COMPLETED: _attempt_ended,
    EventType.FAILED: _attempt_ended,
    EventType.CANCELLED: _cancelled,
}


def moment_of(payload: Payload, key: str) -> int | None:
    text = payload.get(key)
    return from_rfc3339(text) if text else None


def error_of(payload: Payload) -> RunError | None:
    error = payload.get("error")
    if error is None:
        return None
    return RunError(error["message"], error["code"], document(error, "detail"))


def error_payload(error: RunError) -> dict[str, object]:
    payload: dict[str, object] = {"message": error.message, "code": error.code}
    return {**payload, "detail": Raw(error.detail_json)} if error.detail_json else payload
