"""Tries a failed workflow again from the step that ended it: the new run's record begins with the old steps."""

from __future__ import annotations

from runsd.engine.creating import create_run
from runsd.model.creation import NewRun
from runsd.model.errors import FieldViolation, InvalidRequest, NotPossible
from runsd.model.events import Draft, Event, EventType, Raw, decode, encode
from runsd.model.replay import COMPENSATIONS
from runsd.model.run import Run, error_payload
from runsd.model.steps import Failure, History, Step, StepState
from runsd.model.targets import RunKind
from runsd.store.transaction import Transaction


def go_on(transaction: Transaction, new: NewRun, failed_run_id: str) -> tuple[Run, bool]:
    """The new run, and whether it had been made before. Raises InvalidRequest, NotPossible, KeyReused."""
    if new.target.kind is not RunKind.WORKFLOW:
        raise InvalidRequest([FieldViolation("from_failed_step", "is for workflows; a task has no steps")])
    failed = transaction.get(failed_run_id)
    history = History().add_all(transaction.history(failed))
    kept = _kept(history, transaction.last_event(failed))
    run, duplicate = create_run(transaction, new, new.request.fingerprint() + b"from_failed_step")
    if not duplicate and kept:
        transaction.emit(transaction.get(run.run_id), [_draft(step, failed_run_id) for step in kept])
    return run, duplicate


def _kept(history: History, last: Event) -> list[Step]:
    if any(step_id.startswith(COMPENSATIONS) for step_id in history.steps):
        raise NotPossible(
            "STEPS_UNDONE", "compensations have undone steps of this run; retry it as a whole, without from_failed_step"
        )
    failure = Failure.of(history, decode(last.payload_json).get("step_id", ""))
    return [
        step._replace(is_expected=step.is_expected and not failure.led_to(step.step_id))
        for step in history.steps.values()
        if step.state.is_final and not failure.is_tried_again(step)
    ]


_TYPES = {
    StepState.COMPLETED: EventType.STEP_COMPLETED,
    StepState.FAILED: EventType.STEP_FAILED,
    StepState.SKIPPED: EventType.STEP_SKIPPED,
}


def _draft(step: Step, from_run_id: str) -> Draft:
    payload = {
        "step_id": step.step_id,
        "name": step.name,
        "kind": step.kind.value,
        "attempt": step.attempt,
        "output": Raw(step.output_json),
        "error": error_payload(step.error) if step.error else None,
        "child_run_id": step.child_run_id,
        "reason": step.reason,
        "from_run_id": from_run_id,
    }
    given = {key: value for key, value in payload.items() if value}
    return Draft(_TYPES[step.state], encode(given if step.is_expected else given | {"expected": False}))
