"""Tasks that the workflows execute as runs of their own."""

import asyncio
from typing import Any

from marks import mark  # type: ignore[import-not-found]

from runsd import Context, task


@task("double", adapter="inprocess")
async def double(ctx: Context) -> Any:
    return ctx.input * 2


@task("echo", adapter="inprocess")
async def echo(ctx: Context) -> Any:
    return {"input": ctx.input, "config": ctx.config}


@task("refuse", adapter="inprocess")
async def refuse(ctx: Context) -> None:
    raise ValueError(f"refused {ctx.input}")


@task("refuse/again", adapter="inprocess", backoff_limit=2)
async def refuse_again(ctx: Context) -> None:
    raise ValueError(f"refused {ctx.input}")


@task("hang", adapter="inprocess")
async def hang(ctx: Context) -> None:
    ctx.emit("hanging")
    await asyncio.Event().wait()


@task("second-time", adapter="inprocess")
async def second_time(ctx: Context) -> int:
    if ctx.attempt == 1:
        raise ValueError("not the first time")
    return ctx.attempt


@task("mark", adapter="inprocess")
def leave_mark(ctx: Context) -> Any:
    return mark(ctx.input["file"], ctx.input["text"])


@task("follow-up", adapter="inprocess")
async def follow_up(ctx: Context) -> Any:
    return ctx.input
