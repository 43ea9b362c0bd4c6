"""Schedules, from their tables in `runs.toml` and their decorators, to `DeclaredSchedule`s.

Whatever is wrong stays with the schedule, as problems, all of them at once; nothing here raises for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from runsd.definitions.discovery import ScheduledFunction
from runsd.definitions.origin import Origin, faults_of_id
from runsd.definitions.retries import Duration
from runsd.definitions.schemas import violations
from runsd.model.schedules import (
    DAY_SECONDS,
    MAX_BACKOFF,
    MAX_PRIORITY,
    MAX_RUNS,
    CatchUp,
    ConcurrencyPolicy,
    DeclaredSchedule,
    ScheduleSpec,
    problems_of,
)
from runsd.model.tables import Range, decode, nearest
from runsd.model.targets import Definition, Problem, Schema, Target
from runsd.model.timetables import InvalidTimetable, Once, Timetable, timetable
from runsd.sdk.documents import NotJson, dumps

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SHOWN = 60
_MOMENTS = ("at", "anchor", "start_at", "end_at")
_DOCUMENTS = ("input", "config", "metadata")
# Keys that the model has under other names.
_KEYS = {
    "input_json": "input",
    "config_json": "config",
    "metadata_json": "metadata",
    "run_name": "name",
    "catch_up_window_seconds": "catch_up_window",
    "jitter_seconds": "jitter",
}
# Sound values in place of those that were found wrong already, so that the others are checked.
_IN_PLACE: dict[str, Any] = {
    "cron": "* * * * *",
    "timezone": "UTC",
    "at": 0,
    "every": 60.0,
    "anchor": 0,
    "start_at": None,
    "end_at": None,
}


class _RFC3339:
    @staticmethod
    def parse(text: str) -> int:
        """Microseconds since 1970."""
        shown = text[:_MAX_SHOWN]
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            example = "2027-03-01T09:00:00+01:00, or 2027-03-01T08:00:00Z in UTC"
            raise ValueError(f"{shown!r} is no moment; write it as in {example}") from None
        if moment.tzinfo is None:
            local = moment.isoformat()
            raise ValueError(
                f"{shown} has no offset from UTC; write {local}Z for UTC, or an offset as in {local}+01:00"
            )
        return (moment - _EPOCH) // timedelta(microseconds=1)


if TYPE_CHECKING:
    Moment = int
else:
    Moment = _RFC3339


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """`[schedules."<id>"]`, and the options of the decorator."""

    target: str = ""
    cron: str | None = None
    timezone: str | None = None
    at: Moment | None = None
    every: Duration | None = None
    anchor: Moment | None = None
    start_at: Moment | None = None
    end_at: Moment | None = None
    max_runs: Annotated[int, Range(0, MAX_RUNS)] = 0
    jitter: Duration = 0.0
    name: str = ""
    description: str = ""
    input: Any = None
    config: Any = None
    metadata: Any = None
    priority: Annotated[int, Range(-MAX_PRIORITY, MAX_PRIORITY)] = 0
    timeout_seconds: Duration | None = None
    backoff_limit: Annotated[int, Range(0, MAX_BACKOFF)] | None = None
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window: Duration = DAY_SECONDS
    max_staleness_seconds: Duration = 0.0


@dataclass(frozen=True, slots=True)
class Targets:
    """What schedules may execute. Unless all modules could be read, there may be more."""

    definitions: Mapping[str, Definition]
    are_all_known: bool


def load_schedules(
    file: Path, tables: Mapping[str, object], functions: Iterable[ScheduledFunction], targets: Targets
) -> Mapping[str, DeclaredSchedule]:
    """By id. `tables` are those of `file`, which is in the project's directory."""
    found: dict[str, DeclaredSchedule] = {}
    for id, raw in tables.items():
        origin = Origin(file.parent, str(file), file.name, f'schedules."{id}"')
        found[id] = _from_table(id, raw, origin, targets)
    for function in functions:
        schedule, origin = _from_decorator(function, file.parent, targets)
        earlier = found.get(schedule.id)
        found[schedule.id] = schedule if earlier is None else _declared_twice(earlier, function, origin)
    return dict(sorted(found.items()))


def _from_table(id: str, raw: object, origin: Origin, targets: Targets) -> DeclaredSchedule:
    if isinstance(raw, Mapping):
        return _Reading(origin, raw, {}, "write task:<id> or workflow:<id>").schedule(id, targets)
    problem = origin.problem("", "expected a table with target, and with cron, at or every")
    return DeclaredSchedule(id, None, origin.source, (problem,))


def _from_decorator(function: ScheduledFunction, directory: Path, targets: Targets) -> tuple[DeclaredSchedule, Origin]:
    options = dict(function.options)
    if len(function.targets) == 1 and "target" not in function.faults:
        options.setdefault("target", function.targets[0])
    of_target = str(options.get("target", "")).partition(":")[2]
    id = function.id if function.id is not None else of_target or function.qualname.replace("_", "-")
    origin = Origin(directory, function.file or function.module, function.module, f'@schedule("{id}")')
    return _Reading(origin, options, function.faults, _which_target(function)).schedule(id, targets), origin


