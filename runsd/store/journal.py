"""The one writer: group commit.

Whoever wants to write hands in a change and waits. The writer takes all that is queued, applies it in
one transaction, commits with one fsync, shows the commit to its listeners, and only then answers those
who wait. While it commits, the next batch gathers.

A full disk refuses the batch and nothing else. Any other failure of a write is final: the page cache
can no longer be trusted (a failed fsync is not retried), so the journal stops and the daemon with it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from runsd.crashpoints import CrashPoint, passing
from runsd.model.errors import Overloaded, RunsdError, Stopping
from runsd.model.events import Committed
from runsd.store.clock import wall_now
from runsd.store.connection import Connection
from runsd.store.schedule_changes import StoredSchedule
from runsd.store.transaction import Counters, RecentRuns, Staged, StoredRun, Transaction
from runsd.store.writing import write

T = TypeVar("T")
Change = Callable[[Transaction], T]
# A change, and who waits for it.
Wanted = tuple[Change[Any], asyncio.Future[Any]]

logger = structlog.get_logger()

# One commit takes at most this many changes, so that the first in it does not wait for ever.
BATCH_LIMIT = 1000
DISK_FULL_RETRY_SECONDS = 1.0


# A full disk shows when a page is written, or when the shared index of the WAL has to grow.
_DISK_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


# A value too big, not representable, or against a constraint: it comes from one change of the batch.
_OF_ONE_CHANGE = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, OverflowError, UnicodeError)

_READ_ONLY = "its file system has become read-only; make it writable, and start runsd again"


class FileGone(Exception):
    """SQLite writes on to a file that nobody can reach any more, or among files that nobody can write."""


class StoreFailed(Exception):
    """A write or fsync failed in a way that must not be retried; start again from disk."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What a transaction brought: its events in order, and the runs and schedules that it touched as they are now."""

    events: list[Committed]
    runs: list[StoredRun]
    woken: list[StoredRun]
    schedules: list[StoredSchedule]


