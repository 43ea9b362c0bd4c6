"""What workflows are replayed from, read for all that ask at about the same time.

A read after a commit finds SQLite's cache of pages empty, and waits for its turn in Python: for a short record
that is nearly all it costs. So whoever asks while others' records are being read has its own read with the next.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from runsd.model.errors import NotFound, RunsdError
from runsd.model.events import Event
from runsd.store.connection import snapshot
from runsd.store.rows import EVENT_COLUMNS, HISTORY, event_from_row

# Of one read: past so many events or characters the others wait for the next, so that a long record holds up few.
MOST_RUNS = 64
MOST_EVENTS = 1000
MOST_CHARACTERS = 1 << 20


class HistoryEvents(NamedTuple):
    """A workflow's events that it is replayed from, and the id of its last event of all."""

    events: list[Event]
    last_event_id: int


# None: there is no such run.
Found = list[HistoryEvents | None]
Read = Callable[[Callable[[sqlite3.Connection], Found]], Coroutine[Any, Any, Found]]


class Histories:
    def __init__(self, read: Read) -> None:
        self._read = read
        self._wanted: list[tuple[str, asyncio.Future[HistoryEvents]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def of(self, run_id: str) -> HistoryEvents:
        """Raises NotFound, Stopping."""
        future: asyncio.Future[HistoryEvents] = asyncio.get_running_loop().create_future()
        self._wanted.append((run_id, future))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all(), name="reading histories")
        return await future

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _read_all(self) -> None:
        try:
            while self._wanted:
                await self._read_some()
        finally:
            self._reading = None

    async def _read_some(self) -> None:
        wanted = [(run_id, future) for run_id, future in self._wanted if not future.done()]
        some, self._wanted = wanted[:MOST_RUNS], wanted[MOST_RUNS:]
        if not some:
            return
        run_ids = [run_id for run_id, _ in some]
        try:
            found = await self._read(lambda c: read_histories(c, run_ids))
        except RunsdError as error:
            for _, future in some:
                _answer(future, error)
            return
        self._wanted = [*some[len(found) :], *self._wanted]
        for (run_id, future), history in zip(some, found, strict=False):
            _answer(future, NotFound("run", run_id) if history is None else history)


def _answer(future: asyncio.Future[HistoryEvents], answer: HistoryEvents | RunsdError) -> None:
    if future.done():
        return
    if isinstance(answer, RunsdError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def read_histories(connection: sqlite3.Connection, run_ids: Sequence[str]) -> Found:
    """Of the first of these runs: at least one, and no more than a read may take."""
    found: Found = []
    count = size = 0
    with snapshot(connection):
        for run_id in run_ids:
            history = _history(connection, run_id)
            found.append(history)
            if history is not None:
                count += len(history.events)
                size += sum(len(event.payload_json) for event in history.events)
            if count >= MOST_EVENTS or size >= MOST_CHARACTERS:
                break
    return found


def _history(connection: sqlite3.Connection, run_id: str) -> HistoryEvents | None:
    head = connection.execute(_HEAD, (run_id,)).fetchone()
    if head is None:
        return None
    number, last, *started = head
    events = [event_from_row(row) for row in connection.execute(HISTORY, (number,))]
    return HistoryEvents(events if started[0] is None else [event_from_row(started), *events], last)


# With the event of its first start, whose version of the definition counts.
_HEAD = (
    "SELECT r.run_no, (SELECT max(event_id) FROM events WHERE run_no = r.run_no), "
    f"{', '.join(f's.{column.strip()}' for column in EVENT_COLUMNS.split(','))} "
    "FROM runs r LEFT JOIN events s ON s.run_no = r.run_no AND s.event_id = "
    "(SELECT event_id FROM events WHERE run_no = r.run_no AND event_type = 'run.started' ORDER BY event_id LIMIT 1) "
    "WHERE run_id = ?"
)
