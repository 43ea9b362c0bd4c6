"""Lists: filters, and pages that stay right while runs are added."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from runsd_client import AsyncRunsClient, InvalidRequestError, NewRun
from runsd_client.proto import runs_pb2, runs_pb2_grpc

from tests.integration.daemon import Daemon
from tests.integration.test_executing import run_to_the_end


async def ids(client: AsyncRunsClient, **filters: Any) -> list[str]:
    return [run.run_id async for run in client.list_all(**filters)]


async def test_filters(client: AsyncRunsClient) -> None:
    start = datetime.now(UTC)
    good, _ = await run_to_the_end(client, "task:quick", name="monthly report", metadata={"team": "data", "n": 1})
    bad, _ = await run_to_the_end(client, "task:exit-status", input=1, name="monthly check", metadata={"team": "web"})
    late = (
        await client.create_task_run("task:quick", start_after_seconds=3600, batch_id="b", metadata={"n": True})
    ).run
    assert await ids(client) == [late.run_id, bad.run_id, good.run_id]
    assert await ids(client, statuses=["failed"]) == [bad.run_id]
    assert await ids(client, statuses=["failed", "pending"]) == [late.run_id, bad.run_id]
    assert await ids(client, target="task:quick") == [late.run_id, good.run_id]
    assert await ids(client, name_prefix="monthly") == [bad.run_id, good.run_id]
    assert await ids(client, name_prefix="monthly r") == [good.run_id]
    assert await ids(client, name_prefix="%") == []
    assert await ids(client, batch_id="b") == [late.run_id]
    assert await ids(client, kind="workflow") == []
    assert await ids(client, metadata={"team": "data"}) == [good.run_id]
    assert await ids(client, metadata={"team": "data", "n": 2}) == []
    assert await ids(client, metadata={"n": 1}) == [good.run_id], "true is not 1"
    assert await ids(client, created_from=start, created_before=late.created_at) == [bad.run_id, good.run_id]
    await client.cancel(late.run_id)


async def test_pages_stay_right_while_runs_are_added(client: AsyncRunsClient) -> None:
    made = await client.batch_create([NewRun("task:quick", name="page") for _ in range(25)])
    expected = [answer.run.run_id for answer in reversed(made)]
    page = await client.list(name_prefix="page", limit=10)
    pages = [page]
    while page.page_info.next:
        await client.create_task_run("task:quick", name="page")
        page = await client.list(name_prefix="page", limit=10, page_token=page.page_info.next)
        pages.append(page)
    assert [run.run_id for page in pages for run in page.data] == expected
    assert [len(page.data) for page in pages] == [10, 10, 5]
    back = await client.list(name_prefix="page", limit=10, page_token=pages[1].page_info.prev)
    assert [run.run_id for run in back.data] == expected[:10]
    newer = await client.list(name_prefix="page", limit=10, page_token=back.page_info.prev)
    assert len(newer.data) == 2, "those that were added meanwhile"
    assert newer.page_info.prev == ""


async def test_pages_are_bounded_in_bytes(client: AsyncRunsClient) -> None:
    for _ in range(5):
        await client.create_task_run("task:quick", input="x" * 500_000, name="bulky")
    pages = []
    token = ""
    while True:
        page = await client.list(name_prefix="bulky", page_token=token)
        pages.append(len(page.data))
        if not (token := page.page_info.next):
            break
    assert sum(pages) == 5
    assert len(pages) > 2


@pytest.mark.parametrize("token", ["nonsense", "bzoxOmFiYw", "\x00", "é"])
async def test_strange_tokens_are_refused(client: AsyncRunsClient, token: str) -> None:
    with pytest.raises(InvalidRequestError, match="page_token"):
        await client.list(page_token=token)


async def test_token_of_another_list_is_refused(client: AsyncRunsClient) -> None:
    await client.batch_create([NewRun("task:quick") for _ in range(3)])
    page = await client.list(limit=2)
    with pytest.raises(InvalidRequestError, match="other filters"):
        await client.list(limit=2, target="task:quick", page_token=page.page_info.next)
    with pytest.raises(InvalidRequestError, match="limit"):
        await client.list(limit=1001)
    with pytest.raises(InvalidRequestError, match="metadata_json"):
        await client.list(metadata=[1])  # type: ignore[arg-type]


def test_bounds_that_are_no_moments_are_refused(daemon: Daemon) -> None:
    request = runs_pb2.ListRunsRequest(
        created_from=Timestamp(seconds=10**18), created_before=Timestamp(seconds=1, nanos=-1)
    )
    with grpc.insecure_channel(daemon.address) as channel, pytest.raises(grpc.RpcError) as refused:
        runs_pb2_grpc.RunsStub(channel).ListRuns(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert all(f"{field}: is no moment" in str(refused.value.details()) for field in ("created_from", "created_before"))
