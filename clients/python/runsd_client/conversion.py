"""From the messages of the wire to values. The one place that reads protobuf fields."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from runsd_client.documents import read_document
from runsd_client.proto import definitions_pb2, run_pb2, runs_pb2, schedules_pb2
from runsd_client.values import (
    Artifact,
    CancelAnswer,
    CreateAnswer,
    DefinitionProblem,
    Definitions,
    Event,
    Page,
    PageInfo,
    ReloadAnswer,
    Run,
    RunError,
    RunKind,
    RunStatus,
    SignalAnswer,
    Step,
    StepKind,
    StepState,
    TargetInfo,
    TriggerKind,
    WatchedEvent,
)

KIND_NUMBERS = {kind: run_pb2.RunKind.Value(f"RUN_KIND_{kind.name}") for kind in RunKind}
STATUS_NUMBERS = {status: run_pb2.RunStatus.Value(f"RUN_STATUS_{status.name}") for status in RunStatus}
TRIGGER_KIND_NUMBERS = {kind: run_pb2.TriggerKind.Value(f"TRIGGER_KIND_{kind.name}") for kind in TriggerKind}
STEP_KIND_NUMBERS = {kind: run_pb2.StepKind.Value(f"STEP_KIND_{kind.name}") for kind in StepKind}
STEP_STATE_NUMBERS = {state: run_pb2.StepState.Value(f"STEP_STATE_{state.name}") for state in StepState}

_KINDS = {number: kind for kind, number in KIND_NUMBERS.items()}
_STATUSES = {number: status for status, number in STATUS_NUMBERS.items()}
_TRIGGER_KINDS = {number: kind for kind, number in TRIGGER_KIND_NUMBERS.items()}
_STEP_KINDS = {number: kind for kind, number in STEP_KIND_NUMBERS.items()}
_STEP_STATES = {number: state for state, number in STEP_STATE_NUMBERS.items()}


def read_run(message: run_pb2.Run) -> Run:
    return Run(
        run_id=message.run_id,
        kind=_KINDS.get(message.kind, RunKind.UNSPECIFIED),
        status=_STATUSES.get(message.status, RunStatus.UNSPECIFIED),
        project=message.project,
        name=message.name,
        target=message.target,
        input=read_document(message.input_json),
        config=read_document(message.config_json),
        output=read_document(message.output_json),
        error=_read_error(message.error) if message.HasField("error") else None,
        logs=message.logs,
        logs_truncated=message.logs_truncated,
        artifacts=tuple(map(read_artifact, message.artifacts)),
        duration_ms=message.duration_ms if message.HasField("duration_ms") else None,
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        created_at=read_time(message, "created_at"),
        started_at=read_time(message, "started_at"),
        completed_at=read_time(message, "completed_at"),
        updated_at=read_time(message, "updated_at"),
        parent_run_id=message.parent_run_id,
        root_run_id=message.root_run_id,
        waiting_reason=message.waiting_reason,
        schedule_id=message.schedule_id,
        batch_id=message.batch_id,
        trigger_kind=_TRIGGER_KINDS.get(message.trigger_kind, TriggerKind.UNSPECIFIED),
        trigger_id=message.trigger_id,
        created_by=message.created_by,
        metadata=read_document(message.metadata_json) or {},
        attempt=message.attempt,
        timeout_seconds=message.timeout_seconds,
        backoff_limit=message.backoff_limit,
        idempotency_key=message.idempotency_key,
        cancel_requested=message.cancel_requested,
        priority=message.priority,
        concurrency_key=message.concurrency_key,
        start_after=read_time(message, "start_after"),
        expires_after=read_time(message, "expires_after"),
        retry_of_run_id=message.retry_of_run_id,
        steps=tuple(map(read_step, message.steps)),
        steps_truncated=message.steps_truncated,
        scheduled_for=read_time(message, "scheduled_for"),
    )


def read_step(message: run_pb2.Step) -> Step:
    return Step(
        step_id=message.step_id,
        parent_step_id=message.parent_step_id,
        name=message.name,
        kind=_STEP_KINDS.get(message.kind, StepKind.UNSPECIFIED),
        state=_STEP_STATES.get(message.state, StepState.UNSPECIFIED),
        attempt=message.attempt,
        output=read_document(message.output_json),
        error=_read_error(message.error) if message.HasField("error") else None,
        started_at=read_time(message, "started_at"),
        completed_at=read_time(message, "completed_at"),
        child_run_id=message.child_run_id,
        detail=message.detail,
        until=read_time(message, "until"),
    )


def read_event(message: run_pb2.Event) -> Event:
    return Event(
        event_id=message.event_id,
        event_type=message.event_type,
        payload=read_document(message.payload_json),
        created_at=read_time(message, "created_at"),
    )


def read_watched_event(message: runs_pb2.WatchedEvent) -> WatchedEvent:
    event = read_event(message.event)
    return WatchedEvent(message.position, message.run_id, message.target, event, message.schedule_id)


def read_artifact(message: run_pb2.Artifact) -> Artifact:
    return Artifact(
        name=message.name,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        media_type=message.media_type,
        attempt=message.attempt,
    )


def read_target(message: definitions_pb2.Target) -> TargetInfo:
    return TargetInfo(
        target=message.target,
        kind=_KINDS.get(message.kind, RunKind.UNSPECIFIED),
        name=message.name,
        description=message.description,
        adapter=message.adapter,
        timeout_seconds=message.timeout_seconds,
        backoff_limit=message.backoff_limit,
        max_concurrent=message.max_concurrent,
        on_interrupt=message.on_interrupt,
        input_schema=read_document(message.input_schema_json),
        config_schema=read_document(message.config_schema_json),
        output_schema=read_document(message.output_schema_json),
        source=message.source,
        problems=tuple(map(read_problem, message.problems)),
    )


def read_create_answer(
    message: runs_pb2.CreateRunResponse | runs_pb2.RetryRunResponse | schedules_pb2.TriggerScheduleResponse,
) -> CreateAnswer:
    return CreateAnswer(message.accepted, message.duplicate, read_run(message.run))


def read_cancel_answer(message: runs_pb2.CancelRunResponse) -> CancelAnswer:
    return CancelAnswer(message.cancelled, read_run(message.run))


def read_signal_answer(message: runs_pb2.SignalRunResponse) -> SignalAnswer:
    return SignalAnswer(message.accepted, message.duplicate, read_run(message.run))


def read_definitions(message: definitions_pb2.ListTargetsResponse) -> Definitions:
    return Definitions(tuple(map(read_target, message.data)), tuple(map(read_problem, message.problems)))


def read_reload_answer(message: definitions_pb2.ReloadResponse) -> ReloadAnswer:
    return ReloadAnswer(tuple(map(read_target, message.data)), tuple(map(read_problem, message.problems)))


def read_run_page(message: runs_pb2.ListRunsResponse) -> Page[Run]:
    return Page(tuple(map(read_run, message.data)), read_page_info(message.page_info))


def read_event_page(message: runs_pb2.ListEventsResponse) -> Page[Event]:
    return Page(tuple(map(read_event, message.data)), read_page_info(message.page_info))


def read_artifact_page(message: runs_pb2.ListArtifactsResponse) -> Page[Artifact]:
    return Page(tuple(map(read_artifact, message.data)), read_page_info(message.page_info))


def read_page_info(message: run_pb2.PageInfo) -> PageInfo:
    return PageInfo(message.self, message.first, message.next, message.prev)


def _read_error(message: run_pb2.RunError) -> RunError:
    return RunError(message.message, message.code, read_document(message.detail_json))


def read_problem(message: definitions_pb2.DefinitionProblem) -> DefinitionProblem:
    return DefinitionProblem(message.file, message.key, message.message)


def read_time(message: Message, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    moment: Timestamp = getattr(message, field)
    # As `ToDatetime`, in half the time: a run has four.
    return _EPOCH + timedelta(0, moment.seconds, moment.nanos // 1000)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
