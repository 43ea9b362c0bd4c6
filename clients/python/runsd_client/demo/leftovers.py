"""Processes of runs whose daemon is gone: nobody else would end them, or miss them."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROUNDS = 10
_GONE_SECONDS = 1.0


def end_leftovers(state_dir: Path) -> None:
    """SIGKILL to every process of a run that has its files below `state_dir`, until there is none."""
    for _ in range(_ROUNDS):  # what is killed may just have started another
        pids = list(_processes_of_runs(state_dir))
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                _kill(pid, state_dir)


def _processes_of_runs(state_dir: Path) -> Iterator[int]:
    return (
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is_of_run(entry, state_dir)
    )


def _is_of_run(process: Path, state_dir: Path) -> bool:
    with suppress(OSError):  # it has ended, or is somebody else's
        return b"\0RUNSD_STATE=" + os.fsencode(state_dir) + b"/" in b"\0" + (process / "environ").read_bytes()
    return False


def _kill(pid: int, state_dir: Path) -> None:
    """And waits until it is gone; never one that has got the number since."""
    pidfd = os.pidfd_open(pid)
    try:
        if _is_of_run(Path("/proc", str(pid)), state_dir):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], _GONE_SECONDS)
    finally:
        os.close(pidfd)
