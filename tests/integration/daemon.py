"""A real daemon in a process of its own, on directories of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent / "project"
# Far more than anything needs; so that a defect ends a test instead of hanging it.
PATIENCE_SECONDS = 60.0

SETTINGS = """
[cancel]
grace_seconds = 0.5
[retry]
initial_delay_seconds = 0.01
jitter = 0.0
"""


class Daemon:
    def __init__(
        self,
        directory: Path,
        *,
        project: Path = PROJECT,
        settings: str = SETTINGS,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.socket = directory / "runsd.sock"
        self.address = f"unix:{self.socket}"
        self.options = ["--project", str(project), "--state-dir", str(self.state), "--listen", self.address]
        self.log: list[dict[str, Any]] = []
        self._settings = settings
        self._env = env or {}
        self._wrapper: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._settled = threading.Event()
        self._said = threading.Condition()

    def limit_files(self, count: int) -> None:
        """How many it may have open, from the next start on."""
        self._wrapper = ["sh", "-c", f'ulimit -n {count}; exec "$@"', "sh"]

    def set_env(self, env: Mapping[str, str]) -> None:
        """From the next start on."""
        self._env = env

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when the daemon accepts calls."""
        self.launch()
        self._settled.wait(PATIENCE_SECONDS)
        assert self.said("ready"), f"the daemon did not get ready: {self.log}"

    def launch(self) -> None:
        config = self.directory / "runsd.toml"
        config.write_text(self._settings)
        self._settled.clear()
        self._process = subprocess.Popen(
            [*self._wrapper, sys.executable, "-m", "runsd.cli", "serve", "--config", str(config), *self.options],
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **self._env},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()

    def _read_log(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        for line in self._process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"event": line.strip()})
            with self._said:
                self._said.notify_all()
            if self.log[-1]["event"] == "ready":
                self._settled.set()
        self._settled.set()

    def wait_for(self, event: str) -> None:
        """Until the log has the event."""
        with self._said:
            assert self._said.wait_for(lambda: self.said(event), PATIENCE_SECONDS), self.log

    def said(self, event: str) -> bool:
        return any(line["event"] == event for line in self.log)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        assert self._process is not None and self._reader is not None
        status = self._process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        return status

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
