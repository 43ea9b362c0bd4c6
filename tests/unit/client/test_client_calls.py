"""Single calls of both clients: what is sent, what comes back, what is tried again."""

from __future__ import annotations

import inspect
import threading
import time
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from runsd_client import (
    AlreadyExistsError,
    AsyncRunsClient,
    ConfigurationError,
    InvalidRequestError,
    NewRun,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    PreconditionError,
    RetryPolicy,
    RunsClient,
    RunsError,
    RunStatus,
    UnreachableError,
    WaitTimeoutError,
)
from runsd_client.proto import definitions_pb2, run_pb2
from runsd_client.requests import RunFilters, RunOptions

from tests.unit.client.conftest import QUICK
from tests.unit.client.fake_daemon import LOST, Failure, FakeDaemon


def test_both_clients_have_the_same_methods() -> None:
    def public(client: type) -> dict[str, list[str]]:
        functions = inspect.getmembers(client, inspect.isfunction)
        return {
            name: [str(p) for p in inspect.signature(function).parameters.values()]
            for name, function in functions
            if not name.startswith("_")
        }

    assert public(RunsClient) == public(AsyncRunsClient)
    assert {"create_task_run", "follow", "download_artifact"} < public(RunsClient).keys()


def test_an_unknown_option_is_named_with_the_method(client: RunsClient) -> None:
    with pytest.raises(TypeError, match=r"create_task_run\(\) has no option 'nonsense'"):
        client.create_task_run("task:a", nonsense=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"create_workflow_run\(\) has no option 'nonsense'"):
        client.create_workflow_run("w", nonsense=1)  # type: ignore[call-arg]


def test_options_of_a_run_are_the_fields_of_new_run() -> None:
    assert RunOptions.__annotations__.keys() | {"target"} == NewRun.__dataclass_fields__.keys()


def test_create_sends_all_it_was_given(daemon: FakeDaemon, client: RunsClient) -> None:
    answer = client.create_task_run(
        "task:sync-data",
        name="Sync",
        input={"n": 2**70},
        config=[1.5, None],
        metadata={"team": "a"},
        timeout_seconds=0,
        backoff_limit=0,
        priority=-3,
        start_after_seconds=2.5,
        trigger_kind="manual",
        created_by="me",
        project="p",
    )
    [sent] = daemon.requests("CreateRun")
    assert sent.input_json == '{"n":1180591620717411303424}'
    assert (sent.HasField("timeout_seconds"), sent.HasField("backoff_limit")) == (True, True)
    assert (sent.priority, sent.start_after_seconds, sent.project) == (-3, 2.5, "p")
    assert sent.trigger_kind == run_pb2.TRIGGER_KIND_MANUAL
    assert (answer.accepted, answer.duplicate) == (True, False)
    assert answer.run.input == {"n": 2**70}
    assert answer.run.status is RunStatus.PENDING


def test_what_is_not_given_is_not_sent(daemon: FakeDaemon, client: RunsClient) -> None:
    client.create_task_run("task:a")
    [sent] = daemon.requests("CreateRun")
    assert {field.name for field, _ in sent.ListFields()} == {"target", "idempotency_key"}


def test_a_create_that_is_sent_again_creates_one_run(daemon: FakeDaemon, client: RunsClient) -> None:
    daemon.state.failures["CreateRun"].extend([LOST, LOST])
    client.create_task_run("task:a")
    assert len({r.idempotency_key for r in daemon.requests("CreateRun")}) == 1
    assert len(daemon.requests("CreateRun")) == 3
    client.create_task_run("task:a")
    assert len(daemon.state.runs) == 2


def test_keys_stand_in_order_of_time(daemon: FakeDaemon, client: RunsClient) -> None:
    began = time.time_ns() // 1_000_000
    client.create_task_run("task:a")
    [sent] = daemon.requests("CreateRun")
    assert len(sent.idempotency_key) == 32
    assert began <= int(sent.idempotency_key[:12], 16) <= time.time_ns() // 1_000_000


