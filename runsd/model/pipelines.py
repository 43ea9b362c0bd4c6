"""Workflows written as steps in `runs.toml`, as values.

Made only by `runsd.definitions`, which has checked them: every expression parses, every step needs steps
that are there, none needs itself, and none uses the output of a step that it does not need.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from graphlib import TopologicalSorter
from typing import Any

from runsd.model.settings import Backoff, RetrySettings
from runsd.model.targets import Schema


class Strategy(Enum):
    """What becomes of the results of a `for_each`: all of them, the first one, or how each ended."""

    ALL = "all"
    RACE = "race"
    ALL_SETTLED = "all_settled"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`max_attempts` counts the first one. `has_delays`: they are its own, and not those of the daemon's settings."""

    max_attempts: int = 3
    backoff: Backoff = Backoff.EXPONENTIAL
    initial_delay_seconds: float = 1.0
    max_delay_seconds: float = 300.0
    has_delays: bool = True

    @property
    def settings(self) -> RetrySettings:
        return RetrySettings(
            backoff=self.backoff,
            initial_delay_seconds=self.initial_delay_seconds,
            max_delay_seconds=self.max_delay_seconds,
        )


# A JSON value whose strings may hold `${expression}`.
Template = Any


@dataclass(frozen=True, slots=True)
class RunTarget:
    """Executes a target of the project (`task:<id>` or `workflow:<id>`) as a child run."""

    target: str
    input: Template = None
    config: Template = None


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """`message` and `approvers` are templates."""

    message: str = ""
    approvers: tuple[str, ...] = ()
    schema: Schema | None = None


@dataclass(frozen=True, slots=True)
class AwaitSignal:
    signal: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds, or a template that gives a duration."""

    duration: float | Template


Action = RunTarget | AwaitApproval | AwaitSignal | Pause


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """`when` and `for_each` are expressions, empty where there is none; `timeout_seconds` None is no limit."""

    id: str
    action: Action
    needs: tuple[str, ...] = ()
    when: str = ""
    for_each: str = ""
    concurrency: int | None = None
    strategy: Strategy = Strategy.ALL
    retry: RetryPolicy | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Steps as they stand in the file. `output` is a template; None stands for the last step's output."""

    steps: tuple[PipelineStep, ...]
    output: Template = None

    def levels(self) -> list[tuple[PipelineStep, ...]]:
        """Steps by what has to go before them; those of one level need none of each other."""
        by_id = {step.id: step for step in self.steps}
        sorter = TopologicalSorter({step.id: step.needs for step in self.steps})
        sorter.prepare()
        found = []
        while sorter.is_active():
            ready = sorter.get_ready()
            sorter.done(*ready)
            found.append(tuple(by_id[id] for id in ready))
        return found
