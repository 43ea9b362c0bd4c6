"""A daemon that lives as long as a `with` block, and takes its runs with it.

A daemon that ends leaves its runs executing, as it should; so they are ended first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from runsd_client.demo.interrupts import interrupts_deferred
from runsd_client.demo.leftovers import end_leftovers
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


class OwnDaemon:
    """Started, and perhaps not yet ready: the first call of a `client()` waits for that.

    It can be killed and started again on the same state, and its clients go on.
    """

    def __init__(self, command: Sequence[str], address: str, log_file: Path) -> None:
        self._command = command
        self._address = address
        self._log_file = log_file
        self._process = _started(command, log_file)
        self._started_at = time.monotonic()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def seconds_since_start(self) -> float:
        return time.monotonic() - self._started_at

    def kill(self) -> None:
        """SIGKILL, and it is gone. What its runs execute as processes goes on."""
        self._process.kill()
        if (status := self._process.wait()) != -signal.SIGKILL:
            raise DaemonFailed(f"the daemon had ended already, with status {status}")

    def start_again(self) -> None:
        with interrupts_deferred():
            self._process = _started(self._command, self._log_file)
        self._started_at = time.monotonic()

    def end(self) -> None:
        """Its runs first; nothing where it is dead already."""
        if self._process.poll() is None:
            with suppress(RunsError):
                _end_runs(self._address)
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def client(self, project: str) -> RunsClient:
        return RunsClient(self._address, project=project, retry=_PATIENT, on_retry=self._check_alive)

    def _check_alive(self, error: RunsError, delay: float) -> None:
        status = self._process.poll()
        if status is not None:
            raise DaemonFailed(f"the daemon ended with status {status}")

    def log_tail(self, lines: int = 40) -> str:
        with suppress(OSError):
            return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-lines:])
        return ""


@contextmanager
def own_daemon(project: Path, directory: Path) -> Iterator[OwnDaemon]:
    """Serves `project`, with all that it keeps and its log in `directory`. Raises DaemonFailed."""
    if find_spec("runsd") is None:
        raise DaemonFailed(f"the daemon is not installed for {sys.executable}; try: pip install runsd")
    address, state_dir = f"unix:{directory / 'runsd.sock'}", directory.resolve() / "state"
    command = [sys.executable, "-P", "-m", "runsd.cli", "serve"]
    options = ["--project", str(project), "--state-dir", str(state_dir), "--listen", address]
    daemon: OwnDaemon | None = None
    try:
        with interrupts_deferred():
            daemon = OwnDaemon([*command, *options], address, directory / "daemon.log")
        yield daemon
    finally:
        if daemon is not None:
            with interrupts_deferred():
                daemon.end()
                end_leftovers(state_dir)  # of a daemon that was killed and did not come back


def _started(command: Sequence[str], log_file: Path) -> subprocess.Popen[bytes]:
    with log_file.open("ab") as log:
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


def _end_runs(address: str) -> None:
    with RunsClient(address, project="", retry=NO_RETRIES) as client:
        active = [run.run_id for run in client.list_all(statuses=_ACTIVE)]
        for run_id in active:
            client.cancel(run_id)
        for run_id in active:
            client.wait(run_id, _END_SECONDS)
