"""The exit status of `runs`."""

from __future__ import annotations

from enum import IntEnum

from runsd_client.errors import ConfigurationError, InvalidRequestError, RunsError, UnreachableError
from runsd_client.values import RunStatus


class ExitStatus(IntEnum):
    """What a script can tell from `$?`."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    UNREACHABLE = 4
    INTERRUPTED = 130
    CLOSED_PIPE = 141


_OF_RUNS = {RunStatus.COMPLETED: ExitStatus.COMPLETED, RunStatus.CANCELLED: ExitStatus.CANCELLED}


def status_of_run(status: RunStatus) -> ExitStatus:
    return _OF_RUNS.get(status, ExitStatus.FAILED)


def status_of_error(error: RunsError) -> ExitStatus:
    if isinstance(error, UnreachableError):
        return ExitStatus.UNREACHABLE
    wrong_address = isinstance(error, ConfigurationError) and error.code == "INVALID_ARGUMENT"
    return ExitStatus.USAGE if wrong_address or isinstance(error, InvalidRequestError) else ExitStatus.FAILED
