"""`AsyncRunsClient.schedules`. Thin: what is sent and how it is read is decided elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol, TypeVar, Unpack

from runsd_client import schedule_calls as calls
from runsd_client.calls import Call
from runsd_client.errors import ConflictError, NotFoundError
from runsd_client.schedule_conversion import read_schedule
from runsd_client.schedule_requests import ScheduleChanges, ScheduleOptions, TimetableOptions
from runsd_client.schedule_values import BackfilledRun, CreateScheduleAnswer, Occurrence, Schedule
from runsd_client.settings import Settings
from runsd_client.values import CreateAnswer, Page

T = TypeVar("T")


class AsyncCaller(Protocol):
    """Makes a call, again where that may help."""

    async def __call__(self, call: Call[T], /) -> T: ...


class AsyncSchedules:
    """The methods are those of Schedules, and described there."""

    def __init__(self, call: AsyncCaller, settings: Settings) -> None:
        self._call = call
        self._settings = settings

    async def create(
        self,
        schedule_id: str,
        target: str,
        *,
        paused: bool = False,
        project: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> CreateScheduleAnswer:
        return await self._call(calls.create(self._project(project), schedule_id, target, paused, options))

    async def get(self, schedule_id: str, *, project: str | None = None) -> Schedule:
        return await self._call(calls.get(self._project(project), schedule_id))

    async def list(self, *, project: str | None = None, limit: int = 0, page_token: str = "") -> Page[Schedule]:
        return await self._call(calls.list_schedules(self._project(project), limit, page_token))

    async def list_all(self, *, project: str | None = None, limit: int = 0) -> AsyncIterator[Schedule]:
        page_token = ""
        while True:
            page = await self.list(project=project, limit=limit, page_token=page_token)
            for schedule in page.data:
                yield schedule
            if not (page_token := page.page_info.next):
                return

    async def update(
        self, schedule_id: str, *, etag: str = "", project: str | None = None, **changes: Unpack[ScheduleChanges]
    ) -> Schedule:
        project = self._project(project)
        call = calls.update(project, await self._call(calls.read(project, schedule_id)), changes, etag)
        try:
            return await self._call(call)
        except ConflictError:
            current = await self._call(calls.read(project, schedule_id))
            if not calls.is_taken(call, current):
                raise
            return read_schedule(current)

    async def pause(self, schedule_id: str, *, reason: str = "", project: str | None = None) -> Schedule:
        return await self._call(calls.pause(self._project(project), schedule_id, reason))

    async def resume(self, schedule_id: str, *, project: str | None = None) -> Schedule:
        return await self._call(calls.resume(self._project(project), schedule_id))

    async def delete(self, schedule_id: str, *, etag: str = "", project: str | None = None) -> Schedule:
        project = self._project(project)
        found = await self.get(schedule_id, project=project)
        try:
            return await self._call(calls.delete(project, schedule_id, etag))
        except NotFoundError:
            return found  # it was there: the answer of an earlier try was lost

    async def trigger(
        self, schedule_id: str, *, run_name: str = "", idempotency_key: str = "", project: str | None = None
    ) -> CreateAnswer:
        return await self._call(calls.trigger(self._project(project), schedule_id, run_name, idempotency_key))

    async def preview(
        self,
        *,
        schedule_id: str = "",
        after: datetime | None = None,
        count: int = 0,
        project: str | None = None,
        **timetable: Unpack[TimetableOptions],
    ) -> tuple[Occurrence, ...]:
        return await self._call(calls.preview(self._project(project), schedule_id, after, count, timetable))

    async def backfill(
        self, schedule_id: str, start: datetime, end: datetime, *, project: str | None = None
    ) -> tuple[BackfilledRun, ...]:
        return await self._call(calls.backfill(self._project(project), schedule_id, start, end))

    def _project(self, project: str | None) -> str:
        return self._settings.project_or_default(project)
