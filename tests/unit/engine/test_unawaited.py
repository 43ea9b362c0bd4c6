"""Operations that a workflow calls and never awaits: told, not lost. Those of tasks end with the workflow."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runsd.engine.workflows.unawaited import KEPT
from runsd.model.events import decode
from runsd.model.run import ErrorCode
from runsd.sdk.step_outcomes import StepFailed
from runsd.sdk.workflow import WorkflowContext
from tests.unit.engine.workflow_room import Room, room

Call = Callable[[WorkflowContext], Awaitable[Any]]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Python would warn of each coroutine that was never awaited, where nobody looks."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in caught if warning.category is RuntimeWarning] == []


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Room]:
    async with room(tmp_path) as made:
        yield made


CALLS: dict[str, tuple[Call, str]] = {
    "step": (lambda ctx: ctx.step("x", int), "step 'x' was never awaited; write `await ctx.step(…)`"),
    "run": (lambda ctx: ctx.run("task:x"), "step 'x' was never awaited; write `await ctx.run(…)`"),
    "sleep": (lambda ctx: ctx.sleep(1), "step 'sleep' was never awaited; write `await ctx.sleep(…)`"),
    "signal": (
        lambda ctx: ctx.wait_for_signal("go"), "step 'go' was never awaited; write `await ctx.wait_for_signal(…)`"
    ),
    "approval": (
        lambda ctx: ctx.wait_for_approval("ok"), "step 'ok' was never awaited; write `await ctx.wait_for_approval(…)`"
    ),
    "parallel": (
        lambda ctx: ctx.parallel(ctx.step("a", int), ctx.step("b", int)),
        "step 'parallel' was never awaited; write `await ctx.parallel(…)`",
    ),
    "map": (lambda ctx: ctx.map("each", int, [1]), "step 'each' was never awaited; write `await ctx.map(…)`"),
    "skip": (lambda ctx: ctx.skip("x"), "step 'x' was never awaited; write `await ctx.skip(…)`"),
}  # fmt: skip


@pytest.mark.parametrize("what", CALLS)
async def test_operation_that_is_never_awaited_fails_the_run(here: Room, what: str) -> None:
    call, said = CALLS[what]

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        await ctx.step("before", int)
        call(ctx)
        await ctx.step("after", int)
        return "done"

    outcome = await here.execute(await here.start(await here.create()), program)
    assert outcome.error is not None and outcome.error.message == said
    assert outcome.error.code == ErrorCode.EXCEPTION and not outcome.may_retry


async def test_all_of_many_are_counted(here: Room) -> None:
    async def program(ctx: WorkflowContext, input: Any) -> None:
        for _ in range(KEPT + 10):
            _ = ctx.step("x", int)
        await ctx.step("awaited", int)

    outcome = await here.execute(await here.start(await here.create()), program)
    assert outcome.error is not None
    assert outcome.error.message.startswith(f"step 'x' was never awaited, nor were {KEPT + 9} more; write")


async def test_operation_that_is_never_awaited_is_found_after_pauses_too(here: Room) -> None:
    run_id = await here.create()

    async def program(ctx: WorkflowContext, input: Any) -> None:
        _ = ctx.step("x", int)
        await ctx.wait_for_signal("go")

    assert (await here.execute(await here.start(run_id), program)).is_waiting
    await here.signal(run_id, "go")
    outcome = await here.execute(await here.resume(run_id), program)
    assert outcome.error is not None and "step 'x' was never awaited" in outcome.error.message


async def test_early_call_that_is_awaited_late_is_no_fault(here: Room) -> None:
    run_id = await here.create()

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        early = ctx.step("early", lambda: 5)
        await ctx.wait_for_signal("go")
        return await early

    assert (await here.execute(await here.start(run_id), program)).is_waiting
    await here.signal(run_id, "go")
    outcome = await here.execute(await here.resume(run_id), program)
    assert outcome.error is None and outcome.output_json == "5"


async def test_branches_that_are_not_needed_any_more_are_no_fault(here: Room) -> None:
    async def fail() -> None:
        raise ValueError("as asked")

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        found = await ctx.parallel(ctx.step("a", int), ctx.step("b", int), strategy="race", concurrency=1)
        try:
            await ctx.parallel(ctx.step("c", fail), ctx.step("d", int), concurrency=1, name="failing")
        except StepFailed:
            return found

    outcome = await here.execute(await here.start(await here.create()), program)
    assert outcome.error is None and outcome.output_json == "0"


async def test_own_error_of_the_workflow_goes_first(here: Room) -> None:
    async def program(ctx: WorkflowContext, input: Any) -> None:
        _ = ctx.step("x", int)
        raise ValueError("its own")

    outcome = await here.execute(await here.start(await here.create()), program)
    assert outcome.error is not None and "its own" in outcome.error.message


async def test_task_that_was_cancelled_before_its_step_began_is_no_fault(here: Room) -> None:
    async def program(ctx: WorkflowContext, input: Any) -> str:
        task = asyncio.create_task(ctx.step("x", int))
        task.cancel()
        await asyncio.wait([task])
        return "done"

    outcome = await here.execute(await here.start(await here.create()), program)
    assert outcome.error is None


@pytest.mark.parametrize("begins", [True, False])
async def test_tasks_that_nobody_waits_for_end_with_the_workflow_and_its_log_says_so(here: Room, begins: bool) -> None:
    run_id = await here.create()
    began, was_ended = asyncio.Event(), asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def hang() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            was_ended.set()

    async def program(ctx: WorkflowContext, input: Any) -> str:
        tasks.append(asyncio.create_task(ctx.step("x", hang)))
        if begins:
            await began.wait()
        return "done"

    outcome = await here.execute(await here.start(run_id), program)
    assert outcome.error is None and outcome.output_json == '"done"'
    if begins:
        await asyncio.wait_for(was_ended.wait(), 30)
    said = [decode(event.payload_json)["text"] for event in await here.events(run_id) if event.event_type == "log"]
    assert said == [
        "the workflow ended while 1 task of it went on, cancelled now; await a task whose steps have to be done\n"
    ]


async def test_tasks_of_a_workflow_are_named_after_its_run(here: Room) -> None:
    """By which the loop watch tells whose code blocks the event loop."""
    run_id = await here.create()
    names: list[str] = []

    async def note() -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())

    async def program(ctx: WorkflowContext, input: Any) -> None:
        await asyncio.gather(note(), asyncio.create_task(note()), asyncio.create_task(note(), name="own"))
        await ctx.step("tasks", in_a_step)

    async def in_a_step() -> None:
        await asyncio.gather(note())

    await here.execute(await here.start(run_id), program)
    of_the_run = f"workflow:w of run {run_id}"
    assert sorted(names) == sorted([of_the_run, of_the_run, "own", of_the_run])
