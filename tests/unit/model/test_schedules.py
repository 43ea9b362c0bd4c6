"""What becomes of the occurrences that are due, and how a schedule's health follows from its runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.model.occurrences import MAX_COUNTED, Plan, plan
from runsd.model.run import Run, RunStatus
from runsd.model.schedules import (
    CatchUp,
    Health,
    Schedule,
    ScheduleSpec,
    aim,
    coming,
    created,
    gone_stale,
    jitter_seconds,
    problems_of,
    revised,
    run_began,
    run_ended,
)
from runsd.model.targets import RunKind
from runsd.model.timetables import Cron, Every, Once, Timetable

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOW = 1_800_000_000 * SECOND
WHENS = st.one_of(
    st.sampled_from([Cron("*/5 * * * *"), Cron("17 * * * *", "Australia/Lord_Howe")]),
    st.builds(Every, st.integers(30, 3000).map(lambda seconds: seconds * SECOND), st.just(NOW)),
    st.builds(Once, st.integers(-5000, 10).map(lambda seconds: NOW + seconds * SECOND)),
)
AGES = st.integers(0, 10_000).map(lambda seconds: seconds * SECOND)


def to_the_end(spec: ScheduleSpec, next_at: int | None, missed_before: int, most: int) -> list[Plan]:
    """Plans as the ticker makes them, until nothing is due."""
    plans: list[Plan] = []
    while next_at is not None and next_at <= NOW:
        plans.append(plan(spec, next_at, NOW, missed_before, most))
        assert plans[-1].next_at is None or plans[-1].next_at > next_at, "it goes on"
        next_at = plans[-1].next_at
    return plans


def expected(spec: ScheduleSpec, occurrences: list[int], missed_before: int) -> list[int]:
    kept_from = NOW - round(spec.catch_up_window_seconds * SECOND)
    match spec.catch_up:
        case CatchUp.NONE:
            return [at for at in occurrences if at >= missed_before]
        case CatchUp.ALL:
            return [at for at in occurrences if at >= min(missed_before, kept_from)]
    latest = [at for at in occurrences[-1:] if at >= kept_from]
    return sorted({*latest, *(at for at in occurrences if at >= missed_before)})


@given(WHENS, st.sampled_from(CatchUp), AGES, AGES, AGES, st.integers(1, 50))
def test_every_occurrence_makes_a_run_or_is_skipped(
    when: Cron | Every | Once, catch_up: CatchUp, window: int, begun: int, missed: int, most: int
) -> None:
    spec = ScheduleSpec("task:t", Timetable(when), catch_up=catch_up, catch_up_window_seconds=window / SECOND)
    occurrences = [o.at for o in spec.timetable.between(NOW - begun, NOW + 1, 100_000)]
    if not occurrences:
        return
    plans = to_the_end(spec, occurrences[0], NOW - missed, most)
    due = [at for one in plans for at in one.due]
    assert due == expected(spec, occurrences, NOW - missed)
    skips = [one.skipped for one in plans if one.skipped is not None]
    assert sum(skip.count for skip in skips) == len(occurrences) - len(due)
    assert all(skip.first_at in occurrences and skip.last_at in occurrences for skip in skips)
    follows = next(spec.timetable.after(NOW), None)
    assert plans[-1].next_at == (follows.at if follows else None)


def test_what_was_missed_in_ages_is_not_counted_one_by_one() -> None:
    spec = ScheduleSpec("task:t", Timetable(Every(SECOND, NOW)), catch_up=CatchUp.NONE)
    found = plan(spec, NOW - 10**9 * SECOND, NOW, NOW, 10)
    assert found.skipped is not None and (found.skipped.count, found.skipped.is_at_least) == (10**9, False)
    spec = replace(spec, timetable=Timetable(Cron("* * * * *")))
    found = plan(spec, NOW - 10**6 * MINUTE, NOW, NOW, 10)
    assert found.skipped is not None and (found.skipped.count, found.skipped.is_at_least) == (MAX_COUNTED, True)
    assert found.due == (NOW,)


def test_jitter_is_the_same_whenever_it_is_asked() -> None:
    spec = ScheduleSpec("task:t", Timetable(Once(NOW)), jitter_seconds=60)
    found = [jitter_seconds(spec, "nightly", NOW + n * MINUTE) for n in range(200)]
    assert found == [jitter_seconds(spec, "nightly", NOW + n * MINUTE) for n in range(200)]
    assert all(0 <= seconds < 60 for seconds in found) and max(found) - min(found) > 50
    assert found[0] != jitter_seconds(spec, "another", NOW)


SPEC = ScheduleSpec("task:t", Timetable(Every(MINUTE)), max_staleness_seconds=600)
RUN = Run("r", "p", RunKind.TASK, "task:t", RunStatus.PENDING, NOW, NOW, "r")


def ended(schedule: Schedule, status: RunStatus, at: int) -> Schedule:
    return run_ended(run_began(schedule, RUN), RUN._replace(status=status), at)


def test_health() -> None:
    schedule = created("p", "s", SPEC, NOW)
    assert (schedule.health, schedule.stale_at) == (Health.HEALTHY, NOW + 600 * SECOND)
    schedule = gone_stale(schedule)
    assert (schedule.health, schedule.stale_at) == (Health.STALE, None)
    schedule = ended(schedule, RunStatus.FAILED, NOW + 1)
    assert schedule.health is Health.FAILING
    assert ended(schedule, RunStatus.CANCELLED, NOW + 2).health is Health.FAILING, "it says nothing"
    schedule = ended(schedule, RunStatus.COMPLETED, NOW + 3)
    assert (schedule.health, schedule.stale_at, schedule.last_success_run_id) == (
        Health.HEALTHY, NOW + 3 + 600 * SECOND, "r",
    )  # fmt: skip
    assert schedule.active == 0


def test_paused_is_not_due_and_does_not_become_stale() -> None:
    schedule = aim(revised(created("p", "s", SPEC, NOW), NOW + 5, is_paused=True), NOW + 5)
    assert (schedule.next_at, schedule.stale_at, coming(schedule, 5)) == (None, None, ())
    schedule = aim(revised(schedule, NOW + 7, is_paused=False), NOW + 7)
    assert (schedule.next_at, schedule.stale_at) == (NOW + MINUTE, NOW + 7 + 600 * SECOND)
    assert schedule.revision == 3


def test_no_more_is_coming_than_may_be_made() -> None:
    spec = replace(SPEC, max_runs=3)
    schedule = aim(created("p", "s", spec, NOW), NOW)._replace(runs_made=1)
    assert [o.at for o in coming(schedule, 5)] == [NOW + MINUTE, NOW + 2 * MINUTE]
    assert aim(schedule._replace(runs_made=3), NOW).next_at is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", "nightly"),
        ("description", "x" * 1001),
        ("run_name", "x" * 201),
        ("input_json", "{"),
        ("config_json", '"' + "x" * (256 << 10) + '"'),
        ("metadata_json", "[]"),
        ("priority", 1001),
        ("timeout_seconds", -1.0),
        ("timeout_seconds", float("nan")),
        ("backoff_limit", 1001),
        ("catch_up_window_seconds", 400 * 86400.0),
        ("jitter_seconds", 86401.0),
        ("max_runs", -1),
        ("max_staleness_seconds", float("inf")),
    ],
)
def test_each_fault_is_named(field: str, value: object) -> None:
    assert [problem.field for problem in problems_of(replace(SPEC, **{field: value}))] == [field]  # type: ignore[arg-type]
