"""The calls of the contract as values: what to send and how to read the answer. No I/O.

Every call here is safe to make again: reads, cancel and reload by nature, creates and signals because
they always carry an idempotency key, decisions because the daemon takes an equal one for the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from google.protobuf.message import Message

from runsd_client import conversion, requests
from runsd_client.proto import admin_pb2, definitions_pb2, runs_pb2
from runsd_client.requests import NewRun, RunFilters
from runsd_client.settings import Settings
from runsd_client.values import (
    Artifact,
    CancelAnswer,
    CreateAnswer,
    Definitions,
    Event,
    Page,
    ReloadAnswer,
    Run,
    SignalAnswer,
    TargetInfo,
)

T = TypeVar("T")

# An answer may take this long before the daemon counts as gone.
CALL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """`method` of `service`, what to send, and what becomes of the answer."""

    method: str
    request: Message
    read: Callable[[Any], T]
    service: Literal["runs", "definitions", "admin", "schedules"] = "runs"
    deadline_seconds: float = CALL_SECONDS


def create(run: NewRun, settings: Settings, project: str | None) -> Call[CreateAnswer]:
    return create_of(requests.create_request(run, settings, settings.project_or_default(project)))


def create_of(request: runs_pb2.CreateRunRequest) -> Call[CreateAnswer]:
    return Call("CreateRun", request, conversion.read_create_answer)


def batch_create(runs: Sequence[NewRun], settings: Settings, project: str | None) -> Call[tuple[CreateAnswer, ...]]:
    request = requests.batch_request(runs, settings, settings.project_or_default(project))
    return Call("BatchCreateRuns", request, lambda answer: tuple(map(conversion.read_create_answer, answer.data)))


def get(run_id: str) -> Call[Run]:
    request = requests.fill(runs_pb2.GetRunRequest(), {"run_id": run_id})
    return Call("GetRun", request, lambda answer: conversion.read_run(answer.run))


def wait(run_id: str, seconds: float) -> Call[Run]:
    """The run as it is when it is terminal, or `seconds` are over."""
    request = requests.fill(runs_pb2.WaitRunRequest(), {"run_id": run_id, "timeout_seconds": seconds})
    return Call(
        "WaitRun",
        request,
        lambda answer: conversion.read_run(answer.run),
        deadline_seconds=seconds + CALL_SECONDS,
    )


def list_runs(
    settings: Settings, project: str | None, limit: int, page_token: str, filters: RunFilters
) -> Call[Page[Run]]:
    project = settings.project_or_default(project)
    values = {"project": project, "limit": limit, "page_token": page_token, **filters}
    return Call("ListRuns", requests.fill(runs_pb2.ListRunsRequest(), values), conversion.read_run_page)


def events(run_id: str, after_event_id: int, limit: int) -> Call[Page[Event]]:
    values = {"run_id": run_id, "after_event_id": after_event_id, "limit": limit}
    return Call("ListEvents", requests.fill(runs_pb2.ListEventsRequest(), values), conversion.read_event_page)


def cancel(run_id: str, reason: str) -> Call[CancelAnswer]:
    request = requests.fill(runs_pb2.CancelRunRequest(), {"run_id": run_id, "reason": reason})
    return Call("CancelRun", request, conversion.read_cancel_answer)


def retry(run_id: str, from_failed_step: bool, idempotency_key: str) -> Call[CreateAnswer]:
    values = {
        "run_id": run_id,
        "from_failed_step": from_failed_step,
        "idempotency_key": idempotency_key or requests.new_key(),
    }
    return Call("RetryRun", requests.fill(runs_pb2.RetryRunRequest(), values), conversion.read_create_answer)


def signal(run_id: str, name: str, payload: Any, idempotency_key: str) -> Call[SignalAnswer]:
    key = idempotency_key or requests.new_key()
    values = {"run_id": run_id, "name": name, "payload": payload, "idempotency_key": key}
    return Call("SignalRun", requests.fill(runs_pb2.SignalRunRequest(), values), conversion.read_signal_answer)


def decide(run_id: str, name: str, approved: bool, by: str, comment: str, data: Any) -> Call[Run]:
    """Made again after a lost answer it is the same decision, also when the run has asked anew under that name."""
    values = {"run_id": run_id, "name": name, "approved": approved, "by": by, "comment": comment, "data": data}
    values["idempotency_key"] = requests.new_key()
    request = requests.fill(runs_pb2.DecideApprovalRequest(), values)
    return Call("DecideApproval", request, lambda answer: conversion.read_run(answer.run))


def artifacts(run_id: str, page_token: str) -> Call[Page[Artifact]]:
    request = requests.fill(runs_pb2.ListArtifactsRequest(), {"run_id": run_id, "page_token": page_token})
    return Call("ListArtifacts", request, conversion.read_artifact_page)


def definitions(settings: Settings, project: str | None) -> Call[Definitions]:
    request = definitions_pb2.ListTargetsRequest(project=settings.project_or_default(project))
    return Call("ListTargets", request, conversion.read_definitions, "definitions")


def target(name: str, settings: Settings, project: str | None) -> Call[TargetInfo]:
    values = {"project": settings.project_or_default(project), "target": name}
    request = requests.fill(definitions_pb2.GetTargetRequest(), values)
    return Call("GetTarget", request, lambda answer: conversion.read_target(answer.target), "definitions")


def reload(settings: Settings, project: str | None) -> Call[ReloadAnswer]:
    request = definitions_pb2.ReloadRequest(project=settings.project_or_default(project))
    return Call("Reload", request, conversion.read_reload_answer, "definitions")


def drain(seconds: float) -> Call[int]:
    """How many runs execute still, when none does or `seconds` are over."""
    return Call(
        "Drain",
        admin_pb2.DrainRequest(timeout_seconds=seconds),
        lambda answer: int(answer.executing),
        "admin",
        deadline_seconds=seconds + CALL_SECONDS,
    )


def resume() -> Call[None]:
    return Call("Resume", admin_pb2.ResumeRequest(), lambda answer: None, "admin")
