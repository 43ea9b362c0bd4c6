"""runsd executes durable runs; this is what the code of tasks and workflows imports.

Names are loaded when they are asked for: a task's process pays for what it uses.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runsd.sdk.context import Cancelled, Context
    from runsd.sdk.declare import schedule, task, workflow
    from runsd.sdk.step_options import Retry
    from runsd.sdk.step_outcomes import Approval, ApprovalRejected, Settled, StepFailed, WaitTimeout
    from runsd.sdk.workflow import WorkflowContext

    __version__: str

__all__ = [
    "Approval",
    "ApprovalRejected",
    "Cancelled",
    "Context",
    "Retry",
    "Settled",
    "StepFailed",
    "WaitTimeout",
    "WorkflowContext",
    "__version__",
    "schedule",
    "task",
    "workflow",
]

_HOMES = {
    "Cancelled": "runsd.sdk.context",
    "Context": "runsd.sdk.context",
    "schedule": "runsd.sdk.declare",
    "task": "runsd.sdk.declare",
    "workflow": "runsd.sdk.declare",
    "Retry": "runsd.sdk.step_options",
    **dict.fromkeys(
        ("Approval", "ApprovalRejected", "Settled", "StepFailed", "WaitTimeout"), "runsd.sdk.step_outcomes"
    ),
    "WorkflowContext": "runsd.sdk.workflow",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("runsd")
    if name not in _HOMES:
        raise AttributeError(f"module 'runsd' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
