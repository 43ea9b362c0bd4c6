"""What a workflow in memory waits for, and whether all of it does nothing but wait.

A workflow whose every task is in a durable wait holds nothing that its record does not: it can be let
go, and be executed again when one of the waits is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import iscoroutine
from typing import Any

from runsd.model.steps import StepKind
from runsd.model.times import MICROSECONDS
from runsd.store.clock import steady_now

# A run below, or a moment, that may well be there before the workflow could be let go and taken up again.
LINGER_SECONDS = 0.2
# The event loop's clock stands still while the machine sleeps.
MAX_TIMER_SECONDS = 60.0

Key = tuple[StepKind, str]


@dataclass(frozen=True, slots=True)
class Wait:
    """For what `key` names, or until a moment (microseconds of the steady clock)."""

    key: Key
    until: int | None = None

    @property
    def reason(self) -> str:
        kind, name = self.key
        if self.is_of_replay:
            return f"what ended {name}"
        return kind.value if kind is StepKind.SLEEP else f"{kind.value} {name}"

    @property
    def is_of_replay(self) -> bool:
        """Of a step that the record says was cancelled: it waits for the workflow to cancel it again."""
        return self.key[0] is StepKind.VALUE

    @property
    def lingers(self) -> bool:
        if self.key[0] is StepKind.RUN:
            return True
        return self.until is not None and self.until - steady_now() < LINGER_SECONDS * MICROSECONDS


class Waits:
    def __init__(self) -> None:
        self._blocked: dict[asyncio.Task[Any], Wait] = {}
        self._joining: set[asyncio.Task[Any]] = set()
        self._waiters: dict[Key, list[asyncio.Future[None]]] = {}
        self.touched = asyncio.Event()
        # Grows with whatever happens here: while it stands still, nothing does.
        self.generation = 0

    def touch(self) -> None:
        self.generation += 1
        self.touched.set()

    @property
    def waiting(self) -> list[Wait]:
        return list(self._blocked.values())

    def notify(self, key: Key) -> None:
        for future in self._waiters.get(key, ()):
            if not future.done():
                future.set_result(None)

    def notify_all(self) -> None:
        for key in list(self._waiters):
            self.notify(key)

    async def wait(self, wait: Wait) -> None:
        """Returns when notified, or when the moment has come."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        future: asyncio.Future[None] = loop.create_future()
        self._waiters.setdefault(wait.key, []).append(future)
        self._blocked[task] = wait
        self.touch()
        timer = _Timer(loop, future, wait.until)
        try:
            await future
        finally:
            timer.cancel()
            del self._blocked[task]
            self.touch()
            self._forget(wait.key, future)

    def _forget(self, key: Key, future: asyncio.Future[None]) -> None:
        self._waiters[key].remove(future)
        if not self._waiters[key]:
            del self._waiters[key]

    @contextmanager
    def joining(self) -> Iterator[None]:
        """The calling task waits for tasks of the same workflow, and for nothing else."""
        task = asyncio.current_task()
        assert task is not None
        self._joining.add(task)
        self.touch()
        try:
            yield
        finally:
            self._joining.discard(task)
            self.touch()

    def is_all(self, tasks: set[asyncio.Task[Any]]) -> bool:
        """Whether each of these tasks waits, for something outside or for another of them."""
        return bool(self._blocked) and all(self._waits(task, tasks) for task in tasks if not task.done())

    def _waits(self, task: asyncio.Task[Any], tasks: set[asyncio.Task[Any]]) -> bool:
        if task in self._blocked:
            # Not one that has been notified and is about to go on.
            awaited = _awaited(task)
            return awaited is not None and not awaited.done()
        return task in self._joining or _awaits_only(task, tasks)


def _awaited(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    """asyncio's own note of what a task awaits. None also where it keeps none: then nothing counts as waiting."""
    return getattr(task, "_fut_waiter", None)


def _awaits_only(task: asyncio.Task[Any], tasks: set[asyncio.Task[Any]]) -> bool:
    awaited = _awaited(task)
    if awaited is None or awaited.done():
        return False
    if awaited in tasks:
        return True
    gathered = getattr(awaited, "_children", None)
    joined = _joined(task) if gathered is None else gathered
    return all(child in tasks or child.done() for child in joined) and not all(child.done() for child in joined)


def _joined(task: asyncio.Task[Any]) -> Collection[asyncio.Future[Any]]:
    """What `async with TaskGroup()` or `asyncio.wait` awaits: asyncio notes it nowhere but in their own frames."""
    coroutine: Any = task.get_coro()
    while iscoroutine(inner := getattr(coroutine, "cr_await", None)):
        coroutine = inner
    frame = getattr(coroutine, "cr_frame", None)
    if frame is None:
        return ()
    if frame.f_code in _GROUP_EXITS:
        return tuple(getattr(frame.f_locals["self"], "_tasks", ()))
    is_endless_wait = frame.f_code is _WAIT and frame.f_locals.get("timeout") is None
    return tuple(frame.f_locals.get("fs", ())) if is_endless_wait else ()


_GROUP_EXITS = {
    getattr(asyncio.TaskGroup, name).__code__ for name in ("__aexit__", "_aexit") if hasattr(asyncio.TaskGroup, name)
}
_WAIT = getattr(getattr(asyncio.tasks, "_wait", None), "__code__", None)


class _Timer:
    def __init__(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[None], until: int | None) -> None:
        self._loop, self._future, self._until = loop, future, until
        self._handle: asyncio.TimerHandle | None = None
        self._arm()

    def _arm(self) -> None:
        if self._until is None or self._future.done():
            return
        remaining = (self._until - steady_now()) / MICROSECONDS
        if remaining <= 0:
            self._future.set_result(None)
            return
        self._handle = self._loop.call_later(min(remaining, MAX_TIMER_SECONDS), self._arm)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
