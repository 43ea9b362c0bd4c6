"""Processes of an attempt that outlive its shell: found by its control group, and by their environment.

A process that carries the attempt's variables was started by it and by nobody else: pids are never
trusted alone. Looking through all of /proc takes long, so the daemon is made the parent of what its
runs orphan: one look at its own children tells whether there is anything to look for. What left its
session and emptied its environment is found where the attempt has a control group, and only there.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runsd.adapters.cgroups import Cgroup

POLL_SECONDS = 0.02
_PR_SET_CHILD_SUBREAPER = 36


def become_parent_of_orphans() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Members:
    """The processes of one attempt whose own shell has ended."""

    run_id: str
    attempt: int
    cgroup: Cgroup | None

    @property
    def _marks(self) -> set[bytes]:
        return {f"RUNSD_RUN_ID={self.run_id}".encode(), f"RUNSD_ATTEMPT={self.attempt}".encode()}

    def are_children_left(self, leaders: Collection[int]) -> bool:
        """Whether there are any among our children, apart from the leaders that we started, or in the
        control group, which goes when there are none.

        Orphans that have ended are reaped by the way.
        """
        return self._are_in_cgroup() or _has_orphans(self._marks, leaders)

    def are_left(self) -> bool:
        """Whether there are any: orphans of a former daemon's time are not our children."""
        return self._are_in_cgroup() or bool(_marked(self._marks))

    def _are_in_cgroup(self) -> bool:
        return self.cgroup is not None and not self.cgroup.remove()

    async def end(self, grace_seconds: float) -> int:
        """SIGTERM, and SIGKILL after the grace period; returns how many there were."""
        found = self._pids()
        _signal(found, signal.SIGTERM)
        # A stopped process would not see SIGTERM.
        _signal(found, signal.SIGCONT)
        deadline = time.monotonic() + grace_seconds
        left = found
        while left and time.monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            left = self._pids()
        while left:
            if self.cgroup is not None:
                self.cgroup.kill()
            _signal(left, signal.SIGKILL)
            await asyncio.sleep(POLL_SECONDS)
            left = self._pids()
        if self.cgroup is not None:
            self.cgroup.remove()
        return len(found)

    def _pids(self) -> set[int]:
        return _marked(self._marks) | (self.cgroup.processes() if self.cgroup is not None else set())


def _has_orphans(marks: set[bytes], leaders: Collection[int]) -> bool:
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


def _marked(marks: set[bytes]) -> set[int]:
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _carries(entry, marks)}


def _carries(process: Path, marks: set[bytes]) -> bool:
    try:
        return marks <= set((process / "environ").read_bytes().split(b"\0"))
    except OSError:
        return False  # it has ended, or belongs to another user


def _signal(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
