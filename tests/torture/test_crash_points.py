"""The daemon is ended at every named point of a run's life, once each; the run comes out whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, RetryPolicy, Run

from runsd.crashpoints import EXIT_STATUS, VARIABLE, CrashPoint
from tests.integration.conftest import make_daemon  # noqa: F401 - a fixture
from tests.integration.daemon import SETTINGS, Daemon
from tests.integration.test_executing import text, types

PATIENT = RetryPolicy(retries=100, initial_seconds=0.05, max_seconds=0.2)
# The second batch creates the run (the first, at the start, fails what has expired), and claims it if the
# daemon has looked at its queue by then, which the next does otherwise; then its output, its outcome.
BATCHES = (2, 3, 4)
CRASHES = [
    *(f"{point}:{count}" for point in (CrashPoint.BATCH_WRITTEN, CrashPoint.BATCH_COMMITTED) for count in BATCHES),
    *(point.value for point in CrashPoint if not point.startswith("batch.")),
]


@pytest.mark.parametrize("crash", CRASHES)
async def test_run_comes_out_whole(make_daemon: Callable[..., Daemon], tmp_path: Path, crash: str) -> None:  # noqa: F811
    proof = tmp_path / "proof"
    script = f"""
    echo begun >>{proof}; printf kept >$RUNSD_ARTIFACTS/kept; echo one; echo two >&2
    sleep 0.3; echo three; exit 7"""
    daemon = make_daemon(env={VARIABLE: crash})
    daemon.start()
    async with AsyncRunsClient(daemon.address, retry=PATIENT) as client:
        running = asyncio.create_task(executed(client, script))
        assert await asyncio.to_thread(daemon.wait) == EXIT_STATUS, f"{crash} was not reached"
        daemon.set_env({})
        await asyncio.to_thread(daemon.start)
        run = await running
        events = [event async for event in client.replay(run.run_id)]
        assert len((await client.list()).data) == 1
    assert proof.read_text() == "begun\n", "executed once"
    assert (run.exit_code, run.error and run.error.code) == (7, "exit_code")
    assert text(events) == "one\nthree\n"
    assert text(events, "stderr") == "two\n"
    assert [event.event_id for event in events] == list(range(1, len(events) + 1))
    assert types(events).count("run.failed") == 1
    assert [artifact.name for artifact in run.artifacts] == ["kept"]
    # An attempt that was claimed and never began is followed by another; one that began is not.
    never_began = crash in (CrashPoint.CLAIM_COMMITTED, CrashPoint.ATTEMPT_PREPARED)
    may_have_begun = crash in ("batch.committed:2", "batch.committed:3")
    assert run.attempt in ({1, 2} if may_have_begun else {2} if never_began else {1})
    assert types(events).count("run.interrupted") == run.attempt - 1
    assert daemon.stop() == 0
    assert not list(daemon.state.glob("attempts/*/*")), "nothing is left behind"


async def test_run_that_waited_for_its_place_comes_out_whole(
    make_daemon: Callable[..., Daemon],  # noqa: F811
    tmp_path: Path,
) -> None:
    """It is claimed on its own, and not as it is created."""
    settings = SETTINGS + "[limits]\nmax_running = 1\n"
    daemon = make_daemon(settings=settings, env={VARIABLE: f"{CrashPoint.CLAIM_COMMITTED}:2"})
    daemon.start()
    async with AsyncRunsClient(daemon.address, retry=PATIENT) as client:
        first = (await client.create_task_run("task:until-released", input=f"{tmp_path}/gate")).run.run_id
        second = (await client.create_task_run("task:true")).run
        assert second.status == "pending"
        (tmp_path / "gate").touch()
        assert await asyncio.to_thread(daemon.wait) == EXIT_STATUS
        daemon.set_env({})
        await asyncio.to_thread(daemon.start)
        assert [(await client.wait(run_id)).status for run_id in (first, second.run_id)] == ["completed"] * 2
        assert (await client.get(second.run_id)).attempt == 2
    assert daemon.stop() == 0


async def executed(client: AsyncRunsClient, script: str) -> Run:
    created = await client.create_task_run("task:script", input=script, idempotency_key="the run")
    async for _ in client.follow(created.run.run_id):
        pass
    return await client.get(created.run.run_id)


async def test_output_limit_doubles_nothing(make_daemon: Callable[..., Daemon]) -> None:  # noqa: F811
    settings = SETTINGS + "[limits]\noutput_bytes = 2000\n"
    daemon = make_daemon(settings=settings, env={VARIABLE: f"{CrashPoint.PROCESS_ENDED}"})
    daemon.start()
    script = "i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done; sleep 1000"
    async with AsyncRunsClient(daemon.address, retry=PATIENT) as client:
        running = asyncio.create_task(executed(client, script))
        assert await asyncio.to_thread(daemon.wait) == EXIT_STATUS
        daemon.set_env({})
        await asyncio.to_thread(daemon.start)
        run = await running
        events = [event async for event in client.replay(run.run_id)]
    assert run.error and run.error.code == "output_limit"
    written = "".join(f"line {number}\n" for number in range(1000))
    assert written.startswith(text(events)) and len(text(events)) > 1000
    assert daemon.stop() == 0
