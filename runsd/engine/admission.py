"""Starts runs in the very commit that creates them, as far as there are places: a commit and a wait for the disk less.

Only where nothing else is startable, so that the order of starting is kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from runsd.engine.claiming import Claimed, Claims
from runsd.engine.places import Places
from runsd.engine.window import Window
from runsd.model.run import RunStatus
from runsd.store.queue import Queued
from runsd.store.transaction import StoredRun, Transaction


class Admission:
    """Of one commit.

    It is used in the writer's thread, while the event loop leaves places and window as they are.
    """

    def __init__(self, places: Places, window: Window) -> None:
        self._places = places.in_advance()
        self._window = window

    def claim(self, transaction: Transaction, claims: Claims) -> list[Claimed]:
        """The last change of the commit: what is to be executed, and to take its places, once it is on disk."""
        created = transaction.created()
        if not created or _makes_others_startable(transaction):
            return []
        picked = self.pick(Queued.of(run) for run, _ in created.values() if _is_startable(run, transaction))
        claimed = (claims.claim(transaction, queued, created[queued.number][1]) for queued in picked)
        return [one for one in claimed if one is not None]

    def pick(self, startable: Iterable[Queued]) -> list[Queued]:
        """The first of them that the limits let start, in order."""
        return [queued for queued in sorted(startable) if self._takes(queued)]

    def _takes(self, queued: Queued) -> bool:
        if not self._places.free or self._window.in_full_lane(queued):
            return False
        if self._places.blocking_lanes(queued) != (None, None):
            return False
        self._places.take(queued)
        return True


def _makes_others_startable(transaction: Transaction) -> bool:
    """Whether the commit brings older runs back, which the dispatcher has to put in order with the new ones."""
    runs = transaction.batch.runs.values()
    return bool(transaction.batch.woken) or any(not run.is_new and _is_startable(run, transaction) for run in runs)


def _is_startable(stored: StoredRun, transaction: Transaction) -> bool:
    run = stored.run
    return run.status is RunStatus.PENDING and (run.start_after or 0) <= transaction.steady_now
