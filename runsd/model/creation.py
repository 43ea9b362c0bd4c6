"""A run to create: the checked request, and the `run.created` event that it becomes."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from runsd.model.events import Payload, Raw
from runsd.model.record import Documents
from runsd.model.run import TriggerKind
from runsd.model.targets import Target
from runsd.model.times import after, rfc3339


class CreateRequest(NamedTuple):
    """What a client asked for, texts empty and numbers None when unset. Not checked yet."""

    project: str = ""
    target: str = ""
    name: str = ""
    input_json: str = ""
    config_json: str = ""
    metadata_json: str = ""
    timeout_seconds: float | None = None
    backoff_limit: int | None = None
    idempotency_key: str = ""
    priority: int = 0
    concurrency_key: str = ""
    start_after_seconds: float = 0.0
    expires_after_seconds: float = 0.0
    parent_run_id: str = ""
    batch_id: str = ""
    trigger_kind: TriggerKind = TriggerKind.API
    trigger_id: str = ""
    created_by: str = ""
    retry_of_run_id: str = ""
    # Of runs that a schedule or a step makes; no client sends these.
    schedule_id: str = ""
    scheduled_for: int | None = None
    retry_json: str = ""

    def fingerprint(self) -> bytes:
        """Equal for equal requests: tells a repeated request from another under the same key."""
        sent = tuple(self)[:-_NOT_SENT]
        return hashlib.blake2b(repr(sent).encode("utf-8", "surrogatepass"), digest_size=16).digest()


_NOT_SENT = 3


class NewRun(NamedTuple):
    """A checked request: the target exists, the documents fit, defaults are filled in."""

    run_id: str
    project: str
    target: Target
    request: CreateRequest
    timeout_seconds: float
    backoff_limit: int

    @property
    def documents(self) -> Documents:
        return Documents(self.request.input_json, self.request.config_json)

    def created_payload(self, root_run_id: str, now: int) -> Payload:
        """Members that are unset are left out, so that the event stays small."""
        request = self.request
        always = {
            "run_id": self.run_id,
            "project": self.project,
            "kind": self.target.kind.value,
            "target": str(self.target),
            "root_run_id": root_run_id,
            "trigger_kind": request.trigger_kind.value,
        }
        optional = {
            "name": request.name,
            "metadata": Raw(request.metadata_json),
            "parent_run_id": request.parent_run_id,
            "schedule_id": request.schedule_id,
            "scheduled_for": "" if request.scheduled_for is None else rfc3339(request.scheduled_for),
            "batch_id": request.batch_id,
            "trigger_id": request.trigger_id,
            "created_by": request.created_by,
            "retry_of_run_id": request.retry_of_run_id,
            "idempotency_key": request.idempotency_key,
            "concurrency_key": request.concurrency_key,
            "priority": request.priority,
            "timeout_seconds": self.timeout_seconds,
            "backoff_limit": self.backoff_limit,
            "retry": Raw(request.retry_json),
            "start_after": _moment(now, request.start_after_seconds),
            "expires_after": _moment(now, request.expires_after_seconds),
            **self.documents.payload(),
        }
        return always | {key: value for key, value in optional.items() if value}


def _moment(now: int, seconds: float) -> str:
    return rfc3339(after(now, seconds)) if seconds > 0 else ""
