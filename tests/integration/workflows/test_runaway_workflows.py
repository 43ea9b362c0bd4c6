"""Workflows that will not be left, never end, or take too much at once: the daemon goes on serving others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, RunStatus

from tests.integration.daemon import Daemon
from tests.integration.workflows.harness import execute, failed, start, until_waiting

FLOWS = """
import asyncio
import os
import signal
import time
from runsd import workflow

@workflow("good")
async def good(ctx, input):
    return await ctx.step("one", lambda: 1)

@workflow("swallows")
async def swallows(ctx, input):
    while True:
        try:
            await ctx.sleep(0.5)
        except BaseException:
            pass

@workflow("spins")
async def spins(ctx, input):
    while True:
        await ctx.sleep(0)

@workflow("many")
async def many(ctx, input):
    return await ctx.map("each", lambda item: item, range(input))

@workflow("floods")
async def floods(ctx, input):
    loop = asyncio.get_running_loop()
    for _ in range(100_000):
        loop.call_soon_threadsafe(lambda: None)
    os.kill(os.getpid(), signal.SIGTERM)

@workflow("blocks")
async def blocks(ctx, input):
    time.sleep(3)

@workflow("forgets")
async def forgets(ctx, input):
    await ctx.step("one", lambda: 1)
    ctx.step("two", lambda: 2)
    return "done"

@workflow("task-blocks")
async def task_blocks(ctx, input):
    async def block():
        time.sleep(3)
    await asyncio.gather(block(), block())

@workflow("never-awaits")
async def never_awaits(ctx, input):
    while True:
        pass
"""
SLOW_RETRIES = "[retry]\ninitial_delay_seconds = 60\njitter = 0.0\n"


async def _served(make_daemon: Callable[..., Daemon], tmp_path: Path, **options: str) -> Daemon:
    project = tmp_path / "flows"
    project.mkdir()
    (project / "runs.toml").write_text('[project]\nid = "flows"\nmodules = ["flows"]\n')
    (project / "flows.py").write_text(FLOWS)
    daemon = make_daemon(project=project, **options)
    daemon.start()
    return daemon


async def test_swallowed_pause_fails_the_run(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = await _served(make_daemon, tmp_path)
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "swallows")
        await until_waiting(client, run_id)
        assert (await execute(client, "good")).status is RunStatus.COMPLETED
        run = await failed(client, run_id, "exception")
        assert run.error is not None and "CancelledError" in run.error.message
        assert (await execute(client, "good")).status is RunStatus.COMPLETED
    assert daemon.stop() == 0


async def test_endless_sleeps_of_no_time_give_way(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = await _served(make_daemon, tmp_path)
    async with AsyncRunsClient(daemon.address) as client, asyncio.timeout(30):
        run_id = await start(client, "spins")
        assert (await execute(client, "good")).status is RunStatus.COMPLETED
        await client.cancel(run_id)
        assert (await client.wait(run_id)).status is RunStatus.CANCELLED
    assert daemon.stop() == 0


async def test_step_that_is_never_awaited_fails_the_run(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = await _served(make_daemon, tmp_path)
    async with AsyncRunsClient(daemon.address) as client:
        run = await failed(client, await start(client, "forgets"), "exception")
        assert run.error is not None
        assert run.error.message == "step 'two' was never awaited; write `await ctx.step(…)`"
    assert daemon.stop() == 0


async def test_loop_without_end_fails_when_its_record_is_full(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = await _served(make_daemon, tmp_path)
    async with AsyncRunsClient(daemon.address) as client:
        run = await client.wait(await start(client, "spins"), timeout=60)
        assert run.error is not None and run.error.code == "record_limit", run
        assert "the 50,000 events that it takes" in run.error.message
        assert (await execute(client, "good")).status is RunStatus.COMPLETED
    assert daemon.stop() == 0


async def test_map_of_too_many_items_is_refused(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = await _served(make_daemon, tmp_path)
    async with AsyncRunsClient(daemon.address) as client:
        run = await failed(client, await start(client, "many", 20_000), "exception")
        assert run.error is not None and "a map takes 10,000" in run.error.message
    assert daemon.stop() == 0


async def test_map_of_as_many_items_as_allowed(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = await _served(make_daemon, tmp_path)
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "many", 10_000)
        assert (await execute(client, "good")).status is RunStatus.COMPLETED
        run = await client.wait(run_id, timeout=50)
        assert run.status is RunStatus.COMPLETED, run.error
    assert daemon.stop() == 0


@pytest.mark.parametrize("workflow", ["blocks", "task-blocks"])
async def test_log_names_the_run_that_blocks(make_daemon: Callable[..., Daemon], tmp_path: Path, workflow: str) -> None:
    daemon = await _served(make_daemon, tmp_path)
    async with AsyncRunsClient(daemon.address) as client:
        run_id = (await execute(client, workflow)).run_id
    said = next(line for line in daemon.log if line["event"] == "the event loop is blocked")
    assert said["by"] == f"workflow:{workflow} of run {run_id}"
    assert daemon.stop() == 0


async def test_daemon_is_stopped_though_its_loop_is_flooded(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """The byte that tells asyncio of a signal does not get into a pipe that is full."""
    daemon = await _served(make_daemon, tmp_path)
    async with AsyncRunsClient(daemon.address) as client:
        await start(client, "floods")
    assert await asyncio.to_thread(daemon.wait) == 0
    assert daemon.said("stopped")


async def test_what_blocks_again_and_again_waits_before_it_begins_again(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = await _served(make_daemon, tmp_path, settings=SLOW_RETRIES)
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "never-awaits")
    await asyncio.to_thread(daemon.wait_for, "the event loop is blocked")
    daemon.kill()
    daemon.log.clear()
    daemon.launch()
    await asyncio.to_thread(daemon.wait_for, "the event loop is blocked")
    daemon.kill()
    daemon.log.clear()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client, asyncio.timeout(20):
        assert (await execute(client, "good")).status is RunStatus.COMPLETED
        assert (await client.get(run_id)).start_after is not None
    assert daemon.stop() == 0
