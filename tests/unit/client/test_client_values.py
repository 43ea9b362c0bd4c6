"""Values: what comes over the wire is what the caller sees, and what JSON shows."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runsd_client import Event, Page, PageInfo, Run, RunKind, RunStatus, Step, StepKind, StepState, TriggerKind
from runsd_client.conversion import (
    KIND_NUMBERS,
    STATUS_NUMBERS,
    STEP_KIND_NUMBERS,
    STEP_STATE_NUMBERS,
    TRIGGER_KIND_NUMBERS,
    read_event,
    read_run,
    read_step,
    read_target,
)
from runsd_client.documents import display_json, read_document, write_document
from runsd_client.proto import definitions_pb2, run_pb2
from runsd_client.values import rfc3339

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_times_are_those_of_the_wire(moment: datetime) -> None:
    message = run_pb2.Event()
    message.created_at.FromDatetime(moment)
    assert read_event(message).created_at == moment


def test_a_run_has_every_field_of_the_record() -> None:
    wire = {field.name.removesuffix("_json") for field in run_pb2.Run.DESCRIPTOR.fields}
    assert {field.name for field in fields(Run)} == wire


def test_a_step_has_every_field_of_the_record() -> None:
    wire = {field.name.removesuffix("_json") for field in run_pb2.Step.DESCRIPTOR.fields}
    assert {field.name for field in fields(Step)} == wire


def test_the_steps_of_a_run() -> None:
    message = run_pb2.Step(
        step_id="review/draft[2]",
        parent_step_id="review/draft",
        name="draft",
        kind=run_pb2.STEP_KIND_RUN,
        state=run_pb2.STEP_STATE_PENDING,
        attempt=2,
        output_json='{"n": 18446744073709551617}',
        error=run_pb2.RunError(message="no", code="exit_code"),
        child_run_id="r2",
        detail="task:draft",
    )
    message.until.FromJsonString("2026-03-04T05:06:07.089Z")
    run = read_run(run_pb2.Run(run_id="r", steps=[message, run_pb2.Step(step_id="empty")], steps_truncated=True))
    full, empty = run.steps
    assert run.steps_truncated
    assert (full.kind, full.state, full.state.is_final) == (StepKind.RUN, StepState.PENDING, False)
    assert full.output == {"n": 18446744073709551617}
    assert full.until == datetime(2026, 3, 4, 5, 6, 7, 89_000, UTC)
    shown = json.loads(json.dumps(run.to_dict()))["steps"][0]
    assert (shown["parent_step_id"], shown["state"]) == ("review/draft", "pending")
    assert shown["error"] == {"message": "no", "code": "exit_code", "detail": None}
    assert (shown["until"], shown["started_at"]) == ("2026-03-04T05:06:07.089Z", None)
    assert (empty.kind, empty.state, empty.output, empty.error) == ("unspecified", "unspecified", None, None)


def test_an_empty_run_is_all_unset() -> None:
    shown = read_run(run_pb2.Run(run_id="r")).to_dict()
    for name in ("input", "output", "error", "duration_ms", "exit_code", "started_at", "start_after"):
        assert shown[name] is None
    assert (shown["metadata"], shown["artifacts"], shown["status"]) == ({}, [], "unspecified")


def test_a_full_run() -> None:
    message = run_pb2.Run(
        run_id="r1",
        kind=run_pb2.RUN_KIND_WORKFLOW,
        status=run_pb2.RUN_STATUS_FAILED,
        input_json='{"big": 123456789012345678901234567890}',
        error=run_pb2.RunError(message="no", code="exit_code", detail_json='["x"]'),
        artifacts=[run_pb2.Artifact(name="a/b.txt", size_bytes=2**40)],
        duration_ms=0,
        exit_code=0,
        trigger_kind=run_pb2.TRIGGER_KIND_SCHEDULE,
        timeout_seconds=1.5,
    )
    message.created_at.FromJsonString("2026-03-04T05:06:07.089Z")
    run = read_run(message)
    assert (run.kind, run.status, run.trigger_kind) == (RunKind.WORKFLOW, "failed", TriggerKind.SCHEDULE)
    assert run.input == {"big": 123456789012345678901234567890}
    assert run.error is not None
    assert run.error.detail == ["x"]
    assert (run.duration_ms, run.exit_code) == (0, 0)
    assert run.created_at == datetime(2026, 3, 4, 5, 6, 7, 89_000, UTC)
    shown = json.loads(json.dumps(run.to_dict()))
    assert shown["created_at"] == "2026-03-04T05:06:07.089Z"
    assert shown["error"] == {"message": "no", "code": "exit_code", "detail": ["x"]}
    assert shown["artifacts"][0]["size_bytes"] == 2**40
    assert shown["kind"] == "workflow"


def a_run() -> run_pb2.Run:
    return run_pb2.Run(run_id="r1", name="n", input_json='{"a": 1}', steps=[run_pb2.Step(step_id="s")])


def test_a_run_that_nobody_has_looked_at_is_a_value_like_others() -> None:
    """Its members are read when they are asked for; that shows nowhere."""
    for copied in (copy.copy, copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run)), replace):
        assert copied(read_run(a_run())) == read_run(a_run())
    assert replace(read_run(a_run()), name="m").input == {"a": 1}
    assert "steps=(Step(step_id='s'" in repr(read_run(a_run()))
    assert asdict(read_run(a_run()))["input"] == {"a": 1}
    with pytest.raises(AttributeError, match="'Run' object has no attribute 'staus'"):
        read_run(a_run()).staus  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(read_run(a_run()), "staus")


def test_a_run_is_as_it_came_whatever_becomes_of_its_message() -> None:
    message = a_run()
    run = read_run(message)
    message.name = "changed"
    message.steps.add(step_id="another")
    assert (run.name, len(run.steps)) == ("n", 1)
    assert run.metadata is run.metadata


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        read_run(a_run()).name = "m"  # type: ignore[misc]
    event = read_event(run_pb2.Event(event_id=1, event_type="log", payload_json="{}"))
    with pytest.raises(FrozenInstanceError):
        event.event_id = 2  # type: ignore[misc]


def test_enums_agree_with_the_wire() -> None:
    assert set(KIND_NUMBERS.values()) == set(run_pb2.RunKind.values())
    assert set(STATUS_NUMBERS.values()) == set(run_pb2.RunStatus.values())
    assert set(TRIGGER_KIND_NUMBERS.values()) == set(run_pb2.TriggerKind.values())
    assert set(STEP_KIND_NUMBERS.values()) == set(run_pb2.StepKind.values())
    assert set(STEP_STATE_NUMBERS.values()) == set(run_pb2.StepState.values())
    assert {s for s in StepState if s.is_final} == {"completed", "failed", "skipped", "cancelled"}
    assert {s for s in RunStatus if s.is_terminal} == {"completed", "failed", "cancelled"}


def test_an_enum_value_of_a_newer_daemon_is_unspecified() -> None:
    message = run_pb2.Run.FromString(bytes([3 << 3, 99]))
    assert read_run(message).status is RunStatus.UNSPECIFIED
    step = read_step(run_pb2.Step.FromString(bytes([4 << 3, 99, 5 << 3, 99])))
    assert (step.kind, step.state) == (StepKind.UNSPECIFIED, StepState.UNSPECIFIED)


def test_a_page_is_shown_with_the_names_of_the_contract() -> None:
    page = Page((Event(1, "log", {"text": "x"}, None),), PageInfo(next="2"))
    assert page.to_dict() == {
        "data": [{"event_id": 1, "event_type": "log", "payload": {"text": "x"}, "created_at": None}],
        "page_info": {"self": "", "first": "", "next": "2", "prev": ""},
    }


def test_a_target_with_its_problems() -> None:
    problem = definitions_pb2.DefinitionProblem(file="runs.toml", key="tasks.a", message="no command")
    target = read_target(
        definitions_pb2.Target(target="task:a", input_schema_json='{"type": "object"}', problems=[problem])
    )
    assert target.input_schema == {"type": "object"}
    assert [str(p) for p in target.problems] == ["runs.toml: tasks.a: no command"]


def test_times_are_shown_in_utc_with_the_digits_they_have() -> None:
    assert rfc3339(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000Z"
    assert rfc3339(datetime(2026, 1, 2, 3, 4, 5, 67, tzinfo=UTC)) == "2026-01-02T03:04:05.000067Z"
    east = timezone(timedelta(hours=2))
    assert rfc3339(datetime(2026, 1, 2, 3, 4, 5, tzinfo=east)) == "2026-01-02T01:04:05.000Z"


@given(JSON_VALUES)
def test_documents_come_back_as_they_went(value: object) -> None:
    assert read_document(write_document(value)) == value


def test_integers_beyond_the_limit_of_python_are_read() -> None:
    nines, zeros = "9" * 20_000, "0" * 9_000
    read = read_document(f'{{"n": [{nines}, -1{zeros}]}}')
    assert read["n"] == [10**20_000 - 1, -(10**9_000)]


def test_no_document_is_the_empty_text() -> None:
    assert write_document(None) == ""
    assert read_document("") is None
    assert read_document("null") is None


@pytest.mark.parametrize("value", [float("nan"), {"a": object()}, "\ud800", {1, 2}])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        write_document(value)


@given(JSON_VALUES)
def test_displayed_json_is_the_same_value_without_controls(value: object) -> None:
    shown = display_json(value)
    assert json.loads(shown) == value
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in shown)
