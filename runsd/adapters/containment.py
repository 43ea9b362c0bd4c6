"""Keeps what user code starts in the daemon inside its run.

Tasks of user code belong to their run: none outlives it, and none ends the daemon by `sys.exit`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from typing import Any

import structlog

logger = structlog.get_logger()


class Containment:
    """The tasks of one run's code. `name` is of those that their makers give none, for the loop watch to tell.

    `branch` is given what a task that the code itself starts will execute, and makes its context.
    """

    def __init__(self, name: str, branch: Callable[[Any], Context] | None = None) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self.name = name
        self.branch = branch

    def enter(self) -> None:
        """What the calling task starts from now on belongs here."""
        _current.set(self)

    def end(self, run_id: str) -> None:
        for task in self.tasks:
            logger.warning("the run left a task behind, which is cancelled", run_id=run_id, task=task.get_name())
            task.cancel()

    def adopt(self, loop: asyncio.AbstractEventLoop, coroutine: Any, options: dict[str, Any]) -> asyncio.Task[Any]:
        if self.branch is not None and "context" not in options:
            options["context"] = self.branch(coroutine)
        if options.get("name") is None:
            options["name"] = self.name
        task: asyncio.Task[Any] = asyncio.Task(_contained(coroutine), loop=loop, **options)
        self.tasks.add(task)
        task.add_done_callback(partial(self._has_ended, coroutine))
        return task

    def _has_ended(self, coroutine: Any, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        # Cancelled before its first step, it would leave Python a warning.
        drop_unbegun(coroutine)


# Set only while code of a run executes.
_current: ContextVar[Containment | None] = ContextVar("containment", default=None)


def contain_tasks(loop: asyncio.AbstractEventLoop) -> None:
    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        containment = _current.get()
        if containment is None:
            return asyncio.Task(coroutine, loop=loop, **options)
        return containment.adopt(loop, coroutine, options)

    loop.set_task_factory(make)


def has_not_begun(awaitable: Any) -> bool:
    return iscoroutine(awaitable) and getcoroutinestate(awaitable) == CORO_CREATED


def drop_unbegun(awaitable: Any) -> None:
    if has_not_begun(awaitable):
        awaitable.close()


async def _contained(coroutine: Awaitable[Any]) -> Any:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        # asyncio would let these out of the event loop.
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def in_thread(work: Callable[[], Any], name: str) -> asyncio.Future[Any]:
    """In a daemon thread: one that never ends cannot keep the daemon from ending. `work` raises nothing.

    It has the context of the caller, as with `asyncio.to_thread`.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def finish(result: Any) -> None:
        if not future.done():
            future.set_result(result)

    def body() -> None:
        result = work()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, result)

    threading.Thread(target=copy_context().run, args=(body,), name=name, daemon=True).start()
    return future
