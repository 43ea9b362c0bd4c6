"""Runs that start as they are created: only where that is their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runsd.definitions.catalog import Catalog
from runsd.definitions.project import load_project
from runsd.engine import dispatcher
from runsd.engine.claiming import Claimed
from runsd.engine.dispatcher import Dispatcher
from runsd.engine.intake import Intake
from runsd.model.creation import CreateRequest
from runsd.model.events import EventType
from runsd.model.run import RunStatus
from runsd.store import clock, transaction
from runsd.store.journal import Change, Commit
from runsd.store.store import Store, open_store
from runsd.store.transaction import Transaction

DEFINITIONS = """
[project]
id = "p"
[tasks.a]
command = ["true"]
[tasks.one]
command = ["true"]
max_concurrent = 1
"""


class Room:
    """A dispatcher on a real store; what it executes ends when the test says so."""

    def __init__(self, store: Store, catalog: Catalog, max_running: int) -> None:
        self.store = store
        self.intake = Intake(store, catalog, 1 << 20)
        self.executed: list[Claimed] = []
        self.commits: list[Commit] = []
        store.journal.listen(self.commits.append)
        self.dispatcher = Dispatcher(store, catalog, max_running, self.executed.append)

    async def create(self, target: str = "task:a", **options: object) -> str:
        created = await self.intake.create(CreateRequest(project="p", target=target, **options))  # type: ignore[arg-type]
        return created.record.run.run_id

    async def settled(self) -> None:
        """The dispatcher has nothing left to do."""
        for _ in range(3):
            await self.store.journal.change(lambda t: None)
            async with asyncio.timeout(10):
                while not self.dispatcher._is_asleep or self.dispatcher._wake.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0)

    async def in_one_commit(self, creating: Coroutine[Any, Any, str], change: Change[Any]) -> None:
        commits = len(self.commits)
        created = asyncio.ensure_future(creating)
        await asyncio.sleep(0)  # it has handed in its change now
        await asyncio.gather(created, self.store.journal.submit(change))
        assert len(self.commits) == commits + 1

    def priorities(self) -> list[int]:
        return [claimed.run.priority for claimed in self.executed]


@asynccontextmanager
async def a_room(directory: Path, max_running: int) -> AsyncIterator[Room]:
    project = directory / "project"
    project.mkdir()
    (project / "runs.toml").write_text(DEFINITIONS)
    catalog = Catalog([load_project(project)])
    async with open_store(directory / "state", 1000) as store:
        room = Room(store, catalog, max_running)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(store.journal.run())
            dispatching = group.create_task(room.dispatcher.run())
            await room.settled()
            yield room
            dispatching.cancel()
            await asyncio.wait([dispatching])
            store.journal.stop()
            await writing


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with a_room(tmp_path, max_running=1) as room:
        yield room


@pytest.fixture
async def wide_room(tmp_path: Path) -> AsyncIterator[Room]:
    async with a_room(tmp_path, max_running=10) as room:
        yield room


async def test_it_executes_before_the_dispatcher_wakes(room: Room) -> None:
    run_id = await room.create()
    await asyncio.sleep(0)
    assert room.dispatcher._is_asleep
    assert [claimed.run.run_id for claimed in room.executed] == [run_id]
    assert room.executed[0].run.status is RunStatus.RUNNING
    created, started = (await room.store.queries.events(run_id, 0, 10)).events
    assert (created.event_type, started.event_type) == (EventType.CREATED, EventType.STARTED)
    assert created.created_at == started.created_at, "in one commit"


async def test_what_is_woken_in_the_same_commit_goes_before_it(room: Room) -> None:
    older = await room.create(priority=5)
    await room.settled()
    await room.store.journal.change(lambda t: t.wait(t.get(older), {"reason": "signal"}))
    room.dispatcher.finished(room.executed[0].queued)
    await room.settled()
    await room.in_one_commit(room.create(priority=0), lambda t: t.wake(t.get(older)))
    await room.settled()
    assert room.priorities() == [5, 5]


async def test_what_is_to_be_tried_again_in_the_same_commit_goes_before_it(room: Room) -> None:
    older = await room.create(priority=5, backoff_limit=1)
    await room.settled()

    def fails(t: Transaction) -> None:
        t.record(t.get(older), EventType.RETRYING, {"error": {"message": "m", "code": "c"}})

    room.dispatcher.finished(room.executed[0].queued)
    await room.settled()
    await room.in_one_commit(room.create(priority=0), fails)
    await room.settled()
    assert room.priorities() == [5, 5]


async def test_what_is_due_goes_before_it(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the machine sleeps the steady clock goes on, and the event loop's stands still."""
    await room.create(priority=5, start_after_seconds=1000)
    await room.settled()
    real = clock.steady_now
    for module in (dispatcher, transaction):
        monkeypatch.setattr(module, "steady_now", lambda: real() + 2000 * 10**6)
    await room.create(priority=0)
    await room.settled()
    assert room.priorities() == [5]


async def test_older_one_of_a_full_lane_goes_before_it(wide_room: Room) -> None:
    room = wide_room
    await room.create("task:one")
    await room.settled()
    older = await room.create("task:one")
    await room.settled()
    loop = asyncio.get_running_loop()

    def finished_meanwhile(t: Transaction) -> None:
        asyncio.run_coroutine_threadsafe(finish(), loop).result()

    async def finish() -> None:
        room.dispatcher.finished(room.executed[0].queued)

    await room.in_one_commit(room.create("task:one"), finished_meanwhile)
    await room.settled()
    assert [claimed.run.run_id for claimed in room.executed[1:]] == [older]


async def test_refused_commit_leaves_all_places_free(room: Room) -> None:
    def beyond(t: Transaction) -> None:
        t.staged.outputs.append((10**30, 1))

    created = asyncio.ensure_future(room.create(priority=1))
    await asyncio.sleep(0)
    results = await asyncio.gather(created, room.store.journal.submit(beyond), return_exceptions=True)
    assert isinstance(results[1], OverflowError)
    await room.settled()
    assert room.priorities() == [1]
    room.dispatcher.finished(room.executed[0].queued)
    await room.create(priority=2)
    await room.settled()
    assert room.priorities() == [1, 2]
