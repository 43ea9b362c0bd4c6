"""The exit status of `runs`."""

from __future__ import annotations

from enum import IntEnum

from runsd_client.errors import (
    AlreadyExistsError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    RunsError,
    UnreachableError,
)
from runsd_client.values import RunStatus


class ExitStatus(IntEnum):
    """What a script can tell from `$?`. FAILED is a run that failed, REFUSED one that was not made."""

    COMPLETED = 0
    FAILED = 1
    REFUSED = 2
    CANCELLED = 3
    UNREACHABLE = 4
    INTERRUPTED = 130
    CLOSED_PIPE = 141


_REFUSALS = (
    InvalidRequestError,
    NotFoundError,
    AlreadyExistsError,
    PreconditionError,
    ConflictError,
    PermissionDeniedError,
    ConfigurationError,
)
_OF_RUNS = {RunStatus.COMPLETED: ExitStatus.COMPLETED, RunStatus.CANCELLED: ExitStatus.CANCELLED}


def status_of_run(status: RunStatus) -> ExitStatus:
    return _OF_RUNS.get(status, ExitStatus.FAILED)


def status_of_error(error: RunsError) -> ExitStatus:
    if isinstance(error, UnreachableError):
        return ExitStatus.UNREACHABLE
    return ExitStatus.REFUSED if isinstance(error, _REFUSALS) else ExitStatus.FAILED
