"""A daemon that lives as long as a `with` block, and takes its runs with it.

A daemon that ends leaves its runs executing, as it should; so they are ended first.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from runsd_client.demo.interrupts import interrupts_deferred
from runsd_client.errors import RunsError
from runsd_client.retrying import NO_RETRIES, RetryPolicy
from runsd_client.sync_client import RunsClient
from runsd_client.values import RunStatus

_MAX_SOCKET_PATH_BYTES = 107
_CANCEL_GRACE_SECONDS = 2
_END_SECONDS = 10.0
# Up to some 20 s until it answers: the machine may be busy, and a dead daemon is noticed in between.
_PATIENT = RetryPolicy(retries=80, initial_seconds=0.05, max_seconds=0.25, reconnect_for_seconds=20.0)
_ACTIVE = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING)


class DaemonFailed(Exception):
    """The daemon is not installed, or ended by itself; the message says which."""


@dataclass(frozen=True, slots=True)
class OwnDaemon:
    """Started, and perhaps not yet ready: the first call of a `client()` waits for that."""

    process: subprocess.Popen[bytes]
    address: str
    log_file: Path

    def client(self, project: str) -> RunsClient:
        return RunsClient(self.address, project=project, retry=_PATIENT, on_retry=self._check_alive)

    def _check_alive(self, error: RunsError, delay: float) -> None:
        status = self.process.poll()
        if status is not None:
            raise DaemonFailed(f"the daemon ended with status {status}")

    def log_tail(self, lines: int = 40) -> str:
        with suppress(OSError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        return ""


@contextmanager
def own_daemon(project: Path, directory: Path) -> Iterator[OwnDaemon]:
    """Serves `project`, with all that it keeps and its log in `directory`. Raises DaemonFailed."""
    if find_spec("runsd") is None:
        raise DaemonFailed(f"the daemon is not installed for {sys.executable}; try: pip install runsd")
    address = f"unix:{directory / 'runsd.sock'}"
    log_file = directory / "daemon.log"
    command = [sys.executable, "-P", "-m", "runsd.cli", "serve"]
    options = ["--project", str(project), "--state-dir", str(directory / "state"), "--listen", address]
    process: subprocess.Popen[bytes] | None = None
    try:
        with interrupts_deferred():
            process = _start([*command, *options], log_file)
        yield OwnDaemon(process, address, log_file)
    finally:
        if process is not None:
            with interrupts_deferred():
                _end(process, address)


def _start(command: list[str], log_file: Path) -> subprocess.Popen[bytes]:
    with log_file.open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(os.environ),
            start_new_session=True,  # Ctrl-C is for us; the daemon is told when its runs have ended
        )


def socket_fits(directory: Path) -> bool:
    return len(os.fsencode(directory / "runsd.sock")) <= _MAX_SOCKET_PATH_BYTES


def _environment(outer: Mapping[str, str]) -> dict[str, str]:
    """Without the settings of another daemon, and with a `python3` for the project's programs."""
    kept = {name: value for name, value in outer.items() if not name.startswith("RUNSD_")}
    path = os.pathsep.join(filter(None, (kept.get("PATH", os.defpath), str(Path(sys.executable).parent))))
    return {**kept, "PATH": path, "RUNSD_CANCEL_GRACE_SECONDS": str(_CANCEL_GRACE_SECONDS)}


def _end(process: subprocess.Popen[bytes], address: str) -> None:
    if process.poll() is None:
        with suppress(RunsError):
            _end_runs(address)
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_runs(address: str) -> None:
    with RunsClient(address, project="", retry=NO_RETRIES) as client:
        active = [run.run_id for run in client.list_all(statuses=_ACTIVE)]
        for run_id in active:
            client.cancel(run_id)
        for run_id in active:
            client.wait(run_id, _END_SECONDS)
