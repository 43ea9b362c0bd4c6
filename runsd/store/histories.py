"""What workflows are replayed from."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from runsd.model.events import Event
from runsd.store.connection import snapshot
from runsd.store.rows import EVENT_COLUMNS, HISTORY, event_from_row

# Of one read: past so many events or characters the others wait for the next, so that a long record holds up few.
MOST_EVENTS = 1000
MOST_CHARACTERS = 1 << 20


class HistoryEvents(NamedTuple):
    """A workflow's events that it is replayed from, and the id of its last event of all."""

    events: list[Event]
    last_event_id: int


def read_histories(connection: sqlite3.Connection, run_ids: Sequence[str]) -> list[HistoryEvents | None]:
    """Of the first of these runs: at least one, and no more than a read may take. None: there is no such run."""
    found: list[HistoryEvents | None] = []
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
