"""Waiting for runs: for one, for many, for some that have ended, and across the daemon's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from runsd_client import AsyncRunsClient, NewRun
from runsd_client.proto import runs_pb2, runs_pb2_grpc

from tests.integration.daemon import Daemon

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub

LARGE = 700 << 10


@pytest.fixture
async def stub(daemon: Daemon) -> AsyncIterator[RunsAsyncStub]:
    async with grpc.aio.insecure_channel(daemon.address) as channel:
        yield runs_pb2_grpc.RunsStub(channel)


async def _created(client: AsyncRunsClient, runs: list[NewRun]) -> list[str]:
    return [answer.run.run_id for answer in await client.batch_create(runs)]


async def _pages(stub: RunsAsyncStub, run_ids: list[str], seconds: float = 0) -> list[list[str]]:
    stream = stub.WaitRuns(runs_pb2.WaitRunsRequest(run_ids=run_ids, timeout_seconds=seconds))
    return [[run.run_id for run in page.data] async for page in stream]


async def test_each_run_comes_once_as_it_ends(client: AsyncRunsClient, stub: RunsAsyncStub, tmp_path: Path) -> None:
    ended = await _created(client, [NewRun("task:quick")] * 3)
    for run_id in ended:
        await client.wait(run_id)
    gates = [tmp_path / f"{n}" for n in range(3)]
    running = await _created(client, [NewRun("task:until-released", input=str(gate)) for gate in gates])
    stream = stub.WaitRuns(runs_pb2.WaitRunsRequest(run_ids=[*ended, *running, ended[0], running[0]]))
    pages = aiter(stream)
    assert sorted(run.run_id for run in (await anext(pages)).data) == sorted(ended)
    for n in (1, 2, 0):
        gates[n].touch()
        [run] = (await anext(pages)).data
        assert (run.run_id, run.status) == (running[n], 4)
        assert run.target == "task:until-released"
    assert [page async for page in pages] == [], "it ends after the last"


async def test_time_that_is_over_ends_it(client: AsyncRunsClient, stub: RunsAsyncStub, tmp_path: Path) -> None:
    ended, waiting = await _created(
        client, [NewRun("task:quick"), NewRun("task:until-released", input=f"{tmp_path}/gate")]
    )
    await client.wait(ended)
    assert await _pages(stub, [ended, waiting], 0.2) == [[ended]]
    (tmp_path / "gate").touch()
    assert await _pages(stub, [waiting]) == [[waiting]]


async def test_large_records_come_in_messages_that_every_client_takes(
    client: AsyncRunsClient, stub: RunsAsyncStub
) -> None:
    run_ids = await _created(client, [NewRun("task:quick", input="x" * LARGE)] * 5)
    for run_id in run_ids:
        await client.wait(run_id)
    pages = await _pages(stub, run_ids)
    assert [len(page) for page in pages] == [1] * 5
    assert [run_id for page in pages for run_id in page] == run_ids


@pytest.mark.parametrize(
    ("run_ids", "seconds", "code", "says"),
    [
        ([], 0, grpc.StatusCode.INVALID_ARGUMENT, "run_ids: must be 1 to 1000 runs, not 0"),
        (["r"] * 1001, 0, grpc.StatusCode.INVALID_ARGUMENT, "run_ids: must be 1 to 1000 runs, not 1001"),
        (["r"], -1, grpc.StatusCode.INVALID_ARGUMENT, "timeout_seconds: must be 0 or more"),
        (["no-such-run"], 0, grpc.StatusCode.NOT_FOUND, "no-such-run"),
    ],
)
async def test_what_cannot_be_waited_for_is_refused(
    stub: RunsAsyncStub, run_ids: list[str], seconds: float, code: grpc.StatusCode, says: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _pages(stub, run_ids, seconds)
    assert caught.value.code() is code
    assert says in (caught.value.details() or "")


async def test_many_wait_at_the_same_time(client: AsyncRunsClient) -> None:
    run_ids = await _created(client, [NewRun("task:quick", input=n) for n in range(300)])
    runs = await asyncio.gather(*map(client.wait, run_ids))
    assert [(run.run_id, run.status, run.input) for run in runs] == [
        (run_id, "completed", n) for n, run_id in enumerate(run_ids)
    ]


async def test_waits_go_on_when_the_daemon_was_killed(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        gates = [tmp_path / f"{n}" for n in range(3)]
        run_ids = await _created(client, [NewRun("task:until-released", input=str(gate)) for gate in gates])
        waits = [asyncio.create_task(client.wait(run_id)) for run_id in run_ids]
        gates[0].touch()
        await waits[0]
        await asyncio.to_thread(daemon.kill)
        gates[1].touch()
        await asyncio.to_thread(daemon.start)
        assert (await waits[1]).status == "completed"
        assert not waits[2].done()
        gates[2].touch()
        assert [run.run_id for run in await asyncio.gather(*waits)] == run_ids
    assert daemon.stop() == 0
