"""Ends and cancels runs inside a transaction, and with a run what its steps still execute.

A workflow is first asked to undo what it has done; whatever else ends it, no run of its steps goes on.
"""

from __future__ import annotations

from runsd.model.events import EventType, Payload
from runsd.model.run import RunError, RunStatus, error_payload
from runsd.model.steps import History, StepKind, StepState
from runsd.model.targets import RunKind
from runsd.store.transaction import StoredRun, Transaction


def end_run(
    transaction: Transaction, stored: StoredRun, event_type: EventType, payload: Payload, *, is_childless: bool = False
) -> StoredRun:
    """Records a terminal event. `is_childless` spares to ask for runs below a workflow."""
    if stored.run.kind is RunKind.WORKFLOW and not is_childless:
        _cancel_children(transaction, stored)
    return transaction.record(stored, event_type, payload)


def fail_run(transaction: Transaction, stored: StoredRun, error: RunError) -> StoredRun:
    """Of a run that is not to be executed (any more)."""
    if stored.run.cancel_requested:
        return end_run(transaction, stored, EventType.CANCELLED, {})
    return end_run(transaction, stored, EventType.FAILED, {"error": error_payload(error)})


def cancel_run(transaction: Transaction, stored: StoredRun, reason: str) -> StoredRun:
    """At once if nothing of it has been executed, else it is asked to end."""
    run = stored.run
    payload = {"reason": reason} if reason else {}
    if run.cancel_requested:
        return stored
    # Between two attempts, too, a workflow has something to undo.
    if run.status is RunStatus.PENDING and not (run.kind is RunKind.WORKFLOW and run.attempt):
        return end_run(transaction, stored, EventType.CANCELLED, payload)
    stored = transaction.record(stored, EventType.CANCEL_REQUESTED, payload)
    transaction.wake(stored)
    return stored


def _cancel_children(transaction: Transaction, stored: StoredRun) -> None:
    if not transaction.has_open_children(stored):
        return
    for step in History().add_all(transaction.history(stored)).steps.values():
        if step.kind is StepKind.RUN and step.state in (StepState.WAITING, StepState.PENDING, StepState.SKIPPED):
            child = transaction.find(step.child_run_id) if step.child_run_id else None
            if child is not None and not child.run.status.is_terminal:
                cancel_run(transaction, child, f"its workflow {stored.run.run_id} has ended")
