"""Committed events to whoever follows, from memory while they keep up.

A channel holds the latest events of one run, or of one project, for as long as somebody follows it.
It is bounded: who falls behind reads from disk until caught up, and costs the others nothing. A
channel knows from which cursor on it is whole, so a reader can tell "nothing new" from "not here".
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runsd.model.errors import Stopping
from runsd.model.events import Committed
from runsd.store.journal import Commit

CHANNEL_EVENTS = 4096
CHANNEL_BYTES = 4 << 20

Cursor = Callable[[Committed], int]


def event_id(committed: Committed) -> int:
    return committed.event.event_id


def position(committed: Committed) -> int:
    return committed.position


class Channel:
    """The latest events in order of their cursor (event id, or position)."""

    def __init__(self, cursor: Cursor, floor: int | None, *, ends: bool) -> None:
        """`ends`: of one run, whose terminal event is the last."""
        self._cursor = cursor
        self._ends = ends
        self._events: list[Committed] = []
        self._cursors: list[int] = []
        self._bytes = 0
        # Every event past this cursor is here; None until the first one tells.
        self._floor = floor
        self._changed = asyncio.Event()
        self._is_closed = False

    def close(self) -> None:
        """Readers get Stopping from now on."""
        self._is_closed = True
        self._changed.set()

    def append(self, events: list[Committed]) -> None:
        if self._floor is None:
            self._floor = self._cursor(events[0]) - 1
        self._events.extend(events)
        self._cursors.extend(map(self._cursor, events))
        self._bytes += sum(len(c.event.payload_json) for c in events)
        self._trim()
        self._changed.set()
        self._changed = asyncio.Event()

    def _trim(self) -> None:
        """Drops the older half when over the bound, so that trimming costs little per event."""
        while len(self._events) > CHANNEL_EVENTS or (self._bytes > CHANNEL_BYTES and len(self._events) > 1):
            half = (len(self._events) + 1) // 2
            self._bytes -= sum(len(c.event.payload_json) for c in self._events[:half])
            self._floor = self._cursors[half - 1]
            del self._events[:half]
            del self._cursors[:half]

    def after(self, cursor: int) -> list[Committed] | None:
        """Events past `cursor`; None when they have to be read from disk. Raises Stopping."""
        if self._is_closed:
            raise Stopping
        if self._floor is None or cursor < self._floor:
            return None
        return self._events[bisect_right(self._cursors, cursor) :]

    @property
    def last(self) -> int:
        """The latest cursor here; 0 when there is nothing yet."""
        return self._cursors[-1] if self._cursors else 0

    @property
    def has_ended(self) -> bool:
        """True when the latest event is a run's terminal one. Means nothing for a project."""
        return bool(self._events) and self._events[-1].event.is_terminal

    async def wait(self, cursor: int) -> None:
        """Until there is an event past `cursor`, or none will come. Raises Stopping."""
        while self.last <= cursor and not (self._ends and self.has_ended):
            if self._is_closed:
                raise Stopping
            await self._changed.wait()


class Ends:
    """The runs of a set that have ended, as the commits tell; each once."""

    def __init__(self) -> None:
        self._ended: list[str] = []
        self._changed = asyncio.Event()
        self._is_closed = False

    def note(self, run_id: str) -> None:
        self._ended.append(run_id)
        self._changed.set()

    def close(self) -> None:
        """Who waits gets Stopping from now on."""
        self._is_closed = True
        self._changed.set()

    async def next(self) -> list[str]:
        """At least one. Raises Stopping."""
        await self._changed.wait()
        if self._is_closed:
            raise Stopping
        self._changed.clear()
        ended, self._ended = self._ended, []
        return ended


@dataclass(slots=True)
class _Shared:
    channel: Channel
    readers: int = 0


class Tail:
    """`position` is that of the last event published."""

    def __init__(self, position: int) -> None:
        self.position = position
        self._is_closed = False
        self._runs: dict[str, _Shared] = {}
        self._projects: dict[str, _Shared] = {}
        self._ends: defaultdict[str, set[Ends]] = defaultdict(set)

    def publish(self, commit: Commit) -> None:
        if not commit.events:
            return
        self.position = commit.events[-1].position
        if self._runs:
            _distribute(self._runs, commit.events, lambda committed: committed.run_id)
        if self._projects:
            _distribute(self._projects, commit.events, lambda committed: committed.project)
        if self._ends:
            self._tell_ends(commit.events)

    def _tell_ends(self, events: list[Committed]) -> None:
        for committed in events:
            if committed.run_id in self._ends and committed.event.is_terminal:
                for ends in self._ends[committed.run_id]:
                    ends.note(committed.run_id)

    def close(self) -> None:
        """Ends all following, for the daemon's end."""
        self._is_closed = True
        for shared in (*self._runs.values(), *self._projects.values()):
            shared.channel.close()
        for ends in set().union(*self._ends.values()):
            ends.close()

    @contextmanager
    def ends_of(self, run_ids: Collection[str]) -> Iterator[Ends]:
        """Of runs that end from now on. Raises Stopping."""
        if self._is_closed:
            raise Stopping
        ends = Ends()
        # The caller's own may change meanwhile.
        run_ids = tuple(run_ids)
        for run_id in run_ids:
            self._ends[run_id].add(ends)
        try:
            yield ends
        finally:
            for run_id in run_ids:
                self._ends[run_id].discard(ends)
                if not self._ends[run_id]:
                    del self._ends[run_id]

    @contextmanager
    def run(self, run_id: str) -> Iterator[Channel]:
        with self._opened(self._runs, run_id, Channel(event_id, None, ends=True)) as channel:
            yield channel

    @contextmanager
    def project(self, project: str) -> Iterator[Channel]:
        with self._opened(self._projects, project, Channel(position, self.position, ends=False)) as channel:
            yield channel

    @contextmanager
    def _opened(self, channels: dict[str, _Shared], key: str, fresh: Channel) -> Iterator[Channel]:
        if self._is_closed:
            raise Stopping
        shared = channels.setdefault(key, _Shared(fresh))
        shared.readers += 1
        try:
            yield shared.channel
        finally:
            shared.readers -= 1
            if shared.readers == 0:
                del channels[key]


def _distribute(channels: dict[str, _Shared], events: list[Committed], key: Callable[[Committed], str]) -> None:
    followed: dict[str, list[Committed]] = {}
    for committed in events:
        if key(committed) in channels:
            followed.setdefault(key(committed), []).append(committed)
    for name, new in followed.items():
        channels[name].channel.append(new)
