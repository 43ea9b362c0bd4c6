"""Errors by what the caller can do about them.

Everything that a client may be told is one of these; the gRPC edge turns each into a status with
details. Anything else that is raised is a defect of the daemon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class RunsdError(Exception):
    """`reason` is for programs (capitals, stable), the message for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """`field` is the request's field, such as `input_json` or `requests[3].target`."""

    field: str
    description: str

    def inside(self, outer: str) -> FieldViolation:
        return FieldViolation(f"{outer}.{self.field}", self.description)


class InvalidRequest(RunsdError):
    """The caller must send something else; every field at fault is named."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        message = "; ".join(f"{v.field}: {v.description}" for v in violations)
        super().__init__("INVALID_REQUEST", message)
        self.violations = tuple(violations)


class NotFound(RunsdError):
    """There is no such thing; `resource_type` is `run`, `target`, `project`, `schedule` or `artifact`."""

    def __init__(self, resource_type: str, resource_name: str, hint: str = "") -> None:
        message = f"there is no {resource_type} {resource_name!r}"
        super().__init__(f"{resource_type.upper()}_NOT_FOUND", f"{message}; {hint}" if hint else message)
        self.resource_type = resource_type
        self.resource_name = resource_name


class KeyReused(RunsdError):
    """The idempotency key belongs to another request."""

    def __init__(self, key: str, run_id: str) -> None:
        super().__init__(
            "IDEMPOTENCY_KEY_REUSED",
            f"idempotency key {key!r} was used for another request, which made run {run_id}; "
            "send the same request again, or a new key",
        )
        self.run_id = run_id


class NotPossible(RunsdError):
    """The state of things forbids it now; `message` says what would have to change."""


class AlreadyThere(RunsdError):
    """The name is taken; choose another, or change what has it."""

    def __init__(self, resource_type: str, resource_name: str, message: str) -> None:
        super().__init__(f"{resource_type.upper()}_EXISTS", message)
        self.resource_type = resource_type
        self.resource_name = resource_name


class Outdated(RunsdError):
    """The caller decided on what has changed since; read it anew and decide again."""


class NotAllowed(RunsdError):
    """Somebody else may do it, not who asks; `message` says who."""


class Damaged(RunsdError):
    """What was recorded is not there any more as it was."""


class Overloaded(RunsdError):
    """There is no room for it now; the same call may go through later."""


class Stopping(RunsdError):
    """The daemon is on its way out; call again when it is back."""

    def __init__(self) -> None:
        super().__init__("STOPPING", "the daemon is stopping; call again when it is back")
