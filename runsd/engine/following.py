"""Follows events from a cursor: from memory while the reader keeps up, from disk when it does not. Waits for ends.

Invariant 5: every event past the cursor, once, in order. The cursor is all that is remembered of a
reader between pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from runsd.model.errors import FieldViolation, InvalidRequest, NotFound
from runsd.model.events import Committed, Event
from runsd.model.record import Record
from runsd.store.store import Store

PAGE_EVENTS = 1000
# Every subscriber may hold a page or two in its connection: small, so that many are bearable.
PAGE_BYTES = 256 << 10
# A reader whose filter lets nothing through is told how far it is at least this often.
TELL_POSITION_EVERY = 1000
MAX_KNOWN_TYPES = 1000
WAIT_MAX = 1000


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
    with suppress(TimeoutError), store.tail.ends_of([run_id]) as ends:
        async with asyncio.timeout(timeout_seconds):
            if not await _ended_before(store, [run_id]):
                await ends.next()


async def ended_runs(
    store: Store, run_ids: Sequence[str], timeout_seconds: float | None
) -> AsyncIterator[list[Record]]:
    """Pages of the records of these runs, each as it becomes terminal, until the last has or the time is over.

    Raises InvalidRequest, NotFound.
    """
    if not 1 <= len(run_ids) <= WAIT_MAX:
        raise InvalidRequest([FieldViolation("run_ids", f"must be 1 to {WAIT_MAX} runs, not {len(run_ids)}")])
    over_at = None if timeout_seconds is None else asyncio.get_running_loop().time() + timeout_seconds
    awaited = dict.fromkeys(run_ids)
    with store.tail.ends_of(awaited) as ends:
        ended = await _ended_before(store, awaited)
        while True:
            fresh = [run_id for run_id in ended if run_id in awaited]
            for run_id in fresh:
                del awaited[run_id]
            async for page in _records(store, fresh):
                yield page
            if not awaited:
                return
            try:
                async with asyncio.timeout_at(over_at):
                    ended = await ends.next()
            except TimeoutError:
                return


async def _records(store: Store, run_ids: list[str]) -> AsyncIterator[list[Record]]:
    while run_ids:
        found = await store.queries.records(run_ids)
        run_ids = run_ids[len(found) :]
        yield [record for record in found if record is not None]


async def _ended_before(store: Store, run_ids: Collection[str]) -> list[str]:
    """Those that are terminal already. Raises NotFound."""
    unsure = [run_id for run_id in run_ids if not store.journal.is_under_way(run_id)]
    known = await store.queries.known_runs(unsure) if unsure else {}
    for run_id in unsure:
        if run_id not in known:
            raise NotFound("run", run_id)
    return [run_id for run_id in unsure if known[run_id].status.is_terminal]
