"""The steps of a workflow run: what its `step.*`, `approval.*` and `signal` events make of them.

`fold_step` is used when a record is shown and when a workflow is replayed, so the two cannot differ. A
step that is completed, failed or skipped changes no more, but for a failed one of a run that is retried.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from runsd.model.events import TERMINAL_TYPES, Event, EventType, Payload, decode, document
from runsd.model.run import RunError, error_of, moment_of


class StepKind(Enum):
    FUNCTION = "function"
    RUN = "run"
    SLEEP = "sleep"
    SIGNAL = "signal"
    APPROVAL = "approval"
    PARALLEL = "parallel"
    MAP = "map"
    # Something recorded for the replay alone, such as the time; nobody is shown it as a step.
    VALUE = "value"

    @property
    def waits(self) -> bool:
        """Something outside the workflow ends it."""
        return self in _WAITING_KINDS


# Not sets: a member of an Enum is compared faster than it is hashed.
_WAITING_KINDS = (StepKind.RUN, StepKind.SLEEP, StepKind.SIGNAL, StepKind.APPROVAL)


class StepState(Enum):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_FINAL = (StepState.COMPLETED, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED)


class Step(NamedTuple):
    """`output_json` is JSON text, empty when there is none; times in microseconds.

    `failures` are the attempts that failed since the run's attempt began: interrupted ones do not count.
    """

    step_id: str
    name: str
    kind: StepKind
    state: StepState
    attempt: int = 0
    failures: int = 0
    output_json: str = ""
    error: RunError | None = None
    started_at: int | None = None
    completed_at: int | None = None
    child_run_id: str = ""
    detail: str = ""
    # Why it was left out.
    reason: str = ""
    until: int | None = None
    # The event that a signal step took.
    signal_event_id: int = 0
    # The step below whose failure this one failed with.
    cause: str = ""
    # False of what came of a failure that is tried again: another time it may not come.
    is_expected: bool = True


@dataclass(frozen=True, slots=True)
class Signal:
    event_id: int
    name: str
    payload_json: str
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """`schema_json` is JSON text or empty; `expires_at` in microseconds."""

    step_id: str
    name: str
    approvers: tuple[str, ...] = ()
    schema_json: str = ""
    expires_at: int | None = None


@dataclass(slots=True)
class History:
    """Of one run, in the order in which things began. `limit`: steps past it are left out."""

    limit: int | None = None
    version: str | None = None
    steps: dict[str, Step] = field(default_factory=dict)
    signals: list[Signal] = field(default_factory=list)
    asked: dict[str, ApprovalAsked] = field(default_factory=dict)
    decisions: dict[str, Payload] = field(default_factory=dict)
    # All decisions by their keys, also those of approvals that were asked for anew.
    keyed_decisions: dict[str, Payload] = field(default_factory=dict)
    truncated: bool = False
    # Whether a step was completed since the run was last interrupted or retried.
    progressed: bool = False
    # The first and the last event of each step.
    begun: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

    @property
    def emitted(self) -> list[Step]:
        """The notes of how many events were emitted, the latest last."""
        return [step for step in self.steps.values() if step.name == EMITTED]

    def shown(self) -> list[Step]:
        return [step for step in self.steps.values() if step.kind is not StepKind.VALUE]

    def add_all(self, events: Iterable[Event]) -> History:
        for event in events:
            self.add(event)
        return self

    def add(self, event: Event) -> None:
        kind = event.event_type
        if kind in _STEP_TYPES:
            self._add_step(event)
        elif kind == EventType.SIGNAL:
            self.signals.append(_signal(event))
        elif kind == EventType.APPROVAL_REQUESTED:
            asked = _asked(decode(event.payload_json))
            self.asked[asked.step_id] = asked
        elif kind == EventType.APPROVAL_DECIDED:
            payload = decode(event.payload_json)
            self.decisions[payload["step_id"]] = payload
            if key := payload.get("idempotency_key"):
                self.keyed_decisions[key] = payload
        else:
            self._add_lifecycle(event)

    def _add_step(self, event: Event) -> None:
        payload = decode(event.payload_json)
        before = self.steps.get(payload["step_id"])
        if before is None and self.limit is not None:
            if payload["kind"] == StepKind.VALUE.value:
                return
            if len(self.steps) >= self.limit:
                self.truncated = True
                return
        step = fold_step(before, event.event_type, payload, event.created_at)
        self.progressed = self.progressed or event.event_type == EventType.STEP_COMPLETED
        self.steps[step.step_id] = step
        self.begun.setdefault(step.step_id, event.event_id)
        self.changed[step.step_id] = event.event_id

    def _add_lifecycle(self, event: Event) -> None:
        self.progressed = False
        if event.event_type == EventType.STARTED and self.version is None:
            self.version = decode(event.payload_json).get("version", "")
        elif event.event_type == EventType.RETRYING:
            self._reopen(decode(event.payload_json).get("step_id", ""))
        elif event.event_type == EventType.INTERRUPTED:
            self._replace(_LET_GO)
        elif event.event_type in TERMINAL_TYPES:
            self.end(event.created_at)

    def end(self, at: int) -> None:
        """The run is terminal: nothing of it goes on."""
        self._replace(_ENDED, completed_at=at)

    def _reopen(self, failed_step_id: str) -> None:
        """The step that ended an attempt of the run is tried again, with what came of it; so is what had no end."""
        failure = Failure.of(self, failed_step_id)
        for step_id in [step.step_id for step in self.emitted]:
            del self.steps[step_id]
        for step_id, step in self.steps.items():
            is_expected = step.is_expected and not failure.led_to(step_id)
            if step.state.is_final and not failure.is_tried_again(step):
                if is_expected != step.is_expected:
                    self.steps[step_id] = step._replace(is_expected=is_expected)
                continue
            self.steps[step_id] = step._replace(
                state=StepState.PENDING, failures=0, until=None, completed_at=None, is_expected=is_expected
            )
            self.asked.pop(step_id, None)
            self.decisions.pop(step_id, None)

    def _replace(self, states: dict[StepState, StepState], **changed: int | None) -> None:
        for step_id, step in self.steps.items():
            if step.state in states:
                self.steps[step_id] = step._replace(state=states[step.state], **changed)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended a run or an attempt of it: where it shows in the record, and what came of it.

    `steps`: the step that failed and those inside it that it failed with, innermost last.
    """

    history: History
    steps: tuple[Step, ...]
    event_id: int

    @classmethod
    def of(cls, history: History, failed_step_id: str) -> Failure:
        steps: list[Step] = []
        step = history.steps.get(failed_step_id)
        while step is not None and step.state is StepState.FAILED and step not in steps:
            steps.append(step)
            step = history.steps.get(step.cause)
        if steps:
            return cls(history, tuple(steps), history.changed[steps[-1].step_id])
        # It shows nowhere. Then what was cancelled last of all was cancelled for it.
        others = (step_id for step_id, step in history.steps.items() if step.state is not StepState.SKIPPED)
        return cls(history, (), max((history.changed[step_id] for step_id in others), default=0))

    def is_tried_again(self, step: Step) -> bool:
        """Of a step that has ended: what is completed stays, and what failed before for reasons of its own."""
        if step.state is StepState.COMPLETED:
            return False
        return step in self.steps or self.history.changed[step.step_id] > self.event_id

    def led_to(self, step_id: str) -> bool:
        """Whether the step began after it, and might not have without it."""
        return bool(self.steps) and self.history.begun[step_id] > self.event_id


