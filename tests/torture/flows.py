"""The workflow of the torture: every kind of step, each noting in a ledger of its own that it begins.

Imported by the daemon as a module of its project, and by the checker for what a run should give.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runsd import ApprovalRejected, Retry, WaitTimeout, workflow

if TYPE_CHECKING:
    from runsd import WorkflowContext

LEDGER = "steps"
SIGNAL, APPROVAL = "go", "review"
APPROVERS = ("ann", "bob")
LATE = "nobody came"
AT_ONCE = 2
_OFTEN = Retry(max_attempts=50, backoff="fixed", initial_delay=0.05, max_delay=0.05)


def note(run_id: str, step_id: str, what: str) -> None:
    """One line, in one write; the time is the one that events are stamped with."""
    descriptor = os.open(Path(__file__).with_name(LEDGER), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{run_id} {step_id} {what} {time.time_ns() // 1000}\n".encode())
    os.close(descriptor)


async def done(run_id: str, step_id: str, pace_ms: int) -> str:
    note(run_id, step_id, "begin")
    await asyncio.sleep(pace_ms / 1000)
    return step_id


def done_in_thread(item: list[Any]) -> str:
    run_id, index, pace_ms = item
    note(run_id, f"item[{index}]", "begin")
    time.sleep(pace_ms / 1000)
    return f"item {index}"


async def shaky(run_id: str) -> str:
    """Fails until it has noted that it did."""
    note(run_id, "shaky", "begin")
    noted = await asyncio.to_thread(Path(__file__).with_name(LEDGER).read_text)
    if f"{run_id} shaky failed " not in noted:
        note(run_id, "shaky", "failed")
        raise RuntimeError("as it was told")
    return "shaky"


async def broken(run_id: str) -> None:
    note(run_id, "broken", "begin")
    raise RuntimeError("as it was told")


async def undo(run_id: str) -> None:
    note(run_id, "~on_failure/undo", "begin")


@workflow("flow", version="1")
async def flow(ctx: WorkflowContext, spec: dict[str, Any]) -> dict[str, Any]:
    run_id, pace_ms = ctx.run_id, spec["pace_ms"]
    if spec["undo"]:
        ctx.on_failure(undo, run_id, name="undo")
    told = [await ctx.step(f"step-{n}", done, run_id, f"step-{n}", pace_ms) for n in range(spec["steps"])]
    if spec["shaky"]:
        told.append(await ctx.step("shaky", shaky, run_id, retry=_OFTEN))
    items = [[run_id, index, pace_ms] for index in range(spec["items"])]
    told += await ctx.map("item", done_in_thread, items, concurrency=AT_ONCE)
    parts = await ctx.parallel(
        *(ctx.run(part["target"], input=part["input"], name="part") for part in spec["parts"]), strategy="all_settled"
    )
    if spec["race"] is not None:
        await _race(ctx, spec)
    await ctx.sleep(spec["sleep_ms"] / 1000)
    answer = await _answer(ctx, spec["waits"])
    if spec["broken"]:
        await ctx.step("broken", broken, run_id)
    return {"told": told, "parts": [part.ok for part in parts], "answer": answer}


async def _race(ctx: WorkflowContext, spec: dict[str, Any]) -> None:
    """The run below may win when the daemon was away for long."""
    await ctx.parallel(
        ctx.step("fast", done, ctx.run_id, "fast", spec["pace_ms"]),
        ctx.sleep("10m", name="slow"),
        ctx.run(spec["race"]["target"], input=spec["race"]["input"], name="loser"),
        strategy="race",
        name="race",
    )


async def _answer(ctx: WorkflowContext, waits: str) -> Any:
    try:
        if waits == "signal":
            return await ctx.wait_for_signal(SIGNAL)
        if waits == "timeout":
            return await ctx.wait_for_signal(SIGNAL, timeout=0.3)
        if waits == "approval":
            return (await ctx.wait_for_approval(APPROVAL, approvers=APPROVERS)).by
    except ApprovalRejected as rejected:
        return f"not {rejected.approval.by}"
    except WaitTimeout:
        return LATE
    return None


def told_by(spec: dict[str, Any]) -> list[str]:
    """What the steps of a run give."""
    steps = [f"step-{number}" for number in range(spec["steps"])]
    items = [f"item {index}" for index in range(spec["items"])]
    return [*steps, *(["shaky"] if spec["shaky"] else []), *items]
