"""Steps with steps below them, executed side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from runsd.adapters.containment import drop_unbegun
from runsd.engine.workflows.branches import BranchFailed, execute_branches
from runsd.engine.workflows.calls import error_of_exception, failed_step_of
from runsd.engine.workflows.place import Place
from runsd.engine.workflows.session import Session, failure
from runsd.model.events import Raw
from runsd.model.replay import Scope
from runsd.model.run import RunError
from runsd.model.steps import StepState
from runsd.sdk.arguments import Strategy
from runsd.sdk.step_outcomes import Settled, StepFailed


@dataclass(frozen=True, slots=True)
class Branches:
    """`begin` gives what to await for a branch, called in the scope that `scope` gives."""

    count: int
    begin: Callable[[int], Awaitable[Any]]
    scope: Callable[[int], Scope]
    strategy: Strategy
    limit: int | None
    # Those that are there already, and may turn out not to be needed.
    given: Sequence[Awaitable[Any]] = ()

    def drop_unbegun(self) -> None:
        for branch in self.given:
            drop_unbegun(branch)


async def execute_group(session: Session, place: Place, branches: Branches) -> Any:
    try:
        return await _execute(session, place, branches)
    finally:
        branches.drop_unbegun()


async def _execute(session: Session, place: Place, branches: Branches) -> Any:
    """The results in order; of a race the winner's. Raises StepFailed.

    Results are made anew from the steps below; of a race the winner is recorded.
    """
    recorded = place.recorded
    if recorded is not None and recorded.state is StepState.FAILED:
        raise failure(place.step_id, place.kind, recorded.error)
    is_done = recorded is not None and recorded.state is StepState.COMPLETED
    if is_done and branches.strategy == "race":
        assert recorded is not None
        return await _branch_task(session, branches, int(recorded.output_json))
    if recorded is not None and recorded.state is StepState.SKIPPED:
        await session.until_cancelled(place.step_id)
    if recorded is None:
        await session.begin(place)
        place.begin(1)
        session.recorder.started(place)
    try:
        winner, result = await _results(session, place, branches)
    except BranchFailed as failed:
        raise failure(place.step_id, place.kind, error_of_exception(failed.error)) from failed.error
    except asyncio.CancelledError:
        session.was_cancelled(place)
        raise
    if not is_done:
        session.recorder.completed(place, output=winner)
    return result


async def _results(session: Session, place: Place, branches: Branches) -> tuple[Raw | None, Any]:
    def when_failed(failed: BaseException) -> None:
        """Recorded before the others are cancelled: what comes after it came of it."""
        error, cause = error_of_exception(failed), failed_step_of(failed)
        session.recorder.failed(place, error, cause=cause)

    begin = [partial(_branch_task, session, branches, index) for index in range(branches.count)]
    ended = await execute_branches(begin, branches.strategy, branches.limit, session.waits, when_failed)
    if branches.strategy == "race":
        (index, task), *_ = ended.items()
        return Raw(str(index)), task.result()
    if branches.strategy == "all_settled":
        return None, [_settled(place, task) for task in ended.values()]
    return None, [task.result() for task in ended.values()]


def _branch_task(session: Session, branches: Branches, index: int) -> asyncio.Task[Any]:
    context = session.context_of(branches.scope(index))

    async def branch() -> Any:
        return await branches.begin(index)

    return asyncio.get_running_loop().create_task(branch(), name=session.task_name, context=context)


def _settled(place: Place, task: asyncio.Task[Any]) -> Settled:
    error = task.exception()
    if error is None:
        return Settled(task.result())
    if isinstance(error, StepFailed):
        return Settled(error=error)
    told: RunError = error_of_exception(error)
    return Settled(error=failure(place.step_id, place.kind, told))
