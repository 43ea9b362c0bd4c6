"""A state directory that can only be read: at the start, and from one moment to the next."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from select import poll

import pytest
from runsd_client import AsyncRunsClient, Event, RetryPolicy, RunStatus, UnreachableError

from tests.integration.conftest import make_daemon  # noqa: F401 - a fixture
from tests.integration.daemon import PATIENCE_SECONDS, Daemon
from tests.integration.test_cancelling import begun
from tests.integration.test_executing import text, types

AT_ONCE = RetryPolicy(retries=0)


class MountNamespace:
    """Mounts that only what is executed inside sees. They end with what is inside."""

    def __init__(self) -> None:
        become_root = () if os.geteuid() == 0 else ("--map-root-user",)
        # It executes until its stdin ends, and keeps the namespace.
        self._holder = subprocess.Popen(
            ["unshare", *become_root, "--mount", "sh", "-c", "echo made; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        self.is_made = bool(self._holder.stdout.readline())
        be_root_there = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        target = ("--target", str(self._holder.pid))
        self.entered = ["nsenter", *target, *be_root_there, "--mount", "env", f"--chdir={Path.cwd()}"]

    def call(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.entered, *command], capture_output=True, text=True, check=False)

    def mount(self, *arguments: str | Path) -> None:
        done = self.call("mount", *arguments)
        assert done.returncode == 0, done.stderr

    def unmount(self, directory: Path) -> None:
        done = self.call("umount", directory)
        assert done.returncode == 0, done.stderr

    def end(self) -> str:
        """What it said."""
        return self._holder.communicate()[1]


@pytest.fixture
def namespace() -> Iterator[MountNamespace]:
    namespace = MountNamespace()
    if not namespace.is_made:
        pytest.skip(f"mount namespaces are not allowed here: {namespace.end().strip()}")
    yield namespace
    namespace.end()


class DaemonWithMounts(Daemon):
    def __init__(self, directory: Path, namespace: MountNamespace) -> None:
        super().__init__(directory)
        self._wrapper = namespace.entered


@pytest.fixture
def daemon(tmp_path: Path, namespace: MountNamespace) -> Iterator[DaemonWithMounts]:
    directory = tmp_path / "daemon"
    directory.mkdir()
    daemon = DaemonWithMounts(directory, namespace)
    yield daemon
    if daemon.is_running:
        daemon.kill()


READ_ONLY = ("--bind", "-o", "ro")


def files_of(directory: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, b"" if path.is_dir() else path.read_bytes())
        for path in [directory, *directory.rglob("*")]
    }


def refusal(daemon: Daemon) -> str:
    """What a daemon that must not start says."""
    daemon.log.clear()
    daemon.launch()
    assert daemon.wait() == 1
    assert not daemon.said("ready")
    (said,) = [str(line["event"]) for line in daemon.log if "level" not in line]
    return said


@pytest.mark.parametrize("holds", ["a store", "nothing", "no state directory"])
def test_read_only_state_directory_is_told_at_the_start(
    daemon: DaemonWithMounts, namespace: MountNamespace, holds: str
) -> None:
    daemon.state.mkdir()
    if holds == "a store":
        daemon.start()
        assert daemon.stop() == 0
        daemon.log.clear()
    mounted = daemon.state
    if holds == "no state directory":
        daemon.options[daemon.options.index("--state-dir") + 1] = str(mounted / "new")
    namespace.mount(*READ_ONLY, mounted, mounted)
    before = files_of(mounted)
    said = refusal(daemon)
    assert str(mounted) in said and "Read-only file system" in said and "--state-dir" in said
    if holds != "no state directory":
        assert "make it writable" in said
    assert files_of(mounted) == before
    namespace.unmount(mounted)
    daemon.start()
    assert daemon.stop() == 0


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Runs that a daemon answered for: one has ended, one executes, one waits."""

    ended: tuple[str, list[Event]]
    executing: str
    waiting: str


async def acknowledged(client: AsyncRunsClient, script: str) -> Acknowledged:
    ended = (await client.create_task_run("task:script", input="echo said; exit 7")).run.run_id
    await client.wait(ended, timeout=PATIENCE_SECONDS)
    executing = await begun(client, "task:script", "log", input=script)
    waiting = (await client.create_task_run("task:quick", start_after_seconds=3600)).run.run_id
    return Acknowledged((ended, await events_of(client, ended)), executing.run_id, waiting)


