"""The project that the tortured daemon serves."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.torture import flows, schedules, work

PROJECT_ID = "torture"
SETTINGS = """
[cancel]
grace_seconds = 1.0
[retry]
initial_delay_seconds = 0.05
max_delay_seconds = 0.5
jitter = 0.0
"""

_RUNS_TOML = f"""
[project]
id = "{PROJECT_ID}"
modules = ["torture_tasks", "torture_flows", "torture_scheduled"]

[tasks.process]
command = ["{sys.executable}", "-S", "-E", "work.py"]
{schedules.TOCK_TABLE}"""

_TASKS = """
import asyncio
import time

import work
from runsd import task


def lines(ctx):
    work.note(ctx.run_id, ctx.attempt, "begin")
    for number in range(ctx.input["lines"]):
        if number % 3 == 0:
            ctx.emit(work.TICK, {"attempt": ctx.attempt, "n": number})
        yield ctx.input["pace_ms"] / 1000
    work.note(ctx.run_id, ctx.attempt, "end")
    if work.status_of(ctx.input, ctx.attempt):
        raise RuntimeError("as it was told")


async def coroutine(ctx):
    for seconds in lines(ctx):
        await asyncio.sleep(seconds)
    return {"lines": ctx.input["lines"]}


task("coroutine", adapter="inprocess")(coroutine)


@task("coroutine-once", adapter="inprocess", on_interrupt="fail")
async def once(ctx):
    return await coroutine(ctx)


@task("thread", adapter="inprocess")
def thread(ctx):
    for seconds in lines(ctx):
        if ctx.cancelled:
            return None
        time.sleep(seconds)
    return {"lines": ctx.input["lines"]}
"""


def write_project(directory: Path) -> None:
    directory.mkdir()
    (directory / "runs.toml").write_text(_RUNS_TOML)
    (directory / "torture_tasks.py").write_text(_TASKS)
    (directory / "torture_scheduled.py").write_text(schedules.TASKS)
    shutil.copy(work.__file__, directory / "work.py")
    shutil.copy(flows.__file__, directory / "torture_flows.py")
