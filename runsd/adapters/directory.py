"""An attempt's directory: the files through which it and the daemon speak.

Files, not pipes: they are there whether or not a daemon is. A run's directory holds one directory
for each attempt, and `state`, which all attempts share.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from runsd.model.record import Documents


@dataclass(frozen=True, slots=True)
class RunDirectory:
    path: Path

    @classmethod
    def of(cls, state_directory: Path, run_id: str) -> RunDirectory:
        # Spread over 256 directories by the random end of the id.
        return cls(state_directory / "runs" / run_id[-2:] / run_id)

    @property
    def state(self) -> Path:
        return self.path / "state"

    def attempt(self, number: int) -> AttemptDirectory:
        return AttemptDirectory(self.path / f"attempt-{number}", self.state)

    def clear(self) -> None:
        """After the run's end: all but the artifacts goes."""
        shutil.rmtree(self.state, ignore_errors=True)
        for attempt in self.path.glob("attempt-*"):
            AttemptDirectory(attempt, self.state).clear()
        _remove_if_empty(self.path)


@dataclass(frozen=True, slots=True)
class AttemptDirectory:
    path: Path
    state: Path

    @property
    def input(self) -> Path:
        return self.path / "input.json"

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def output(self) -> Path:
        return self.path / "output.json"

    @property
    def error(self) -> Path:
        return self.path / "error.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def stdout(self) -> Path:
        return self.path / "stdout"

    @property
    def stderr(self) -> Path:
        return self.path / "stderr"

    @property
    def process(self) -> Path:
        """Which process executes the attempt; made by whoever comes first, it or a later daemon."""
        return self.path / "process"

    @property
    def exit(self) -> Path:
        """The exit status; there once the process has ended."""
        return self.path / "exit"

    def prepare(self, documents: Documents) -> None:
        self.path.mkdir(mode=0o700, parents=True)
        self.artifacts.mkdir()
        self.state.mkdir(exist_ok=True)
        self.input.write_text(documents.input_json or "null")
        self.config.write_text(documents.config_json or "null")

    def clear(self) -> None:
        """Removes all that is in the log by now; artifacts stay where they are."""
        _remove_if_empty(self.artifacts)
        if not self.artifacts.exists():
            shutil.rmtree(self.path, ignore_errors=True)
            return
        for entry in self.path.iterdir():
            if entry != self.artifacts:
                entry.unlink() if not entry.is_dir() else shutil.rmtree(entry, ignore_errors=True)


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        # It holds something, or is not there.
        return
