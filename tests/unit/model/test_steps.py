"""What a run's events make of its steps."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from runsd.model.events import Event, encode
from runsd.model.steps import Failure, History, StepKind, StepState, parent_step_id

AT = 1_000_000


class Log:
    """Events in order, numbered from 1."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._numbers = count(1)

    def add(self, event_type: str, **payload: Any) -> Log:
        number = next(self._numbers)
        self.events.append(Event(number, event_type, encode(payload), AT * number))
        return self

    def step(self, event: str, step_id: str, kind: str = "function", **payload: Any) -> Log:
        return self.add(f"step.{event}", step_id=step_id, name=step_id.rpartition("/")[2], kind=kind, **payload)

    @property
    def history(self) -> History:
        return History().add_all(self.events)


ERROR = {"message": "no good", "code": "exception"}


def states(history: History) -> dict[str, str]:
    return {step_id: step.state.value for step_id, step in history.steps.items()}


def test_step_comes_from_its_events() -> None:
    log = (
        Log()
        .step("started", "a", attempt=1)
        .step("failed", "a", attempt=1, error=ERROR, retry_at="1970-01-01T00:01:00Z")
    )
    (step,) = log.history.shown()
    assert (step.state, step.failures, step.until) == (StepState.PENDING, 1, 60_000_000)
    assert step.error is not None and step.completed_at is None
    log.step("started", "a", attempt=2).step("completed", "a", attempt=2, output=[1])
    (step,) = log.history.shown()
    assert (step.state, step.attempt, step.output_json, step.error) == (StepState.COMPLETED, 2, "[1]", None)
    assert (step.started_at, step.completed_at, step.until) == (AT, 4 * AT, None)


@pytest.mark.parametrize("kind", ["run", "sleep", "signal", "approval"])
def test_what_something_outside_ends_is_waiting(kind: str) -> None:
    log = Log().step("started", "a", kind, attempt=1, detail="d", until="1970-01-01T00:01:00Z", child_run_id="c")
    (step,) = log.history.shown()
    assert (step.state, step.detail, step.until, step.child_run_id) == (StepState.WAITING, "d", 60_000_000, "c")
    assert step.kind.waits
    interrupted = log.add("run.interrupted").history
    assert states(interrupted) == {"a": "waiting"}, "it goes on waiting"


def test_interrupted_step_is_to_be_executed_again() -> None:
    log = Log().step("started", "a", attempt=1).add("run.interrupted")
    assert states(log.history) == {"a": "pending"}
    assert log.history.steps["a"].failures == 0


def test_progress_is_a_step_completed_since_the_last_interruption() -> None:
    log = Log().step("started", "a").step("completed", "a")
    assert log.history.progressed
    assert not log.add("run.interrupted").history.progressed
    assert not log.step("started", "b").history.progressed


def test_values_are_not_shown_and_not_counted() -> None:
    log = Log().step("completed", "~now", "value", output="t").step("started", "a").step("started", "b")
    assert [step.step_id for step in log.history.shown()] == ["a", "b"]
    limited = History(limit=1).add_all(log.events)
    assert ([step.step_id for step in limited.shown()], limited.truncated) == (["a"], True)


def test_end_of_the_run_ends_its_steps() -> None:
    log = Log().step("started", "a").step("started", "b", "signal").step("started", "c").step("completed", "c")
    ended = log.add("run.failed", error=ERROR).history
    assert states(ended) == {"a": "cancelled", "b": "cancelled", "c": "completed"}
    assert ended.steps["a"].completed_at == 5 * AT


def test_version_is_that_of_the_first_start() -> None:
    log = Log()
    assert log.history.version is None
    assert log.add("run.started", attempt=1).history.version == ""
    log = Log().add("run.started", attempt=1, version="1").add("run.started", attempt=2, version="2")
    assert log.history.version == "1"