def test_a_key_that_was_given_is_kept(daemon: FakeDaemon, client: RunsClient) -> None:
    first = client.create_task_run("task:a", idempotency_key="k")
    second = client.create_task_run("task:a", idempotency_key="k")
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.run.run_id == second.run.run_id


def test_workflow_by_id_or_target(daemon: FakeDaemon, client: RunsClient) -> None:
    client.create_workflow_run("content-pipeline", input={})
    client.create_workflow_run(workflow_id="a", target="workflow:a")
    client.create_workflow_run(target="workflow:b")
    assert [r.target for r in daemon.requests("CreateRun")] == [
        "workflow:content-pipeline",
        "workflow:a",
        "workflow:b",
    ]
    assert daemon.requests("CreateRun")[0].input_json == "{}"
    for workflow_id, target in (("a", "workflow:b"), (None, "task:a"), (None, None)):
        with pytest.raises(InvalidRequestError, match="target"):
            client.create_workflow_run(workflow_id, target=target)
    with pytest.raises(InvalidRequestError, match="write task:<id>"):
        client.create_task_run("sync-data")


def test_every_field_at_fault_is_named_before_anything_is_sent(daemon: FakeDaemon, client: RunsClient) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.create_task_run("task:a", input=object(), priority=2**40, trigger_kind="magic", name="\ud800")
    named = {v.field: v.description for v in caught.value.violations}
    assert named.keys() == {"input_json", "priority", "trigger_kind", "name"}
    assert "manual, schedule, api" in named["trigger_kind"]
    assert daemon.state.received == []


def test_document_that_is_nested_too_deeply_is_named(daemon: FakeDaemon, client: RunsClient) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidRequestError) as caught:
        client.create_task_run("task:a", input=deep, config=deep, metadata={"deep": deep})
    assert {v.field: v.description for v in caught.value.violations} == dict.fromkeys(
        ["input_json", "config_json", "metadata_json"], "is nested too deeply; send less of it"
    )
    with pytest.raises(InvalidRequestError, match="payload_json: is nested too deeply"):
        client.signal("r", "s", deep)
    with pytest.raises(InvalidRequestError, match="metadata_json: is nested too deeply"):
        client.list(metadata={"deep": deep})
    assert daemon.state.received == []


def test_batch(daemon: FakeDaemon, client: RunsClient) -> None:
    answers = client.batch_create([NewRun("task:a", name=f"{n}", input=n) for n in range(3)], project="p")
    assert [a.run.name for a in answers] == ["0", "1", "2"]
    [sent] = daemon.requests("BatchCreateRuns")
    assert [r.input_json for r in sent.requests] == ["0", "1", "2"]
    assert len({r.idempotency_key for r in sent.requests}) == 3
    with pytest.raises(InvalidRequestError) as caught:
        client.batch_create([NewRun("task:a"), NewRun("task:a", input={1})])
    assert [v.field for v in caught.value.violations] == ["requests[1].input_json"]


