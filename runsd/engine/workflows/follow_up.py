"""The run that a workflow's definition wants after its end: created in the transaction that ends it."""

from __future__ import annotations

from runsd.definitions.catalog import Catalog
from runsd.engine.checking import checked_request
from runsd.engine.creating import create_run
from runsd.model.attempt import Ending
from runsd.model.creation import CreateRequest
from runsd.model.errors import RunsdError
from runsd.model.events import EventType, Raw, Stream, encode, log
from runsd.model.targets import Definition
from runsd.store.transaction import StoredRun, Transaction


def follow_up(
    catalog: Catalog,
    payload_bytes: int,
    definition: Definition,
    transaction: Transaction,
    stored: StoredRun,
    end: Ending,
) -> StoredRun:
    """To be called before the end is recorded. One that cannot be created is told in the workflow's log."""
    wanted = {EventType.COMPLETED: definition.on_complete, EventType.FAILED: definition.on_error}
    target = wanted.get(end.event_type, "")
    if not target:
        return stored
    try:
        new = checked_request(catalog, _request(stored, target, end), payload_bytes)
    except RunsdError as error:
        note = log(Stream.SYSTEM, f"{target}, which was to follow, cannot be run: {error.message}\n")
        return transaction.emit(stored, [note])
    create_run(transaction, new)
    return stored


def _request(stored: StoredRun, target: str, end: Ending) -> CreateRequest:
    run = stored.run
    facts = {"run_id": run.run_id, "target": run.target, "status": end.event_type.removeprefix("run.")}
    documents = {"output": Raw(end.output_json or "null"), "error": end.payload.get("error")}
    return CreateRequest(
        project=run.project,
        target=target,
        input_json=encode({**facts, **documents}),
        parent_run_id=run.run_id,
        priority=run.priority,
        created_by=f"the end of {run.target}"[:200],
    )
