"""The Schedules service."""

from __future__ import annotations

from runsd_client.proto import run_pb2, schedules_pb2, schedules_pb2_grpc

from runsd.api.conversion import record_message, timestamp
from runsd.api.errors import answering
from runsd.api.requests import moment_of, name_from_token, name_token, page_limit
from runsd.api.schedule_messages import occurrence_message, schedule_message, spec_of, timetable_of
from runsd.engine.engine import Engine
from runsd.engine.schedules import preview
from runsd.model.errors import FieldViolation, InvalidRequest
from runsd.model.schedules import Schedule, fault_of_zone
from runsd.model.targets import Problem
from runsd.store.listing import DEFAULT_LIMIT
from runsd.store.queries import PAGE_BYTES
from runsd.store.schedule_changes import StoredSchedule

DEFAULT_PREVIEW = 10
# Of page tokens.
SCHEDULES = "schedules"
NEXT_SHOWN = 5


class Schedules(schedules_pb2_grpc.SchedulesServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._schedules = engine.schedules
        self._queries = engine.store.queries.schedules

    @answering
    async def CreateSchedule(  # noqa: N802
        self, request: schedules_pb2.CreateScheduleRequest
    ) -> schedules_pb2.CreateScheduleResponse:
        spec = spec_of(request.spec)
        stored, duplicate = await self._schedules.create(
            request.project, request.schedule_id, spec, paused=request.paused
        )
        return schedules_pb2.CreateScheduleResponse(duplicate=duplicate, schedule=self._message(stored.schedule))

    @answering
    async def GetSchedule(  # noqa: N802
        self, request: schedules_pb2.GetScheduleRequest
    ) -> schedules_pb2.GetScheduleResponse:
        project = self._engine.catalog.project(request.project).id
        stored = await self._queries.get(project, request.schedule_id)
        return schedules_pb2.GetScheduleResponse(schedule=await self._whole(stored))

    @answering
    async def ListSchedules(  # noqa: N802
        self, request: schedules_pb2.ListSchedulesRequest
    ) -> schedules_pb2.ListSchedulesResponse:
        project = self._engine.catalog.project(request.project).id
        limit, after = page_limit(request.limit, DEFAULT_LIMIT), name_from_token(SCHEDULES, request.page_token)
        found, more = await self._queries.page(project, after, limit, PAGE_BYTES)
        info = run_pb2.PageInfo(
            self=request.page_token, next=name_token(SCHEDULES, found[-1].schedule.schedule_id) if more else ""
        )
        data = [self._message(stored.schedule) for stored in found]
        return schedules_pb2.ListSchedulesResponse(data=data, page_info=info)

    @answering
    async def UpdateSchedule(  # noqa: N802
        self, request: schedules_pb2.UpdateScheduleRequest
    ) -> schedules_pb2.UpdateScheduleResponse:
        spec = spec_of(request.spec)
        stored = await self._schedules.update(request.project, request.schedule_id, spec, request.etag)
        return schedules_pb2.UpdateScheduleResponse(schedule=await self._whole(stored))

    @answering
    async def PauseSchedule(  # noqa: N802
        self, request: schedules_pb2.PauseScheduleRequest
    ) -> schedules_pb2.PauseScheduleResponse:
        stored = await self._schedules.pause(request.project, request.schedule_id, request.reason)
        return schedules_pb2.PauseScheduleResponse(schedule=await self._whole(stored))

    @answering
    async def ResumeSchedule(  # noqa: N802
        self, request: schedules_pb2.ResumeScheduleRequest
    ) -> schedules_pb2.ResumeScheduleResponse:
        stored = await self._schedules.resume(request.project, request.schedule_id)
        return schedules_pb2.ResumeScheduleResponse(schedule=await self._whole(stored))

    @answering
    async def DeleteSchedule(  # noqa: N802
        self, request: schedules_pb2.DeleteScheduleRequest
    ) -> schedules_pb2.DeleteScheduleResponse:
        stored = await self._schedules.delete(request.project, request.schedule_id, request.etag)
        return schedules_pb2.DeleteScheduleResponse(schedule=await self._whole(stored))

    @answering
    async def TriggerSchedule(  # noqa: N802
        self, request: schedules_pb2.TriggerScheduleRequest
    ) -> schedules_pb2.TriggerScheduleResponse:
        triggered = await self._schedules.trigger(
            request.project, request.schedule_id, request.run_name, request.idempotency_key
        )
        run = record_message(triggered.record)
        return schedules_pb2.TriggerScheduleResponse(accepted=True, duplicate=triggered.duplicate, run=run)

    @answering
    async def PreviewSchedule(  # noqa: N802
        self, request: schedules_pb2.PreviewScheduleRequest
    ) -> schedules_pb2.PreviewScheduleResponse:
        after = moment_of(request.after, "after") if request.HasField("after") else None
        count = page_limit(request.count, DEFAULT_PREVIEW, field="count")
        if request.WhichOneof("subject") == "schedule_id":
            found = await self._schedules.preview_schedule(request.project, request.schedule_id, after, count)
        else:
            found = preview(timetable_of(request.timetable, "timetable"), after, count)
        return schedules_pb2.PreviewScheduleResponse(data=map(occurrence_message, found))

    @answering
    async def BackfillSchedule(  # noqa: N802
        self, request: schedules_pb2.BackfillScheduleRequest
    ) -> schedules_pb2.BackfillScheduleResponse:
        given = {"due_from": request.HasField("due_from"), "due_before": request.HasField("due_before")}
        if missing := [FieldViolation(field, _MISSING) for field, is_given in given.items() if not is_given]:
            raise InvalidRequest(missing)
        made = await self._schedules.backfill(
            request.project,
            request.schedule_id,
            moment_of(request.due_from, "due_from"),
            moment_of(request.due_before, "due_before"),
        )
        data = [
            schedules_pb2.BackfilledRun(scheduled_for=timestamp(one.at), run_id=one.run_id, duplicate=one.duplicate)
            for one in made
        ]
        return schedules_pb2.BackfillScheduleResponse(data=data)

    def _problems(self, schedule: Schedule) -> tuple[Problem, ...]:
        project = self._engine.catalog.project(schedule.project)
        declared = project.schedules.get(schedule.schedule_id)
        # Not declared any more, or in a module that cannot be read.
        found = project.unread if declared is None else declared.problems
        found = found if schedule.source else ()
        fault = fault_of_zone(schedule)
        return (*found, Problem(schedule.source, "timezone", fault)) if fault else found

    def _message(self, schedule: Schedule) -> schedules_pb2.Schedule:
        return schedule_message(schedule, self._problems(schedule), 1)

    async def _whole(self, stored: StoredSchedule) -> schedules_pb2.Schedule:
        skips = await self._queries.skips(stored.number)
        return schedule_message(stored.schedule, self._problems(stored.schedule), NEXT_SHOWN, skips)


_MISSING = "missing; give the range whose occurrences are to be made up for"
