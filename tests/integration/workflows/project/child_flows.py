"""Workflows with runs below them."""

import asyncio
from typing import Any

from marks import twice  # type: ignore[import-not-found]

from runsd import StepFailed, WorkflowContext, workflow


@workflow("family")
async def family(ctx: WorkflowContext, input: Any) -> Any:
    """A workflow with a workflow below it, and so on."""
    if not input["depth"]:
        return await ctx.run("task:double", input=input["value"])
    below = {"depth": input["depth"] - 1, "value": input["value"]}
    return [input["depth"], await ctx.run("workflow:family", input=below, config={"of": input["depth"]})]


@workflow("child")
async def child(ctx: WorkflowContext, input: Any) -> Any:
    """Executes any target, and tells how it failed."""
    try:
        return await ctx.run(
            input["target"],
            input=input.get("input"),
            config=input.get("config"),
            name=input.get("name"),
            retry=input.get("retry"),
            timeout=input.get("timeout"),
        )
    except StepFailed as error:
        return [error.step_id, error.code, error.message]


@workflow("children")
async def children(ctx: WorkflowContext, input: Any) -> Any:
    async def failing() -> None:
        await ctx.wait_for_signal("fail")
        raise ValueError("as asked")

    return await ctx.parallel(ctx.run("task:hang"), ctx.run("workflow:signal"), ctx.run("task:hang"), failing())


@workflow("families")
async def families(ctx: WorkflowContext, input: Any) -> Any:
    """So many runs below it, each with one below it that waits."""
    return await ctx.map("each", "workflow:child", [{"target": "workflow:signal"}] * input)


@workflow("busy-parent")
async def busy_parent(ctx: WorkflowContext, input: Any) -> Any:
    """Executes, so that it is not let go, beside a child that waits."""

    async def hold() -> None:
        await asyncio.get_running_loop().create_future()

    return await ctx.parallel(ctx.run("workflow:signal"), ctx.step("hold", hold))


@workflow("input-not-json")
async def input_not_json(ctx: WorkflowContext, input: Any) -> Any:
    return await ctx.run("task:double", input=object())


@workflow("hooks", on_complete="task:follow-up", on_error="workflow:after-failure")
async def hooks(ctx: WorkflowContext, input: Any) -> Any:
    value = await ctx.step("value", twice, 21)
    if input == "fail":
        raise ValueError("as asked")
    return value


@workflow("after-failure")
async def after_failure(ctx: WorkflowContext, input: Any) -> Any:
    return await ctx.step("seen", lambda: input)
