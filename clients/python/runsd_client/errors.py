"""Errors by what the caller can do about them.

All are RunsError; `code` is the gRPC status by name, `reason` is for programs (capitals, stable),
`message` is for people. A `transient` error may be gone when the same call is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from runsd_client.values import Run


class RunsError(Exception):
    """Something went wrong that no other class of this module describes."""

    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str = "UNKNOWN", reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or code
        self.message = message


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """`field` is the request's field, such as `input_json` or `requests[3].target`."""

    field: str
    description: str


class InvalidRequestError(RunsError):
    """Send something else; `violations` names every field at fault."""

    def __init__(
        self,
        violations: Sequence[FieldViolation],
        message: str = "",
        *,
        code: str = "INVALID_ARGUMENT",
        reason: str = "INVALID_REQUEST",
    ) -> None:
        described = "; ".join(f"{v.field}: {v.description}" for v in violations)
        super().__init__(message or described, code=code, reason=reason)
        self.violations = tuple(violations)


class NotFoundError(RunsError):
    """There is no such run, target, schedule, project or artifact."""


class AlreadyExistsError(RunsError):
    """The idempotency key belongs to another request, or the id to another schedule."""


class PreconditionError(RunsError):
    """The state of things forbids it now; the message says what would have to change."""


class ConflictError(RunsError):
    """It has changed since it was read; read it again and decide anew."""


class PermissionDeniedError(RunsError):
    """Somebody else may do it; the message says who."""


class OverloadedError(RunsError):
    """The daemon has no room for it now; the same call may go through later."""

    transient = True


class UnreachableError(RunsError):
    """No daemon answers at `address`."""

    transient = True

    def __init__(self, message: str, address: str, *, code: str = "UNAVAILABLE", reason: str = "") -> None:
        super().__init__(message, code=code, reason=reason)
        self.address = address


class WaitTimeoutError(RunsError, TimeoutError):
    """The time is over and the run is not; `run` is its latest record, if one came."""

    def __init__(self, run_id: str, seconds: float, run: Run | None) -> None:
        state = f"is {run.status}" if run else "did not answer"
        super().__init__(
            f"run {run_id} {state} after {seconds:.15g} s; it goes on",
            code="DEADLINE_EXCEEDED",
            reason="WAIT_TIMEOUT",
        )
        self.run_id = run_id
        self.run = run


class ConfigurationError(RunsError):
    """An address, a token or a project is missing or wrong; the message says which to set."""

    def __init__(self, message: str, *, code: str = "UNAUTHENTICATED", reason: str = "CONFIGURATION") -> None:
        super().__init__(message, code=code, reason=reason)
