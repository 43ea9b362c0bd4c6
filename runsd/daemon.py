"""Builds the rooms and owns the order in which they start and stop.

Up: lock and store, addresses, engine (which takes up what a former daemon left), server. Down: no
new calls, streams end, supervision ends while processes go on, the last writes, the lock.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from runsd.api.server import AddressTaken, Server
from runsd.definitions.catalog import Catalog
from runsd.engine.engine import Engine, running_engine
from runsd.loop_watch import LoopWatch
from runsd.model.settings import OnStop, Settings
from runsd.notify import ServiceManager
from runsd.store.journal import StoreFailed
from runsd.store.migrations import StoreTooNew
from runsd.store.store import StateDirectoryBusy, StateDirectoryUnusable, Store, open_store

logger = structlog.get_logger()

# The writer's thread and the event loop hand the interpreter to each other many times a commit; the
# default of 5 ms would make each wait for the other.
SWITCH_INTERVAL_SECONDS = 0.0005

# Objects made and not freed before the garbage collector looks at them. The default of 700 means several times a
# commit, and each time nearly all are of runs that go on.
COLLECTED_AFTER = 10_000

# A process attempt holds its pidfd and up to three files, and some more for a moment.
FILES_OF_AN_ATTEMPT = 6
FILES_OF_THE_DAEMON = 64

# What a person can do something about; anything else is a defect, and shows its traceback.
EXPECTED = (
    AddressTaken, StateDirectoryBusy, StateDirectoryUnusable, StoreTooNew, StoreFailed, sqlite3.Error, OSError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What the daemon was asked for from outside."""

    to_stop: asyncio.Event
    to_reload: asyncio.Event

    @classmethod
    def by_signals(cls) -> Asked:
        asked = cls(asyncio.Event(), asyncio.Event())
        _on_signal(signal.SIGTERM, asked.to_stop.set)
        _on_signal(signal.SIGINT, asked.to_stop.set)
        _on_signal(signal.SIGHUP, asked.to_reload.set)
        return asked


def _on_signal(number: signal.Signals, call: Callable[[], None]) -> None:
    """asyncio learns of a signal by a byte in the pipe that also wakes its loop, and not at all when threads have
    filled that. So its own handler only wakes the loop, and Python's, which it leaves empty, tells.
    """
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.call_soon_threadsafe(call)

    loop.add_signal_handler(number, lambda: None)
    signal.signal(number, lambda *_: tell())
    signal.siginterrupt(number, False)
    signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)


async def serve(settings: Settings, catalog: Catalog) -> None:
    """Serves until SIGTERM or SIGINT. Raises one of EXPECTED, alone or in a group."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    # What has been loaded by now stays, and need not be looked at again.
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER)
    settings = _as_many_as_files_allow(settings)
    # So that the watchdog's SIGABRT says where the daemon hung.
    faulthandler.enable()
    manager = ServiceManager.of_environment(os.environ)
    asked = Asked.by_signals()
    async with open_store(settings.state_dir, settings.limits.logs_tail_bytes) as store:
        server = Server(settings.listen)
        with LoopWatch():
            await _serve(store, server, catalog, settings, manager, asked)
    logger.info("stopped")


async def _serve(
    store: Store,
    server: Server,
    catalog: Catalog,
    settings: Settings,
    manager: ServiceManager,
    asked: Asked,
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(store.journal.run(), name="journal")
        watchdog = group.create_task(manager.watchdog(), name="watchdog")
        try:
            async with (
                running_engine(store, catalog, settings, str(server.addresses[0]), group) as engine,
                _serving(engine, server),
            ):
                manager.ready(f"serving on {', '.join(map(str, server.addresses))}")
                reloading = group.create_task(_reload_when_asked(engine, asked.to_reload, manager))
                await asked.to_stop.wait()
                reloading.cancel()
                await _prepare_to_stop(engine, settings.on_stop, manager)
        finally:
            watchdog.cancel()
            store.journal.stop()


async def _reload_when_asked(engine: Engine, asked: asyncio.Event, manager: ServiceManager) -> None:
    while True:
        await asked.wait()
        asked.clear()
        manager.reloading()
        await engine.reload_all()
        manager.ready("serving; definitions reloaded")


@asynccontextmanager
async def _serving(engine: Engine, server: Server) -> AsyncIterator[None]:
    """However it ends: who waits for an answer gets one, not a torn connection."""
    await server.start(engine)
    logger.info("ready", listen=[str(address) for address in server.addresses])
    try:
        yield
    finally:
        engine.store.tail.close()
        await server.stop()


async def _prepare_to_stop(engine: Engine, on_stop: OnStop, manager: ServiceManager) -> None:
    logger.info("stopping")
    if on_stop is OnStop.CANCEL:
        manager.stopping("stopping; runs are cancelled")
        await engine.end_runs("the daemon is stopping")
    else:
        manager.stopping("stopping; processes of runs go on")


def _as_many_as_files_allow(settings: Settings) -> Settings:
    """Raises the limit of open files as far as is allowed, and keeps below it whatever runs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = max((hard - FILES_OF_THE_DAEMON) // FILES_OF_AN_ATTEMPT, 1)
    if hard == resource.RLIM_INFINITY or settings.limits.max_running <= most:
        return settings
    logger.warning("fewer runs at a time, for want of open files", max_running=most, limit_of_open_files=hard)
    return replace(settings, limits=replace(settings.limits, max_running=most))
