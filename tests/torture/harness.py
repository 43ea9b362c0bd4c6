"""One torture from beginning to end: load and kills, a quiet end, and the verdict."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from runsd.store.store import DATABASE
from tests.torture.checker import Checker
from tests.torture.disk import Disk, read_ledger
from tests.torture.flow_judging import FlowJudge, read_steps
from tests.torture.flows import LEDGER as STEPS
from tests.torture.judging import Judge
from tests.torture.killing import Kills, TorturedDaemon, kill_again_and_again, stop
from tests.torture.load import Load, running_load
from tests.torture.plan import FLOW
from tests.torture.project import write_project
from tests.torture.schedule_judging import ScheduleJudge
from tests.torture.witness import Watched, Witness
from tests.torture.work import LEDGER

# The longest run takes some seconds; in-process ones may have all of it before them.
ENDING_SECONDS = 120.0
# … and what is queued for more cycles takes longer.
ENDING_SECONDS_A_CYCLE = 0.5
CATCHING_UP_SECONDS = 30.0


@dataclass(slots=True)
class Verdict:
    """All of what was counted, and every violation."""

    cycles: int
    seed: int
    seconds: float
    kills: Kills
    witness: Witness
    disk: Disk
    judge: Judge
    flows: FlowJudge
    schedules: ScheduleJudge
    verified: str
    violations: list[str] = field(default_factory=list)


async def torture(directory: Path, cycles: int, seed: int) -> Verdict:
    begin = time.monotonic()
    project = directory / "project"
    write_project(project)
    daemon, kills, witness = TorturedDaemon(directory, project), Kills(), Witness()
    try:
        async with running_load(daemon.address, seed, witness) as load:
            await kill_again_and_again(daemon, cycles, seed, kills)
            await _end_quietly(load, daemon, witness, ENDING_SECONDS + cycles * ENDING_SECONDS_A_CYCLE)
        await stop(daemon, kills)
    finally:
        if daemon.is_running:
            daemon.kill()
    return _judged(daemon, cycles, seed, time.monotonic() - begin, kills, witness)


async def _end_quietly(load: Load, daemon: TorturedDaemon, witness: Witness, seconds: float) -> None:
    try:
        await load.finish(seconds)
    except TimeoutError:
        left = [told.wish.schedule_id for told in witness.schedules if not told.last.schedule_id]
        witness.complaints.append(f"after {seconds:g} s these had not ended: {witness.executing}, {left}")
    try:
        async with asyncio.timeout(CATCHING_UP_SECONDS):
            await _watchers_catch_up(daemon.state / DATABASE, witness)
    except TimeoutError:
        witness.complaints.append("the watchers did not catch up")
    witness.complaints += _verify(daemon.state)[1]


async def _watchers_catch_up(file: Path, witness: Witness) -> None:
    for watched, event_types in ((witness.watched, "%"), (witness.watched_lifecycles, "run.%")):
        last = _last_position(file, event_types)
        await witness.until(partial(_have_reached, watched, last))


def _have_reached(watched: list[Watched], position: int) -> bool:
    return bool(watched) and watched[-1].position >= position


def _last_position(file: Path, event_types: str) -> int:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        row = connection.execute(_LAST_POSITION, {"types": event_types}).fetchone()
        return int(row[0])


_LAST_POSITION = """
SELECT max(position) FROM (
    SELECT position FROM events WHERE event_type LIKE :types
    UNION ALL SELECT position FROM schedule_events WHERE event_type LIKE :types
)
"""


def _verify(state: Path, *options: str) -> tuple[str, list[str]]:
    """What `runsd verify` prints, and its violations."""
    command = [sys.executable, "-m", "runsd.cli", "verify", str(state), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [f"runsd verify: {line}" for line in done.stdout.splitlines() if line.startswith("violation:")]
    if done.returncode != bool(found):
        found.append(f"runsd verify ended with {done.returncode}: {done.stderr}")
    return done.stdout, found


def _judged(daemon: TorturedDaemon, cycles: int, seed: int, seconds: float, kills: Kills, witness: Witness) -> Verdict:
    disk = Disk(daemon.state / DATABASE)
    judge = Judge(disk, read_ledger(daemon.directory / "project" / LEDGER))
    flows = FlowJudge(disk, read_steps(daemon.directory / "project" / STEPS))
    schedules = ScheduleJudge(disk, kills.lives)
    verified, violations = _verify(daemon.state, "--deep")
    violations += [*kills.complaints, *witness.complaints, *Checker(disk, witness).violations()]
    for told in witness.schedules:
        violations += (f"schedule {told.wish.schedule_id}: {fault}" for fault in schedules.faults(told))
    for run in disk.runs.values():
        if run.schedule_id:
            continue
        faults = [*judge.faults(run), *(flows.faults(run) if run.target == FLOW else ())]
        violations += (f"{run.run_id} ({run.target}): {fault}" for fault in faults)
    return Verdict(cycles, seed, seconds, kills, witness, disk, judge, flows, schedules, verified, violations)
