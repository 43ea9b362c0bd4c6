"""What the daemon answered to those who made, changed and triggered schedules. Moments in microseconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from runsd_client.proto import run_pb2
from runsd_client.proto import schedules_pb2 as pb

from tests.torture.schedules import ScheduleWish


def now() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Change:
    """From `known_at` on the schedule was as the answer said; since `sent_at` it may have been."""

    kind: str
    sent_at: int
    known_at: int
    is_in_force: bool


@dataclass(frozen=True, slots=True)
class Backfill:
    """The occurrences and their runs, as each answer named them."""

    sent_at: int
    answered_at: int
    answers: Sequence[dict[int, str]]


@dataclass(slots=True)
class ScheduleWitness:
    """Of one schedule. `runs` and `last` are what the API says at the end."""

    wish: ScheduleWish
    changes: list[Change] = field(default_factory=list)
    # Run ids and whether each was a duplicate, by key.
    triggered: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)
    backfills: list[Backfill] = field(default_factory=list)
    retried: list[tuple[str, str]] = field(default_factory=list)
    runs: list[run_pb2.Run] = field(default_factory=list)
    last: pb.Schedule = field(default_factory=pb.Schedule)

    def changed(self, kind: str, sent_at: int, known_at: int, *, is_in_force: bool) -> None:
        self.changes.append(Change(kind, sent_at, known_at, is_in_force))
