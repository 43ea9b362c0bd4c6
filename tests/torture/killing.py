"""A daemon that is killed at random instants and started again."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from runsd.store.store import DATABASE
from tests.integration.daemon import Daemon
from tests.torture.project import SETTINGS

# One kill in so many comes at any instant of the start, the others after it.
EARLY_KILLS = 8
EARLIEST_SECONDS, LATEST_SECONDS = 0.05, 1.5
LONGEST_START_SECONDS = 1.0
_DEFECTS = ("error", "critical")
_WAITS = (
    "SELECT run_id, status, w.run_no IS NOT NULL FROM runs LEFT JOIN waits w USING (run_no) "
    "WHERE status = 'waiting' OR w.run_no IS NOT NULL"
)


@dataclass(slots=True)
class Life:
    """Of a daemon that got ready, to when it was killed; microseconds since 1970."""

    begin: int
    end: int | None = None


@dataclass(slots=True)
class Kills:
    """Recovery is from the daemon's launch until it accepts calls, in seconds.

    `found_waiting`: runs that waited when their daemon was killed, over all kills.
    """

    after_ready: int = 0
    while_starting: int = 0
    recovery: list[float] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    found_waiting: int = 0
    lives: list[Life] = field(default_factory=list)


class TorturedDaemon(Daemon):
    def __init__(self, directory: Path, project: Path) -> None:
        super().__init__(directory, project=project, settings=SETTINGS)
        self.all_logs = directory / "daemon.log"

    def keep_log(self) -> list[str]:
        """Puts the log of the last life into a file; what in it tells of a defect."""
        with self.all_logs.open("a") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in self.log)
        defects = [line for line in self.log if line.get("level", "") in _DEFECTS or "level" not in line]
        self.log.clear()
        return [f"the daemon said: {json.dumps(line)}" for line in defects]


async def kill_again_and_again(daemon: TorturedDaemon, cycles: int, seed: int, kills: Kills) -> None:
    """Leaves the daemon running. Raises AssertionError when it does not get ready."""
    random = Random(f"{seed}/kills")
    for _ in range(cycles):
        if random.randrange(EARLY_KILLS) == 0:
            daemon.launch()
            await asyncio.sleep(random.uniform(0, LONGEST_START_SECONDS))
            kills.while_starting += 1
        else:
            await start(daemon, kills)
            await asyncio.sleep(random.uniform(EARLIEST_SECONDS, LATEST_SECONDS))
            kills.after_ready += 1
            kills.lives[-1].end = time.time_ns() // 1000
        await _kill(daemon, kills)
    await start(daemon, kills)


async def start(daemon: TorturedDaemon, kills: Kills) -> None:
    begin = time.monotonic()
    await asyncio.to_thread(daemon.start)
    kills.recovery.append(time.monotonic() - begin)
    kills.lives.append(Life(time.time_ns() // 1000))


async def _kill(daemon: TorturedDaemon, kills: Kills) -> None:
    if not daemon.is_running:
        kills.complaints.append(f"the daemon had ended by itself, with status {daemon.wait()}")
    await asyncio.to_thread(daemon.kill)
    kills.complaints += daemon.keep_log()
    await asyncio.to_thread(_look_at_waits, daemon.state / DATABASE, kills)


def _look_at_waits(file: Path, kills: Kills) -> None:
    """What a killed daemon left: a row for each waiting run, and for no other."""
    if not file.exists():
        return
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute(_WAITS).fetchall()
        except sqlite3.OperationalError:
            return  # killed before it had made its tables
    kills.found_waiting += sum(status == "waiting" for _, status, _ in rows)
    kills.complaints += [
        f"{run_id} is {status} with{'' if has_wait else 'out'} a wait"
        for run_id, status, has_wait in rows
        if (status == "waiting") != has_wait
    ]


async def stop(daemon: TorturedDaemon, kills: Kills) -> None:
    status = await asyncio.to_thread(daemon.stop)
    if status != 0:
        kills.complaints.append(f"the daemon ended with status {status} when asked to stop")
    kills.complaints += daemon.keep_log()