async def events_of(client: AsyncRunsClient, run_id: str) -> list[Event]:
    return [event async for event in client.replay(run_id)]


async def assert_ends_telling(daemon: Daemon) -> None:
    """A daemon whose state directory cannot be written any more, at the next write."""
    async with AsyncRunsClient(daemon.address, retry=AT_ONCE) as client:
        answers = await asyncio.gather(
            *(client.create_task_run("task:script", input="true") for _ in range(20)), return_exceptions=True
        )
    assert all(isinstance(answer, UnreachableError) for answer in answers), answers
    assert daemon.wait() == 1
    (said,) = [str(line["event"]) for line in daemon.log if "level" not in line]
    assert str(daemon.state / "runsd.db") in said and "read-only" in said and "make it writable" in said, daemon.log
    assert not any("Traceback" in str(line) for line in daemon.log), daemon.log


async def assert_kept(client: AsyncRunsClient, runs: Acknowledged) -> None:
    run_id, events = runs.ended
    assert await events_of(client, run_id) == events
    assert (await client.get(runs.waiting)).status is RunStatus.PENDING


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that a run waits for; it is there in the end, whatever becomes of the test."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


async def test_mount_that_turns_read_only_stops_the_daemon(
    daemon: DaemonWithMounts, namespace: MountNamespace, gate: Path
) -> None:
    """What is open can be written on, as it is when another mount covers the directory."""
    daemon.start()
    script = f"n=0; while [ ! -e {gate} ]; do n=$((n+1)); echo $n; sleep 0.01; done; exit 3"
    async with AsyncRunsClient(daemon.address) as client:
        runs = await acknowledged(client, script)
        namespace.mount(*READ_ONLY, daemon.state, daemon.state)
        await assert_ends_telling(daemon)
        assert str(daemon.state) in refusal(daemon)
        namespace.unmount(daemon.state)
        daemon.start()
        await assert_kept(client, runs)
        gate.touch()
        ended = await client.wait(runs.executing, timeout=PATIENCE_SECONDS)
        assert (ended.exit_code, ended.attempt) == (3, 1)
        lines = text(await events_of(client, runs.executing)).splitlines()
        assert lines == [str(number) for number in range(1, len(lines) + 1)]
    assert daemon.stop() == 0


@pytest.fixture
def image(daemon: DaemonWithMounts, namespace: MountNamespace, tmp_path: Path) -> Path:
    """A file that holds an ext4, which is mounted at the daemon's state directory."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    daemon.state.mkdir()
    for command in (("mkfs.ext4", "-q", image), ("mount", "-o", "loop", image, daemon.state)):
        done = namespace.call(*command)
        if done.returncode != 0:
            pytest.skip(f"a file system in a file cannot be made and mounted here: {done.stderr.strip()}")
    return image


async def test_file_system_that_gave_up_writing_stops_the_daemon(
    daemon: DaemonWithMounts, namespace: MountNamespace, image: Path, gate: Path, tmp_path: Path
) -> None:
    """As ext4 does after an error of the disk: what is open cannot be written either."""
    daemon.start()
    pids = tmp_path / "pids"
    script = f"echo $$ $PPID >{pids}; echo ready; while [ ! -e {gate} ]; do sleep 0.01; done; exit 3"
    async with AsyncRunsClient(daemon.address) as client:
        runs = await acknowledged(client, script)
        processes = [os.pidfd_open(int(pid)) for pid in pids.read_text().split()]
        namespace.mount("-o", "remount,abort", daemon.state)
        await assert_ends_telling(daemon)
        refusal(daemon)
        gate.touch()
        wait_for_end(processes)
        namespace.unmount(daemon.state)
        namespace.mount("-o", "loop", image, daemon.state)
        daemon.start()
        await assert_kept(client, runs)
        ended = await client.wait(runs.executing, timeout=PATIENCE_SECONDS)
        # Its status could not be written: it is known to have been interrupted, and is executed again.
        assert (ended.exit_code, ended.attempt) == (3, 2)
        assert types(await events_of(client, runs.executing)).count("run.interrupted") == 1
    assert daemon.stop() == 0


def wait_for_end(pidfds: list[int]) -> None:
    for descriptor in pidfds:
        end = poll()
        end.register(descriptor)
        assert end.poll(PATIENCE_SECONDS * 1000), "it executes on"
        os.close(descriptor)
