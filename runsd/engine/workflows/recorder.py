"""Writes a workflow's steps into its log: in order, whatever is ready in one change.

Nobody waits for a record by itself. What must not happen before it is on disk (the next step's work)
waits with `durable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runsd.engine.workflows.place import Place
from runsd.model.errors import Overloaded, Stopping
from runsd.model.events import Draft, EventType, Raw, compact, encode
from runsd.model.record_size import RecordSize
from runsd.model.run import RunError, error_payload
from runsd.model.steps import EMITTED, StepKind
from runsd.model.times import rfc3339
from runsd.store.journal import DISK_FULL_RETRY_SECONDS, Journal
from runsd.store.transaction import StoredRun, Transaction

# A change to the run inside the transaction that its events are written in.
Entry = Callable[[Transaction, StoredRun], StoredRun]

# What nobody waits for is written together with what comes right after it: within this time, or within the next
# turn of an event loop that has too much to do to get round in it.
LET_GATHER_SECONDS = 0.002

# Entries that wait to be written; past this nothing is taken that a workflow adds without awaiting anything.
MAX_WAITING = 20_000


class Gathering:
    """Recorders that have something to write for which nobody waits, and one timer for all of them."""

    def __init__(self) -> None:
        self._added: set[Recorder] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, recorder: Recorder) -> None:
        self._added.add(recorder)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(LET_GATHER_SECONDS, loop.call_soon, self._write)

    def _write(self) -> None:
        self._timer = None
        recorders, self._added = self._added, set()
        for recorder in recorders:
            recorder.write()


class Recorder:
    def __init__(self, journal: Journal, gathering: Gathering, run_id: str, size: RecordSize) -> None:
        self._journal = journal
        self._gathering = gathering
        self._run_id = run_id
        # Of the record as it is on disk, and what has been added since.
        self.size = size
        self._loop = asyncio.get_running_loop()
        self._entries: list[Entry | Draft] = []
        self._in_flight: list[Entry | Draft] = []
        self._added = 0
        self._on_disk = 0
        self._written = asyncio.Event()
        self._is_closed = False
        self._is_held = False
        self.failure: BaseException | None = None

    def add(self, entry: Entry | Draft) -> None:
        if self._is_closed:
            return
        if isinstance(entry, Draft):
            self.size.add(entry.event_type, entry.payload_json)
        else:
            self.size.events += 1
        self._entries.append(entry)
        self._added += 1
        self._gathering.add(self)

    def check_room(self) -> None:
        """To be asked before what waits for nothing. Raises BufferError, for whose code the event loop is."""
        if len(self._entries) >= MAX_WAITING:
            raise BufferError(
                f"{MAX_WAITING:,} events wait to be written, and nothing was awaited in which they could be; await a "
                "step between them (within a step: `asyncio.sleep(0.1)`), or tell more in one event"
            )

    def write(self) -> None:
        """One change at a time, so that the order is kept whatever becomes of it."""
        if self._in_flight or self._is_held or not self._entries:
            return
        self._in_flight, self._entries = self._entries, []
        entries = self._in_flight
        try:
            future = self._journal.submit(lambda transaction: self._append(transaction, entries))
        except Stopping as error:
            self._fail(error)
        else:
            future.add_done_callback(self._has_written)

    def _append(self, transaction: Transaction, entries: list[Entry | Draft]) -> None:
        stored = transaction.get(self._run_id)
        drafts: list[Draft] = []
        for entry in entries:
            if isinstance(entry, Draft):
                drafts.append(entry)
                continue
            if drafts:
                stored, drafts = transaction.emit(stored, drafts), []
            stored = entry(transaction, stored)
        if drafts:
            transaction.emit(stored, drafts)

    def _has_written(self, future: asyncio.Future[None]) -> None:
        entries, self._in_flight = self._in_flight, []
        error = future.exception()
        if error is None:
            self._on_disk += len(entries)
            if self._entries:
                self.write()
            self._notify()
        elif isinstance(error, Overloaded):
            self._entries = [*entries, *self._entries]
            self._loop.call_later(DISK_FULL_RETRY_SECONDS, self.write)
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self._in_flight, self._is_closed = [], True
        self._entries.clear()
        self._notify()

    def _notify(self) -> None:
        self._written.set()
        self._written = asyncio.Event()

    async def durable(self) -> None:
        """Until everything recorded so far is on disk. Raises CancelledError when it never will be."""
        wanted = self._added
        while True:
            if self.failure is not None or (self._is_closed and not self._is_writing):
                raise asyncio.CancelledError
            if self._on_disk >= wanted and not self._is_held:
                return
            self.write()
            await self._written.wait()

    @property
    def _is_writing(self) -> bool:
        return bool(self._entries or self._in_flight)

    def take_rest(self) -> list[Draft] | None:
        """What is not written yet, to be written with the run's end; None when it has to be written before."""
        drafts = [entry for entry in self._entries if isinstance(entry, Draft)]
        if self._in_flight or self._is_held or len(drafts) < len(self._entries):
            return None
        self._entries.clear()
        self._on_disk = self._added
        return drafts

    async def close(self) -> None:
        """Takes nothing more; returns when what was taken is written, or never will be."""
        self._is_closed = True
        while self._is_writing:
            self.write()
            await self._written.wait()

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is recorded inside waits, and with it whatever must not happen before it is on disk."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            self.write()
            self._notify()

    def drop(self) -> None:
        """Forgets what was held, and takes nothing more."""
        self._entries.clear()
        self._is_closed = True

    def started(self, place: Place, **more: Any) -> None:
        self.add(started(place.step_id, place.name, place.kind, place.attempt, **more))

    def completed(self, place: Place, **more: Any) -> None:
        self._add(EventType.STEP_COMPLETED, place, {**_ended(place), **more})

    def failed(self, place: Place, error: RunError, **more: Any) -> None:
        self._add(EventType.STEP_FAILED, place, {**_ended(place), "error": error_payload(error), **more})

    def skipped(self, place: Place, reason: str) -> None:
        self._add(EventType.STEP_SKIPPED, place, {"reason": reason})

    def value(self, place: Place, value: Any) -> None:
        """What is recorded for the replay alone."""
        self._add(EventType.STEP_COMPLETED, place, {"output": Raw(compact(value))})

    def _add(self, event_type: EventType, place: Place, more: Mapping[str, Any]) -> None:
        self.add(_draft(event_type, place.step_id, place.name, place.kind, more))


def started(step_id: str, name: str, kind: StepKind, attempt: int, **more: Any) -> Draft:
    return _draft(EventType.STEP_STARTED, step_id, name, kind, {"attempt": attempt, **more})


def _ended(place: Place) -> dict[str, int]:
    return {"attempt": place.attempt, "duration_ms": place.duration_ms}


def emitted(counts: Mapping[str, int], number: int) -> Draft:
    """How many events each scope has emitted so far; the `number`-th note of it."""
    return _draft(EventType.STEP_COMPLETED, f"{EMITTED}#{number}", EMITTED, StepKind.VALUE, {"output": counts})


def _draft(event_type: EventType, step_id: str, name: str, kind: StepKind, more: Mapping[str, Any]) -> Draft:
    """Members that are unset are left out; moments are told in words."""
    payload: dict[str, Any] = {"step_id": step_id, "name": name, "kind": kind.value}
    for key, value in more.items():
        if value is None or value == "":
            continue
        payload[key] = rfc3339(value) if key in ("until", "retry_at") else value
    return Draft(event_type, encode(payload))
