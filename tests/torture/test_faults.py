"""What goes wrong around the daemon: said clearly, nothing lost, nothing written on."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, OverloadedError, RetryPolicy, RunStatus, UnreachableError

from tests.integration.conftest import make_daemon  # noqa: F401 - a fixture
from tests.integration.daemon import Daemon
from tests.integration.test_cancelling import begun

MakeDaemon = Callable[..., Daemon]
AT_ONCE = RetryPolicy(retries=0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("mounting a small file system takes root")
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", directory], check=True)
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


async def test_full_disk_refuses_new_work_and_loses_nothing(
    make_daemon: MakeDaemon,  # noqa: F811
    small_disk: Path,
    tmp_path: Path,
) -> None:
    daemon = make_daemon()
    daemon.options[daemon.options.index("--state-dir") + 1] = str(small_disk / "state")
    daemon.start()
    gate = tmp_path / "gate"
    script = f"echo ready; while [ ! -e {gate} ]; do sleep 0.01; done; echo done; exit 3"
    async with AsyncRunsClient(daemon.address, retry=AT_ONCE) as client:
        run = await begun(client, "task:script", "log", input=script)
        filler = small_disk / "filler"
        fill(filler)
        with pytest.raises(OverloadedError, match="disk is full"):
            for _ in range(200):
                await client.create_task_run("task:quick", input="x" * 20_000, start_after_seconds=3600)
        assert (await client.get(run.run_id)).status is RunStatus.RUNNING
        assert len((await client.list(limit=5)).data) > 0
        gate.touch()
        filler.unlink()
        ended = await client.wait(run.run_id, timeout=60)
        assert (ended.exit_code, ended.attempt) == (3, 1)
        assert ended.logs.startswith("ready\n")
        again = (await client.create_task_run("task:quick", input=1)).run
        assert (await client.wait(again.run_id, timeout=60)).status is RunStatus.COMPLETED
    assert daemon.stop() == 0


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while opened.write(bytes(size)) == size:
                    pass


async def test_corrupt_database_stops_the_daemon_and_names_the_file(make_daemon: MakeDaemon) -> None:  # noqa: F811
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        for number in range(50):
            await client.create_task_run("task:quick", input="x" * 10_000, start_after_seconds=3600 + number)
    assert daemon.stop() == 0
    database = daemon.state / "runsd.db"
    intact = database.read_bytes()
    database.write_bytes(intact[:4096] + b"\xa5" * (len(intact) - 4096))
    damaged = database.read_bytes()
    daemon.launch()
    assert daemon.wait() == 1
    assert any(str(database) in line["event"] for line in daemon.log[-3:]), daemon.log
    assert database.read_bytes() == damaged, "nothing is written on"
    database.write_bytes(b"not a database" * 1000)
    daemon.launch()
    assert daemon.wait() == 1
    assert any(str(database) in line["event"] for line in daemon.log[-3:]), daemon.log
    assert not any("Traceback" in line["event"] for line in daemon.log)


async def test_vanished_state_directory_stops_the_daemon(make_daemon: MakeDaemon, tmp_path: Path) -> None:  # noqa: F811
    daemon = make_daemon()
    daemon.start()
    daemon.state.rename(tmp_path / "elsewhere")
    async with AsyncRunsClient(daemon.address, retry=AT_ONCE) as client:
        # A write of the daemon's own may have found it first, and ended the daemon by now.
        with pytest.raises(UnreachableError):
            await client.create_task_run("task:quick")
    assert daemon.wait() == 1
    assert any("removed or replaced" in line["event"] for line in daemon.log), daemon.log
    (tmp_path / "elsewhere").rename(daemon.state)
    daemon.start()
    assert daemon.stop() == 0


def test_unusable_state_directory_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for directory in ("/proc/nowhere", str(file / "below")):
        refused = subprocess.run(
            [sys.executable, "-m", "runsd.cli", "serve", "--state-dir", directory, "--listen", f"unix:{tmp_path}/s"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert refused.returncode == 1
        assert directory in refused.stderr and "--state-dir" in refused.stderr
        assert "Traceback" not in refused.stderr


async def test_shortage_of_descriptors_is_waited_out(make_daemon: MakeDaemon) -> None:  # noqa: F811
    """With room for a few runs at a time, all are executed, and the daemon says so."""
    daemon = make_daemon()
    daemon.limit_files(100)
    daemon.start()
    assert any("for want of open files" in line["event"] for line in daemon.log)
    async with AsyncRunsClient(daemon.address) as client:
        runs = [(await client.create_task_run("task:script", input="sleep 0.3")).run.run_id for _ in range(60)]
        for run_id in runs:
            ended = await client.wait(run_id, timeout=60)
            assert ended.status is RunStatus.COMPLETED, ended.error
    assert daemon.stop() == 0


async def test_runs_keep_the_limit_of_files_that_the_daemon_was_given(make_daemon: MakeDaemon) -> None:  # noqa: F811
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run = (await client.create_task_run("task:script", input="ulimit -S -n")).run
        ours = f"{resource.getrlimit(resource.RLIMIT_NOFILE)[0]}\n"
        assert (await client.wait(run.run_id, timeout=60)).logs == ours
    assert daemon.stop() == 0
