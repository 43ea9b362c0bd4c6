"""Waiting runs: kept in a table of their own, found in the queue when their time has come or they are woken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runsd.model.creation import CreateRequest, NewRun
from runsd.model.events import Draft, EventType
from runsd.model.run import IllegalTransition, Run, RunStatus
from runsd.model.targets import Target
from runsd.model.times import rfc3339
from runsd.store.clock import steady_now
from runsd.store.journal import Commit
from runsd.store.queue import Queued
from runsd.store.store import Store, open_store
from runsd.store.transaction import Transaction

SECOND = 1_000_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        yield store
        store.journal.stop()
        await writing


async def create(store: Store, run_id: str, *, target: str = "workflow:w", priority: int = 0, parent: str = "") -> None:
    request = CreateRequest(target=target, priority=priority, parent_run_id=parent)
    new = NewRun(run_id, "p", Target.parse(target), request, 0, 0)
    root = parent or run_id
    await store.journal.change(lambda t: t.create(new.created_payload(root, t.now), new.documents, b""))


async def begin(store: Store, run_id: str) -> None:
    def change(transaction: Transaction) -> None:
        stored = transaction.record(transaction.get(run_id), EventType.STARTED, {"attempt": 1, "adapter": "workflow"})
        transaction.open_attempt(stored, "workflow")

    await store.journal.change(change)


async def wait(store: Store, run_id: str, until: int | None = None) -> Run:
    payload = {"reason": "signal go"} | ({"until": rfc3339(until)} if until is not None else {})
    return (await store.journal.change(lambda t: t.wait(t.get(run_id), payload))).run


async def waiting(store: Store, run_id: str, until: int | None = None, **options: int) -> None:
    await create(store, run_id, **options)  # type: ignore[arg-type]
    await begin(store, run_id)
    await wait(store, run_id, until)


async def wake(store: Store, run_id: str) -> None:
    await store.journal.change(lambda t: t.wake(t.get(run_id)))


async def resume(store: Store, run_id: str) -> None:
    await store.journal.change(lambda t: t.resume(t.get(run_id)))


async def due(store: Store, now: int | None = None, *, limit: int = 100, full: tuple[str, ...] = ()) -> list[str]:
    found = await store.queries.startable(now or steady_now(), limit, ["p"], list(full), [])
    return [queued.run_id for queued in found]


async def rows(store: Store) -> list[tuple[str, int | None]]:
    def read(transaction: Transaction) -> list[tuple[str, int | None]]:
        query = "SELECT run_id, wake_at FROM waits JOIN runs USING (run_no) ORDER BY run_no"
        return transaction.connection.execute(query).fetchall()

    return await store.journal.change(read)


async def test_waiting_run_is_left_alone_until_its_time(store: Store) -> None:
    moment = steady_now() + 3600 * SECOND
    await waiting(store, "timed", moment)
    await waiting(store, "for-ever")
    assert await due(store) == []
    assert await due(store, moment - 1) == []
    assert await due(store, moment) == ["timed"]
    assert await rows(store) == [("timed", moment), ("for-ever", None)]
    assert await store.queries.next_moment(steady_now()) == moment
    assert await store.queries.next_moment(moment) is None
    run = await store.queries.run("timed")
    assert (run.status, run.waiting_reason, run.start_after) == (RunStatus.WAITING, "signal go", moment)


async def test_woken_run_is_due_at_once(store: Store) -> None:
    await waiting(store, "a")
    await waiting(store, "b", steady_now() + 3600 * SECOND)
    commits: list[Commit] = []
    store.journal.listen(commits.append)
    await wake(store, "b")
    assert [[stored.run.run_id for stored in commit.woken] for commit in commits] == [["b"]]
    assert await due(store) == ["b"]
    assert await store.journal.change(lambda t: (t.is_due(t.get("a")), t.is_due(t.get("b")))) == (False, True)
    await wake(store, "b")
    assert await due(store) == ["b"], "once more makes no difference"
    await resume(store, "b")
    assert await due(store) == []
    assert await rows(store) == [("a", None)]
    run = await store.queries.run("b")
    assert (run.status, run.waiting_reason, run.start_after) == (RunStatus.RUNNING, "", None)


async def test_only_waiting_runs_are_woken(store: Store) -> None:
    await create(store, "pending")
    await create(store, "running")
    await begin(store, "running")
    commits: list[Commit] = []
    store.journal.listen(commits.append)
    await wake(store, "pending")
    await wake(store, "running")
    await store.journal.change(lambda t: t.wake(None))
    assert not any(commit.woken for commit in commits)
    assert await rows(store) == []


async def test_wait_and_wake_may_share_a_commit(store: Store) -> None:
    await create(store, "a")
    await begin(store, "a")
    await asyncio.gather(wait(store, "a"), wake(store, "a"))
    assert await due(store) == ["a"]
    await resume(store, "a")
    await asyncio.gather(wait(store, "a", steady_now() + 3600 * SECOND))
    assert await due(store) == [], "an earlier call does not count"


async def test_end_of_a_child_wakes_its_parent(store: Store) -> None:
    await create(store, "parent")
    await begin(store, "parent")
    await create(store, "child", parent="parent")
    await wait(store, "parent")
    assert await due(store) == ["child"]
    await begin(store, "child")
    await store.journal.change(lambda t: t.emit(t.get("child"), [Draft("x", "{}")]))
    assert await due(store) == []
    await store.journal.change(lambda t: t.record(t.get("child"), EventType.COMPLETED, {}))
    assert await due(store) == ["parent"]


async def test_due_and_pending_runs_stand_in_one_queue(store: Store) -> None:
    moment = steady_now() - SECOND
    await waiting(store, "due-1", moment)
    await create(store, "pending-2")
    await waiting(store, "due-3", moment, priority=5)
    await create(store, "pending-4", priority=5)
    await create(store, "other-5", target="workflow:other", priority=9)
    assert await due(store) == ["other-5", "due-3", "pending-4", "due-1", "pending-2"]
    assert await due(store, limit=2) == ["other-5", "due-3"]
    assert await due(store, full=("p workflow:w",)) == ["other-5"]
    assert (await store.queries.startable(steady_now(), 9, ["another"], [], [])) == []
    stored = await store.journal.change(lambda t: t.get("due-3"))
    assert Queued.of(stored) in await store.queries.startable(steady_now(), 9, ["p"], [], [])


async def test_what_became_startable_is_what_had_its_moment_since(store: Store) -> None:
    now = steady_now()
    for number, run_id in enumerate(("first", "second", "third")):
        await waiting(store, run_id, now - (3 - number) * SECOND)
    await waiting(store, "later", now + 3600 * SECOND)
    await create(store, "pending")

    async def since(moment: int, limit: int = 9, project: str = "p") -> list[str]:
        found = await store.queries.became_startable(moment, now, limit, [project])
        return [queued.run_id for queued in found]

    assert await since(0) == ["first", "second", "third"]
    assert await since(now - 2 * SECOND) == ["second", "third"], "both ends are included"
    assert await since(0, limit=2) == ["first", "second"]
    assert await since(0, project="another") == []
    await resume(store, "third")
    assert await since(now - 2 * SECOND) == ["second"]


async def test_waiting_survives_a_restart(tmp_path: Path) -> None:
    moment = steady_now() + 3600 * SECOND
    for is_first in (True, False):
        async with open_store(tmp_path, logs_limit=100) as store:
            writing = asyncio.create_task(store.journal.run())
            if is_first:
                await waiting(store, "timed", moment)
                await waiting(store, "woken")
                await wake(store, "woken")
            else:
                assert await due(store) == ["woken"]
                assert await store.queries.next_moment(steady_now()) == moment
                assert await store.queries.active() == [], "nobody takes up what only waits"
            store.journal.stop()
            await writing


async def test_run_waits_only_while_it_is_executed(store: Store) -> None:
    await create(store, "a")
    with pytest.raises(IllegalTransition):
        await wait(store, "a")
    with pytest.raises(IllegalTransition):
        await resume(store, "a")
    assert await rows(store) == []


async def test_history_is_what_steps_are_made_of(store: Store) -> None:
    await create(store, "a")
    signal = Draft("signal", '{"name":"go"}')
    await store.journal.change(lambda t: t.emit(t.get("a"), [signal]))
    await begin(store, "a")

    def emit_and_read(transaction: Transaction) -> list[str]:
        drafts = [Draft("log", '{"stream":"stdout","text":"x"}'), Draft("step.started", '{"step_id":"s"}')]
        stored = transaction.emit(transaction.get("a"), drafts)
        return [event.event_type for event in transaction.history(stored)]

    assert await store.journal.change(emit_and_read) == ["signal", "step.started"], "what is fresh is seen as well"
    events, last_event_id = await store.queries.history_events("a")
    assert [event.event_type for event in events] == ["run.started", "signal", "step.started"]
    assert last_event_id == 5


async def test_attempt_began_when_it_was_opened(store: Store) -> None:
    before = steady_now()
    await create(store, "a")
    await begin(store, "a")
    began = await store.journal.change(lambda t: t.attempt_began(t.get("a")))
    assert before <= began <= steady_now()