def test_inside_a_run_it_is_the_parent(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSD_ADDRESS", daemon.address)
    monkeypatch.setenv("RUNSD_RUN_ID", "outer")
    monkeypatch.setenv("RUNSD_API_TOKEN", "secret")
    monkeypatch.setenv("RUNSD_PROJECT", "p")
    with RunsClient() as client:
        client.create_task_run("task:a")
        client.create_task_run("task:a", parent_run_id="", project="q")
    assert [(r.parent_run_id, r.project) for r in daemon.requests("CreateRun")] == [("outer", "p"), ("", "q")]
    assert daemon.state.received[0].metadata["authorization"] == "Bearer secret"


def test_no_token_of_the_environment_for_an_address_that_was_given(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSD_API_TOKEN", "secret")
    run_id = daemon.add_run()
    with RunsClient(daemon.address) as client:
        client.get(run_id)
    assert "authorization" not in daemon.state.received[0].metadata


def test_list_and_list_all(daemon: FakeDaemon, client: RunsClient) -> None:
    for _ in range(5):
        daemon.add_run()
    page = client.list()
    assert [r.run_id for r in page.data] == ["run-1", "run-2"]
    assert page.page_info.next == "2"
    assert [r.run_id for r in client.list_all()] == [f"run-{n}" for n in range(1, 6)]
    assert [r.run_id for r in client.list(limit=1, page_token="3").data] == ["run-4"]


def test_filters_are_sent(daemon: FakeDaemon, client: RunsClient) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    client.list(
        statuses=["failed", RunStatus.CANCELLED], kind="task", metadata={"a": 1}, created_from=moment, project="p"
    )
    client.list(statuses="failed")
    first, second = daemon.requests("ListRuns")
    assert list(first.statuses) == [run_pb2.RUN_STATUS_FAILED, run_pb2.RUN_STATUS_CANCELLED]
    assert (first.kind, first.metadata_json, first.project) == (run_pb2.RUN_KIND_TASK, '{"a":1}', "p")
    assert first.created_from.ToDatetime(UTC) == moment
    assert not first.HasField("created_before")
    assert list(second.statuses) == [run_pb2.RUN_STATUS_FAILED]


@pytest.mark.parametrize(
    "filters",
    [{"statuses": ["done"]}, {"kind": "job"}, {"created_from": datetime(2026, 1, 1)}],
)
def test_filters_that_make_no_sense(client: RunsClient, filters: RunFilters) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(filters))):
        client.list(**filters)


