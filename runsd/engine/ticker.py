"""Makes the runs of schedules when they are due.

One loop does it all. It reads from the store what is due, plans it, and carries each plan out in a transaction of its
own that also says what is due next: killed at any point, an occurrence has its run or is due still, and never both.
It sleeps until the next moment, and nothing is kept in memory but that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import anyio.to_thread
import structlog

from runsd.definitions.catalog import Catalog
from runsd.engine.scheduled_runs import ScheduledRuns
from runsd.engine.wall_timer import WallTimer
from runsd.model.errors import Overloaded, Stopping
from runsd.model.events import EventType, decode
from runsd.model.occurrences import Plan, plan
from runsd.model.schedules import CatchUp, Schedule, aim, gone_stale, watched
from runsd.model.times import MICROSECONDS, rfc3339
from runsd.store import schedule_changes
from runsd.store.clock import wall_now
from runsd.store.journal import DISK_FULL_RETRY_SECONDS, Commit
from runsd.store.schedule_changes import StoredSchedule
from runsd.store.schedule_queries import Waiting
from runsd.store.store import Store
from runsd.store.transaction import Transaction

logger = structlog.get_logger()

AT_ONCE = 500
# How many occurrences are decided in one go.
OCCURRENCES_AT_ONCE = 1000
# What is no later than this is not missed, though nobody looked at its time: clocks are often set by less.
GRACE = MICROSECONDS
# When what fails for a defect is tried again.
DEFECT_PAUSE = 60 * MICROSECONDS

ScheduleChange = Callable[[Transaction], None]


class Ticker:
    def __init__(self, store: Store, catalog: Catalog, runs: ScheduledRuns, timer: WallTimer) -> None:
        self._store = store
        self._catalog = catalog
        self._runs = runs
        self._timer = timer
        self._moment: int | None = None
        # What is due until then has been attended to.
        self._looked_at = 0
        # Since then nothing came that the ticker did not see.
        self._awake_since = wall_now()
        # Schedules that a defect kept from being attended to, as they were then.
        self._set_aside: set[tuple[int, int]] = set()
        self._tried_again_at = 0
        store.journal.listen(self._on_commit)

    async def run(self) -> None:
        """`aim_anew` comes before."""
        while True:
            while waiting := await self._waiting():
                await self._attend(waiting)
            # Until it is known, whatever a commit brings may come before it.
            self._moment = None
            self._moment = await self._next_moment()
            if await self._timer.until(self._moment):
                logger.warning("the clock was set, or the machine woke from sleep", now=rfc3339(wall_now()))
                await self.aim_anew()

    def _on_commit(self, commit: Commit) -> None:
        for stored in commit.schedules:
            schedule = stored.schedule
            moments = [at for at in (schedule.next_at, schedule.stale_at) if at is not None]
            is_earlier = bool(moments) and (self._moment is None or min(moments) < self._moment)
            if is_earlier or (schedule.queued and not schedule.active):
                self._timer.wake()
        for committed in commit.events:
            if committed.event.event_type == EventType.HEALTH_CHANGED:
                _log_health(committed.project, decode(committed.event.payload_json))

    def _projects(self) -> list[str]:
        return [project.id for project in self._catalog.projects]

    async def _waiting(self) -> Waiting:
        self._looked_at = now = wall_now()
        if now >= self._tried_again_at:
            self._set_aside.clear()
        found = await self._store.queries.schedules.waiting(now, self._projects(), AT_ONCE)
        return Waiting(*(self._without_set_aside(kind) for kind in (found.due, found.free, found.stale)))

    def _without_set_aside(self, found: Sequence[StoredSchedule]) -> list[StoredSchedule]:
        return [stored for stored in found if (stored.number, stored.schedule.revision) not in self._set_aside]

    async def _next_moment(self) -> int | None:
        """Maybe over by now. What was due before is set aside, if it is still there."""
        moment = await self._store.queries.schedules.next_moment(self._looked_at, self._projects())
        if not self._set_aside:
            return moment
        return self._tried_again_at if moment is None else min(moment, self._tried_again_at)

    async def _attend(self, waiting: Waiting) -> None:
        plans = await anyio.to_thread.run_sync(self._plans, waiting.due)
        self._set_aside_unplanned(waiting.due, plans)
        changes: list[tuple[StoredSchedule, ScheduleChange]] = [
            *((stored, partial(self._runs.carry_out, read=stored, plan=found)) for stored, found in plans),
            *((stored, partial(self._runs.start_queued, read=stored)) for stored in waiting.free),
            *((stored, partial(_go_stale, read=stored)) for stored in waiting.stale),
        ]
        await self._apply(changes)

    def _plans(self, due: Sequence[StoredSchedule]) -> list[tuple[StoredSchedule, Plan]]:
        """In a thread: finding the next of many occurrences takes a while."""
        now, missed_before = wall_now(), self._awake_since - GRACE
        planned = ((stored, _planned(stored, now, missed_before, len(due))) for stored in due)
        return [(stored, plan) for stored, plan in planned if plan is not None]

    def _set_aside_unplanned(self, due: Sequence[StoredSchedule], plans: Sequence[tuple[StoredSchedule, Plan]]) -> None:
        planned = {stored.number for stored, _ in plans}
        for stored in due:
            if stored.number not in planned:
                self._set_one_aside(stored)

    def _set_one_aside(self, stored: StoredSchedule) -> None:
        self._set_aside.add((stored.number, stored.schedule.revision))
        self._tried_again_at = wall_now() + DEFECT_PAUSE

    async def _apply(self, changes: Sequence[tuple[StoredSchedule, ScheduleChange]]) -> None:
        futures = [self._store.journal.submit(change) for _, change in changes]
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        for (stored, _), outcome in zip(changes, outcomes, strict=True):
            if isinstance(outcome, (Stopping, asyncio.CancelledError)):
                raise outcome
            if isinstance(outcome, BaseException) and not isinstance(outcome, Overloaded):
                self._set_one_aside(stored)
                schedule_id = stored.schedule.schedule_id
                logger.error("schedule not attended to, for a defect", schedule=schedule_id, exc_info=outcome)
        if any(isinstance(outcome, Overloaded) for outcome in outcomes):
            await asyncio.sleep(DISK_FULL_RETRY_SECONDS)

    async def aim_anew(self) -> None:
        """What comes next was found by a clock that showed a later time than now: there may be something before it."""
        self._awake_since = now = wall_now()
        after = 0
        while page := await self._store.queries.schedules.aimed_later(now, after, AT_ONCE):
            after = page[-1].number
            await self._apply([(stored, partial(_aim, read=stored)) for stored in page])


def _planned(stored: StoredSchedule, now: int, missed_before: int, how_many: int) -> Plan | None:
    """None for what cannot be planned here, such as one whose zone the machine does not know any more."""
    try:
        return _plan(stored.schedule, now, missed_before, how_many)
    except Exception:
        logger.exception("schedule cannot be planned", schedule=stored.schedule.schedule_id)
        return None


def _plan(schedule: Schedule, now: int, missed_before: int, how_many: int) -> Plan:
    """`how_many` schedules share what is decided in one go, where each occurrence makes a run."""
    assert schedule.next_at is not None
    most = OCCURRENCES_AT_ONCE
    if schedule.spec.catch_up is CatchUp.ALL:
        most = max(OCCURRENCES_AT_ONCE // how_many, 1)
    return plan(schedule.spec, schedule.next_at, now, missed_before, most)


def _aim(transaction: Transaction, read: StoredSchedule) -> None:
    stored = schedule_changes.find(transaction, read.schedule.project, read.schedule.schedule_id)
    if stored is not None and stored.schedule.aimed_at == read.schedule.aimed_at:
        now = wall_now()
        schedule = stored.schedule if stored.schedule.stale_at is None else watched(stored.schedule, now)
        schedule_changes.change(transaction, stored, aim(schedule, now))


def _go_stale(transaction: Transaction, read: StoredSchedule) -> None:
    stored = schedule_changes.find(transaction, read.schedule.project, read.schedule.schedule_id)
    if stored is not None and stored.schedule.stale_at is not None and stored.schedule.stale_at <= wall_now():
        schedule_changes.change(transaction, stored, gone_stale(stored.schedule))


def _log_health(project: str, payload: dict[str, object]) -> None:
    log = logger.info if payload["health"] == "healthy" else logger.warning
    log("health of a schedule changed", project=project, **payload)
