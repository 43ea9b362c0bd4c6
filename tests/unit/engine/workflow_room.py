"""Workflows executed by the engine's own parts on a real store, without a daemon around them.

What the dispatcher does is done here by hand: so a test says when a run goes on, and with which record.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runsd.adapters.base import AttemptSpec
from runsd.adapters.containment import contain_tasks
from runsd.adapters.directory import RunFiles
from runsd.definitions.catalog import Catalog
from runsd.engine.ids import new_run_id
from runsd.engine.signals import Decision, Signals
from runsd.engine.workflows.adapter import WorkflowAdapter
from runsd.engine.workflows.execution import WorkflowExecution
from runsd.model.attempt import Outcome
from runsd.model.creation import CreateRequest, NewRun
from runsd.model.events import Draft, Event, EventType, encode
from runsd.model.record import Documents
from runsd.model.run import Run
from runsd.model.settings import Limits
from runsd.model.targets import AdapterKind, Definition, Target
from runsd.sdk.workflow import WorkflowContext
from runsd.store.store import Store, open_store
from runsd.store.transaction import Transaction

Program = Callable[[WorkflowContext, Any], Awaitable[Any]]
TARGET = Target.parse("workflow:w")
DEFINITION = Definition(TARGET, None, "", Path("/"), adapter=AdapterKind.WORKFLOW)


@dataclass(slots=True)
class Room:
    store: Store
    signals: Signals
    program: Program | None = None
    definition: Definition = DEFINITION
    adapter: WorkflowAdapter | None = None

    async def create(self, input_json: str = "", **options: Any) -> str:
        run_id = new_run_id()
        new = NewRun(run_id, "p", TARGET, CreateRequest(target=str(TARGET), input_json=input_json), 0, 0)
        new = new._replace(**options)

        def change(transaction: Transaction) -> None:
            transaction.create(new.created_payload(run_id, transaction.now), new.documents, b"")

        await self.store.journal.change(change)
        return run_id

    async def start(self, run_id: str) -> AttemptSpec:
        """Claims the run as the dispatcher does."""

        def change(transaction: Transaction) -> tuple[Run, int, Documents]:
            stored = transaction.get(run_id)
            documents = transaction.documents([stored.number])[stored.number]
            payload = {"attempt": stored.run.attempt + 1, "adapter": "workflow"}
            version = {"version": self.definition.version} if self.definition.version else {}
            stored = transaction.record(stored, EventType.STARTED, payload | version)
            transaction.open_attempt(stored, "workflow")
            return stored.run, stored.last_event_id, documents

        return self._spec(*await self.store.journal.change(change))

    async def resume(self, run_id: str) -> AttemptSpec:
        def change(transaction: Transaction) -> tuple[Run, int, Documents]:
            stored = transaction.resume(transaction.get(run_id))
            documents = transaction.documents([stored.number])[stored.number]
            return stored.run, stored.last_event_id, documents

        return self._spec(*await self.store.journal.change(change))

    def _spec(self, run: Run, last_event_id: int, documents: Documents) -> AttemptSpec:
        directory = RunFiles(self.store.directory).attempt(run.run_id, run.attempt)
        return AttemptSpec(
            run, documents, self.definition, Path("/"), directory, "", Limits(), last_event_id=last_event_id
        )

    async def begin(self, spec: AttemptSpec, program: Program) -> WorkflowExecution:
        assert self.adapter is not None
        self.program = program
        execution = await self.adapter.start(spec)
        assert isinstance(execution, WorkflowExecution)
        return execution

    async def execute(self, spec: AttemptSpec, program: Program) -> Outcome:
        """To the end of the function, or to its next pause."""
        execution = await self.begin(spec, program)
        try:
            ended = await execution.ended()
            if ended.rest.drafts:
                await self._write(spec.run.run_id, ended.rest.drafts)
            return ended.outcome
        finally:
            await execution.close()

    async def record(self, run_id: str, event_type: EventType, payload: dict[str, Any]) -> None:
        await self.store.journal.change(lambda t: t.record(t.get(run_id), event_type, payload))

    async def tell(self, run_id: str, event_type: EventType, payload: dict[str, Any]) -> None:
        """Into the record, as if the workflow had."""
        await self._write(run_id, [Draft(event_type, encode(payload))])

    async def emit(self, run_id: str, events: Sequence[Event]) -> None:
        await self._write(run_id, [Draft(event.event_type, event.payload_json) for event in events])

    async def _write(self, run_id: str, drafts: Sequence[Draft]) -> None:
        await self.store.journal.change(lambda t: t.emit(t.get(run_id), drafts))

    async def events(self, run_id: str) -> list[Event]:
        return (await self.store.queries.events(run_id, 0, 100_000, 2**30)).events

    async def signal(self, run_id: str, name: str, payload_json: str = "") -> None:
        await self.signals.send(run_id, name, payload_json, "")

    async def approve(self, run_id: str, name: str) -> None:
        await self.signals.decide(run_id, Decision(name, True))


@asynccontextmanager
async def room(directory: Path) -> AsyncIterator[Room]:
    contain_tasks(asyncio.get_running_loop())
    async with open_store(directory, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        made = Room(store, Signals(store, Limits().event_bytes))

        def load(spec: AttemptSpec) -> Program:
            assert made.program is not None
            return made.program

        made.adapter = WorkflowAdapter(store, Catalog([]), load)
        yield made
        store.journal.stop()
        await writing