def test_events_are_a_page(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    daemon.emit_logs(run_id, "abc")
    page = client.events(run_id, after_event_id=1, limit=2)
    assert [(e.event_id, e.payload["text"]) for e in page.data] == [(2, "a"), (3, "b")]
    assert page.page_info.next == "3"


def test_cancel_and_retry(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    with pytest.raises(PreconditionError):
        client.retry(run_id)
    assert client.cancel(run_id, reason="enough").cancelled
    assert not client.cancel(run_id).cancelled
    assert daemon.requests("CancelRun")[0].reason == "enough"
    daemon.state.failures["RetryRun"].append(LOST)
    again = client.retry(run_id)
    assert again.run.run_id != run_id
    keys = [r.idempotency_key for r in daemon.requests("RetryRun")]
    assert keys[1] == keys[2] != ""


def test_retry_from_the_failed_step(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run("workflow:w", status=run_pb2.RUN_STATUS_FAILED)
    client.retry(run_id)
    client.retry(run_id, from_failed_step=True)
    assert [r.from_failed_step for r in daemon.requests("RetryRun")] == [False, True]


def test_a_signal_that_is_sent_again_is_one_signal(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    daemon.state.failures["SignalRun"].append(LOST)
    daemon.state.lost_answers["SignalRun"].append(LOST)
    answer = client.signal(run_id, "docs-ready", {"n": 2**70})
    assert (answer.accepted, answer.duplicate, answer.run.run_id) == (True, True, run_id)
    sent = daemon.requests("SignalRun")
    assert len(sent) == 3
    assert len({r.idempotency_key for r in sent}) == 1
    assert sent[0].payload_json == '{"n":1180591620717411303424}'
    assert [e.event_type for e in daemon.state.events[run_id]] == ["run.created", "signal"]
    assert not client.signal(run_id, "docs-ready").duplicate
    assert client.signal(run_id, "docs-ready", idempotency_key="k").duplicate is False
    assert client.signal(run_id, "docs-ready", idempotency_key="k").duplicate is True
    assert daemon.requests("SignalRun")[3].payload_json == ""


def test_a_decision_whose_answer_was_lost_is_made(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    daemon.state.lost_answers["DecideApproval"].append(LOST)
    assert client.approve(run_id, "review", by="anna", comment="good", data=[1]).run_id == run_id
    first, second = daemon.requests("DecideApproval")
    assert first == second
    assert (first.approved, first.by, first.comment, first.data_json) == (True, "anna", "good", "[1]")
    with pytest.raises(PreconditionError, match="decided by anna"):
        client.reject(run_id, "review", by="ben")
    assert daemon.requests("DecideApproval")[2].approved is False


def test_what_cannot_be_sent_with_a_signal_or_a_decision(daemon: FakeDaemon, client: RunsClient) -> None:
    with pytest.raises(InvalidRequestError, match="payload_json"):
        client.signal("r", "s", object())
    with pytest.raises(InvalidRequestError, match="data_json"):
        client.approve("r", "a", data={1})
    assert daemon.state.received == []


def test_targets(daemon: FakeDaemon, client: RunsClient) -> None:
    problem = definitions_pb2.DefinitionProblem(file="runs.toml", message="no command")
    daemon.state.targets.append(definitions_pb2.Target(target="task:a", problems=[problem]))
    assert [t.target for t in client.targets(project="p")] == ["task:a"]
    assert client.target("task:a").problems[0].message == "no command"
    assert client.reload().problems[0].file == "runs.toml"
    with pytest.raises(NotFoundError):
        client.target("task:b")


def test_wait_returns_the_terminal_run(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    daemon.state.failures["WaitRun"].extend([LOST] * 2)
    finishing = threading.Timer(0.05, daemon.finish, [run_id], {"output": {"rows": 3}})
    finishing.start()
    run = client.wait(run_id)
    assert (run.status, run.output) == ("completed", {"rows": 3})
    finishing.join()


def test_a_daemon_that_has_just_answered_is_not_asked_whether_it_is_there(
    daemon: FakeDaemon, client: RunsClient
) -> None:
    run_id = daemon.add_run()
    client.get(run_id)
    finishing = threading.Timer(0.05, daemon.finish, [run_id])
    finishing.start()
    assert client.wait(run_id).status == "completed"
    finishing.join()
    [only] = daemon.requests("WaitRun")
    assert only.timeout_seconds > 1


async def test_nor_by_the_async_client(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    run_id = daemon.add_run()
    finishing = threading.Timer(0.05, daemon.finish, [run_id])
    async with async_client as client:
        await client.get(run_id)
        finishing.start()
        assert (await client.wait(run_id)).status == "completed"
    finishing.join()
    [only] = daemon.requests("WaitRun")
    assert only.timeout_seconds > 1


def test_wait_is_over_in_time(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    for timeout in (0, 0.02):
        with pytest.raises(WaitTimeoutError, match="is running") as caught:
            client.wait(run_id, timeout=timeout)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.run is not None
    assert all(r.timeout_seconds > 0 for r in daemon.requests("WaitRun"))


def test_wait_survives_a_restart(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run()

    def restart() -> None:
        daemon.stop()
        daemon.start()
        daemon.finish(run_id)

    restarting = threading.Timer(0.05, restart)
    restarting.start()
    policy = RetryPolicy(retries=0, initial_seconds=0.01, max_seconds=0.1)
    with RunsClient(daemon.address, retry=policy) as waiting:
        assert waiting.wait(run_id).status == "completed"
    restarting.join()


async def test_async_client(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    daemon.state.failures["CreateRun"].append(LOST)
    async with async_client as client:
        run_id = (await client.create_task_run("task:a", input=1)).run.run_id
        await client.create_workflow_run("w")
        await client.batch_create([NewRun("task:a"), NewRun("task:b")])
        assert [run.run_id async for run in client.list_all()] == ["run-1", "run-2", "run-3", "run-4"]
        assert (await client.get(run_id)).input == 1
        assert len((await client.events(run_id)).data) == 1
        with pytest.raises(WaitTimeoutError):
            await client.wait(run_id, timeout=0.01)
        assert (await client.cancel(run_id)).run.status == "cancelled"
        assert (await client.wait(run_id)).status == "cancelled"
        assert (await client.retry(run_id, from_failed_step=True)).accepted
        assert (await client.signal("run-2", "s", [1])).accepted
        assert (await client.approve("run-2", "a", by="anna")).run_id == "run-2"
        with pytest.raises(PreconditionError):
            await client.reject("run-2", "a", by="anna")
        assert [e.event_id async for e in client.replay(run_id)] == [1, 2]
        assert await client.targets() == ()
        assert (await client.reload()).data == ()
        with pytest.raises(NotFoundError):
            await client.get("nowhere")
    with pytest.raises(RunsError, match="closed"):
        await client.get(run_id)


ERRORS = [
    (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequestError),
    (grpc.StatusCode.NOT_FOUND, NotFoundError),
    (grpc.StatusCode.ALREADY_EXISTS, AlreadyExistsError),
    (grpc.StatusCode.FAILED_PRECONDITION, PreconditionError),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, OverloadedError),
    (grpc.StatusCode.UNAVAILABLE, UnreachableError),
    (grpc.StatusCode.UNAUTHENTICATED, ConfigurationError),
    (grpc.StatusCode.PERMISSION_DENIED, PermissionDeniedError),
    (grpc.StatusCode.UNIMPLEMENTED, RunsError),
    (grpc.StatusCode.INTERNAL, RunsError),
]


@pytest.mark.parametrize(("code", "kind"), ERRORS)
@pytest.mark.parametrize("reason", ["A_REASON", ""])
def test_errors_of_the_daemon(daemon: FakeDaemon, code: grpc.StatusCode, kind: type[RunsError], reason: str) -> None:
    daemon.state.failures["GetRun"].append(Failure(code, "so it is", reason, (("run_id", "is wrong"),)))
    with RunsClient(daemon.address, retry=RetryPolicy(retries=0)) as client, pytest.raises(RunsError) as caught:
        client.get("r")
    error = caught.value
    assert type(error) is kind
    assert (error.code, "so it is" in str(error)) == (code.name, True)
    assert not reason or error.reason == "A_REASON"
    if isinstance(error, InvalidRequestError) and reason:
        assert [(v.field, v.description) for v in error.violations] == [("run_id", "is wrong")]


async def test_async_errors_carry_the_same_details(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    wrong = Failure(grpc.StatusCode.INVALID_ARGUMENT, "wrong", "INVALID_REQUEST", (("target", "is none"),))
    daemon.state.failures["CreateRun"].append(wrong)
    async with async_client as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.create_task_run("task:a")
    assert [v.field for v in caught.value.violations] == ["target"]


@pytest.mark.parametrize("address", ["unix:/nowhere/d.sock", "127.0.0.1:1"])
def test_nobody_there(address: str) -> None:
    with RunsClient(address, retry=QUICK) as client, pytest.raises(UnreachableError) as caught:
        client.get("r")
    assert address in str(caught.value)
    assert "`runsd serve` starts one" in str(caught.value)
    assert caught.value.address == address


def test_an_answer_over_the_size(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run(logs="x" * 10_000)
    small = RunsClient(daemon.address, max_message_bytes=5_000, retry=QUICK)
    with small, pytest.raises(RunsError) as caught:
        small.get(run_id)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"
    assert len(daemon.requests("GetRun")) == 1


def test_the_package_imports_grpc_only_on_use() -> None:
    import subprocess
    import sys

    code = "import sys, runsd_client.address; assert not {'grpc', 'typer', 'rich'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_of_the_package() -> None:
    import runsd_client

    exported: Any = runsd_client
    assert all(getattr(exported, name) is not None for name in exported.__all__)
    with pytest.raises(AttributeError):
        exported.Nothing  # noqa: B018
