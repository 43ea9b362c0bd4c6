"""From the messages of the wire to values. The one place that reads protobuf fields."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

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
    # As part of a page it would keep all of the page.
    own = run_pb2.Run()
    own.CopyFrom(message)
    return Run.reading(partial(_run_member, own))


def _run_member(message: run_pb2.Run, name: str) -> Any:
    read = _RUN_MEMBERS.get(name)
    return getattr(message, name) if read is None else read(message)


# Those that are not the message's own.
_RUN_MEMBERS: dict[str, Callable[[run_pb2.Run], Any]] = {
    "kind": lambda run: _KINDS.get(run.kind, RunKind.UNSPECIFIED),
    "status": lambda run: _STATUSES.get(run.status, RunStatus.UNSPECIFIED),
    "trigger_kind": lambda run: _TRIGGER_KINDS.get(run.trigger_kind, TriggerKind.UNSPECIFIED),
    "input": lambda run: read_document(run.input_json),
    "config": lambda run: read_document(run.config_json),
    "output": lambda run: read_document(run.output_json),
    "metadata": lambda run: read_document(run.metadata_json) or {},
    "error": lambda run: _read_error(run.error) if run.HasField("error") else None,
    "artifacts": lambda run: tuple(map(read_artifact, run.artifacts)),
    "steps": lambda run: tuple(map(read_step, run.steps)),
    "duration_ms": lambda run: run.duration_ms if run.HasField("duration_ms") else None,
    "exit_code": lambda run: run.exit_code if run.HasField("exit_code") else None,
    "created_at": lambda run: read_time(run, "created_at"),
    "started_at": lambda run: read_time(run, "started_at"),
    "completed_at": lambda run: read_time(run, "completed_at"),
    "updated_at": lambda run: read_time(run, "updated_at"),
    "start_after": lambda run: read_time(run, "start_after"),
    "expires_after": lambda run: read_time(run, "expires_after"),
    "scheduled_for": lambda run: read_time(run, "scheduled_for"),
}


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
