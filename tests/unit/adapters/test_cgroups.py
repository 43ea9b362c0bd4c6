"""Control groups of attempts: where they are, and that nothing in them goes unseen."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runsd.adapters import cgroups, process
from runsd.adapters.cgroup_spawn import can_spawn_into
from runsd.adapters.cgroups import Cgroup, Cgroups
from runsd.adapters.directory import AttemptDirectory, RunFiles
from runsd.adapters.members import Members
from runsd.model.record import Documents
from tests.integration.own_cgroup import delegated  # noqa: F401 - a fixture

WHOLE = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
BESIDE_THE_OLD = """31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
A_PART = "35 24 0:30 /system.slice /mnt/the\\040groups rw - cgroup2 cgroup2 rw\n"
OF_OTHERS = "57 47 0:38 /.. /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("own", "mounts", "directory"),
    [
        ("0::/system.slice/runsd.service\n", WHOLE, "/sys/fs/cgroup/system.slice/runsd.service"),
        ("5:cpu:/x\n0::/runsd\n", BESIDE_THE_OLD, "/sys/fs/cgroup/unified/runsd"),
        ("0::/\n", OF_OTHERS + WHOLE, "/sys/fs/cgroup"),
        ("0::/system.slice/a\\x2db.service\n", A_PART, "/mnt/the groups/a\\x2db.service"),
        ("0::/user.slice/x\n", A_PART, None),
        ("0::/../x\n", WHOLE, "/sys/fs/cgroup/../x"),
        ("5:cpu:/x\n", WHOLE, None),
        ("0::/x\n", "", None),
    ],
)
def test_own_directory(tmp_path: Path, own: str, mounts: str, directory: str | None) -> None:
    (tmp_path / "cgroup").write_text(own)
    (tmp_path / "mountinfo").write_text(mounts)
    assert cgroups._own_directory(tmp_path) == (Path(directory) if directory else None)


def test_only_what_systemd_says_is_delegated(delegated: Path) -> None:  # noqa: F811
    assert cgroups._is_delegated(delegated)
    (delegated / "below").mkdir()
    assert not cgroups._is_delegated(delegated / "below"), "writable is not enough"
    os.setxattr(delegated, "user.delegate", b"0")
    assert not cgroups._is_delegated(delegated)


NOBODY = 65534


def test_delegated_to_a_user(delegated: Path) -> None:  # noqa: F811
    """systemd gives the user no more than these of the directory."""
    assert not as_nobody(lambda: cgroups._is_delegated(delegated))
    for path in (delegated, delegated / "cgroup.procs"):
        os.chown(path, NOBODY, NOBODY)
    assert as_nobody(lambda: cgroups._is_delegated(delegated))


def as_nobody(question: Callable[[], bool]) -> bool:
    if (pid := os.fork()) == 0:
        os.setuid(NOBODY)
        os._exit(question())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


@pytest.mark.parametrize(("answer", "expected"), [("Delegate=yes", True), ("Delegate=no", False), ("", False)])
def test_user_manager_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, expected: bool) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\n[ "$*" = "--user show --property=Delegate -- x.service" ] && echo "{answer}"\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    environ = {"MANAGERPID": "1", "NOTIFY_SOCKET": "/x"}
    assert cgroups._says_users_manager(Path("/x.service"), environ) == expected
    assert not cgroups._says_users_manager(Path("/x.service"), {"MANAGERPID": "1"})


def test_groups_of_attempts_are_told_from_others(tmp_path: Path) -> None:
    for name in (".control", "run.1", "run.12", "run", "run.x"):
        (tmp_path / name).mkdir()
    (tmp_path / "cgroup.procs").touch()
    assert sorted(Cgroups(tmp_path).found()) == [("run", 1), ("run", 12)]