class Journal:
    def __init__(self, connection: Connection, file: Path) -> None:
        self._connection = connection
        self._file = file
        self._identity = _identity(file)
        self._failure: StoreFailed | None = None
        self._listeners: list[Callable[[Commit], None]] = []
        self._conclude: Callable[[], Wanted | None] = lambda: None
        self._queue: deque[Wanted] = deque()
        self._wake = asyncio.Event()
        self._counters = Counters(0, 0)
        self._now = 0
        self._stopping = False
        self._recent = RecentRuns()

    def listen(self, listener: Callable[[Commit], None]) -> None:
        """`listener` sees every commit, in order, before those who wait for it are answered."""
        self._listeners.append(listener)

    def conclude_with(self, conclude: Callable[[], Wanted | None]) -> None:
        """`conclude` is asked before each commit for a change that is to come last in it."""
        self._conclude = conclude

    async def load(self) -> int:
        """Goes on with the numbers where the database stands; gives the last event's position."""
        self._counters = await self._connection.call(_highest_numbers)
        self._now = await self._connection.call(_latest_moment)
        return self._counters.position

    async def change(self, change: Change[T]) -> T:
        """Applies `change` and answers when it is on disk. Raises what it raised, or Overloaded."""
        return await self.submit(change)

    def is_under_way(self, run_id: str) -> bool:
        """True of runs that have not ended, as far as they are at hand: costs no read. False: the database knows."""
        return self._recent.find(run_id) is not None

    def submit(self, change: Change[T]) -> asyncio.Future[T]:
        """The same for who does not wait: the future must be looked at. Raises Stopping."""
        if self._stopping:
            raise Stopping
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append((change, future))
        self._wake.set()
        return future

    async def insist(self, change: Change[T]) -> T:
        """As `change`, for what must not be lost: waits for room when the disk is full."""
        while True:
            try:
                return await self.change(change)
            except Overloaded:
                await asyncio.sleep(DISK_FULL_RETRY_SECONDS)

    async def run(self) -> None:
        """Writes until `stop`; what was queued by then is written. Raises StoreFailed."""
        try:
            while not self._stopping or self._queue:
                await self._wake.wait()
                self._wake.clear()
                while self._queue and self._failure is None:
                    await self._commit([self._queue.popleft() for _ in range(min(BATCH_LIMIT, len(self._queue)))])
                if self._failure is not None:
                    raise self._failure
        finally:
            self._stopping = True
            for _, future in self._queue:
                _fail(future, Stopping())

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def fail(self, error: Exception) -> None:
        """Ends the journal, and with it the daemon: the database can no longer be trusted."""
        reason = _READ_ONLY if _is_read_only(self._file) else error
        self._failure = StoreFailed(f"{self._file}: {reason}")
        self._stopping = True
        self._wake.set()

    async def _commit(self, batch: list[Wanted]) -> None:
        wanted = [(change, future) for change, future in batch if not future.cancelled()]
        if (last := self._conclude()) is not None:
            wanted.append(last)
        before = self._counters.copy()
        self._now = max(self._now, wall_now())
        changes = [change for change, _ in wanted]
        try:
            outcomes, commit = await self._connection.call(lambda c: self._apply(c, changes))
        except _OF_ONE_CHANGE as error:
            self._counters = before
            await self._without_the_culprit(wanted, error)
            return
        except (sqlite3.Error, FileGone) as error:
            self._counters = before
            self._refuse(wanted, error)
            return
        for listener in self._listeners:
            listener(commit)
        for (_, future), outcome in zip(wanted, outcomes, strict=True):
            _answer(future, outcome)

    async def _without_the_culprit(self, batch: list[Wanted], error: Exception) -> None:
        """A value that no column takes fails the change that it is of, and no other."""
        if len(batch) == 1:
            _fail(batch[0][1], error)
            return
        for change, future in batch:
            if self._failure is None:
                await self._commit([(change, future)])
            else:
                _fail(future, Stopping())

    def _apply(self, connection: sqlite3.Connection, changes: list[Change[Any]]) -> tuple[list[Any], Commit]:
        """In the writer's thread: one transaction."""
        batch = Staged()
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [self._apply_one(connection, batch, change) for change in changes]
            write(connection, batch)
            passing(CrashPoint.BATCH_WRITTEN)
            connection.execute("COMMIT")
            self._recent.committed(batch.runs)
            passing(CrashPoint.BATCH_COMMITTED)
            if _identity(self._file) != self._identity:
                raise FileGone("the file was removed or replaced while the daemon had it open")
            if _is_read_only(self._file):
                raise FileGone(_READ_ONLY)
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcomes, Commit(
            batch.committed,
            list(batch.runs.values()),
            list(batch.woken.values()),
            list(batch.schedules.by_name.values()),
        )

    def _apply_one(self, connection: sqlite3.Connection, batch: Staged, change: Change[Any]) -> Any:
        before = self._counters.copy()
        transaction = Transaction(connection, batch, self._recent, self._counters, self._now)
        try:
            result = change(transaction)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - the change's own failure goes to who asked for it
            self._counters.restore(before)
            return _Failure(error)
        batch.absorb(transaction.staged)
        return result

    def _refuse(self, batch: list[Wanted], error: Exception) -> None:
        refusal: RunsdError = Stopping()
        if getattr(error, "sqlite_errorcode", None) in _DISK_FULL:
            logger.error("disk full, changes refused", changes=len(batch))
            refusal = Overloaded("DISK_FULL", "the disk is full; make room and call again")
        else:
            self.fail(error)
        for _, future in batch:
            _fail(future, refusal)


class _Failure:
    def __init__(self, error: Exception) -> None:
        self.error = error


def _answer(future: asyncio.Future[Any], outcome: Any) -> None:
    if isinstance(outcome, _Failure):
        _fail(future, outcome.error)
    elif not future.done():
        future.set_result(outcome)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_read_only(file: Path) -> bool:
    """What is open may still be written, where another mount covers it. Costs a few µs."""
    try:
        # Never the database itself: closing it would give up SQLite's locks on it.
        os.close(os.open(f"{file}-wal", os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EROFS
    return False


def _latest_moment(connection: sqlite3.Connection) -> int:
    """Events are never stamped earlier than those before them, though the clock was set back meanwhile."""
    tables = ("events", "schedule_events")
    queries = (f"SELECT created_at FROM {table} ORDER BY position DESC LIMIT 1" for table in tables)
    rows = [connection.execute(query).fetchone() for query in queries]
    return max((row[0] for row in rows if row), default=0)


def _highest_numbers(connection: sqlite3.Connection) -> Counters:
    numbers = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
    position = max(numbers.get("events", 0), numbers.get("schedule_events", 0))
    return Counters(numbers.get("runs", 0), position, numbers.get("schedules", 0))
