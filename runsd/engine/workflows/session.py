"""One workflow in memory: its record, what it waits for, and the one way in which operations are carried out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, ContextVar, copy_context
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

import structlog

from runsd.engine.workflows.calls import inside_step
from runsd.engine.workflows.children import Children
from runsd.engine.workflows.place import Place
from runsd.engine.workflows.recorder import Recorder
from runsd.engine.workflows.waits import Wait, Waits
from runsd.model.events import Event, EventType
from runsd.model.replay import COMPENSATIONS, Nondeterministic, Replay, Scope
from runsd.model.run import ErrorCode, Run, RunError
from runsd.model.settings import Limits
from runsd.model.steps import History, Signal, Step, StepKind, StepState
from runsd.sdk.step_outcomes import Approval, ApprovalRejected, StepFailed, WaitTimeout

logger = structlog.get_logger()

T = TypeVar("T")

# Of one task: `finally` may well ask for some, nobody for so many.
MAX_REFUSALS = 100
# Kept for good: closing such a coroutine would only set it going again.
_held: set[asyncio.Task[Any]] = set()
# Operations after which everybody else has a turn, and the record time to be written.
TURN = 100

_scope: ContextVar[Scope] = ContextVar("scope")


class Session:
    def __init__(
        self, run: Run, limits: Limits, history: History, recorder: Recorder, waits: Waits, children: Children
    ) -> None:
        self.run = run
        self.limits = limits
        self.history = history
        self.replay = Replay(history)
        self.recorder = recorder
        self.waits = waits
        self.children = children
        self.loop = asyncio.get_running_loop()
        self.fault: RunError | None = None
        # Steps that have not ended are not begun or gone on with any more; those that have still answer.
        self.is_cancelled = False
        # Nothing is recorded any more: the function is being left, to be executed again later.
        self.is_letting_go = False
        # The function has ended: what it left running ends with it.
        self.has_ended = False
        # Told when the function goes on and on although it is being left.
        self.when_ignored: Callable[[], None] = lambda: None
        self._begun = 0
        # Made when it is first needed, as it hardly ever is.
        self._refusals: WeakKeyDictionary[asyncio.Task[Any], int] | None = None
        self._live: set[asyncio.Task[Any]] = set()
        self._taken = {step.signal_event_id for step in history.steps.values()}
        self._last_signal_id = max((signal.event_id for signal in history.signals), default=0)

    @property
    def task_name(self) -> str:
        """By which the loop watch tells whose code blocks the event loop."""
        return f"{self.run.target} of run {self.run.run_id}"

    def enter(self, scope: Scope) -> None:
        _scope.set(scope)

    @property
    def scope(self) -> Scope:
        return _scope.get()

    def branch_context(self) -> Context:
        """For a task that the workflow's own code makes: a scope of its own, named in order of creation."""
        # The tasks of a step's function are not made again when the step answers from the record.
        return copy_context() if inside_step.get() else self.context_of(self.scope.next_branch())

    def context_of(self, scope: Scope) -> Context:
        context = copy_context()
        context.run(_scope.set, scope)
        return context

    def place(self, name: str, kind: StepKind, detail: str = "") -> Place:
        scope = self.scope
        is_late = (self.has_ended or self.fault is not None) and not scope.prefix.startswith(COMPENSATIONS)
        if self.is_letting_go or is_late:
            return Place.refused(name, kind, scope)
        step_id = scope.next_id(name)
        try:
            recorded = self.replay.call(step_id, kind, detail)
        except Nondeterministic as error:
            self._deviates(error)
            return Place.refused(name, kind, scope)
        if recorded is None:
            return Place(step_id, name, kind, scope, None)
        scope.emitted_last = 0
        return Place.of_recorded(recorded, scope)

    def _deviates(self, error: Nondeterministic) -> None:
        self.fail(RunError(f"the workflow no longer goes by its record: {error}", ErrorCode.NONDETERMINISTIC))

    def never_cancels(self, step_id: str) -> None:
        self._deviates(
            Nondeterministic(f"step {step_id!r} is recorded as cancelled, and the workflow does not cancel it")
        )

    def fail(self, error: RunError) -> None:
        """Ends the run whatever its code does about it."""
        self.fault = self.fault or error
        self.waits.touch()

    def check_end(self) -> None:
        try:
            self.replay.check_end()
        except Nondeterministic as error:
            self._deviates(error)

    async def carry_out(self, place: Place, work: Callable[[], Awaitable[T]], answer: Callable[[Step], T]) -> T:
        """The recorded end, or that of `work`. Raises StepFailed."""
        recorded = place.recorded
        if recorded is not None and recorded.state is StepState.COMPLETED:
            return answer(recorded)
        if recorded is not None and recorded.state is StepState.FAILED:
            raise failure(recorded.step_id, recorded.kind, recorded.error)
        if recorded is not None and recorded.state is StepState.SKIPPED:
            await self.until_cancelled(recorded.step_id)
        await self._give_way()
        await self.begin(place)
        return await self._live_work(place, work)

    async def _give_way(self) -> None:
        """What is over at once, such as a sleep of 0 s, would otherwise never let anybody else have a turn."""
        self._begun += 1
        if self._begun % TURN == 0 and not (self.is_letting_go or self.has_ended):
            await self.recorder.durable()

    async def until_cancelled(self, step_id: str) -> None:
        """Of a step that was cancelled: what it was cancelled for is about to happen again."""
        await self.waits.wait(Wait((StepKind.VALUE, step_id)))

    async def begin(self, place: Place) -> None:
        """To be asked before anything is done that the record does not know. Raises CancelledError."""
        if place.is_refused or self.is_cancelled or self.is_letting_go or not self.takes_more():
            await self._refuse()
        if place.recorded is not None or not self.scope.is_ordered:
            return
        try:
            self.replay.check_new(place.step_id, place.scope, self.scope)
            place.scope.emitted_last = 0
        except Nondeterministic as error:
            self._deviates(error)
            await self._refuse()

    def takes_more(self) -> bool:
        """Whether the record has room; the run fails if not. What undoes its steps is always recorded."""
        fault = self.recorder.size.fault
        if not fault or self.scope.prefix.startswith(COMPENSATIONS):
            return True
        self.fail(RunError(fault, ErrorCode.RECORD_LIMIT))
        return False

    async def _refuse(self) -> NoReturn:
        """Code that catches CancelledError and calls on for ever would stop the event loop: it is held here."""
        task = asyncio.current_task()
        assert task is not None
        if self._refusals is None:
            self._refusals = WeakKeyDictionary()
        count = self._refusals[task] = self._refusals.get(task, 0) + 1
        if count > MAX_REFUSALS:
            logger.warning("the workflow catches CancelledError and goes on; raise it again", target=self.run.target)
            _held.add(task)
            if self.is_letting_go:
                self.when_ignored()
            await self.loop.create_future()
        raise asyncio.CancelledError

    async def _live_work(self, place: Place, work: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.current_task()
        assert task is not None
        outer = task in self._live
        self._live.add(task)
        try:
            return await work()
        except asyncio.CancelledError:
            if place.has_begun:
                self.was_cancelled(place)
            raise
        finally:
            if not outer:
                self._live.discard(task)

    def was_cancelled(self, place: Place) -> None:
        """By the workflow's own code, not with the run: then its record goes on without it."""
        if not (self.is_cancelled or self.is_letting_go or self.has_ended or self.fault):
            self.recorder.skipped(place, "something else ended first")

    def cancel(self) -> None:
        """Ends what is being done; what the record knows is still answered, so that compensations are found."""
        self.is_cancelled = True
        for task in self._live:
            task.cancel()

    @property
    def is_childless(self) -> bool:
        """Whether no run was ever begun below it, now or by an attempt before this one."""
        return not self.children.has_begun and not any(
            step.kind is StepKind.RUN for step in self.history.steps.values()
        )

    def left_children(self) -> list[str]:
        """Runs that may still execute although their steps are not reached any more: cancelled, or not got to."""
        steps = (step for step in self.history.steps.values() if step.kind is StepKind.RUN and step.child_run_id)
        return [step.child_run_id for step in steps if step.state in (StepState.WAITING, StepState.SKIPPED)]

    def learn(self, events: Iterable[Event]) -> None:
        """Signals and decisions that came; those that are known already are passed over."""
        for event in events:
            if event.event_type == EventType.SIGNAL and event.event_id > self._last_signal_id:
                self.history.add(event)
                self.recorder.size.add(event.event_type, event.payload_json)
                self._last_signal_id = event.event_id
                self.waits.notify((StepKind.SIGNAL, self.history.signals[-1].name))
            elif event.event_type == EventType.APPROVAL_DECIDED:
                self.history.add(event)
                for step_id in self.history.decisions:
                    self.waits.notify((StepKind.APPROVAL, step_id))

    def take_signal(self, name: str) -> Signal | None:
        for signal in self.history.signals:
            if signal.name == name and signal.event_id not in self._taken:
                self._taken.add(signal.event_id)
                return signal
        return None


def failure(step_id: str, kind: StepKind, error: RunError | None) -> StepFailed:
    """The exception for a step's error, the same fresh and from the record."""
    assert error is not None
    detail = json.loads(error.detail_json) if error.detail_json else None
    if kind is StepKind.APPROVAL and error.code == ErrorCode.REJECTED:
        return ApprovalRejected(step_id, Approval(**(detail or {})))
    if kind in (StepKind.APPROVAL, StepKind.SIGNAL) and error.code == ErrorCode.TIMEOUT:
        return WaitTimeout(step_id, error.message, error.code)
    return StepFailed(step_id, error.message, error.code, detail)