@contextmanager
def sleeping(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in a group, deaf to SIGTERM, that has said so."""
    script = f"echo $$ >{directory}/cgroup.procs; trap '' TERM; echo; exec sleep 1000"
    process = subprocess.Popen(["env", "-i", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_processes_are_found_in_groups_below_too(delegated: Path) -> None:  # noqa: F811
    cgroup = Cgroup(delegated / "run.1")
    assert cgroup.processes() == set()
    assert cgroup.remove(), "there is none, so nothing is in it"
    assert cgroup.make()
    (cgroup.path / "a" / "b").mkdir(parents=True)
    with sleeping(cgroup.path) as one, sleeping(cgroup.path / "a" / "b") as other:
        assert cgroup.processes() == {one.pid, other.pid}
        assert not cgroup.remove()
        cgroup.kill()
        assert (one.wait(), other.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
    assert cgroup.remove()
    assert not cgroup.path.exists()


async def test_members_are_asked_and_then_killed(delegated: Path) -> None:  # noqa: F811
    cgroup = Cgroup(delegated / "run.1")
    members = Members("run", 1, cgroup)
    cgroup.make()
    with sleeping(cgroup.path) as one:
        assert members.are_left() and members.are_children_left(())
        assert await members.end(0.05) == 1
        assert one.wait() == -signal.SIGKILL
    assert not cgroup.path.exists()
    assert not members.are_left()
    assert await members.end(0.05) == 0


def test_where_none_can_be_made_there_is_none(delegated: Path) -> None:  # noqa: F811
    assert not Cgroup(delegated / "gone" / "run.1").make()


@pytest.fixture
def directory(tmp_path: Path) -> AttemptDirectory:
    files = RunFiles(tmp_path)
    files.prepare()
    directory = files.attempt("01a21093-1e37-7eda-8ab1-45e96b2b14b8", 1)
    directory.prepare(Documents())
    return directory


async def executed(directory: AttemptDirectory, cgroup: Cgroup | None, *argv: str) -> str:
    """What it wrote, when it has ended well."""
    env = {"PATH": os.environ["PATH"], "NAME": "é=\n", "EMPTY": ""}
    spawned = process.spawn(directory, argv, Path("/"), env, cgroup)
    await spawned.exited.wait()
    assert directory.process.read_text().splitlines()[2] == "0"
    return directory.stdout.read_text()


@pytest.mark.parametrize("is_born_there", [False, True])
async def test_attempt_begins_in_its_group(
    delegated: Path,  # noqa: F811
    directory: AttemptDirectory,
    monkeypatch: pytest.MonkeyPatch,
    is_born_there: bool,
) -> None:
    if is_born_there and not can_spawn_into():
        pytest.skip("the C library cannot spawn into a control group")
    monkeypatch.setattr(process, "can_spawn_into", lambda: is_born_there)
    cgroup = Cgroup(delegated / "run.1")
    cgroup.make()
    script = """grep ^0:: /proc/self/cgroup; echo "$1"; env | grep -A1 NAME; cut -d ' ' -f 6 /proc/$$/stat; echo $PPID
    grep -E 'Sig(Blk|Ign)' /proc/self/status; readlink /proc/$PPID/fd/0 /proc/$PPID/fd/1 /proc/$PPID/fd/2"""
    written = (await executed(directory, cgroup, "sh", "-c", script, "sh", "two  words")).splitlines()
    assert written[0].endswith("/run.1")
    assert written[1:4] == ["two  words", "NAME=é=", ""]
    assert written[4] == written[5], "its shell leads the session"
    blocked, ignored = (int(line.split()[1], 16) for line in written[6:8])
    assert blocked == 0
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1), "Python ignores these"
    assert written[8:] == ["/dev/null"] * 3
    assert cgroup.remove()


async def test_attempt_does_without_a_group_that_is_gone(delegated: Path, directory: AttemptDirectory) -> None:  # noqa: F811
    assert await executed(directory, Cgroup(delegated / "run.1"), "echo", "done") == "done\n"
