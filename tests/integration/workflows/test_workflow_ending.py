"""Cancelling workflows where all places are taken: what is to end never waits for what waits for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from runsd_client import AsyncRunsClient, RunStatus

from runsd.engine.places import TO_END
from tests.integration.daemon import Daemon
from tests.integration.workflows.harness import killed_and_started, start, until

TWO_PLACES = {"RUNSD_LIMITS_MAX_RUNNING": "2"}
FAMILIES: dict[str, tuple[int, dict[str, Any], str]] = {
    "waiting children": (5, {"target": "workflow:signal"}, "run.waiting"),
    "waiting grandchildren": (3, {"target": "workflow:child", "input": {"target": "workflow:signal"}}, "run.waiting"),
    "children in all places": (2, {"target": "task:hang"}, "hanging"),
}


async def begun(client: AsyncRunsClient, family: str) -> list[str]:
    """Ids of the parents, once the lowest run below each is where it stays."""
    count, input, stays = FAMILIES[family]
    run_ids = [await start(client, "child", input) for _ in range(count)]
    for run_id in run_ids:
        lowest = run_id
        below: dict[str, Any] | None = input
        while below is not None:
            lowest = (await until(client, lowest, "step.started")).payload["child_run_id"]
            below = below.get("input")
        await until(client, lowest, stays)
        await until(client, run_id, "run.waiting")
    return run_ids


async def all_cancelled(client: AsyncRunsClient, run_ids: Sequence[str]) -> None:
    runs = await asyncio.gather(*(client.wait(run_id, timeout=30) for run_id in run_ids))
    assert [run.status for run in runs] == [RunStatus.CANCELLED] * len(run_ids)
    everything: list[Any] = list((await client.list()).data)
    assert {run.status for run in everything} == {RunStatus.CANCELLED}


@pytest.mark.parametrize("family", FAMILIES)
async def test_families_are_cancelled_though_all_places_are_taken(
    make_daemon: Callable[..., Daemon], family: str
) -> None:
    daemon = make_daemon(env=TWO_PLACES)
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run_ids = await begun(client, family)
        for run_id in run_ids:
            await client.cancel(run_id)
        await all_cancelled(client, run_ids)
    assert daemon.stop() == 0


@pytest.mark.parametrize("family", FAMILIES)
async def test_they_are_after_a_kill_too(make_daemon: Callable[..., Daemon], family: str) -> None:
    daemon = make_daemon(env=TWO_PLACES)
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run_ids = await begun(client, family)
        for run_id in run_ids:
            await client.cancel(run_id)
    async with killed_and_started(daemon) as client:
        await all_cancelled(client, run_ids)
    assert daemon.stop() == 0


async def test_more_than_are_ended_at_a_time_wait_for_runs_that_are_not_among_them(
    make_daemon: Callable[..., Daemon],
) -> None:
    """All of the parents are asked to end at one moment, before any of their children is."""
    count = TO_END + 20
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "families", count)
        stream = client.watch(event_types=["run.waiting"], after_position=0)
        waiting: set[str] = set()
        async for watched in stream:
            waiting.add(watched.run_id)
            if len(waiting) == 2 * count + 1:
                break
        await client.cancel(run_id)
        await all_cancelled(client, [run_id])
    assert daemon.stop() == 0


async def test_a_daemon_that_starts_nothing_more_still_ends_what_is_cancelled(
    make_daemon: Callable[..., Daemon],
) -> None:
    """A parent that executes waits for the end of its child, which waits."""
    daemon = make_daemon(env={"RUNSD_ON_STOP": "cancel"})
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "busy-parent")
        child_id = (await until(client, run_id, "step.started", name="signal")).payload["child_run_id"]
        await until(client, child_id, "run.waiting")
    assert daemon.stop() == 0
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        runs = [await client.get(one) for one in (run_id, child_id)]
        assert [run.status for run in runs] == [RunStatus.CANCELLED] * 2
    assert daemon.stop() == 0
