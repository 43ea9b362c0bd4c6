"""Reads of runs, done for several that ask at one time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from runsd.model.errors import NotFound, Stopping
from runsd.model.events import Draft
from runsd.model.record import Record
from runsd.store import histories, queries, records
from runsd.store.connection import connect
from runsd.store.histories import HistoryEvents, read_histories
from runsd.store.shared_reads import SharedReads
from runsd.store.store import DATABASE, Store, open_store
from tests.unit.store.test_waits import begin, create


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        for run_id in ("a", "b", "c"):
            await create(store, run_id)
        await begin(store, "b")
        step = Draft("step.started", '{"step_id":"s","name":"s","kind":"function"}')
        await store.journal.change(lambda t: t.emit(t.get("b"), [step, step]))
        yield store
        store.journal.stop()
        await writing


class Reader:
    """Reads when it is let."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.reads = 0
        self.may_read = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, run_ids: Sequence[str]) -> list[HistoryEvents | None]:
        self.reads += 1
        await self.may_read.wait()
        if self.failure is not None:
            raise self.failure
        connection = await connect(self.file, read_only=True)
        try:
            return await connection.call(lambda c: read_histories(c, run_ids))
        finally:
            await connection.close()


@pytest.fixture
def reader(store: Store) -> Reader:
    return Reader(store.directory / DATABASE)


async def asked(found: SharedReads[HistoryEvents], *run_ids: str) -> list[asyncio.Task[HistoryEvents]]:
    tasks = [asyncio.create_task(found.of(run_id)) for run_id in run_ids]
    await asyncio.sleep(0)  # all of them have begun now
    return tasks


async def test_all_that_ask_at_one_time_are_answered_by_one_read(reader: Reader) -> None:
    a, b, no, again = await asked(found := SharedReads(reader), "a", "b", "no", "b")
    reader.may_read.set()
    assert await a == ([], 1)
    events, last = await b
    assert [event.event_type for event in events] == ["run.started", "step.started", "step.started"]
    assert (last, await again) == (4, (events, last))
    with pytest.raises(NotFound):
        await no
    assert reader.reads == 1
    assert await found.of("c") == ([], 1)
    assert reader.reads == 2


async def test_long_record_makes_the_others_wait_for_the_next_read(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "MOST_EVENTS", 3)
    tasks = await asked(SharedReads(reader), "a", "b", "c", "b")
    reader.may_read.set()
    assert [last for _, last in await asyncio.gather(*tasks)] == [1, 4, 1, 4]
    assert reader.reads == 2


async def test_failed_read_fails_each_that_asks(reader: Reader) -> None:
    found = SharedReads(reader)
    tasks = await asked(found, "a", "b")
    reader.failure = Stopping()
    reader.may_read.set()
    for task in tasks:
        with pytest.raises(Stopping):
            await task
    reader.failure = None
    assert await found.of("a") == ([], 1)


async def test_record_that_cannot_be_read_fails_for_who_asks_for_it(reader: Reader) -> None:
    async def read(run_ids: Sequence[str]) -> list[HistoryEvents | None]:
        if "b" in run_ids:
            raise ValueError("damaged")
        return await reader(run_ids)

    reader.may_read.set()
    a, b, c = await asked(SharedReads(read), "a", "b", "c")
    assert (await a, await c) == (([], 1), ([], 1))
    with pytest.raises(ValueError, match="damaged"):
        await b


async def test_who_waits_no_more_is_not_read_for(reader: Reader) -> None:
    found = SharedReads(reader)
    first, second = await asked(found, "a", "b")
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    reader.may_read.set()
    assert await found.of("c") == ([], 1)


async def test_others_are_read_for_when_the_one_who_reads_is_cancelled(reader: Reader) -> None:
    first, second = await asked(SharedReads(reader), "a", "b")
    first.cancel()
    reader.may_read.set()
    assert (await second).last_event_id == 4
    assert first.cancelled()


async def test_large_record_makes_the_others_wait_for_the_next_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_CHARACTERS", 1)
    sizes = []
    whole = records.read_records

    def read(*arguments: Any) -> list[Record | None]:
        sizes.append(len(found := whole(*arguments)))
        return found

    monkeypatch.setattr(queries, "read_records", read)
    await store.journal.change(lambda t: t.set_output(t.get("b"), '"large"'))
    found = await asyncio.gather(*map(store.queries.record, ("a", "b", "c")), store.queries.record("a"))
    assert [record.run.run_id for record in found] == ["a", "b", "c", "a"]
    assert found[1].documents.output_json == '"large"'
    assert sizes == [2, 2]
    with pytest.raises(NotFound):
        await store.queries.record("no")
