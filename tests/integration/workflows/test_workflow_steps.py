"""Steps, one after the other and side by side, as a client sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runsd_client import AsyncRunsClient, RunStatus

from tests.integration.workflows.harness import (
    completed,
    events_of,
    execute,
    failed,
    marks,
    start,
    states,
    steps,
    types,
    until,
    until_waiting,
)


async def test_steps_give_their_results_as_json(client: AsyncRunsClient) -> None:
    run = await execute(client, "steps")
    assert (run.status, run.kind.value, run.exit_code) == (RunStatus.COMPLETED, "workflow", None)
    assert run.output == [8, {"1": [1, 2]}, None, [1, 1], {"5": [5, 6]}]
    tree = steps(run)
    assert list(tree) == ["plain", "later", "nothing", "plain#2", "wrapped"]
    assert [step.output for step in run.steps] == run.output
    assert {(step.kind.value, step.state.value, step.attempt) for step in run.steps} == {("function", "completed", 1)}
    assert all(s.started_at and s.completed_at and s.started_at <= s.completed_at for s in run.steps)
    events = await events_of(client, run.run_id)
    assert [e.event_id for e in events] == list(range(1, len(events) + 1))
    assert types(events) == [
        "run.created", "run.started", *["step.started", "step.completed"] * 5, "run.completed",
    ]  # fmt: skip
    ends = [e.payload for e in events if e.event_type == "step.completed"]
    assert all(end["duration_ms"] >= 0 and end["attempt"] == 1 for end in ends)


async def test_end_of_a_step_tells_how_long_it_took(client: AsyncRunsClient) -> None:
    run = await execute(client, "lasting")
    assert run.status is RunStatus.COMPLETED and run.created_at and run.completed_at, run.error
    whole = (run.completed_at - run.created_at).total_seconds() * 1000
    ends = [e.payload for e in await events_of(client, run.run_id) if e.event_type == "step.completed"]
    durations = {end["step_id"]: end["duration_ms"] for end in ends if end["kind"] == "function"}
    assert list(durations) == ["on-the-loop", "in-a-thread", "item[0]"]
    # One after the other; each is rounded.
    assert min(durations.values()) >= 50 and sum(durations.values()) <= whole + 2, (durations, whole)


async def test_workflow_has_its_documents(client: AsyncRunsClient) -> None:
    run = await execute(client, "same-id/declared-by-name", {"a": 2**60}, config=[1])
    assert run.output == {"input": {"a": 2**60}, "config": [1], "same": True, "attempt": 1}


async def test_map_keeps_to_its_concurrency(client: AsyncRunsClient) -> None:
    run = await execute(client, "map", {"items": 9, "concurrency": 3})
    assert run.output == {"squares": [n * n for n in range(9)], "most": 3}
    tree = steps(run)
    assert tree["square"].kind.value == "map"
    assert {tree[f"square[{n}]"].parent_step_id for n in range(9)} == {"square"}


async def test_map_ends_with_its_first_failure(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "map/failing", {"strategy": "all"}), "exception")
    assert run.error is not None and "'item[1]'" in run.error.message and "two is refused" in run.error.message
    assert states(run) == {"item": "failed", "item[0]": "completed", "item[1]": "failed"}


async def test_map_races(client: AsyncRunsClient) -> None:
    run = await execute(client, "map/failing", {"strategy": "race"})
    assert run.output == 1
    assert states(run) == {"item": "completed", "item[0]": "completed"}


async def test_map_settles(client: AsyncRunsClient) -> None:
    run = await execute(client, "map/settled")
    assert run.output == [1, ["item[1]", "exception", "ValueError: two is refused"], 3]
    assert states(run) == {"item": "completed", "item[0]": "completed", "item[1]": "failed", "item[2]": "completed"}


async def test_map_executes_targets(client: AsyncRunsClient) -> None:
    run = await execute(client, "map/targets")
    assert run.output == {
        "doubled": [2, 4, 6],
        "configured": [{"input": "a", "config": 1}, {"input": "b", "config": None}],
        "none": [],
    }
    child = await client.get(steps(run)["double[1]"].child_run_id)
    assert (child.parent_run_id, child.input, child.output) == (run.run_id, 2, 4)


async def test_parallel_nests(client: AsyncRunsClient) -> None:
    run = await execute(client, "parallel")
    assert run.output == [4, 20, [8, 12], [14, 16], 42, None, 16]
    tree = steps(run)
    assert tree["outer[0]/second"].parent_step_id == "outer"
    assert tree["inner[1]/first"].parent_step_id == "inner"
    assert set(states(run).values()) == {"completed"}


async def test_first_failure_of_parallel_cancels_the_others(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run = await execute(client, "parallel/failing", {"file": str(file)})
    assert run.status is RunStatus.COMPLETED, run.error
    assert run.output["step_id"] == "parallel" and "no good" in run.output["message"]
    assert marks(file) == ["stuck began", "stuck was cancelled"]
    assert states(run) == {
        "parallel": "failed", "parallel[0]/stuck": "skipped", "parallel[1]/after": "completed",
        "parallel[1]/fails": "failed",
    }  # fmt: skip


async def test_winner_of_a_race_is_kept(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run_id = await start(client, "race", {"file": str(file)})
    await until_waiting(client, run_id)
    await client.signal(run_id, "on", "go")
    assert await completed(client, run_id) == ["quick", "go"]
    assert marks(file) == ["slow began"], "the loser is executed no second time"
    run = await client.get(run_id)
    assert states(run) == {
        "parallel": "completed", "parallel[0]/slow": "skipped", "parallel[1]/quick": "completed", "on": "completed",
    }  # fmt: skip


async def test_race_may_be_lost_by_the_first(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "race/failing"), "exception")
    assert run.error is not None and "first" in run.error.message
    assert states(run) == {"parallel": "failed", "never": "skipped", "fails": "failed"}


async def test_settled_branches_are_told_the_same_from_the_record(client: AsyncRunsClient) -> None:
    run_id = await start(client, "settled")
    await until_waiting(client, run_id)
    await client.signal(run_id, "on")
    assert await completed(client, run_id) == [
        [True, 2, None],
        [False, None, ["bad", "ValueError: bad"]],
        [False, None, ["parallel", "KeyError: 'not of a step'"]],
    ]


async def test_step_is_tried_again(client: AsyncRunsClient, tmp_path: Path) -> None:
    run = await execute(client, "retries", {"file": str(tmp_path / "marks"), "good_at": 3})
    assert run.output == 3
    events = [e for e in await events_of(client, run.run_id) if e.event_type.startswith("step.")]
    assert types(events) == ["step.started", "step.failed"] * 2 + ["step.started", "step.completed"]
    assert [e.payload["attempt"] for e in events] == [1, 1, 2, 2, 3, 3]
    assert all("retry_at" in e.payload for e in events if e.event_type == "step.failed")
    (step,) = run.steps
    assert (step.state.value, step.attempt, step.error, step.until) == ("completed", 3, None, None)


async def test_step_fails_with_its_last_attempt(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run = await failed(client, await start(client, "retries", {"file": str(file), "good_at": 9}), "exception")
    assert run.error is not None and run.error.message == "step 'work': ValueError: try 3 is no good"
    assert len(marks(file)) == 3
    (step,) = run.steps
    assert step.error is not None and step.error.message == "ValueError: try 3 is no good"
    assert (await events_of(client, run.run_id))[-1].payload["step_id"] == "work"


async def test_step_has_its_time(client: AsyncRunsClient, tmp_path: Path) -> None:
    run = await execute(client, "timeouts", {"file": str(tmp_path / "marks")})
    assert run.output == ["late", "timeout", "did not end within 0.02 s"]
    assert len(marks(tmp_path / "marks")) == 2


async def test_result_that_is_no_json_names_the_step(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "not-json", backoff_limit=3), "output_invalid")
    assert run.error is not None and run.attempt == 1
    assert run.error.message == (
        "step 'odd-one': the result is not JSON: $.deep[0] is of type object, which is not JSON"
    )
    run = await failed(client, await start(client, "not-json/result"), "output_invalid")
    assert run.error is not None and "$.deep[0]" in run.error.message


async def test_result_has_a_limit(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "big-result", 1_100_000), "output_invalid")
    assert run.error is not None and "'big'" in run.error.message and "1,048,576" in run.error.message


@pytest.mark.parametrize("what", ["thread", "step", "sleep", "map", "run", "parallel", "signal", "approval", "skip"])
async def test_step_cannot_begin_steps(client: AsyncRunsClient, what: str) -> None:
    run = await failed(client, await start(client, "calls-inside-a-step", what), "exception")
    assert run.error is not None and "a step's function cannot begin steps or waits" in run.error.message
    assert list(steps(run)) == ["outer"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("name", "'a/b' is no name for a step"),
        ("timeout", "'soon' is no duration"),
        ("retry", "retry must be 0 to 1,000"),
        ("strategy", "strategy must be one of all, race, all_settled"),
        ("concurrency", "concurrency must be a whole number, 1 or more"),
        ("sleep", "'1 fortnight' is no duration"),
        ("event", "'run.mine' is reserved"),
    ],
)
async def test_wrong_arguments_are_told(client: AsyncRunsClient, what: str, said: str) -> None:
    run = await failed(client, await start(client, "bad-arguments", what), "exception")
    assert run.error is not None and said in run.error.message
    assert run.steps == ()


async def test_what_is_told_is_told_once(client: AsyncRunsClient) -> None:
    run_id = await start(client, "events")
    await until_waiting(client, run_id)
    await client.signal(run_id, "on")
    await until_waiting(client, run_id, 2)
    await client.signal(run_id, "else")
    await until_waiting(client, run_id, 3)
    await client.signal(run_id, "on")
    await completed(client, run_id)
    told = [e for e in await events_of(client, run_id) if not e.event_type.startswith(("run.", "step.", "signal"))]
    assert [e.payload["text"] for e in told if e.event_type == "log"] == [
        "at the start\n", "in a thread\n", "on the loop\n",
    ]  # fmt: skip
    assert [e.payload for e in told if e.event_type == "progress"] == [{"fraction": 0.25, "message": "a quarter"}]
    branches = [e.payload["branch"] for e in told if e.event_type == "branch.ended"]
    assert sorted(branches) == ["one", "three", "two"]
    assert [t for t in types(told) if t in ("of.a.step", "in.between", "after.all")] == [
        "of.a.step", "in.between", "after.all",
    ]  # fmt: skip


async def test_values_are_the_same_whenever_they_are_passed(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run_id = await start(client, "values", {"file": str(file)})
    await until_waiting(client, run_id)
    await client.signal(run_id, "on")
    before, branches = await completed(client, run_id)
    assert marks(file) == [f"{before} {branches}"] * 2
    assert before[1] != before[3] and branches[0] != branches[1]
    assert list(steps(await client.get(run_id))) == ["on"], "values are no steps"


async def test_asyncio_is_at_hand(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run_id = await start(client, "asyncio", {"file": str(file)})
    await until_waiting(client, run_id)
    await client.signal(run_id, "on", "first")
    await until_waiting(client, run_id, 2)
    await client.signal(run_id, "on", "second")
    assert await completed(client, run_id) == [8, 2, 4, 6, 8, 10, 12, "first", 14, 16, "late", "second", 18]
    assert marks(file) == ["late began"]


async def test_steps_of_tasks_may_overlap_those_of_the_body(client: AsyncRunsClient) -> None:
    run_id = await start(client, "tasks-overlap")
    await until_waiting(client, run_id)
    await client.signal(run_id, "on", 0)
    await until(client, run_id, "step.completed", name="last")
    await client.signal(run_id, "now")
    assert await completed(client, run_id) == [4, 6, [0, 2], [2, 4, 6]]


@pytest.mark.parametrize("where", ["body", "task", "thread", "step"])
async def test_exit_is_an_error_of_the_run(client: AsyncRunsClient, where: str) -> None:
    run = await failed(client, await start(client, "exits", where), "exception")
    assert run.error is not None and "SystemExit: 3" in run.error.message


@pytest.mark.parametrize("how", ["task", "thread"])
async def test_cancelled_error_of_a_step_s_own_is_its_failure(client: AsyncRunsClient, how: str) -> None:
    """It is tried again, and fails the same when it answers from the record."""
    run_id = await start(client, "cancels-itself", how)
    await until_waiting(client, run_id)
    await client.signal(run_id, "go")
    assert await completed(client, run_id) == ["StepFailed", "CancelledError"]
    work = steps(await client.get(run_id))["work"]
    assert (work.state.value, work.attempt) == ("failed", 2)


@pytest.mark.parametrize("where", ["body", "step"])
@pytest.mark.parametrize("number", [0, 1, 2])
async def test_odd_step_failed_leaves_a_readable_record(client: AsyncRunsClient, where: str, number: int) -> None:
    run = await execute(client, "own-step-failed", {"where": where, "number": number})
    assert run.status is RunStatus.FAILED and run.error is not None
    assert run.error.code == ["5", "c", "exception"][number]


async def test_steps_have_the_context_of_their_workflow(client: AsyncRunsClient) -> None:
    assert await completed(client, await start(client, "in-context", "mine")) == ["mine", "mine"]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("step", "step 'refuse': ValueError: as asked"),
        ("own", "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception): ValueError: as asked"),
    ],
)
async def test_failure_in_a_group_is_told(client: AsyncRunsClient, what: str, message: str) -> None:
    run = await failed(client, await start(client, "fails-in-a-group", what), "exception")
    assert run.error is not None and run.error.message == message


async def test_what_is_left_running_ends_with_the_run(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    assert await completed(client, await start(client, "left-running", {"file": str(file)})) == "done"
    # Something later of the same daemon: the task's end was asked for before.
    await execute(client, "steps")
    assert marks(file) == ["background was ended"]


async def test_steps_that_nobody_awaits_end_with_the_run(client: AsyncRunsClient, tmp_path: Path) -> None:
    run_id = await start(client, "left-running/step", {"file": str(tmp_path / "marks")})
    assert await completed(client, run_id) == "done"
    run = await client.get(run_id)
    assert {state for step, state in states(run).items() if step != "both"} <= {"skipped", "cancelled"}
    child = await client.get(steps(run)["hang"].child_run_id)
    assert child.status is RunStatus.CANCELLED


async def test_skipped_step_is_shown(client: AsyncRunsClient) -> None:
    run_id = await start(client, "skips")
    await until_waiting(client, run_id)
    await client.signal(run_id, "on")
    assert await completed(client, run_id) == 2
    run = await client.get(run_id)
    assert states(run) == {"left-out": "skipped", "on": "completed", "after": "completed"}
    assert steps(run)["left-out"].detail == "nobody wants it"
    skips = [e for e in await events_of(client, run_id) if e.event_type == "step.skipped"]
    assert len(skips) == 1


async def test_step_tree_leaves_out_long_outputs(client: AsyncRunsClient) -> None:
    run = await execute(client, "big-result", 5000)
    (step,) = run.steps
    assert step.output is None
    done = await until(client, run.run_id, "step.completed")
    payload: dict[str, Any] = done.payload
    assert payload["output"] == "x" * 5000 == run.output
    assert json.dumps(run.to_dict())
