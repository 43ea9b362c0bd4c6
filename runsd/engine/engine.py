"""The engine as the edge sees it: one object a daemon, and one way in for each wish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from typing import cast

import anyio.to_thread
import structlog

from runsd.adapters.base import Adapter, AttemptSpec, StartFailed
from runsd.adapters.changes import FileChanges
from runsd.adapters.directory import RunFiles
from runsd.adapters.inprocess import Function, InprocessAdapter
from runsd.adapters.subprocess import SubprocessAdapter
from runsd.definitions.catalog import Catalog
from runsd.definitions.inprocess import CallableUnavailable, forget_modules, load_callable
from runsd.definitions.project import load_project
from runsd.engine.clearing import Clearing
from runsd.engine.dispatcher import Dispatcher
from runsd.engine.execution import Executor, Workplace
from runsd.engine.intake import Intake
from runsd.engine.leftovers import clear_leftovers
from runsd.engine.recovery import recover
from runsd.engine.scheduled_runs import ScheduledRuns
from runsd.engine.schedules import Schedules
from runsd.engine.signals import Signals
from runsd.engine.ticker import Ticker
from runsd.engine.wall_timer import WallTimer
from runsd.engine.workflows.adapter import WorkflowAdapter
from runsd.engine.workflows.execution import Program
from runsd.engine.workflows.pipeline import pipeline_function
from runsd.model.errors import NotPossible
from runsd.model.pipelines import Pipeline
from runsd.model.settings import Settings
from runsd.model.targets import AdapterKind, Project, PythonCallable
from runsd.store.store import Store

logger = structlog.get_logger()

# What is not cleared up by then is at the next start.
CLEARING_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Engine:
    store: Store
    catalog: Catalog
    intake: Intake
    signals: Signals
    schedules: Schedules
    dispatcher: Dispatcher
    executor: Executor

    async def end_runs(self, reason: str) -> None:
        """Cancels all runs that execute, starts no others, and returns when they have ended."""
        self.dispatcher.pause()
        while self.executor.executing:
            for run_id in self.executor.executing:
                await self.intake.cancel(run_id, reason)
            await self.executor.until_idle()

    async def drain(self, timeout_seconds: float | None) -> int:
        """Starts no more runs until resumed; waits for those that execute, and gives how many still do."""
        self.dispatcher.pause()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self.executor.until_idle()
        return len(self.executor.executing)

    async def reload_all(self) -> None:
        """Every project; one that cannot be read stays as it was, and is told in the log."""
        for project in self.catalog.projects:
            try:
                fresh = await self.reload(project.id)
            except NotPossible as error:
                logger.error("definitions not reloaded", project=project.id, error=error.message)
                continue
            problems = [str(problem) for problem in fresh.all_problems()]
            logger.info("definitions reloaded", project=project.id, targets=len(fresh.definitions), problems=problems)

    async def reload(self, project_id: str) -> Project:
        """Reads a project's definitions anew. Raises ProjectUnreadable, and then changes nothing."""
        old = self.catalog.project(project_id)
        project = await anyio.to_thread.run_sync(load_project, old.directory)
        if project.id != old.id:
            raise NotPossible(
                "PROJECT_RENAMED",
                f"the project's id was {old.id!r} and is {project.id!r} now; write it back, or start the daemon anew",
            )
        forget_modules(old.directory)
        project = await self.schedules.take_over(project)
        self.catalog.replace(project)
        self.dispatcher.limits_changed()
        return project


@asynccontextmanager
async def running_engine(
    store: Store, catalog: Catalog, settings: Settings, address: str, group: asyncio.TaskGroup
) -> AsyncIterator[Engine]:
    """Takes up what a former daemon left, and starts runs until left. `group` owns the attempts."""
    with ExitStack() as stack:
        changes = stack.enter_context(closing(FileChanges()))
        files = RunFiles(store.directory)
        files.prepare()
        workplace = Workplace(store, catalog, files, settings, _adapters(settings, changes, store, catalog), address)
        clearing = Clearing()
        executor = Executor(workplace, clearing, group)
        dispatcher = Dispatcher(store, catalog, settings.limits.max_running, executor.execute)
        executor.when_finished(dispatcher.finished)
        await recover(store, catalog, dispatcher, executor)
        runs = ScheduledRuns(catalog, settings.limits.payload_bytes)
        schedules = Schedules(store, catalog, runs)
        for project in catalog.projects:
            catalog.replace(await schedules.take_over(project))
        ticker = Ticker(store, catalog, runs, stack.enter_context(WallTimer()))
        await ticker.aim_anew()
        ticking = group.create_task(ticker.run(), name="ticker")
        dispatching = group.create_task(dispatcher.run(), name="dispatcher")
        clearing_up = group.create_task(clearing.run(), name="clearing")
        leftovers = group.create_task(clear_leftovers(store, files, clearing), name="leftovers")
        intake = Intake(store, catalog, settings.limits.payload_bytes)
        signals = Signals(store, settings.limits.event_bytes)
        yield Engine(store, catalog, intake, signals, schedules, dispatcher, executor)
        for task in (ticking, dispatching, leftovers):
            task.cancel()
        await asyncio.wait([ticking, dispatching, leftovers])
        await executor.let_go()
        clearing.stop()
        await asyncio.wait([clearing_up], timeout=CLEARING_SECONDS)
        clearing_up.cancel()


def _adapters(settings: Settings, changes: FileChanges, store: Store, catalog: Catalog) -> dict[AdapterKind, Adapter]:
    return {
        AdapterKind.SUBPROCESS: SubprocessAdapter(changes, settings.cancel.grace_seconds),
        AdapterKind.INPROCESS: InprocessAdapter(_load),
        AdapterKind.WORKFLOW: WorkflowAdapter(store, catalog, _load_workflow),
    }


def _load_workflow(spec: AttemptSpec) -> Program:
    program = spec.definition.program
    if isinstance(program, Pipeline):
        return pipeline_function(program)
    if not isinstance(program, PythonCallable):
        raise StartFailed(f"{spec.run.target} is not declared any more")
    return cast(Program, _load(spec, program))


def _load(spec: AttemptSpec, program: PythonCallable) -> Function:
    try:
        return load_callable(spec.project_directory, program)
    except CallableUnavailable as error:
        raise StartFailed(str(error)) from error
