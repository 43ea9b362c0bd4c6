"""Makes a run of a checked request, inside a transaction: equal keys make one."""

from __future__ import annotations

from runsd.model.creation import NewRun
from runsd.model.errors import FieldViolation, InvalidRequest, KeyReused, NotFound
from runsd.model.run import Run
from runsd.store.transaction import Transaction

MAX_DEPTH = 32
TOO_DEEP = f"nested deeper than {MAX_DEPTH} runs below the first; look for runs that start themselves again without end"


def create_run(transaction: Transaction, new: NewRun, fingerprint: bytes | None = None) -> tuple[Run, bool]:
    """The run of this request, and whether it had been made before.

    `fingerprint` tells what equal requests are, where it is not the request itself that does.
    """
    request = new.request
    if not request.idempotency_key:
        fingerprint = b""
    else:
        fingerprint = request.fingerprint() if fingerprint is None else fingerprint
        known = transaction.by_key(new.project, request.idempotency_key)
        if known is not None:
            run, its_fingerprint = known
            if its_fingerprint != fingerprint:
                raise KeyReused(request.idempotency_key, run.run_id)
            return run, True
    root = _root(transaction, new)
    payload = new.created_payload(root, transaction.steady_now)
    return transaction.create(payload, new.documents, fingerprint), False


def check_depth(transaction: Transaction, new: NewRun) -> None:
    """Raises InvalidRequest where the run would be too far below the first of its kin."""
    if is_too_deep(transaction, new.request.parent_run_id):
        raise InvalidRequest([FieldViolation("parent_run_id", TOO_DEEP)])


def is_too_deep(transaction: Transaction, parent_id: str) -> bool:
    """Whether a run below this one has more than MAX_DEPTH above it.

    One that began when its parent had ended follows it, and is not inside it: such chains may go on.
    """
    began = transaction.now
    for _ in range(MAX_DEPTH + 1):
        parent = transaction.find(parent_id) if parent_id else None
        if parent is None or (parent.run.completed_at is not None and parent.run.completed_at <= began):
            return False
        began, parent_id = parent.run.created_at, parent.run.parent_run_id
    return True


def _root(transaction: Transaction, new: NewRun) -> str:
    parent_id = new.request.parent_run_id
    if not parent_id:
        return new.run_id
    parent = transaction.find(parent_id)
    if parent is None or parent.run.project != new.project:
        raise NotFound("run", parent_id, hint="parent_run_id must be a run of the same project")
    return parent.run.root_run_id
