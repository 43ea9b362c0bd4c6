"""Writes a workflow's steps into its log: in order, whatever is ready in one change.

Nobody waits for a record by itself. What must not happen before it is on disk (the next step's work)
waits with `durable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runsd.model.events import Draft, EventType, encode
from runsd.model.run import RunError, error_payload
from runsd.model.steps import EMITTED, StepKind
from runsd.model.times import rfc3339
from runsd.store.journal import Journal
from runsd.store.transaction import StoredRun, Transaction

# A change to the run inside the transaction that its events are written in.
Entry = Callable[[Transaction, StoredRun], StoredRun]

# Entries that wait to be written; past this a workflow that only emits is told to let go.
MAX_WAITING = 20_000


class Recorder:
    def __init__(self, journal: Journal, run_id: str) -> None:
        self._journal = journal
        self._run_id = run_id
        self._entries: list[Entry | Draft] = []
        self._filled = asyncio.Event()
        self._added = 0
        self._on_disk = 0
        self._written = asyncio.Event()
        self._is_closed = False
        self._is_held = False
        self.failure: BaseException | None = None

    async def run(self) -> None:
        """Writes until closed. Raises Stopping."""
        try:
            while not self._is_closed or self._entries:
                await self._filled.wait()
                self._filled.clear()
                if self._entries and not self._is_held:
                    await self._write()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self._notify()

    async def _write(self) -> None:
        entries, self._entries = self._entries, []
        await self._journal.insist(lambda transaction: self._append(transaction, entries))
        self._on_disk += len(entries)
        self._notify()

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

    def _notify(self) -> None:
        self._written.set()
        self._written = asyncio.Event()

    def close(self) -> None:
        """`run` ends when everything is written; what comes later is dropped."""
        self._is_closed = True
        self._filled.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is recorded inside waits, and with it whatever must not happen before it is on disk."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            self._filled.set()
            self._notify()

    def drop(self) -> None:
        """Forgets what was held, and takes nothing more."""
        self._entries.clear()
        self.close()

    async def durable(self) -> None:
        """Until everything recorded so far is on disk. Raises CancelledError when it never will be."""
        wanted = self._added
        while True:
            if self.failure is not None or (self._is_closed and not self._entries):
                raise asyncio.CancelledError
            if self._on_disk >= wanted and not self._is_held:
                return
            await self._written.wait()

    def add(self, entry: Entry | Draft) -> None:
        if self._is_closed:
            return
        if len(self._entries) >= MAX_WAITING:
            raise BufferError("too many events at once; `await` a step between them")
        self._entries.append(entry)
        self._added += 1
        self._filled.set()

    def started(self, step_id: str, name: str, kind: StepKind, attempt: int, **more: Any) -> None:
        self.add(started(step_id, name, kind, attempt, **more))

    def completed(self, step_id: str, name: str, kind: StepKind, **more: Any) -> None:
        self.add(_draft(EventType.STEP_COMPLETED, step_id, name, kind, more))

    def failed(self, step_id: str, name: str, kind: StepKind, attempt: int, error: RunError, **given: Any) -> None:
        more = {"attempt": attempt, "error": error_payload(error), **given}
        self.add(_draft(EventType.STEP_FAILED, step_id, name, kind, more))

    def skipped(self, step_id: str, name: str, kind: StepKind, reason: str) -> None:
        self.add(_draft(EventType.STEP_SKIPPED, step_id, name, kind, {"reason": reason}))


def started(step_id: str, name: str, kind: StepKind, attempt: int, **more: Any) -> Draft:
    return _draft(EventType.STEP_STARTED, step_id, name, kind, {"attempt": attempt, **more})


def emitted(counts: Mapping[str, int]) -> Draft:
    """How many events each scope has emitted so far."""
    return _draft(EventType.STEP_COMPLETED, EMITTED, EMITTED, StepKind.VALUE, {"output": counts})


def _draft(event_type: EventType, step_id: str, name: str, kind: StepKind, more: Mapping[str, Any]) -> Draft:
    """Members that are unset are left out; moments are told in words."""
    payload: dict[str, Any] = {"step_id": step_id, "name": name, "kind": kind.value}
    for key, value in more.items():
        if value is None or value == "":
            continue
        payload[key] = rfc3339(value) if key in ("until", "retry_at") else value
    return Draft(event_type, encode(payload))
