"""Workflows as the engine sees them: an adapter beside those of processes and callables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from runsd.adapters.base import AttemptSpec, Ended, Execution
from runsd.adapters.inprocess import GoneExecution
from runsd.definitions.catalog import Catalog
from runsd.engine.workflows.children import Children
from runsd.engine.workflows.execution import Program, WorkflowExecution
from runsd.engine.workflows.recorder import Gathering, Recorder
from runsd.engine.workflows.session import Session
from runsd.engine.workflows.waits import Waits
from runsd.model.attempt import Offsets, Outcome
from runsd.model.events import Event, EventType
from runsd.model.record_size import RecordSize
from runsd.model.run import ErrorCode, RunError
from runsd.model.steps import History
from runsd.model.targets import RunKind
from runsd.store.journal import Commit
from runsd.store.store import Store

# A run that has been created and started, and nothing else yet.
EVENTS_OF_A_FRESH_RUN = 2
FOLDED_AT_ONCE = 1000
_CLAIMS = (EventType.STARTED, EventType.RESUMED)
IGNORES_PAUSES = "the workflow caught CancelledError at a pause and went on; catch Exception, or raise it again"
_WORKFLOW = f"{RunKind.WORKFLOW.value}:"


class WorkflowAdapter:
    """Knows the workflows in memory, and tells them what is committed for them. `load` raises StartFailed."""

    def __init__(self, store: Store, catalog: Catalog, load: Callable[[AttemptSpec], Program]) -> None:
        self._store = store
        self._catalog = catalog
        self._load = load
        self._gathering = Gathering()
        self._executing: dict[str, WorkflowExecution] = {}
        # Of those that have been claimed and are not in memory yet: what came since.
        self._missed: dict[str, list[Event]] = {}
        # Those that could not be left at their last pause.
        self._ignoring: set[str] = set()
        store.journal.listen(self._on_commit)

    async def start(self, spec: AttemptSpec) -> Execution:
        try:
            program = self._load(spec)
            session = await self._session(spec, await self._events(spec))
        finally:
            missed = self._missed.pop(spec.run.run_id, [])
        run_id = spec.run.run_id
        session.when_ignored = partial(self._ignoring.add, run_id)
        if run_id in self._ignoring:
            self._ignoring.discard(run_id)
            session.fail(RunError(IGNORES_PAUSES, ErrorCode.EXCEPTION))
        execution = WorkflowExecution(spec, self._store, session, program, partial(self._forget, run_id))
        self._executing[run_id] = execution
        for event in missed:
            execution.notice(event)
        return execution

    def _forget(self, run_id: str, execution: WorkflowExecution) -> None:
        if self._executing.get(run_id) is execution:
            del self._executing[run_id]

    async def adopt(self, spec: AttemptSpec, offsets: Offsets) -> Execution:
        """It was interrupted, and begins again: also one that is being cancelled, which has to undo its steps."""
        history = await _history(await self._events(spec))
        return InterruptedExecution(history.progressed)

    async def _events(self, spec: AttemptSpec) -> list[Event]:
        if spec.last_event_id == EVENTS_OF_A_FRESH_RUN:
            return []
        events, _ = await self._store.queries.history_events(spec.run.run_id)
        return events

    async def _session(self, spec: AttemptSpec, events: list[Event]) -> Session:
        history, waits = await _history(events), Waits()
        recorder = Recorder(self._store.journal, self._gathering, spec.run.run_id, RecordSize.of(events))
        children = Children(self._store, self._catalog, spec.run, spec.limits.payload_bytes, recorder, waits)
        return Session(spec.run, spec.limits, history, recorder, waits, children)

    def _on_commit(self, commit: Commit) -> None:
        for committed in commit.events:
            event, run_id = committed.event, committed.run_id
            if event.event_type in _CLAIMS and committed.target.startswith(_WORKFLOW):
                self._missed[run_id] = []
            elif (execution := self._executing.get(run_id)) is not None:
                execution.notice(event)
            elif run_id in self._missed:
                self._missed[run_id].append(event)
        if not self._executing:
            return
        for stored in commit.runs:
            if stored.run.parent_run_id and stored.run.status.is_terminal:
                parent = self._executing.get(stored.run.parent_run_id)
                if parent is not None:
                    parent.child_ended(stored.run)


async def _history(events: list[Event]) -> History:
    """A long one takes a second: others have their turn meanwhile."""
    history = History()
    for start in range(0, len(events), FOLDED_AT_ONCE):
        history.add_all(events[start : start + FOLDED_AT_ONCE])
        await asyncio.sleep(0)
    return history


class InterruptedExecution(GoneExecution):
    """What is left of a workflow that executed in a former daemon: its record."""

    def __init__(self, progressed: bool) -> None:
        self._progressed = progressed

    async def ended(self) -> Ended:
        error = RunError("the daemon ended while the workflow was executing in it", ErrorCode.INTERRUPTED)
        return Ended(Outcome(error=error, interrupted=True, progressed=self._progressed, is_not_undone=True))
