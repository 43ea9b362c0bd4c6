"""What becomes of the occurrences of a schedule that are due. Pure.

Each makes at most one run (invariant 10). Which of those that were missed make none is decided here; what becomes of
one while earlier runs have not ended is the concurrency policy's, in the transaction that knows of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runsd.model.schedules import CatchUp, ScheduleSpec
from runsd.model.times import MICROSECONDS
from runsd.model.timetables import Every, Once

# Cron expressions have to be walked through to be counted.
MAX_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Skipped:
    """Occurrences in a row that make no run; `count` is a lower bound where `is_at_least`."""

    first_at: int
    last_at: int
    count: int
    reason: str
    is_at_least: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of what is due. `due` are the occurrences that shall make runs, in order."""

    due: tuple[int, ...] = ()
    skipped: Skipped | None = None
    next_at: int | None = None


_WHY_SKIPPED = {
    CatchUp.NONE: "missed, and catch_up is none",
    CatchUp.LATEST: "missed, and catch_up is latest",
    CatchUp.ALL: "missed, and older than catch_up_window",
}


def plan(spec: ScheduleSpec, next_at: int, now: int, missed_before: int, most: int) -> Plan:
    """Of the occurrences from `next_at` to `now`, looking at up to `most`; `next_at` of the plan may be due already.

    Those before `missed_before` came while nobody looked at the clock.
    """
    window = round(spec.catch_up_window_seconds * MICROSECONDS)
    kept_from = missed_before if spec.catch_up is CatchUp.NONE else min(missed_before, now - window)
    looked_at = spec.timetable.between(max(next_at, kept_from), now + 1, most + 1)
    due, left_out = _chosen(spec, [occurrence.at for occurrence in looked_at], missed_before, most)
    old = _counted(spec, next_at, min(kept_from, now + 1))
    follows = looked_at[most] if len(looked_at) > most else next(spec.timetable.after(now), None)
    return Plan(tuple(due), _joined(spec, old, left_out), follows.at if follows else None)


def _chosen(spec: ScheduleSpec, moments: list[int], missed_before: int, most: int) -> tuple[list[int], list[int]]:
    """Which of the first `most` make runs, and which do not."""
    if spec.catch_up is not CatchUp.LATEST:
        return moments[:most], []
    due = [at for at in moments[:most] if at >= missed_before or at == moments[-1]]
    return due, [at for at in moments[:most] if at < missed_before and at != moments[-1]]


def _counted(spec: ScheduleSpec, start: int, end: int) -> Skipped | None:
    """Occurrences from `start`, included, to `end`, not included."""
    timetable, reason = spec.timetable, _WHY_SKIPPED[spec.catch_up]
    first = next(iter(timetable.between(start, end, 1)), None)
    if first is None:
        return None
    match timetable.when:
        case Once():
            return Skipped(first.at, first.at, 1, reason)
        case Every(interval=interval):
            last = min(end, timetable.end_at or end) - 1
            more = (last - first.at) // interval
            return Skipped(first.at, first.at + more * interval, more + 1, reason)
    found = timetable.between(start, end, MAX_COUNTED + 1)
    return Skipped(first.at, found[-1].at, min(len(found), MAX_COUNTED), reason, len(found) > MAX_COUNTED)


def _joined(spec: ScheduleSpec, old: Skipped | None, further: list[int]) -> Skipped | None:
    if not further:
        return old
    if old is None:
        return Skipped(further[0], further[-1], len(further), _WHY_SKIPPED[spec.catch_up])
    return replace(old, last_at=further[-1], count=old.count + len(further))
