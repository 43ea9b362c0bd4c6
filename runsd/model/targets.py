"""Targets and the definitions behind them, as values.

A definition with problems is kept, so that it can be shown; it cannot be run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runsd.model.pipelines import Pipeline
    from runsd.model.schedules import DeclaredSchedule
    from runsd.model.settings import RetrySettings

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
MAX_ID_LENGTH = 200


class RunKind(Enum):
    TASK = "task"
    WORKFLOW = "workflow"


def is_valid_id(text: str) -> bool:
    """Ids are names of letters, digits, `_`, `.` and `-`, nested with `/`: `reports/weekly`."""
    return len(text) <= MAX_ID_LENGTH and _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Target:
    kind: RunKind
    id: str

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, text: str) -> Target:
        """Raises ValueError with a message for the caller when `text` is no target."""
        kind, colon, id = text.partition(":")
        if not colon or kind not in {k.value for k in RunKind} or not is_valid_id(id):
            raise ValueError(
                f"{text[:MAX_ID_LENGTH]!r} is not a target; write task:<id> or workflow:<id>, such as task:sync-data"
            )
        return cls(RunKind(kind), id)

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.id}"


class AdapterKind(Enum):
    SUBPROCESS = "subprocess"
    INPROCESS = "inprocess"
    # Of every workflow, and of nothing else; nobody chooses it.
    WORKFLOW = "workflow"


class OnInterrupt(Enum):
    """What follows when an attempt ended because the machine or the daemon did."""

    RETRY = "retry"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments, started without a shell."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PythonCallable:
    """`def` or `async def` taking one Context, or a workflow's `async def` taking context and input.

    `qualname` may be dotted inside the module.
    """

    module: str
    qualname: str

    def __str__(self) -> str:
        return f"{self.module}:{self.qualname}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a definition: where, and what would be right."""

    file: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.message}" if self.key else f"{self.file}: {self.message}"


Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Definition:
    """What a target executes, and how. `program` is None only where there are problems.

    `retry` are delays of its own, `on_error` and `on_complete` targets of the same project to execute
    after it ended; like `version`, only workflows have them.
    """

    target: Target
    program: Command | PythonCallable | Pipeline | None
    source: str
    working_directory: Path
    name: str = ""
    description: str = ""
    adapter: AdapterKind = AdapterKind.SUBPROCESS
    timeout_seconds: float = 0.0
    backoff_limit: int = 0
    max_concurrent: int = 0
    on_interrupt: OnInterrupt = OnInterrupt.RETRY
    env: Mapping[str, str] = field(default_factory=dict)
    env_allowlist: tuple[str, ...] = ()
    input_schema: Schema | None = None
    config_schema: Schema | None = None
    output_schema: Schema | None = None
    version: str = ""
    retry: RetrySettings | None = None
    on_error: str = ""
    on_complete: str = ""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Project:
    """A directory with a `runs.toml`, read. `definitions` are by their target's text, `schedules` by id."""

    id: str
    directory: Path
    definitions: Mapping[str, Definition]
    # Modules that could not be read: what they declare is not known.
    unread: tuple[Problem, ...] = ()
    schedules: Mapping[str, DeclaredSchedule] = field(default_factory=dict)

    def own_problems(self) -> tuple[Problem, ...]:
        """Of no target that is known."""
        return (*self.unread, *(problem for schedule in self.schedules.values() for problem in schedule.problems))

    def all_problems(self) -> tuple[Problem, ...]:
        of_definitions = (problem for d in self.definitions.values() for problem in d.problems)
        return (*self.own_problems(), *of_definitions)
