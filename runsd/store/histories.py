"""What workflows are replayed from, read for all that ask at about the same time.

A read after a commit finds SQLite's cache of pages empty, and waits for its turn in Python: for a short record
that is nearly all it costs. So whoever asks while others' records are being read has its own read with the next.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from runsd.model.errors import NotFound
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


@dataclass(eq=False, slots=True)
class _Asker:
    """`turn` is done when it is answered, or is to read for all that ask."""

    run_id: str
    turn: asyncio.Future[None]
    is_answered: bool = False
    history: HistoryEvents | None = None

    def answer(self, history: HistoryEvents | None) -> None:
        self.history, self.is_answered = history, True
        self.wake()

    def wake(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)


class Histories:
    """As long as anybody asks, one of them reads, for as many as there are by then."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._askers: dict[_Asker, None] = {}
        self._reader: _Asker | None = None

    async def of(self, run_id: str) -> HistoryEvents:
        """Raises NotFound, and what the read raises."""
        asker = _Asker(run_id, asyncio.get_running_loop().create_future())
        self._askers[asker] = None
        try:
            self._give_turn()
            await asker.turn
            if not asker.is_answered:
                await self._read_some()
        finally:
            self._askers.pop(asker, None)
            if self._reader is asker:
                self._reader = None
                self._give_turn()
        if asker.history is None:
            raise NotFound("run", run_id)
        return asker.history

    def _give_turn(self) -> None:
        """To the one who has asked longest, if nobody has it. One that is cancelled meanwhile gives it on."""
        if self._reader is None and self._askers:
            self._reader = next(iter(self._askers))
            self._reader.wake()

    async def _read_some(self) -> None:
        # For those, too, who ask in the same turn of the event loop.
        await asyncio.sleep(0)
        askers = list(islice(self._askers, MOST_RUNS))
        run_ids = [asker.run_id for asker in askers]
        found = await self._read(lambda c: read_histories(c, run_ids))
        for asker, history in zip(askers, found, strict=False):
            self._askers.pop(asker, None)
            asker.answer(history)


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
