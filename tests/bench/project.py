"""The project that the measured daemon serves."""

from __future__ import annotations

from pathlib import Path

NOTHING = "task:nothing"
EVENTS = "task:events"
TRUE = "task:true"
LINES = "task:lines"
EVENT_TYPE = "bench.tick"

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
from runsd import task


@task(adapter="inprocess")
async def nothing(ctx):
    return None


@task(adapter="inprocess")
def events(ctx):
    for number in range(ctx.input):
        ctx.emit("{EVENT_TYPE}", {{"number": number}})
"""


def write_project(directory: Path, lines: int) -> None:
    """`lines` is how many one run of LINES writes."""
    directory.mkdir()
    (directory / "runs.toml").write_text(_RUNS_TOML.format(lines=lines))
    (directory / "bench_tasks.py").write_text(_TASKS)
