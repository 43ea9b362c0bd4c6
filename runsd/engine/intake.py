"""How runs come into being and how they are asked to end: changes of the journal, and their answers.

Everything here is decided inside the transaction that writes it, so that equal keys sent at once make
one run, and a cancellation that races an end is one of the two and never both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runsd.definitions.catalog import Catalog
from runsd.engine.checking import checked_request
from runsd.engine.creating import check_depth, create_run
from runsd.engine.ending import cancel_run
from runsd.engine.going_on import go_on
from runsd.model.creation import CreateRequest, NewRun
from runsd.model.errors import FieldViolation, InvalidRequest, NotFound, NotPossible
from runsd.model.record import Documents, Record
from runsd.model.run import Run, RunStatus
from runsd.store.store import Store
from runsd.store.transaction import Transaction

BATCH_MAX = 1000
MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class Created:
    duplicate: bool
    record: Record


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    cancelled: bool
    run: Run


class Intake:
    def __init__(self, store: Store, catalog: Catalog, payload_limit: int) -> None:
        self._store = store
        self._catalog = catalog
        self._payload_limit = payload_limit

    async def create(self, request: CreateRequest) -> Created:
        """Raises InvalidRequest, NotFound, NotPossible, KeyReused, Overloaded, Stopping."""
        new = checked_request(self._catalog, request, self._payload_limit)
        run, duplicate = await self._store.journal.change(lambda transaction: _create(transaction, new))
        return await self._created(new, run, duplicate)

    async def create_batch(self, project: str, requests: Sequence[CreateRequest]) -> list[Created]:
        """All or none; field violations are named `requests[i].field`. Raises as `create` does."""
        if not 1 <= len(requests) <= BATCH_MAX:
            raise InvalidRequest([FieldViolation("requests", f"must be 1 to {BATCH_MAX} runs, not {len(requests)}")])
        new = self._checked_batch(self._catalog.project(project).id, requests)
        made = await self._store.journal.change(lambda transaction: _create_all(transaction, new))
        return [await self._created(one, run, duplicate) for one, (run, duplicate) in zip(new, made, strict=True)]

    def _checked_batch(self, project: str, requests: Sequence[CreateRequest]) -> list[NewRun]:
        new: list[NewRun] = []
        faults: list[FieldViolation] = []
        for index, request in enumerate(requests):
            here = f"requests[{index}]"
            if request.project not in ("", project):
                faults.append(FieldViolation(f"{here}.project", f"must be empty or {project!r}, as the batch's"))
                continue
            try:
                request = request if request.project else request._replace(project=project)
                new.append(checked_request(self._catalog, request, self._payload_limit))
            except InvalidRequest as error:
                faults.extend(fault.inside(here) for fault in error.violations)
            except (NotFound, NotPossible) as error:
                faults.append(FieldViolation(f"{here}.target", error.message))
        if faults:
            raise InvalidRequest(faults)
        return new

    async def _created(self, new: NewRun, run: Run, duplicate: bool) -> Created:
        if duplicate:
            return Created(True, await self._store.queries.record(run.run_id))
        return Created(False, Record(run, new.documents))

    async def retry(self, run_id: str, idempotency_key: str, from_failed_step: bool = False) -> Created:
        """A new run of one that failed or was cancelled. Raises NotPossible for any other.

        `from_failed_step`: it keeps the steps that have ended, but for the one whose failure ended the run.
        """
        record = await self._store.queries.record(run_id)
        run = record.run
        if run.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
            raise NotPossible(
                "RUN_NOT_RETRYABLE",
                f"run {run_id} is {run.status.value}; only failed and cancelled runs can be tried again",
            )
        request = _again(run, record.documents, idempotency_key)
        if not from_failed_step:
            return await self.create(request)
        new = checked_request(self._catalog, request, self._payload_limit)
        again, duplicate = await self._store.journal.change(lambda transaction: go_on(transaction, new, run_id))
        return await self._created(new, again, duplicate)

    async def cancel(self, run_id: str, reason: str) -> CancelAnswer:
        """Raises NotFound, InvalidRequest."""
        if len(reason) > MAX_REASON:
            raise InvalidRequest(
                [FieldViolation("reason", f"has more than the {MAX_REASON} characters that are allowed")]
            )
        return await self._store.journal.change(cancellation(run_id, reason))


def _create(transaction: Transaction, new: NewRun) -> tuple[Run, bool]:
    check_depth(transaction, new)
    return create_run(transaction, new)


def _create_all(transaction: Transaction, new: Sequence[NewRun]) -> list[tuple[Run, bool]]:
    made = []
    for index, one in enumerate(new):
        try:
            made.append(_create(transaction, one))
        except InvalidRequest as error:
            raise InvalidRequest([fault.inside(f"requests[{index}]") for fault in error.violations]) from None
    return made


def _again(run: Run, documents: Documents, idempotency_key: str) -> CreateRequest:
    return CreateRequest(
        project=run.project,
        target=run.target,
        name=run.name,
        input_json=documents.input_json,
        config_json=documents.config_json,
        metadata_json=run.metadata_json,
        timeout_seconds=run.timeout_seconds,
        backoff_limit=run.backoff_limit,
        idempotency_key=idempotency_key,
        priority=run.priority,
        concurrency_key=run.concurrency_key,
        parent_run_id=run.parent_run_id,
        batch_id=run.batch_id,
        trigger_kind=run.trigger_kind,
        trigger_id=run.trigger_id,
        created_by=run.created_by,
        retry_of_run_id=run.run_id,
        schedule_id=run.schedule_id,
        scheduled_for=run.scheduled_for,
        retry_json=run.retry_json,
    )


def cancellation(run_id: str, reason: str) -> Callable[[Transaction], CancelAnswer]:
    def change(transaction: Transaction) -> CancelAnswer:
        stored = transaction.get(run_id)
        if stored.run.status.is_terminal:
            return CancelAnswer(False, stored.run)
        stored = cancel_run(transaction, stored, reason)
        return CancelAnswer(True, stored.run)

    return change
