"""How runs come into being and how they are asked to end: changes of the journal, and their answers.

Everything here is decided inside the transaction that writes it, so that equal keys sent at once make
one run, and a cancellation that races an end is one of the two and never both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from runsd.definitions.catalog import Catalog
from runsd.engine.checking import checked_request
from runsd.model.creation import CreateRequest, NewRun
from runsd.model.errors import FieldViolation, InvalidRequest, KeyReused, NotFound, NotPossible
from runsd.model.events import EventType
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
        made = await self._store.journal.change(lambda transaction: [_create(transaction, one) for one in new])
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
                new.append(checked_request(self._catalog, replace(request, project=project), self._payload_limit))
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

    async def retry(self, run_id: str, idempotency_key: str) -> Created:
        """A new run of one that failed or was cancelled. Raises NotPossible for any other."""
        record = await self._store.queries.record(run_id)
        run = record.run
        if run.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
            raise NotPossible(
                "RUN_NOT_RETRYABLE",
                f"run {run_id} is {run.status.value}; only failed and cancelled runs can be tried again",
            )
        return await self.create(_again(run, record.documents, idempotency_key))

    async def cancel(self, run_id: str, reason: str) -> CancelAnswer:
        """Raises NotFound, InvalidRequest."""
        if len(reason) > MAX_REASON:
            raise InvalidRequest(
                [FieldViolation("reason", f"has more than the {MAX_REASON} characters that are allowed")]
            )
        return await self._store.journal.change(_cancellation(run_id, reason))


def _create(transaction: Transaction, new: NewRun) -> tuple[Run, bool]:
    """The run of this request, and whether it had been made before."""
    request = new.request
    fingerprint = b""
    if request.idempotency_key:
        fingerprint = request.fingerprint()
        known = transaction.by_key(new.project, request.idempotency_key)
        if known is not None:
            run, its_fingerprint = known
            if its_fingerprint != fingerprint:
                raise KeyReused(request.idempotency_key, run.run_id)
            return run, True
    root = _root(transaction, new)
    payload = new.created_payload(root, transaction.steady_now)
    return transaction.create(payload, new.documents, fingerprint), False


def _root(transaction: Transaction, new: NewRun) -> str:
    parent_id = new.request.parent_run_id
    if not parent_id:
        return new.run_id
    parent = transaction.find(parent_id)
    if parent is None or parent.run.project != new.project:
        raise NotFound("run", parent_id, hint="parent_run_id must be a run of the same project")
    return parent.run.root_run_id


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
    )


def _cancellation(run_id: str, reason: str) -> Callable[[Transaction], CancelAnswer]:
    def change(transaction: Transaction) -> CancelAnswer:
        stored = transaction.get(run_id)
        if stored.run.status.is_terminal:
            return CancelAnswer(False, stored.run)
        payload = {"reason": reason} if reason else {}
        if stored.run.status is RunStatus.PENDING:
            stored = transaction.record(stored, EventType.CANCELLED, payload)
        elif not stored.run.cancel_requested:
            stored = transaction.record(stored, EventType.CANCEL_REQUESTED, payload)
        return CancelAnswer(True, stored.run)

    return change
