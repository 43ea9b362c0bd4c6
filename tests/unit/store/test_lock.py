"""Who holds a state directory, and what a daemon that was killed leaves of it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from pathlib import Path

import pytest

from runsd.store import store
from runsd.store.store import LOCK, StateDirectoryBusy, locked


def hold(directory: Path, pid: int) -> int:
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, f"{pid}\n".encode())
    return descriptor


def pid_of_the_dead() -> int:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def test_what_a_killed_daemon_was_starting_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = hold(tmp_path, pid_of_the_dead())
    monkeypatch.setattr(time, "sleep", lambda _: os.close(descriptor))
    with locked(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_daemon_that_executes_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = hold(tmp_path, os.getpid())
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("nothing to wait for"))
    with pytest.raises(StateDirectoryBusy, match=f"pid {os.getpid()}"), locked(tmp_path):
        pass
    os.close(descriptor)


def test_lock_that_nobody_gives_back_is_told_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = hold(tmp_path, pid_of_the_dead())
    monkeypatch.setattr(store, "STARTING_SECONDS", 0.05)
    with pytest.raises(StateDirectoryBusy), locked(tmp_path):
        pass
    os.close(descriptor)
