"""How many runs may execute at a time: in all, of a target, of a concurrency key; and beyond that, to end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from runsd.model.times import MICROSECONDS
from runsd.store.queue import Queued, lane

# The limit of a target: 0 is without.
LimitOf = Callable[[str, str], int]
# The limit of a target that cannot be run until its definition is mended.
NONE_AT_ALL = -1
# Places to end: in all, and so many that it is worth while to look for who would take them.
TO_END = 256
FREE_TO_END = 64
# How long one may be held before it is thought to wait for a run that has none.
TO_END_SECONDS = 0.5


class Places:
    def __init__(self, max_running: int, limit_of: LimitOf, taken: Places | None = None) -> None:
        """`taken`: places that are taken already, beside those that will be of these."""
        self._max_running = max_running
        self._limit_of = limit_of
        self._others = taken
        self._taken = 0
        self._of_target: Counter[str] = Counter()
        self._busy_keys: Counter[str] = Counter()

    @property
    def free(self) -> int:
        return max(self._max_running - self._taken, 0)

    def in_advance(self) -> Places:
        """Those that are free now, for runs that take them here later; none of these may be taken meanwhile."""
        return Places(self.free, self._limit_of, self)

    def may_end(self, queued: Queued) -> bool:
        """Whether a run may have a place beyond the limits: a target that cannot be run or a busy key it awaits."""
        _, key = _lanes(queued)
        return self._limit_of(queued.project, queued.target) != NONE_AT_ALL and not (key and self._is_busy(key))

    def blocking_lanes(self, queued: Queued) -> tuple[str | None, str | None]:
        """The target and the key that keep a run from starting, or None."""
        target, key = _lanes(queued)
        limit = self._limit_of(queued.project, queued.target)
        full = limit == NONE_AT_ALL or 0 < limit <= self._executing(target)
        return (target if full else None, key if key and self._is_busy(key) else None)

    def _executing(self, target: str) -> int:
        return self._of_target[target] + (self._others._executing(target) if self._others else 0)

    def _is_busy(self, key: str) -> bool:
        return key in self._busy_keys or (self._others is not None and self._others._is_busy(key))

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


class PlacesToEnd:
    """Places beyond the limits, for runs that go on only to end: those that have a place may be waiting for it.

    Ten thousand may be cancelled at one moment, and need not all be in memory for it. But those in here may wait for
    each other as well, a workflow for the runs below it: once none has ended for a while they count no more.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._counted: set[str] = set()
        # When one was taken or given back last, in microseconds of the steady clock.
        self._changed_at = 0

    def free(self, now: int) -> int:
        """0 also while only few are."""
        if self._counted and now >= self.free_at:
            self._counted.clear()
        free = TO_END - len(self._counted)
        return free if free >= FREE_TO_END else 0

    @property
    def free_at(self) -> int:
        """The moment at which there are free places again, if nothing ends before."""
        return self._changed_at + round(TO_END_SECONDS * MICROSECONDS)

    def takes(self, queued: Queued, now: int) -> bool:
        if not self._places.may_end(queued):
            return False
        self._places.take(queued)
        self._counted.add(queued.run_id)
        self._changed_at = now
        return True

    def give_back(self, queued: Queued, now: int) -> None:
        """Of any run that has ended."""
        if queued.run_id in self._counted:
            self._counted.discard(queued.run_id)
            self._changed_at = now


def _lanes(queued: Queued) -> tuple[str, str]:
    key = queued.concurrency_key
    return lane(queued.project, queued.target), lane(queued.project, key) if key else ""


def _decrement(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
