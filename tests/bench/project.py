"""The project that the measured daemon serves."""

from __future__ import annotations

from pathlib import Path

NOTHING = "task:nothing"
EVENTS = "task:events"
TRUE = "task:true"
LINES = "task:lines"
EVENT_TYPE = "bench.tick"
STEPS = "workflow:steps"
ONE_STEP = "workflow:one-step"
# The same, so many at a time.
AT_A_TIME = 32
FEW_ONE_STEP = "workflow:few-one-step"

_RUNS_TOML = """
[project]
id = "bench"
modules = ["bench_tasks"]

[tasks.true]
command = ["/bin/true"]

[tasks.lines]
command = ["seq", "{lines}"]
"""

_TASKS = f"""
from runsd import task, workflow


@task(adapter="inprocess")
async def nothing(ctx):
    return None


@task(adapter="inprocess")
def events(ctx):
    for number in range(ctx.input):
        ctx.emit("{EVENT_TYPE}", {{"number": number}})


async def no_operation():
    return None


@workflow
async def steps(ctx, count):
    for number in range(count):
        await ctx.step("step", no_operation)


@workflow
async def one_step(ctx, input):
    await ctx.step("step", no_operation)


@workflow(max_concurrent={AT_A_TIME})
async def few_one_step(ctx, input):
    await one_step(ctx, input)
"""


def write_project(directory: Path, lines: int) -> None:
    """`lines` is how many one run of LINES writes."""
    directory.mkdir()
    (directory / "runs.toml").write_text(_RUNS_TOML.format(lines=lines))
    (directory / "bench_tasks.py").write_text(_TASKS)
