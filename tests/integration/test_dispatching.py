"""In which order runs start, and how many at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from runsd_client import AsyncRunsClient, NewRun, RunStatus

from tests.integration.daemon import SETTINGS, Daemon

ONE_AT_A_TIME = SETTINGS + "[limits]\nmax_running = 1\n"


async def wait_for_all(client: AsyncRunsClient, run_ids: list[str]) -> None:
    for run_id in run_ids:
        assert (await client.wait(run_id, timeout=60)).status is RunStatus.COMPLETED


async def started(client: AsyncRunsClient, run_id: str) -> datetime:
    moment = (await client.get(run_id)).started_at
    assert moment is not None
    return moment


async def test_priority_goes_before_age(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = make_daemon(settings=ONE_AT_A_TIME)
    daemon.start()
    gate = tmp_path / "gate"
    async with AsyncRunsClient(daemon.address) as client:
        first = (await client.create_task_run("task:until-released", input=str(gate))).run.run_id
        async for event in client.follow(first):
            if event.event_type == "run.started":
                break
        priorities = [0, 5, -5, 5, 0]
        runs = [(await client.create_task_run("task:quick", priority=p)).run.run_id for p in priorities]
        gate.touch()
        await wait_for_all(client, runs)
        moments = [await started(client, run_id) for run_id in runs]
    order = sorted(range(len(runs)), key=lambda index: moments[index])
    assert order == [1, 3, 0, 4, 2]
    assert daemon.stop() == 0


async def test_a_new_run_is_answered_as_it_was_created_and_starts_at_once(client: AsyncRunsClient) -> None:
    """In the same commit where the dispatcher sleeps, which is held to in `tests/unit/engine/test_admission.py`."""
    created = (await client.create_task_run("task:quick")).run
    assert (created.status, created.started_at, created.attempt) == (RunStatus.PENDING, None, 0)
    await wait_for_all(client, [created.run_id])
    begin, start, *_ = (await client.events(created.run_id)).data
    assert [begin.event_type, start.event_type] == ["run.created", "run.started"]


async def test_runs_created_together_start_within_the_limits(client: AsyncRunsClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"while [ ! -e {gate} ]; do sleep 0.01; done"
    limited = [NewRun("task:steady", input=script, priority=n) for n in range(5)]
    keyed = [NewRun("task:script", input=script, concurrency_key="together", priority=n) for n in range(3)]
    later = NewRun("task:quick", start_after_seconds=3600)
    made = [answer.run.run_id for answer in await client.batch_create([*limited, *keyed, later])]
    await client.wait((await client.create_task_run("task:quick")).run.run_id)
    running = {run.run_id async for run in client.list_all(statuses=["running"])}
    assert running == {*made[2:5], made[7]}, "the first by priority: three of the target, one of the key"
    gate.touch()
    await wait_for_all(client, made[:-1])
    assert await most_at_once(client, made[:5]) == 3
    assert await most_at_once(client, made[5:8]) == 1
    assert (await client.get(made[-1])).status is RunStatus.PENDING


async def test_a_draining_daemon_starts_nothing_new(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        assert await client.drain() == 0
        waiting = (await client.create_task_run("task:quick")).run.run_id
        assert (await client.get(waiting)).status is RunStatus.PENDING
        await client.resume()
        await wait_for_all(client, [waiting])
    assert daemon.stop() == 0


async def test_a_target_has_its_own_limit_and_holds_up_no_other(client: AsyncRunsClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"while [ ! -e {gate} ]; do sleep 0.01; done"
    answers = await client.batch_create([NewRun("task:steady", input=script) for _ in range(400)], project=None)
    steady = [answer.run.run_id for answer in answers]
    # Behind a backlog that is longer than what the daemon keeps in memory.
    other = (await client.create_task_run("task:quick")).run.run_id
    assert (await client.wait(other, timeout=30)).status is RunStatus.COMPLETED
    running = await client.list(statuses=["running"], target="task:steady", limit=1000)
    assert len(running.data) == 3
    gate.touch()
    await wait_for_all(client, steady)
    assert await most_at_once(client, steady) == 3


async def test_a_concurrency_key_lets_one_run_at_a_time(client: AsyncRunsClient) -> None:
    runs = [
        (await client.create_task_run("task:script", input="sleep 0.02", concurrency_key="a key")).run.run_id
        for _ in range(8)
    ]
    await wait_for_all(client, runs)
    assert await most_at_once(client, runs) == 1
    moments = [await started(client, run_id) for run_id in runs]
    assert moments == sorted(moments)


async def most_at_once(client: AsyncRunsClient, run_ids: list[str]) -> int:
    """How many of the runs executed at the same time, by their records."""
    changes = []
    for run_id in run_ids:
        run = await client.get(run_id)
        assert run.started_at and run.completed_at
        # An end at the same moment as a start comes first: both may be in one commit.
        changes += [(run.started_at, 1), (run.completed_at, -1)]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


async def test_pending_runs_survive_a_restart(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = make_daemon(settings=ONE_AT_A_TIME)
    daemon.start()
    gate = tmp_path / "gate"
    async with AsyncRunsClient(daemon.address) as client:
        first = (await client.create_task_run("task:until-released", input=str(gate))).run.run_id
        later = [answer.run.run_id for answer in await client.batch_create([NewRun("task:true")] * 300)]
        delayed = (await client.create_task_run("task:true", start_after_seconds=0.5)).run.run_id
        daemon.kill()
        daemon.start()
        gate.touch()
        await wait_for_all(client, [first, *later, delayed])
    assert daemon.stop() == 0


async def test_runs_of_a_project_that_is_not_served_wait(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        waiting = (await client.create_task_run("task:true", start_after_seconds=0.2)).run.run_id
        daemon.stop()
        other = tmp_path / "other"
        other.mkdir()
        (other / "runs.toml").write_text('[project]\nid = "other"\n[tasks.true]\ncommand = ["true"]\n')
        served, daemon.options = daemon.options, ["--project", str(other), *daemon.options[2:]]
        daemon.start()
        theirs = (await client.create_task_run("task:true", start_after_seconds=0.3)).run.run_id
        await wait_for_all(client, [theirs])
        assert (await client.get(waiting)).status is RunStatus.PENDING
        daemon.stop()
        daemon.options = served
        daemon.start()
        await wait_for_all(client, [waiting])
    assert daemon.stop() == 0


async def test_runs_of_a_definition_that_broke_wait_until_it_is_mended(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    good = '[project]\nid = "p"\n[tasks.t]\ncommand = ["true"]\n[tasks.other]\ncommand = ["true"]\n'
    (project / "runs.toml").write_text(good)
    daemon = make_daemon(project=project)
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        waiting = (await client.create_task_run("task:t", start_after_seconds=0.2)).run.run_id
        gone = (await client.create_task_run("task:other", start_after_seconds=0.2)).run.run_id
        (project / "runs.toml").write_text('[project]\nid = "p"\n[tasks.t]\ncommand = 5\n')
        assert (await client.reload()).problems
        ended = await client.wait(gone, timeout=30)
        assert ended.error and ended.error.code == "target_not_found"
        assert (await client.get(waiting)).status is RunStatus.PENDING
        (project / "runs.toml").write_text(good)
        await client.reload()
        await wait_for_all(client, [waiting])
    assert daemon.stop() == 0
