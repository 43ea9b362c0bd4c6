"""The runs of one schedule: how they ended, and which of them were active, or executed, side by side."""

from __future__ import annotations

from collections.abc import Iterator

from tests.torture.disk import ENDINGS, Disk, DiskEvent, DiskRun
from tests.torture.judging import MAX_INTERRUPTIONS
from tests.torture.schedule_witness import ScheduleWitness
from tests.torture.schedules import FORBID, QUEUE, REPLACE, SECOND, is_to_fail

_TERMINAL = ("run.completed", "run.failed", "run.cancelled")


class RunsOfSchedule:
    """`occurrences` have a run each; `regular` are those that the schedule made of its own, as they were made."""

    def __init__(self, disk: Disk, told: ScheduleWitness) -> None:
        self._disk = disk
        self._wish = told.wish
        name = told.wish.schedule_id
        self.by_id = {run.run_id: run for run in disk.runs.values() if run.schedule_id == name}
        self._events = [event for event in disk.events if event.run_id in self.by_id]
        self._first = {event.run_id: event.position for event in reversed(self._events)}
        self._ended = {event.run_id: event.position for event in self._events if event.event_type in _TERMINAL}
        scheduled = [run for run in self.by_id.values() if run.scheduled_for is not None and not run.retry_of]
        self.all_scheduled_for = [run.scheduled_for or 0 for run in scheduled]
        self.occurrences = {run.scheduled_for or 0: run for run in scheduled}
        ours = [run for run in scheduled if not _may_be_made_up_for(run, told)]
        self.regular = [(run.scheduled_for or 0, run) for run in sorted(ours, key=lambda run: self._first[run.run_id])]

    @property
    def last_ended_failed(self) -> bool | None:
        """Of those that were not cancelled; None when there is none."""
        told = [event for event in self._events if event.event_type in ("run.completed", "run.failed")]
        return told[-1].event_type == "run.failed" if told else None

    def faults(self) -> Iterator[str]:
        for run in self.by_id.values():
            yield from (f"{run.run_id}: {fault}" for fault in self._ending_faults(run))
        if self._wish.policy in (FORBID, QUEUE):
            yield from self._side_by_side()
        if self._wish.policy in (REPLACE, QUEUE):
            yield from self._executed_side_by_side()
        if self._wish.policy == QUEUE:
            moments = [at for at, _ in self.regular]
            if moments != sorted(moments):
                yield f"its occurrences made runs in the order {moments}"
        if self._wish.policy == REPLACE:
            yield from self._not_replaced()

    def _ending_faults(self, run: DiskRun) -> Iterator[str]:
        attempts = self._disk.attempts(run.run_id)
        if [attempt.number for attempt in attempts] != list(range(1, run.attempt + 1)):
            yield f"its attempts are {[attempt.number for attempt in attempts]}, the last is {run.attempt}"
        if run.status == "failed" and run.error_code == "interrupted":
            interruptions = sum(attempt.ending == "run.interrupted" for attempt in attempts)
            if interruptions != MAX_INTERRUPTIONS + 1:
                yield f"it was given up after {interruptions} interruptions"
        elif run.status == "failed" and not is_to_fail(run.run_id):
            yield f"it failed with {run.error_code}"
        elif run.status == "completed" and is_to_fail(run.run_id):
            yield "it was to fail and is completed"
        elif run.status == "cancelled" and self._wish.policy != REPLACE:
            yield "it is cancelled, and nobody asked for it"
        elif run.status not in ("completed", "failed", "cancelled"):
            yield f"it is {run.status} at the end"
        limit = self._wish.jitter_seconds
        if (
            run.start_after is not None
            and run.scheduled_for is not None
            and run.start_after > (run.scheduled_for + (limit + 1) * SECOND)
        ):
            yield f"it was to start at {run.start_after}, its occurrence is {run.scheduled_for}, its jitter {limit} s"

    def _active_at(self, position: int) -> list[str]:
        """Runs that were made before it and had not ended."""
        return [r for r, first in self._first.items() if first < position < self._ended.get(r, 1 << 62)]

    def _side_by_side(self) -> Iterator[str]:
        """Those that were triggered, tried again or made up for wait for nobody; the others wait for them, too."""
        for at, run in self.regular:
            active = self._active_at(self._first[run.run_id])
            if active:
                yield f"occurrence {at} made {run.run_id} while {active} had not ended"

    def _executed_side_by_side(self) -> Iterator[str]:
        executing: set[str] = set()
        for event in self._events:
            if event.event_type == "run.started":
                if executing:
                    yield f"{event.run_id} was started while {executing} executed"
                executing.add(event.run_id)
            elif event.event_type in ENDINGS:
                executing.discard(event.run_id)

    def _not_replaced(self) -> Iterator[str]:
        """What was active when another was made had been asked to end."""
        asked = {e.run_id: e.position for e in reversed(self._events) if _asks_to_end(e)}
        for at, run in self.regular:
            position = self._first[run.run_id]
            left = [r for r in self._active_at(position) if asked.get(r, 1 << 62) > position]
            if left:
                yield f"occurrence {at} made {run.run_id}, and {left} were not asked to end"


def _asks_to_end(event: DiskEvent) -> bool:
    return event.event_type in ("run.cancel_requested", "run.cancelled")


def _may_be_made_up_for(run: DiskRun, told: ScheduleWitness) -> bool:
    """Made while a caller asked for it; the schedule may have been first."""
    return any(
        backfill.sent_at <= run.created_at <= backfill.answered_at and run.run_id in answer.values()
        for backfill in told.backfills
        for answer in backfill.answers
    )
