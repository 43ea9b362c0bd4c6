"""Executes the branches of a workflow side by side, and says how they ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from runsd.engine.workflows.waits import Waits
from runsd.sdk.arguments import Strategy

Task = asyncio.Task[Any]


class BranchFailed(Exception):
    """The branch whose failure ends the others."""

    def __init__(self, index: int, error: BaseException) -> None:
        super().__init__(str(error))
        self.index = index
        self.error = error


async def execute_branches(
    begin: Sequence[Callable[[], Task]],
    strategy: Strategy,
    limit: int | None,
    waits: Waits,
    when_failed: Callable[[BaseException], None],
) -> dict[int, Task]:
    """The branches that ended, in order: all of them, or the winner of a race.

    Never more than `limit` at a time. Raises BranchFailed unless they are to settle; `when_failed` is told
    before that. What is not needed any more is then cancelled, and has ended on return.
    """
    to_begin = deque(enumerate(begin))
    running: dict[Task, int] = {}
    ended: dict[int, Task] = {}
    try:
        while to_begin or running:
            while to_begin and (limit is None or len(running) < limit):
                index, begin_one = to_begin.popleft()
                running[begin_one()] = index
            with waits.joining():
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=running.__getitem__):
                index = running.pop(task)
                if (error := _failure(task)) is not None and strategy != "all_settled":
                    when_failed(error)
                    raise BranchFailed(index, error)
                ended[index] = task
                if strategy == "race":
                    return ended
        return dict(sorted(ended.items()))
    finally:
        await _cancel(list(running), waits)


def _failure(task: Task) -> BaseException | None:
    if task.cancelled():
        raise asyncio.CancelledError
    return task.exception()


async def _cancel(running: list[Task], waits: Waits) -> None:
    for task in running:
        task.cancel()
    if running:
        with waits.joining():
            await asyncio.wait(running)
    for task in running:
        if not task.cancelled():
            task.exception()  # looked at, and of no interest any more
