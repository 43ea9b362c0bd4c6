"""Asking runs to end, at every moment of their lives."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, NotFoundError, PreconditionError, Run, RunStatus

from tests.integration.test_executing import run_to_the_end, text, types


async def begun(client: AsyncRunsClient, target: str, event_type: str, **options: object) -> Run:
    """A run that has just emitted an event of this type."""
    run = (await client.create_task_run(target, **options)).run  # type: ignore[arg-type]
    async for event in client.follow(run.run_id):
        if event.event_type == event_type:
            return run
    raise AssertionError(f"{target} ended without {event_type}")


async def stdout(client: AsyncRunsClient, run: Run) -> str:
    return text([event async for event in client.replay(run.run_id)])


async def test_pending_run_ends_at_once(client: AsyncRunsClient) -> None:
    run = (await client.create_task_run("task:quick", start_after_seconds=3600)).run
    answer = await client.cancel(run.run_id, reason="not needed")
    assert answer.cancelled
    assert (answer.run.status, answer.run.started_at, answer.run.duration_ms) == (RunStatus.CANCELLED, None, None)
    events = (await client.events(run.run_id)).data
    assert types(list(events)) == ["run.created", "run.cancelled"]
    assert events[-1].payload == {"reason": "not needed"}


@pytest.mark.parametrize("task", ["wait-for-ever", "wait-for-ever/threaded", "deaf"])
async def test_callable_is_cancelled(client: AsyncRunsClient, task: str) -> None:
    run = await begun(client, f"task:{task}", "waiting", backoff_limit=3)
    answer = await client.cancel(run.run_id)
    assert answer.cancelled and answer.run.cancel_requested
    ended = await client.wait(run.run_id, timeout=30)
    assert (ended.status, ended.error, ended.attempt) == (RunStatus.CANCELLED, None, 1)
    events = list((await client.events(run.run_id)).data)
    assert [t for t in types(events) if t != "log"][-2:] == ["run.cancel_requested", "run.cancelled"]
    assert ("ended by force" in text(events, "system")) == (task == "deaf")


async def test_python_process_may_clean_up(client: AsyncRunsClient, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    run = await begun(client, "task:wait-for-ever/subprocess", "waiting", input=str(proof))
    await client.cancel(run.run_id)
    ended = await client.wait(run.run_id, timeout=30)
    assert (ended.status, ended.exit_code) == (RunStatus.CANCELLED, 143)
    assert proof.read_text() == "cleaned up"
    assert "cleaning up" in ended.logs


async def test_process_that_obeys_keeps_its_status(client: AsyncRunsClient) -> None:
    script = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.01; done"
    run = await begun(client, "task:script", "log", input=script)
    await client.cancel(run.run_id)
    ended = await client.wait(run.run_id, timeout=30)
    assert (ended.status, ended.exit_code) == (RunStatus.CANCELLED, 9)
    assert await stdout(client, run) == "ready\nbye\n"


@pytest.mark.parametrize(
    "stubborn", ["trap '' TERM; echo ready; while :; do sleep 0.01; done", "echo ready; kill -STOP $$"]
)
async def test_process_that_does_not_obey_is_killed_after_the_grace_period(
    client: AsyncRunsClient, stubborn: str
) -> None:
    run = await begun(client, "task:script", "log", input=stubborn)
    await client.cancel(run.run_id)
    ended = await client.wait(run.run_id, timeout=30)
    assert ended.status is RunStatus.CANCELLED
    events = [event async for event in client.replay(run.run_id)]
    assert text(events) == "ready\n"
    assert ("ended by force" in text(events, "system")) == ("trap" in stubborn)


async def test_ended_run_is_left_as_it_is(client: AsyncRunsClient) -> None:
    run, events = await run_to_the_end(client, "task:quick", input=1)
    answer = await client.cancel(run.run_id)
    assert not answer.cancelled
    assert answer.run.status is RunStatus.COMPLETED
    assert len((await client.events(run.run_id)).data) == len(events)


async def test_cancelling_twice_is_said_once(client: AsyncRunsClient) -> None:
    run = await begun(client, "task:deaf", "waiting")
    answers = await asyncio.gather(*(client.cancel(run.run_id) for _ in range(5)))
    assert all(answer.cancelled for answer in answers)
    await client.wait(run.run_id, timeout=30)
    assert types(list((await client.events(run.run_id)).data)).count("run.cancel_requested") == 1


async def test_cancel_that_races_the_end_is_one_of_the_two(client: AsyncRunsClient) -> None:
    runs = [(await client.create_task_run("task:true")).run for _ in range(40)]
    answers = await asyncio.gather(*(client.cancel(run.run_id) for run in runs))
    for run, answer in zip(runs, answers, strict=True):
        ended = await client.wait(run.run_id, timeout=30)
        assert ended.status is (RunStatus.CANCELLED if answer.cancelled else RunStatus.COMPLETED)
        terminal = [e for e in (await client.events(run.run_id)).data if e.is_terminal]
        assert len(terminal) == 1


async def test_cancelling_a_run_between_attempts(client: AsyncRunsClient) -> None:
    run = (await client.create_task_run("task:exit-status", input=1, backoff_limit=1000)).run
    async for event in client.follow(run.run_id):
        if event.event_type == "run.retrying" and event.payload["attempt"] == 3:
            await client.cancel(run.run_id)
    assert (await client.get(run.run_id)).status is RunStatus.CANCELLED


async def test_retry_makes_a_linked_run(client: AsyncRunsClient) -> None:
    failed, _ = await run_to_the_end(client, "task:exit-status", input=6, metadata={"team": "data"}, name="n")
    again = await client.retry(failed.run_id)
    assert again.accepted and not again.duplicate
    assert again.run.retry_of_run_id == failed.run_id
    assert (again.run.input, again.run.metadata, again.run.name) == (6, {"team": "data"}, "n")
    assert (await client.wait(again.run.run_id, timeout=30)).exit_code == 6


async def test_only_what_failed_or_was_cancelled_can_be_retried(client: AsyncRunsClient) -> None:
    completed, _ = await run_to_the_end(client, "task:quick")
    with pytest.raises(PreconditionError, match="completed"):
        await client.retry(completed.run_id)
    with pytest.raises(NotFoundError):
        await client.retry("no-such-run")


async def test_output_after_the_cancellation_is_kept(client: AsyncRunsClient) -> None:
    script = "trap 'seq 20000; exit' TERM; echo ready; while :; do sleep 0.01; done"
    run = await begun(client, "task:script", "log", input=script)
    await client.cancel(run.run_id)
    events = [event async for event in client.follow(run.run_id)]
    assert text(events) == "ready\n" + "".join(f"{n}\n" for n in range(1, 20001))
