"""Names whoever blocks the event loop, in which all runs and clients wait for their turn.

A thread looks whether the loop still beats. It can end nothing, but it says which run's code is at
fault, where it is, and how long everybody else had to wait.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Self

import structlog

logger = structlog.get_logger()

BEAT_SECONDS = 0.5
TOLERATED_SECONDS = 1.0
SHOWN_FRAMES = 5


class LoopWatch:
    def __init__(self, tolerated_seconds: float = TOLERATED_SECONDS) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._tolerated_seconds = tolerated_seconds
        self._last_beat = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)

    def __enter__(self) -> Self:
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._next.cancel()

    def _beat(self) -> None:
        self._last_beat = time.monotonic()
        self._next = self._loop.call_later(BEAT_SECONDS, self._beat)

    def _watch(self) -> None:
        blocked_since: float | None = None
        culprit = ""
        while not self._stopped.wait(BEAT_SECONDS):
            silent = time.monotonic() - self._last_beat > self._tolerated_seconds
            if silent and blocked_since is None:
                blocked_since, culprit = self._last_beat, self._culprit()
                logger.error("the event loop is blocked", by=culprit, at=self._where())
            elif not silent and blocked_since is not None:
                seconds = round(self._last_beat - blocked_since, 1)
                logger.error("the event loop was blocked; all runs and clients waited", by=culprit, seconds=seconds)
                blocked_since = None

    def _culprit(self) -> str:
        task = asyncio.current_task(self._loop)
        return task.get_name() if task else "no task"

    def _where(self) -> list[str]:
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None:
            return []
        return [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_stack(frame)[-SHOWN_FRAMES:]]
