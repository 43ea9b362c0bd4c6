"""Workflows that fail, are stopped, and undo what they have done."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from marks import begin_and_hang, mark, twice  # type: ignore[import-not-found]

from runsd import Retry, StepFailed, WorkflowContext, workflow


def only_second_time(file: str, text: str) -> str:
    """Fails the first time that it leaves this mark."""
    mark(file, text)
    if Path(file).read_text().splitlines().count(text) < 2:
        raise ValueError(f"{text} is no good the first time")
    return text


@workflow("tried-again", retry=Retry(max_attempts=3, initial_delay=0.01))
async def tried_again(ctx: WorkflowContext, input: Any) -> Any:
    """Kept steps, a failure that was caught, and one that ends the attempt, in many shapes."""
    file = input["file"]
    await ctx.step("kept", mark, file, "kept")
    try:
        await ctx.step("caught", only_second_time, file, "caught")
    except StepFailed:
        await ctx.step("instead", mark, file, "instead")
    return await SHAPES[input["shape"]](ctx, file)


async def plain(ctx: WorkflowContext, file: str) -> Any:
    return await ctx.step("flaky", only_second_time, file, "flaky")


async def cleaned_up(ctx: WorkflowContext, file: str) -> Any:
    """Steps that come of the failure are not asked for when it does not come again."""
    try:
        await ctx.step("flaky", only_second_time, file, "flaky")
    except StepFailed:
        await ctx.step("clean-up", mark, file, "clean-up")
        raise
    return await ctx.step("flaky", twice, "after")


async def own_error(ctx: WorkflowContext, file: str) -> Any:
    try:
        return await ctx.step("flaky", only_second_time, file, "flaky")
    except StepFailed as error:
        raise RuntimeError("in other words") from error


async def beside(ctx: WorkflowContext, file: str) -> Any:
    """What is being done beside the failure is cancelled for it, and done again."""
    return await ctx.parallel(
        ctx.step("flaky", only_second_time, file, "flaky"), ctx.step("beside", hang_once, file, "beside")
    )


async def hang_once(file: str, text: str) -> str:
    mark(file, text)
    if Path(file).read_text().splitlines().count(text) < 2:
        await asyncio.Event().wait()
    return text


async def in_a_branch(ctx: WorkflowContext, file: str) -> Any:
    async def branch() -> Any:
        try:
            return await ctx.step("flaky", only_second_time, file, "flaky")
        except StepFailed:
            await ctx.step("clean-up", mark, file, "clean-up")
            raise

    async def other() -> Any:
        return await ctx.step("beside", hang_once, file, "beside")

    return await ctx.parallel(ctx.parallel(branch(), other(), name="inner"), name="outer")


async def own_error_in_a_branch(ctx: WorkflowContext, file: str) -> Any:
    async def branch() -> Any:
        await ctx.step("before", mark, file, "before")
        only_second_time(file, "plain")

    return await ctx.parallel(ctx.step("beside", hang_once, file, "beside"), branch())


async def gathered(ctx: WorkflowContext, file: str) -> Any:
    async def branch() -> Any:
        return await ctx.step("flaky", only_second_time, file, "flaky")

    async def other() -> Any:
        return await ctx.step("beside", hang_once, file, "beside")

    return await asyncio.gather(other(), branch())


async def grouped(ctx: WorkflowContext, file: str) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(ctx.step("beside", hang_once, file, "beside")),
            group.create_task(ctx.step("flaky", only_second_time, file, "flaky")),
        ]
    return [task.result() for task in tasks]


async def grouped_own_error(ctx: WorkflowContext, file: str) -> Any:
    async def own() -> None:
        await ctx.step("before", mark, file, "before")
        only_second_time(file, "plain")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(ctx.step("beside", hang_once, file, "beside"))
        group.create_task(own())
    return task.result()


async def item(ctx: WorkflowContext, file: str) -> Any:
    return await ctx.map("item", lambda name: only_second_time(file, name), ["one", "two"], concurrency=1)


SHAPES = {
    f.__name__.replace("_", "-"): f
    for f in (
        plain, cleaned_up, own_error, beside, in_a_branch, own_error_in_a_branch, gathered, grouped,
        grouped_own_error, item,
    )
}  # fmt: skip


@workflow("tried-again/by-hand")
async def by_hand(ctx: WorkflowContext, input: Any) -> Any:
    """As the above, for a run that is not tried again by itself."""
    return await tried_again(ctx, input)


async def mark_after(file: str, text: str, other: str) -> None:
    while other not in Path(file).read_text().splitlines():  # noqa: ASYNC110 - nobody in here could set an event
        await asyncio.sleep(0.005)
    mark(file, text)


@workflow("undone/branches")
async def undone_branches(ctx: WorkflowContext, input: Any) -> Any:
    """The second branch is done before the first, which it is not when both answer from the record."""
    file = input["file"]
    Path(file).touch()

    async def first() -> None:
        await ctx.step("do", mark_after, file, "do first", "do second")
        ctx.on_failure(mark, file, "undo first", name="undo")

    async def second() -> None:
        await ctx.step("do", mark, file, "do second")
        ctx.on_failure(hang_once, file, "undo second", name="undo")

    await ctx.parallel(first(), second())
    raise ValueError("as asked")


@workflow("undone")
async def undone(ctx: WorkflowContext, input: Any) -> Any:
    """Does three things, registers how to undo them, and ends as asked."""
    file = input["file"]
    for name in ("one", "two", "three"):
        await ctx.step(f"do-{name}", mark, file, f"do {name}")
        if name == input.get("broken"):
            ctx.on_failure(broken_undo, file, f"undo {name}", name=f"undo-{name}")
        elif name == input.get("hanging"):
            ctx.on_failure(hang_once, file, f"undo {name}", name=f"undo-{name}")
        else:
            ctx.on_failure(mark, file, f"undo {name}", name=f"undo-{name}")
    return await ENDS[input["end"]](ctx, file)


def broken_undo(file: str, text: str) -> None:
    mark(file, text)
    raise ValueError(f"{text} is broken")


async def well(ctx: WorkflowContext, file: str) -> Any:
    return "well"


async def with_an_error(ctx: WorkflowContext, file: str) -> Any:
    raise ValueError("as asked")


async def with_a_step(ctx: WorkflowContext, file: str) -> Any:
    await ctx.step("fails", broken_undo, file, "fails")


async def working(ctx: WorkflowContext, file: str) -> Any:
    await ctx.step("works", begin_and_hang, file, "works")
    return await ctx.step("never", mark, file, "never")


async def waiting(ctx: WorkflowContext, file: str) -> Any:
    await ctx.wait_for_signal("never")
    return await ctx.step("never", mark, file, "never")


async def stubborn(ctx: WorkflowContext, file: str) -> Any:
    """Takes no notice of being cancelled."""
    with suppress(asyncio.CancelledError):
        await ctx.step("works", begin_and_hang, file, "works")
    return "as if nothing had been"


async def deaf(ctx: WorkflowContext, file: str) -> Any:
    """Takes no notice again and again."""
    mark(file, "deaf")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            mark(file, "not heard")


ENDS = {
    f.__name__.replace("_", "-"): f for f in (well, with_an_error, with_a_step, working, waiting, stubborn, deaf)
}  # fmt: skip


@workflow("timed", timeout="50ms")
async def timed(ctx: WorkflowContext, input: Any) -> Any:
    await ctx.wait_for_signal("never")


@workflow("delays-fixed", retry=Retry(max_attempts=5, backoff="fixed", initial_delay="20ms"))
async def delays_fixed(ctx: WorkflowContext, input: Any) -> Any:
    raise ValueError("as asked")


@workflow("delays-exponential", retry=Retry(max_attempts=5, initial_delay="20ms", max_delay="0.1s"))
async def delays_exponential(ctx: WorkflowContext, input: Any) -> Any:
    raise ValueError("as asked")


@workflow("undone/tried-again", retry=Retry(max_attempts=2, initial_delay=0.01))
async def undone_tried_again(ctx: WorkflowContext, input: Any) -> Any:
    return await undone(ctx, input)


@workflow("interrupted")
async def interrupted(ctx: WorkflowContext, input: Any) -> Any:
    """Steps of which the second hangs the first time."""
    file = input["file"]
    for number in range(3):
        await ctx.step("quick", mark, file, f"quick {number}")
        await ctx.step("slow", hang_once, file, f"slow {number}") if number == 1 else None
    return marks_of(file)


def marks_of(file: str) -> list[str]:
    return Path(file).read_text().splitlines()
