"""What the daemon told its clients: every answer, and every event that a subscriber saw."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.torture.plan import Wish
from tests.torture.schedule_witness import ScheduleWitness


@dataclass(frozen=True, slots=True)
class Seen:
    """An event as it came. `digest` is of the payload, by `exact` or `canonical`."""

    event_id: int
    event_type: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Watched:
    position: int
    run_id: str
    seen: Seen


@dataclass(slots=True)
class Following:
    """One subscriber of one run. `is_exact`: its digests are of the text, not of the value."""

    run_id: str
    is_exact: bool
    seen: list[Seen] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Created:
    """An acknowledged create; `is_again` when an earlier one had been acknowledged before it was sent."""

    run_id: str
    duplicate: bool
    is_again: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    run_id: str
    cancelled: bool
    status: str


@dataclass(frozen=True, slots=True)
class Retried:
    run_id: str
    new_run_id: str
    key: str
    from_failed_step: bool = False


@dataclass(frozen=True, slots=True)
class Signalled:
    """`is_new` None: the run had ended, and the signal was refused."""

    run_id: str
    key: str
    payload: str
    is_new: bool | None


@dataclass(frozen=True, slots=True)
class Decided:
    """`is_taken`: acknowledged; else it came too late, or another had been there before."""

    run_id: str
    by: str
    approved: bool
    is_taken: bool


@dataclass(slots=True)
class Witness:
    wishes: dict[str, Wish] = field(default_factory=dict)
    created: dict[str, list[Created]] = field(default_factory=dict)
    cancelled: list[Cancelled] = field(default_factory=list)
    retried: list[Retried] = field(default_factory=list)
    signalled: list[Signalled] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    schedules: list[ScheduleWitness] = field(default_factory=list)
    followings: list[Following] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    watched_lifecycles: list[Watched] = field(default_factory=list)
    # Calls and streams that failed and were made again, by status; and what should not have happened.
    failures: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    # Runs that were made and whose end the watcher has not seen.
    executing: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: set[str] = field(default_factory=set)

    def made(self, run_id: str) -> None:
        if run_id not in self._ended:
            self.executing.add(run_id)

    def saw(self, watched: Watched, is_terminal: bool) -> None:
        self.watched.append(watched)
        if is_terminal:
            self._ended.add(watched.run_id)
            self.executing.discard(watched.run_id)
        self._tell()

    def saw_lifecycle(self, watched: Watched) -> None:
        self.watched_lifecycles.append(watched)
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Looked at whenever a watcher has seen an event."""
        while not condition():
            await self.changed.wait()


def exact(payload_json: str) -> bytes:
    return hashlib.blake2b(payload_json.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def canonical(payload: object) -> bytes:
    return exact(json.dumps(payload, sort_keys=True))
