"""Makes the runs of schedules, inside a transaction.

An occurrence always leaves something to look at: where its target is gone or broken the run is made all the same, and
fails or waits as any other would; where the documents do not fit the target's schema it fails at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from runsd.definitions.catalog import Catalog
from runsd.engine.checking import checked_request
from runsd.engine.creating import create_run
from runsd.engine.ending import cancel_run, fail_run
from runsd.engine.ids import new_run_id
from runsd.model.creation import CreateRequest, NewRun
from runsd.model.errors import InvalidRequest, NotFound, NotPossible
from runsd.model.occurrences import Plan, Skipped
from runsd.model.run import ErrorCode, Run, RunError, TriggerKind
from runsd.model.schedules import MAX_QUEUED, ConcurrencyPolicy, Schedule, ScheduleSpec, aimed, created, jitter_seconds
from runsd.model.targets import Target
from runsd.model.times import MICROSECONDS, rfc3339
from runsd.store import schedule_changes
from runsd.store.clock import wall_now
from runsd.store.schedule_changes import StoredSchedule
from runsd.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class ScheduledRuns:
    catalog: Catalog
    payload_limit: int

    def carry_out(self, transaction: Transaction, read: StoredSchedule, plan: Plan) -> None:
        """Does what was planned of a schedule as it was read, unless it has changed since."""
        stored = schedule_changes.find(transaction, read.schedule.project, read.schedule.schedule_id)
        if stored is None or not _is_as_read(stored.schedule, read.schedule):
            return
        if plan.skipped is not None:
            stored = _skip(transaction, stored, plan.skipped)
        for at in plan.due:
            if not stored.schedule.is_exhausted and schedule_changes.occurrence(transaction, stored, at) is None:
                stored = self._occur(transaction, stored, at)
        next_at = None if stored.schedule.is_exhausted else plan.next_at
        schedule_changes.change(transaction, stored, aimed(stored.schedule, next_at, wall_now()))

    def start_queued(self, transaction: Transaction, read: StoredSchedule) -> None:
        """The first queued occurrence, now that no run of the schedule is left."""
        stored = schedule_changes.find(transaction, read.schedule.project, read.schedule.schedule_id)
        if stored is None or not stored.schedule.is_in_force or stored.schedule.active or not stored.schedule.queued:
            return
        if 0 < stored.schedule.spec.max_runs <= stored.schedule.runs_made:
            # It was made less after they had been queued.
            schedule_changes.drop_queued(transaction, stored)
            schedule_changes.change(transaction, stored, stored.schedule._replace(queued=0))
            return
        at = schedule_changes.first_queued(transaction, stored)
        if at is not None:
            fewer = stored.schedule._replace(queued=stored.schedule.queued - 1)
            self._run(transaction, schedule_changes.change(transaction, stored, fewer), at)

    def backfill(self, transaction: Transaction, stored: StoredSchedule, moments: Iterable[int]) -> list[str]:
        """The run of each occurrence; those that have none get one. Empty where one is queued."""
        made = []
        for at in moments:
            run_id = schedule_changes.occurrence(transaction, stored, at)
            if run_id is None:
                run_id = self._make(transaction, stored, at).run_id
            made.append(run_id)
        return made

    def _occur(self, transaction: Transaction, stored: StoredSchedule, at: int) -> StoredSchedule:
        schedule = stored.schedule
        match schedule.spec.concurrency_policy:
            case ConcurrencyPolicy.FORBID if schedule.active:
                return _skip(transaction, stored, Skipped(at, at, 1, "an earlier run had not ended"))
            case ConcurrencyPolicy.QUEUE if schedule.queued >= MAX_QUEUED:
                return _skip(transaction, stored, Skipped(at, at, 1, f"{MAX_QUEUED} occurrences were queued already"))
            case ConcurrencyPolicy.QUEUE if schedule.active or schedule.queued:
                schedule_changes.decide(transaction, stored, at, "")
                more = schedule._replace(queued=schedule.queued + 1, last_scheduled_for=at)
                return schedule_changes.change(transaction, stored, more)
            case ConcurrencyPolicy.REPLACE if schedule.active:
                reason = f"replaced by the run of {rfc3339(at)}, as the concurrency policy of its schedule says"
                for run in schedule_changes.active_runs(transaction, schedule):
                    cancel_run(transaction, run, reason)
        return self._run(transaction, stored, at)

    def _run(self, transaction: Transaction, stored: StoredSchedule, at: int) -> StoredSchedule:
        self._make(transaction, stored, at)
        schedule = _current(transaction, stored)
        latest = max(at, schedule.last_scheduled_for or at)
        counted = schedule._replace(runs_made=schedule.runs_made + 1, last_scheduled_for=latest)
        return schedule_changes.change(transaction, stored._replace(schedule=counted), counted)

    def _make(self, transaction: Transaction, stored: StoredSchedule, at: int) -> Run:
        new, fault = self._new_run(stored.schedule, at)
        run, _ = create_run(transaction, new)
        schedule_changes.decide(transaction, stored, at, run.run_id)
        if fault:
            fail_run(transaction, transaction.get(run.run_id), RunError(fault, ErrorCode.INVALID_REQUEST))
        return run

    def _new_run(self, schedule: Schedule, at: int) -> tuple[NewRun, str]:
        """With what is wrong with its documents, if anything is."""
        request, fault = _request(schedule, at), ""
        try:
            return _alone(schedule, checked_request(self.catalog, request, self.payload_limit)), ""
        except InvalidRequest as error:
            fault = error.message
        except (NotFound, NotPossible):
            pass
        timeout, backoff = request.timeout_seconds or 0.0, request.backoff_limit or 0
        new = NewRun(new_run_id(), schedule.project, Target.parse(request.target), request, timeout, backoff)
        return _alone(schedule, new), fault

    def check(self, project: str, spec: ScheduleSpec) -> None:
        """Whether it could make a run now. Raises InvalidRequest, NotFound, NotPossible."""
        try:
            checked_request(self.catalog, _request(created(project, "new", spec, 0), None), self.payload_limit)
        except InvalidRequest as error:
            raise InvalidRequest([fault.inside("spec") for fault in error.violations]) from None

    def triggered(self, schedule: Schedule, run_name: str, idempotency_key: str) -> NewRun:
        """A run by hand. Raises InvalidRequest, NotFound, NotPossible."""
        request = _request(schedule, None)._replace(
            name=run_name or schedule.spec.run_name,
            idempotency_key=idempotency_key,
            trigger_kind=TriggerKind.MANUAL,
        )
        return _alone(schedule, checked_request(self.catalog, request, self.payload_limit))


def _alone(schedule: Schedule, new: NewRun) -> NewRun:
    """Where the policy says that runs of the schedule do not execute side by side, also those made by hand."""
    if schedule.spec.concurrency_policy is ConcurrencyPolicy.ALLOW:
        return new
    return new._replace(request=new.request._replace(concurrency_key=f"schedule/{schedule.schedule_id}"))


def trigger_fingerprint(new: NewRun) -> bytes:
    """Equal for equal wishes, though the schedule's spec has changed meanwhile."""
    text = f"trigger {new.request.schedule_id} {new.request.name}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _request(schedule: Schedule, at: int | None) -> CreateRequest:
    spec = schedule.spec
    return CreateRequest(
        project=schedule.project,
        target=spec.target,
        name=spec.run_name,
        input_json=spec.input_json,
        config_json=spec.config_json,
        metadata_json=spec.metadata_json,
        timeout_seconds=spec.timeout_seconds,
        backoff_limit=spec.backoff_limit,
        priority=spec.priority,
        start_after_seconds=0.0 if at is None else _delay_seconds(schedule, at),
        trigger_kind=TriggerKind.SCHEDULE,
        trigger_id=schedule.schedule_id,
        schedule_id=schedule.schedule_id,
        scheduled_for=at,
    )


def _delay_seconds(schedule: Schedule, at: int) -> float:
    if not schedule.spec.jitter_seconds:
        return 0.0
    starts_at = at + jitter_seconds(schedule.spec, schedule.schedule_id, at) * MICROSECONDS
    return max((starts_at - wall_now()) / MICROSECONDS, 0.0)


def _is_as_read(schedule: Schedule, read: Schedule) -> bool:
    return schedule.is_in_force and schedule.revision == read.revision and schedule.next_at == read.next_at


def _current(transaction: Transaction, stored: StoredSchedule) -> Schedule:
    found = schedule_changes.find(transaction, stored.schedule.project, stored.schedule.schedule_id)
    assert found is not None
    return found.schedule


def _skip(transaction: Transaction, stored: StoredSchedule, skipped: Skipped) -> StoredSchedule:
    schedule_changes.skip(transaction, stored, skipped)
    more = stored.schedule._replace(skipped=stored.schedule.skipped + skipped.count)
    return schedule_changes.change(transaction, stored, more)
