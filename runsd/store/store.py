"""The open store: a locked state directory, its database, one writer and some readers."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runsd.store.connection import connect
from runsd.store.journal import Journal, StoreFailed
from runsd.store.migrations import migrate
from runsd.store.queries import Queries
from runsd.store.tail import Tail

DATABASE = "runsd.db"
LOCK = "runsd.lock"
READERS = 3


class StateDirectoryBusy(Exception):
    """Another daemon holds the state directory."""


class StateDirectoryUnusable(Exception):
    """The state directory cannot be made, or not be written."""


@dataclass(frozen=True, slots=True)
class Store:
    directory: Path
    journal: Journal
    queries: Queries
    tail: Tail


@asynccontextmanager
async def open_store(directory: Path, logs_limit: int) -> AsyncIterator[Store]:
    """The caller runs the journal. Raises StateDirectoryBusy, StateDirectoryUnusable, StoreTooNew, StoreFailed."""
    _make(directory)
    with locked(directory):
        async with AsyncExitStack() as stack:
            file = directory / DATABASE
            try:
                store = await _open(stack, directory, file, logs_limit)
            except sqlite3.Error as error:
                raise StoreFailed(f"{file} cannot be opened: {error}") from error
            yield store


async def _open(stack: AsyncExitStack, directory: Path, file: Path, logs_limit: int) -> Store:
    writer = await connect(file)
    stack.push_async_callback(writer.close)
    await writer.call(migrate)
    readers = []
    for _ in range(READERS):
        readers.append(await connect(file, read_only=True))
        stack.push_async_callback(readers[-1].close)
    journal = Journal(writer, file)
    tail = Tail(await journal.load())
    journal.listen(tail.publish)
    return Store(directory, journal, Queries(readers, logs_limit, journal.fail), tail)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateDirectoryUnusable(
            f"the state directory {directory} cannot be made: {error.strerror}; give another --state-dir"
        ) from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the directory's lock; the file names the holder. The kernel frees it if we die."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateDirectoryUnusable(
            f"the state directory {directory} cannot be written: {error.strerror}; "
            "make it writable, or give another --state-dir"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 100).decode(errors="replace").strip() or "unknown"
            raise StateDirectoryBusy(
                f"{directory} is in use by the runsd with pid {holder}; stop it, or give another --state-dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
