"""Reads, each a single hop on a connection that no writer waits for.

Every page is bounded in rows and in bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import anyio

from runsd.model.attempt import Offsets
from runsd.model.errors import NotFound, Stopping
from runsd.model.events import Committed, Event
from runsd.model.record import Artifact, Documents, Record
from runsd.model.run import Run
from runsd.store.connection import Connection, snapshot
from runsd.store.histories import HistoryEvents, read_histories
from runsd.store.listing import RunFilter, RunPage, list_runs
from runsd.store.queue import Queued, became_startable, ending, next_moment, startable
from runsd.store.records import get_run, read_artifacts, read_documents, read_records
from runsd.store.rows import (
    EVENT_COLUMNS,
    RUN_COLUMNS,
    Row,
    event_from_row,
    json_array,
    run_from_row,
)
from runsd.store.schedule_queries import ScheduleQueries
from runsd.store.shared_reads import MOST_RUNS, SharedReads

T = TypeVar("T")

PAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EventPage:
    """`ended`: the run is terminal and nothing comes after this page."""

    events: list[Event]
    ended: bool


@dataclass(frozen=True, slots=True)
class WatchPage:
    """`position`: the page covers everything up to here, also what no filter let through."""

    events: list[Committed]
    position: int


@dataclass(frozen=True, slots=True)
class ActiveAttempt:
    """A run whose attempt was executing when the daemon ended."""

    number: int
    run: Run
    documents: Documents
    adapter: str
    offsets: Offsets


class _Readers:
    def __init__(self, connections: Sequence[Connection]) -> None:
        self._free = list(connections)
        self._places = anyio.Semaphore(len(connections))

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Connection]:
        async with self._places:
            connection = self._free.pop()
            try:
                yield connection
            finally:
                self._free.append(connection)


class Queries:
    def __init__(
        self, connections: Sequence[Connection], logs_limit: int, when_failed: Callable[[Exception], None]
    ) -> None:
        """`when_failed` is told of a read that shows the database to be damaged or out of reach."""
        self._when_failed = when_failed
        for_lists, *for_all_else = connections
        self._quick = _Readers(for_all_else)
        # A list may look at every run there is; the rest shall not wait for it.
        self._lists = _Readers([for_lists])
        self.schedules = ScheduleQueries(self._read)
        self._histories = SharedReads(lambda ids: self._read(lambda c: read_histories(c, ids)))
        self._logs_limit = logs_limit
        self._records = SharedReads(lambda ids: self._read(lambda c: read_records(c, ids, logs_limit)))

    async def _read(self, query: Callable[[sqlite3.Connection], T], *, may_take_long: bool = False) -> T:
        async with (self._lists if may_take_long else self._quick).one() as connection:
            try:
                return await connection.call(query)
            except sqlite3.Error as error:
                self._when_failed(error)
                raise Stopping from error

    async def record(self, run_id: str) -> Record:
        """Raises NotFound."""
        return await self._records.of(run_id)

    async def records(self, run_ids: Sequence[str]) -> list[Record | None]:
        """Of the first of these runs, at least one; None: there is no such run."""
        return await self._read(lambda c: read_records(c, run_ids[:MOST_RUNS], self._logs_limit))

    async def run(self, run_id: str) -> Run:
        """Raises NotFound."""
        return await self._read(lambda c: get_run(c, run_id)[1])

    async def history_events(self, run_id: str) -> HistoryEvents:
        """What a workflow is replayed from. Raises NotFound."""
        return await self._histories.of(run_id)

    async def documents(self, run_id: str) -> Documents:
        """Raises NotFound."""
        return await self._read(lambda c: read_documents(c, get_run(c, run_id)[0]))

    async def known_runs(self, run_ids: Sequence[str]) -> dict[str, Run]:
        return await self._read(lambda c: _known_runs(c, run_ids))

    async def runs(self, wanted: RunFilter) -> RunPage:
        return await self._read(lambda c: list_runs(c, wanted, PAGE_BYTES), may_take_long=True)

    async def events(self, run_id: str, after: int, limit: int, page_bytes: int = PAGE_BYTES) -> EventPage:
        """Raises NotFound."""
        return await self._read(lambda c: _events(c, run_id, after, limit, page_bytes))

    async def watch(self, project: str, after: int, limit: int, page_bytes: int = PAGE_BYTES) -> WatchPage:
        return await self._read(lambda c: _watch(c, project, after, limit, page_bytes))

    async def artifacts(self, run_id: str, after_name: str, limit: int) -> list[Artifact]:
        """Raises NotFound."""
        return await self._read(lambda c: read_artifacts(c, get_run(c, run_id)[0], after_name, limit))

    async def artifact(self, run_id: str, name: str) -> Artifact:
        """Raises NotFound."""
        return await self._read(lambda c: _artifact(c, run_id, name))

    async def startable(
        self,
        now: int,
        limit: int,
        projects: Sequence[str],
        full_targets: Sequence[str],
        busy_keys: Sequence[str],
    ) -> list[Queued]:
        return await self._read(lambda c: startable(c, now, limit, projects, full_targets, busy_keys))

    async def became_startable(self, since: int, now: int, limit: int, projects: Sequence[str]) -> list[Queued]:
        return await self._read(lambda c: became_startable(c, since, now, limit, projects))

    async def ending(self, now: int, limit: int, projects: Sequence[str]) -> list[Queued]:
        return await self._read(lambda c: ending(c, now, limit, projects))

    async def next_moment(self, now: int) -> int | None:
        return await self._read(lambda c: next_moment(c, now))

    async def active(self) -> list[ActiveAttempt]:
        return await self._read(_active)


def _bounded(rows: Iterator[Row], limit: int, page_bytes: int, size_column: int) -> tuple[list[Row], bool]:
    """Up to `limit` rows and `page_bytes`, at least one; whether there are more."""
    page: list[Row] = []
    size = 0
    for row in rows:
        if len(page) == limit or (page and size + len(row[size_column]) > page_bytes):
            return page, True
        page.append(row)
        size += len(row[size_column])
    return page, False


def _known_runs(connection: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, Run]:
    rows = connection.execute(
        f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id IN (SELECT value FROM json_each(?))", (json_array(run_ids),)
    )
    return {row[0]: run_from_row(row) for row in rows}


def _events(connection: sqlite3.Connection, run_id: str, after: int, limit: int, page_bytes: int) -> EventPage:
    with snapshot(connection):
        number, run = get_run(connection, run_id)
        rows, more = _bounded(
            connection.execute(
                f"SELECT {EVENT_COLUMNS} FROM events WHERE run_no = ? AND event_id > ? ORDER BY event_id",
                (number, after),
            ),
            limit,
            page_bytes,
            size_column=2,
        )
    return EventPage([event_from_row(row) for row in rows], run.status.is_terminal and not more)


def _watch(connection: sqlite3.Connection, project: str, after: int, limit: int, page_bytes: int) -> WatchPage:
    with snapshot(connection):
        (last,) = connection.execute(_LAST_POSITION).fetchone()
        rows, more = _bounded(
            connection.execute(_WATCHED, {"after": after, "project": project}), limit, page_bytes, size_column=6
        )
    events = [Committed(row[0], row[1], project, row[2], event_from_row(row[4:]), row[3]) for row in rows]
    return WatchPage(events, events[-1].position if more else max(last, after))


_LAST_POSITION = (
    "SELECT max((SELECT coalesce(max(position), 0) FROM events), "
    "(SELECT coalesce(max(position), 0) FROM schedule_events))"
)
# Each half is read in order, and merged as far as a page goes.
_WATCHED = (
    f"SELECT position, run_id, target, '', {EVENT_COLUMNS.replace('created_at', 'e.created_at')} "
    "FROM events e CROSS JOIN runs r USING (run_no) WHERE position > :after AND project = :project "
    "UNION ALL "
    f"SELECT position, '', spec_json ->> 'target', schedule_id, {EVENT_COLUMNS.replace('created_at', 'e.created_at')} "
    "FROM schedule_events e CROSS JOIN schedules s USING (schedule_no) WHERE position > :after AND project = :project "
    "ORDER BY 1"
)


def _artifact(connection: sqlite3.Connection, run_id: str, name: str) -> Artifact:
    number, _ = get_run(connection, run_id)
    row = connection.execute(
        "SELECT name, size_bytes, sha256, media_type, attempt FROM artifacts WHERE run_no = ? AND name = ?",
        (number, name),
    ).fetchone()
    if row is None:
        raise NotFound("artifact", name, hint=f"`runs artifacts {run_id}` lists those of this run")
    return Artifact(*row)


def _active(connection: sqlite3.Connection) -> list[ActiveAttempt]:
    rows = connection.execute(
        "SELECT run_no, input_json, config_json, output_json, adapter, stdout_offset, stderr_offset, "
        f"events_offset, {RUN_COLUMNS} FROM runs JOIN attempts USING (run_no, attempt) "
        "JOIN documents USING (run_no) WHERE status = 'running' ORDER BY run_no"
    )
    return [
        ActiveAttempt(row[0], run_from_row(row[8:]), Documents(*row[1:4]), row[4], Offsets(*row[5:8])) for row in rows
    ]
