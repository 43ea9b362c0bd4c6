"""Claims runs: what is claimed is on disk as started before anything executes. Inside a transaction."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from runsd.definitions.catalog import Catalog
from runsd.engine.ending import fail_run
from runsd.model.errors import NotPossible, RunsdError
from runsd.model.events import EventType
from runsd.model.record import Documents
from runsd.model.run import ErrorCode, Run, RunError, RunStatus
from runsd.model.targets import Definition
from runsd.model.times import MICROSECONDS
from runsd.store.queue import Queued
from runsd.store.transaction import StoredRun, Transaction


class Claimed(NamedTuple):
    """A run whose attempt is on disk as started, and is to be executed now."""

    queued: Queued
    run: Run
    documents: Documents
    definition: Definition
    project_directory: Path
    last_event_id: int = 0
    # How long ago the attempt began: it may have waited since.
    age_seconds: float = 0.0


class Claims:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def claim_all(self, transaction: Transaction, picked: list[Queued]) -> list[Claimed | None]:
        documents = transaction.documents(queued.number for queued in picked)
        return [self.claim(transaction, queued, documents[queued.number]) for queued in picked]

    def claim(self, transaction: Transaction, queued: Queued, documents: Documents) -> Claimed | None:
        """Marks the run as started, if it is still to be. Committed before anything executes."""
        stored = transaction.get(queued.run_id)
        run = stored.run
        if run.status is RunStatus.WAITING and not transaction.is_due(stored):
            return None
        if run.status is RunStatus.WAITING:
            return self._resumed(transaction, stored, queued, documents)
        if run.status is not RunStatus.PENDING or (run.start_after or 0) > transaction.steady_now:
            return None
        if run.expires_after is not None and run.expires_after <= transaction.steady_now and run.attempt == 0:
            fail_run(transaction, stored, expired_error())
            return None
        definition = self._definition(transaction, stored)
        if definition is None:
            return None
        return self._started(transaction, stored, queued, documents, definition)

    def _definition(self, transaction: Transaction, stored: StoredRun) -> Definition | None:
        """None: it cannot be run. A broken one is waited for; without any the run has failed."""
        run = stored.run
        try:
            return self._catalog.definition(run.project, run.target)
        except NotPossible:
            return None
        except RunsdError as error:
            if run.status is RunStatus.WAITING:
                stored = transaction.resume(stored)
            fail_run(transaction, stored, RunError(error.message, ErrorCode.TARGET_NOT_FOUND))
            return None

    def _started(
        self,
        transaction: Transaction,
        stored: StoredRun,
        queued: Queued,
        documents: Documents,
        definition: Definition,
    ) -> Claimed:
        adapter = definition.adapter.value
        payload = {"attempt": stored.run.attempt + 1, "adapter": adapter}
        if definition.version:
            payload["version"] = definition.version
        stored = transaction.record(stored, EventType.STARTED, payload)
        transaction.open_attempt(stored, adapter)
        directory = self._catalog.project(stored.run.project).directory
        return Claimed(queued, stored.run, documents, definition, directory, stored.last_event_id)

    def _resumed(
        self, transaction: Transaction, stored: StoredRun, queued: Queued, documents: Documents
    ) -> Claimed | None:
        """Goes on with a waiting run."""
        run = stored.run
        definition = self._definition(transaction, stored)
        if definition is None:
            return None
        stored = transaction.resume(stored)
        age = (transaction.steady_now - transaction.attempt_began(stored)) / MICROSECONDS
        directory = self._catalog.project(run.project).directory
        return Claimed(queued, stored.run, documents, definition, directory, stored.last_event_id, age)


def expired_error() -> RunError:
    return RunError("the run had not started by the time that was set for it", ErrorCode.EXPIRED)