def test_signals_and_approvals() -> None:
    log = Log().add("signal", name="go", payload=[1], idempotency_key="k").add("signal", name="go")
    log.step("started", "review", "approval")
    log.add("approval.requested", step_id="review", name="review", approvers=["ann"], schema={"type": "object"})
    log.add("approval.decided", step_id="review", name="review", approved=True, by="ann")
    history = log.history
    assert [(s.event_id, s.payload_json, s.idempotency_key) for s in history.signals] == [(1, "[1]", "k"), (2, "", "")]
    asked = history.asked["review"]
    assert (asked.approvers, asked.schema_json, asked.expires_at) == (("ann",), '{"type":"object"}', None)
    assert history.decisions["review"]["by"] == "ann"


def test_failed_step_is_tried_again_with_its_attempt_of_the_run() -> None:
    log = Log().step("started", "kept").step("completed", "kept").step("started", "caught")
    log.step("failed", "caught", error=ERROR).step("started", "a").step("failed", "a", error=ERROR)
    history = log.add("run.retrying", step_id="a", error=ERROR).history
    assert states(history) == {"kept": "completed", "caught": "failed", "a": "pending"}
    assert (history.steps["a"].failures, history.steps["a"].completed_at) == (0, None)


def test_what_came_of_the_failure_is_not_asked_for_again() -> None:
    log = Log().step("started", "before").step("completed", "before").step("started", "beside").step("started", "a")
    log.step("failed", "a", error=ERROR).step("completed", "beside").step("started", "clean-up")
    log.step("completed", "clean-up").step("started", "other").step("failed", "other", error=ERROR)
    history = log.add("run.retrying", step_id="a", error=ERROR).history
    assert states(history) == {
        "before": "completed", "beside": "completed", "a": "pending", "clean-up": "completed", "other": "pending",
    }  # fmt: skip
    assert {s.step_id for s in history.steps.values() if not s.is_expected} == {"clean-up", "other"}


def test_group_fails_with_the_step_inside_it() -> None:
    log = Log().step("started", "p", "parallel").step("started", "p[0]/a").step("started", "p[1]/b")
    log.step("started", "p[1]/caught").step("failed", "p[1]/caught", error=ERROR)
    log.step("failed", "p[0]/a", error=ERROR).step("failed", "p", "parallel", error=ERROR, cause="p[0]/a")
    log.step("skipped", "p[1]/b", reason="something else ended first")
    history = log.add("run.retrying", step_id="p", error=ERROR).history
    assert states(history) == {
        "p": "pending", "p[0]/a": "pending", "p[1]/b": "pending", "p[1]/caught": "failed",
    }  # fmt: skip


def test_failure_that_shows_nowhere_leaves_what_was_cancelled_before() -> None:
    log = Log().step("started", "lost").step("started", "won").step("skipped", "lost").step("completed", "won")
    log.step("started", "beside").step("skipped", "beside")
    failure = Failure.of(log.history, "")
    again = {step.step_id for step in log.history.steps.values() if failure.is_tried_again(step)}
    assert again == {"beside"}
    assert not any(failure.led_to(step_id) for step_id in log.history.steps)
    assert Failure.of(History(), "no-such-step").event_id == 0


def test_approval_is_asked_for_anew_when_its_step_is_tried_again() -> None:
    log = Log().step("started", "review", "approval").add("approval.requested", step_id="review", name="review")
    history = log.add("run.retrying", step_id="other", error=ERROR).history
    assert (history.asked, states(history)) == ({}, {"review": "pending"})


@pytest.mark.parametrize(
    ("step_id", "parent"),
    [
        ("a", ""), ("m[3]", "m"), ("p[0]/a", "p"), ("p[0]/q[1]/b", "p[0]/q"), ("~1/a", ""), ("x[0]/y", ""),
        ("p[0]/~1/a", "p"), ("~on_failure/undo", ""),
    ],
)  # fmt: skip
def test_step_is_below_the_nearest_that_is_known(step_id: str, parent: str) -> None:
    assert parent_step_id(step_id, {"a", "m", "p", "p[0]/q", "undo"}) == parent


def test_kinds_are_told_apart() -> None:
    assert {kind for kind in StepKind if kind.waits} == {
        StepKind.RUN, StepKind.SLEEP, StepKind.SIGNAL, StepKind.APPROVAL,
    }  # fmt: skip
