"""Group commit, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runsd.model.attempt import Offsets
from runsd.model.creation import CreateRequest, NewRun
from runsd.model.errors import NotFound, Stopping
from runsd.model.events import Committed, Draft, EventType
from runsd.model.record import fold_all
from runsd.model.run import IllegalTransition, Run, RunStatus
from runsd.model.targets import Target
from runsd.store.connection import connect
from runsd.store.journal import Commit, StoreFailed, Wanted
from runsd.store.migrations import StoreTooNew
from runsd.store.store import DATABASE, Store, open_store
from runsd.store.transaction import Transaction


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        yield store
        store.journal.stop()
        await writing


def creation(run_id: str, key: str = "") -> Any:
    request = CreateRequest(target="task:t", input_json="[1, 2]", idempotency_key=key)
    new = NewRun(run_id, "p", Target.parse("task:t"), request, 0, 0)

    def change(transaction: Transaction) -> Run:
        return transaction.create(new.created_payload(run_id, transaction.now), new.documents, b"hash")

    return change


def start(run_id: str) -> Any:
    def change(transaction: Transaction) -> None:
        stored = transaction.record(transaction.get(run_id), EventType.STARTED, {"attempt": 1, "adapter": "a"})
        transaction.emit(stored, [Draft("log", '{"stream":"stdout","text":"x"}')] * 3)

    return change


async def test_what_is_queued_together_is_committed_together(store: Store) -> None:
    commits: list[Commit] = []
    store.journal.listen(commits.append)
    await asyncio.gather(*(store.journal.change(creation(f"run-{n}")) for n in range(50)))
    # The first change may find the writer idle; all the others gather behind it.
    assert len(commits) <= 2
    positions = [committed.position for commit in commits for committed in commit.events]
    assert positions == list(range(1, 51))


@pytest.mark.parametrize("count", [1, 7, 8, 64, 64 + 8 + 1])
async def test_every_row_of_a_batch_is_written(store: Store, count: int) -> None:
    def create_all(transaction: Transaction) -> list[Run]:
        return [creation(f"run-{n}")(transaction) for n in range(count)]

    created = await store.journal.change(create_all)
    for run in created:
        record = await store.queries.record(run.run_id)
        assert (record.run, record.documents.input_json) == (run, "[1, 2]")
        events = (await store.queries.events(run.run_id, 0, 10)).events
        assert [event.event_type for event in events] == [EventType.CREATED]


async def test_changes_in_a_batch_see_each_other(store: Store) -> None:
    await asyncio.gather(store.journal.change(creation("a", key="k")), store.journal.change(start("a")))
    found = await store.journal.change(lambda t: t.by_key("p", "k"))
    assert found is not None and found[0].run_id == "a" and found[1] == b"hash"
    page = await store.queries.events("a", 0, 100)
    assert [event.event_id for event in page.events] == [1, 2, 3, 4, 5]
    record = await store.queries.record("a")
    assert record.logs.text == "xxx"
    folded = fold_all(page.events, 100)
    assert folded is not None and folded.run == record.run and folded.logs == record.logs


async def test_concluding_change_comes_last_and_knows_what_is_created(store: Store) -> None:
    futures: list[asyncio.Future[set[str]]] = []

    def conclude(transaction: Transaction) -> set[str]:
        created = transaction.created().values()
        for stored, documents in created:
            assert documents.input_json == "[1, 2]"
            transaction.record(stored, EventType.STARTED, {"attempt": 1, "adapter": "a"})
        return {stored.run.run_id for stored, _ in created}

    def conclusion() -> Wanted:
        futures.append(asyncio.get_running_loop().create_future())
        return conclude, futures[-1]

    store.journal.conclude_with(conclusion)
    run_ids = {f"run-{n}" for n in range(5)}
    await asyncio.gather(*(store.journal.change(creation(run_id)) for run_id in run_ids))
    assert set().union(*[await future for future in futures]) == run_ids
    for run_id in run_ids:
        record = await store.queries.record(run_id)
        assert (record.run.status, record.documents.input_json) == (RunStatus.RUNNING, "[1, 2]")
        events = (await store.queries.events(run_id, 0, 10)).events
        assert [event.event_type for event in events] == [EventType.CREATED, EventType.STARTED]
        folded = fold_all(events, 100)
        assert folded and folded.run == record.run
    # What is not created here is not told.
    await store.journal.change(lambda transaction: transaction.get("run-0"))
    assert await futures[-1] == set()


async def test_change_that_raises_leaves_nothing_and_disturbs_no_other(store: Store) -> None:
    seen: list[Committed] = []
    store.journal.listen(lambda commit: seen.extend(commit.events))

    def half_way(transaction: Transaction) -> None:
        creation("lost")(transaction)
        transaction.get("no such run")

    results = await asyncio.gather(
        store.journal.change(creation("before")),
        store.journal.change(half_way),
        store.journal.change(creation("after")),
        return_exceptions=True,
    )
    assert [isinstance(result, NotFound) for result in results] == [False, True, False]
    assert [committed.run_id for committed in seen] == ["before", "after"]
    assert [committed.position for committed in seen] == [1, 2]
    with pytest.raises(NotFound):
        await store.queries.run("lost")


async def test_events_after_the_end_are_refused(store: Store) -> None:
    await store.journal.change(creation("a"))
    await store.journal.change(lambda t: t.record(t.get("a"), EventType.CANCELLED, {}))
    with pytest.raises(IllegalTransition):
        await store.journal.change(lambda t: t.emit(t.get("a"), [Draft("x", "{}")]))
    with pytest.raises(IllegalTransition):
        await store.journal.change(lambda t: t.record(t.get("a"), EventType.COMPLETED, {}))


async def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    for round_number in range(3):
        async with open_store(tmp_path, logs_limit=100) as store:
            writing = asyncio.create_task(store.journal.run())
            await store.journal.change(creation(f"run-{round_number}"))
            assert store.tail.position == round_number + 1
            store.journal.stop()
            await writing


async def test_moments_never_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([5_000, 3_000])
    for round_number in range(2):
        moment = next(moments)
        monkeypatch.setattr("runsd.store.journal.wall_now", lambda moment=moment: moment)
        async with open_store(tmp_path, logs_limit=100) as store:
            writing = asyncio.create_task(store.journal.run())
            run = await store.journal.change(creation(f"run-{round_number}"))
            assert run.created_at == 5_000
            store.journal.stop()
            await writing


async def test_what_is_queued_when_stopping_is_written(tmp_path: Path) -> None:
    async with open_store(tmp_path, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        queued = [asyncio.create_task(store.journal.change(creation(f"run-{n}"))) for n in range(5)]
        await asyncio.sleep(0)
        store.journal.stop()
        await writing
        assert len(await asyncio.gather(*queued)) == 5
        with pytest.raises(Stopping):
            await store.journal.change(creation("late"))


def unbindable(run_id: str) -> Any:
    """A number that no column takes, found only when the batch is written."""
    return lambda transaction: transaction.set_offsets(transaction.get(run_id), Offsets(stdout=2**70))


async def test_value_that_no_column_takes_fails_its_own_change_alone(store: Store) -> None:
    await store.journal.change(creation("good"))
    results = await asyncio.gather(
        store.journal.change(creation("before")),
        store.journal.change(unbindable("good")),
        store.journal.change(creation("after")),
        return_exceptions=True,
    )
    assert [isinstance(result, OverflowError) for result in results] == [False, True, False]
    pages = [await store.queries.events(run_id, 0, 10) for run_id in ("good", "before", "after")]
    assert [[event.event_id for event in page.events] for page in pages] == [[1], [1], [1]]
    assert store.tail.position == 3


async def test_nothing_is_written_on_after_a_failure_among_changes_done_again(tmp_path: Path) -> None:
    async with open_store(tmp_path, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        await store.journal.change(creation("good"))
        tries = iter([False, True])

        def breaks_at_the_second_try(transaction: Transaction) -> None:
            if next(tries):
                transaction.connection.execute("SELECT * FROM no_such_table")

        results = await asyncio.gather(
            store.journal.change(unbindable("good")),
            store.journal.change(creation("before")),
            store.journal.change(breaks_at_the_second_try),
            store.journal.change(creation("after")),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [OverflowError, Run, Stopping, Stopping]
        with pytest.raises(StoreFailed):
            await writing
        with pytest.raises(NotFound):
            await store.queries.run("after")


async def test_failed_write_stops_the_journal_and_answers_nobody_well(tmp_path: Path) -> None:
    async with open_store(tmp_path, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        await store.journal.change(creation("good"))

        def broken(transaction: Transaction) -> None:
            transaction.connection.execute("SELECT * FROM no_such_table")

        results = await asyncio.gather(
            store.journal.change(creation("with it")), store.journal.change(broken), return_exceptions=True
        )
        assert all(isinstance(result, Stopping) for result in results)
        with pytest.raises(StoreFailed):
            await writing
        with pytest.raises(NotFound):
            await store.queries.run("with it")


async def test_newer_database_is_left_untouched(tmp_path: Path) -> None:
    connection = await connect(tmp_path / DATABASE)
    await connection.call(lambda c: c.execute("PRAGMA user_version = 99").close())
    await connection.close()
    with pytest.raises(StoreTooNew, match="99"):
        async with open_store(tmp_path, logs_limit=100):
            pass


async def test_commit_is_durable(store: Store, tmp_path: Path) -> None:
    mode = await store.journal.change(lambda t: t.connection.execute("PRAGMA synchronous").fetchone())
    assert mode == (2,), "FULL"
