"""A control group for each process attempt, where systemd has delegated that of our unit to us.

A process leaves its session and empties its environment at will; its control group it leaves only by
asking for it, so this is how all processes of an attempt are found. The groups lie flat below the
daemon's own and are named by run and attempt: a restarted daemon finds them again. No controller is
enabled: nothing is limited or accounted, and the daemon may stay where systemd put it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import structlog

logger = structlog.get_logger()

# Without an answer by then, attempts go without groups.
ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Cgroup:
    """Of one attempt. It need not be there: then nothing is in it."""

    path: Path

    @property
    def entrance(self) -> Path:
        """A process that writes `0` to it moves in; its children are born there."""
        return self.path / "cgroup.procs"

    def make(self) -> bool:
        """False where it cannot be made: the attempt does without."""
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            logger.warning("an attempt gets no control group", cgroup=str(self.path), error=str(error))
            return False
        return True

    def processes(self) -> set[int]:
        """Pids, also of groups that the attempt has made below its own."""
        return {pid for directory in self._tree() for pid in _processes(directory)}

    def kill(self) -> None:
        """SIGKILL to all at once, so that none can escape by forking."""
        with suppress(OSError):  # it is gone
            (self.path / "cgroup.kill").write_text("1")

    def remove(self) -> bool:
        """False when processes are in it. What cannot be removed otherwise is by a later daemon."""
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            if self.processes():
                return False
            self._remove_tree()
        return True

    def _remove_tree(self) -> None:
        for directory in reversed(self._tree()):
            with suppress(OSError):
                directory.rmdir()

    def _tree(self) -> list[Path]:
        """The group and all below it, parents first."""
        found = [self.path]
        for directory in found:
            with suppress(OSError), os.scandir(directory) as entries:
                found.extend(Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False))
        return found


def _processes(directory: Path) -> list[int]:
    """A pid of 0 is a process that our pid namespace does not show."""
    try:
        return [int(pid) for pid in (directory / "cgroup.procs").read_text().split() if pid != "0"]
    except OSError:
        return []  # removed meanwhile, or threaded: then the group above it tells


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Those of all attempts, below the daemon's own."""

    root: Path

    def of(self, run_id: str, attempt: int) -> Cgroup:
        return Cgroup(self.root / f"{run_id}.{attempt}")

    def found(self) -> Iterator[tuple[str, int]]:
        """Attempts that have one. Others may be there, like systemd's `.control`."""
        for directory in self.root.glob("?*.*/"):
            run_id, _, number = directory.name.rpartition(".")
            if run_id and number.isdigit():
                yield run_id, int(number)


@cache
def own_cgroups() -> Cgroups | None:
    """None where the daemon has no control group of its own to divide: everywhere but in its unit."""
    root = _own_directory(Path("/proc/self"))
    if root is None or not _is_delegated(root):
        return None
    logger.info("each attempt gets a control group", below=str(root))
    return Cgroups(root)


def _own_directory(process: Path) -> Path | None:
    """Of a process, given as its directory in /proc."""
    own = next((line[3:] for line in (process / "cgroup").read_text().splitlines() if line.startswith("0::/")), None)
    for line in (process / "mountinfo").read_text().splitlines() if own else ():
        mount, _, kind = line.partition(" - ")
        root, point = (_unescaped(field) for field in mount.split(" ")[3:5])
        if own and kind.startswith("cgroup2 ") and Path(own).is_relative_to(root):
            return Path(point, Path(own).relative_to(root))
    return None


def _unescaped(field: str) -> str:
    """mountinfo writes a blank as \\040."""
    return field.encode("latin-1", "backslashreplace").decode("unicode_escape") if "\\" in field else field


def _is_delegated(directory: Path) -> bool:
    """By systemd's word: what is merely writable may be somebody else's to divide."""
    is_ours = all(os.access(path, os.W_OK) for path in (directory, directory / "cgroup.procs"))
    # Not before Linux 5.14; without it other users' processes could not be ended.
    has_kill = (directory / "cgroup.kill").exists()
    return is_ours and has_kill and (_says_attribute(directory) or _says_users_manager(directory, os.environ))


def _says_attribute(directory: Path) -> bool:
    """Set by the system's manager; the first is for root's eyes only."""
    for name in ("trusted.delegate", "user.delegate"):
        with suppress(OSError):
            if os.getxattr(directory, name) == b"1":
                return True
    return False


def _says_users_manager(directory: Path, environ: Mapping[str, str]) -> bool:
    """A user's manager sets no attributes. It is asked by a daemon that is a service of it."""
    if not {"MANAGERPID", "NOTIFY_SOCKET"} <= environ.keys():
        return False
    question = ["systemctl", "--user", "show", "--property=Delegate", "--", directory.name]
    try:
        answer = subprocess.run(question, capture_output=True, timeout=ANSWER_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.strip() == b"Delegate=yes"
