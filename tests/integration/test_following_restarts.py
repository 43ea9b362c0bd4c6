"""A subscriber gets every event once, in order, however often the daemon is killed meanwhile: each Python client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from runsd_client import AsyncRunsClient, Event, RetryPolicy, RunsClient

from tests.integration.daemon import Daemon
from tests.integration.scenario_playing import SCENARIOS

MakeDaemon = Callable[..., Daemon]
KILLS = 10
QUICK = RetryPolicy(initial_seconds=0.02, max_seconds=0.2)


class Killing:
    """Kills the daemon as long as its lives show something live, then lets the run end."""

    def __init__(self, make_daemon: MakeDaemon, end: Path) -> None:
        self.daemon = make_daemon(project=SCENARIOS / "project")
        self.daemon.start()
        self.kills = 0
        self._seen_in_this_life = 0
        self._end = end

    def saw(self, event: Event) -> None:
        self._seen_in_this_life += event.event_type == "log"
        if self.kills == KILLS:
            self._end.touch()
        elif self._seen_in_this_life == 2:
            self._seen_in_this_life = 0
            self.kills += 1
            self.daemon.kill()
            self.daemon.start()


def check(events: Sequence[Event]) -> None:
    """Nothing is missing, nothing came twice: neither events nor what the process wrote."""
    assert [event.event_id for event in events] == list(range(1, len(events) + 1))
    assert [event.event_type for event in events if event.is_terminal] == ["run.completed"]
    assert events[-1].is_terminal
    *numbers, last = "".join(event.payload["text"] for event in events if event.event_type == "log").splitlines()
    assert last == "the end"
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]


async def test_async_follow_over_ten_kills(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    killing = Killing(make_daemon, tmp_path / "end")
    async with AsyncRunsClient(killing.daemon.address, retry=QUICK) as client:
        run = (await client.create_task_run("task:counts", input=str(tmp_path / "end"))).run
        followed: list[Event] = []
        async for event in client.follow(run.run_id):
            followed.append(event)
            await asyncio.to_thread(killing.saw, event)
        check(followed)
        assert killing.kills == KILLS
        assert [event async for event in client.follow(run.run_id, after_event_id=5)] == followed[5:]
    assert killing.daemon.stop() == 0


def test_sync_follow_over_ten_kills(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    killing = Killing(make_daemon, tmp_path / "end")
    with RunsClient(killing.daemon.address, retry=QUICK) as client:
        run = client.create_task_run("task:counts", input=str(tmp_path / "end")).run
        followed: list[Event] = []
        for event in client.follow(run.run_id):
            followed.append(event)
            killing.saw(event)
        check(followed)
        assert killing.kills == KILLS
        assert list(client.follow(run.run_id, after_event_id=5)) == followed[5:]
    assert killing.daemon.stop() == 0


async def test_watch_over_ten_kills(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    killing = Killing(make_daemon, tmp_path / "end")
    async with AsyncRunsClient(killing.daemon.address, retry=QUICK) as client:
        run = (await client.create_task_run("task:counts", input=str(tmp_path / "end"))).run
        positions, watched = [], []
        async with aclosing(client.watch(after_position=0)) as stream:
            async for item in stream:
                assert item.run_id == run.run_id
                positions.append(item.position)
                watched.append(item.event)
                await asyncio.to_thread(killing.saw, item.event)
                if item.event.is_terminal:
                    break
        check(watched)
        assert killing.kills == KILLS
        assert positions == sorted(set(positions))
    assert killing.daemon.stop() == 0
