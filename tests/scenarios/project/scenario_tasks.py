"""Tasks of the scenarios that are to start at once."""

from typing import Any

from runsd import Context, task


@task(adapter="inprocess")
async def echo(ctx: Context) -> Any:
    return ctx.input
