"""Client of runsd: `RunsClient` for sync code, `AsyncRunsClient` for asyncio.

The clients are imported when they are first used: gRPC takes a while, and who only wants a value, an
error or the address needs none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runsd_client.errors import (
    AlreadyExistsError,
    ConfigurationError,
    ConflictError,
    FieldViolation,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    PreconditionError,
    RunsError,
    UnreachableError,
    WaitTimeoutError,
)
from runsd_client.retrying import RetryPolicy
from runsd_client.schedule_values import (
    BackfilledRun,
    CatchUp,
    ConcurrencyPolicy,
    CreateScheduleAnswer,
    Occurrence,
    Schedule,
    ScheduleHealth,
    ScheduleSpec,
    SkippedOccurrences,
)
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
from runsd_client.version import __version__

if TYPE_CHECKING:
    from runsd_client.async_client import AsyncRunsClient
    from runsd_client.requests import NewRun
    from runsd_client.sync_client import RunsClient

_IMPORTED_ON_USE = {
    "AsyncRunsClient": "runsd_client.async_client",
    "NewRun": "runsd_client.requests",
    "RunsClient": "runsd_client.sync_client",
}

__all__ = [
    "AlreadyExistsError",
    "Artifact",
    "AsyncRunsClient",
    "BackfilledRun",
    "CancelAnswer",
    "CatchUp",
    "ConcurrencyPolicy",
    "ConfigurationError",
    "ConflictError",
    "CreateAnswer",
    "CreateScheduleAnswer",
    "DefinitionProblem",
    "Definitions",
    "Event",
    "FieldViolation",
    "InvalidRequestError",
    "NewRun",
    "NotFoundError",
    "Occurrence",
    "OverloadedError",
    "Page",
    "PageInfo",
    "PermissionDeniedError",
    "PreconditionError",
    "ReloadAnswer",
    "RetryPolicy",
    "Run",
    "RunError",
    "RunKind",
    "RunStatus",
    "RunsClient",
    "RunsError",
    "Schedule",
    "ScheduleHealth",
    "ScheduleSpec",
    "SignalAnswer",
    "SkippedOccurrences",
    "Step",
    "StepKind",
    "StepState",
    "TargetInfo",
    "TriggerKind",
    "UnreachableError",
    "WaitTimeoutError",
    "WatchedEvent",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _IMPORTED_ON_USE:
        return getattr(import_module(_IMPORTED_ON_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
