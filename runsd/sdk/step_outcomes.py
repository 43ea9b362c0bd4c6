"""How a workflow's steps end, as its code sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class StepFailed(Exception):
    """A step ended badly, and was not to be tried again. The same when it comes from the record."""

    def __init__(self, step_id: str, message: str, code: str, detail: Any = None) -> None:
        super().__init__(message)
        self.step_id = step_id
        self.message = message
        self.code = code
        self.detail = detail


class WaitTimeout(StepFailed, TimeoutError):
    """A signal or a decision did not come in time."""


class ApprovalRejected(StepFailed):
    """Somebody decided against it. `approval` says who and why."""

    def __init__(self, step_id: str, approval: Approval) -> None:
        by = f" by {approval.by}" if approval.by else ""
        comment = f": {approval.comment}" if approval.comment else ""
        super().__init__(step_id, f"approval {approval.name!r} was rejected{by}{comment}", "rejected")
        self.approval = approval


@dataclass(frozen=True, slots=True)
class Approval:
    """A decision. `data` is the structured answer, None where there is none."""

    name: str
    approved: bool
    by: str = ""
    comment: str = ""
    data: Any = None


@dataclass(frozen=True, slots=True)
class Settled:
    """How a branch ended under `all_settled`: its value, or its error."""

    value: Any = None
    error: StepFailed | None = None

    @property
    def ok(self) -> bool:
        return self.error is None
