"""Where operations stand in a record, and when the code no longer goes by it."""

from __future__ import annotations

import pytest

from runsd.model.replay import Nondeterministic, Replay, Scope, check_version, scope_of
from runsd.model.steps import History, Step, StepKind, StepState


def replay(*step_ids: str, kind: StepKind = StepKind.FUNCTION, is_expected: bool = True) -> Replay:
    history = History()
    for step_id in step_ids:
        history.steps[step_id] = Step(step_id, step_id, kind, StepState.COMPLETED, is_expected=is_expected)
    return Replay(history)


def test_names_that_come_again_are_numbered_by_scope() -> None:
    scope = Scope()
    assert [scope.next_id("a"), scope.next_id("b"), scope.next_id("a")] == ["a", "b", "a#2"]
    inside = scope.inside("p[0]", is_past=False)
    assert [inside.next_id("a"), inside.next_id("a")] == ["p[0]/a", "p[0]/a#2"]
    first, second = scope.next_branch(), scope.next_branch()
    assert (first.next_id("a"), second.next_id("a"), inside.next_branch().prefix) == ("~1/a", "~2/a", "p[0]/~1/")
    assert scope_of("p[0]/~1/a") == "p[0]/~1/" and scope_of("a") == ""


def test_past_is_handed_down() -> None:
    past = Scope().inside("p[0]", is_past=True)
    assert past.next_branch().is_past and past.inside("q[0]", is_past=False).is_past and past.beside(False).is_past


def test_recorded_step_answers_where_it_was_called() -> None:
    recorded = replay("a", "b").call("b", StepKind.FUNCTION)
    assert recorded is not None and recorded.step_id == "b"
    assert replay("a").call("c", StepKind.FUNCTION) is None


def test_another_kind_is_named() -> None:
    with pytest.raises(Nondeterministic, match="at step 'a' a function step is recorded, and a sleep step was found"):
        replay("a").call("a", StepKind.SLEEP)


def test_another_step_is_named() -> None:
    scope, record = Scope(), replay("a", "b")
    record.call("a", StepKind.FUNCTION)
    with pytest.raises(Nondeterministic, match="step 'b' is recorded next, and step 'c' was found"):
        record.check_new("c", scope, scope)
    record.call("b", StepKind.FUNCTION)
    record.check_new("c", scope, scope)


def test_missing_step_is_named() -> None:
    record = replay("a", "p[0]/x")
    with pytest.raises(Nondeterministic, match="step 'a' is recorded next, and the workflow ended without it"):
        record.check_end()
    record.call("a", StepKind.FUNCTION)
    record.check_end()


def test_step_of_another_task_may_begin_late() -> None:
    body, task = Scope(), Scope("~1/")
    replay("later").check_new("called-early", body, task)
    replay("later").check_new("m[1]", body, body)


def test_nothing_new_begins_where_all_has_ended() -> None:
    past = Scope("p[1]/", is_past=True)
    with pytest.raises(Nondeterministic, match="'p' is recorded as ended without it, and step 'b' was found"):
        replay().check_new("b", Scope(), past)
    with pytest.raises(Nondeterministic, match=r"'m' is recorded as ended without it, and step 'm\[1\]' was found"):
        replay().check_new("m[1]", Scope(is_past=True), Scope(is_past=True))


def test_what_came_of_a_failure_is_not_demanded() -> None:
    scope, record = Scope(), replay("clean-up", is_expected=False)
    record.check_new("b", scope, scope)
    record.check_end()


def test_what_is_done_before_a_recorded_step_was_done_before() -> None:
    scope, record = Scope(), replay("a", "~1/b")
    assert record.is_replaying(scope)
    record.call("a", StepKind.FUNCTION)
    assert not record.is_replaying(scope)
    assert record.is_replaying(Scope("~1/")) and not record.is_replaying(Scope("~2/"))
    assert record.is_replaying(Scope("p[0]/", is_past=True))


def test_values_and_items_are_not_demanded() -> None:
    scope = Scope()
    replay("~now", kind=StepKind.VALUE).check_new("a", scope, scope)
    replay("m[0]").check_new("a", scope, scope)


def test_version_is_held_against_that_of_the_beginning() -> None:
    check_version(None, "2")
    check_version("2", "2")
    with pytest.raises(Nondeterministic, match="began with version '1', and its definition has version '2' now"):
        check_version("1", "2")
