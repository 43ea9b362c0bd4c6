"""The schedules of the fake daemon: kept and given back, never due."""

# ruff: noqa: N802 - the generated servicers name the methods
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from runsd_client.proto import runs_pb2, schedules_pb2
from runsd_client.proto.schedules_pb2_grpc import SchedulesServicer

from tests.unit.client.fake_answers import Failure, fail

if TYPE_CHECKING:
    from tests.unit.client.fake_daemon import Service


class ScheduleService(SchedulesServicer):
    def __init__(self, service: Service) -> None:
        self._service = service
        self._state = service.state

    async def CreateSchedule(self, request: schedules_pb2.CreateScheduleRequest, context: Any) -> Any:
        await self._service.receive("CreateSchedule", request, context)
        known = self._state.schedules.get(request.schedule_id)
        if known is not None and known.spec != request.spec:
            message = f"there is a schedule {request.schedule_id!r} already; choose another id, or update it"
            await fail(context, Failure(grpc.StatusCode.ALREADY_EXISTS, message, "SCHEDULE_EXISTS"))
        if known is None:
            known = schedules_pb2.Schedule(
                project=request.project,
                schedule_id=request.schedule_id,
                spec=request.spec,
                paused=request.paused,
                etag="1",
                health=schedules_pb2.SCHEDULE_HEALTH_HEALTHY,
                next=self._state.occurrences[:1],
            )
            self._state.schedules[request.schedule_id] = known
            duplicate = False
        else:
            duplicate = True
        await self._service.lose_answer("CreateSchedule", context)
        return schedules_pb2.CreateScheduleResponse(duplicate=duplicate, schedule=known)

    async def GetSchedule(self, request: schedules_pb2.GetScheduleRequest, context: Any) -> Any:
        await self._service.receive("GetSchedule", request, context)
        return schedules_pb2.GetScheduleResponse(schedule=await self._schedule(request, context))

    async def ListSchedules(self, request: schedules_pb2.ListSchedulesRequest, context: Any) -> Any:
        await self._service.receive("ListSchedules", request, context)
        known = [self._state.schedules[name] for name in sorted(self._state.schedules)]
        start = int(request.page_token or 0)
        end = start + (request.limit or self._state.page_size)
        return schedules_pb2.ListSchedulesResponse(
            data=known[start:end],
            page_info={"next": str(end) if end < len(known) else ""},  # type: ignore[arg-type]
        )

    async def UpdateSchedule(self, request: schedules_pb2.UpdateScheduleRequest, context: Any) -> Any:
        await self._service.receive("UpdateSchedule", request, context)
        schedule = await self._schedule(request, context)
        await self._check_etag(request, schedule, context)
        self._change(schedule, spec=request.spec)
        await self._service.lose_answer("UpdateSchedule", context)
        return schedules_pb2.UpdateScheduleResponse(schedule=schedule)

    async def PauseSchedule(self, request: schedules_pb2.PauseScheduleRequest, context: Any) -> Any:
        await self._service.receive("PauseSchedule", request, context)
        schedule = await self._schedule(request, context)
        self._change(schedule, paused=True, pause_reason=request.reason)
        await self._service.lose_answer("PauseSchedule", context)
        return schedules_pb2.PauseScheduleResponse(schedule=schedule)

    async def ResumeSchedule(self, request: schedules_pb2.ResumeScheduleRequest, context: Any) -> Any:
        await self._service.receive("ResumeSchedule", request, context)
        schedule = await self._schedule(request, context)
        self._change(schedule, paused=False, pause_reason="")
        return schedules_pb2.ResumeScheduleResponse(schedule=schedule)

    async def DeleteSchedule(self, request: schedules_pb2.DeleteScheduleRequest, context: Any) -> Any:
        await self._service.receive("DeleteSchedule", request, context)
        schedule = await self._schedule(request, context)
        await self._check_etag(request, schedule, context)
        del self._state.schedules[request.schedule_id]
        await self._service.lose_answer("DeleteSchedule", context)
        return schedules_pb2.DeleteScheduleResponse(schedule=schedule)

    async def TriggerSchedule(self, request: schedules_pb2.TriggerScheduleRequest, context: Any) -> Any:
        await self._service.receive("TriggerSchedule", request, context)
        schedule = await self._schedule(request, context)
        name, key = request.run_name or schedule.spec.run_name, request.idempotency_key
        created = runs_pb2.CreateRunRequest(target=schedule.spec.target, name=name, idempotency_key=key)
        made = self._service.made(created)
        await self._service.lose_answer("TriggerSchedule", context)
        return schedules_pb2.TriggerScheduleResponse(accepted=True, duplicate=made.duplicate, run=made.run)

    async def PreviewSchedule(self, request: schedules_pb2.PreviewScheduleRequest, context: Any) -> Any:
        await self._service.receive("PreviewSchedule", request, context)
        return schedules_pb2.PreviewScheduleResponse(data=self._state.occurrences[: request.count or 10])

    async def BackfillSchedule(self, request: schedules_pb2.BackfillScheduleRequest, context: Any) -> Any:
        await self._service.receive("BackfillSchedule", request, context)
        await self._schedule(request, context)
        answer = schedules_pb2.BackfillScheduleResponse(data=self._state.backfilled)
        for run in self._state.backfilled:
            run.duplicate = True
        await self._service.lose_answer("BackfillSchedule", context)
        return answer

    async def _schedule(self, request: Any, context: Any) -> schedules_pb2.Schedule:
        if request.schedule_id not in self._state.schedules:
            message = f"there is no schedule {request.schedule_id!r}"
            await fail(context, Failure(grpc.StatusCode.NOT_FOUND, message, "SCHEDULE_NOT_FOUND"))
        return self._state.schedules[request.schedule_id]

    @staticmethod
    async def _check_etag(request: Any, schedule: schedules_pb2.Schedule, context: Any) -> None:
        if request.etag and request.etag != schedule.etag:
            message = f"schedule {request.schedule_id!r} was changed since; read it and try again"
            await fail(context, Failure(grpc.StatusCode.ABORTED, message, "OUTDATED"))

    @staticmethod
    def _change(schedule: schedules_pb2.Schedule, **changes: Any) -> None:
        for name in changes:
            schedule.ClearField(name)  # type: ignore[arg-type]
        schedule.MergeFrom(schedules_pb2.Schedule(etag=str(int(schedule.etag) + 1), **changes))
