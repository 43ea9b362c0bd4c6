"""Makes a run of a checked request, inside a transaction: equal keys make one."""

from __future__ import annotations

from runsd.model.creation import NewRun
from runsd.model.errors import KeyReused, NotFound
from runsd.model.run import Run
from runsd.store.transaction import Transaction


def create_run(transaction: Transaction, new: NewRun, variant: str = "") -> tuple[Run, bool]:
    """The run of this request, and whether it had been made before.

    `variant` tells requests apart that are the same and mean something else.
    """
    request = new.request
    fingerprint = b""
    if request.idempotency_key:
        fingerprint = request.fingerprint() + variant.encode()
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
