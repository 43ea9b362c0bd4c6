"""Workflows that wait for somebody or something outside."""

from typing import Any

from marks import mark, released, twice  # type: ignore[import-not-found]

from runsd import ApprovalRejected, Retry, StepFailed, WaitTimeout, WorkflowContext, workflow


@workflow("signal")
async def signal(ctx: WorkflowContext, input: Any) -> Any:
    return await ctx.wait_for_signal("go")


@workflow("signals")
async def signals(ctx: WorkflowContext, input: Any) -> Any:
    first = [await ctx.wait_for_signal("go"), await ctx.wait_for_signal("go")]
    both = await ctx.parallel(ctx.wait_for_signal("left"), ctx.wait_for_signal("right"))
    return [first, both, await ctx.wait_for_signal("go")]


@workflow("signal/late")
async def signal_late(ctx: WorkflowContext, input: Any) -> Any:
    try:
        return await ctx.wait_for_signal("go", timeout=input)
    except WaitTimeout as error:
        caught = [error.step_id, error.code, str(error), isinstance(error, TimeoutError)]
    again = await ctx.wait_for_signal("again")
    return [caught, again]


@workflow("signal/beside-work")
async def signal_beside_work(ctx: WorkflowContext, input: Any) -> Any:
    """The signal is noticed though the workflow cannot be let go."""

    async def notice() -> None:
        await ctx.wait_for_signal("go")
        await ctx.step("noticed", mark, input["file"], "noticed")

    await ctx.parallel(ctx.step("busy", released, input["file"]), notice())
    return "done"


@workflow("naps")
async def naps(ctx: WorkflowContext, input: Any) -> Any:
    for number, duration in enumerate(input):
        await ctx.sleep(duration, name=f"nap-{number}")
    return "rested"


@workflow("approval")
async def approval(ctx: WorkflowContext, input: Any) -> Any:
    options = input or {}
    try:
        decided = await ctx.wait_for_approval("review", message="Is it good?", **options)
    except ApprovalRejected as error:
        rejected = error.approval
        return ["rejected", rejected.by, rejected.comment, rejected.data, error.code, str(error)]
    except WaitTimeout as error:
        return ["too late", error.code, str(error)]
    await ctx.step("after", twice, 1)
    return [decided.name, decided.approved, decided.by, decided.comment, decided.data]


@workflow("approvals")
async def approvals(ctx: WorkflowContext, input: Any) -> Any:
    """The same name, again and again."""
    asked: list[str] = []
    while True:
        try:
            decided = await ctx.wait_for_approval("review", message=f"round {len(asked) + 1}")
            return [*asked, decided.comment]
        except ApprovalRejected as error:
            asked.append(error.approval.comment)


@workflow("approvals/at-once")
async def approvals_at_once(ctx: WorkflowContext, input: Any) -> Any:
    both = await ctx.parallel(ctx.wait_for_approval("review"), ctx.wait_for_approval("review"))
    return [one.comment for one in both]


@workflow("every-wait")
async def every_wait(ctx: WorkflowContext, input: Any) -> Any:
    """One after the other, each with a mark before and after it."""
    file = input["file"]
    await ctx.step("begin", mark, file, "begin")
    await ctx.wait_for_signal("go")
    await ctx.step("signalled", mark, file, "signalled")
    await ctx.wait_for_approval("review", timeout="1h")
    await ctx.step("approved", mark, file, "approved")
    doubled = await ctx.run("workflow:signal", name="child")
    await ctx.step("ran", mark, file, "ran")
    try:
        await ctx.wait_for_signal("never", timeout=input["timeout"])
    except WaitTimeout:
        await ctx.step("timed-out", mark, file, "timed out")
    await ctx.sleep(input["nap"])
    await ctx.step("woken", mark, file, "woken")
    return doubled


@workflow("crowd")
async def crowd(ctx: WorkflowContext, input: Any) -> Any:
    await ctx.step("first", twice, input)
    got = await ctx.wait_for_signal("go")
    return await ctx.step("second", twice, got)


@workflow("busy-retry")
async def busy_retry(ctx: WorkflowContext, input: Any) -> Any:
    """Waits for the next attempt of a step, for longer than anybody wants to."""

    def work() -> None:
        mark(input["file"], "tried")
        raise ValueError("no good")

    try:
        await ctx.step("work", work, retry=Retry(max_attempts=2, initial_delay=input["delay"]))
    except StepFailed as error:
        return error.message
