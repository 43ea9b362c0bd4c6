"""The real systemd as process 1 of namespaces and a control group of its own.

It sees the machine's programs and this checkout. /run, /tmp, /var and /etc are its own, so that what
is installed and started there never reaches the machine. Needs root, and leave to make namespaces.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.integration.own_cgroup import NoCgroup, own_cgroup

SYSTEMD = Path("/lib/systemd/systemd")
TOOLS = ("bash", "setpriv", "unshare", "nsenter", "mount", "systemctl", "systemd-analyze")
BOOT = Path(__file__).with_name("boot_systemd.sh")
REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("runsd")
REPLACED = (Path("/run"), Path("/tmp"), Path("/var"), Path("/etc"))
# Far more than anything needs; so that a defect ends a test instead of hanging it.
PATIENCE_SECONDS = 60.0


class NoMachine(Exception):
    """Why none can be booted here."""


class Machine:
    """`pid` is process 1's, as seen from outside."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root = Path(f"/proc/{pid}/root")

    def execute(self, *command: str, env: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Inside, as root, with `env` (`NAME=value`) and a PATH for its environment."""
        enter = ["nsenter", f"--target={self.pid}", "--all", "--wd=/", "env", "-i", "PATH=/usr/bin:/bin", *env]
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=PATIENCE_SECONDS)

    def output(self, *command: str, env: Sequence[str] = ()) -> str:
        """Of a command that must succeed."""
        done = self.execute(*command, env=env)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}\n{self.journal()}"
        return done.stdout.strip()

    def journal(self, *matches: str) -> str:
        return self.execute("journalctl", "--no-pager", "--output=short-monotonic", *matches).stdout

    def path(self, inside: str) -> Path:
        """A path in there, as seen from outside."""
        return self.root / inside.lstrip("/")

    def write(self, inside: str, text: str) -> None:
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_text(text)


@contextmanager
def booted() -> Iterator[Machine]:
    """Raises NoMachine."""
    _require()
    with ExitStack() as stack:
        cgroup = stack.enter_context(_own_cgroup())
        log = stack.enter_context(tempfile.TemporaryFile("w+"))
        ready = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        # An abstract name is seen from all mount namespaces.
        ready.bind(f"\0{cgroup.name}")
        unshare = subprocess.Popen(
            _command(cgroup),
            env={**os.environ, "NOTIFY_SOCKET": f"@{cgroup.name}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        stack.callback(unshare.wait)
        stack.callback(unshare.kill)
        first = stack.enter_context(_first_process(unshare, ready, log))
        yield Machine(first)


def _require() -> None:
    if os.geteuid() != 0:
        raise NoMachine("only root can boot systemd")
    if not SYSTEMD.exists():
        raise NoMachine(f"{SYSTEMD} is not installed")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise NoMachine(f"not installed: {', '.join(missing)}")


def _command(cgroup: Path) -> list[str]:
    kept = {REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)}
    kept = {path for path in kept if any(path.is_relative_to(replaced) for replaced in REPLACED)}
    enter = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
    own = ("--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--cgroup", "--mount-proc")
    # Should the tests be killed, it goes with them.
    tied = ("setpriv", "--pdeathsig", "KILL", "unshare", *own, "bash", str(BOOT), *map(str, sorted(kept)))
    return ["bash", "-euc", enter, "enter", str(cgroup), *tied]


@contextmanager
def _own_cgroup() -> Iterator[Path]:
    """Apart from all others, so that several can be booted at a time. Raises NoMachine."""
    try:
        with own_cgroup(f"runsd-machine-{os.getpid()}") as cgroup:
            yield cgroup
    except NoCgroup as error:
        raise NoMachine(str(error)) from error


@contextmanager
def _first_process(unshare: subprocess.Popen[bytes], ready: socket.socket, log: IO[str]) -> Iterator[int]:
    """Waits until it has booted; ends it, and with it everything in there. Raises NoMachine."""
    _await_boot(unshare, ready, log)
    pid = int(Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()[0])
    descriptor = os.pidfd_open(pid)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        # It ends when all others of its namespace have.
        select.select([descriptor], [], [], PATIENCE_SECONDS)
        os.close(descriptor)


def _await_boot(unshare: subprocess.Popen[bytes], ready: socket.socket, log: IO[str]) -> None:
    process = os.pidfd_open(unshare.pid)
    try:
        while ready.fileno() in select.select([ready.fileno(), process], [], [], PATIENCE_SECONDS)[0]:
            if b"READY=1" in ready.recv(4096).splitlines():
                return
    finally:
        os.close(process)
    log.seek(0)
    raise NoMachine(f"systemd does not boot here: {log.read().strip()}")
