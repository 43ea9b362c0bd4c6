"""A workflow of 100 steps whose daemon is killed 50 times: what was completed is never done again.

Each step appends a line to a file as it begins and lasts a little longer. A kill comes after a chosen
number of lines of a daemon's life and a chosen moment more, so that it falls before, into and between
steps alike however fast the machine is.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inotify_simple import INotify, flags
from runsd_client import AsyncRunsClient, RetryPolicy

from runsd.engine.verification import verify
from runsd.store.verification import Counts, Violation, opened
from tests.integration.conftest import make_daemon  # noqa: F401 - a fixture
from tests.integration.daemon import PATIENCE_SECONDS, Daemon

STEPS = 100
KILLS = 50
SEED = 20261125
STEP_SECONDS = 0.03
# Lines of a life before its kill, so that there are steps left at the last: a step that was interrupted
# costs a line, so these are about 80 steps.
LINES = (0, 1, 2, 3, 4)
PATIENT = RetryPolicy(retries=100, initial_seconds=0.05, max_seconds=0.2)

RUNS_TOML = """
[project]
id = "kills"
modules = ["kills"]
"""
MODULE = f"""
import asyncio
import os
from pathlib import Path

from runsd import workflow


async def append(number):
    descriptor = os.open(Path(__file__).with_name("lines"), os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"{{number}}\\n".encode())
    os.close(descriptor)
    await asyncio.sleep({STEP_SECONDS})
    return number


@workflow
async def hundred(ctx, count):
    return [await ctx.step(f"step-{{number}}", append, number) for number in range(count)]
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """When a daemon is killed: after so many lines of its life, and so much later."""

    lines: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Life:
    """What there was when a daemon had been killed: lines in the file, and the steps recorded as completed."""

    lines: int
    completed: frozenset[int]


class Lines:
    """The file that the steps append to."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.touch()

    def read(self) -> list[int]:
        return [int(line) for line in self._file.read_text().splitlines()]

    def until(self, count: int) -> None:
        """There are so many."""
        with INotify() as inotify:
            inotify.add_watch(self._file, flags.MODIFY)
            while len(self.read()) < count:
                assert inotify.read(timeout=int(PATIENCE_SECONDS * 1000)), f"no line came, {count} were awaited"


async def test_completed_steps_are_done_once_through_fifty_kills(
    make_daemon: Callable[..., Daemon],  # noqa: F811
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "runs.toml").write_text(RUNS_TOML)
    (project / "kills.py").write_text(MODULE)
    lines, daemon = Lines(project / "lines"), make_daemon(project=project)
    print(f"seed {SEED}")
    daemon.start()
    async with AsyncRunsClient(daemon.address, retry=PATIENT) as client:
        run_id = (await client.create_workflow_run("hundred", input=STEPS)).run.run_id
        lives = [await _killed_and_started(daemon, lines, plan) for plan in _plans(random.Random(SEED))]
        run = await client.wait(run_id, timeout=PATIENCE_SECONDS)
    assert (run.status.value, run.output) == ("completed", list(range(STEPS))), run.error
    assert len(lives) == KILLS
    assert daemon.stop() == 0
    _check_lines(lines.read(), lives)
    _check_record(daemon.state)
    assert [f for f in verify(daemon.state, Counts(), deep=True) if isinstance(f, Violation)] == []


def _plans(chance: random.Random) -> list[Plan]:
    lines = list(LINES) * (KILLS // len(LINES))
    chance.shuffle(lines)
    return [Plan(count, chance.uniform(0, 1.2 * STEP_SECONDS)) for count in lines]


async def _killed_and_started(daemon: Daemon, lines: Lines, plan: Plan) -> Life:
    await asyncio.to_thread(lines.until, len(lines.read()) + plan.lines)
    await asyncio.sleep(plan.seconds)
    await asyncio.to_thread(daemon.kill)
    life = Life(len(lines.read()), frozenset(_completed(daemon.state)))
    assert len(life.completed) < STEPS, "the workflow was to outlast the kills"
    await asyncio.to_thread(daemon.start)
    return life


def _completed(state: Path) -> Counter[int]:
    """How often the record has each step as completed."""
    with opened(state) as connection:
        rows = connection.execute("SELECT payload_json FROM events WHERE event_type = 'step.completed'").fetchall()
    return Counter(json.loads(payload)["output"] for (payload,) in rows)


def _check_lines(lines: list[int], lives: list[Life]) -> None:
    """A step has one line, and one more for each kill that met it in flight."""
    for life in lives:
        assert not life.completed & set(lines[life.lines :]), "a completed step was done again"
    in_flight = Counter(lines[life.lines - 1] for life in lives if life.lines)
    done = Counter(lines)
    assert sorted(done) == list(range(STEPS))
    excess = {step: count for step, count in done.items() if count > 1 + in_flight[step]}
    assert not excess, f"more often than kills met them: {excess}"
    again, clean = len(lines) - STEPS, sum(not life.lines or lines[life.lines - 1] in life.completed for life in lives)
    print(f"{KILLS} kills: {again} steps in flight were done once more, {clean} kills fell between steps")
    assert again >= KILLS // 5, "kills were to meet steps in flight"


def _check_record(state: Path) -> None:
    assert _completed(state) == Counter(range(STEPS))
