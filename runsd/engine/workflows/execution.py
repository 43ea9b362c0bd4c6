"""Executes a workflow's function: from its start, past what its record knows, to its end or its next pause.

When nothing is left to do but to wait, the run is recorded as waiting and the function is left; the
dispatcher takes it up again when something it waits for is there. Before that decision is on disk
nothing else can be: whatever happens meanwhile is held back, and counts only if the decision does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from runsd.adapters.base import AttemptSpec, Ended, Output
from runsd.adapters.containment import Containment
from runsd.engine.workflows.calls import error_of_exception, failed_step_of, native
from runsd.engine.workflows.letting_go import Still, record_wait
from runsd.engine.workflows.operations import SessionOperations
from runsd.engine.workflows.session import Session
from runsd.engine.workflows.waits import LINGER_SECONDS
from runsd.model.attempt import Outcome, StopReason, stopped_error
from runsd.model.events import Event, EventType, Stream, log
from runsd.model.replay import COMPENSATIONS, Nondeterministic, Scope, check_version
from runsd.model.retry import may_retry
from runsd.model.run import ErrorCode, Run, RunError
from runsd.model.times import rfc3339
from runsd.sdk.documents import dumps
from runsd.sdk.workflow import WorkflowContext
from runsd.store.store import Store

logger = structlog.get_logger()

Program = Callable[[WorkflowContext, Any], Awaitable[Any]]
# How often the event loop goes round without anything happening before a workflow counts as still.
SETTLED_ROUNDS = 3
CLOSE_SECONDS = 0.5
WAITING = Outcome(is_waiting=True)
LEFT_TASKS = "the workflow ended while {} of it went on, cancelled now; await a task whose steps have to be done\n"


class WorkflowExecution:
    def __init__(
        self,
        spec: AttemptSpec,
        store: Store,
        session: Session,
        program: Program,
        when_over: Callable[[WorkflowExecution], None],
    ) -> None:
        """`when_over` gets this object rather than knowing it: held by itself, it would last until a collection."""
        self.age_seconds = spec.age_seconds
        self._spec = spec
        self._store = store
        self._session = session
        self._operations = SessionOperations(session)
        self._containment = Containment(session.task_name, self._operations.branch_context)
        self._program = program
        self._seen_event_id = spec.last_event_id
        self._is_cancel_requested = spec.run.cancel_requested
        # It did not end when it was asked to.
        self._is_given_up = False
        # A former daemon ended while it undid the steps: nothing else is done any more.
        self._is_undoing = any(step_id.startswith(COMPENSATIONS) for step_id in session.history.steps)
        session.is_cancelled = self._is_undoing
        self._check_version()
        self._body: asyncio.Task[Outcome] = asyncio.create_task(self._execute_body(), name=session.task_name)
        self._body.add_done_callback(self._body_has_ended)
        self._over = asyncio.Event()
        self._when_over = when_over

    def output(self) -> None:
        """A workflow's events are recorded in the order of its steps."""

    async def stop(self, grace_seconds: float) -> bool:
        self._session.cancel()
        await asyncio.wait([self._body], timeout=grace_seconds)
        was_forced = not self._body.done()
        if was_forced:
            self._is_given_up = True
            self._session.waits.touch()
        await self._over.wait()
        return was_forced

    async def close(self) -> None:
        if not self._body.done():
            self._let_go()
            await asyncio.wait([self._body], timeout=CLOSE_SECONDS)

    def notice(self, event: Event) -> None:
        """An event of this run was committed."""
        self._seen_event_id = event.event_id
        if event.event_type == EventType.CANCEL_REQUESTED:
            self._is_cancel_requested = True
        if event.event_type in (EventType.SIGNAL, EventType.APPROVAL_DECIDED):
            self._session.learn([event])

    def child_ended(self, run: Run) -> None:
        self._session.children.has_ended(run)

    async def ended(self) -> Ended:
        """Sees the workflow through to its end."""
        session = self._session
        try:
            if await self._has_let_go():
                return Ended(WAITING)
            outcome = self._body_outcome()
            session.children.cancel_all(session.left_children())
            await session.children.all_ended()
            if self._is_final(outcome):
                await self._compensate()
            elif outcome.error is not None:
                outcome = outcome._replace(is_not_undone=True)
            rest = session.recorder.take_rest()
            if rest is None:
                await session.recorder.durable()
            return Ended(outcome._replace(is_childless=session.is_childless), Output(rest or []))
        except asyncio.CancelledError:
            if session.recorder.failure is not None:
                raise session.recorder.failure from None
            raise
        finally:
            self._let_go()
            await session.recorder.close()
            self._when_over(self)
            self._over.set()

    def _body_has_ended(self, _: asyncio.Task[Outcome]) -> None:
        if self._session.is_letting_go:
            self._operations.unawaited.drop()
        self._session.waits.touch()

    def _check_version(self) -> None:
        try:
            check_version(self._session.history.version, self._spec.definition.version)
        except Nondeterministic as error:
            self._session.fail(RunError(str(error), ErrorCode.NONDETERMINISTIC))

    async def _execute_body(self) -> Outcome:
        if self._session.fault is not None:
            raise asyncio.CancelledError
        self._containment.enter()
        self._session.enter(Scope())
        context = self._context()
        try:
            result = await self._program(context, context.input)
            output_json = "" if result is None else dumps(result)
            return Outcome(output_json=output_json, is_past_cancelling=not self._session.is_cancelled)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the outermost edge of user code
            return Outcome(error=error_of_exception(error), failed_step_id=failed_step_of(error))

    def _context(self) -> WorkflowContext:
        run, documents = self._spec.run, self._spec.documents
        return WorkflowContext(
            self._operations,
            run_id=run.run_id,
            project=run.project,
            target=run.target,
            attempt=run.attempt,
            input=native(documents.input_json),
            config=native(documents.config_json),
            address=self._spec.address,
            scheduled_for="" if run.scheduled_for is None else rfc3339(run.scheduled_for),
        )

    async def _has_let_go(self) -> bool:
        """Until the function has ended, or has been left because it only waits: then True."""
        session = self._session
        while not self._body.done():
            session.waits.touched.clear()
            if session.fault is not None or self._is_given_up:
                self._cancel_tasks()
                await asyncio.wait([self._body], timeout=CLOSE_SECONDS)
                return False
            patience = self._patience()
            if patience is None:
                await session.waits.touched.wait()
                continue
            try:
                async with asyncio.timeout(patience):
                    await session.waits.touched.wait()
            except TimeoutError:
                if self._only_waits() and await self._lets_go():
                    return True
        return False

    def _patience(self) -> float | None:
        """How long to look on while nothing happens. None: for ever."""
        waiting = self._session.waits.waiting
        if not waiting:
            return None
        return LINGER_SECONDS if any(w.lingers for w in waiting) or not self._only_waits() else 0.0

    def _only_waits(self) -> bool:
        if self._session.is_cancelled:
            return False
        return self._session.waits.is_all({self._body, *self._containment.tasks})

    async def _lets_go(self) -> bool:
        session = self._session
        generation = session.waits.generation
        await session.recorder.durable()
        for _ in range(SETTLED_ROUNDS):
            await asyncio.sleep(0)
        if session.waits.generation != generation or not self._only_waits():
            return False
        if all(wait.is_of_replay for wait in session.waits.waiting):
            session.never_cancels(session.waits.waiting[0].key[1])
            return False
        with session.recorder.held():
            has_let_go = await self._store.journal.insist(partial(record_wait, run=self._spec.run, still=self._seen()))
            if has_let_go:
                self._let_go()
                session.recorder.drop()
        if not has_let_go:
            await self._catch_up()
        return has_let_go

    def _seen(self) -> Still:
        session = self._session
        return Still(self._seen_event_id, session.waits.waiting, session.children.awaited, self._operations.emitted())

    async def _catch_up(self) -> None:
        events, last_event_id = await self._store.queries.history_events(self._spec.run.run_id)
        self._session.learn(events)
        self._seen_event_id = max(self._seen_event_id, last_event_id)
        self._session.waits.notify_all()

    def _let_go(self) -> None:
        self._session.is_letting_go = True
        self._cancel_tasks()

    def _cancel_tasks(self) -> None:
        for task in (self._body, *self._containment.tasks):
            task.cancel()

    def _body_outcome(self) -> Outcome:
        session = self._session
        if self._body.done() and not self._body.cancelled():
            outcome = self._body.result()
            if outcome.is_past_cancelling:
                self._check_end()
            elif outcome.error is None:
                outcome = Outcome(error=self._stopped())
        elif not self._body.done():
            outcome = Outcome(
                error=RunError("the workflow ignores cancellation and was left behind", ErrorCode.EXCEPTION)
            )
            logger.error("workflow ignores cancellation and is left behind", run_id=self._spec.run.run_id)
        else:
            outcome = Outcome(error=self._stopped())
        session.has_ended = True
        self._operations.unawaited.drop()
        self._containment.end(self._spec.run.run_id)
        if session.fault is not None:
            return Outcome(error=session.fault, may_retry=False)
        return outcome._replace(may_retry=False) if self._is_undoing else outcome

    def _check_end(self) -> None:
        """The function has returned: whether it has done all that its record tells of, and that it called for."""
        session = self._session
        session.check_end()
        if fault := self._operations.unawaited.fault():
            session.fail(RunError(fault, ErrorCode.EXCEPTION))
        left = sum(not task.done() for task in self._containment.tasks)
        if left and session.fault is None:
            session.recorder.add(log(Stream.SYSTEM, LEFT_TASKS.format("1 task" if left == 1 else f"{left} tasks")))

    def _stopped(self) -> RunError:
        """With what it ends if nobody knows better: who stopped it now says why."""
        if self._is_undoing:
            return stopped_error(StopReason.TIMEOUT, self._spec.run, 0)
        return RunError("the workflow was cancelled from inside", ErrorCode.EXCEPTION)

    def _is_final(self, outcome: Outcome) -> bool:
        """Whether nothing follows that would need what the steps have done."""
        if outcome.error is None:
            return False
        is_cancelled = self._is_cancel_requested
        return is_cancelled or not (outcome.may_retry and may_retry(self._spec.run, outcome.error))

    async def _compensate(self) -> None:
        async def compensate() -> list[str]:
            self._containment.enter()
            return await self._operations.compensate()

        task = asyncio.create_task(compensate(), name="compensations")
        try:
            for failed in await asyncio.shield(task):
                self._session.recorder.add(log(Stream.SYSTEM, f"compensation {failed}\n"))
        except asyncio.CancelledError:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            raise
