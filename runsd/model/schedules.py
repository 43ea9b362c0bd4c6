"""Schedules: what they are declared to do, how they stand, and what their runs make of their health. Pure.

Moments are of the wall clock, in microseconds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, NamedTuple

from runsd.model.documents import checked, checked_object
from runsd.model.run import Run, RunStatus
from runsd.model.targets import Problem, Target
from runsd.model.times import MICROSECONDS
from runsd.model.timetables import FieldProblem, Occurrence, Timetable

DAY_SECONDS = 86_400.0
MAX_CATCH_UP_WINDOW_SECONDS = 366 * DAY_SECONDS
MAX_SECONDS = 100 * 365 * DAY_SECONDS
MAX_DESCRIPTION = 1000
MAX_RUN_NAME = 200
MAX_DOCUMENT_BYTES = 256 << 10
MAX_METADATA_BYTES = 64 << 10
MAX_PRIORITY = 1000
MAX_BACKOFF = 1000
MAX_RUNS = 10**12
# Further ones are skipped.
MAX_QUEUED = 1000


class _InAnyCase(Enum):
    """By a value that may be written in any case."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        written = str(value).casefold()
        return next((member for member in cls if member.value.casefold() == written), None)


class ConcurrencyPolicy(_InAnyCase):
    """What becomes of an occurrence while runs of its schedule have not ended."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"
    QUEUE = "Queue"


class CatchUp(_InAnyCase):
    """Which missed occurrences are made up for."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Health(Enum):
    HEALTHY = "healthy"
    STALE = "stale"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What is declared. Documents are JSON text or empty, numbers None where the target's own count."""

    target: str
    timetable: Timetable
    description: str = ""
    run_name: str = ""
    input_json: str = ""
    config_json: str = ""
    metadata_json: str = ""
    priority: int = 0
    timeout_seconds: float | None = None
    backoff_limit: int | None = None
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window_seconds: float = DAY_SECONDS
    jitter_seconds: float = 0.0
    max_runs: int = 0
    max_staleness_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DeclaredSchedule:
    """As `runs.toml` or a decorator has it; `spec` is None only where there are problems."""

    id: str
    spec: ScheduleSpec | None
    source: str
    problems: tuple[Problem, ...] = ()


def problems_of(spec: ScheduleSpec) -> Iterator[FieldProblem]:
    """All that is wrong with a spec but its timetable, which was checked when it was made."""
    try:
        Target.parse(spec.target)
    except ValueError as error:
        yield FieldProblem("target", str(error))
    for field, longest in (("description", MAX_DESCRIPTION), ("run_name", MAX_RUN_NAME)):
        if len(getattr(spec, field)) > longest:
            yield FieldProblem(field, f"has more than the {longest} characters that are allowed")
    yield from _problem("input_json", spec.input_json, checked, MAX_DOCUMENT_BYTES)
    yield from _problem("config_json", spec.config_json, checked, MAX_DOCUMENT_BYTES)
    yield from _problem("metadata_json", spec.metadata_json, checked_object, MAX_METADATA_BYTES)
    yield from _out_of_range("priority", spec.priority, -MAX_PRIORITY, MAX_PRIORITY)
    yield from _out_of_range("timeout_seconds", spec.timeout_seconds or 0, 0, MAX_SECONDS)
    yield from _out_of_range("backoff_limit", spec.backoff_limit or 0, 0, MAX_BACKOFF)
    yield from _out_of_range("catch_up_window_seconds", spec.catch_up_window_seconds, 0, MAX_CATCH_UP_WINDOW_SECONDS)
    yield from _out_of_range("jitter_seconds", spec.jitter_seconds, 0, DAY_SECONDS)
    yield from _out_of_range("max_runs", spec.max_runs, 0, MAX_RUNS)
    yield from _out_of_range("max_staleness_seconds", spec.max_staleness_seconds, 0, MAX_SECONDS)


def _problem(field: str, text: str, check: Callable[[str, int], Any], limit: int) -> Iterator[FieldProblem]:
    if text:
        try:
            check(text, limit)
        except ValueError as error:
            yield FieldProblem(field, str(error))


def _out_of_range(field: str, value: float, low: float, high: float) -> Iterator[FieldProblem]:
    if not (math.isfinite(value) and low <= value <= high):
        yield FieldProblem(field, f"must be from {low:.0f} to {high:.0f}, not {value:.15g}")


