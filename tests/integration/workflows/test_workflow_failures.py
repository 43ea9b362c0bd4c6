"""How workflows fail, are tried again, are stopped, and undo what they have done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runsd_client import AsyncRunsClient, PreconditionError, RunStatus

from tests.integration.daemon import Daemon
from tests.integration.workflows.harness import (
    completed,
    ended,
    events_of,
    execute,
    failed,
    killed_and_started,
    marks,
    start,
    states,
    steps,
    types,
    until,
    until_waiting,
)

# What each shape leaves behind, apart from what comes before its flaky step; and its output.
SHAPES: dict[str, tuple[list[str], Any]] = {
    "plain": (["flaky", "flaky"], "flaky"),
    "cleaned-up": (["flaky", "clean-up", "flaky"], "afterafter"),
    "own-error": (["flaky", "flaky"], "flaky"),
    "beside": (["beside", "beside", "flaky", "flaky"], ["flaky", "beside"]),
    "in-a-branch": (["beside", "beside", "clean-up", "flaky", "flaky"], [["flaky", "beside"]]),
    "own-error-in-a-branch": (["before", "beside", "beside", "plain", "plain"], ["beside", None]),
    "gathered": (["beside", "beside", "flaky", "flaky"], ["beside", "flaky"]),
    "grouped": (["beside", "beside", "flaky", "flaky"], ["beside", "flaky"]),
    "grouped-own-error": (["before", "beside", "beside", "plain", "plain"], "beside"),
    "item": (["one", "one", "two", "two"], ["one", "two"]),
}
BEFORE = ["kept", "caught", "instead"]


@pytest.mark.parametrize("shape", SHAPES)
async def test_attempt_after_a_failure_goes_on_behind_what_is_done(
    client: AsyncRunsClient, tmp_path: Path, shape: str
) -> None:
    file = tmp_path / "marks"
    left, output = SHAPES[shape]
    run = await execute(client, "tried-again", {"file": str(file), "shape": shape})
    assert run.status is RunStatus.COMPLETED, run.error
    assert run.output == output
    found = marks(file)
    assert found[:3] == BEFORE
    assert (sorted(found[3:]) if shape != "cleaned-up" else found[3:]) == left
    # Each item of a map fails once, and not beside each other.
    assert run.attempt == (3 if shape == "item" else 2) or shape == "item"
    assert {s.state.value for s in run.steps if s.step_id not in ("caught", "clean-up")} == {"completed"}


@pytest.mark.parametrize("shape", SHAPES)
async def test_run_goes_on_from_the_failed_step(client: AsyncRunsClient, tmp_path: Path, shape: str) -> None:
    file = tmp_path / "marks"
    left, output = SHAPES[shape]
    run_id = await start(client, "tried-again/by-hand", {"file": str(file), "shape": shape})
    runs = [await failed(client, run_id, "exception")]
    while (run := await _again(client, runs[-1].run_id)).status is not RunStatus.COMPLETED:
        runs.append(run)
    assert run.output == output
    found = marks(file)
    assert found[:3] == BEFORE
    assert (sorted(found[3:]) if shape != "cleaned-up" else found[3:]) == left
    assert (run.retry_of_run_id, run.attempt) == (runs[-1].run_id, 1)
    assert states(run)["kept"] == "completed" and states(run)["caught"] == "failed"
    copied = [e for e in await events_of(client, run.run_id) if e.payload.get("from_run_id") == runs[-1].run_id]
    assert {"kept", "caught", "instead"} <= {e.payload["step_id"] for e in copied}


async def _again(client: AsyncRunsClient, run_id: str) -> Any:
    answer = await client.retry(run_id, from_failed_step=True)
    return await ended(client, answer.run.run_id)


async def test_retry_without_more_begins_anew(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run_id = await start(client, "tried-again/by-hand", {"file": str(file), "shape": "plain"})
    await failed(client, run_id, "exception")
    answer = await client.retry(run_id)
    assert await completed(client, answer.run.run_id) == "flaky"
    assert marks(file) == [*BEFORE, "flaky", "kept", "caught", "flaky"]


async def test_retry_from_the_failed_step_is_made_once(client: AsyncRunsClient, tmp_path: Path) -> None:
    run_id = await start(client, "tried-again/by-hand", {"file": str(tmp_path / "marks"), "shape": "plain"})
    await failed(client, run_id, "exception")
    first = await client.retry(run_id, from_failed_step=True, idempotency_key=f"again {run_id}")
    second = await client.retry(run_id, from_failed_step=True, idempotency_key=f"again {run_id}")
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.run.run_id == second.run.run_id
    await completed(client, first.run.run_id)


async def test_branch_that_was_cancelled_for_a_failure_is_executed_again(
    client: AsyncRunsClient, tmp_path: Path
) -> None:
    """In the form without Python: one branch failed while the other was being executed."""
    file = tmp_path / "there"
    run_id = await start(client, "toml/branches", {"file": str(file)})
    await failed(client, run_id, "exit_code")
    file.touch()
    answer = await client.retry(run_id, from_failed_step=True)
    child = await until(client, answer.run.run_id, "step.started", name="slow")
    await client.signal(child.payload["child_run_id"], "go", "through")
    assert await completed(client, answer.run.run_id) == {"input": "through", "config": None}


async def test_steps_that_were_undone_are_not_kept(client: AsyncRunsClient, tmp_path: Path) -> None:
    run_id = await start(client, "undone", {"file": str(tmp_path / "marks"), "end": "with-an-error"})
    await failed(client, run_id, "exception")
    with pytest.raises(PreconditionError, match="compensations have undone"):
        await client.retry(run_id, from_failed_step=True)


DONE = ["do one", "do two", "do three"]
UNDONE = ["undo three", "undo two", "undo one"]


async def test_nothing_is_undone_of_what_went_well(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run = await execute(client, "undone", {"file": str(file), "end": "well"})
    assert (run.output, marks(file)) == ("well", DONE)


@pytest.mark.parametrize(("end", "left"), [("with-an-error", []), ("with-a-step", ["fails"])])
async def test_failed_run_is_undone_in_reverse(
    client: AsyncRunsClient, tmp_path: Path, end: str, left: list[str]
) -> None:
    file = tmp_path / "marks"
    run = await failed(client, await start(client, "undone", {"file": str(file), "end": end}), "exception")
    assert marks(file) == [*DONE, *left, *UNDONE]
    undone = [step.name for step in run.steps if step.name.startswith("undo")]
    assert undone == ["undo-three", "undo-two", "undo-one"]
    assert types(await events_of(client, run.run_id))[-1] == "run.failed"


async def test_run_is_undone_when_it_is_not_tried_again(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run_id = await start(client, "undone/tried-again", {"file": str(file), "end": "with-an-error"})
    run = await failed(client, run_id, "exception")
    assert run.attempt == 2
    assert marks(file) == [*DONE, *UNDONE]


async def test_compensation_that_fails_keeps_no_other_from_its_turn(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    given = {"file": str(file), "end": "with-an-error", "broken": "two"}
    run = await failed(client, await start(client, "undone", given), "exception")
    assert run.error is not None and run.error.message == "ValueError: as asked"
    assert marks(file) == [*DONE, *UNDONE]
    assert "undo two is broken" in run.logs
    assert {s.name: s.state.value for s in run.steps if s.name.startswith("undo")} == {
        "undo-three": "completed", "undo-two": "failed", "undo-one": "completed",
    }  # fmt: skip


@pytest.mark.parametrize("end", ["working", "waiting", "stubborn"])
async def test_cancelled_run_is_undone(client: AsyncRunsClient, tmp_path: Path, end: str) -> None:
    file = tmp_path / "marks"
    run_id = await start(client, "undone", {"file": str(file), "end": end}, backoff_limit=3)
    if end == "waiting":
        await until_waiting(client, run_id)
    else:
        await until(client, run_id, "step.started", name="works")
    await client.cancel(run_id)
    run = await ended(client, run_id)
    assert (run.status, run.error, run.output) == (RunStatus.CANCELLED, None, None)
    assert [mark for mark in marks(file) if mark != "works"] == [*DONE, *UNDONE]
    assert "never" not in states(run) or end == "waiting"


async def test_deaf_run_is_undone_after_the_grace_period(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run_id = await start(client, "undone", {"file": str(file), "end": "deaf"})
    await until(client, run_id, "step.completed", name="do-three")
    await client.cancel(run_id)
    run = await ended(client, run_id)
    assert run.status is RunStatus.CANCELLED
    assert "ended by force" in run.logs
    assert [mark for mark in marks(file) if "hear" not in mark and mark != "deaf"] == [*DONE, *UNDONE]


@pytest.mark.parametrize("end", ["working", "waiting", "stubborn"])
async def test_run_is_undone_when_its_time_is_over(client: AsyncRunsClient, tmp_path: Path, end: str) -> None:
    file = tmp_path / "marks"
    run_id = await start(client, "undone", {"file": str(file), "end": end}, timeout_seconds=0.4)
    run = await failed(client, run_id, "timeout")
    assert run.error is not None and run.error.message == "the attempt did not end within 0.4 s"
    assert [mark for mark in marks(file) if mark != "works"] == [*DONE, *UNDONE]


@pytest.mark.parametrize("workflow_id", ["timed", "toml/timed"])
async def test_timeout_of_its_definition_counts_where_its_run_has_none(
    client: AsyncRunsClient, workflow_id: str
) -> None:
    run = await failed(client, await start(client, workflow_id), "timeout")
    assert run.error is not None and run.error.message == "the attempt did not end within 0.05 s"
    other = await start(client, workflow_id, timeout_seconds=0.06)
    run = await failed(client, other, "timeout")
    assert run.error is not None and run.error.message == "the attempt did not end within 0.06 s"


@pytest.mark.parametrize(
    ("workflow_id", "delays"),
    [
        ("delays-fixed", [0.02, 0.02, 0.02, 0.02]),
        ("delays-exponential", [0.02, 0.04, 0.08, 0.1]),
        ("toml/delays-linear", [0.02, 0.04, 0.06, 0.08]),
    ],
)
async def test_attempts_are_delayed_as_its_definition_says(
    client: AsyncRunsClient, workflow_id: str, delays: list[float]
) -> None:
    """Not by the daemon's settings: 0.01 s to begin with."""
    run = await failed(client, await start(client, workflow_id), "exception")
    retrying = [e for e in await events_of(client, run.run_id) if e.event_type == "run.retrying"]
    # Give or take a fifth.
    assert [e.payload["delay_seconds"] for e in retrying] == [pytest.approx(delay, rel=0.21) for delay in delays]


