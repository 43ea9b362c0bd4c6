"""Workflows executed by the engine's own parts on a real store, without a daemon around them.

What the dispatcher does is done here by hand: so a test says when a run goes on, and with which record.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
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
from runsd.model.errors import NotPossible
from runsd.model.events import Draft, Event, EventType, Raw, encode
from runsd.model.record import Documents
from runsd.model.run import Run
from runsd.model.settings import Limits
from runsd.model.steps import History, Step, StepKind, StepState
from runsd.model.targets import AdapterKind, Command, Definition, Project, Target
from runsd.sdk.workflow import WorkflowContext
from runsd.store.journal import Commit
from runsd.store.store import Store, open_store
from runsd.store.transaction import Transaction

Program = Callable[[WorkflowContext, Any], Awaitable[Any]]
TARGET = Target.parse("workflow:w")
DEFINITION = Definition(TARGET, None, "", Path("/"), adapter=AdapterKind.WORKFLOW)
# What workflows may execute below them, where `answered` stands for what is outside.
CHILD = Target.parse("task:child")
PROJECT = Project("p", Path("/"), {str(CHILD): Definition(CHILD, Command(("true",)), "", Path("/"))})
# How the names of waits begin that nobody ends, and of approvals that are rejected.
NEVER, REJECT = "never", "reject"


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
        return await self._create(new._replace(**options), run_id)

    async def create_child(self, parent_id: str, *, of: str) -> str:
        """As another child is."""
        input_json = (await self.store.queries.documents(of)).input_json
        request = CreateRequest(target=str(CHILD), input_json=input_json, parent_run_id=parent_id)
        return await self._create(NewRun(new_run_id(), "p", CHILD, request, 0, 0), parent_id)

    async def _create(self, new: NewRun, root_id: str) -> str:
        def change(transaction: Transaction) -> None:
            transaction.create(new.created_payload(root_id, transaction.now), new.documents, b"")

        await self.store.journal.change(change)
        return new.run_id

    async def end_child(self, run_id: str, execute: Callable[[Any], Any]) -> None:
        """Unless it has ended. `execute` gets its input; a ValueError is its failure."""
        if (await self.store.queries.run(run_id)).status.is_terminal:
            return
        input_json = (await self.store.queries.documents(run_id)).input_json
        try:
            output_json = json.dumps(execute(json.loads(input_json or "null")))
            payload: dict[str, Any]
            ended, payload = EventType.COMPLETED, {"output": Raw(output_json)}
        except ValueError as error:
            output_json = ""
            ended, payload = EventType.FAILED, {"error": {"message": str(error), "code": "exit_code"}}

        def change(transaction: Transaction) -> None:
            stored = transaction.get(run_id)
            if stored.run.status.is_terminal:
                return
            stored = transaction.record(stored, EventType.STARTED, {"attempt": 1, "adapter": "subprocess"})
            transaction.set_output(stored, output_json)
            transaction.record(stored, ended, payload)

        await self.store.journal.change(change)

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

    async def reject(self, run_id: str, name: str) -> None:
        await self.signals.decide(run_id, Decision(name, False))


class Outside:
    """Ends the children of runs, sends their signals and decides, as soon as their records tell that they wait."""

    def __init__(self, here: Room) -> None:
        self.execute: Callable[[Any], Any] = lambda input: input
        self._here = here
        self._asking: asyncio.Queue[str] = asyncio.Queue()
        here.store.journal.listen(self._on_commit)

    def _on_commit(self, commit: Commit) -> None:
        for committed in commit.events:
            if committed.event.event_type in (EventType.STEP_STARTED, EventType.APPROVAL_REQUESTED):
                self._asking.put_nowait(committed.run_id)

    async def answer(self) -> None:
        while True:
            run_id = await self._asking.get()
            history = History().add_all(await self._here.events(run_id))
            for step in list(history.steps.values()):
                if step.state is StepState.WAITING and not _awaited_name(step).startswith(NEVER):
                    await self._end(run_id, history, step)
            self._asking.task_done()

    async def settled(self) -> None:
        """Until nobody asks for anything any more."""
        await self._asking.join()

    async def _end(self, run_id: str, history: History, step: Step) -> None:
        if step.kind is StepKind.RUN:
            await self._here.end_child(step.child_run_id, self.execute)
        elif step.kind is StepKind.SIGNAL:
            name = _awaited_name(step)
            asked = sum(s.kind is StepKind.SIGNAL and _awaited_name(s) == name for s in history.steps.values())
            sent = sum(signal.name == name for signal in history.signals)
            if sent < asked:
                await self._here.signal(run_id, name, json.dumps({"signal": name, "count": sent + 1}))
        elif step.kind is StepKind.APPROVAL and step.step_id in history.asked.keys() - history.decisions.keys():
            decide = self._here.reject if step.name.startswith(REJECT) else self._here.approve
            # It may have been cancelled in the meantime.
            with suppress(NotPossible):
                await decide(run_id, step.name)


@asynccontextmanager
async def answered(here: Room) -> AsyncIterator[Outside]:
    outside = Outside(here)
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(outside.answer())
        yield outside
        answering.cancel()


@asynccontextmanager
async def room(directory: Path) -> AsyncIterator[Room]:
    contain_tasks(asyncio.get_running_loop())
    async with open_store(directory, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        made = Room(store, Signals(store, Limits().event_bytes))

        def load(spec: AttemptSpec) -> Program:
            assert made.program is not None
            return made.program

        made.adapter = WorkflowAdapter(store, Catalog([PROJECT]), load)
        yield made
        store.journal.stop()
        await writing


def _awaited_name(step: Step) -> str:
    """Of a signal step that of the signal, which is told where it is another."""
    return step.detail if step.kind is StepKind.SIGNAL and step.detail else step.name
