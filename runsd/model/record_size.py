"""How much a workflow's record may hold. It is read as a whole whenever the run goes on, so it must have an end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runsd.model.events import Event
from runsd.model.steps import HISTORY_TYPES

# A step has two, and two more for each retry: a map of as many items as there may be takes less than half.
MAX_EVENTS = 50_000
MAX_MIB = 64
_COUNTED = frozenset(HISTORY_TYPES)
_OF_A_MIB = 1024 * 1024


@dataclass(slots=True)
class RecordSize:
    """Of what a workflow is replayed from: what it emits besides has a limit of its own."""

    events: int = 0
    characters: int = 0

    @classmethod
    def of(cls, events: Iterable[Event]) -> RecordSize:
        size = cls()
        for event in events:
            size.add(event.event_type, event.payload_json)
        return size

    def add(self, event_type: str, payload_json: str) -> None:
        if event_type in _COUNTED:
            self.events += 1
            self.characters += len(payload_json)

    @property
    def limit_reached(self) -> str:
        """How much it holds that nothing can be added to; empty while something can."""
        if self.events >= MAX_EVENTS:
            return f"{MAX_EVENTS:,} events"
        return f"{MAX_MIB} MiB" if self.characters >= MAX_MIB * _OF_A_MIB else ""

    @property
    def fault(self) -> str:
        """Why a workflow can add nothing; empty while it can."""
        if not (limit := self.limit_reached):
            return ""
        return (
            f"the workflow's record has the {limit} that it takes; "
            "split its work into runs below it (`ctx.run`), each of which has a record of its own"
        )
