"""Subscriptions: everything past the cursor, once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from runsd_client import AsyncRunsClient, NotFoundError, WatchedEvent
from runsd_client.proto import runs_pb2, runs_pb2_grpc

from tests.integration.daemon import Daemon
from tests.integration.test_executing import run_to_the_end


async def test_replay_begins_behind_the_cursor(client: AsyncRunsClient) -> None:
    run, events = await run_to_the_end(client, "task:emit-many", input=3000)
    assert len(events) == 3003
    for after in (0, 1, 1500, 3002):
        ids = [event.event_id async for event in client.follow(run.run_id, after_event_id=after)]
        assert ids == list(range(after + 1, 3004))
    assert [event async for event in client.follow(run.run_id, after_event_id=3003)] == []


async def test_streams_end_without_following(client: AsyncRunsClient) -> None:
    run = (await client.create_task_run("task:quick", start_after_seconds=3600)).run
    assert [event.event_type async for event in client.replay(run.run_id)] == ["run.created"]
    await client.cancel(run.run_id)


async def test_many_followers_that_join_at_any_time_see_the_same(client: AsyncRunsClient) -> None:
    run = (await client.create_task_run("task:emit-many", input=20_000)).run

    async def follow(after: int) -> list[int]:
        return [event.event_id async for event in client.follow(run.run_id, after_event_id=after)]

    async def join_late(index: int) -> list[int]:
        async for event in client.follow(run.run_id):
            if event.event_id >= index * 500 or event.is_terminal:
                return await follow(event.event_id)
        raise AssertionError("ended without a terminal event")

    whole = await asyncio.gather(*(follow(0) for _ in range(5)), *(join_late(index) for index in range(1, 20)))
    for ids in whole:
        assert ids == list(range(20_004 - len(ids), 20_004))


async def test_events_page_by_page(client: AsyncRunsClient) -> None:
    run, _ = await run_to_the_end(client, "task:emit-many", input=500)
    seen, after = [], 0
    while True:
        page = await client.events(run.run_id, after_event_id=after, limit=100)
        seen += [event.event_id for event in page.data]
        if not page.page_info.next:
            break
        after = int(page.page_info.next)
    assert seen == list(range(1, 504))


async def test_watching_a_project_with_filters(client: AsyncRunsClient) -> None:
    async with aclosing(client.watch(event_types=["run.*"], targets=["task:quick"])) as stream:
        watching = asyncio.create_task(_take(stream, 6))
        position = 0
        runs = []
        # The watcher may begin after the first runs; it has six events to see of those that follow.
        while not watching.done():
            run, _ = await run_to_the_end(client, "task:quick")
            await run_to_the_end(client, "task:speak")
            runs.append(run.run_id)
        seen = await watching
    assert {event.target for event in seen} == {"task:quick"}
    assert {event.run_id for event in seen} <= set(runs)
    positions = [event.position for event in seen]
    assert positions == sorted(set(positions))
    for event in seen[1:]:
        position = event.position
        break
    async with aclosing(client.watch(after_position=position, event_types=["run.*"], targets=["task:quick"])) as again:
        assert await _take(again, 4) == seen[2:]


async def _take(stream: object, count: int) -> list[WatchedEvent]:
    taken: list[WatchedEvent] = []
    async for event in stream:  # type: ignore[attr-defined]
        taken.append(event)
        if len(taken) == count:
            break
    return taken


async def test_watch_tells_its_position_at_once(daemon: Daemon) -> None:
    async with grpc.aio.insecure_channel(daemon.address) as channel:
        stub = runs_pb2_grpc.RunsStub(channel)
        stream = stub.WatchEvents(runs_pb2.WatchEventsRequest())
        first: Any = await stream.read()
        assert first.position >= 0 and not first.data
        stream.cancel()


async def test_waiting_for_a_run(client: AsyncRunsClient) -> None:
    run = (await client.create_task_run("task:script", input="sleep 0.2; exit 3")).run
    assert (await client.wait(run.run_id, timeout=30)).exit_code == 3
    assert (await client.wait(run.run_id)).exit_code == 3
    with pytest.raises(NotFoundError):
        await client.wait("no-such-run")


async def test_slow_subscriber_costs_bounded_memory_and_nobodys_time(client: AsyncRunsClient, daemon: Daemon) -> None:
    before = daemon.resident_bytes()
    async with grpc.aio.insecure_channel(daemon.address) as channel:
        stub = runs_pb2_grpc.RunsStub(channel)
        created = await stub.CreateRun(
            runs_pb2.CreateRunRequest(
                target="task:script", input_json='"head -c 60000000 /dev/zero | tr \\"\\\\0\\" x"'
            )
        )
        stalled = [stub.Events(runs_pb2.EventsRequest(run_id=created.run.run_id, follow=True)) for _ in range(20)]
        for stream in stalled:
            await stream.read()
        seen = 0
        async for event in client.follow(created.run.run_id):
            if event.event_type == "log":
                seen += len(event.payload["text"])
        assert seen == 60_000_000
        assert daemon.resident_bytes() - before < 100_000_000
        # They lost nothing by being slow.
        last = None
        slow: Any = stalled[0]
        while (page := await slow.read()) is not grpc.aio.EOF:
            last = page.data[-1]
        assert last is not None and last.event_type == "run.completed"
        for stream in stalled:
            stream.cancel()


async def test_vanished_subscriber_is_freed(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run = (await client.create_task_run("task:wait-for-ever")).run
        for _ in range(3):
            async with grpc.aio.insecure_channel(daemon.address) as channel:
                stub = runs_pb2_grpc.RunsStub(channel)
                streams = [stub.Events(runs_pb2.EventsRequest(run_id=run.run_id, follow=True)) for _ in range(50)]
                for stream in streams:
                    await stream.read()
        # What is left of them would keep the daemon from ending in time.
        await client.cancel(run.run_id)
        await client.wait(run.run_id, timeout=30)
    assert daemon.stop() == 0
