"""Schedules come back from their rows as they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runsd.model.schedules import CatchUp, ConcurrencyPolicy, Schedule, ScheduleSpec
from runsd.model.timetables import Cron, Every, Once, Timetable
from runsd.store.schedule_rows import schedule_from_row, schedule_values, spec_from_text, spec_text

MOMENTS = st.integers(-(2**62), 2**62)
TIMETABLES = st.builds(
    Timetable,
    st.one_of(
        st.builds(Cron, st.text(), st.sampled_from(["UTC", "Europe/Stockholm"])),
        st.builds(Once, MOMENTS),
        st.builds(Every, st.integers(1, 2**62), MOMENTS),
    ),
    st.none() | MOMENTS,
    st.none() | MOMENTS,
)
SPECS = st.builds(
    ScheduleSpec,
    target=st.text(),
    timetable=TIMETABLES,
    input_json=st.text(),
    timeout_seconds=st.none() | st.floats(0, 1e9),
    backoff_limit=st.none() | st.integers(0, 1000),
    concurrency_policy=st.sampled_from(ConcurrencyPolicy),
    catch_up=st.sampled_from(CatchUp),
    catch_up_window_seconds=st.floats(0, 1e7),
    max_runs=st.integers(0, 10**12),
)


@given(SPECS)
def test_spec(spec: ScheduleSpec) -> None:
    assert spec_from_text(spec_text(spec)) == spec


@given(SPECS, st.booleans(), st.booleans(), st.none() | MOMENTS, st.text(), st.integers(0, 2**62))
def test_schedule(spec: ScheduleSpec, paused: bool, stale: bool, at: int | None, text: str, count: int) -> None:
    schedule = Schedule(
        "p", "s", spec, 1, 2, is_paused=paused, is_stale=stale, next_at=at, pause_reason=text, active=count
    )
    assert schedule_from_row(schedule_values(schedule)) == schedule
