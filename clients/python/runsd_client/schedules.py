"""`RunsClient.schedules`. Thin: what is sent and how it is read is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
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


class Caller(Protocol):
    """Makes a call, again where that may help."""

    def __call__(self, call: Call[T], /) -> T: ...


class Schedules:
    """The schedules of a project: what creates its runs later.

    A schedule that is declared in the project can be read, paused, resumed, triggered and backfilled here;
    update and delete raise PreconditionError.
    """

    def __init__(self, call: Caller, settings: Settings) -> None:
        self._call = call
        self._settings = settings

    def create(
        self,
        schedule_id: str,
        target: str,
        *,
        paused: bool = False,
        project: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> CreateScheduleAnswer:
        """Creates a schedule of `task:<id>` or `workflow:<id>`; the options are those of ScheduleOptions.

        When it is due is one of `cron` with a `timezone`, `at` and `every`. The same id with an equal spec
        is answered with `duplicate`. Raises InvalidRequestError, AlreadyExistsError when the id is taken.
        """
        return self._call(calls.create(self._project(project), schedule_id, target, paused, options))

    def get(self, schedule_id: str, *, project: str | None = None) -> Schedule:
        """The schedule as it is now."""
        return self._call(calls.get(self._project(project), schedule_id))

    def list(self, *, project: str | None = None, limit: int = 0, page_token: str = "") -> Page[Schedule]:
        """A page of schedules by id: up to `limit` (1 to 1000, 0 is 50)."""
        return self._call(calls.list_schedules(self._project(project), limit, page_token))

    def list_all(self, *, project: str | None = None, limit: int = 0) -> Iterator[Schedule]:
        """All schedules by id, fetched in pages of `limit`."""
        page_token = ""
        while True:
            page = self.list(project=project, limit=limit, page_token=page_token)
            yield from page.data
            if not (page_token := page.page_info.next):
                return

    def update(
        self, schedule_id: str, *, etag: str = "", project: str | None = None, **changes: Unpack[ScheduleChanges]
    ) -> Schedule:
        """Changes just what is given: the options of `create`, and `target`; None unsets.

        `every` takes the place of `cron` and so on. Raises ConflictError when the schedule was changed since
        it was read: by this method, or when `etag` was got. What is due next is found anew from now on.
        """
        project = self._project(project)
        call = calls.update(project, self._call(calls.read(project, schedule_id)), changes, etag)
        try:
            return self._call(call)
        except ConflictError:
            current = self._call(calls.read(project, schedule_id))
            if not calls.is_taken(call, current):
                raise
            return read_schedule(current)

    def pause(self, schedule_id: str, *, reason: str = "", project: str | None = None) -> Schedule:
        """Makes no more runs until resumed; what would be due meanwhile is not made up for."""
        return self._call(calls.pause(self._project(project), schedule_id, reason))

    def resume(self, schedule_id: str, *, project: str | None = None) -> Schedule:
        """Goes on with the next occurrence from now."""
        return self._call(calls.resume(self._project(project), schedule_id))

    def delete(self, schedule_id: str, *, etag: str = "", project: str | None = None) -> Schedule:
        """Removes a schedule, and gives it as it was. Its runs go on.

        Raises ConflictError when an `etag` is given and it was changed since.
        """
        project = self._project(project)
        found = self.get(schedule_id, project=project)
        try:
            return self._call(calls.delete(project, schedule_id, etag))
        except NotFoundError:
            return found  # it was there: the answer of an earlier try was lost

    def trigger(
        self, schedule_id: str, *, run_name: str = "", idempotency_key: str = "", project: str | None = None
    ) -> CreateAnswer:
        """Creates a run of the schedule now, also of a paused one and beside any others.

        The same `idempotency_key` makes one run. Without one the client makes one, so that a call which is
        made again creates nothing twice.
        """
        return self._call(calls.trigger(self._project(project), schedule_id, run_name, idempotency_key))

    def preview(
        self,
        *,
        schedule_id: str = "",
        after: datetime | None = None,
        count: int = 0,
        project: str | None = None,
        **timetable: Unpack[TimetableOptions],
    ) -> tuple[Occurrence, ...]:
        """When a schedule is due, or a timetable: `cron`, `timezone` and so on, as for `create`.

        Up to `count` occurrences (1 to 1000, 0 is 10) after `after`, which is now unless given. Nothing is
        created.
        """
        return self._call(calls.preview(self._project(project), schedule_id, after, count, timetable))

    def backfill(
        self, schedule_id: str, start: datetime, end: datetime, *, project: str | None = None
    ) -> tuple[BackfilledRun, ...]:
        """Creates the runs of past occurrences from `start`, included, to `end`, not included.

        All or none, in order of time; an occurrence that has a run keeps it, and is a `duplicate`. Raises
        InvalidRequestError for more than 1000.
        """
        return self._call(calls.backfill(self._project(project), schedule_id, start, end))

    def _project(self, project: str | None) -> str:
        return self._settings.project_or_default(project)
