"""Takes up, before serving, what a former daemon left executing.

A process that still lives is adopted; one that has ended meanwhile is read to its end; what is gone
without a status was interrupted. All three are the adapter's `adopt`: the engine sees an execution.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from runsd.definitions.catalog import Catalog
from runsd.engine.claiming import Claimed
from runsd.engine.dispatcher import Dispatcher
from runsd.engine.execution import Executor
from runsd.model.errors import RunsdError
from runsd.model.run import Run
from runsd.model.targets import AdapterKind, Definition, Target
from runsd.store.queries import ActiveAttempt
from runsd.store.queue import Queued
from runsd.store.store import Store

logger = structlog.get_logger()


async def recover(store: Store, catalog: Catalog, dispatcher: Dispatcher, executor: Executor) -> None:
    """To be called once, before the dispatcher runs."""
    attempts = await store.queries.active()
    for active in attempts:
        claimed = _claimed(active, catalog)
        dispatcher.adopted(claimed.queued)
        executor.adopt(claimed, AdapterKind(active.adapter), active.offsets)
    if attempts:
        logger.info("took up attempts of the former daemon", attempts=len(attempts))


def _claimed(active: ActiveAttempt, catalog: Catalog) -> Claimed:
    run = active.run
    queued = Queued(-run.priority, active.number, run.run_id, run.project, run.target, run.concurrency_key)
    return Claimed(queued, run, active.documents, *_definition(catalog, run))


def _definition(catalog: Catalog, run: Run) -> tuple[Definition, Path]:
    """The run's definition and its project's directory."""
    try:
        return catalog.definition(run.project, run.target), catalog.project(run.project).directory
    except RunsdError:
        # It is not declared any more. What executes needs nothing of it but that it demands nothing.
        nowhere = Path("/")
        return Definition(Target.parse(run.target), None, source="", working_directory=nowhere), nowhere
