"""Schedules as people ask for them: create, change, pause, trigger, look ahead, make up for.

Every change is decided in the transaction that writes it, on the schedule as it is then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import structlog

from runsd.definitions.catalog import Catalog
from runsd.engine.creating import create_run
from runsd.engine.scheduled_runs import ScheduledRuns, trigger_fingerprint
from runsd.model.errors import AlreadyThere, FieldViolation, InvalidRequest, NotFound, NotPossible, Outdated
from runsd.model.record import Documents, Record
from runsd.model.schedules import (
    MAX_RUN_NAME,
    DeclaredSchedule,
    Schedule,
    ScheduleSpec,
    aim,
    created,
    fault_of_zone,
    problems_of,
    revised,
)
from runsd.model.targets import Problem, Project, is_valid_id
from runsd.model.times import rfc3339
from runsd.model.timetables import Occurrence, Timetable
from runsd.store import schedule_changes
from runsd.store.clock import wall_now
from runsd.store.schedule_changes import StoredSchedule
from runsd.store.store import Store
from runsd.store.transaction import Transaction

logger = structlog.get_logger()

MAX_BACKFILLED = 1000
MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class Triggered:
    duplicate: bool
    record: Record


@dataclass(frozen=True, slots=True)
class Backfilled:
    """`run_id` is empty where the occurrence is queued."""

    at: int
    run_id: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Schedules:
    store: Store
    catalog: Catalog
    runs: ScheduledRuns

    async def create(
        self, project: str, schedule_id: str, spec: ScheduleSpec, *, paused: bool
    ) -> tuple[StoredSchedule, bool]:
        """And whether it had been there before. Raises InvalidRequest, NotFound, AlreadyThere."""
        project = self.catalog.project(project).id
        faults = list(_faults_of_id(schedule_id))
        self._check(project, spec, faults)

        def change(transaction: Transaction) -> tuple[StoredSchedule, bool]:
            stored = schedule_changes.find(transaction, project, schedule_id)
            if stored is None or stored.schedule.is_deleted:
                return _put(transaction, stored, project, schedule_id, spec, paused=paused), False
            if stored.schedule.spec == spec and not stored.schedule.source:
                return stored, True
            raise AlreadyThere("schedule", schedule_id, _taken(stored.schedule))

        return await self.store.journal.change(change)

    async def update(self, project: str, schedule_id: str, spec: ScheduleSpec, etag: str) -> StoredSchedule:
        """Raises InvalidRequest, NotFound, NotPossible, Outdated."""
        self._check(self.catalog.project(project).id, spec, [])

        def change(transaction: Transaction, stored: StoredSchedule) -> Schedule:
            _check_may_change(stored.schedule, etag)
            now = wall_now()
            return aim(revised(stored.schedule, now, spec=spec), now)

        return await self._change(project, schedule_id, change)

    async def pause(self, project: str, schedule_id: str, reason: str) -> StoredSchedule:
        """Raises InvalidRequest, NotFound."""
        if len(reason) > MAX_REASON:
            raise InvalidRequest([FieldViolation("reason", f"has more than the {MAX_REASON} characters allowed")])

        def change(transaction: Transaction, stored: StoredSchedule) -> Schedule:
            if stored.schedule.is_paused and reason in ("", stored.schedule.pause_reason):
                return stored.schedule
            return revised(stored.schedule, wall_now(), is_paused=True, pause_reason=reason)

        return await self._change(project, schedule_id, change)

    async def resume(self, project: str, schedule_id: str) -> StoredSchedule:
        """Raises NotFound, NotPossible."""

        def change(transaction: Transaction, stored: StoredSchedule) -> Schedule:
            if not stored.schedule.is_paused:
                return stored.schedule
            _check_zone(stored.schedule)
            now = wall_now()
            return aim(revised(stored.schedule, now, is_paused=False, pause_reason=""), now)

        return await self._change(project, schedule_id, change)

    async def delete(self, project: str, schedule_id: str, etag: str) -> StoredSchedule:
        """As it was. Raises NotFound, NotPossible, Outdated."""
        before: list[StoredSchedule] = []

        def change(transaction: Transaction, stored: StoredSchedule) -> Schedule:
            _check_may_change(stored.schedule, etag)
            before.append(stored)
            schedule_changes.drop_queued(transaction, stored)
            return _deleted(stored.schedule)

        await self._change(project, schedule_id, change)
        return before[0]

    async def trigger(self, project: str, schedule_id: str, run_name: str, idempotency_key: str) -> Triggered:
        """Raises InvalidRequest, NotFound, NotPossible, KeyReused."""
        if len(run_name) > MAX_RUN_NAME:
            raise InvalidRequest([FieldViolation("run_name", f"has more than the {MAX_RUN_NAME} characters allowed")])
        project = self.catalog.project(project).id
        stored = await self.store.queries.schedules.get(project, schedule_id)
        new = self.runs.triggered(stored.schedule, run_name, idempotency_key)
        run, duplicate = await self.store.journal.change(
            lambda transaction: create_run(transaction, new, trigger_fingerprint(new))
        )
        if duplicate:
            return Triggered(True, await self.store.queries.record(run.run_id))
        return Triggered(False, Record(run, Documents(new.request.input_json, new.request.config_json)))

    async def preview_schedule(
        self, project: str, schedule_id: str, after: int | None, count: int
    ) -> tuple[Occurrence, ...]:
        """Raises NotFound, NotPossible."""
        stored = await self.store.queries.schedules.get(self.catalog.project(project).id, schedule_id)
        _check_zone(stored.schedule)
        return preview(stored.schedule.spec.timetable, after, count)

    async def backfill(self, project: str, schedule_id: str, start: int, end: int) -> list[Backfilled]:
        """Raises InvalidRequest, NotFound, NotPossible."""
        if end > wall_now():
            raise InvalidRequest([FieldViolation("due_before", f"must not be later than now, {rfc3339(wall_now())}")])
        if start >= end:
            raise InvalidRequest([FieldViolation("due_from", "must be before due_before")])
        project = self.catalog.project(project).id
        stored = await self.store.queries.schedules.get(project, schedule_id)
        _check_zone(stored.schedule)
        found = stored.schedule.spec.timetable.between(start, end, MAX_BACKFILLED + 1)
        if len(found) > MAX_BACKFILLED:
            reached = rfc3339(found[-1].at)
            problem = f"more than {MAX_BACKFILLED} occurrences are before it; take {reached} first, then the rest"
            raise InvalidRequest([FieldViolation("due_before", problem)])

        def change(transaction: Transaction) -> list[Backfilled]:
            current = _existing(transaction, project, schedule_id)
            moments = [occurrence.at for occurrence in found]
            known = {at for at in moments if schedule_changes.occurrence(transaction, current, at) is not None}
            made = self.runs.backfill(transaction, current, moments)
            return [Backfilled(at, run_id, at in known) for at, run_id in zip(moments, made, strict=True)]

        return await self.store.journal.change(change)

    async def take_over(self, project: Project) -> Project:
        """What is declared is in force from now on; the project, with a problem for each that cannot be.

        One that is declared no more is deleted, if all declarations are known; a broken one stays as it was.
        """
        schedules = dict(project.schedules)
        for declared in project.schedules.values():
            if declared.spec is not None:
                change = _declaring(project.id, declared.id, declared.spec, declared.source)
                if not await self.store.journal.insist(change):
                    problem = _not_in_force(declared)
                    logger.warning("broken definition", problem=str(problem))
                    schedules[declared.id] = replace(declared, problems=(*declared.problems, problem))
        if not project.unread:
            for stored in await self.store.queries.schedules.declared(project.id):
                if stored.schedule.schedule_id not in schedules:
                    await self.store.journal.insist(_undeclaring(project.id, stored.schedule.schedule_id))
        return replace(project, schedules=schedules)

    def _check(self, project: str, spec: ScheduleSpec, faults: list[FieldViolation]) -> None:
        faults += [FieldViolation(f"spec.{problem.field}", problem.reason) for problem in problems_of(spec)]
        if faults:
            raise InvalidRequest(faults)
        self.runs.check(project, spec)

    async def _change(
        self, project: str, schedule_id: str, change: Callable[[Transaction, StoredSchedule], Schedule]
    ) -> StoredSchedule:
        name = self.catalog.project(project).id
        # For the nearest names, if there is none.
        await self.store.queries.schedules.get(name, schedule_id)

        def changing(transaction: Transaction) -> StoredSchedule:
            stored = _existing(transaction, name, schedule_id)
            return schedule_changes.change(transaction, stored, change(transaction, stored))

        return await self.store.journal.change(changing)


def preview(timetable: Timetable, after: int | None, count: int) -> tuple[Occurrence, ...]:
    return tuple(islice(timetable.after(wall_now() if after is None else after), count))


def _existing(transaction: Transaction, project: str, schedule_id: str) -> StoredSchedule:
    stored = schedule_changes.find(transaction, project, schedule_id)
    if stored is None or stored.schedule.is_deleted:
        raise NotFound("schedule", schedule_id)
    return stored


def _put(
    transaction: Transaction,
    stored: StoredSchedule | None,
    project: str,
    schedule_id: str,
    spec: ScheduleSpec,
    source: str = "",
    *,
    paused: bool = False,
    reason: str = "",
) -> StoredSchedule:
    """A new schedule, or one in place of a deleted one of the same name, whose occurrences stay decided."""
    now = wall_now()
    fresh = created(project, schedule_id, spec, now, source)._replace(is_paused=paused, pause_reason=reason)
    if paused:
        fresh = fresh._replace(stale_at=None)
    if stored is None:
        return schedule_changes.create(transaction, aim(fresh, now))
    was = stored.schedule
    back = fresh._replace(revision=was.revision + 1, active=was.active, last_event_id=was.last_event_id)
    return schedule_changes.change(transaction, stored, aim(back, now))


def _deleted(schedule: Schedule) -> Schedule:
    return revised(schedule._replace(queued=0), wall_now(), is_deleted=True)


def _declaring(project: str, schedule_id: str, spec: ScheduleSpec, source: str) -> Callable[[Transaction], bool]:
    """False when a schedule of this id was created through the service.

    One that was paused when its declaration went comes back paused: it may have gone by a mistake, or for a moment.
    """

    def change(transaction: Transaction) -> bool:
        stored = schedule_changes.find(transaction, project, schedule_id)
        if stored is None or stored.schedule.is_deleted:
            was = stored.schedule if stored is not None and stored.schedule.source else None
            paused, reason = (was.is_paused, was.pause_reason) if was else (False, "")
            _put(transaction, stored, project, schedule_id, spec, source, paused=paused, reason=reason)
            return True
        schedule = stored.schedule
        if not schedule.source:
            return False
        if (schedule.spec, schedule.source) != (spec, source):
            now = wall_now()
            schedule_changes.change(transaction, stored, aim(revised(schedule, now, spec=spec, source=source), now))
        return True

    return change


def _undeclaring(project: str, schedule_id: str) -> Callable[[Transaction], None]:
    def change(transaction: Transaction) -> None:
        stored = schedule_changes.find(transaction, project, schedule_id)
        if stored is not None and stored.schedule.source and not stored.schedule.is_deleted:
            schedule_changes.drop_queued(transaction, stored)
            schedule_changes.change(transaction, stored, _deleted(stored.schedule))

    return change


def _not_in_force(declared: DeclaredSchedule) -> Problem:
    message = "is not in force: one of this id was created through the service; delete it, or declare another id"
    return Problem(declared.source, f'schedules."{declared.id}"', message)


def _check_may_change(schedule: Schedule, etag: str) -> None:
    if schedule.source:
        raise NotPossible(
            "SCHEDULE_DECLARED",
            f"schedule {schedule.schedule_id!r} is declared in {schedule.source}; change it there, and reload",
        )
    if etag and etag != schedule.etag:
        raise Outdated(
            "ETAG_MISMATCH",
            f"schedule {schedule.schedule_id!r} has changed since it was read: etag {schedule.etag!r}, not {etag!r}; "
            "read it again, and change what it is now",
        )


def _check_zone(schedule: Schedule) -> None:
    if fault := fault_of_zone(schedule):
        raise NotPossible("ZONE_UNKNOWN", fault)


def _faults_of_id(schedule_id: str) -> Iterator[FieldViolation]:
    if not is_valid_id(schedule_id):
        example = "letters, digits, _, . and -, nested with /, such as 'reports/nightly'"
        yield FieldViolation("schedule_id", f"{schedule_id[:200]!r} is no id; ids are {example}")


def _taken(schedule: Schedule) -> str:
    name = repr(schedule.schedule_id)
    if schedule.source:
        return f"there is a schedule {name}, declared in {schedule.source}; choose another id"
    return f"there is a schedule {name} with another spec; update it, or choose another id"
