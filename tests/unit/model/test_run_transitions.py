"""The transition table, held against random histories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.model.events import TERMINAL_TYPES, Event, EventType, decode, encode
from runsd.model.record import Record, fold, fold_all
from runsd.model.run import LIFECYCLE_TYPES, TRANSITIONS, IllegalTransition, Run, RunStatus, advance, allows

CREATED: Mapping[str, Any] = {
    "run_id": "r",
    "project": "p",
    "kind": "task",
    "target": "task:t",
    "root_run_id": "r",
    "trigger_kind": "api",
}
ERROR = {"message": "m", "code": "exit_code", "detail": {"a": [1, None]}}
PAYLOADS: dict[str, Mapping[str, Any]] = {
    EventType.CREATED: CREATED,
    EventType.WAITING: {"reason": "approval"},
    EventType.RETRYING: {"error": ERROR, "exit_code": 1, "start_after": "2026-11-25T00:00:00.000001Z"},
    EventType.INTERRUPTED: {"error": ERROR},
    EventType.COMPLETED: {"output": {"rows": 2**70}, "exit_code": 0},
    EventType.FAILED: {"error": ERROR, "exit_code": 137},
    EventType.CANCELLED: {"reason": "r"},
}


def payload_of(event_type: str, run: Run | None) -> Mapping[str, Any]:
    if event_type == EventType.STARTED:
        return {"attempt": (run.attempt if run else 0) + 1, "adapter": "subprocess"}
    return PAYLOADS.get(event_type, {})


@given(st.lists(st.sampled_from(sorted(LIFECYCLE_TYPES)), max_size=30))
def test_any_history_keeps_the_rules(history: list[str]) -> None:
    run: Run | None = None
    for moment, event_type in enumerate(["run.created", *history]):
        before = run
        allowed = (run.status if run else None, event_type) in TRANSITIONS
        try:
            run = advance(run, event_type, payload_of(event_type, run), moment)
        except IllegalTransition:
            assert not allowed
            assert run is before
            continue
        assert allowed
        assert run.updated_at == moment
        assert run.status.is_terminal == (event_type in TERMINAL_TYPES)
        assert (run.completed_at is not None) == run.status.is_terminal
        assert (run.started_at is not None) == (run.attempt > 0)
        assert bool(run.waiting_reason) == (run.status is RunStatus.WAITING)
        assert run.status is not RunStatus.COMPLETED or run.error is None
        assert before is None or run.attempt >= before.attempt
        assert not (before and before.cancel_requested and not run.cancel_requested)


def test_nothing_follows_a_terminal_status() -> None:
    ends = [status for status in RunStatus if status.is_terminal]
    assert {TRANSITIONS[step] for step in TRANSITIONS if step[1] in TERMINAL_TYPES} == set(ends)
    assert not [step for step in TRANSITIONS if step[0] in ends]
    assert not [status for status in ends if allows(status, EventType.LOG)]


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Events as a daemon writes them: allowed lifecycle steps with output between."""
    events: list[Event] = []
    run: Run | None = None

    def add(event_type: str, payload: Mapping[str, Any]) -> None:
        events.append(Event(len(events) + 1, event_type, encode(payload), len(events)))

    for _ in range(draw(st.integers(1, 25))):
        steps = sorted(event_type for status, event_type in TRANSITIONS if status is (run.status if run else None))
        if run is not None and allows(run.status, EventType.LOG):
            steps += ["log", "artifact", "rows.loaded"]
        if not steps:
            break
        step = draw(st.sampled_from(steps))
        if step == "log":
            add(step, {"stream": "stdout", "text": draw(st.text(max_size=20))})
        elif step == "artifact":
            name = draw(st.sampled_from("abc"))
            add(step, {"name": name, "size_bytes": len(events), "sha256": "0", "media_type": "m", "attempt": 1})
        elif step == "rows.loaded":
            add(step, {"n": 1})
        else:
            payload = payload_of(step, run)
            run = advance(run, step, payload, len(events))
            add(step, payload)
    return events


@given(logs(), st.integers(0, 30))
def test_fold_is_the_record(events: list[Event], limit: int) -> None:
    record = fold_all(events, limit)
    assert record is not None
    texts = "".join(decode(e.payload_json)["text"] for e in events if e.event_type == "log")
    assert record.logs.text == (texts[-limit:] if limit else "")
    assert record.logs.truncated == (len(texts) > limit)
    artifacts = {decode(e.payload_json)["name"]: e for e in events if e.event_type == "artifact"}
    assert {name: a.size_bytes for name, a in record.artifacts.items()} == {
        name: event.event_id - 1 for name, event in artifacts.items()
    }
    lifecycle = [event for event in events if event.event_type in LIFECYCLE_TYPES]
    assert record.run.updated_at == lifecycle[-1].created_at


@given(logs(), st.data())
def test_fold_goes_on_from_any_prefix(events: list[Event], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(events)))
    record = fold_all(events[:cut], 100)
    for event in events[cut:]:
        record = fold(record, event, 100)
    assert record == fold_all(events, 100)


def test_documents_of_the_record() -> None:
    created = Event(1, "run.created", encode({**CREATED, "input": None, "metadata": {"a": 1}}), 1)
    record = fold_all([created], 0)
    assert isinstance(record, Record)
    assert (record.documents.input_json, record.documents.config_json) == ("null", "")
    assert record.run.metadata_json == '{"a":1}'


def test_first_event_is_the_creation() -> None:
    with pytest.raises(IllegalTransition):
        advance(None, EventType.STARTED, {}, 0)