def jitter_seconds(spec: ScheduleSpec, schedule_id: str, at: int) -> float:
    """By how much the run of an occurrence starts later: the same whenever it is asked."""
    digest = hashlib.blake2b(f"{schedule_id} {at}".encode(), digest_size=8).digest()
    return spec.jitter_seconds * (int.from_bytes(digest) / (1 << 64))


class Schedule(NamedTuple):
    """How a schedule stands; texts empty and moments None when unset.

    `next_at` is the occurrence to come, found when the clock showed `aimed_at`. `stale_at` is when it becomes
    stale if nothing completes until then.
    """

    project: str
    schedule_id: str
    spec: ScheduleSpec
    created_at: int
    updated_at: int
    source: str = ""
    is_deleted: bool = False
    is_paused: bool = False
    pause_reason: str = ""
    revision: int = 1
    next_at: int | None = None
    aimed_at: int = 0
    active: int = 0
    queued: int = 0
    runs_made: int = 0
    skipped: int = 0
    last_run_id: str = ""
    last_scheduled_for: int | None = None
    last_success_run_id: str = ""
    last_success_at: int | None = None
    has_failed: bool = False
    is_stale: bool = False
    stale_at: int | None = None
    last_event_id: int = 0

    @property
    def health(self) -> Health:
        if self.has_failed:
            return Health.FAILING
        return Health.STALE if self.is_stale else Health.HEALTHY

    @property
    def is_in_force(self) -> bool:
        return not self.is_deleted and not self.is_paused

    @property
    def is_exhausted(self) -> bool:
        """What is queued is going to make runs, too."""
        return 0 < self.spec.max_runs <= self.runs_made + self.queued

    @property
    def etag(self) -> str:
        return str(self.revision)


def created(project: str, schedule_id: str, spec: ScheduleSpec, now: int, source: str = "") -> Schedule:
    """Not aimed yet."""
    return watched(Schedule(project, schedule_id, spec, created_at=now, updated_at=now, source=source), now)


def revised(schedule: Schedule, now: int, **changes: Any) -> Schedule:
    """After a wish of a person: another spec, paused, resumed. What is due next is to be found anew."""
    schedule = schedule._replace(updated_at=now, revision=schedule.revision + 1, **changes)
    return watched(aimed(schedule, None, now), now)


def aimed(schedule: Schedule, next_at: int | None, now: int) -> Schedule:
    return schedule._replace(next_at=next_at if schedule.is_in_force else None, aimed_at=now)


def aim(schedule: Schedule, now: int) -> Schedule:
    """At its first occurrence after now; what has been decided of it already is seen when it is due."""
    follows = None if schedule.is_exhausted else next(schedule.spec.timetable.after(now), None)
    return aimed(schedule, follows.at if follows else None, now)


def watched(schedule: Schedule, since: int) -> Schedule:
    """Its staleness counts from `since`."""
    limit = schedule.spec.max_staleness_seconds
    stale_at = since + round(limit * MICROSECONDS) if limit and schedule.is_in_force else None
    return schedule._replace(is_stale=False, stale_at=stale_at)


def gone_stale(schedule: Schedule) -> Schedule:
    return schedule._replace(is_stale=True, stale_at=None)


def run_began(schedule: Schedule, run: Run) -> Schedule:
    """A run of the schedule was created."""
    return schedule._replace(active=schedule.active + 1, last_run_id=run.run_id)


def run_ended(schedule: Schedule, run: Run, now: int) -> Schedule:
    """A run of the schedule became terminal. A cancelled one says nothing of its health."""
    schedule = schedule._replace(active=schedule.active - 1)
    if run.status is RunStatus.FAILED:
        return schedule._replace(has_failed=True)
    if run.status is RunStatus.COMPLETED:
        schedule = schedule._replace(has_failed=False, last_success_run_id=run.run_id, last_success_at=now)
        return watched(schedule, now)
    return schedule


def fault_of_zone(schedule: Schedule) -> str:
    """Why nothing of it can be due where the machine does not know its zone any more, else empty."""
    if not (zone := schedule.spec.timetable.unknown_zone):
        return ""
    return f"the zone {zone!r} is not known on this machine, so nothing is due; install its tzdata, or choose another"


def coming(schedule: Schedule, count: int) -> tuple[Occurrence, ...]:
    """The next occurrences, as things stand."""
    if schedule.next_at is None or fault_of_zone(schedule):
        return ()
    left = schedule.spec.max_runs - schedule.runs_made - schedule.queued if schedule.spec.max_runs else count
    return tuple(islice(schedule.spec.timetable.after(schedule.next_at - 1), min(count, left)))
