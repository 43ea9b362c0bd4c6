"""Runs below a workflow: begun together with their step, awaited, and cancelled with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runsd.definitions.catalog import Catalog
from runsd.engine.checking import checked_request
from runsd.engine.creating import TOO_DEEP, create_run, is_too_deep
from runsd.engine.ending import fail_run
from runsd.engine.intake import cancellation
from runsd.engine.workflows.delays import delays_of
from runsd.engine.workflows.recorder import Recorder, started
from runsd.engine.workflows.waits import Wait, Waits
from runsd.model.creation import CreateRequest
from runsd.model.errors import InvalidRequest, NotFound, RunsdError
from runsd.model.retry import delays_json
from runsd.model.run import ErrorCode, Run, RunError, RunStatus
from runsd.model.steps import StepKind
from runsd.sdk.documents import NotJson, dumps
from runsd.sdk.step_options import StepOptions
from runsd.store.store import Store
from runsd.store.transaction import StoredRun, Transaction


class ChildRefused(Exception):
    """The run cannot be created, with what its step fails."""

    def __init__(self, error: RunError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class ChildStep:
    step_id: str
    name: str
    attempt: int
    target: str


class Children:
    def __init__(
        self, store: Store, catalog: Catalog, parent: Run, payload_bytes: int, recorder: Recorder, waits: Waits
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._parent = parent
        self._payload_bytes = payload_bytes
        self._recorder = recorder
        self._waits = waits
        # Those that are awaited, with their end once it is known.
        self._awaited: dict[str, Run | None] = {}
        self.has_begun = False

    @property
    def awaited(self) -> list[str]:
        return list(self._awaited)

    def begin(self, step: ChildStep, documents: Mapping[str, Any], options: StepOptions) -> str:
        """Creates the run in the transaction that records its step. Raises ChildRefused."""
        request = self._request(step, documents, options)
        try:
            new = checked_request(self._catalog, request, self._payload_bytes)
        except RunsdError as error:
            raise ChildRefused(_refusal(error)) from error
        begun = started(
            step.step_id, step.name, StepKind.RUN, step.attempt, detail=step.target, child_run_id=new.run_id
        )

        def entry(transaction: Transaction, stored: StoredRun) -> StoredRun:
            create_run(transaction, new)
            if is_too_deep(transaction, self._parent.run_id):
                # Its step fails with it; the record shows where the nesting ended.
                fail_run(transaction, transaction.get(new.run_id), RunError(TOO_DEEP, ErrorCode.INVALID_REQUEST))
            return transaction.emit(stored, [begun])

        self._recorder.add(entry)
        self.has_begun = True
        return new.run_id

    def _request(self, step: ChildStep, documents: Mapping[str, Any], options: StepOptions) -> CreateRequest:
        try:
            texts = {key: "" if value is None else dumps(value) for key, value in documents.items()}
        except NotJson as error:
            raise ChildRefused(RunError(f"the input is not JSON: {error}", ErrorCode.INVALID_REQUEST)) from None
        return CreateRequest(
            project=self._parent.project,
            target=step.target,
            input_json=texts["input"],
            config_json=texts["config"],
            timeout_seconds=options.timeout_seconds,
            backoff_limit=options.retries,
            retry_json=delays_json(delays_of(options.retry)) if options.has_delays else "",
            parent_run_id=self._parent.run_id,
            priority=self._parent.priority,
            created_by=f"step {step.step_id}"[:200],
        )

    async def end_of(self, run_id: str) -> Run:
        """Waits until the run is terminal."""
        self._awaited.setdefault(run_id, None)
        await self._recorder.durable()
        run: Run | None = await self._store.queries.run(run_id)
        while run is None or not run.status.is_terminal:
            run = self._awaited[run_id]
            if run is None:
                await self._waits.wait(Wait((StepKind.RUN, run_id)))
        del self._awaited[run_id]
        return run

    def has_ended(self, run: Run) -> None:
        if run.run_id in self._awaited:
            self._awaited[run.run_id] = run
            self._waits.notify((StepKind.RUN, run.run_id))

    def cancel(self, run_id: str) -> None:
        """Asked for in the record's order; the run stays awaited until `all_ended`."""

        def entry(transaction: Transaction, stored: StoredRun) -> StoredRun:
            cancellation(run_id, f"its workflow {self._parent.run_id} does not need it any more")(transaction)
            return stored

        self._recorder.add(entry)

    def cancel_all(self, run_ids: Iterable[str]) -> None:
        """They are awaited from now on by `all_ended`."""
        for run_id in run_ids:
            if run_id not in self._awaited:
                self._awaited[run_id] = None
                self.cancel(run_id)

    async def all_ended(self) -> None:
        for run_id in self.awaited:
            await self.end_of(run_id)

    async def output_json(self, run_id: str) -> str:
        return (await self._store.queries.documents(run_id)).output_json


def error_of(run: Run) -> RunError | None:
    """With what the step of an ended run fails."""
    if run.status is RunStatus.COMPLETED:
        return None
    if run.status is RunStatus.CANCELLED:
        return RunError(f"run {run.run_id} was cancelled", ErrorCode.CANCELLED)
    assert run.error is not None
    return run.error


def _refusal(error: RunsdError) -> RunError:
    if isinstance(error, InvalidRequest):
        message = "; ".join(f"{violation.field}: {violation.description}" for violation in error.violations)
        return RunError(message, ErrorCode.INVALID_REQUEST)
    code = ErrorCode.TARGET_NOT_FOUND if isinstance(error, NotFound) else ErrorCode.INVALID_REQUEST
    return RunError(error.message, code)
