"""The values of schedules, as those of runs are in `values`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from runsd_client.values import DefinitionProblem, Record


class ConcurrencyPolicy(StrEnum):
    """What becomes of an occurrence while runs of its schedule have not ended.

    `allow`: another run beside them. `forbid`: it is skipped. `replace`: they are cancelled. `queue`: its
    run is created when they have ended. `unspecified` is a policy that this client does not know.
    """

    UNSPECIFIED = "unspecified"
    ALLOW = "allow"
    FORBID = "forbid"
    REPLACE = "replace"
    QUEUE = "queue"


class CatchUp(StrEnum):
    """Which missed occurrences are made up for. `unspecified` is one that this client does not know."""

    UNSPECIFIED = "unspecified"
    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class ScheduleHealth(StrEnum):
    """`stale`: no run has completed for too long; `failing`: the one that ended last has failed."""

    UNSPECIFIED = "unspecified"
    HEALTHY = "healthy"
    STALE = "stale"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class ScheduleSpec(Record):
    """What a schedule does, and when: one of `cron`, `at` and `every_seconds` is set.

    An empty `timezone` is UTC. `timeout_seconds` and `backoff_limit` are the target's where they are None.
    """

    target: str
    cron: str
    timezone: str
    at: datetime | None
    every_seconds: float | None
    anchor: datetime | None
    start_at: datetime | None
    end_at: datetime | None
    description: str
    run_name: str
    input: Any
    config: Any
    metadata: Any
    priority: int
    timeout_seconds: float | None
    backoff_limit: int | None
    concurrency_policy: ConcurrencyPolicy
    catch_up: CatchUp
    catch_up_window_seconds: float | None
    jitter_seconds: float
    max_runs: int
    max_staleness_seconds: float


@dataclass(frozen=True, slots=True)
class Occurrence(Record):
    """A moment at which a schedule is due.

    `local` is the moment on the clock of its zone, RFC 3339. `note` says why it is not as the expression
    says, where the clock is changed.
    """

    at: datetime
    local: str
    note: str


@dataclass(frozen=True, slots=True)
class SkippedOccurrences(Record):
    """Occurrences in a row that made no run; `count` is a lower bound where `is_at_least`."""

    first_at: datetime
    last_at: datetime
    count: int
    is_at_least: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Schedule(Record):
    """A schedule as it is now.

    `next` has up to five occurrences, one in lists and from `create`, none when it is paused or over. `skips`
    is empty in lists. `source` is where it is declared; empty for one that was made by a client.
    """

    project: str
    schedule_id: str
    spec: ScheduleSpec
    etag: str
    source: str
    paused: bool
    pause_reason: str
    health: ScheduleHealth
    created_at: datetime | None
    updated_at: datetime | None
    next: tuple[Occurrence, ...]
    last_run_id: str
    last_scheduled_for: datetime | None
    last_success_run_id: str
    last_success_at: datetime | None
    runs_made: int
    active_runs: int
    queued: int
    skipped: int
    skips: tuple[SkippedOccurrences, ...]
    problems: tuple[DefinitionProblem, ...]


@dataclass(frozen=True, slots=True)
class CreateScheduleAnswer(Record):
    """`duplicate` is true when the schedule had been there before, with an equal spec."""

    duplicate: bool
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class BackfilledRun(Record):
    """The run of a past occurrence; `duplicate` is true when it had been there before.

    `run_id` is empty where the occurrence waits for runs to end.
    """

    scheduled_for: datetime
    run_id: str
    duplicate: bool
