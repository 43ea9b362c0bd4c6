"""Workflows whose code does what it should not, and modules that break: the daemon and other runs go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, PreconditionError, RunStatus

from tests.integration.daemon import Daemon
from tests.integration.workflows.harness import completed, execute, failed, killed_and_started, start, until_waiting

RUNS_TOML = """
[project]
id = "odd"
modules = ["odd", "steady"]

[tasks.odd-text]
python = "odd:odd_text"
adapter = "inprocess"
"""
ODD = """
from runsd import task, workflow


@workflow("catches-all")
async def catches_all(ctx, input):
    caught = 0
    while True:
        try:
            return [await ctx.wait_for_signal("go"), caught]
        except BaseException:
            caught += 1


@workflow("patient")
async def patient(ctx, input):
    return await ctx.wait_for_signal("go")


@workflow("odd-step")
async def odd_step(ctx, input):
    return await ctx.step("odd", lambda: {"text": "\\ud800", "name": "\\udfff"})


@workflow("asks-wrongly")
async def asks_wrongly(ctx, input):
    return await ctx.wait_for_approval("review", **input)


@workflow("calls-wrongly")
async def calls_wrongly(ctx, input):
    if input == "run":
        return await ctx.run(5)
    if input == "items":
        return await ctx.map("each", print, 5)
    if input == "many":
        return await ctx.map("each", print, range(20_000))
    if input == "concurrency":
        return await ctx.map("each", print, [1], concurrency="4")
    if input == "surrogate":
        return await ctx.sleep(1, name="\\ud800")
    return await ctx.sleep(1, name="x" * 100_000)


@task("noted", adapter="inprocess")
async def noted(ctx):
    return "noted"


def odd_text(ctx):
    return "\\ud800"
"""
STEADY = """
from runsd import workflow


@workflow("steady")
async def steady(ctx, input):
    return "steady"
"""
BROKEN = "this is no Python\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "odd"
    directory.mkdir()
    for name, text in (("runs.toml", RUNS_TOML), ("odd.py", ODD), ("steady.py", STEADY)):
        (directory / name).write_text(text)
    return directory


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon], project: Path) -> Iterator[Daemon]:
    daemon = make_daemon(project=project)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


async def test_workflow_that_catches_its_cancellation_stops_nobody(daemon: Daemon) -> None:
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "catches-all")
        await until_waiting(client, run_id)
        assert (await execute(client, "steady")).output == "steady"
        await client.signal(run_id, "go", "on")
        run = await failed(client, run_id, "exception")
        assert run.error is not None and "caught CancelledError at a pause" in run.error.message
        assert (await execute(client, "steady")).output == "steady"


async def test_it_can_be_cancelled(make_daemon: Callable[..., Daemon], project: Path) -> None:
    daemon = make_daemon(project=project, settings="[cancel]\ngrace_seconds = 0.2\n")
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "catches-all")
        await until_waiting(client, run_id)
        await client.cancel(run_id)
        assert (await client.wait(run_id, timeout=30)).status is RunStatus.CANCELLED
        assert (await execute(client, "steady")).output == "steady"
    assert daemon.stop() == 0


async def test_texts_that_no_wire_carries_are_refused(daemon: Daemon) -> None:
    async with AsyncRunsClient(daemon.address) as client:
        run = await failed(client, await start(client, "odd-step"), "output_invalid")
        assert run.error is not None and "step 'odd'" in run.error.message and "$.text" in run.error.message
        task = (await client.create_task_run("task:odd-text")).run.run_id
        await failed(client, task, "output_invalid")
        assert {run.status for run in (await client.list()).data} == {RunStatus.FAILED}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"message": 5}, "message must be text, not 5"),
        ({"approvers": "eve"}, "approvers must be one or more names, such as ['eve'], not 'eve'"),
        ({"approvers": []}, "leave it out for anybody"),
        ({"approvers": [5]}, "approvers must be one or more names"),
        ({"schema": 5}, "schema must be a JSON Schema as a dict, not 5"),
        ({"schema": {"type": 5}}, "schema is no JSON Schema"),
    ],
)
async def test_what_is_asked_wrongly_is_said_at_the_call(daemon: Daemon, asked: dict[str, object], said: str) -> None:
    async with AsyncRunsClient(daemon.address) as client:
        run = await failed(client, await start(client, "asks-wrongly", asked), "exception")
        assert run.error is not None and said in run.error.message


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("run", "5 is no target; write 'task:<id>' or 'workflow:<id>'"),
        ("items", "the items of 'each' must be a list or another iterable, not 5"),
        ("many", "'each' has 20,000 items; a map takes 10,000"),
        ("concurrency", "concurrency must be a whole number, 1 or more, not '4'"),
        ("surrogate", "is no name for a step"),
        ("long", "is no name for a step"),
    ],
)
async def test_what_is_called_wrongly_is_said_too(daemon: Daemon, what: str, said: str) -> None:
    async with AsyncRunsClient(daemon.address) as client:
        run = await failed(client, await start(client, "calls-wrongly", what), "exception")
        assert run.error is not None and said in run.error.message and len(run.error.message) < 500


async def test_runs_of_a_broken_module_wait_until_it_is_mended(daemon: Daemon, project: Path) -> None:
    async with AsyncRunsClient(daemon.address) as client:
        waiting_id = await start(client, "patient")
        await until_waiting(client, waiting_id)
        delayed_id = (await client.create_task_run("task:noted", start_after_seconds=0.5)).run.run_id
        (project / "odd.py").write_text(BROKEN)
    async with killed_and_started(daemon) as client:
        await client.signal(waiting_id, "go", "on")
        with pytest.raises(PreconditionError, match="mend this and reload"):
            await client.create_task_run("task:noted")
        known = await client.definitions()
        assert "workflow:patient" not in [target.target for target in known.data]
        assert [problem for problem in known.problems if "odd" in problem.file and "invalid syntax" in problem.message]
        assert (await execute(client, "steady")).output == "steady"
        assert (await client.get(delayed_id)).status is RunStatus.PENDING
        assert (await client.get(waiting_id)).status is RunStatus.WAITING
        (project / "odd.py").write_text(ODD)
        assert (await client.reload()).problems == () == (await client.definitions()).problems
        assert await completed(client, waiting_id) == "on"
        assert await completed(client, delayed_id) == "noted"
