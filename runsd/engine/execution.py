"""Executes claimed runs: one task an attempt, all owned here.

Knows which attempts execute, so that a cancellation reaches its attempt, and gives each run's place
back when the attempt is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from runsd.adapters.base import Adapter, AttemptSpec, Execution
from runsd.adapters.directory import RunFiles
from runsd.crashpoints import CrashPoint, passing
from runsd.definitions.catalog import Catalog
from runsd.engine.attempt import Attempt, Begin
from runsd.engine.claiming import Claimed
from runsd.engine.clearing import Clearing
from runsd.engine.workflows.follow_up import follow_up
from runsd.model.attempt import Offsets, StopReason
from runsd.model.errors import Stopping
from runsd.model.events import EventType
from runsd.model.retry import own_delays
from runsd.model.run import Run, RunStatus
from runsd.model.settings import Settings
from runsd.model.targets import AdapterKind, RunKind
from runsd.store.journal import Commit
from runsd.store.queue import Queued
from runsd.store.store import Store

logger = structlog.get_logger()

LET_GO_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Workplace:
    """What every attempt is made with. `address` is where the daemon listens."""

    store: Store
    catalog: Catalog
    files: RunFiles
    settings: Settings
    adapters: Mapping[AdapterKind, Adapter]
    address: str


class Executor:
    def __init__(self, workplace: Workplace, clearing: Clearing, group: asyncio.TaskGroup) -> None:
        """`group` owns the attempts."""
        self._workplace = workplace
        self._clearing = clearing
        self._group = group
        self._attempts: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Runs that were cancelled in the very commit that claimed them, before their attempt is known here.
        self._cancelled_early: set[str] = set()
        self._when_finished: Callable[[Queued], None] = lambda queued: None
        workplace.store.journal.listen(self._on_commit)

    def when_finished(self, callback: Callable[[Queued], None]) -> None:
        self._when_finished = callback

    def execute(self, claimed: Claimed) -> None:
        adapter = self._workplace.adapters[claimed.definition.adapter]
        self._supervise(claimed, adapter.start)

    def adopt(self, claimed: Claimed, adapter: AdapterKind, offsets: Offsets) -> None:
        """Goes on with an attempt that a former daemon started."""

        async def begin(spec: AttemptSpec) -> Execution:
            return await self._workplace.adapters[adapter].adopt(spec, offsets)

        self._supervise(claimed, begin, offsets.total)

    def _supervise(self, claimed: Claimed, begin: Begin, output_bytes: int = 0) -> None:
        run, settings = claimed.run, self._workplace.settings
        attempt = Attempt(
            self._spec(claimed),
            self._workplace.store.journal,
            own_delays(run) or claimed.definition.retry or settings.retry,
            settings.cancel.grace_seconds,
            partial(follow_up, self._workplace.catalog, settings.limits.payload_bytes, claimed.definition),
            output_bytes,
        )
        self._attempts[run.run_id] = attempt
        if run.cancel_requested or run.run_id in self._cancelled_early:
            self._cancelled_early.discard(run.run_id)
            attempt.request_stop(StopReason.CANCEL)
        task = self._group.create_task(self._execute(claimed, attempt, begin), name=f"attempt of {run.run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def executing(self) -> list[str]:
        """Ids of the runs that execute."""
        return list(self._attempts)

    async def until_idle(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def let_go(self) -> None:
        """Ends all supervision: processes go on, callables are cancelled."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LET_GO_SECONDS)

    def _spec(self, claimed: Claimed) -> AttemptSpec:
        run, workplace = claimed.run, self._workplace
        return AttemptSpec(
            run=run,
            documents=claimed.documents,
            definition=claimed.definition,
            project_directory=claimed.project_directory,
            directory=workplace.files.attempt(run.run_id, run.attempt),
            address=workplace.address,
            limits=workplace.settings.limits,
            last_event_id=claimed.last_event_id,
            age_seconds=claimed.age_seconds,
        )

    async def _execute(self, claimed: Claimed, attempt: Attempt, begin: Begin) -> None:
        """The outermost edge of an attempt's task."""
        run_id = claimed.run.run_id
        try:
            # For all that is logged in this task, which is the attempt's alone.
            structlog.contextvars.bind_contextvars(run_id=run_id)
            run = await self._to_the_end(attempt, begin)
            passing(CrashPoint.OUTCOME_COMMITTED)
            self._clear(attempt, run)
        except Stopping:
            # The journal has closed: what is not on disk is done again after the next start.
            return
        finally:
            # A run that waits may have been taken up again already.
            if self._attempts.get(run_id) is attempt:
                del self._attempts[run_id]
            self._when_finished(claimed.queued)

    async def _to_the_end(self, attempt: Attempt, begin: Begin) -> Run:
        try:
            return await attempt.execute(begin)
        except Stopping:
            raise
        except Exception as error:
            logger.exception("attempt failed inside runsd")
            return await attempt.fail(error)

    def _clear(self, attempt: Attempt, run: Run) -> None:
        """What is in the log by now need not stay in files; what attempts share goes with the run's end."""
        directory = attempt.spec.directory
        if not run.status.is_terminal and directory.path.exists():
            self._clearing.add(directory.clear)

    def _on_commit(self, commit: Commit) -> None:
        statuses = {stored.run.run_id: stored.run.status for stored in commit.runs}
        for committed in commit.events:
            if committed.event.event_type == EventType.CANCEL_REQUESTED:
                attempt = self._attempts.get(committed.run_id)
                if attempt is not None:
                    attempt.request_stop(StopReason.CANCEL)
                elif statuses[committed.run_id] is RunStatus.RUNNING:
                    self._cancelled_early.add(committed.run_id)
        for stored in commit.runs:
            run = stored.run
            if run.status.is_terminal and run.attempt and run.kind is RunKind.TASK:
                # Whoever ended it: an attempt's outcome, or a cancellation between two.
                self._clearing.add(self._workplace.files.attempt(run.run_id, run.attempt).clear_run)
