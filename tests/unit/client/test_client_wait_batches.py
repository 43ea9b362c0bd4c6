"""Waits that begin at the same time: one stream, and for each caller what WaitRun would have answered."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from runsd_client import AsyncRunsClient, NotFoundError, WaitTimeoutError
from runsd_client.wait_batches import MOST_RUNS

from tests.unit.client.fake_answers import LOST
from tests.unit.client.fake_daemon import FakeDaemon


@pytest.fixture
async def client(async_client: AsyncRunsClient) -> Any:
    """The daemon is known to be there, so that no wait has to find out."""
    async with async_client as client:
        await client.targets()
        yield client


async def _until_asked(daemon: FakeDaemon, method: str) -> None:
    def look() -> None:
        while not daemon.requests(method):
            time.sleep(0.001)

    async with asyncio.timeout(10):
        await asyncio.to_thread(look)


def _waits(client: AsyncRunsClient, run_ids: list[str], timeout: float | None = None) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(client.wait(run_id, timeout)) for run_id in run_ids]


async def test_each_is_answered_when_its_run_ends(daemon: FakeDaemon, client: AsyncRunsClient) -> None:
    run_ids = [daemon.add_run() for _ in range(5)]
    waits = _waits(client, run_ids)
    await _until_asked(daemon, "WaitRuns")
    for n in (3, 0, 4, 1, 2):
        await asyncio.to_thread(daemon.finish, run_ids[n], output=n)
        run = await waits[n]
        assert (run.run_id, run.status, run.output) == (run_ids[n], "completed", n)
        assert [wait.done() for wait in waits].count(True) == (3, 0, 4, 1, 2).index(n) + 1
    assert len(daemon.requests("WaitRuns")) == 1
    assert not daemon.requests("WaitRun")


async def test_one_run_awaited_by_several(daemon: FakeDaemon, client: AsyncRunsClient) -> None:
    first, second = daemon.add_run(), daemon.add_run()
    waits = _waits(client, [first, first, second, first])
    await _until_asked(daemon, "WaitRuns")
    daemon.finish(first)
    assert [(await waits[n]).run_id for n in (0, 1, 3)] == [first] * 3
    daemon.finish(second)
    assert (await waits[2]).run_id == second
    [asked] = daemon.requests("WaitRuns")
    assert list(asked.run_ids) == [first, second]


async def test_a_stream_has_a_limited_number(daemon: FakeDaemon, client: AsyncRunsClient) -> None:
    run_ids = [daemon.add_run() for _ in range(2 * MOST_RUNS + 5)]
    for run_id in run_ids:
        daemon.finish(run_id)
    runs = await asyncio.gather(*map(client.wait, run_ids))
    assert [run.run_id for run in runs] == run_ids
    assert sorted(len(asked.run_ids) for asked in daemon.requests("WaitRuns")) == [5, MOST_RUNS, MOST_RUNS]


async def test_unknown_run_fails_its_own_wait(daemon: FakeDaemon, client: AsyncRunsClient) -> None:
    run_id = daemon.add_run()
    known, unknown = _waits(client, [run_id, "nowhere"])
    with pytest.raises(NotFoundError):
        await unknown
    daemon.finish(run_id)
    assert (await known).status == "completed"


async def test_waits_go_on_after_a_lost_connection(daemon: FakeDaemon, client: AsyncRunsClient) -> None:
    run_ids = [daemon.add_run() for _ in range(3)]
    daemon.state.lost_answers["WaitRuns"].append(LOST)
    waits = _waits(client, run_ids)
    await _until_asked(daemon, "WaitRuns")
    daemon.finish(run_ids[0])
    assert (await waits[0]).status == "completed"
    for run_id in run_ids[1:]:
        daemon.finish(run_id)
    assert [run.run_id for run in await asyncio.gather(*waits)] == run_ids


async def test_waits_go_on_after_a_restart(daemon: FakeDaemon, client: AsyncRunsClient) -> None:
    run_ids = [daemon.add_run() for _ in range(3)]
    waits = _waits(client, run_ids)
    await _until_asked(daemon, "WaitRuns")
    await asyncio.to_thread(daemon.stop)
    await asyncio.to_thread(daemon.start)
    for run_id in run_ids:
        await asyncio.to_thread(daemon.finish, run_id)
    assert [run.run_id for run in await asyncio.gather(*waits)] == run_ids


async def test_each_has_its_own_time(daemon: FakeDaemon, client: AsyncRunsClient) -> None:
    short, long = daemon.add_run(), daemon.add_run()
    waits = [*_waits(client, [short], timeout=0.15), *_waits(client, [long])]
    with pytest.raises(WaitTimeoutError) as caught:
        await waits[0]
    assert caught.value.run is not None
    assert caught.value.run.run_id == short
    daemon.finish(long)
    assert (await waits[1]).status == "completed"


async def test_who_gives_up_takes_no_other_with_them(daemon: FakeDaemon, client: AsyncRunsClient) -> None:
    run_ids = [daemon.add_run() for _ in range(3)]
    waits = _waits(client, run_ids)
    await _until_asked(daemon, "WaitRuns")
    waits[0].cancel()
    for run_id in run_ids:
        daemon.finish(run_id)
    first, *others = await asyncio.gather(*waits, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert [run.run_id for run in others if not isinstance(run, BaseException)] == run_ids[1:]


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_stream_that_nobody_reads_is_given_up(
    daemon: FakeDaemon, client: AsyncRunsClient, has_begun: bool
) -> None:
    run_ids = [daemon.add_run() for _ in range(3)]
    waits = _waits(client, run_ids)
    await (_until_asked(daemon, "WaitRuns") if has_begun else asyncio.sleep(0))
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    async with asyncio.timeout(5):
        await client._waits.ended()
    again = _waits(client, run_ids)
    for run_id in run_ids:
        daemon.finish(run_id)
    assert [run.run_id for run in await asyncio.gather(*again)] == run_ids


async def test_closing_ends_the_waits(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    async with async_client as client:
        await client.targets()
        waits = _waits(client, [daemon.add_run() for _ in range(3)])
        await _until_asked(daemon, "WaitRuns")
    errors = await asyncio.gather(*waits, return_exceptions=True)
    assert {getattr(error, "reason", "") for error in errors} == {"CLIENT_CLOSED"}
