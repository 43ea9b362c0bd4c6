"""Signals and decisions that are sent again: the same one is no error, another one is not dropped."""

from __future__ import annotations

from typing import Any

import pytest
from runsd_client import AlreadyExistsError, AsyncRunsClient, PreconditionError

from tests.integration.workflows.harness import completed, events_of, start, types, until_waiting


async def test_same_decision_again(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approval")
    await until_waiting(client, run_id)
    data = {"a": 1, "b": [2]}
    await client.approve(run_id, "review", by="ann", comment="well done", data=data)
    assert (await client.approve(run_id, "review", by="ann", data={"b": [2], "a": 1})).run_id == run_id
    await completed(client, run_id)
    assert (await client.approve(run_id, "review", by="ann", data=data)).run_id == run_id, "also after the end"
    assert types(await events_of(client, run_id), "approval.") == ["approval.requested", "approval.decided"]


@pytest.mark.parametrize(
    ("approved", "more"),
    [(False, {"by": "ann"}), (True, {"by": "bob"}), (True, {}), (True, {"by": "ann", "data": 1})],
)
async def test_other_decision_is_refused(client: AsyncRunsClient, approved: bool, more: dict[str, Any]) -> None:
    run_id = await start(client, "approval")
    await until_waiting(client, run_id)
    await client.approve(run_id, "review", by="ann")
    decide = client.approve if approved else client.reject
    for _ in range(2):
        with pytest.raises(PreconditionError):
            await decide(run_id, "review", **more)
        await completed(client, run_id)


async def test_same_decision_decides_what_is_asked_anew(client: AsyncRunsClient) -> None:
    run_id = await start(client, "approvals")
    for count in (1, 2):
        await until_waiting(client, run_id, count)
        await client.reject(run_id, "review", comment="no")
    await until_waiting(client, run_id, 3)
    await client.approve(run_id, "review", comment="yes")
    assert await completed(client, run_id) == ["no", "no", "yes"]


async def test_key_of_another_signal(client: AsyncRunsClient) -> None:
    run_id = await start(client, "signal")
    await client.signal(run_id, "other", {"a": 1, "b": 2}, idempotency_key="k")
    assert (await client.signal(run_id, "other", {"b": 2, "a": 1}, idempotency_key="k")).duplicate
    for name, payload in (
        ("other", {"a": 1}),
        ("other", None),
        ("go", {"a": 1, "b": 2}),
        ("other", {"a": 1, "b": True}),
    ):
        with pytest.raises(
            AlreadyExistsError, match=r"'k' was used for another signal of run .*; send the same signal again"
        ):
            await client.signal(run_id, name, payload, idempotency_key="k")
    await client.cancel(run_id)
