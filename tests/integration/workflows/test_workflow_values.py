"""Values that no wire carries: refused where they come up, so that every run can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from runsd_client import AsyncRunsClient
from runsd_client.proto import runs_pb2

from tests.integration.daemon import Daemon
from tests.integration.workflows.conftest import verify
from tests.integration.workflows.harness import ended, events_of, failed, start, states, until_waiting

RUNS_TOML = r"""
[project]
id = "values"
modules = ["flows"]

[tasks.output]
shell = '''printf '%s' '{"a": "\ud800"}' >$RUNSD_OUTPUT'''

[tasks.error]
shell = '''printf '%s' '{"message": "m", "code": "c", "detail": {"a": "\ud800"}}' >$RUNSD_ERROR; exit 1'''

[tasks.event]
shell = '''printf '%s\n' '{"event_type": "own", "payload": {"a": "\ud800"}}' >>$RUNSD_EVENTS'''
"""
FLOWS = r"""
from typing import Any

from runsd import Context, WorkflowContext, task, workflow

LONE = {"text": "\ud800"}


@task("returned", adapter="inprocess")
def returned(ctx: Context) -> Any:
    return LONE


@task("emitted", adapter="inprocess")
def emitted(ctx: Context) -> Any:
    ctx.log("a\ud800")
    told = []
    for emit in (lambda: ctx.emit("own", LONE), lambda: ctx.progress(0.5, "\ud800")):
        try:
            emit()
        except ValueError as error:
            told.append(str(error))
    return told


@workflow("returned")
async def workflow_returned(ctx: WorkflowContext, input: Any) -> Any:
    return LONE


@workflow("step")
async def step(ctx: WorkflowContext, input: Any) -> Any:
    return await ctx.step("lone", lambda: LONE)


@workflow("emitted")
async def workflow_emitted(ctx: WorkflowContext, input: Any) -> Any:
    ctx.log("a\ud800")
    told = []
    for emit in (
        lambda: ctx.emit("own", LONE),
        lambda: ctx.progress(0.5, "\ud800"),
        lambda: ctx.emit("own", {"a": {1}}),
    ):
        try:
            emit()
        except ValueError as error:
            told.append(str(error))
    return told


@workflow("child")
async def child(ctx: WorkflowContext, input: Any) -> Any:
    return await ctx.run(input)


@workflow("given")
async def given(ctx: WorkflowContext, input: Any) -> Any:
    return await ctx.run("task:output", input=LONE)


@workflow("approval")
async def approval(ctx: WorkflowContext, input: Any) -> Any:
    return (await ctx.wait_for_approval("review")).data
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    project = tmp_path_factory.mktemp("project")
    (project / "runs.toml").write_text(RUNS_TOML)
    (project / "flows.py").write_text(FLOWS)
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), project=Path(project))
    daemon.start()
    yield daemon
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if line.get("level") in ("error", "critical")]
    verify(daemon)


async def test_result_of_a_task(client: AsyncRunsClient) -> None:
    for target in ("returned", "output"):
        made = await client.create_task_run(f"task:{target}")
        run = await failed(client, made.run.run_id, "output_invalid")
        assert run.error and "lone surrogate" in run.error.message


async def test_result_of_a_workflow(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "returned"), "output_invalid")
    assert run.error and run.error.message == (
        r"the result is not JSON: $.text has the lone surrogate \ud800, which is no character"
    )


async def test_result_of_a_step(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "step"), "output_invalid")
    assert run.error and run.error.message.startswith("step 'lone': the result is not JSON: $.text has the lone")
    assert states(run) == {"lone": "failed"}


async def test_what_is_emitted(client: AsyncRunsClient) -> None:
    for made in (await client.create_task_run("task:emitted"), await client.create_workflow_run("emitted")):
        run = await ended(client, made.run.run_id)
        assert run.output and all("the payload of" in told for told in run.output), run
        assert run.output[:2] == [told for told in run.output if "lone surrogate" in told]
        assert run.logs == "a\\ud800\n"
        assert "own" not in [event.event_type for event in await events_of(client, run.run_id)]


async def test_events_of_a_process(client: AsyncRunsClient) -> None:
    run = await ended(client, (await client.create_task_run("task:event")).run.run_id)
    assert "a line was skipped: the payload" in run.logs or "a line was skipped: has a lone surrogate" in run.logs


async def test_error_of_a_process(client: AsyncRunsClient) -> None:
    run = await failed(client, (await client.create_task_run("task:error")).run.run_id, "c")
    run = await failed(client, await start(client, "child", "task:error"), "c")
    assert run.error and run.error.message == "step 'error': m"


async def test_output_of_a_child(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "child", "task:output"), "output_invalid")
    assert run.error and run.error.message.startswith("step 'output': the output (RUNSD_OUTPUT) has a lone surrogate")


async def test_input_of_a_child(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "given"), "invalid_request")
    assert run.error and "step 'output': the input is not JSON: $.text has the lone surrogate" in run.error.message


async def test_documents_of_clients(client: AsyncRunsClient) -> None:
    stub = client._stubs["runs"]
    run_id = await start(client, "approval")
    await until_waiting(client, run_id)
    for text in (r'"\ud800"', r'{"a": ["\udfff"]}', r'{"\udc00": 1}'):
        for call, request in (
            (stub.CreateRun, runs_pb2.CreateRunRequest(target="workflow:child", input_json=text)),
            (stub.SignalRun, runs_pb2.SignalRunRequest(run_id=run_id, name="go", payload_json=text)),
            (
                stub.DecideApproval,
                runs_pb2.DecideApprovalRequest(run_id=run_id, name="review", approved=True, data_json=text),
            ),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="_json: has a lone surrogate") as raised:
                await call(request)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await client.approve(run_id, "review", data="\U0001f600")
    assert (await ended(client, run_id)).output == "\U0001f600"
