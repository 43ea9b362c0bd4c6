"""Where an operation of a workflow was called, and how far the step there has come."""

from __future__ import annotations

from dataclasses import dataclass

from runsd.model.replay import Scope
from runsd.model.steps import Step, StepKind
from runsd.store.clock import steady_now, wall_now


@dataclass(slots=True)
class Place:
    """`has_begun`: the record tells of it. `is_refused`: it cannot be any more.

    `attempt` and `began_at` (microseconds of the steady clock) are of the step as it is recorded, or begins.
    """

    step_id: str
    name: str
    kind: StepKind
    scope: Scope
    recorded: Step | None
    has_begun: bool = False
    is_refused: bool = False
    attempt: int = 1
    began_at: int = 0

    @classmethod
    def refused(cls, name: str, kind: StepKind, scope: Scope) -> Place:
        return cls(name, name, kind, scope, None, is_refused=True)

    @classmethod
    def of_recorded(cls, step: Step, scope: Scope) -> Place:
        age = 0 if step.started_at is None else max(wall_now() - step.started_at, 0)
        began_at = steady_now() - age
        return cls(step.step_id, step.name, step.kind, scope, step, True, attempt=step.attempt, began_at=began_at)

    def begin(self, attempt: int) -> None:
        self.attempt, self.began_at, self.has_begun = attempt, steady_now(), True

    @property
    def duration_ms(self) -> int:
        return (steady_now() - self.began_at) // 1000
