"""Creating runs: what is accepted, what is refused and how, and that keys make one run."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runsd_client import (
    AlreadyExistsError,
    AsyncRunsClient,
    CreateAnswer,
    InvalidRequestError,
    NewRun,
    NotFoundError,
    PreconditionError,
)
from runsd_client.proto import runs_pb2, runs_pb2_grpc

from tests.integration.daemon import Daemon
from tests.integration.test_executing import run_to_the_end


@pytest.fixture
async def stub(daemon: Daemon) -> Any:
    async with grpc.aio.insecure_channel(daemon.address) as channel:
        yield runs_pb2_grpc.RunsStub(channel)


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    packed = dict(error.trailing_metadata())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(packed)
    assert status.message == error.details()
    found = {}
    for detail in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.ResourceInfo):
            if detail.Is(kind.DESCRIPTOR):
                message = kind()
                detail.Unpack(message)
                found[kind.DESCRIPTOR.name] = message
    return found


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"target": "sync-data"}, "target", "task:<id>"),
        ({"target": ""}, "target", "task:<id>"),
        ({"input_json": "{"}, "input_json", "line 1 column 2"),
        ({"input_json": "NaN"}, "input_json", "JSON number"),
        ({"input_json": "[" * 100_000}, "input_json", "nested too deeply"),
        ({"input_json": '"' + "x" * (1 << 20) + '"'}, "input_json", "at most 1,048,576"),
        ({"config_json": "nope"}, "config_json", "is not JSON"),
        ({"metadata_json": "[1]"}, "metadata_json", "must be a JSON object"),
        ({"timeout_seconds": -1}, "timeout_seconds", "0 to"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds", "0 to"),
        ({"start_after_seconds": float("inf")}, "start_after_seconds", "0 to"),
        ({"start_after_seconds": 5, "expires_after_seconds": 5}, "expires_after_seconds", "more than"),
        ({"backoff_limit": -1}, "backoff_limit", "0 to 1000"),
        ({"priority": 1001}, "priority", "-1000 to 1000"),
        ({"name": "n" * 201}, "name", "200 characters"),
        ({"idempotency_key": "k" * 201}, "idempotency_key", "200 characters"),
    ],
)
async def test_wrong_field_is_named(stub: Any, fields: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreateRun(runs_pb2.CreateRunRequest(**{"target": "task:quick", **fields}))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = details(caught.value)
    (violation,) = found["BadRequest"].field_violations
    assert violation.field == field
    assert told in violation.description
    assert (found["ErrorInfo"].reason, found["ErrorInfo"].domain) == ("INVALID_REQUEST", "runsd")


async def test_every_wrong_field_is_named_at_once(stub: Any) -> None:
    request = runs_pb2.CreateRunRequest(
        target="task:checked", input_json='{"n": "x"}', config_json='{"batchSize": 0}', priority=9999
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreateRun(request)
    fields = {violation.field for violation in details(caught.value)["BadRequest"].field_violations}
    assert fields == {"input_json", "config_json", "priority"}


async def test_schema_may_demand_an_input(client: AsyncRunsClient) -> None:
    with pytest.raises(InvalidRequestError, match="input_json"):
        await client.create_task_run("task:checked")


async def test_unknown_things_are_not_found_with_a_hint(client: AsyncRunsClient, stub: Any) -> None:
    with pytest.raises(NotFoundError, match="task:quick"):
        await client.create_task_run("task:quik")
    with pytest.raises(NotFoundError, match="proving-ground"):
        await client.create_task_run("task:quick", project="proving-grounds")
    with pytest.raises(NotFoundError):
        await client.create_workflow_run("nothing")
    with pytest.raises(NotFoundError, match="parent_run_id"):
        await client.create_task_run("task:quick", parent_run_id="no-such-run")
    for call, request in (
        (stub.GetRun, runs_pb2.GetRunRequest(run_id="x")),
        (stub.WaitRun, runs_pb2.WaitRunRequest(run_id="x")),
        (stub.CancelRun, runs_pb2.CancelRunRequest(run_id="x")),
        (stub.ListEvents, runs_pb2.ListEventsRequest(run_id="x")),
        (stub.ListArtifacts, runs_pb2.ListArtifactsRequest(run_id="x")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        resource = details(caught.value)["ResourceInfo"]
        assert (resource.resource_type, resource.resource_name) == ("run", "x")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.Events(runs_pb2.EventsRequest(run_id="x", follow=True)):
            pass
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_broken_target_is_told_and_takes_nothing_down(client: AsyncRunsClient) -> None:
    with pytest.raises(PreconditionError, match="no_such_module"):
        await client.create_task_run("task:broken")
    broken = await client.target("task:broken")
    assert [problem.key for problem in broken.problems] == ['tasks."broken".python']


async def test_same_key_at_once_makes_one_run(client: AsyncRunsClient) -> None:
    answers = await asyncio.gather(
        *(client.create_task_run("task:quick", input=[1], idempotency_key="at once") for _ in range(50))
    )
    assert len({answer.run.run_id for answer in answers}) == 1
    assert sorted(answer.duplicate for answer in answers) == [False] + [True] * 49
    late = await client.create_task_run("task:quick", input=[1], idempotency_key="at once")
    assert late.duplicate and late.run.input == [1]


async def test_same_key_for_another_request_is_refused(client: AsyncRunsClient, stub: Any) -> None:
    first = await client.create_task_run("task:quick", input=[1], idempotency_key="reused")
    for changed in ({"input": [2]}, {"input": [1], "priority": 1}, {"input": [1], "name": "n"}):
        with pytest.raises(AlreadyExistsError, match=first.run.run_id):
            await client.create_task_run("task:quick", idempotency_key="reused", **changed)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreateRun(runs_pb2.CreateRunRequest(target="task:speak", idempotency_key="reused"))
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert details(caught.value)["ErrorInfo"].reason == "IDEMPOTENCY_KEY_REUSED"


async def test_batch_is_all_or_none(client: AsyncRunsClient) -> None:
    before = await _count(client)
    with pytest.raises(InvalidRequestError) as caught:
        await client.batch_create([NewRun("task:quick"), NewRun("task:quik"), NewRun("task:quick", priority=5000)])
    assert [v.field for v in caught.value.violations] == ["requests[1].target", "requests[2].priority"]
    await client.create_task_run("task:quick", input=1, idempotency_key="in a batch")
    with pytest.raises(AlreadyExistsError):
        await client.batch_create([NewRun("task:quick"), NewRun("task:quick", input=2, idempotency_key="in a batch")])
    assert await _count(client) == before + 1
    answers = await client.batch_create(
        [NewRun("task:quick", input=1, idempotency_key="in a batch"), NewRun("task:quick")]
    )
    assert [answer.duplicate for answer in answers] == [True, False]
    with pytest.raises(InvalidRequestError, match="1 to 1000"):
        await client.batch_create([])
    with pytest.raises(InvalidRequestError, match="1 to 1000"):
        await client.batch_create([NewRun("task:quick")] * 1001)


async def test_keys_of_a_batch_make_one_run_each(client: AsyncRunsClient) -> None:
    keys = ["plain", "with \0 zero", "with \0 one", 'é"\\\n', "\U0001f600", "a" * 200]
    runs = [NewRun("task:quick", input=key, idempotency_key=key) for key in keys]
    first = await client.batch_create([*runs, *runs[:2]])
    assert [answer.duplicate for answer in first] == [False] * len(keys) + [True] * 2
    assert [answer.run.run_id for answer in first[len(keys) :]] == [answer.run.run_id for answer in first[:2]]
    again = await client.batch_create([*runs, NewRun("task:quick"), NewRun("task:quick")])
    assert [answer.duplicate for answer in again] == [True] * len(keys) + [False] * 2
    assert [answer.run.run_id for answer in again[: len(keys)]] == [answer.run.run_id for answer in first[: len(keys)]]


async def test_created_at_the_same_time_each_has_its_own_answer(client: AsyncRunsClient) -> None:
    known = NewRun("task:quick", input="known", idempotency_key="together")
    first = await client.create(known)
    good = [NewRun("task:quick", input=n, config={"n": n}, metadata={"n": n}) for n in range(150)]
    wanted = [*good, NewRun("task:quik"), known, NewRun("task:quick", priority=5000)]
    before = await _count(client)
    answers = await asyncio.gather(*map(client.create, wanted), return_exceptions=True)
    *made, unknown, again, faulty = answers
    for asked, answer in zip(good, made, strict=True):
        assert isinstance(answer, CreateAnswer)
        assert not answer.duplicate
        assert (answer.run.input, answer.run.config, answer.run.metadata) == (asked.input, asked.config, asked.metadata)
        kept = await client.get(answer.run.run_id)
        assert (kept.input, kept.config, kept.metadata) == (asked.input, asked.config, asked.metadata)
    assert isinstance(again, CreateAnswer)
    assert (again.duplicate, again.run.run_id, again.run.input) == (True, first.run.run_id, "known")
    assert isinstance(unknown, NotFoundError)
    assert isinstance(faulty, InvalidRequestError)
    assert [violation.field for violation in faulty.violations] == ["priority"]
    assert await _count(client) == before + len(good)


async def test_thousand_at_once(client: AsyncRunsClient) -> None:
    answers = await client.batch_create([NewRun("task:quick", input=n, batch_id="thousand") for n in range(1000)])
    assert len({answer.run.run_id for answer in answers}) == 1000
    ids = [run.run_id async for run in client.list_all(batch_id="thousand", limit=300)]
    assert ids == [answer.run.run_id for answer in reversed(answers)]


async def _count(client: AsyncRunsClient) -> int:
    return len([run async for run in client.list_all(limit=1000)])


async def test_children_know_their_family(client: AsyncRunsClient) -> None:
    parent, _ = await run_to_the_end(client, "task:quick")
    child = (await client.create_task_run("task:quick", parent_run_id=parent.run_id)).run
    grandchild = (await client.create_task_run("task:quick", parent_run_id=child.run_id)).run
    assert (grandchild.parent_run_id, grandchild.root_run_id) == (child.run_id, parent.run_id)
    assert [run.run_id for run in (await client.list(parent_run_id=parent.run_id)).data] == [child.run_id]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=JSON)
async def test_documents_come_back_as_they_were(client: AsyncRunsClient, document: Any) -> None:
    answer = await client.create_task_run("task:quick", input=document, metadata={"document": document})
    run = await client.wait(answer.run.run_id, timeout=30)
    assert run.input == document
    assert run.output == document
    assert run.metadata == {"document": document}
