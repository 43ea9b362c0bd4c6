"""When a schedule is due: a cron expression in a time zone, once, or at an interval. Pure.

An occurrence is a moment; a timetable has each at most once, in order, and gives the same ones wherever it is
asked to begin.

What a cron expression means where the clock of its zone is changed is defined in `clock_changes`.
An interval counts real time from its anchor, in both directions, and knows no zone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile
from typing import TypeVar
from zoneinfo import ZoneInfo

from runsd.model import clock_changes, cron_expressions, zones
from runsd.model.times import MICROSECONDS

MIN_INTERVAL_SECONDS = 1
MAX_INTERVAL_SECONDS = 100 * 365 * 86400

# What datetimes can hold in every zone. Beyond, nothing occurs.
EARLIEST = zones.moment_of(datetime(1, 1, 3))
LATEST = zones.moment_of(datetime(9999, 12, 29))
# What can be told of in the contract and in RFC 3339.
_CALENDAR = (zones.moment_of(datetime.min), zones.moment_of(datetime.max))

T = TypeVar("T")
_UTC = ZoneInfo("UTC")
_EXAMPLE = cron_expressions.EXAMPLE


@dataclass(frozen=True, slots=True)
class Occurrence:
    """`at`: microseconds, UTC. `local`: RFC 3339 with the zone's offset. `note`: why it is not as written, if so."""

    at: int
    local: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Cron:
    """`expression` and `timezone` are taken to be checked."""

    expression: str
    timezone: str = "UTC"

    def after(self, moment: int) -> Iterator[Occurrence]:
        zone = ZoneInfo(self.timezone)
        for due in clock_changes.due_after(moment, self.expression, zone):
            yield Occurrence(due.at, zones.local_text(due.at, zone), due.note)


@dataclass(frozen=True, slots=True)
class Once:
    at: int

    def after(self, moment: int) -> Iterator[Occurrence]:
        if moment < self.at < LATEST:
            yield _without_zone(self.at)


@dataclass(frozen=True, slots=True)
class Every:
    """`interval` and `anchor` in microseconds."""

    interval: int
    anchor: int = 0

    def after(self, moment: int) -> Iterator[Occurrence]:
        passed = (moment - self.anchor) // self.interval
        first = self.anchor + (passed + 1) * self.interval
        yield from map(_without_zone, range(first, LATEST, self.interval))


@dataclass(frozen=True, slots=True)
class Timetable:
    """`start_at` is included, `end_at` is not."""

    when: Cron | Once | Every
    start_at: int | None = None
    end_at: int | None = None

    def after(self, moment: int) -> Iterator[Occurrence]:
        """Strictly after, in order, one computed at a time."""
        begin = max(moment, EARLIEST, EARLIEST if self.start_at is None else self.start_at - 1)
        end = LATEST if self.end_at is None else min(self.end_at, LATEST)
        if begin >= end:
            return iter(())
        return takewhile(lambda occurrence: occurrence.at < end, self.when.after(begin))

    @property
    def unknown_zone(self) -> str:
        """The name of its zone where the machine does not know it any more: what is due cannot be found then."""
        if isinstance(self.when, Cron) and not zones.is_known(self.when.timezone):
            return self.when.timezone
        return ""

    def between(self, start: int, end: int, limit: int) -> tuple[Occurrence, ...]:
        """The first `limit` from `start`, included, to `end`, not included."""
        within = takewhile(lambda occurrence: occurrence.at < end, self.after(start - 1))
        return tuple(islice(within, limit))


@dataclass(frozen=True, slots=True)
class FieldProblem:
    field: str
    reason: str


_AT_OUTSIDE = FieldProblem("at", "not within start_at, included, to end_at, not included; leave both out")
# The bounds may be anywhere in the calendar as long as something can be due within them.
_RANGES = {
    "at": (EARLIEST + 1, LATEST - 1),
    "anchor": _CALENDAR,
    "start_at": (_CALENDAR[0], LATEST - 1),
    "end_at": (EARLIEST + 1, _CALENDAR[1]),
}
_NEVER_DUE = FieldProblem("end_at", "nothing is due from start_at on before it; choose a later one, or leave it out")


class InvalidTimetable(ValueError):
    """All that is wrong with a timetable, field by field."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__("\n".join(f"{problem.field}: {problem.reason}" for problem in problems))
        self.problems = problems


def timetable(
    *,
    cron: str | None = None,
    timezone: str | None = None,
    at: int | None = None,
    every: float | None = None,
    anchor: int | None = None,
    start_at: int | None = None,
    end_at: int | None = None,
) -> Timetable:
    """`every` in seconds, moments in microseconds. Raises InvalidTimetable, also where nothing is ever due."""
    given = {"cron": cron, "timezone": timezone, "at": at, "every": every, "anchor": anchor}
    problems = [
        *_combination({name: value for name, value in given.items() if value is not None}),
        *_problem("cron", cron_expressions.checked, cron),
        *_problem("timezone", zones.zone, timezone),
        *_problem("every", _microseconds, every),
        *_out_of_range({"at": at, "anchor": anchor, "start_at": start_at, "end_at": end_at}),
    ]
    if start_at is not None and end_at is not None and end_at <= start_at:
        problems.append(FieldProblem("end_at", "not later than start_at; leave it out for no end"))
    if problems:
        raise InvalidTimetable(*problems)
    found = Timetable(_when(cron, timezone, at, every, anchor), start_at, end_at)
    if next(found.after(EARLIEST), None) is None:
        raise InvalidTimetable(_NEVER_DUE if at is None else _AT_OUTSIDE)
    return found


def _when(
    cron: str | None, timezone: str | None, at: int | None, every: float | None, anchor: int | None
) -> Cron | Once | Every:
    if cron is not None:
        return Cron(cron_expressions.checked(cron), timezone or "UTC")
    if every is not None:
        return Every(_microseconds(every), anchor or 0)
    assert at is not None
    return Once(at)


def _combination(given: Mapping[str, object]) -> Iterator[FieldProblem]:
    """`given` has the fields that are not None."""
    ways = [name for name in ("cron", "at", "every") if name in given]
    if not ways:
        yield FieldProblem("cron", f"missing; give one of cron, at and every, for example cron = {_EXAMPLE!r}")
    for name in ways[1:]:
        yield FieldProblem(name, f"not together with {ways[0]}; give one of cron, at and every")
    for name, way, why in (
        ("timezone", "cron", "at is a moment and every counts real time; leave it out"),
        ("anchor", "every", "it is where an interval counts from; leave it out"),
    ):
        if name in given and way not in ways:
            yield FieldProblem(name, f"goes with {way} only: {why}")


def _problem(field: str, check: Callable[[T], object], value: T | None) -> Iterator[FieldProblem]:
    try:
        if value is not None:
            check(value)
    except ValueError as error:
        yield FieldProblem(field, str(error))


def _out_of_range(moments: Mapping[str, int | None]) -> Iterator[FieldProblem]:
    for field, moment in moments.items():
        low, high = _RANGES[field]
        if moment is not None and not low <= moment <= high:
            yield FieldProblem(field, "out of the range of moments; choose one in a year from 2 to 9998")


def _microseconds(seconds: float) -> int:
    if not (math.isfinite(seconds) and MIN_INTERVAL_SECONDS <= seconds <= MAX_INTERVAL_SECONDS):
        raise ValueError(f"{seconds:.15g} s is no interval; at least 1 s, at most 100 years, for example 90 for 90 s")
    return round(seconds * MICROSECONDS)


def _without_zone(at: int) -> Occurrence:
    return Occurrence(at, zones.local_text(at, _UTC))
