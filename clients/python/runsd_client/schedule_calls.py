"""The calls of the Schedules service as values, as `calls` has those of runs.

Safe to make again, too: create with an equal spec and backfill by nature, trigger by its key, update by the
etag and `is_taken`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message

from runsd_client import requests, schedule_requests
from runsd_client import schedule_conversion as conversion
from runsd_client.calls import Call
from runsd_client.conversion import read_create_answer
from runsd_client.proto import schedules_pb2
from runsd_client.schedule_requests import ScheduleChanges, ScheduleOptions, TimetableOptions
from runsd_client.schedule_values import BackfilledRun, CreateScheduleAnswer, Occurrence, Schedule
from runsd_client.values import CreateAnswer, Page

T = TypeVar("T")
M = TypeVar("M", bound=Message)


def create(
    project: str, schedule_id: str, target: str, paused: bool, options: ScheduleOptions
) -> Call[CreateScheduleAnswer]:
    spec = schedule_requests.new_spec(target, options)
    request = schedules_pb2.CreateScheduleRequest(paused=paused, spec=spec)
    return _call("CreateSchedule", _named(request, project, schedule_id), conversion.read_create_schedule_answer)


def get(project: str, schedule_id: str) -> Call[Schedule]:
    return _call("GetSchedule", _named(schedules_pb2.GetScheduleRequest(), project, schedule_id), _read_schedule)


def read(project: str, schedule_id: str) -> Call[schedules_pb2.Schedule]:
    """The message itself, to be sent back with changes: a document goes back byte for byte."""
    request = _named(schedules_pb2.GetScheduleRequest(), project, schedule_id)
    return _call("GetSchedule", request, lambda answer: answer.schedule)


def list_schedules(project: str, limit: int, page_token: str) -> Call[Page[Schedule]]:
    values = {"project": project, "limit": limit, "page_token": page_token}
    request = requests.fill(schedules_pb2.ListSchedulesRequest(), values)
    return _call("ListSchedules", request, conversion.read_schedule_page)


def update(project: str, current: schedules_pb2.Schedule, changes: ScheduleChanges, etag: str) -> Call[Schedule]:
    """Of a schedule that was just read; `etag` is that of `current` unless given."""
    spec = schedule_requests.changed_spec(current.spec, changes)
    request = schedules_pb2.UpdateScheduleRequest(spec=spec)
    requests.fill(request, {"etag": etag or current.etag})
    return _call("UpdateSchedule", _named(request, project, current.schedule_id), _read_schedule)


def is_taken(call: Call[Schedule], current: schedules_pb2.Schedule) -> bool:
    """Whether the update was done: one whose answer was lost is refused when it is made again."""
    assert isinstance(call.request, schedules_pb2.UpdateScheduleRequest)
    wanted, there = (schedule_requests.with_defaults(spec) for spec in (call.request.spec, current.spec))
    return wanted == there


def pause(project: str, schedule_id: str, reason: str) -> Call[Schedule]:
    request = requests.fill(schedules_pb2.PauseScheduleRequest(), {"reason": reason})
    return _call("PauseSchedule", _named(request, project, schedule_id), _read_schedule)


def resume(project: str, schedule_id: str) -> Call[Schedule]:
    return _call("ResumeSchedule", _named(schedules_pb2.ResumeScheduleRequest(), project, schedule_id), _read_schedule)


def delete(project: str, schedule_id: str, etag: str) -> Call[Schedule]:
    request = requests.fill(schedules_pb2.DeleteScheduleRequest(), {"etag": etag})
    return _call("DeleteSchedule", _named(request, project, schedule_id), _read_schedule)


def trigger(project: str, schedule_id: str, run_name: str, idempotency_key: str) -> Call[CreateAnswer]:
    values = {"run_name": run_name, "idempotency_key": idempotency_key or requests.new_key()}
    request = requests.fill(schedules_pb2.TriggerScheduleRequest(), values)
    return _call("TriggerSchedule", _named(request, project, schedule_id), read_create_answer)


def preview(
    project: str, schedule_id: str, after: datetime | None, count: int, options: TimetableOptions
) -> Call[tuple[Occurrence, ...]]:
    """Of a schedule by its id, else of the timetable that `options` describe."""
    if schedule_id and options:
        raise requests.invalid("schedule_id", f"not together with {min(options)}; give a schedule or a timetable")
    request = schedules_pb2.PreviewScheduleRequest()
    requests.fill(request, {"project": project, "after": after, "count": count})
    if schedule_id:
        requests.fill(request, {"schedule_id": schedule_id})
    else:
        request.timetable.CopyFrom(schedule_requests.timetable(options))
    return _call("PreviewSchedule", request, lambda answer: tuple(map(conversion.read_occurrence, answer.data)))


def backfill(project: str, schedule_id: str, start: datetime, end: datetime) -> Call[tuple[BackfilledRun, ...]]:
    values = {"due_from": start, "due_before": end}
    request = _named(requests.fill(schedules_pb2.BackfillScheduleRequest(), values), project, schedule_id)
    return _call("BackfillSchedule", request, lambda answer: tuple(map(conversion.read_backfilled, answer.data)))


def _read_schedule(answer: Any) -> Schedule:
    return conversion.read_schedule(answer.schedule)


def _named(request: M, project: str, schedule_id: str) -> M:
    return requests.fill(request, {"project": project, "schedule_id": schedule_id})


def _call(method: str, request: Message, read: Callable[[Any], T]) -> Call[T]:
    return Call(method, request, read, "schedules")
