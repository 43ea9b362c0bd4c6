"""How much the records of runs hold that are sent something: each event is counted once, however much is sent.

As they are on disk: what one batch brings beside each other may lead a little beyond the limit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from runsd.model.record_size import RecordSize
from runsd.store.transaction import StoredRun, Transaction

RUNS_KNOWN = 1000


@dataclass(slots=True)
class RecordSizes:
    """By run: the last event that was counted, and the size up to it. The writer's thread alone uses it."""

    _known: dict[str, tuple[int, RecordSize]] = field(default_factory=dict)

    def of(self, transaction: Transaction, stored: StoredRun) -> RecordSize:
        """A value of the caller's own."""
        run_id = stored.run.run_id
        counted, size = self._known.pop(run_id, (0, RecordSize()))
        last, events, characters = transaction.history_since(stored, counted)
        size = RecordSize(size.events + events, size.characters + characters)
        self._known[run_id] = (last, size)
        while len(self._known) > RUNS_KNOWN:
            del self._known[next(iter(self._known))]
        return replace(size)
