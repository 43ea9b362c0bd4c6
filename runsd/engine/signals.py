"""What is sent to a run from outside while it goes on: signals and decisions.

Each is an event of the run, decided inside the transaction that writes it: a key counts once, and an
approval is decided once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runsd.definitions.schemas import violations
from runsd.engine.record_sizes import RecordSizes
from runsd.model.documents import checked
from runsd.model.errors import (
    FieldViolation,
    InvalidRequest,
    KeyReused,
    NotAllowed,
    NotFound,
    NotPossible,
    RunsdError,
)
from runsd.model.events import Draft, EventType, Payload, Raw, document, encode
from runsd.model.record_size import RecordSize
from runsd.model.run import Run
from runsd.model.steps import ApprovalAsked, History, Signal
from runsd.store.store import Store
from runsd.store.transaction import StoredRun, Transaction

MAX_TEXT = 200
MAX_COMMENT = 1000


class SentKeyReused(KeyReused):
    """Of another signal or decision of the same run; `what` is which of them."""

    def __init__(self, what: str, key: str, run_id: str) -> None:
        super().__init__(key, run_id)
        self.message = (
            f"idempotency key {key!r} was used for another {what} of run {run_id}; "
            f"send the same {what} again, or a new key"
        )


@dataclass(frozen=True, slots=True)
class Sent:
    duplicate: bool
    run: Run


@dataclass(frozen=True, slots=True)
class Decision:
    name: str
    approved: bool
    by: str = ""
    comment: str = ""
    data_json: str = ""
    idempotency_key: str = ""


class Signals:
    def __init__(self, store: Store, payload_limit: int) -> None:
        self._store = store
        self._payload_limit = payload_limit
        self._sizes = RecordSizes()

    async def send(self, run_id: str, name: str, payload_json: str, idempotency_key: str) -> Sent:
        """Raises InvalidRequest, NotFound, NotPossible, KeyReused, Overloaded, Stopping."""
        faults = [
            *_text_faults("name", name, MAX_TEXT, required=True),
            *_text_faults("idempotency_key", idempotency_key, MAX_TEXT),
            *self._document_faults("payload_json", payload_json),
        ]
        if faults:
            raise InvalidRequest(faults)
        return await self._store.journal.change(_signal(run_id, name, payload_json, idempotency_key, self._sizes))

    async def decide(self, run_id: str, decision: Decision) -> Run:
        """Raises InvalidRequest, NotFound, NotAllowed, NotPossible, KeyReused, Overloaded, Stopping."""
        faults = [
            *_text_faults("name", decision.name, MAX_TEXT, required=True),
            *_text_faults("by", decision.by, MAX_TEXT),
            *_text_faults("comment", decision.comment, MAX_COMMENT),
            *_text_faults("idempotency_key", decision.idempotency_key, MAX_TEXT),
            *self._document_faults("data_json", decision.data_json),
        ]
        if faults:
            raise InvalidRequest(faults)
        return await self._store.journal.change(_decision(run_id, decision))

    def _document_faults(self, field: str, text: str) -> Iterator[FieldViolation]:
        try:
            if text:
                checked(text, self._payload_limit)
        except ValueError as error:
            yield FieldViolation(field, str(error))


def _text_faults(field: str, text: str, limit: int, *, required: bool = False) -> Iterator[FieldViolation]:
    if required and not text:
        yield FieldViolation(field, "is missing")
    if len(text) > limit:
        yield FieldViolation(field, f"has more than the {limit} characters that are allowed")


def _signal(run_id: str, name: str, payload_json: str, key: str, sizes: RecordSizes) -> Callable[[Transaction], Sent]:
    def change(transaction: Transaction) -> Sent:
        stored = transaction.get(run_id)
        before = _signal_of_key(_history(transaction, stored), key) if key else None
        if before is not None:
            if before.name != name or not _is_same(before.payload_json, payload_json):
                raise SentKeyReused("signal", key, run_id)
            return Sent(True, stored.run)
        _check_open(stored.run, "takes no more signals")
        draft = _draft(EventType.SIGNAL, {"name": name, "payload": Raw(payload_json), "idempotency_key": key})
        _check_room(stored.run, sizes.of(transaction, stored), draft)
        return Sent(False, _tell(transaction, stored, draft))

    return change


def _signal_of_key(history: History, key: str) -> Signal | None:
    return next((signal for signal in history.signals if signal.idempotency_key == key), None)


def _is_same(one_json: str, other_json: str) -> bool:
    """As values; none at all is null."""
    one, other = (json.dumps(json.loads(text or "null"), sort_keys=True) for text in (one_json, other_json))
    return one == other


def _decision(run_id: str, decision: Decision) -> Callable[[Transaction], Run]:
    def change(transaction: Transaction) -> Run:
        stored = transaction.get(run_id)
        history = _history(transaction, stored)
        before = history.keyed_decisions.get(decision.idempotency_key)
        if before is not None:
            if not _tells_the_same(before, decision):
                raise SentKeyReused("decision", decision.idempotency_key, run_id)
            return stored.run
        asked = _open_approval(history, decision.name)
        if (asked is None or stored.run.status.is_terminal) and _is_decided_so(history, decision):
            return stored.run
        _check_open(stored.run, "has nothing left to decide")
        if asked is None:
            raise _closed(history, decision.name, run_id)
        _check(asked, decision, transaction.steady_now)
        payload = {
            "step_id": asked.step_id,
            "name": decision.name,
            "by": decision.by,
            "comment": decision.comment,
            "data": Raw(decision.data_json),
            "idempotency_key": decision.idempotency_key,
        }
        return _tell(transaction, stored, _draft(EventType.APPROVAL_DECIDED, payload, approved=decision.approved))

    return change


def _history(transaction: Transaction, stored: StoredRun) -> History:
    return History().add_all(transaction.history(stored))


def _check_open(run: Run, what: str) -> None:
    if run.status.is_terminal:
        raise NotPossible("RUN_ENDED", f"run {run.run_id} is {run.status.value}; it {what}")


def _check_room(run: Run, size: RecordSize, draft: Draft) -> None:
    """A signal that filled the record would be the end of a workflow that has done nothing wrong."""
    size.add(draft.event_type, draft.payload_json)
    if limit := size.limit_reached:
        message = f"run {run.run_id} takes no such signal any more: it would fill its record, which takes {limit}"
        raise NotPossible("RECORD_FULL", message)


def _asked_for(history: History, name: str) -> list[ApprovalAsked]:
    """The latest first."""
    return [asked for asked in reversed(history.asked.values()) if asked.name == name]


def _open_approval(history: History, name: str) -> ApprovalAsked | None:
    """The latest of this name that nobody has decided."""
    for asked in _asked_for(history, name):
        if asked.step_id not in history.decisions and not history.steps[asked.step_id].state.is_final:
            return asked
    return None


def _tells_the_same(before: Payload, decision: Decision) -> bool:
    told = (before["name"], before["approved"], before.get("by", ""), before.get("comment", ""))
    return told == (decision.name, decision.approved, decision.by, decision.comment) and _is_same(
        document(before, "data"), decision.data_json
    )


def _is_decided_so(history: History, decision: Decision) -> bool:
    """Whether the latest decision on it is the same one, whatever was said with it."""
    told = (history.decisions.get(asked.step_id) for asked in _asked_for(history, decision.name))
    latest = next(filter(None, told), None)
    return (
        latest is not None
        and (latest["approved"], latest.get("by", "")) == (decision.approved, decision.by)
        and _is_same(document(latest, "data"), decision.data_json)
    )


def _closed(history: History, name: str, run_id: str) -> RunsdError:
    if not _asked_for(history, name):
        names = sorted({asked.name for asked in history.asked.values()})
        hint = f"it asked for {', '.join(names)}" if names else "it has asked for none so far"
        return NotFound("approval", name, hint=f"run {run_id} asked for no approval of this name; {hint}")
    return NotPossible(
        "APPROVAL_CLOSED",
        f"approval {name!r} of run {run_id} has been decided in another way, or is no longer open",
    )


def _check(asked: ApprovalAsked, decision: Decision, now: int) -> None:
    if asked.expires_at is not None and asked.expires_at <= now:
        raise NotPossible("APPROVAL_EXPIRED", f"approval {asked.name!r} has expired")
    if asked.approvers and decision.by not in asked.approvers:
        who = repr(decision.by) if decision.by else "nobody in particular"
        raise NotAllowed(
            "NOT_AN_APPROVER",
            f"approval {asked.name!r} is for {', '.join(asked.approvers)} to decide, not for {who}",
        )
    # Whoever rejects need not fill in the form.
    if asked.schema_json and (decision.approved or decision.data_json):
        faults = violations(json.loads(asked.schema_json), json.loads(decision.data_json or "null"), "data_json")
        if faults:
            raise InvalidRequest(faults)


def _draft(event_type: EventType, payload: Payload, **more: bool) -> Draft:
    """Members that are unset are left out."""
    given = {key: value for key, value in payload.items() if value} | more
    return Draft(event_type, encode(given))


def _tell(transaction: Transaction, stored: StoredRun, draft: Draft) -> Run:
    """Records an event that the run is woken for."""
    transaction.wake(stored)
    return transaction.emit(stored, [draft]).run
