"""The decision to let a workflow go, taken where nothing else can be decided meanwhile: inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runsd.engine.workflows.waits import Wait
from runsd.model.events import Draft
from runsd.model.run import Run
from runsd.model.times import after, rfc3339
from runsd.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Still:
    """A workflow that only waits, as it was when that was seen: the writer's thread decides on this alone.

    What the event loop learns before the decision is on disk makes no difference to it.
    """

    last_event_id: int
    waits: Sequence[Wait]
    children: Sequence[str]
    emitted: Sequence[Draft]

    @property
    def reason(self) -> str:
        more = f" and {len(self.waits) - 1} more" if len(self.waits) > 1 else ""
        return f"{self.waits[0].reason}{more}"


def record_wait(transaction: Transaction, run: Run, still: Still) -> bool:
    """The run waits from now on, unless something has come that the workflow had not seen."""
    stored = transaction.get(run.run_id)
    has_news = stored.last_event_id != still.last_event_id or stored.run.cancel_requested
    if has_news or any(transaction.get(run_id).run.status.is_terminal for run_id in still.children):
        return False
    moments = [wait.until for wait in still.waits if wait.until is not None]
    if run.timeout_seconds:
        began = transaction.attempt_began(stored)
        moments.append(after(began, run.timeout_seconds))
    if still.emitted:
        stored = transaction.emit(stored, still.emitted)
    until = {"until": rfc3339(min(moments))} if moments else {}
    transaction.wait(stored, {"reason": still.reason, **until})
    return True
