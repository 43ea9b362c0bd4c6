"""Schedules to messages of the contract, and specs of requests to values."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from runsd_client.proto import schedules_pb2

from runsd.api.conversion import problem_message, timestamp
from runsd.api.requests import choices, moment_of
from runsd.model.errors import FieldViolation, InvalidRequest
from runsd.model.occurrences import Skipped
from runsd.model.schedules import CatchUp, ConcurrencyPolicy, Health, Schedule, ScheduleSpec, coming
from runsd.model.targets import Problem
from runsd.model.times import MICROSECONDS
from runsd.model.timetables import Cron, Every, InvalidTimetable, Occurrence, Once, Timetable, timetable

POLICIES = {
    ConcurrencyPolicy.ALLOW: schedules_pb2.CONCURRENCY_POLICY_ALLOW,
    ConcurrencyPolicy.FORBID: schedules_pb2.CONCURRENCY_POLICY_FORBID,
    ConcurrencyPolicy.REPLACE: schedules_pb2.CONCURRENCY_POLICY_REPLACE,
    ConcurrencyPolicy.QUEUE: schedules_pb2.CONCURRENCY_POLICY_QUEUE,
}
CATCH_UPS = {
    CatchUp.NONE: schedules_pb2.CATCH_UP_NONE,
    CatchUp.LATEST: schedules_pb2.CATCH_UP_LATEST,
    CatchUp.ALL: schedules_pb2.CATCH_UP_ALL,
}
HEALTHS = {
    Health.HEALTHY: schedules_pb2.SCHEDULE_HEALTH_HEALTHY,
    Health.STALE: schedules_pb2.SCHEDULE_HEALTH_STALE,
    Health.FAILING: schedules_pb2.SCHEDULE_HEALTH_FAILING,
}
_POLICIES_BY_NUMBER = {0: ConcurrencyPolicy.ALLOW} | {number: policy for policy, number in POLICIES.items()}
_CATCH_UPS_BY_NUMBER = {0: CatchUp.LATEST} | {number: catch_up for catch_up, number in CATCH_UPS.items()}
# A field of a timetable that has another name in the contract.
_NAMES = {"every": "every_seconds"}


def timetable_of(message: schedules_pb2.Timetable, here: str) -> Timetable:
    """`here` is the field that holds it. Raises InvalidRequest."""
    try:
        return timetable(
            cron=message.cron or None,
            timezone=message.timezone or None,
            at=_moment(message, "at", here),
            every=message.every_seconds if message.HasField("every_seconds") else None,
            anchor=_moment(message, "anchor", here),
            start_at=_moment(message, "start_at", here),
            end_at=_moment(message, "end_at", here),
        )
    except InvalidTimetable as error:
        raise InvalidRequest(
            [FieldViolation(f"{here}.{_NAMES.get(p.field, p.field)}", p.reason) for p in error.problems]
        ) from None


def spec_of(message: schedules_pb2.ScheduleSpec) -> ScheduleSpec:
    """What is of the model to check is not checked. Raises InvalidRequest."""
    faults = []
    if message.concurrency_policy not in _POLICIES_BY_NUMBER:
        text = f"{message.concurrency_policy} is no policy; {choices(POLICIES)}"
        faults.append(FieldViolation("spec.concurrency_policy", text))
    if message.catch_up not in _CATCH_UPS_BY_NUMBER:
        text = f"{message.catch_up} is no way to catch up; {choices(CATCH_UPS)}"
        faults.append(FieldViolation("spec.catch_up", text))
    try:
        when = timetable_of(message.timetable, "spec.timetable")
    except InvalidRequest as error:
        raise InvalidRequest([*faults, *error.violations]) from None
    if faults:
        raise InvalidRequest(faults)
    given = {"catch_up_window_seconds": message.catch_up_window_seconds}
    return ScheduleSpec(
        target=message.target,
        timetable=when,
        description=message.description,
        run_name=message.run_name,
        input_json=message.input_json,
        config_json=message.config_json,
        metadata_json=message.metadata_json,
        priority=message.priority,
        timeout_seconds=message.timeout_seconds if message.HasField("timeout_seconds") else None,
        backoff_limit=message.backoff_limit if message.HasField("backoff_limit") else None,
        concurrency_policy=_POLICIES_BY_NUMBER[message.concurrency_policy],
        catch_up=_CATCH_UPS_BY_NUMBER[message.catch_up],
        jitter_seconds=message.jitter_seconds,
        max_runs=message.max_runs,
        max_staleness_seconds=message.max_staleness_seconds,
        **(given if message.HasField("catch_up_window_seconds") else {}),
    )


def _moment(message: schedules_pb2.Timetable, field: str, here: str) -> int | None:
    value: Timestamp = getattr(message, field)
    return moment_of(value, f"{here}.{field}") if message.HasField(field) else None  # type: ignore[arg-type]


def schedule_message(
    schedule: Schedule, problems: Sequence[Problem], count: int, skips: Sequence[Skipped] = ()
) -> schedules_pb2.Schedule:
    """`count`: how many of its next occurrences are told."""
    return schedules_pb2.Schedule(
        project=schedule.project,
        schedule_id=schedule.schedule_id,
        spec=_spec_message(schedule.spec),
        etag=schedule.etag,
        source=schedule.source,
        paused=schedule.is_paused,
        pause_reason=schedule.pause_reason,
        health=HEALTHS[schedule.health],
        created_at=timestamp(schedule.created_at),
        updated_at=timestamp(schedule.updated_at),
        next=map(occurrence_message, coming(schedule, count)),
        last_run_id=schedule.last_run_id,
        last_scheduled_for=timestamp(schedule.last_scheduled_for),
        last_success_run_id=schedule.last_success_run_id,
        last_success_at=timestamp(schedule.last_success_at),
        runs_made=schedule.runs_made,
        active_runs=schedule.active,
        queued=schedule.queued,
        skipped=schedule.skipped,
        skips=map(_skip_message, skips),
        problems=map(problem_message, problems),
    )


def occurrence_message(occurrence: Occurrence) -> schedules_pb2.Occurrence:
    return schedules_pb2.Occurrence(at=timestamp(occurrence.at), local=occurrence.local, note=occurrence.note)


def _skip_message(skipped: Skipped) -> schedules_pb2.SkippedOccurrences:
    return schedules_pb2.SkippedOccurrences(
        first_at=timestamp(skipped.first_at),
        last_at=timestamp(skipped.last_at),
        count=skipped.count,
        is_at_least=skipped.is_at_least,
        reason=skipped.reason,
    )


def _spec_message(spec: ScheduleSpec) -> schedules_pb2.ScheduleSpec:
    return schedules_pb2.ScheduleSpec(
        target=spec.target,
        timetable=_timetable_message(spec.timetable),
        description=spec.description,
        run_name=spec.run_name,
        input_json=spec.input_json,
        config_json=spec.config_json,
        metadata_json=spec.metadata_json,
        priority=spec.priority,
        timeout_seconds=spec.timeout_seconds,
        backoff_limit=spec.backoff_limit,
        concurrency_policy=POLICIES[spec.concurrency_policy],
        catch_up=CATCH_UPS[spec.catch_up],
        catch_up_window_seconds=spec.catch_up_window_seconds,
        jitter_seconds=spec.jitter_seconds,
        max_runs=spec.max_runs,
        max_staleness_seconds=spec.max_staleness_seconds,
    )


def _timetable_message(timetable: Timetable) -> schedules_pb2.Timetable:
    message = schedules_pb2.Timetable(start_at=timestamp(timetable.start_at), end_at=timestamp(timetable.end_at))
    match timetable.when:
        case Cron(expression=expression, timezone=timezone):
            message.cron, message.timezone = expression, timezone
        case Once(at=at):
            message.at.MergeFrom(timestamp(at) or Timestamp())
        case Every(interval=interval, anchor=anchor):
            message.every_seconds = interval / MICROSECONDS
            message.anchor.MergeFrom(timestamp(anchor) or Timestamp())
    return message
