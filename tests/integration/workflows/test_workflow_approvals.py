"""Approvals: asked for, decided once by whoever may, and expiring."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from runsd_client import (
    AsyncRunsClient,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
)
from runsd_client.proto import runs_pb2

from tests.integration.workflows.harness import (
    completed,
    events_of,
    failed,
    start,
    states,
    types,
    until,
    until_waiting,
)


async def test_approval_is_given(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approval")
    run = await until_waiting(client, run_id)
    assert run.waiting_reason == "approval review" and run.steps[0].detail == "Is it good?"
    asked = await until(client, run_id, "approval.requested")
    assert asked.payload == {"step_id": "review", "name": "review", "message": "Is it good?"}
    await client.approve(run_id, "review", by="ann", comment="well done", data={"grade": 1})
    assert await completed(client, run_id) == ["review", True, "ann", "well done", {"grade": 1}]
    decided = await until(client, run_id, "approval.decided")
    assert decided.payload.pop("idempotency_key")
    assert decided.payload == {
        "step_id": "review", "name": "review", "by": "ann", "comment": "well done", "data": {"grade": 1},
        "approved": True,
    }  # fmt: skip


async def test_approval_is_rejected(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approval")
    await until_waiting(client, run_id)
    await client.reject(run_id, "review", by="bob", comment="too long", data=[1])
    said = "approval 'review' was rejected by bob: too long"
    assert await completed(client, run_id) == ["rejected", "bob", "too long", [1], "rejected", said]
    assert states(await client.get(run_id)) == {"review": "failed"}


async def test_rejection_fails_the_run_that_does_not_expect_it(client: AsyncRunsClient) -> None:
    run_id = await start(client, "toml/rejected", backoff_limit=3)
    await until_waiting(client, run_id)
    await client.reject(run_id, "review")
    run = await failed(client, run_id, "rejected")
    assert run.attempt == 1, "to ask again would be no use"


async def test_approval_is_decided_once(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approval")
    await until_waiting(client, run_id)
    decisions = [client.approve(run_id, "review", by=f"person {n}") for n in range(5)]
    answers = await asyncio.gather(*decisions, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == 4
    assert all(isinstance(error, PreconditionError) for error in refused), refused
    await completed(client, run_id)
    assert types(await events_of(client, run_id), "approval.") == ["approval.requested", "approval.decided"]


async def test_key_makes_one_decision(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approvals")
    await until_waiting(client, run_id)
    request = runs_pb2.DecideApprovalRequest(
        run_id=run_id, name="review", approved=False, comment="again", idempotency_key="once"
    )
    await client._stubs["runs"].DecideApproval(request)
    await until_waiting(client, run_id, 2)
    answer = await client._stubs["runs"].DecideApproval(request)
    assert answer.run.run_id == run_id
    await client.approve(run_id, "review", comment="good")
    assert await completed(client, run_id) == ["again", "good"]


@pytest.mark.parametrize("other", [{"approved": True}, {"name": "other"}, {"comment": "better"}, {"data_json": "1"}])
async def test_key_is_of_one_decision(client: AsyncRunsClient, other: dict[str, Any]) -> None:
    """Whatever else it is sent with would be lost, and who sent it has to know."""
    run_id = await start(client, "approvals")
    await until_waiting(client, run_id)
    first: dict[str, Any] = {
        "run_id": run_id,
        "name": "review",
        "approved": False,
        "comment": "again",
        "idempotency_key": "once",
    }
    decide = client._stubs["runs"].DecideApproval
    await decide(runs_pb2.DecideApprovalRequest(**first))
    await until_waiting(client, run_id, 2)
    with pytest.raises(grpc.aio.AioRpcError, match="'once' was used for another decision of run") as caught:
        await decide(runs_pb2.DecideApprovalRequest(**first | other))
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    await client.approve(run_id, "review", comment="good")
    assert await completed(client, run_id) == ["again", "good"]


async def test_same_name_is_asked_for_again(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approvals")
    for count in (1, 2):
        await until_waiting(client, run_id, count)
        await client.reject(run_id, "review", comment=f"no {count}")
    await until_waiting(client, run_id, 3)
    await client.approve(run_id, "review", comment="yes")
    assert await completed(client, run_id) == ["no 1", "no 2", "yes"]
    run = await client.get(run_id)
    assert states(run) == {"review": "failed", "review#2": "failed", "review#3": "completed"}


async def test_latest_of_a_name_is_decided_first(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approvals/at-once")
    await until_waiting(client, run_id)
    await client.approve(run_id, "review", comment="latest")
    await client.approve(run_id, "review", comment="earliest")
    with pytest.raises(PreconditionError):
        await client.reject(run_id, "review", comment="too much")
    assert await completed(client, run_id) == ["earliest", "latest"]


async def test_only_approvers_decide(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approval", {"approvers": ["ann", "bob"]})
    await until_waiting(client, run_id)
    with pytest.raises(PermissionDeniedError, match="ann, bob"):
        await client.approve(run_id, "review", by="eve")
    with pytest.raises(PermissionDeniedError):
        await client.reject(run_id, "review")
    await client.approve(run_id, "review", by="bob")
    assert await completed(client, run_id) == ["review", True, "bob", "", None]


async def test_answer_is_held_against_its_schema(client: AsyncRunsClient) -> None:
    schema = {"type": "object", "required": ["grade"], "properties": {"grade": {"type": "integer"}}}
    run_id = await start(client, "approval", {"schema": schema})
    await until_waiting(client, run_id)
    for data in (None, {"grade": "one"}, [1]):
        with pytest.raises(InvalidRequestError, match="data_json"):
            await client.approve(run_id, "review", data=data)
    with pytest.raises(InvalidRequestError, match="data_json"):
        await client.reject(run_id, "review", data={"grade": "one"})
    await client.approve(run_id, "review", data={"grade": 1})
    assert (await completed(client, run_id))[-1] == {"grade": 1}


async def test_whoever_rejects_need_not_answer(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approval", {"schema": {"type": "object", "required": ["grade"]}})
    await until_waiting(client, run_id)
    await client.reject(run_id, "review")
    assert (await completed(client, run_id))[0] == "rejected"


async def test_approval_expires(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approval", {"timeout": "250ms"})
    asked = await until(client, run_id, "approval.requested")
    assert "expires_at" in asked.payload
    assert await completed(client, run_id) == ["too late", "timeout", "nobody decided approval 'review' in time"]
    with pytest.raises(PreconditionError):
        await client.approve(run_id, "review")


async def test_decisions_are_refused_where_they_make_no_sense(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approval")
    await until_waiting(client, run_id)
    with pytest.raises(NotFoundError, match="it asked for review"):
        await client.approve(run_id, "another")
    with pytest.raises(InvalidRequestError, match="comment"):
        await client.approve(run_id, "review", comment="x" * 1001)
    await client.cancel(run_id)
    await client.wait(run_id, timeout=30)
    with pytest.raises(PreconditionError, match="nothing left to decide"):
        await client.approve(run_id, "review")
    other = await start(client, "signal")
    with pytest.raises(NotFoundError, match="it has asked for none so far"):
        await client.approve(other, "review")
