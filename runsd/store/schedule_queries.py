"""Reads of schedules: those that are due, and those that are looked at. Every page is bounded."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from runsd.model.errors import NotFound
from runsd.model.occurrences import Skipped
from runsd.model.tables import nearest
from runsd.store.rows import json_array
from runsd.store.schedule_changes import StoredSchedule, stored_from_row
from runsd.store.schedule_rows import SCHEDULE_COLUMNS, SKIP_COLUMNS, skipped_from_row

T = TypeVar("T")

SKIPS_SHOWN = 10
NAMES_COMPARED = 1000
_COLUMNS = ", ".join(SCHEDULE_COLUMNS)
_SERVED = "project IN (SELECT value FROM json_each(?))"


class Read(Protocol):
    def __call__(self, query: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """Schedules that something is to be done for now, of each kind a bounded number."""

    due: list[StoredSchedule]
    free: list[StoredSchedule]
    stale: list[StoredSchedule]

    def __bool__(self) -> bool:
        return bool(self.due or self.free or self.stale)


class ScheduleQueries:
    def __init__(self, read: Read) -> None:
        self._read = read

    async def get(self, project: str, schedule_id: str) -> StoredSchedule:
        """Raises NotFound."""
        return await self._read(lambda c: _get(c, project, schedule_id))

    async def page(self, project: str, after_id: str, limit: int, page_bytes: int) -> tuple[list[StoredSchedule], bool]:
        """By id, and whether there are more."""
        return await self._read(lambda c: _page(c, project, after_id, limit, page_bytes))

    async def declared(self, project: str) -> list[StoredSchedule]:
        """Those that are declared somewhere and not deleted."""
        return await self._read(lambda c: _all(c, "project = ? AND source <> '' AND NOT is_deleted", (project,)))

    async def skips(self, number: int) -> list[Skipped]:
        """The latest, newest first."""
        return await self._read(lambda c: _skips(c, number))

    async def waiting(self, now: int, projects: Sequence[str], limit: int) -> Waiting:
        return await self._read(lambda c: _waiting(c, now, json_array(projects), limit))

    async def next_moment(self, after: int, projects: Sequence[str]) -> int | None:
        """When the next occurrence comes, or the next schedule becomes stale, of those that do after `after`."""
        return await self._read(lambda c: _next_moment(c, after, json_array(projects)))

    async def aimed_later(self, now: int, after: int, limit: int) -> list[StoredSchedule]:
        """In pages by number: what comes next was found when the clock showed a later time than it does now."""
        condition = "schedule_no > ? AND aimed_at > ? AND NOT is_deleted ORDER BY schedule_no LIMIT ?"
        return await self._read(lambda c: _all(c, condition, (after, now, limit)))


def _all(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[StoredSchedule]:
    rows = connection.execute(f"SELECT schedule_no, {_COLUMNS} FROM schedules WHERE {condition}", values)
    return [stored_from_row(row) for row in rows]


def _get(connection: sqlite3.Connection, project: str, schedule_id: str) -> StoredSchedule:
    found = _all(connection, "project = ? AND schedule_id = ? AND NOT is_deleted", (project, schedule_id))
    if not found:
        raise NotFound("schedule", schedule_id, nearest(schedule_id, _names(connection, project), "schedules"))
    return found[0]


def _names(connection: sqlite3.Connection, project: str) -> list[str]:
    rows = connection.execute(
        "SELECT schedule_id FROM schedules WHERE project = ? AND NOT is_deleted ORDER BY schedule_id LIMIT ?",
        (project, NAMES_COMPARED),
    )
    return [name for (name,) in rows]


def _page(
    connection: sqlite3.Connection, project: str, after_id: str, limit: int, page_bytes: int
) -> tuple[list[StoredSchedule], bool]:
    rows = connection.execute(
        f"SELECT length(spec_json), schedule_no, {_COLUMNS} FROM schedules "
        "WHERE project = ? AND schedule_id > ? AND NOT is_deleted ORDER BY schedule_id",
        (project, after_id),
    )
    found: list[StoredSchedule] = []
    size = 0
    for length, *row in rows:
        if len(found) == limit or (found and size + length > page_bytes):
            return found, True
        found.append(stored_from_row(row))
        size += length
    return found, False


def _skips(connection: sqlite3.Connection, number: int) -> list[Skipped]:
    rows = connection.execute(
        f"SELECT {SKIP_COLUMNS} FROM skips WHERE schedule_no = ? ORDER BY skip_no DESC LIMIT ?", (number, SKIPS_SHOWN)
    )
    return [skipped_from_row(row) for row in rows]


def _waiting(connection: sqlite3.Connection, now: int, projects: str, limit: int) -> Waiting:
    return Waiting(
        _all(connection, f"next_at <= ? AND {_SERVED} ORDER BY next_at LIMIT ?", (now, projects, limit)),
        _all(connection, f"queued > 0 AND active = 0 AND NOT is_paused AND {_SERVED} LIMIT ?", (projects, limit)),
        _all(connection, f"stale_at <= ? AND {_SERVED} ORDER BY stale_at LIMIT ?", (now, projects, limit)),
    )


def _next_moment(connection: sqlite3.Connection, after: int, projects: str) -> int | None:
    moments = [
        connection.execute(
            f"SELECT {column} FROM schedules WHERE {column} > ? AND {_SERVED} ORDER BY {column} LIMIT 1",
            (after, projects),
        ).fetchone()
        for column in ("next_at", "stale_at")
    ]
    return min((row[0] for row in moments if row), default=None)
