"""Clears up after attempts, all that gathered at a time, in one thread: nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio.to_thread
import structlog

from runsd.crashpoints import CrashPoint, passing

logger = structlog.get_logger()


class Clearing:
    def __init__(self) -> None:
        self._work: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._stopping = False

    def add(self, clear: Callable[[], None]) -> None:
        self._work.append(clear)
        self._wake.set()

    async def run(self) -> None:
        """Until `stop`; what was added by then is done."""
        while self._work or not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            work, self._work = self._work, []
            await anyio.to_thread.run_sync(_do_all, work, abandon_on_cancel=True)

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()


def _do_all(work: list[Callable[[], None]]) -> None:
    for clear in work:
        try:
            clear()
        except OSError as error:
            logger.warning("files of a run could not be cleared", error=str(error))
        passing(CrashPoint.ATTEMPT_CLEARED)
