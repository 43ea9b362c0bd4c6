"""Tasks that do their worst. The daemon lives, answers, and tells the truth about them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, InvalidRequestError, NewRun, Run, RunsError, RunStatus

from tests.integration.conftest import client, daemon, make_daemon  # noqa: F401 - fixtures
from tests.integration.daemon import SETTINGS, Daemon
from tests.integration.own_cgroup import delegated  # noqa: F401 - a fixture
from tests.integration.test_cancelling import begun
from tests.integration.test_executing import run_to_the_end, text, types

MakeDaemon = Callable[..., Daemon]
DIRECTORY = '$(dirname "$RUNSD_OUTPUT")'


@pytest.mark.parametrize("status", ["99999999999999999999", "9999999999", "-1", "256", "nonsense", ""])
async def test_status_that_is_none(client: AsyncRunsClient, status: str) -> None:  # noqa: F811
    """Written before the shell's own, so that it stands in its place."""
    script = f'echo "{status}" >>{DIRECTORY}/process'
    run, _ = await run_to_the_end(client, "task:script", input=script)
    assert run.error and run.error.code == "interrupted"
    assert (await client.list(limit=1)).data[0].run_id == run.run_id


@pytest.mark.parametrize("put", ["mkfifo", "mkdir", "ln -s /dev/zero"])
async def test_other_things_in_place_of_the_process_file(client: AsyncRunsClient, put: str) -> None:  # noqa: F811
    script = f"rm {DIRECTORY}/process; {put} {DIRECTORY}/process; echo ready; exec sleep 1000"
    run = await begun(client, "task:script", "log", input=script)
    await client.cancel(run.run_id)
    assert (await client.wait(run.run_id, timeout=30)).status is RunStatus.CANCELLED


async def test_restart_beside_a_pipe_in_place_of_the_process_file(make_daemon: MakeDaemon) -> None:  # noqa: F811
    daemon = make_daemon()  # noqa: F811
    daemon.start()
    script = (
        f'[ "$RUNSD_ATTEMPT" = 2 ] && exit; cd {DIRECTORY}; rm process; mkfifo process; echo ready; exec sleep 1000'
    )
    async with AsyncRunsClient(daemon.address) as client:  # noqa: F811
        run = await begun(client, "task:script", "log", input=script)
        daemon.kill()
        daemon.start()
        ended = await client.wait(run.run_id, timeout=30)
    assert (ended.status, ended.attempt) == (RunStatus.COMPLETED, 2)
    assert daemon.stop() == 0


