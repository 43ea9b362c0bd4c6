"""The files through which an attempt and the daemon speak, and where they are.

Files, not pipes: they are there whether or not a daemon is. Below the state directory:

    attempts/<ab>/<run_id>.<n>/    what the process writes and reads; gone once it is in the log
    artifacts/<ab>/<run_id>.<n>/   RUNSD_ARTIFACTS, kept as long as the run
    kept/<ab>/<run_id>/            RUNSD_STATE, shared by the attempts, gone with the last

Making and removing files costs more than a commit (ext4 does not use a freed inode again at once), so
an attempt gets as few as will do.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runsd.model.record import Documents

_TREES = ("attempts", "artifacts", "kept")
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS = 0x80086601, 0x40086602
_FS_TOPDIR_FL = 0x00020000


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of all runs."""

    root: Path

    def prepare(self) -> None:
        """Once, when the daemon starts."""
        for tree in _TREES:
            (self.root / tree).mkdir(mode=0o700, exist_ok=True)
            _spread_subdirectories(self.root / tree)

    def found(self) -> Iterator[tuple[str, int | None]]:
        """Runs of which there are files that go with the run: with the attempt, or None for RUNSD_STATE."""
        for directory in self.root.glob("attempts/*/*"):
            run_id, _, number = directory.name.rpartition(".")
            if number.isdigit():
                yield run_id, int(number)
        for directory in self.root.glob("kept/*/*"):
            yield directory.name, None

    def attempt(self, run_id: str, number: int) -> AttemptDirectory:
        return AttemptDirectory(str(self.root), run_id, number)


@dataclass(frozen=True, slots=True)
class AttemptDirectory:
    """Paths are made when they are asked for: most attempts of callables ask for none."""

    root: str
    run_id: str
    number: int

    @property
    def path(self) -> Path:
        return Path(f"{self.root}/attempts/{self._shard}/{self.run_id}.{self.number}")

    @property
    def artifacts(self) -> Path:
        return Path(f"{self.root}/artifacts/{self._shard}/{self.run_id}.{self.number}")

    @property
    def state(self) -> Path:
        return Path(f"{self.root}/kept/{self._shard}/{self.run_id}")

    @property
    def _shard(self) -> str:
        """Spread over 256 directories by the random end of the id."""
        return self.run_id[-2:]

    @property
    def input(self) -> Path:
        return self.path / "input.json"

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def null(self) -> Path:
        """The input or config of a run that has none."""
        return self.path / "null.json"

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
    def stdout(self) -> Path:
        return self.path / "stdout"

    @property
    def stderr(self) -> Path:
        return self.path / "stderr"

    @property
    def process(self) -> Path:
        """Which process executes the attempt, and at last its exit status.

        Made by whoever comes first, the process or a later daemon that gives the attempt up.
        """
        return self.path / "process"

    def prepare(self, documents: Documents) -> None:
        self.path.mkdir(mode=0o700, parents=True)
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)
        if documents.input_json:
            self.input.write_text(documents.input_json, encoding="utf-8")
        if documents.config_json:
            self.config.write_text(documents.config_json, encoding="utf-8")
        if not (documents.input_json and documents.config_json):
            self.null.write_text("null")

    def clear(self) -> None:
        """After the attempt's end, when all of it is in the log. Artifacts stay."""
        _remove(self.path)
        with suppress(OSError):  # it holds artifacts, or was never made
            self.artifacts.rmdir()

    def clear_run(self) -> None:
        """After the run's last attempt."""
        self.clear()
        _remove(self.state)


def _remove(directory: Path) -> None:
    """Follows no link, whatever a run has put in the directory's place or inside."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        directory.unlink(missing_ok=True)
        return
    try:
        _remove_files(descriptor)
        directory.rmdir()
    except OSError:
        # It holds directories, perhaps deeper than Python recurses; `rm` takes any.
        subprocess.run(["rm", "-rf", "--", directory], check=False, stderr=subprocess.DEVNULL)
    finally:
        os.close(descriptor)


def _remove_files(descriptor: int) -> None:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=descriptor)


def _spread_subdirectories(directory: Path) -> None:
    """Tells ext4 to lay the subdirectories far apart, where free inodes are found at once (chattr +T)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, struct.pack("i", 0)))
        fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("i", flags | _FS_TOPDIR_FL))
    except OSError:
        return  # another file system, which needs no hint
    finally:
        os.close(descriptor)
