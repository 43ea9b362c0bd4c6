"""A daemon whose wall clock is ahead of the machine's, which no test can set.

In the one process there is nothing else that shows the wall clock. `wall_clock` can be imported there, and put
further ahead.
"""

from __future__ import annotations

import os
from pathlib import Path

# Of the daemon's environment: how many seconds its clock is ahead from the start.
AHEAD = "WALL_CLOCK_AHEAD_SECONDS"

WALL_CLOCK = """
import time

TIME, TIME_NS = time.time, time.time_ns


def put_ahead(seconds):
    time.time = lambda: TIME() + seconds
    time.time_ns = lambda: TIME_NS() + seconds * 10**9
"""

AT_THE_START = f"""
import os

import wall_clock

wall_clock.put_ahead(int(os.environ.get("{AHEAD}", "0")))
"""


def install(directory: Path) -> None:
    """Into a directory that is first on the daemon's path; see `environment`."""
    (directory / "wall_clock.py").write_text(WALL_CLOCK)
    (directory / "sitecustomize.py").write_text(AT_THE_START)


def environment(directory: Path, ahead: int) -> dict[str, str]:
    return {"PYTHONPATH": f"{directory}:{os.environ.get('PYTHONPATH', '')}", AHEAD: str(ahead)}
