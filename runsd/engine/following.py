"""Follows events from a cursor: from memory while the reader keeps up, from disk when it does not.

Invariant 5: every event past the cursor, once, in order. The cursor is all that is remembered of a
reader between pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass, field

from runsd.model.errors import FieldViolation, InvalidRequest
from runsd.model.events import Committed, Event
from runsd.store.store import Store

PAGE_EVENTS = 1000
# Every subscriber may hold a page or two in its connection: small, so that many are bearable.
PAGE_BYTES = 256 << 10
# A reader whose filter lets nothing through is told how far it is at least this often.
TELL_POSITION_EVERY = 1000
MAX_KNOWN_TYPES = 1000


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Empty collections let everything through. `run.*` stands for all types that begin with `run.`."""

    event_types: Collection[str] = ()
    targets: Collection[str] = ()
    # Every event is asked about, and most are of a few types.
    _known: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def lets_through(self, committed: Committed) -> bool:
        if self.targets and committed.target not in self.targets:
            return False
        return not self.event_types or self._is_wanted(committed.event.event_type)

    def _is_wanted(self, event_type: str) -> bool:
        known = self._known.get(event_type)
        if known is None:
            known = any(_matches(event_type, wanted) for wanted in self.event_types)
            if len(self._known) < MAX_KNOWN_TYPES:
                self._known[event_type] = known
        return known


def _matches(event_type: str, wanted: str) -> bool:
    return event_type.startswith(wanted[:-1]) if wanted.endswith(".*") else event_type == wanted


async def run_events(store: Store, run_id: str, after: int, *, follow: bool) -> AsyncIterator[list[Event]]:
    """Pages of a run's events; ends after the terminal one, or, not following, after the last there is.

    Raises NotFound.
    """
    with store.tail.run(run_id) as channel:
        while True:
            fresh = channel.after(after)
            if fresh is None:
                page = await store.queries.events(run_id, after, PAGE_EVENTS, PAGE_BYTES)
                events, ended = page.events, page.ended
            else:
                events = [committed.event for committed in _one_page(fresh)]
                ended = events[-1].is_terminal if events else channel.has_ended
            if events:
                after = events[-1].event_id
                yield events
            if ended or (not events and not follow):
                return
            if not events:
                await channel.wait(after)


async def project_events(
    store: Store, project: str, after: int | None, wanted: EventFilter
) -> AsyncIterator[tuple[list[Committed], int]]:
    """Pages of a project's events with the position that they reach, for ever.

    `after` None is from now on. The first page comes at once, so that the reader knows its position.
    """
    if after is not None and after > store.tail.position:
        last = f"the last event has {store.tail.position}"
        raise InvalidRequest([FieldViolation("after_position", f"{after} is past the end: {last}")])
    with store.tail.project(project) as channel:
        cursor = told = store.tail.position if after is None else after
        yield [], cursor
        while True:
            fresh = channel.after(cursor)
            if fresh is None:
                page = await store.queries.watch(project, cursor, PAGE_EVENTS, PAGE_BYTES)
                events, reached = page.events, page.position
            else:
                events = _one_page(fresh)
                reached = events[-1].position if events else cursor
            if reached > cursor:
                cursor = reached
                wanted_events = [committed for committed in events if wanted.lets_through(committed)]
                if wanted_events or cursor - told >= TELL_POSITION_EVERY:
                    told = cursor
                    yield wanted_events, cursor
            else:
                await channel.wait(cursor)


def _one_page(events: list[Committed]) -> list[Committed]:
    size = 0
    for index, committed in enumerate(events[:PAGE_EVENTS]):
        size += len(committed.event.payload_json)
        if size > PAGE_BYTES and index:
            return events[:index]
    return events[:PAGE_EVENTS]


async def wait_until_terminal(store: Store, run_id: str, timeout_seconds: float | None) -> None:
    """Returns when the run is terminal or the time is over. Raises NotFound."""
    with suppress(TimeoutError), store.tail.run(run_id) as channel:
        async with asyncio.timeout(timeout_seconds):
            # Its end, if it comes, comes to the channel, which is there already.
            if not store.journal.is_under_way(run_id):
                run = await store.queries.run(run_id)
                if run.status.is_terminal:
                    return
            while not channel.has_ended:
                await channel.wait(channel.last)
