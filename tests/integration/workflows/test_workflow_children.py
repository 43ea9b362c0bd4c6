"""Runs below a workflow, and the run that follows one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from runsd_client import AsyncRunsClient, RunStatus

from tests.integration.daemon import SETTINGS, Daemon
from tests.integration.workflows.harness import (
    completed,
    events_of,
    execute,
    failed,
    killed_and_started,
    start,
    states,
    steps,
    types,
    until,
    until_waiting,
)


async def test_family_has_one_root(client: AsyncRunsClient) -> None:
    run = await execute(client, "family", {"depth": 2, "value": 5})
    assert run.output == [2, [1, 10]]
    assert (run.root_run_id, run.parent_run_id) == (run.run_id, "")
    below = await client.get(steps(run)["family"].child_run_id)
    assert (below.parent_run_id, below.root_run_id) == (run.run_id, run.run_id)
    assert (below.config, below.created_by, below.output) == ({"of": 2}, "step family", [1, 10])
    lowest = await client.get(steps(below)["family"].child_run_id)
    assert (lowest.parent_run_id, lowest.root_run_id) == (below.run_id, run.run_id)
    leaf = await client.get(steps(lowest)["double"].child_run_id)
    assert (leaf.parent_run_id, leaf.root_run_id, leaf.output) == (lowest.run_id, run.run_id, 10)
    listed = await client.list(parent_run_id=run.run_id)
    assert [child.run_id for child in listed.data] == [below.run_id]
    (step,) = run.steps
    assert (step.kind.value, step.detail) == ("run", "workflow:family")


async def test_parents_hold_no_place_while_they_wait(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(settings=f"{SETTINGS}\n[limits]\nmax_running = 1\n")
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        assert (await execute(client, "family", {"depth": 2, "value": 5})).output == [2, [1, 10]]
    assert daemon.stop() == 0


async def test_failure_of_a_child_is_the_steps(client: AsyncRunsClient) -> None:
    run = await execute(client, "child", {"target": "task:refuse", "input": "it"})
    assert run.output == ["refuse", "exception", "ValueError: refused it"]
    assert states(run) == {"refuse": "failed"}


async def test_child_may_be_cancelled_by_itself(client: AsyncRunsClient) -> None:
    run_id = await start(client, "child", {"target": "task:hang", "name": "stuck"})
    child_id = (await until(client, run_id, "step.started")).payload["child_run_id"]
    await until(client, child_id, "hanging")
    await client.cancel(child_id)
    assert await completed(client, run_id) == ["stuck", "cancelled", f"run {child_id} was cancelled"]


async def test_child_is_tried_again(client: AsyncRunsClient) -> None:
    run = await execute(client, "child", {"target": "task:second-time", "retry": 1})
    assert run.output == 2
    child = await client.get(run.steps[0].child_run_id)
    assert (child.attempt, child.backoff_limit) == (2, 1)


@pytest.mark.parametrize(("retry", "attempts"), [(None, 3), (0, 1), (1, 2)])
async def test_retries_of_a_step_replace_those_of_its_target(
    client: AsyncRunsClient, retry: int | None, attempts: int
) -> None:
    run = await execute(client, "child", {"target": "task:refuse/again", "retry": retry})
    assert (await client.get(run.steps[0].child_run_id)).attempt == attempts


async def test_child_is_tried_again_after_the_delay_of_its_step(client: AsyncRunsClient) -> None:
    run = await execute(client, "toml/retries-delayed")
    assert run.output == 2
    (retrying,) = [e for e in await events_of(client, run.steps[0].child_run_id) if e.event_type == "run.retrying"]
    # Give or take a fifth; by the daemon's settings it would be 0.01.
    assert 0.08 <= retrying.payload["delay_seconds"] <= 0.12


async def test_child_has_its_time(client: AsyncRunsClient) -> None:
    run = await execute(client, "child", {"target": "task:hang", "timeout": "30ms"})
    assert run.output == ["hang", "timeout", "the attempt did not end within 0.03 s"]


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"target": "task:none"}, "target_not_found", "task:none"),
        ({"target": "nonsense"}, "invalid_request", "nonsense"),
    ],
)
async def test_child_that_cannot_be_run_fails_its_step(
    client: AsyncRunsClient, given: dict[str, str], code: str, said: str
) -> None:
    run = await execute(client, "child", given)
    _, its_code, message = run.output
    assert its_code == code and said in message
    assert (await client.list(parent_run_id=run.run_id)).data == ()


async def test_input_that_is_no_json_fails_its_step(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "input-not-json"), "invalid_request")
    assert run.error is not None and "step 'double'" in run.error.message and "not JSON" in run.error.message


async def test_children_are_cancelled_with_their_parent(client: AsyncRunsClient) -> None:
    run_id = await start(client, "children")
    for name in ("hang", "signal", "hang#2"):
        child_id = (await until(client, run_id, "step.started", step_id=name)).payload["child_run_id"]
        await until(client, child_id, "hanging" if "hang" in name else "run.waiting")
    await client.cancel(run_id, reason="enough")
    run = await client.wait(run_id, timeout=30)
    assert run.status is RunStatus.CANCELLED
    children = (await client.list(parent_run_id=run_id)).data
    assert [child.status for child in children] == [RunStatus.CANCELLED] * 3
    assert all(child.completed_at and run.completed_at and child.completed_at <= run.completed_at for child in children)
    assert set(states(run).values()) == {"cancelled"}


async def test_children_are_cancelled_when_a_branch_fails(client: AsyncRunsClient) -> None:
    run_id = await start(client, "children")
    await until(client, run_id, "step.started", name="fail")
    await client.signal(run_id, "fail")
    run = await failed(client, run_id, "exception")
    children = (await client.list(parent_run_id=run_id)).data
    assert [child.status for child in children] == [RunStatus.CANCELLED] * 3
    assert {state for step, state in states(run).items() if step in ("hang", "hang#2", "signal")} == {"skipped"}


async def test_child_is_executed_once_across_kills(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "child", {"target": "workflow:child", "input": {"target": "workflow:signal"}})
        child_id = (await until(client, run_id, "step.started")).payload["child_run_id"]
        lowest_id = (await until(client, child_id, "step.started")).payload["child_run_id"]
        await until_waiting(client, lowest_id)
    async with killed_and_started(daemon) as client:
        await client.signal(lowest_id, "go", "up")
        assert await completed(client, run_id) == "up"
        family = [run.run_id for run in (await client.list()).data]
        assert sorted(family) == sorted([run_id, child_id, lowest_id])
    assert daemon.stop() == 0


async def test_cancellation_goes_on_after_a_kill(make_daemon: Callable[..., Daemon]) -> None:
    """Of a parent whose child takes its time to end."""
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "child", {"target": "task:hang"})
        child_id = (await until(client, run_id, "step.started")).payload["child_run_id"]
        await until(client, child_id, "hanging")
        await client.cancel(run_id)
    async with killed_and_started(daemon) as client:
        assert (await client.wait(run_id, timeout=30)).status is RunStatus.CANCELLED
        assert (await client.get(child_id)).status is RunStatus.CANCELLED
    assert daemon.stop() == 0


async def test_run_follows_a_completed_one(client: AsyncRunsClient) -> None:
    run = await execute(client, "hooks")
    (child,) = (await client.list(parent_run_id=run.run_id)).data
    following = await client.wait(child.run_id, timeout=30)
    assert (following.target, following.root_run_id) == ("task:follow-up", run.run_id)
    assert following.output == {
        "run_id": run.run_id, "target": "workflow:hooks", "status": "completed", "output": 42, "error": None,
    }  # fmt: skip


async def test_run_follows_a_failed_one(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "hooks", "fail"), "exception")
    (child,) = (await client.list(parent_run_id=run.run_id)).data
    following = await client.wait(child.run_id, timeout=30)
    assert following.target == "workflow:after-failure"
    assert following.output["status"] == "failed"
    assert following.output["error"]["message"] == "ValueError: as asked"


async def test_nothing_follows_a_cancelled_one(client: AsyncRunsClient) -> None:
    run_id = await start(client, "hooks", start_after_seconds=3600)
    await client.cancel(run_id)
    assert types(await events_of(client, run_id)) == ["run.created", "run.cancelled"]
    assert (await client.list(parent_run_id=run_id)).data == ()


async def test_form_without_python_has_every_kind(client: AsyncRunsClient) -> None:
    run_id = await start(client, "toml/every-kind", {"value": 4})
    waiting = await until(client, run_id, "run.waiting", reason="signal go")
    await client.signal(run_id, "go", {"n": 1})
    await until(client, run_id, "approval.requested")
    asked = {s.step_id: s for s in (await client.get(run_id)).steps}
    review = next(step for step in asked.values() if step.name == "review")
    assert review.detail == "Publish 4?" and waiting.event_id
    await client.approve(run_id, "review", by="ann", data={"grade": 1})
    output = await completed(client, run_id)
    settled = output.pop("settled")
    assert output == {
        "doubled": 8, "each": [2, 4, 16], "said": {"n": 1}, "by": "ann", "left": None, "nested": [1, 16],
    }  # fmt: skip
    assert [one["ok"] for one in settled] == [False] and settled[0]["error"]["message"] == "ValueError: refused x"
    by_name = {step.name: step.state.value for step in (await client.get(run_id)).steps}
    assert by_name["left"] == "skipped" and by_name["nap"] == "completed"
    assert by_name["cleared"] == "completed", "a step's id is its own, whatever the signal"
    ends = [e.payload for e in await events_of(client, run_id) if e.event_type in ("step.completed", "step.failed")]
    assert all(end["attempt"] == 1 and end["duration_ms"] >= 0 for end in ends)
    took = {end["step_id"]: end["duration_ms"] for end in ends}
    assert took["nap"] >= 10, "also across pauses"


async def test_form_without_python_tells_of_time(client: AsyncRunsClient) -> None:
    run = await failed(client, await start(client, "toml/late"), "timeout")
    assert run.error is not None and "no signal 'go' came in time" in run.error.message
    assert (await execute(client, "toml/retries")).output == 2
