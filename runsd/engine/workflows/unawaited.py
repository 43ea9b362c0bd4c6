"""Operations that a workflow called and never awaited: nothing of them is done, so its run must not complete.

A coroutine that has not begun when the function has returned is one. What was given to a task, or to
`parallel`, is theirs to await: whether a task got to its first step is a matter of timing.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from runsd.adapters.containment import drop_unbegun, has_not_begun

T = TypeVar("T")

# Fewer than this many are not looked through for those that have begun since.
KEPT = 1000


@dataclass(slots=True)
class _Made:
    step_id: str
    method: str
    coroutine: Coroutine[Any, Any, Any]
    is_given_on: bool = False


class Unawaited:
    def __init__(self) -> None:
        # By identity, which is theirs alone as long as they are kept.
        self._made: dict[int, _Made] = {}
        self._look_at = KEPT

    def watched(self, step_id: str, method: str, operation: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        if len(self._made) >= self._look_at:
            self._made = {key: made for key, made in self._made.items() if has_not_begun(made.coroutine)}
            self._look_at = max(KEPT, 2 * len(self._made))
        self._made[id(operation)] = _Made(step_id, method, operation)
        return operation

    def given_on(self, operations: Iterable[Any]) -> None:
        """To a task or a group."""
        for operation in operations:
            made = self._made.get(id(operation))
            if made is not None:
                made.is_given_on = True

    def fault(self) -> str:
        """What to tell of those that nobody awaited; empty when there are none."""
        forgotten = [made for made in self._made.values() if not made.is_given_on and has_not_begun(made.coroutine)]
        if not forgotten:
            return ""
        first, more = forgotten[0], len(forgotten) - 1
        others = f", nor were {more} more" if more > 1 else ", nor was one more" if more else ""
        return f"step {first.step_id!r} was never awaited{others}; write `await ctx.{first.method}(…)`"

    def drop(self) -> None:
        """Without Python's own warning, which nobody who starts runs would see."""
        for made in self._made.values():
            drop_unbegun(made.coroutine)
        self._made.clear()
