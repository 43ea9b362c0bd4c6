"""The open store: a locked state directory, its database, one writer and some readers."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
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
# How long a process may take from its making to the execution of its program.
STARTING_SECONDS = 2.0
LOCK_POLL_SECONDS = 0.01
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


def _take_lock(descriptor: int, directory: Path) -> None:
    """A process that a killed daemon was just starting has the lock too, until it executes its program."""
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip()
            if _executes(holder) or time.monotonic() >= deadline:
                raise StateDirectoryBusy(
                    f"{directory} is in use by the runsd with pid {holder or 'unknown'}; "
                    "stop it, or give another --state-dir"
                ) from None
        time.sleep(LOCK_POLL_SECONDS)


def _executes(pid: str) -> bool:
    try:
        return Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (ValueError, OSError):
        return False


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
        _take_lock(descriptor, directory)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
