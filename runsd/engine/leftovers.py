"""Clears up behind a former daemon that was killed between an outcome and its clearing up.

What belongs to no run that is known here is reported and left alone: it may be somebody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import anyio.to_thread
import structlog

from runsd.adapters.directory import RunFiles
from runsd.engine.clearing import Clearing
from runsd.model.run import Run
from runsd.store.store import Store

logger = structlog.get_logger()

AT_ONCE = 500


async def clear_leftovers(store: Store, files: RunFiles, clearing: Clearing) -> None:
    found = files.found()
    while some := await anyio.to_thread.run_sync(_next, found):
        runs = await store.queries.known_runs(sorted({run_id for run_id, _ in some}))
        for run_id, attempt in some:
            run = runs.get(run_id)
            if run is None:
                logger.warning("files of an unknown run are left alone", run_id=run_id)
            elif clear := _clear(files, run, attempt):
                clearing.add(clear)


def _next(found: Iterator[tuple[str, int | None]]) -> list[tuple[str, int | None]]:
    return list(islice(found, AT_ONCE))


def _clear(files: RunFiles, run: Run, attempt: int | None) -> Callable[[], None] | None:
    """How to clear what was found of a run: an attempt's directory, or (None) its state directory."""
    if run.status.is_terminal:
        return files.attempt(run.run_id, attempt or run.attempt).clear_run
    is_over = attempt is not None and (attempt < run.attempt or not run.status.is_active)
    return files.attempt(run.run_id, attempt).clear if is_over and attempt is not None else None
