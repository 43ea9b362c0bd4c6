"""The head of the queue in memory: the next runs to start, in order, and a bounded number of them.

The window leaves out *full lanes* (targets and keys at their limit), so that a backlog of one does
not hide the runs behind it. Whatever it leaves out it knows to leave out: it is *whole* when nothing
startable is missing, and otherwise asks to be filled from the store once it runs dry: with the more
runs the oftener it does, since the store has to look at all that are due to find the first of them.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable

from runsd.engine.places import Places
from runsd.store.queue import Queued, lane

WINDOW = 1024


class Window:
    def __init__(self, places: Places) -> None:
        self._places = places
        self._queued: list[Queued] = []
        self._ids: set[str] = set()
        self.full_targets: set[str] = set()
        self.busy_keys: set[str] = set()
        self._is_whole = False
        # How many runs the last filling was for; 0 when it was not of use to its end.
        self._filled = 0

    @property
    def wants_filling(self) -> bool:
        """True when a startable run may be in the store that should start before those here."""
        return not self._is_whole and not self._queued

    @property
    def is_empty(self) -> bool:
        """True when no run is startable outside of full lanes."""
        return self._is_whole and not self._queued

    def room(self, free: int) -> int:
        """How many runs to fill it with while so many places are free."""
        return min(WINDOW, max(free * 2 + 16, self._filled * 2))

    def begin_filling(self) -> None:
        """From now on offers are taken whatever the store answers."""
        self._is_whole = True

    def fill(self, found: list[Queued], limit: int) -> None:
        for queued in found:
            self._insert(queued)
        self._filled = limit
        if len(found) == limit:
            # The store may have more right behind the last one: what was offered from there on waits.
            self._is_whole = False
            for queued in self._queued[bisect_right(self._queued, found[-1]) :]:
                self._ids.discard(queued.run_id)
            del self._queued[bisect_right(self._queued, found[-1]) :]

    def offer(self, queued: Queued) -> None:
        """A run that became startable."""
        if not self._is_whole and (not self._queued or queued > self._queued[-1]):
            return
        self._insert(queued)
        if len(self._queued) > WINDOW:
            self._ids.discard(self._queued.pop().run_id)
            self._is_whole = False

    def _insert(self, queued: Queued) -> None:
        if queued.run_id in self._ids or self.in_full_lane(queued):
            return
        self._ids.add(queued.run_id)
        insort(self._queued, queued)

    def withdraw(self, run_id: str) -> None:
        """A run that is no longer to be started; the list drops it when it comes to its turn."""
        self._ids.discard(run_id)

    def take(self) -> Queued | None:
        """The first run that the limits let start. Its place is taken."""
        while self._queued and self._places.free:
            queued = self._queued.pop(0)
            if queued.run_id not in self._ids:
                continue
            self._ids.discard(queued.run_id)
            if self.in_full_lane(queued):
                continue
            target, key = self._places.blocking_lanes(queued)
            if target is None and key is None:
                self._places.take(queued)
                return queued
            self.full_targets.update([target] if target else [])
            self.busy_keys.update([key] if key else [])
        return None

    def reopen(self, queued: Iterable[Queued]) -> None:
        """Lanes in which a place became free are looked at again."""
        for one in queued:
            target, key = lane(one.project, one.target), lane(one.project, one.concurrency_key)
            if target in self.full_targets or key in self.busy_keys:
                self.full_targets.discard(target)
                self.busy_keys.discard(key)
                self.look_again()

    def forget_lanes(self) -> None:
        """The limits may have changed."""
        self.full_targets.clear()
        self.busy_keys.clear()
        self.look_again()

    def look_again(self) -> None:
        """Forgets what is here: the store knows better which run is next."""
        self._queued.clear()
        self._ids.clear()
        self._is_whole = False
        self._filled = 0

    def in_full_lane(self, queued: Queued) -> bool:
        if self.full_targets and lane(queued.project, queued.target) in self.full_targets:
            return True
        return bool(self.busy_keys) and lane(queued.project, queued.concurrency_key) in self.busy_keys
