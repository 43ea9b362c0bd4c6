"""The whole record of a run: what `fold` makes of its events.

The store keeps the parts of it in tables of their own, each changed in the transaction that appends
the event; `runsd verify` and the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from runsd.model.events import Event, EventType, Payload, Raw, decode, document
from runsd.model.run import LIFECYCLE_TYPES, Run, advance
from runsd.model.steps import Step


class Documents(NamedTuple):
    """JSON texts; empty when there is none."""

    input_json: str = ""
    config_json: str = ""
    output_json: str = ""

    def payload(self) -> dict[str, Raw]:
        """The documents that a `run.created` event carries."""
        texts = {"input": self.input_json, "config": self.config_json}
        return {key: Raw(text) for key, text in texts.items() if text}


@dataclass(frozen=True, slots=True)
class Artifact:
    """`sha256` in hexadecimal; `attempt` is the one that left the file."""

    name: str
    size_bytes: int
    sha256: str
    media_type: str
    attempt: int


@dataclass(frozen=True, slots=True)
class LogTail:
    """The last characters of a run's output, at most `limit` of them."""

    text: str = ""
    truncated: bool = False

    def extended(self, more: str, limit: int) -> LogTail:
        text = self.text + more
        return LogTail(text[-limit:] if limit else "", self.truncated or len(text) > limit)


@dataclass(frozen=True, slots=True)
class Record:
    run: Run
    documents: Documents = field(default_factory=Documents)
    logs: LogTail = LogTail()
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    steps_truncated: bool = False


def fold(record: Record | None, event: Event, logs_limit: int) -> Record:
    """The record after one more event. Raises IllegalTransition for a log that no daemon wrote."""
    payload = decode(event.payload_json)
    if event.event_type in LIFECYCLE_TYPES:
        return _after_lifecycle(record, event, payload)
    assert record is not None, "the first event of a run is run.created"
    if event.event_type == EventType.LOG:
        return replace(record, logs=record.logs.extended(payload["text"], logs_limit))
    if event.event_type == EventType.ARTIFACT:
        artifact = Artifact(**payload)
        return replace(record, artifacts={**record.artifacts, artifact.name: artifact})
    return record


def fold_all(events: Iterable[Event], logs_limit: int) -> Record | None:
    record: Record | None = None
    for event in events:
        record = fold(record, event, logs_limit)
    return record


def _after_lifecycle(record: Record | None, event: Event, payload: Payload) -> Record:
    run = advance(record.run if record else None, event.event_type, payload, event.created_at)
    if record is None:
        return Record(run, Documents(document(payload, "input"), document(payload, "config")))
    if event.event_type == EventType.COMPLETED:
        return replace(record, run=run, documents=record.documents._replace(output_json=document(payload, "output")))
    return replace(record, run=run)
