"""A process in a session of its own, which outlives the daemon.

A few lines of `sh` execute the command and record its status in a file, so that nobody has to be
there to wait for it. They first claim the attempt by creating its `process` file, whose two lines
identify them for ever: boot id, and pid with start time; the status is the third. A daemon that gives
the attempt up creates that file instead; only one of the two can succeed, so no attempt starts late
and unseen.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runsd.adapters.cgroup_spawn import can_spawn_into, spawn_into
from runsd.adapters.cgroups import Cgroup
from runsd.adapters.directory import AttemptDirectory
from runsd.adapters.regular_file import read_small

# It moves itself into its control group, if it has one and was not born there, before it has children.
# The trap keeps the shell there through signals to the group; the command gets the defaults back.
_SCRIPT = """
set -C
read -r _runsd_boot </proc/sys/kernel/random/boot_id
read -r _runsd_stat </proc/$$/stat
printf '%s\\n%s\\n' "$_runsd_boot" "$_runsd_stat" >"$1/process" || exit 125
set +C
[ -z "$4" ] || echo 0 >"$4"
trap : TERM INT HUP QUIT
_runsd_dir=$1
ulimit -S -n "$3"
cd -- "$2" 2>>"$1/stderr" && shift 4 && (exec "$@") </dev/null >>"$_runsd_dir/stdout" 2>>"$_runsd_dir/stderr"
echo $? >>"$_runsd_dir/process"
"""

# The limit of open files that the daemon was started with: runs keep it when the daemon raises its own.
_files_of_runs = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

# What Python ignores and a program expects to have its default.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
SHELL = "/bin/sh"
LEFTOVER_POLL_SECONDS = 0.02
CLAIM_POLL_SECONDS = 0.01
CLAIM_POLLS = 100
ABANDONED = "abandoned\n"


@dataclass(frozen=True, slots=True)
class Identity:
    """Names one process for ever: pids are used again, this is not."""

    boot_id: str
    pid: int
    start_time: int

    @classmethod
    def of_file(cls, file: Path) -> Identity | None:
        """None when there is none (yet), or the attempt was abandoned."""
        try:
            boot_id, stat = (read_small(file) or "").splitlines()[:2]
            return cls(boot_id, int(stat.split(" ", 1)[0]), _start_time(stat))
        except (ValueError, IndexError):
            return None

    def age_seconds(self) -> float:
        """Since the process began, asleep or awake."""
        ticks = os.sysconf("SC_CLK_TCK")
        return max(time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_time / ticks, 0.0)

    def is_of_this_boot(self) -> bool:
        return self.boot_id == _boot_id()

    def is_alive(self) -> bool:
        return self.is_of_this_boot() and _start_time_of(self.pid) == self.start_time


async def claimed_identity(directory: AttemptDirectory) -> Identity | None:
    """The process of an attempt that a former daemon started; None when there is none and never will be."""
    if not directory.path.exists():
        return None
    if _abandon(directory.process):
        return None
    # The shell creates the file and writes to it at once; we may have come between the two.
    for _ in range(CLAIM_POLLS):
        identity = Identity.of_file(directory.process)
        if identity is not None or read_small(directory.process) == ABANDONED:
            return identity
        await asyncio.sleep(CLAIM_POLL_SECONDS)
    return None


def _abandon(process_file: Path) -> bool:
    """Makes sure that an attempt which has not begun never will; False when it has."""
    try:
        descriptor = os.open(process_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    os.write(descriptor, ABANDONED.encode())
    os.close(descriptor)
    return True


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_time(stat: str) -> int:
    """Field 22 of /proc/PID/stat; the second, the name, may hold anything up to the last `)`."""
    return int(stat.rpartition(")")[2].split()[19])


def _start_time_of(pid: int) -> int | None:
    try:
        return _start_time(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


# The processes that are supervised now.
_leaders: set[int] = set()


def leaders() -> Collection[int]:
    return _leaders


class Process:
    """The leader of a session and process group, ours or a former daemon's child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exited = asyncio.Event()
        # True when the process has ended and others of its group go on.
        self.has_leftovers = False
        self._when_exited: Callable[[], None] | None = None
        self._pidfd: int | None = os.pidfd_open(pid)
        _leaders.add(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    def when_exited(self, callback: Callable[[], None]) -> None:
        """Calls back once, at once if the process has ended already."""
        self._when_exited = callback
        if self.exited.is_set():
            callback()

    def _on_exit(self) -> None:
        self.close()
        self._reap()
        # Asked at once after reaping: from here on only leftovers keep the number from being used again.
        self.has_leftovers = not self._group_is_gone()
        self.exited.set()
        if self._when_exited is not None:
            self._when_exited()

    def close(self) -> None:
        _leaders.discard(self.pid)
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _reap(self) -> None:
        with suppress(ChildProcessError):  # a former daemon's child, not ours to wait for
            os.waitpid(self.pid, os.WNOHANG)

    def _signal_group(self, number: signal.Signals) -> None:
        if self.exited.is_set() and not self.has_leftovers:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _group_is_gone(self) -> bool:
        """True when nothing of the group executes any more; zombies do not count."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        return not any(self._is_live_member(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit())

    def _is_live_member(self, entry: Path) -> bool:
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return False
        state, group = fields[0], int(fields[2])
        return group == self.pid and state not in "ZX"

    async def stop(self, grace_seconds: float) -> bool:
        """SIGTERM to the group, and SIGKILL to what is left of it after the grace period: then True."""
        self._signal_group(signal.SIGTERM)
        # A stopped process would not see SIGTERM.
        self._signal_group(signal.SIGCONT)
        try:
            async with asyncio.timeout(grace_seconds):
                await self.exited.wait()
                await self._leftovers_end()
            return False
        except TimeoutError:
            self._signal_group(signal.SIGKILL)
        await self.exited.wait()
        await self._leftovers_end()
        return True

    async def _leftovers_end(self) -> None:
        # Nobody's children here, so there is nothing to wait on; this is rare and short.
        while self.has_leftovers:
            self.has_leftovers = not self._group_is_gone()
            if self.has_leftovers:
                await asyncio.sleep(LEFTOVER_POLL_SECONDS)


def spawn(
    directory: AttemptDirectory,
    argv: Sequence[str],
    working_directory: Path,
    env: Mapping[str, str],
    cgroup: Cgroup | None,
) -> Process:
    """Raises OSError when no process can be made."""
    shell = ("sh", "-c", _SCRIPT, "runsd", str(directory.path), str(working_directory), str(_files_of_runs))
    pid = _born_in(cgroup, (*shell, "", *argv), env) if cgroup is not None else None
    if pid is None:
        entrance = str(cgroup.entrance) if cgroup is not None else ""
        pid = os.posix_spawn(
            SHELL,
            (*shell, entrance, *argv),
            env,
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_SIGNALS,
            file_actions=_QUIET,
        )
    try:
        return Process(pid)
    except OSError:
        # Nobody could supervise it: it must not go on beside another attempt.
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _born_in(cgroup: Cgroup, argv: Sequence[str], env: Mapping[str, str]) -> int | None:
    """None when it has to move there itself."""
    try:
        return spawn_into(cgroup.path, SHELL, argv, env, _DEFAULT_SIGNALS) if can_spawn_into() else None
    except OSError:
        return None  # the group is gone, or the kernel would not; a lack of room is met again


# The shell's own descriptors: nothing of the daemon's terminal or journal reaches a run.
_QUIET = (
    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
)
