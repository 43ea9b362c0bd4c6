"""How many runs may execute at a time: in all, of a target, of a concurrency key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from runsd.store.queue import Queued, lane

# The limit of a target: 0 is without.
LimitOf = Callable[[str, str], int]
# The limit of a target that cannot be run until its definition is mended.
NONE_AT_ALL = -1


class Places:
    def __init__(self, max_running: int, limit_of: LimitOf) -> None:
        self._max_running = max_running
        self._limit_of = limit_of
        self._taken = 0
        self._of_target: Counter[str] = Counter()
        self._busy_keys: Counter[str] = Counter()

    @property
    def free(self) -> int:
        return max(self._max_running - self._taken, 0)

    def takes_to_end(self, queued: Queued) -> bool:
        """A place beyond the limits, unless the target cannot be run at all or the key is busy."""
        _, key = _lanes(queued)
        if self._limit_of(queued.project, queued.target) == NONE_AT_ALL or (key and self._busy_keys[key]):
            return False
        self.take(queued)
        return True

    def blocking_lanes(self, queued: Queued) -> tuple[str | None, str | None]:
        """The target and the key that keep a run from starting, or None."""
        target, key = _lanes(queued)
        limit = self._limit_of(queued.project, queued.target)
        full = limit == NONE_AT_ALL or 0 < limit <= self._of_target[target]
        return (target if full else None, key if key and self._busy_keys[key] else None)

    def take(self, queued: Queued) -> None:
        target, key = _lanes(queued)
        self._taken += 1
        self._of_target[target] += 1
        if key:
            self._busy_keys[key] += 1

    def give_back(self, queued: Queued) -> None:
        target, key = _lanes(queued)
        self._taken -= 1
        _decrement(self._of_target, target)
        if key:
            _decrement(self._busy_keys, key)


def _lanes(queued: Queued) -> tuple[str, str]:
    key = queued.concurrency_key
    return lane(queued.project, queued.target), lane(queued.project, key) if key else ""


def _decrement(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
