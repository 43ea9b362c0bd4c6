"""Tells who watches a directory that a file in it has grown. No polling: idle runs cost nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from inotify_simple import INotify, flags

logger = structlog.get_logger()

WITHOUT_INOTIFY_SECONDS = 0.2


class FileChanges:
    """One inotify instance for the daemon; its descriptor is read by the event loop."""

    def __init__(self) -> None:
        self._inotify = INotify(nonblocking=True)
        self._watches: dict[int, asyncio.Event] = {}
        asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._inotify.fileno())
        self._inotify.close()

    @contextmanager
    def watch(self, directory: Path) -> Iterator[Watch]:
        changed = asyncio.Event()
        try:
            number = self._inotify.add_watch(directory, flags.MODIFY)
        except OSError as error:
            # The user's limit of watches is reached: look from time to time instead.
            logger.warning("no inotify watch, polling", directory=str(directory), error=str(error))
            yield Watch(changed, WITHOUT_INOTIFY_SECONDS)
            return
        self._watches[number] = changed
        try:
            yield Watch(changed, None)
        finally:
            del self._watches[number]
            self._remove(number)

    def _remove(self, number: int) -> None:
        try:
            self._inotify.rm_watch(number)
        except OSError:
            # The directory is gone, and its watch with it.
            return

    def _read(self) -> None:
        for event in self._inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                for changed in self._watches.values():
                    changed.set()
            elif event.wd in self._watches:
                self._watches[event.wd].set()


class Watch:
    def __init__(self, changed: asyncio.Event, poll_seconds: float | None) -> None:
        self.changed = changed
        self._poll_seconds = poll_seconds

    async def wait(self) -> None:
        """Until `changed` is set; without inotify at most a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self.changed.wait()
