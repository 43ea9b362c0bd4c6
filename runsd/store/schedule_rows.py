"""Rows of schedules to values of the model, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Any

from runsd.model.events import compact
from runsd.model.occurrences import Skipped
from runsd.model.schedules import CatchUp, ConcurrencyPolicy, Schedule, ScheduleSpec
from runsd.model.timetables import Cron, Every, Once, Timetable
from runsd.store.rows import Row

# In the order of the fields of a Schedule, which has the spec where the row has its text.
SCHEDULE_COLUMNS = tuple("spec_json" if name == "spec" else name for name in Schedule._fields)
_SPEC = Schedule._fields.index("spec")
_FLAGS = tuple(map(Schedule._fields.index, ("is_deleted", "is_paused", "has_failed", "is_stale")))
# Those that change of a schedule that keeps its spec; `created_at` when it comes back after it was deleted.
_KEPT = ("project", "schedule_id", "spec_json")
STATE_COLUMNS = tuple(name for name in SCHEDULE_COLUMNS if name not in _KEPT)
_STATE = attrgetter(*STATE_COLUMNS)
# Longer ones are read anew each time, so that documents are not kept in memory.
_MAX_KEPT = 2048


def schedule_from_row(row: Row) -> Schedule:
    """In the order of SCHEDULE_COLUMNS."""
    values = list(row)
    text = values[_SPEC]
    values[_SPEC] = _spec_of_short(text) if len(text) <= _MAX_KEPT else spec_from_text(text)
    for place in _FLAGS:
        values[place] = bool(values[place])
    return Schedule(*values)


def schedule_values(schedule: Schedule) -> tuple[Any, ...]:
    """In the order of SCHEDULE_COLUMNS."""
    return (*schedule[:_SPEC], spec_text(schedule.spec), *schedule[_SPEC + 1 :])


def state_values(schedule: Schedule) -> tuple[Any, ...]:
    """In the order of STATE_COLUMNS."""
    values: tuple[Any, ...] = _STATE(schedule)
    return values


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


@lru_cache(maxsize=512)
def _spec_of_short(text: str) -> ScheduleSpec:
    """Specs are values, and thousands of schedules may have the same."""
    return spec_from_text(text)


def _timetable(timetable: Timetable) -> dict[str, Any]:
    bounds = {"start_at": timetable.start_at, "end_at": timetable.end_at}
    when = timetable.when
    return {f.name: getattr(when, f.name) for f in fields(when)} | {k: v for k, v in bounds.items() if v is not None}


def _timetable_from(given: Mapping[str, Any]) -> Timetable:
    when = {key: value for key, value in given.items() if key not in ("start_at", "end_at")}
    kind = Cron if "expression" in when else Once if "at" in when else Every
    return Timetable(kind(**when), given.get("start_at"), given.get("end_at"))
