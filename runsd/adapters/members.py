"""Processes of an attempt that no group or session leads to: found by the environment they were given.

Reads all of /proc, so it is for rare occasions. A process that carries the attempt's variables was
started by it and by nobody else: pids are never trusted alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.02


async def end_members(contract: Mapping[str, str], grace_seconds: float) -> int:
    """SIGTERM, and SIGKILL after the grace period; returns how many there were."""
    marks = {f"{name}={contract[name]}".encode() for name in ("RUNSD_RUN_ID", "RUNSD_ATTEMPT")}
    found = _members(marks)
    _signal(found, signal.SIGTERM)
    _signal(found, signal.SIGCONT)
    deadline = time.monotonic() + grace_seconds
    members = found
    while members and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        members = _members(marks)
    while members:
        _signal(members, signal.SIGKILL)
        await asyncio.sleep(POLL_SECONDS)
        members = _members(marks)
    return len(found)


def _members(marks: set[bytes]) -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _carries(entry, marks)]


def _carries(process: Path, marks: set[bytes]) -> bool:
    try:
        return marks <= set((process / "environ").read_bytes().split(b"\0"))
    except OSError:
        return False  # it has ended, or belongs to another user


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
