"""Values of the model to messages of the contract, and requests to values."""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp
from runsd_client.proto import definitions_pb2, run_pb2, runs_pb2

from runsd.model.creation import CreateRequest
from runsd.model.events import Committed, Event, compact
from runsd.model.record import Artifact, Record
from runsd.model.run import Run, RunError, RunStatus, TriggerKind
from runsd.model.steps import Step, StepKind, StepState, parent_step_id
from runsd.model.targets import Definition, Problem, RunKind, Schema
from runsd.model.times import MICROSECONDS

STEP_OUTPUT_CHARACTERS = 4096
# A record has documents of up to 3 MiB besides, and gRPC clients take 4 MiB unless told otherwise.
STEPS_BYTES = 512 << 10
KINDS = {RunKind.TASK: run_pb2.RUN_KIND_TASK, RunKind.WORKFLOW: run_pb2.RUN_KIND_WORKFLOW}
STATUSES = {
    RunStatus.PENDING: run_pb2.RUN_STATUS_PENDING,
    RunStatus.RUNNING: run_pb2.RUN_STATUS_RUNNING,
    RunStatus.WAITING: run_pb2.RUN_STATUS_WAITING,
    RunStatus.COMPLETED: run_pb2.RUN_STATUS_COMPLETED,
    RunStatus.FAILED: run_pb2.RUN_STATUS_FAILED,
    RunStatus.CANCELLED: run_pb2.RUN_STATUS_CANCELLED,
}
TRIGGERS = {
    TriggerKind.MANUAL: run_pb2.TRIGGER_KIND_MANUAL,
    TriggerKind.SCHEDULE: run_pb2.TRIGGER_KIND_SCHEDULE,
    TriggerKind.API: run_pb2.TRIGGER_KIND_API,
}
# All that are shown: what is recorded for the replay alone is not.
STEP_KINDS = {
    StepKind.FUNCTION: run_pb2.STEP_KIND_FUNCTION,
    StepKind.RUN: run_pb2.STEP_KIND_RUN,
    StepKind.SLEEP: run_pb2.STEP_KIND_SLEEP,
    StepKind.SIGNAL: run_pb2.STEP_KIND_SIGNAL,
    StepKind.APPROVAL: run_pb2.STEP_KIND_APPROVAL,
    StepKind.PARALLEL: run_pb2.STEP_KIND_PARALLEL,
    StepKind.MAP: run_pb2.STEP_KIND_MAP,
}
STEP_STATES = {
    StepState.PENDING: run_pb2.STEP_STATE_PENDING,
    StepState.RUNNING: run_pb2.STEP_STATE_RUNNING,
    StepState.WAITING: run_pb2.STEP_STATE_WAITING,
    StepState.COMPLETED: run_pb2.STEP_STATE_COMPLETED,
    StepState.FAILED: run_pb2.STEP_STATE_FAILED,
    StepState.SKIPPED: run_pb2.STEP_STATE_SKIPPED,
    StepState.CANCELLED: run_pb2.STEP_STATE_CANCELLED,
}
KINDS_BY_NUMBER = {number: kind for kind, number in KINDS.items()}
STATUSES_BY_NUMBER = {number: status for status, number in STATUSES.items()}
TRIGGERS_BY_NUMBER = {number: trigger for trigger, number in TRIGGERS.items()}


# Whatever a commit brings has the time of it. Callers put it into a message, which copies it.
@lru_cache(maxsize=64)
def timestamp(microseconds: int | None) -> Timestamp | None:
    if microseconds is None:
        return None
    seconds, rest = divmod(microseconds, MICROSECONDS)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def event_message(event: Event) -> run_pb2.Event:
    return run_pb2.Event(
        event_id=event.event_id,
        event_type=event.event_type,
        payload_json=event.payload_json,
        created_at=timestamp(event.created_at),
    )


def watched_message(committed: Committed) -> runs_pb2.WatchedEvent:
    return runs_pb2.WatchedEvent(
        position=committed.position,
        run_id=committed.run_id,
        target=committed.target,
        event=event_message(committed.event),
        schedule_id=committed.schedule_id,
    )


def artifact_message(artifact: Artifact) -> run_pb2.Artifact:
    return run_pb2.Artifact(
        name=artifact.name,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        media_type=artifact.media_type,
        attempt=artifact.attempt,
    )


def record_message(record: Record) -> run_pb2.Run:
    message = run_message(record.run)
    message.input_json = record.documents.input_json
    message.config_json = record.documents.config_json
    message.output_json = record.documents.output_json
    message.logs = record.logs.text
    message.logs_truncated = record.logs.truncated
    message.artifacts.extend(map(artifact_message, record.artifacts.values()))
    steps, cut = step_messages(record.steps)
    message.steps.extend(steps)
    message.steps_truncated = cut or record.steps_truncated
    return message


