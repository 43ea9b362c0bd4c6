"""The operations of a workflow's context. Each takes its place in the record when it is called."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError
from contextvars import Context
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

from runsd.definitions.schemas import schema_fault
from runsd.engine.workflows.calls import inside_step, native
from runsd.engine.workflows.groups import Branches, execute_group
from runsd.engine.workflows.place import Place
from runsd.engine.workflows.recorder import emitted
from runsd.engine.workflows.session import Session
from runsd.engine.workflows.steps import (
    execute_approval,
    execute_function,
    execute_run,
    execute_signal,
    execute_sleep,
)
from runsd.engine.workflows.unawaited import Unawaited
from runsd.model.events import Draft
from runsd.model.events import emitted as checked_event
from runsd.model.replay import COMPENSATIONS, VALUE_PREFIX, Scope
from runsd.model.run import ErrorCode, RunError
from runsd.model.steps import Step, StepKind, StepState
from runsd.sdk.arguments import Strategy
from runsd.sdk.step_options import ApprovalRequest, StepOptions
from runsd.sdk.step_outcomes import Approval, StepFailed

T = TypeVar("T")

# Emitted from threads until one of them waits for all to be written.
EVENTS_OF_THREADS = 1000


class SessionOperations:
    """What `runsd.sdk.workflow.Operations` asks for, of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.unawaited = Unawaited()
        self._loop_thread = threading.get_ident()
        # With the scope that registered it: branches do not register in the same order every time.
        self._compensations: list[tuple[str, str, Callable[[], Any]]] = []
        self._emitted_bytes = 0
        self._notes = session.history.emitted
        self._emitted_before: dict[str, int] = native(self._notes[-1].output_json) if self._notes else {}
        self._emitting: dict[str, Scope] = {}
        self._from_threads = count(1)

    def branch_context(self, coroutine: Any) -> Context:
        """Of a task that the workflow's own code makes."""
        self.unawaited.given_on([coroutine])
        return self._session.branch_context()

    def step(self, name: str, call: Callable[[], Any], options: StepOptions) -> Coroutine[Any, Any, Any]:
        self._check_outside()
        place = self._session.place(name, StepKind.FUNCTION)
        work = partial(execute_function, self._session, place, call, options)
        return self._carried_out("step", place, work, _output)

    def run(
        self, name: str, target: str, documents: Mapping[str, Any], options: StepOptions
    ) -> Coroutine[Any, Any, Any]:
        self._check_outside()
        place = self._session.place(name, StepKind.RUN, target)
        work = partial(execute_run, self._session, place, target, documents, options)
        return self._carried_out("run", place, work, _output)

    def sleep(self, name: str, duration_seconds: float) -> Coroutine[Any, Any, None]:
        self._check_outside()
        place = self._session.place(name, StepKind.SLEEP)
        work = partial(execute_sleep, self._session, place, duration_seconds)
        return self._carried_out("sleep", place, work, lambda _: None)

    def wait_for_signal(self, name: str, signal: str, timeout_seconds: float | None) -> Coroutine[Any, Any, Any]:
        self._check_outside()
        place = self._session.place(name, StepKind.SIGNAL, signal)
        work = partial(execute_signal, self._session, place, signal, timeout_seconds)
        return self._carried_out("wait_for_signal", place, work, _output)

    def wait_for_approval(
        self, name: str, request: ApprovalRequest, timeout_seconds: float | None
    ) -> Coroutine[Any, Any, Approval]:
        self._check_outside()
        fault = schema_fault(request.schema) if request.schema is not None else ""
        if fault:
            raise ValueError(f"schema is no JSON Schema: {fault}")
        place = self._session.place(name, StepKind.APPROVAL)
        work = partial(execute_approval, self._session, place, request, timeout_seconds)
        return self._carried_out("wait_for_approval", place, work, lambda step: Approval(**_output(step)))

    def parallel(
        self, name: str, branches: Sequence[Awaitable[Any]], strategy: Strategy, concurrency: int | None
    ) -> Coroutine[Any, Any, Any]:
        self._check_outside()
        place = self._session.place(name, StepKind.PARALLEL)
        around = self._session.scope
        is_past = place.recorded is not None and place.recorded.state.is_final

        def scope(index: int) -> Scope:
            return around.inside(f"{place.step_id}[{index}]", is_past)

        self.unawaited.given_on(branches)
        group = Branches(len(branches), branches.__getitem__, scope, strategy, concurrency, branches)
        return self.unawaited.watched(place.step_id, "parallel", execute_group(self._session, place, group))

    def map(
        self,
        name: str,
        begin: Callable[[str, Any], Awaitable[Any]],
        items: Sequence[Any],
        strategy: Strategy,
        concurrency: int | None,
    ) -> Coroutine[Any, Any, Any]:
        self._check_outside()
        place = self._session.place(name, StepKind.MAP)
        around = self._session.scope
        own_name = place.step_id.removeprefix(around.prefix)
        is_past = place.recorded is not None and place.recorded.state.is_final
        group = Branches(
            len(items),
            lambda index: begin(f"{own_name}[{index}]", items[index]),
            lambda _: around.beside(is_past),
            strategy,
            concurrency,
        )
        return self.unawaited.watched(place.step_id, "map", execute_group(self._session, place, group))

    def skip(self, name: str, reason: str) -> Coroutine[Any, Any, None]:
        self._check_outside()
        place = self._session.place(name, StepKind.FUNCTION)

        async def skip() -> None:
            if place.recorded is None or place.recorded.state is not StepState.SKIPPED:
                await self._session.begin(place)
                self._session.recorder.skipped(place, reason)

        return self.unawaited.watched(place.step_id, "skip", skip())

    def _carried_out(
        self, method: str, place: Place, work: Callable[[], Awaitable[T]], answer: Callable[[Step], T]
    ) -> Coroutine[Any, Any, T]:
        return self.unawaited.watched(place.step_id, method, self._session.carry_out(place, work, answer))

    def on_failure(self, name: str, call: Callable[[], Any]) -> None:
        self._check_outside()
        self._compensations.append((self._session.scope.prefix, name, call))

    async def compensate(self) -> list[str]:
        """The latest first; one that fails keeps no other from its turn. What failed, in words."""
        self._session.is_cancelled = False
        scopes = {prefix: Scope(f"{COMPENSATIONS}{prefix}") for prefix, _, _ in self._compensations}
        failed = []
        for prefix, name, call in reversed(self._compensations):
            self._session.enter(scopes[prefix])
            try:
                await self.step(name, call, StepOptions.of(None, None))
            except StepFailed as error:
                failed.append(f"{error.step_id}: {error.message}")
        return failed

    def value(self, name: str) -> Any:
        if self._is_inside_step:
            return _VALUES[name]()
        step_name = f"{VALUE_PREFIX}{name}"
        place = self._session.place(step_name, StepKind.VALUE)
        if place.is_refused:
            raise asyncio.CancelledError
        if place.recorded is not None:
            return native(place.recorded.output_json)
        self._session.recorder.check_room()
        if not self._session.takes_more():
            raise asyncio.CancelledError
        value = _VALUES[name]()
        self._session.recorder.value(place, value)
        return value

    def emit(self, event_type: str, payload: Mapping[str, Any]) -> None:
        session = self._session
        draft = checked_event(event_type, dict(payload) if isinstance(payload, Mapping) else payload)
        if len(draft.payload_json) > session.limits.event_bytes:
            raise ValueError(
                f"the payload of {event_type!r} has {len(draft.payload_json):,} characters as JSON; "
                f"an event takes {session.limits.event_bytes:,}"
            )
        if threading.get_ident() != self._loop_thread:
            self._emit_from_thread(draft)
        elif self._is_inside_step or not self._was_emitted():
            session.recorder.check_room()
            self._record(draft)

    def _emit_from_thread(self, draft: Draft) -> None:
        """A thread can wait, so it does: what it tells is on disk from time to time."""
        session = self._session
        session.loop.call_soon_threadsafe(self._record, draft)
        if next(self._from_threads) % EVENTS_OF_THREADS == 0:
            try:
                asyncio.run_coroutine_threadsafe(session.recorder.durable(), session.loop).result()
            except CancelledError:
                raise RuntimeError("the run has ended, or is being left; nothing more of it is recorded") from None

    def _record(self, draft: Draft) -> None:
        session = self._session
        self._emitted_bytes += len(draft.payload_json)
        if self._emitted_bytes > session.limits.output_bytes:
            message = f"the run wrote more than {session.limits.output_bytes:,} bytes of output"
            session.fail(RunError(message, ErrorCode.OUTPUT_LIMIT))
            return
        session.recorder.add(draft)

    def _was_emitted(self) -> bool:
        scope = self._session.scope
        scope.emitted += 1
        if scope.emitted <= self._emitted_before.get(scope.prefix, 0):
            return True
        if self._session.replay.is_replaying(scope):
            return True
        scope.emitted_last += 1
        self._emitting[scope.prefix] = scope
        return False

    def emitted(self) -> list[Draft]:
        """A note of what would be emitted again, since no step comes after it in the record."""
        last = {prefix: scope.emitted for prefix, scope in self._emitting.items() if scope.emitted_last}
        return [emitted({**self._emitted_before, **last}, len(self._notes) + 1)] if last else []

    def unordered(self) -> None:
        self._session.enter(Scope(is_ordered=False))

    @property
    def _is_inside_step(self) -> bool:
        return inside_step.get() or threading.get_ident() != self._loop_thread

    def _check_outside(self) -> None:
        if self._is_inside_step:
            raise RuntimeError("a step's function cannot begin steps or waits; do that in the workflow's function")


def _output(step: Step) -> Any:
    return native(step.output_json)


_VALUES: dict[str, Callable[[], Any]] = {
    "now": lambda: datetime.now(UTC).isoformat(),
    "random": random.random,
    "uuid": lambda: str(uuid4()),
}
