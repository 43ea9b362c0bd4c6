"""Processes of an attempt that left its group and session: found by the environment they were given.

A process that carries the attempt's variables was started by it and by nobody else: pids are never
trusted alone. Looking through all of /proc takes long, so the daemon is made the parent of what its
runs orphan: one look at its own children tells whether there is anything to look for.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.02
_PR_SET_CHILD_SUBREAPER = 36


def become_parent_of_orphans() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def has_orphans(contract: Mapping[str, str], leaders: Collection[int]) -> bool:
    """Whether a child of ours belongs to the attempt, apart from the leaders that we started.

    Orphans that have ended are reaped by the way.
    """
    marks = _marks(contract)
    return any(_is_orphan(pid, marks) for pid in _children() if pid not in leaders)


def _children() -> list[int]:
    try:
        return [
            int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
        ]
    except OSError:
        return []  # a thread has ended meanwhile, or the kernel does not tell


def _is_orphan(pid: int, marks: set[bytes]) -> bool:
    if _carries(Path("/proc", str(pid)), marks):
        return True
    with suppress(ChildProcessError):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            os.waitpid(pid, os.WNOHANG)
    return False


def _marks(contract: Mapping[str, str]) -> set[bytes]:
    return {f"{name}={contract[name]}".encode() for name in ("RUNSD_RUN_ID", "RUNSD_ATTEMPT")}


def has_members(contract: Mapping[str, str]) -> bool:
    return bool(_members(_marks(contract)))


async def end_members(contract: Mapping[str, str], grace_seconds: float) -> int:
    """SIGTERM, and SIGKILL after the grace period; returns how many there were."""
    marks = _marks(contract)
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