# How many events each scope had emitted when the workflow was last let go.
EMITTED = "~emitted"
# What an attempt of the run leaves unfinished; what waits outside it goes on waiting.
_LET_GO = {StepState.RUNNING: StepState.PENDING}
# What the end of the run leaves unfinished.
_ENDED = {state: StepState.CANCELLED for state in StepState if not state.is_final}
_STEP_TYPES = frozenset(
    {EventType.STEP_STARTED, EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.STEP_SKIPPED}
)
# What a run's steps are made of; `run.*` besides.
HISTORY_TYPES = (
    *sorted(_STEP_TYPES), EventType.SIGNAL, EventType.APPROVAL_REQUESTED, EventType.APPROVAL_DECIDED,
)  # fmt: skip


def fold_step(before: Step | None, event_type: str, payload: Payload, at: int) -> Step:
    step = before or _new(payload)
    if event_type == EventType.STEP_STARTED:
        return _started(step, payload, at)
    if event_type == EventType.STEP_COMPLETED:
        return step._replace(
            state=StepState.COMPLETED,
            output_json=document(payload, "output"),
            error=None,
            completed_at=at,
            until=None,
            signal_event_id=payload.get("signal_event_id", 0),
            child_run_id=payload.get("child_run_id", step.child_run_id),
            is_expected=payload.get("expected", step.is_expected),
        )
    if event_type == EventType.STEP_FAILED:
        return _failed(step, payload, at)
    is_expected = payload.get("expected", step.is_expected)
    reason = payload.get("reason", "")
    return step._replace(state=StepState.SKIPPED, completed_at=at, reason=reason, until=None, is_expected=is_expected)


def _new(payload: Payload) -> Step:
    return Step(payload["step_id"], payload["name"], StepKind(payload["kind"]), StepState.PENDING)


def _started(step: Step, payload: Payload, at: int) -> Step:
    return step._replace(
        state=StepState.WAITING if step.kind.waits else StepState.RUNNING,
        attempt=payload.get("attempt", 1),
        error=None,
        started_at=step.started_at if step.started_at is not None else at,
        child_run_id=payload.get("child_run_id", ""),
        detail=payload.get("detail", ""),
        until=moment_of(payload, "until"),
    )


def _failed(step: Step, payload: Payload, at: int) -> Step:
    retry_at = moment_of(payload, "retry_at")
    return step._replace(
        state=StepState.FAILED if retry_at is None else StepState.PENDING,
        failures=step.failures + 1,
        error=error_of(payload),
        completed_at=at if retry_at is None else None,
        until=retry_at,
        cause=payload.get("cause", ""),
        is_expected=payload.get("expected", step.is_expected),
    )


def _signal(event: Event) -> Signal:
    payload = decode(event.payload_json)
    return Signal(event.event_id, payload["name"], document(payload, "payload"), payload.get("idempotency_key", ""))


def _asked(payload: Payload) -> ApprovalAsked:
    return ApprovalAsked(
        payload["step_id"],
        payload["name"],
        tuple(payload.get("approvers", ())),
        document(payload, "schema"),
        moment_of(payload, "expires_at"),
    )


def parent_step_id(step_id: str, known: Iterable[str]) -> str:
    """The nearest step around a step; empty at the top. `known` is best a set or mapping."""
    while step_id:
        step_id = step_id[: max(step_id.rfind("/"), step_id.rfind("["), 0)]
        if step_id in known:
            return step_id
    return ""
