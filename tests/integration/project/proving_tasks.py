"""Tasks of the project that the integration tests run."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

from runsd import Cancelled, Context, task


@task(adapter="inprocess")
async def quick(ctx: Context) -> Any:
    return ctx.input


@task(adapter="inprocess")
async def speak(ctx: Context) -> dict[str, int]:
    return converse(ctx)


@task("speak/threaded", adapter="inprocess")
def speak_threaded(ctx: Context) -> dict[str, int]:
    return converse(ctx)


@task("speak/subprocess")
def speak_subprocess(ctx: Context) -> dict[str, int]:
    return converse(ctx)


@task("speak/subprocess-async")
async def speak_subprocess_async(ctx: Context) -> dict[str, int]:
    await asyncio.sleep(0)
    return converse(ctx)


def converse(ctx: Context) -> dict[str, int]:
    """The same in every adapter."""
    ctx.log("a line")
    ctx.progress(0.5, "half way")
    ctx.emit("rows.loaded", {"rows": 3, "config": ctx.config})
    ctx.save_artifact("report/rows.csv", b"a,b\n")
    (ctx.state_dir / "kept").write_text("kept")
    return {"attempt": ctx.attempt}


@task(adapter="inprocess")
def speak_at_length(ctx: Context) -> None:
    ctx.log("x" * 1_000_000)
    ctx.emit("too.long", {"x": "x" * 300_000})


@task("speak-at-length/subprocess")
def speak_at_length_in_subprocess(ctx: Context) -> None:
    speak_at_length(ctx)


@task(adapter="inprocess")
def return_much(ctx: Context) -> str:
    return "x" * 2_000_000


@task(adapter="inprocess")
async def emit_many(ctx: Context) -> None:
    for number in range(ctx.input):
        ctx.emit("numbered", {"number": number})
        if number % 1000 == 999:
            await ctx.drain()


@task("raise", adapter="inprocess")
def raise_error(ctx: Context) -> None:
    raise ValueError("what was wrong")


@task("raise/subprocess")
def raise_in_subprocess(ctx: Context) -> None:
    raise ValueError("what was wrong")


@task("exit", adapter="inprocess")
async def leave(ctx: Context) -> None:
    raise SystemExit(3)


@task("not-json", adapter="inprocess")
def not_json(ctx: Context) -> object:
    return {"now": object()}


@task("wait-for-ever", adapter="inprocess")
async def wait_for_ever(ctx: Context) -> None:
    ctx.emit("waiting")
    await asyncio.Event().wait()


@task(adapter="inprocess", on_interrupt="fail")
async def fail_when_interrupted(ctx: Context) -> None:
    ctx.emit("waiting")
    await asyncio.Event().wait()


@task("wait-for-ever/threaded", adapter="inprocess")
def wait_for_ever_threaded(ctx: Context) -> None:
    ctx.emit("waiting")
    while not ctx.cancelled:
        time.sleep(0.005)


@task("wait-for-ever/subprocess")
def wait_for_ever_subprocess(ctx: Context) -> None:
    try:
        ctx.emit("waiting")
        threading.Event().wait()
    except Cancelled:
        ctx.log("cleaning up")
        Path(ctx.input).write_text("cleaned up")
        raise


@task("deaf", adapter="inprocess")
def deaf(ctx: Context) -> None:
    """Never looks at `ctx.cancelled`."""
    ctx.emit("waiting")
    threading.Event().wait()