def _which_target(function: ScheduledFunction) -> str:
    name = f"{function.module}:{function.qualname}"
    if function.targets:
        return f"{name} is {' and '.join(function.targets)}; say which, as in target={function.targets[0]!r}"
    return f"{name} is no task or workflow; add @task or @workflow, or say target='task:<id>'"


def _declared_twice(earlier: DeclaredSchedule, function: ScheduledFunction, origin: Origin) -> DeclaredSchedule:
    name = f"{function.module}:{function.qualname}"
    message = f"{name} declares the id a second time, after {earlier.source}; give one of them another"
    return replace(earlier, spec=None, problems=(*earlier.problems, origin.problem("", message)))


@dataclass(slots=True)
class _Reading:
    """One schedule while it is read, and what is wrong with it so far.

    `faults` are options that are no JSON, with the reason; `no_target` is what to do where none is given.
    """

    origin: Origin
    raw: Mapping[str, object]
    faults: Mapping[str, str]
    no_target: str
    problems: list[Problem] = field(default_factory=list)

    def schedule(self, id: str, targets: Targets) -> DeclaredSchedule:
        for key, fault in self.faults.items():
            self.problem(key, f"is not JSON: {fault}")
        texts = {key: _text_of_moment(value) if key in _MOMENTS else value for key, value in self.raw.items()}
        decoded = decode(ScheduleOptions, texts, file=self.origin.file, key=self.origin.key)
        options = decoded.value or ScheduleOptions()
        self.problems += [*decoded.problems, *faults_of_id(id, self.origin)]
        spec = _spec(options, self.timetable(options), {key: self.json(key, options) for key in _DOCUMENTS})
        self.check(spec)
        self.check_target(spec, options, targets)
        return DeclaredSchedule(id, None if self.problems else spec, self.origin.source, tuple(self.problems))

    def problem(self, key: str, message: str) -> None:
        self.problems.append(self.origin.problem(key, message))

    def is_given(self, key: str) -> bool:
        return key in self.raw or key in self.faults

    def timetable(self, options: ScheduleOptions) -> Timetable:
        """Any one where there are problems."""
        values = {key: getattr(options, key) for key in _IN_PLACE}
        wrong = {key: value for key, value in _IN_PLACE.items() if values[key] is None and self.is_given(key)}
        try:
            return timetable(**values | wrong)
        except InvalidTimetable as error:
            for one in error.problems:
                if one.field not in wrong:
                    self.problem(one.field, one.reason)
            return Timetable(Once(0))

    def json(self, key: str, options: ScheduleOptions) -> str:
        value = getattr(options, key)
        try:
            return "" if value is None else dumps(value)
        except NotJson as error:
            self.problem(key, f"{error}; put dates, times, inf and nan in quotes")
            return ""

    def check(self, spec: ScheduleSpec) -> None:
        for one in problems_of(spec):
            key = _KEYS.get(one.field, one.field)
            if one.field != "target":
                self.problem(key, one.reason)
            elif not self.is_given(key):
                self.problem(key, f"missing; {self.no_target}")
            elif isinstance(self.raw.get(key), str):
                self.problem(key, one.reason)

    def check_target(self, spec: ScheduleSpec, options: ScheduleOptions, targets: Targets) -> None:
        definition = targets.definitions.get(spec.target)
        if definition is not None:
            self.check_document("input", options, definition.input_schema)
            self.check_document("config", options, definition.config_schema)
        elif targets.are_all_known and _is_target(spec.target):
            near = nearest(spec.target, targets.definitions, "targets")
            self.problem("target", f"the project has no {spec.target}; {near}")

    def check_document(self, key: str, options: ScheduleOptions, schema: Schema | None) -> None:
        """None is held against a schema as null, as that of a run is."""
        is_sound = not any(one.key == self.origin.problem(key, "").key for one in self.problems)
        if schema is not None and is_sound:
            for violation in violations(schema, getattr(options, key), key):
                self.problem(key, violation.description)


def _text_of_moment(value: object) -> str:
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def _is_target(text: str) -> bool:
    try:
        Target.parse(text)
    except ValueError:
        return False
    return True


def _spec(options: ScheduleOptions, times: Timetable, documents: Mapping[str, str]) -> ScheduleSpec:
    return ScheduleSpec(
        target=options.target,
        timetable=times,
        description=options.description,
        run_name=options.name,
        input_json=documents["input"],
        config_json=documents["config"],
        metadata_json=documents["metadata"],
        priority=options.priority,
        timeout_seconds=options.timeout_seconds,
        backoff_limit=options.backoff_limit,
        concurrency_policy=options.concurrency_policy,
        catch_up=options.catch_up,
        catch_up_window_seconds=options.catch_up_window,
        jitter_seconds=options.jitter,
        max_runs=options.max_runs,
        max_staleness_seconds=options.max_staleness_seconds,
    )
