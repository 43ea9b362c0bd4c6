"""The daemon's own life: addresses, locks, settings, start and stop."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from runsd_client import AsyncRunsClient, RunStatus
from runsd_client.proto import runs_pb2, runs_pb2_grpc

from tests.integration.daemon import PROJECT, Daemon
from tests.integration.test_cancelling import begun
from tests.integration.test_executing import types

MakeDaemon = Callable[..., Daemon]


def command(*arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runsd.cli", *arguments],
        env={**os.environ, **env},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_defaults_are_the_users_own_directories(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    runtime, state = tmp_path / "runtime", tmp_path / "xdg-state"
    runtime.mkdir(mode=0o700)
    daemon = make_daemon(env={"XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(state)})
    daemon.options = ["--project", str(PROJECT)]
    daemon.start()
    path = runtime / "runsd" / "runsd.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (state / "runsd" / "runsd.db").is_file()
    assert stat.S_IMODE((state / "runsd").stat().st_mode) == 0o700
    async with AsyncRunsClient(f"unix:{path}") as client:
        assert len(await client.targets()) > 10
    assert daemon.stop() == 0


def test_state_directory_has_one_daemon(make_daemon: MakeDaemon) -> None:
    first = make_daemon("first")
    first.start()
    second = make_daemon("second")
    second.options[second.options.index("--state-dir") + 1] = str(first.state)
    second.launch()
    assert second.wait() == 1
    assert any(f"pid {first.pid}" in line["event"] for line in second.log)
    assert first.stop() == 0


def test_live_socket_is_refused_and_stale_one_replaced(make_daemon: MakeDaemon) -> None:
    first = make_daemon("first")
    first.start()
    second = make_daemon("second")
    second.options[second.options.index("--listen") + 1] = first.address
    second.launch()
    assert second.wait() == 1
    assert any("another daemon listens" in line["event"] for line in second.log)
    first.kill()
    assert first.socket.exists()
    second.start()
    assert second.stop() == 0


def test_file_in_the_place_of_the_socket_is_left_alone(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.socket.write_text("precious")
    daemon.launch()
    assert daemon.wait() == 1
    assert daemon.socket.read_text() == "precious"


async def test_loopback_port(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.options += ["--listen", "127.0.0.1:0"]
    daemon.start()
    (ready,) = [line for line in daemon.log if line["event"] == "ready"]
    async with AsyncRunsClient(ready["listen"][1]) as client:
        run = (await client.create_task_run("task:quick", input=5)).run
        assert (await client.wait(run.run_id, timeout=30)).output == 5
    taken = make_daemon("other")
    taken.options += ["--listen", ready["listen"][1]]
    taken.launch()
    assert taken.wait() == 1, "a port is not shared"
    assert daemon.stop() == 0


@pytest.mark.parametrize("address", ["0.0.0.0:7000", "192.0.2.1:7000", "example.org:7000", "[::]:7000"])
def test_other_addresses_are_refused(address: str) -> None:
    refused = command("serve", "--listen", address)
    assert refused.returncode == 2
    assert "loopback" in refused.stderr


async def test_stops_in_time_however_many_streams_are_open(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client, grpc.aio.insecure_channel(daemon.address) as channel:
        stub = runs_pb2_grpc.RunsStub(channel)
        runs = [
            (await client.create_task_run(f"task:{task}", input="exec sleep 1000")).run.run_id
            for task in ("script", "wait-for-ever", "wait-for-ever/threaded", "deaf")
        ]
        streams: list[Any] = [stub.Events(runs_pb2.EventsRequest(run_id=runs[n % 4], follow=True)) for n in range(200)]
        streams += [stub.WatchEvents(runs_pb2.WatchEventsRequest()) for _ in range(20)]
        for stream in streams:
            await stream.read()
        waiting = [asyncio.ensure_future(stub.WaitRun(runs_pb2.WaitRunRequest(run_id=runs[0])))]
        begin = time.monotonic()
        status = await asyncio.to_thread(daemon.stop)
        seconds = time.monotonic() - begin
        assert status == 0
        assert seconds < 2, "the contract, not a measurement"
        for stream in streams:
            while True:
                try:
                    await stream.read()
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE
                    break
        with pytest.raises(grpc.aio.AioRpcError):
            await waiting[0]
        # The process goes on; the next daemon takes it up.
        daemon.start()
        await client.cancel(runs[0])
        assert (await client.wait(runs[0], timeout=30)).status is RunStatus.CANCELLED
    assert daemon.stop() == 0


async def test_process_goes_on_while_the_daemon_is_away(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    daemon = make_daemon()
    daemon.start()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f"echo before; read line <{gate}; echo meanwhile; echo $line; exit 5"
    async with AsyncRunsClient(daemon.address) as client:
        run = (await client.create_task_run("task:script", input=script)).run
        async for event in client.follow(run.run_id):
            if event.event_type == "log" and event.payload["text"] == "before\n":
                daemon.kill()
                await asyncio.to_thread(gate.write_text, "said\n")
                daemon.start()
        ended = await client.get(run.run_id)
    assert (ended.status, ended.exit_code, ended.attempt) == (RunStatus.FAILED, 5, 1)
    assert ended.logs == "before\nmeanwhile\nsaid\n"
    assert daemon.stop() == 0


async def test_callable_that_ended_with_the_daemon_was_interrupted(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        fails = (await client.create_task_run("task:fail-when-interrupted")).run.run_id
        again = (await client.create_task_run("task:wait-for-ever")).run.run_id
        for run_id in (fails, again):
            async for event in client.follow(run_id):
                if event.event_type == "waiting":
                    break
        daemon.kill()
        daemon.start()
        ended = await client.wait(fails, timeout=30)
        assert ended.error and (ended.error.code, ended.attempt) == ("interrupted", 1)
        assert types((await client.events(fails)).data)[-2:] == ["run.interrupted", "run.failed"]
        seen = []
        async for event in client.follow(again):
            seen.append(event.event_type)
            if seen.count("waiting") == 2:
                await client.cancel(again)
        assert seen.count("run.interrupted") == 1
        assert (await client.get(again)).attempt == 2
    assert daemon.stop() == 0


async def test_reload_takes_up_changes_without_touching_what_runs(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    declared = '[project]\nid = "p"\nmodules = ["own_code"]\n'
    (project / "runs.toml").write_text(declared)
    source = "from runsd import task\n@task(adapter='inprocess')\nasync def answer(ctx):\n    return {}\n"
    (project / "own_code.py").write_text(source.format(1))
    daemon = make_daemon(project=project)
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:

        async def answer() -> object:
            run = (await client.create_task_run("task:answer")).run
            return (await client.wait(run.run_id, timeout=30)).output

        assert await answer() == 1
        (project / "own_code.py").write_text(source.format(22))
        assert (await client.reload()).problems == ()
        assert await answer() == 22
        (project / "runs.toml").write_text("[project\n")
        with pytest.raises(Exception, match="not TOML"):
            await client.reload()
        assert await answer() == 22
        (project / "runs.toml").write_text(declared.replace("own_code", "no_such_code"))
        assert (await client.reload()).problems
    assert daemon.stop() == 0


def test_check_says_what_is_wrong_with_file_and_key(tmp_path: Path) -> None:
    checked = command("check", "--project", str(PROJECT))
    assert checked.returncode == 2
    assert 'tasks."broken".python' in checked.stderr and "runs.toml" in checked.stderr
    settings = tmp_path / "runsd.toml"
    settings.write_text("[limits]\nmax_runing = 3\n")
    checked = command("check", "--config", str(settings))
    assert checked.returncode == 2
    assert "max_runing" in checked.stderr and "max_running" in checked.stderr
    checked = command("check", RUNSD_LIMITS_MAX_RUNING="3")
    assert checked.returncode == 2
    assert "RUNSD_LIMITS_MAX_RUNNING" in checked.stderr
    good = tmp_path / "good"
    good.mkdir()
    (good / "runs.toml").write_text('[project]\nid = "good"\n[tasks.t]\ncommand = ["true"]\n')
    assert command("check", "--project", str(good)).returncode == 0
    assert command("check", "--project", str(tmp_path / "nowhere")).returncode == 2
    assert "Traceback" not in checked.stderr
    assert command("check", cwd=tmp_path).returncode == 2, "nothing was checked"
    assert command("check", cwd=good).returncode == 0, "the project that it is called in"


@pytest.mark.parametrize(("level", "told"), [("info", ["failed"]), ("debug", ["completed", "failed"])])
def test_log_is_json_with_the_run_id(make_daemon: MakeDaemon, level: str, told: list[str]) -> None:
    daemon = make_daemon(settings=f'log_level = "{level}"\n')
    daemon.start()
    with grpc.insecure_channel(daemon.address) as channel:
        stub = runs_pb2_grpc.RunsStub(channel)
        ids = []
        for status in ("0", "1"):
            request = runs_pb2.CreateRunRequest(target="task:exit-status", input_json=status)
            ids.append(stub.CreateRun(request).run.run_id)
            stub.WaitRun(runs_pb2.WaitRunRequest(run_id=ids[-1]))
    assert daemon.stop() == 0
    about = [line for line in daemon.log if line.get("run_id") in ids]
    assert [line["status"] for line in about] == told
    assert all("timestamp" in line and "level" in line for line in about)


def test_socket_of_another_program_is_not_taken(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.socket))
        other.listen()
        daemon.launch()
        assert daemon.wait() == 1


def test_interrupt_from_the_keyboard_stops_it_too(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    os.kill(daemon.pid, signal.SIGINT)
    assert daemon.wait() == 0


async def test_stopping_may_cancel_what_runs(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.options += ["--on-stop", "cancel"]
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.01; done"
        runs = [(await begun(client, "task:script", "log", input=script)).run_id for _ in range(3)]
        runs.append((await begun(client, "task:wait-for-ever", "waiting")).run_id)
        later = (await client.create_task_run("task:true", start_after_seconds=3600)).run.run_id
        assert await asyncio.to_thread(daemon.stop) == 0
        daemon.options = daemon.options[:-2]
        daemon.start()
        ended = [await client.get(run_id) for run_id in runs]
        assert {run.status for run in ended} == {RunStatus.CANCELLED}
        assert [run.exit_code for run in ended] == [4, 4, 4, None]
        assert (await client.get(later)).status is RunStatus.PENDING
    assert daemon.stop() == 0


async def test_hangup_reads_definitions_anew(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    declared = '[project]\nid = "p"\n[tasks.first]\ncommand = ["true"]\n'
    (project / "runs.toml").write_text(declared)
    daemon = make_daemon(project=project)
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        (project / "runs.toml").write_text(declared + '[tasks.second]\ncommand = ["true"]\n')
        os.kill(daemon.pid, signal.SIGHUP)
        await asyncio.to_thread(daemon.wait_for, "definitions reloaded")
        assert [target.target for target in await client.targets()] == ["task:first", "task:second"]
        (project / "runs.toml").write_text("nonsense")
        os.kill(daemon.pid, signal.SIGHUP)
        await asyncio.to_thread(daemon.wait_for, "definitions not reloaded")
        assert len(await client.targets()) == 2
    assert daemon.stop() == 0


async def test_draining_lets_what_executes_end_and_starts_nothing_more(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    daemon = make_daemon()
    daemon.start()
    gate = tmp_path / "gate"
    async with AsyncRunsClient(daemon.address) as client:
        executing = await begun(client, "task:until-released", "run.started", input=str(gate))
        assert runs_command(daemon, "drain", "--timeout", "0.2").returncode == 1
        later = (await client.create_task_run("task:true")).run.run_id
        draining = asyncio.create_task(asyncio.to_thread(runs_command, daemon, "drain", "--json"))
        gate.touch()
        assert (await client.wait(executing.run_id, timeout=30)).status is RunStatus.COMPLETED
        drained = await draining
        assert (drained.returncode, json.loads(drained.stdout)) == (0, {"executing": 0})
        assert (await client.get(later)).status is RunStatus.PENDING
        assert runs_command(daemon, "drain", "--resume").returncode == 0
        assert (await client.wait(later, timeout=30)).status is RunStatus.COMPLETED
    assert daemon.stop() == 0


def runs_command(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from runsd_client.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments, "--address", daemon.address],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_files_without_a_run_and_a_run_without_files(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run = await begun(client, "task:script", "log", input='echo ready; [ "$RUNSD_ATTEMPT" = 2 ] || exec sleep 1000')
        daemon.kill()
        (attempt,) = daemon.state.glob("attempts/*/*")
        shell = int((attempt / "process").read_text().splitlines()[1].split()[0])
        os.killpg(shell, signal.SIGKILL)
        shutil.rmtree(attempt)
        stranger = daemon.state / "attempts" / "ff" / "00000000-0000-7000-8000-0000000000ff.1"
        stranger.mkdir(parents=True)
        (stranger / "stdout").write_text("somebody's")
        daemon.start()
        ended = await client.wait(run.run_id, timeout=30)
        assert (ended.status, ended.attempt) == (RunStatus.COMPLETED, 2)
        await asyncio.to_thread(daemon.wait_for, "files of an unknown run are left alone")
    assert (stranger / "stdout").read_text() == "somebody's"
    assert daemon.stop() == 0
