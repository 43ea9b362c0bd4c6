"""From the messages of schedules to values, as `conversion` does for runs."""

from __future__ import annotations

from datetime import UTC

from runsd_client.conversion import read_page_info, read_problem, read_time
from runsd_client.documents import read_document
from runsd_client.proto import schedules_pb2
from runsd_client.schedule_values import (
    BackfilledRun,
    CatchUp,
    ConcurrencyPolicy,
    CreateScheduleAnswer,
    Occurrence,
    Schedule,
    ScheduleHealth,
    ScheduleSpec,
    SkippedOccurrences,
)
from runsd_client.values import Page

POLICY_NUMBERS = {p: schedules_pb2.ConcurrencyPolicy.Value(f"CONCURRENCY_POLICY_{p.name}") for p in ConcurrencyPolicy}
CATCH_UP_NUMBERS = {c: schedules_pb2.CatchUp.Value(f"CATCH_UP_{c.name}") for c in CatchUp}
HEALTH_NUMBERS = {h: schedules_pb2.ScheduleHealth.Value(f"SCHEDULE_HEALTH_{h.name}") for h in ScheduleHealth}

_POLICIES = {number: policy for policy, number in POLICY_NUMBERS.items()}
_CATCH_UPS = {number: catch_up for catch_up, number in CATCH_UP_NUMBERS.items()}
_HEALTHS = {number: health for health, number in HEALTH_NUMBERS.items()}


def read_schedule(message: schedules_pb2.Schedule) -> Schedule:
    return Schedule(
        project=message.project,
        schedule_id=message.schedule_id,
        spec=read_spec(message.spec),
        etag=message.etag,
        source=message.source,
        paused=message.paused,
        pause_reason=message.pause_reason,
        health=_HEALTHS.get(message.health, ScheduleHealth.UNSPECIFIED),
        created_at=read_time(message, "created_at"),
        updated_at=read_time(message, "updated_at"),
        next=tuple(map(read_occurrence, message.next)),
        last_run_id=message.last_run_id,
        last_scheduled_for=read_time(message, "last_scheduled_for"),
        last_success_run_id=message.last_success_run_id,
        last_success_at=read_time(message, "last_success_at"),
        runs_made=message.runs_made,
        active_runs=message.active_runs,
        queued=message.queued,
        skipped=message.skipped,
        skips=tuple(map(_read_skipped, message.skips)),
        problems=tuple(map(read_problem, message.problems)),
    )


def read_spec(message: schedules_pb2.ScheduleSpec) -> ScheduleSpec:
    times = message.timetable
    window = message.catch_up_window_seconds if message.HasField("catch_up_window_seconds") else None
    return ScheduleSpec(
        target=message.target,
        cron=times.cron,
        timezone=times.timezone,
        at=read_time(times, "at"),
        every_seconds=times.every_seconds if times.HasField("every_seconds") else None,
        anchor=read_time(times, "anchor"),
        start_at=read_time(times, "start_at"),
        end_at=read_time(times, "end_at"),
        description=message.description,
        run_name=message.run_name,
        input=read_document(message.input_json),
        config=read_document(message.config_json),
        metadata=read_document(message.metadata_json) or {},
        priority=message.priority,
        timeout_seconds=message.timeout_seconds if message.HasField("timeout_seconds") else None,
        backoff_limit=message.backoff_limit if message.HasField("backoff_limit") else None,
        concurrency_policy=_POLICIES.get(message.concurrency_policy, ConcurrencyPolicy.UNSPECIFIED),
        catch_up=_CATCH_UPS.get(message.catch_up, CatchUp.UNSPECIFIED),
        catch_up_window_seconds=window,
        jitter_seconds=message.jitter_seconds,
        max_runs=message.max_runs,
        max_staleness_seconds=message.max_staleness_seconds,
    )


def read_occurrence(message: schedules_pb2.Occurrence) -> Occurrence:
    return Occurrence(message.at.ToDatetime(tzinfo=UTC), message.local, message.note)


def _read_skipped(message: schedules_pb2.SkippedOccurrences) -> SkippedOccurrences:
    return SkippedOccurrences(
        first_at=message.first_at.ToDatetime(tzinfo=UTC),
        last_at=message.last_at.ToDatetime(tzinfo=UTC),
        count=message.count,
        is_at_least=message.is_at_least,
        reason=message.reason,
    )


def read_create_schedule_answer(message: schedules_pb2.CreateScheduleResponse) -> CreateScheduleAnswer:
    return CreateScheduleAnswer(message.duplicate, read_schedule(message.schedule))


def read_schedule_page(message: schedules_pb2.ListSchedulesResponse) -> Page[Schedule]:
    return Page(tuple(map(read_schedule, message.data)), read_page_info(message.page_info))


def read_backfilled(message: schedules_pb2.BackfilledRun) -> BackfilledRun:
    return BackfilledRun(message.scheduled_for.ToDatetime(tzinfo=UTC), message.run_id, message.duplicate)
