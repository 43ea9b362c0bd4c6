"""Clears up behind a former daemon that was killed between an outcome and its clearing up.

What belongs to no run that is known here is reported and left alone: it may be somebody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import anyio.to_thread
import structlog

from runsd.adapters.cgroups import Cgroup, own_cgroups
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
    await _clear_cgroups(store, clearing)


def _next(found: Iterator[tuple[str, int | None]]) -> list[tuple[str, int | None]]:
    return list(islice(found, AT_ONCE))


def _clear(files: RunFiles, run: Run, attempt: int | None) -> Callable[[], None] | None:
    """How to clear what was found of a run: an attempt's directory, or (None) its state directory."""
    if run.status.is_terminal:
        return files.attempt(run.run_id, attempt or run.attempt).clear_run
    return files.attempt(run.run_id, attempt).clear if attempt is not None and _is_over(run, attempt) else None


def _is_over(run: Run, attempt: int) -> bool:
    return attempt < run.attempt or not run.status.is_active


async def _clear_cgroups(store: Store, clearing: Clearing) -> None:
    cgroups = own_cgroups()
    if cgroups is None:
        return
    found = list(cgroups.found())
    runs = await store.queries.known_runs(sorted({run_id for run_id, _ in found}))
    for run_id, attempt in found:
        run, cgroup = runs.get(run_id), cgroups.of(run_id, attempt)
        if run is not None and run.status.is_terminal:
            clearing.add(partial(_end, cgroup))
        elif run is not None and _is_over(run, attempt):
            clearing.add(partial(_remove, cgroup))


def _end(cgroup: Cgroup) -> None:
    if not cgroup.remove():
        # A daemon that was not this unit's ended the run meanwhile, and could not see what is in its group.
        logger.warning("processes of a run that has ended are killed", cgroup=cgroup.path.name)
        cgroup.kill()


def _remove(cgroup: Cgroup) -> None:
    if not cgroup.remove():
        logger.warning("processes of an attempt that is over go on", cgroup=cgroup.path.name)
