"""Rows of schedules to values of the model, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from runsd.model.events import compact
from runsd.model.occurrences import Skipped
from runsd.model.schedules import CatchUp, ConcurrencyPolicy, Schedule, ScheduleSpec
from runsd.model.timetables import Cron, Every, Once, Timetable
from runsd.store.rows import Row

# The columns that say which schedule it is; the others are all that changes, in the order of `schedule_values`.
_NAMES = ("project", "schedule_id", "spec_json", "created_at", "updated_at")
_STATE = tuple(field.name for field in fields(Schedule) if field.name not in ("spec", *_NAMES))
SCHEDULE_COLUMNS = (*_NAMES, *_STATE)
_FLAGS = ("is_deleted", "is_paused", "has_failed", "is_stale")


def schedule_from_row(row: Row) -> Schedule:
    """In the order of SCHEDULE_COLUMNS."""
    project, schedule_id, spec_json, created_at, updated_at, *state = row
    named = dict(zip(_STATE, state, strict=True))
    named |= {flag: bool(named[flag]) for flag in _FLAGS}
    return Schedule(project, schedule_id, spec_from_text(spec_json), created_at, updated_at, **named)


def schedule_values(schedule: Schedule) -> tuple[Any, ...]:
    """In the order of SCHEDULE_COLUMNS."""
    state = (getattr(schedule, name) for name in _STATE)
    spec_json = spec_text(schedule.spec)
    return (schedule.project, schedule.schedule_id, spec_json, schedule.created_at, schedule.updated_at, *state)


def skipped_from_row(row: Row) -> Skipped:
    first_at, last_at, count, is_at_least, reason = row
    return Skipped(first_at, last_at, count, reason, bool(is_at_least))


SKIP_COLUMNS = "first_at, last_at, count, is_at_least, reason"


def spec_text(spec: ScheduleSpec) -> str:
    """JSON with the members that are not as they are unless set."""
    plain = {f.name: getattr(spec, f.name) for f in fields(spec) if f.name not in ("target", "timetable")}
    given = {f.name: plain[f.name] for f in fields(spec) if f.name in plain and plain[f.name] != f.default}
    for name in ("concurrency_policy", "catch_up"):
        if name in given:
            given[name] = given[name].value
    return compact({"target": spec.target, "timetable": _timetable(spec.timetable), **given})


def spec_from_text(text: str) -> ScheduleSpec:
    given: dict[str, Any] = json.loads(text)
    given["timetable"] = _timetable_from(given["timetable"])
    if "concurrency_policy" in given:
        given["concurrency_policy"] = ConcurrencyPolicy(given["concurrency_policy"])
    if "catch_up" in given:
        given["catch_up"] = CatchUp(given["catch_up"])
    return ScheduleSpec(**given)


def _timetable(timetable: Timetable) -> dict[str, Any]:
    bounds = {"start_at": timetable.start_at, "end_at": timetable.end_at}
    when = timetable.when
    return {f.name: getattr(when, f.name) for f in fields(when)} | {k: v for k, v in bounds.items() if v is not None}


def _timetable_from(given: Mapping[str, Any]) -> Timetable:
    when = {key: value for key, value in given.items() if key not in ("start_at", "end_at")}
    kind = Cron if "expression" in when else Once if "at" in when else Every
    return Timetable(kind(**when), given.get("start_at"), given.get("end_at"))
