"""The steps of one run held against its events, and what is stored of its waiting and its children.

Steps are folded by the model, as a daemon folds them; what an event finds there tells whether it may
be. Of a step nothing is kept but its state, so that memory does not grow with what steps give.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from runsd.model.events import Event, EventType, Payload, decode
from runsd.model.run import Run, RunStatus
from runsd.model.steps import HISTORY_TYPES, History, Step, StepKind, StepState
from runsd.model.targets import RunKind

_TYPES = frozenset({*HISTORY_TYPES, EventType.RETRYING, EventType.INTERRUPTED})
_STEP = "step."
_GROUPS = frozenset({StepKind.PARALLEL, StepKind.MAP})


@dataclass(slots=True)
class StepLog:
    """What the events say of a run's steps, read so far. `children` are the runs that steps began."""

    count: int = 0
    children: set[str] = field(default_factory=set)
    _history: History = field(default_factory=History)
    _keys: set[str] = field(default_factory=set)
    _signals: set[int] = field(default_factory=set)
    _taken: set[int] = field(default_factory=set)

    def take(self, kind: RunKind, event: Event) -> Iterator[str]:
        """Takes the next event of a run of this kind. Raises what the model raises for one that no daemon wrote."""
        if event.event_type not in _TYPES:
            return
        payload = decode(event.payload_json)
        check = _CHECKS.get(event.event_type)
        found: list[str] = []
        if event.event_type.startswith(_STEP):
            if kind is not RunKind.WORKFLOW:
                found.append("a task has no steps")
            found += self._step_faults(event.event_type, payload)
        if check is not None:
            found += check(self, event, payload)
        self._history.add(event)
        self._forget_outputs(payload)
        yield from (f"event {event.event_id} ({event.event_type}): {fault}" for fault in found)

    def _forget_outputs(self, payload: Payload) -> None:
        self._history.signals.clear()
        step = self._history.steps.get(payload.get("step_id", ""))
        if step is not None:
            self._history.steps[step.step_id] = step._replace(output_json="")
        self.count = len(self._history.steps)

    def _step_faults(self, event_type: str, payload: Payload) -> Iterator[str]:
        """Invariant 9. A failed step is open again once its run is retried; the fold says so."""
        step_id = payload["step_id"]
        before = self._history.steps.get(step_id)
        if before is not None and before.state.is_final:
            yield f"step {step_id!r} was {before.state.value} already"
        elif before is not None and before.kind is not StepKind(payload["kind"]):
            yield f"step {step_id!r} is of kind {before.kind.value}, here {payload['kind']}"

    def _started_faults(self, event: Event, payload: Payload) -> Iterator[str]:
        if child := payload.get("child_run_id"):
            if child in self.children:
                yield f"run {child} is begun by two steps, or twice"
            self.children.add(child)

    def _completed_faults(self, event: Event, payload: Payload) -> Iterator[str]:
        if "from_run_id" in payload:
            # What another run did is told once more, without how it came to that.
            return
        step_id = payload["step_id"]
        if not _has_begun(self._history.steps.get(step_id), payload):
            yield f"step {step_id!r} had not been started"
        is_approval = payload["kind"] == StepKind.APPROVAL.value
        if is_approval and not self._history.decisions.get(step_id, {}).get("approved"):
            yield f"approval step {step_id!r} had not been approved"
        if taken := payload.get("signal_event_id", 0):
            yield from self._taking_faults(step_id, taken)

    def _taking_faults(self, step_id: str, taken: int) -> Iterator[str]:
        if taken not in self._signals:
            yield f"step {step_id!r} took the signal of event {taken}, which is none"
        elif taken in self._taken:
            yield f"step {step_id!r} took the signal of event {taken}, as another step had"
        self._taken.add(taken)

    def _signal_faults(self, event: Event, payload: Payload) -> Iterator[str]:
        self._signals.add(event.event_id)
        if key := payload.get("idempotency_key", ""):
            if key in self._keys:
                yield f"idempotency key {key!r} made a signal before"
            self._keys.add(key)

    def _requested_faults(self, event: Event, payload: Payload) -> Iterator[str]:
        step_id = payload["step_id"]
        step = self._history.steps.get(step_id)
        if step is None or (step.kind, step.state) != (StepKind.APPROVAL, StepState.WAITING):
            yield f"step {step_id!r} does not wait for an approval"
        elif step_id in self._history.asked:
            yield f"approval step {step_id!r} had been asked for already"

    def _decided_faults(self, event: Event, payload: Payload) -> Iterator[str]:
        step_id = payload["step_id"]
        asked, step = self._history.asked.get(step_id), self._history.steps.get(step_id)
        if asked is None or step is None:
            yield f"approval step {step_id!r} was not asked for"
            return
        if step_id in self._history.decisions:
            yield f"approval step {step_id!r} had been decided already"
        if step.state.is_final:
            yield f"approval step {step_id!r} was {step.state.value} already"
        if asked.approvers and payload.get("by", "") not in asked.approvers:
            yield f"approval step {step_id!r} was not for {payload.get('by', '')!r} to decide"


_CHECKS: dict[str, Callable[[StepLog, Event, Payload], Iterator[str]]] = {
    EventType.STEP_STARTED: StepLog._started_faults,
    EventType.STEP_COMPLETED: StepLog._completed_faults,
    EventType.SIGNAL: StepLog._signal_faults,
    EventType.APPROVAL_REQUESTED: StepLog._requested_faults,
    EventType.APPROVAL_DECIDED: StepLog._decided_faults,
}


def _has_begun(step: Step | None, payload: Payload) -> bool:
    """What is recorded for the replay alone has no beginning; a group keeps its own when its run is interrupted."""
    kind = StepKind(payload["kind"])
    if kind is StepKind.VALUE:
        return True
    if step is None:
        return False
    if kind in _GROUPS:
        return step.started_at is not None
    # One that is final is another fault.
    return step.state.is_final or step.state is (StepState.WAITING if kind.waits else StepState.RUNNING)


def check_waits(connection: sqlite3.Connection, run_no: int, run: Run) -> Iterator[str]:
    """A row for each waiting run, with the moment that its record names or 0 once it is woken; and for no other."""
    row = connection.execute("SELECT wake_at FROM waits WHERE run_no = ?", (run_no,)).fetchone()
    if run.status is not RunStatus.WAITING:
        if row is not None:
            yield f"it is {run.status.value} and has a row in waits"
    elif row is None:
        yield "it is waiting and has no row in waits"
    elif row[0] not in (0, run.start_after):
        yield f"it is to go on at {row[0]}, its record says {run.start_after}"


def check_children(connection: sqlite3.Connection, run: Run, steps: StepLog) -> Iterator[str]:
    """The runs that steps began are runs below this one, and have ended when it has."""
    for child in sorted(steps.children):
        row = connection.execute("SELECT parent_run_id, status FROM runs WHERE run_id = ?", (child,)).fetchone()
        if row is None or row[0] != run.run_id:
            yield f"run {child}, which a step began, is {'gone' if row is None else f'below {row[0]!r}'}"
        elif run.status.is_terminal and not RunStatus(row[1]).is_terminal:
            yield f"it is {run.status.value}, and run {child}, which a step began, is {row[1]}"