@pytest.mark.parametrize("name", ["RUNSD_STATE", "RUNSD_ARTIFACTS"])
async def test_links_in_place_of_directories_lead_nowhere(
    client: AsyncRunsClient,  # noqa: F811
    tmp_path: Path,
    name: str,
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    run, events = await run_to_the_end(client, "task:script", input=f'rmdir "${name}"; ln -s {tmp_path} "${name}"')
    again, _ = await run_to_the_end(client, "task:true")
    assert run.status is again.status is RunStatus.COMPLETED
    assert run.artifacts == ()
    assert precious.read_text() == "precious"
    assert ("no directory any more" in text(events, "system")) == (name == "RUNSD_ARTIFACTS")


@pytest.mark.parametrize("name", ["RUNSD_STATE", "RUNSD_ARTIFACTS"])
async def test_deep_trees(client: AsyncRunsClient, daemon: Daemon, name: str) -> None:  # noqa: F811
    deep = f"import os\nos.chdir(os.environ['{name}'])\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')"
    run, events = await run_to_the_end(client, "task:script", input=f'python3 -c "{deep}"; echo x >"${name}/top"')
    assert run.status is RunStatus.COMPLETED
    if name == "RUNSD_ARTIFACTS":
        assert [artifact.name for artifact in run.artifacts] == ["top"]
        assert "folders deep" in text(events, "system")
        # Deeper than what clears up temporary directories recurses.
        (kept,) = daemon.state.glob(f"artifacts/*/{run.run_id}.1")
        await asyncio.create_subprocess_exec("rm", "-rf", str(kept))
    assert (await run_to_the_end(client, "task:quick"))[0].status is RunStatus.COMPLETED


async def test_endless_event_line_neither_blocks_nor_grows(client: AsyncRunsClient, daemon: Daemon) -> None:  # noqa: F811
    before = daemon.resident_bytes()
    script = 'truncate -s 200G "$RUNSD_EVENTS"; echo ready; exec sleep 1000'
    run = await begun(client, "task:script", "log", input=script)
    for _ in range(20):
        assert (await run_to_the_end(client, "task:quick"))[0].status is RunStatus.COMPLETED
    await client.cancel(run.run_id)
    ended = await client.wait(run.run_id, timeout=60)
    assert ended.status in (RunStatus.CANCELLED, RunStatus.FAILED), "cancelled, or past its output limit first"
    assert daemon.resident_bytes() - before < 100_000_000


async def test_blank_lines_hold_up_no_event(client: AsyncRunsClient, tmp_path: Path) -> None:  # noqa: F811
    gate = tmp_path / "gate"
    script = f"""
    head -c 2500000 /dev/zero | tr '\\0' '\\n' >>$RUNSD_EVENTS; echo '{{"event_type": "after.blanks"}}' >>$RUNSD_EVENTS
    while [ ! -e {gate} ]; do sleep 0.01; done"""
    await begun(client, "task:script", "after.blanks", input=script)
    gate.touch()


async def test_text_and_numbers_that_no_wire_carries(client: AsyncRunsClient) -> None:  # noqa: F811
    script = """
    printf '%s\\n' '{"event_type": "log", "payload": {"text": "a\\\\ud800b"}}' >>$RUNSD_EVENTS
    printf '%s\\n' '{"event_type": "big", "payload": {"a": 1e999}}' >>$RUNSD_EVENTS
    printf '%s' '{"message": "m", "detail": -1e999}' >$RUNSD_ERROR; exit 1"""
    run, events = await run_to_the_end(client, "task:script", input=script)
    assert run.logs.startswith("a\\ud800b")
    assert "big" not in types(events)
    assert run.error and run.error.code == "exit_code", "what cannot be told is passed over"


async def test_input_of_one_run_is_no_other_runs(client: AsyncRunsClient) -> None:  # noqa: F811
    script = """f=$(mktemp); echo '"stolen"' >$f; mv $f "$RUNSD_CONFIG"; echo '"stolen"' >"$RUNSD_INPUT" """
    await run_to_the_end(client, "task:script", input=script)
    _, events = await run_to_the_end(client, "task:echo", input=1)
    assert [e.payload for e in events if e.event_type == "echo.config"] == [{"config": None}]


async def test_commands_are_programs_and_variables_are_whole(make_daemon: MakeDaemon, tmp_path: Path) -> None:  # noqa: F811
    project = tmp_path / "project"
    project.mkdir()
    (project / "runs.toml").write_text(
        '[project]\nid = "p"\n[tasks.builtin]\ncommand = ["echo", "a\\\\nb"]\n'
        '[tasks.exec]\ncommand = ["exec", "true"]\n'
        '[tasks.env]\ncommand = ["env"]\nenv = { directory = "d", stat = "s", boot = "b" }\n'
        '[tasks.dotted]\ncommand = ["env"]\nenv = { "my.setting" = "x" }\n'
    )
    daemon = make_daemon(project=project)  # noqa: F811
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:  # noqa: F811
        _, events = await run_to_the_end(client, "task:builtin")
        assert text(events) == "a\\nb\n", "the program, not the shell's own"
        run, _ = await run_to_the_end(client, "task:exec")
        assert run.exit_code == 127
        _, events = await run_to_the_end(client, "task:env")
        assert {"directory=d", "stat=s", "boot=b"} <= set(text(events).splitlines())
        assert "my.setting" in (await client.target("task:dotted")).problems[0].message
    assert daemon.stop() == 0


async def test_output_limit_ends_what_is_left_behind_too(make_daemon: MakeDaemon, tmp_path: Path) -> None:  # noqa: F811
    daemon = make_daemon(settings=SETTINGS + "[limits]\noutput_bytes = 10000\n")  # noqa: F811
    daemon.start()
    pid = tmp_path / "pid"
    script = f"(trap '' TERM; echo $$ >{pid}; exec sleep 1000) & while :; do echo xxxxxxxxxxxxxxxxxxxx; done"
    async with AsyncRunsClient(daemon.address) as client:  # noqa: F811
        run, _ = await run_to_the_end(client, "task:script", input=script)
    assert run.error and run.error.code == "output_limit"
    assert not [p for p in Path("/proc").iterdir() if p.name.isdigit() and carries(p, run)]
    assert daemon.stop() == 0


def carries(process: Path, run: Run) -> bool:
    try:
        is_zombie = (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return not is_zombie and f"RUNSD_RUN_ID={run.run_id}".encode() in (process / "environ").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_left_the_session_is_ended_with_the_run(
    make_daemon: MakeDaemon,  # noqa: F811
    tmp_path: Path,
    restarted: bool,
) -> None:
    daemon = make_daemon()  # noqa: F811
    daemon.start()
    gate = tmp_path / "gate"
    script = f"""
    setsid sh -c 'trap "" TERM; exec sleep 1000' </dev/null >/dev/null 2>&1 &
    (setsid sleep 1000 </dev/null >/dev/null 2>&1 &) ; echo ready; while [ ! -e {gate} ]; do sleep 0.01; done; exit 5"""
    async with AsyncRunsClient(daemon.address) as client:  # noqa: F811
        run = await begun(client, "task:script", "log", input=script)
        if restarted:
            daemon.kill()
            daemon.start()
        gate.touch()
        ended = await client.wait(run.run_id, timeout=30)
        events = [event async for event in client.replay(run.run_id)]
        assert ended.exit_code == 5
        assert "left behind" in text(events, "system")
        assert not [p for p in Path("/proc").iterdir() if p.name.isdigit() and carries(p, run)]
        # Orphans that end by themselves are reaped.
        for _ in range(3):
            await run_to_the_end(client, "task:script", input="(setsid true &); sleep 0.05")
        assert len([p for p in Path("/proc").iterdir() if p.name.isdigit() and is_zombie_of(p, daemon.pid)]) <= 2
    assert daemon.stop() == 0


# What each starts leaves its session and its parent, and does not end when asked to.
DESERTERS = {
    "its environment": """
        mkfifo "$RUNSD_STATE/told"
        (env -i TOLD="$RUNSD_STATE/told" setsid sh -c '
            trap "" TERM; echo $$ >"$TOLD"; exec env -i sleep 1000' </dev/null >/dev/null 2>&1 &)
        read -r deserter <"$RUNSD_STATE/told"; echo "$deserter"; {then}""",
    "for a group below": """
        mkfifo "$RUNSD_STATE/told"
        (env -i TOLD="$RUNSD_STATE/told" setsid sh -c '
            below={groups}/$(basename $(grep ^0:: /proc/self/cgroup))/be/low; mkdir -p $below
            trap "" TERM; echo 0 >$below/cgroup.procs
            echo $$ >"$TOLD"; exec env -i sleep 1000' </dev/null >/dev/null 2>&1 &)
        read -r deserter <"$RUNSD_STATE/told"; echo "$deserter"; {then}""",
    "its group": """
        mkfifo "$RUNSD_STATE/told"
        (setsid sh -c '
            trap "" TERM; echo 0 >{groups}/cgroup.procs
            echo $$ >"$RUNSD_STATE/told"; exec sleep 1000' </dev/null >/dev/null 2>&1 &)
        read -r deserter <"$RUNSD_STATE/told"; echo "$deserter"; {then}""",
}


@pytest.mark.parametrize(
    ("left", "end"),
    [
        *(("its environment", end) for end in ("ends", "cancelled", "endless", "adopted", "unattended")),
        *(("for a group below", end) for end in ("ends", "unattended")),
        *(("its group", end) for end in ("ends", "adopted")),
    ],
)
async def test_deserter_is_ended_with_its_run(
    make_daemon: MakeDaemon,  # noqa: F811
    delegated: Path,  # noqa: F811
    tmp_path: Path,
    left: str,
    end: str,
) -> None:
    daemon = make_daemon(settings=SETTINGS + "[limits]\noutput_bytes = 10000\n")  # noqa: F811
    daemon.start()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    then = "while :; do echo xxxxxxxxxxxxxxxxxxxx; done" if end == "endless" else f"read -r line <{gate}"
    script = DESERTERS[left].format(groups=delegated, then=then)
    async with AsyncRunsClient(daemon.address) as client:  # noqa: F811
        run = (await client.create_task_run("task:script", input=script)).run
        said = await anext(event async for event in client.follow(run.run_id) if event.event_type == "log")
        deserter = Path("/proc", said.payload["text"].split()[0])
        if end == "cancelled":
            await client.cancel(run.run_id)
        elif end == "adopted":
            daemon.kill()
            daemon.start()
        elif end == "unattended":
            daemon.kill()
        if end not in ("cancelled", "endless"):
            assert is_alive(deserter)
            gate.write_text("end\n")
        if end == "unattended":
            daemon.start()
        ended = await client.wait(run.run_id, timeout=30)
        events = [event async for event in client.replay(run.run_id)]
    assert not is_alive(deserter)
    assert ended.attempt == 1
    if end != "endless":  # then nothing more is recorded
        assert text(events, "system").count("left behind") == 1
    assert daemon.stop() == 0
    assert not list(delegated.glob("*/")), "no group is left"


def is_alive(process: Path) -> bool:
    try:
        return (process / "cmdline").read_bytes() != b""
    except OSError:
        return False


async def executing_in(group: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_shell(
        f"echo 0 >{group}/cgroup.procs; echo; exec sleep 1000", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def test_groups_of_attempts_that_are_over_are_cleared(make_daemon: MakeDaemon, delegated: Path) -> None:  # noqa: F811
    daemon = make_daemon()  # noqa: F811
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:  # noqa: F811
        over, also_over = [(await run_to_the_end(client, "task:quick"))[0].run_id for _ in range(2)]
    daemon.kill()
    for name in (f"{over}.1", f"{over}.1/below", f"{also_over}.1", ".control", "unknown.1"):
        (delegated / name).mkdir()
    survivor = await executing_in(delegated / f"{also_over}.1")
    unknown = await executing_in(delegated / "unknown.1")
    daemon.start()
    assert await survivor.wait() == -signal.SIGKILL
    assert daemon.stop() == 0
    assert {group.name for group in delegated.glob("*/")} == {f"{also_over}.1", ".control", "unknown.1"}
    unknown.kill()
    await unknown.wait()


def is_zombie_of(process: Path, parent: int) -> bool:
    try:
        state, its_parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return False
    return state == "Z" and int(its_parent) == parent


async def test_what_outlived_its_shell_is_ended_before_another_attempt(make_daemon: MakeDaemon, tmp_path: Path) -> None:  # noqa: F811
    daemon = make_daemon()  # noqa: F811
    daemon.start()
    proof = tmp_path / "proof"
    script = f"""
    [ "$RUNSD_ATTEMPT" = 2 ] && {{ cat {proof}; exit; }}
    trap 'echo ended >>{proof}; exit' TERM; echo $PPID; while :; do sleep 0.01; done"""
    async with AsyncRunsClient(daemon.address) as client:  # noqa: F811
        run = (await client.create_task_run("task:script", input=script)).run
        async for event in client.follow(run.run_id):
            if event.event_type == "log":
                shell = int(event.payload["text"])
                break
        daemon.kill()
        os.kill(shell, signal.SIGKILL)
        daemon.start()
        ended = await client.wait(run.run_id, timeout=30)
        events = [event async for event in client.replay(run.run_id)]
    assert (ended.status, ended.attempt) == (RunStatus.COMPLETED, 2)
    assert text(events).endswith("ended\n")
    assert daemon.stop() == 0


async def test_cancel_at_any_moment_ends_the_run(client: AsyncRunsClient) -> None:  # noqa: F811
    async def one(delay: float) -> Run:
        run = (await client.create_task_run("task:script", input="exec sleep 1000")).run
        await asyncio.sleep(delay)
        assert (await client.cancel(run.run_id)).cancelled
        return await client.wait(run.run_id, timeout=60)

    for _ in range(5):
        ended = await asyncio.gather(*(one(delay / 5000) for delay in range(30)))
        assert {run.status for run in ended} == {RunStatus.CANCELLED}


async def test_code_in_the_daemon_that_does_its_worst(make_daemon: MakeDaemon, tmp_path: Path) -> None:  # noqa: F811
    project = tmp_path / "project"
    project.mkdir()
    (project / "runs.toml").write_text('[project]\nid = "p"\nmodules = ["hostile"]\n')
    (project / "hostile.py").write_text(HOSTILE)
    daemon = make_daemon(project=project)  # noqa: F811
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:  # noqa: F811
        codes = {}
        for task in ("exit-in-a-task", "stop-iteration", "cancel-itself", "keyboard", "unprintable", "leak", "wrapped"):
            run, _ = await run_to_the_end(client, f"task:{task}")
            codes[task] = run.error.code if run.error else run.status.value
        assert codes == {
            "exit-in-a-task": "exception",
            "stop-iteration": "exception",
            "cancel-itself": "exception",
            "keyboard": "exception",
            "unprintable": "exception",
            "leak": "completed",
            "wrapped": "completed",
        }
        for task in ("swallow", "in-a-thread"):
            await begun(client, f"task:{task}", "ready")
    assert await asyncio.to_thread(daemon.stop) == 0, "in time, whatever its code does"


HOSTILE = """
import asyncio, functools, sys, time
from runsd import task

@task(adapter="inprocess")
async def exit_in_a_task(ctx):
    async def leave():
        sys.exit("bad arguments")
    await asyncio.gather(leave())

@task(adapter="inprocess")
def stop_iteration(ctx):
    raise StopIteration

@task(adapter="inprocess")
async def cancel_itself(ctx):
    raise asyncio.CancelledError

@task(adapter="inprocess")
async def keyboard(ctx):
    raise KeyboardInterrupt

class Unprintable(Exception):
    def __str__(self):
        raise SystemExit

@task(adapter="inprocess")
def unprintable(ctx):
    raise Unprintable

@task(adapter="inprocess")
async def leak(ctx):
    asyncio.create_task(asyncio.sleep(1000))

def wrap(function):
    @functools.wraps(function)
    def wrapper(ctx):
        return function(ctx)
    del wrapper.__wrapped__
    return wrapper

@task(adapter="inprocess")
@wrap
async def wrapped(ctx):
    await asyncio.sleep(0)
    return 1

@task(adapter="inprocess")
async def swallow(ctx):
    ctx.emit("ready")
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass

@task("in-a-thread", adapter="inprocess")
async def in_a_thread(ctx):
    ctx.emit("ready")
    await asyncio.to_thread(time.sleep, 1000)
"""


async def test_whoever_blocks_the_event_loop_is_named(make_daemon: MakeDaemon, tmp_path: Path) -> None:  # noqa: F811
    project = tmp_path / "project"
    project.mkdir()
    (project / "runs.toml").write_text('[project]\nid = "p"\nmodules = ["blocking"]\n')
    (project / "blocking.py").write_text(
        "import time\nfrom runsd import task\n"
        "@task(adapter='inprocess')\nasync def block(ctx):\n    time.sleep(2.5)\n"
        "@task(adapter='inprocess')\nasync def quick(ctx):\n    pass\n"
    )
    daemon = make_daemon(project=project)  # noqa: F811
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:  # noqa: F811
        blocking = (await client.create_task_run("task:block")).run.run_id
        others = [(await client.create_task_run("task:quick")).run.run_id for _ in range(5)]
        for run_id in (blocking, *others):
            assert (await client.wait(run_id, timeout=30)).status is RunStatus.COMPLETED
    await asyncio.to_thread(daemon.wait_for, "the event loop was blocked; all runs and clients waited")
    (named,) = [line for line in daemon.log if line["event"] == "the event loop is blocked"]
    assert named["by"] == f"run {blocking}"
    assert any("blocking.py" in place for place in named["at"])
    assert daemon.stop() == 0


async def test_refusals_and_answers_are_never_too_big_to_send(client: AsyncRunsClient) -> None:  # noqa: F811
    with pytest.raises(InvalidRequestError):
        await client.batch_create([NewRun(f"task:unknown-{n}") for n in range(300)])
    with pytest.raises(RunsError, match="is not a target"):
        await client.create_task_run("task:" + "x" * 20_000)
    with pytest.raises(RunsError, match="there is no run"):
        await client.get("x" * 100_000)
    run = (await client.create_task_run("task:quick", start_after_seconds=3600)).run
    with pytest.raises(InvalidRequestError, match="reason"):
        await client.cancel(run.run_id, reason="x" * 5000)
    for _ in range(40):
        await client.create_task_run("task:quick", metadata={"x": "x" * 60_000}, start_after_seconds=3600)
    sizes = []
    token = ""
    while True:
        page = await client.list(limit=1000, page_token=token, statuses=["pending"])
        sizes.append(len(page.data))
        if not (token := page.page_info.next):
            break
    assert max(sizes) <= 18


async def test_cursors_beyond_the_end(client: AsyncRunsClient) -> None:  # noqa: F811
    run = (await client.create_task_run("task:script", input="sleep 0.2")).run
    assert [event async for event in client.follow(run.run_id, after_event_id=1000)] == []
    with pytest.raises(InvalidRequestError, match="after_position"):
        async for _ in client.watch(after_position=10**12):
            pass


async def test_project_that_takes_another_name_is_refused(make_daemon: MakeDaemon, tmp_path: Path) -> None:  # noqa: F811
    project = tmp_path / "project"
    project.mkdir()
    (project / "runs.toml").write_text('[project]\nid = "p"\n')
    daemon = make_daemon(project=project)  # noqa: F811
    daemon.start()
    (project / "runs.toml").write_text('[project]\nid = "q"\n')
    async with AsyncRunsClient(daemon.address) as client:  # noqa: F811
        with pytest.raises(RunsError, match="'p' and is 'q'"):
            await client.reload()
    assert daemon.stop() == 0