async def test_attempt_after_a_timeout_goes_on(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run_id = await start(client, "interrupted", {"file": str(file)}, timeout_seconds=0.4, backoff_limit=1)
    assert await completed(client, run_id) == ["quick 0", "quick 1", "slow 1", "slow 1", "quick 2"]
    run = await client.get(run_id)
    assert (run.attempt, steps(run)["slow"].attempt) == (2, 2)


@pytest.mark.parametrize("how", ["failure", "cancel", "timeout"])
async def test_undoing_goes_on_after_a_kill(make_daemon: Callable[..., Daemon], tmp_path: Path, how: str) -> None:
    """The daemon is killed while the second of three compensations is being executed."""
    daemon = make_daemon()
    daemon.start()
    file = tmp_path / "marks"
    async with AsyncRunsClient(daemon.address) as client:
        given = {"file": str(file), "end": "with-an-error" if how == "failure" else "waiting", "hanging": "two"}
        run_id = await start(client, "undone", given, timeout_seconds=0.4 if how == "timeout" else 0)
        if how == "cancel":
            await until_waiting(client, run_id)
            await client.cancel(run_id)
        await until(client, run_id, "step.started", name="undo-two")
    async with killed_and_started(daemon) as client:
        run = await ended(client, run_id)
        expected = {"failure": "exception", "cancel": None, "timeout": "timeout"}[how]
        assert (run.error.code if run.error else None) == expected
        assert run.status is (RunStatus.CANCELLED if how == "cancel" else RunStatus.FAILED)
        assert marks(file) == [*DONE, "undo three", "undo two", "undo two", "undo one"]
    assert daemon.stop() == 0


async def test_branches_are_undone_once_whatever_their_order(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """The daemon is killed when one of two branches has been undone; both undo by the same name."""
    daemon = make_daemon()
    daemon.start()
    file = tmp_path / "marks"
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "undone/branches", {"file": str(file)})
        await until(client, run_id, "step.started", 2, name="undo")
    async with killed_and_started(daemon) as client:
        await failed(client, run_id, "exception")
        undone = ["undo first", "undo second", "undo second"]
        assert marks(file) == ["do second", "do first", *undone]
    assert daemon.stop() == 0


async def test_interrupted_run_executes_no_completed_step_again(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon()
    daemon.start()
    file = tmp_path / "marks"
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "interrupted", {"file": str(file)})
        await until(client, run_id, "step.started", name="slow")
    async with killed_and_started(daemon) as client:
        assert await completed(client, run_id) == ["quick 0", "quick 1", "slow 1", "slow 1", "quick 2"]
        run = await client.get(run_id)
        assert types(await events_of(client, run_id), "run.") == [
            "run.created", "run.started", "run.interrupted", "run.started", "run.completed",
        ]  # fmt: skip
        assert (steps(run)["slow"].attempt, steps(run)["quick"].attempt) == (2, 1)
    assert daemon.stop() == 0


# The code as it is when the run begins, and as it is when the run goes on; and what is said of it.
CHANGES = {
    "another step": (
        "await ctx.step('a', str, 1); await ctx.wait_for_signal('go'); await ctx.step('c', str, 1)",
        "await ctx.step('b', str, 1); await ctx.wait_for_signal('go'); await ctx.step('c', str, 1)",
        ["step 'a' is recorded next", "step 'b' was found"],
    ),
    "another kind": (
        "await ctx.step('a', str, 1); await ctx.wait_for_signal('go')",
        "await ctx.sleep(0, name='a'); await ctx.wait_for_signal('go')",
        ["at step 'a' a function step is recorded", "a sleep step was found"],
    ),
    "another target": (
        "await ctx.run('task:x', name='a'); await ctx.wait_for_signal('go')",
        "await ctx.run('task:y', name='a'); await ctx.wait_for_signal('go')",
        ["at step 'a' task:x is recorded", "task:y was found"],
    ),
    "a step that is missing": (
        "await ctx.step('a', str, 1); await ctx.wait_for_signal('go')",
        "await ctx.step('a', str, 1)",
        ["step 'go' is recorded next", "the workflow ended without it"],
    ),
    "one branch more": (
        "await ctx.parallel(ctx.step('a', str, 1)); await ctx.wait_for_signal('go')",
        "await ctx.parallel(ctx.step('a', str, 1), ctx.step('b', str, 1)); await ctx.wait_for_signal('go')",
        ["'parallel' is recorded as ended", "step 'b' was found"],
    ),
    "one item more": (
        "await ctx.map('m', str, [1]); await ctx.wait_for_signal('go')",
        "await ctx.map('m', str, [1, 2]); await ctx.wait_for_signal('go')",
        ["'m' is recorded as ended", "step 'm[1]' was found"],
    ),
    "a step that comes first": (
        "await ctx.wait_for_signal('go')",
        "await ctx.step('first', str, 1); await ctx.wait_for_signal('go')",
        ["step 'go' is recorded next", "step 'first' was found"],
    ),
    "another version": (
        "version = '1'; await ctx.wait_for_signal('go')",
        "version = '2'; await ctx.step('new', open, FILE, 'w'); await ctx.wait_for_signal('go')",
        ["it began with version '1'", "its definition has version '2' now"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_definition_that_changed_under_its_run_is_named(
    make_daemon: Callable[..., Daemon], tmp_path: Path, change: str
) -> None:
    before, after, said = CHANGES[change]
    daemon = make_daemon(project=_project(tmp_path, before))
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "changing", backoff_limit=3)
        await until(client, run_id, "run.waiting", reason="signal go")
        _project(tmp_path, after)
        await client.reload()
        await client.signal(run_id, "go")
        run = await failed(client, run_id, "nondeterministic")
        assert run.error is not None and all(part in run.error.message for part in said), run.error
        assert run.attempt == 1, "another attempt would be no use"
    assert not (tmp_path / "file").exists(), "nothing new was executed"
    assert daemon.stop() == 0


def _project(tmp_path: Path, body: str) -> Path:
    directory = tmp_path / "project"
    directory.mkdir(exist_ok=True)
    version = "1"
    if body.startswith("version"):
        declared, _, body = body.partition("; ")
        version = declared.partition("'")[2].rstrip("'")
    (directory / "runs.toml").write_text('[project]\nid = "p"\nmodules = ["flow"]\n')
    (directory / "flow.py").write_text(
        "from runsd import task, workflow\n"
        f"FILE = {str(tmp_path / 'file')!r}\n"
        "@task('x', adapter='inprocess')\ndef x(ctx): ...\n"
        "@task('y', adapter='inprocess')\ndef y(ctx): ...\n"
        f"@workflow('changing', version={version!r})\n"
        f"async def changing(ctx, input):\n    {body}\n"
    )
    return directory