def step_messages(steps: Sequence[Step]) -> tuple[list[run_pb2.Step], bool]:
    """As many of the first steps as have room, and whether any are left out."""
    shown = [step for step in steps if step.kind in STEP_KINDS]
    known = {step.step_id for step in shown}
    messages: list[run_pb2.Step] = []
    room = STEPS_BYTES
    for step in shown:
        message = _step_message(step, known)
        room -= message.ByteSize()
        if room < 0:
            return messages, True
        messages.append(message)
    return messages, False


def _step_message(step: Step, known: Set[str]) -> run_pb2.Step:
    return run_pb2.Step(
        step_id=step.step_id,
        parent_step_id=parent_step_id(step.step_id, known),
        name=step.name,
        kind=STEP_KINDS[step.kind],
        state=STEP_STATES[step.state],
        attempt=step.attempt,
        output_json=step.output_json if len(step.output_json) <= STEP_OUTPUT_CHARACTERS else "",
        error=_error_message(step.error),
        started_at=timestamp(step.started_at),
        completed_at=timestamp(step.completed_at),
        child_run_id=step.child_run_id,
        detail=step.reason or step.detail,
        until=timestamp(step.until),
    )


def run_message(run: Run) -> run_pb2.Run:
    return run_pb2.Run(
        run_id=run.run_id,
        kind=KINDS[run.kind],
        status=STATUSES[run.status],
        project=run.project,
        name=run.name,
        target=run.target,
        error=_error_message(run.error),
        duration_ms=run.duration_ms,
        exit_code=run.exit_code,
        created_at=timestamp(run.created_at),
        started_at=timestamp(run.started_at),
        completed_at=timestamp(run.completed_at),
        updated_at=timestamp(run.updated_at),
        parent_run_id=run.parent_run_id,
        root_run_id=run.root_run_id,
        waiting_reason=run.waiting_reason,
        schedule_id=run.schedule_id,
        batch_id=run.batch_id,
        trigger_kind=TRIGGERS[run.trigger_kind],
        trigger_id=run.trigger_id,
        created_by=run.created_by,
        metadata_json=run.metadata_json,
        attempt=run.attempt,
        timeout_seconds=run.timeout_seconds,
        backoff_limit=run.backoff_limit,
        idempotency_key=run.idempotency_key,
        cancel_requested=run.cancel_requested,
        priority=run.priority,
        concurrency_key=run.concurrency_key,
        start_after=timestamp(run.start_after),
        expires_after=timestamp(run.expires_after),
        retry_of_run_id=run.retry_of_run_id,
        scheduled_for=timestamp(run.scheduled_for),
    )


def _error_message(error: RunError | None) -> run_pb2.RunError | None:
    if error is None:
        return None
    return run_pb2.RunError(message=error.message, code=error.code, detail_json=error.detail_json)


def create_request(message: runs_pb2.CreateRunRequest) -> CreateRequest:
    return CreateRequest(
        project=message.project,
        target=message.target,
        name=message.name,
        input_json=message.input_json,
        config_json=message.config_json,
        metadata_json=message.metadata_json,
        timeout_seconds=message.timeout_seconds if message.HasField("timeout_seconds") else None,
        backoff_limit=message.backoff_limit if message.HasField("backoff_limit") else None,
        idempotency_key=message.idempotency_key,
        priority=message.priority,
        concurrency_key=message.concurrency_key,
        start_after_seconds=message.start_after_seconds,
        expires_after_seconds=message.expires_after_seconds,
        parent_run_id=message.parent_run_id,
        batch_id=message.batch_id,
        trigger_kind=TRIGGERS_BY_NUMBER.get(message.trigger_kind, TriggerKind.API),
        trigger_id=message.trigger_id,
        created_by=message.created_by,
    )


def target_message(definition: Definition) -> definitions_pb2.Target:
    return definitions_pb2.Target(
        target=str(definition.target),
        kind=KINDS[definition.target.kind],
        name=definition.name,
        description=definition.description,
        adapter=definition.adapter.value,
        timeout_seconds=definition.timeout_seconds,
        backoff_limit=definition.backoff_limit,
        max_concurrent=definition.max_concurrent,
        input_schema_json=_schema_text(definition.input_schema),
        config_schema_json=_schema_text(definition.config_schema),
        output_schema_json=_schema_text(definition.output_schema),
        source=definition.source,
        problems=map(problem_message, definition.problems),
        on_interrupt=definition.on_interrupt.value,
    )


def problem_message(problem: Problem) -> definitions_pb2.DefinitionProblem:
    return definitions_pb2.DefinitionProblem(file=problem.file, key=problem.key, message=problem.message)


def _schema_text(schema: Schema | None) -> str:
    return "" if schema is None else compact(schema)
